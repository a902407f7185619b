package oip

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"

	"serval"
	"serval/protocol"
)

func gzipped(b []byte) []byte {
	var buf bytes.Buffer
	w, _ := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	w.Write(b)
	w.Close()
	return buf.Bytes()
}

func zlibbed(b []byte) []byte {
	var buf bytes.Buffer
	w, _ := zlib.NewWriterLevel(&buf, zlib.BestSpeed)
	w.Write(b)
	w.Close()
	return buf.Bytes()
}

// A large answer is compressed when that is asked for, a small one never.
func TestCompression(t *testing.T) {
	_, mux, _ := newREST(answerInputs)
	big := `{"inputs":[{"name":"x","shape":[1000],"datatype":"INT8","data":[` + strings.Repeat("1,", 999) + `1]}]}`
	plain := ask(mux, "POST", "/v2/models/m/infer", nil, []byte(big)).Body.String()
	for range 3 { // readers and writers are reused
		for _, c := range []struct {
			accept, coding string
		}{{"gzip", "gzip"}, {"deflate", "deflate"}, {"deflate;q=0.5, gzip;q=0.8", "gzip"}, {"gzip;q=0", ""}, {"br", ""}, {"identity", ""}} {
			for _, in := range []string{"gzip", "deflate", ""} {
				body := []byte(big)
				head := []string{"Accept-Encoding: " + c.accept}
				switch in {
				case "gzip":
					body = gzipped(body)
				case "deflate":
					body = zlibbed(body)
				}
				if in != "" {
					head = append(head, "Content-Encoding: "+in)
				}
				w := ask(mux, "POST", "/v2/models/m/infer", head, body)
				if w.Code != 200 || w.Header().Get("Content-Encoding") != c.coding || w.Header().Get("Content-Length") != fmt.Sprint(w.Body.Len()) {
					t.Fatalf("%s in, %s: %d %q %s", in, c.accept, w.Code, w.Header(), w.Body)
				}
				var out io.Reader = w.Body
				var err error
				switch c.coding {
				case "gzip":
					out, err = gzip.NewReader(w.Body)
				case "deflate":
					out, err = zlib.NewReader(w.Body)
				}
				if err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(out); string(got) != plain || err != nil {
					t.Fatalf("%s: %v %.100s", c.accept, err, got)
				}
			}
		}
	}
	small := `{"inputs":[{"name":"x","shape":[1],"datatype":"INT8","data":[1]}]}`
	if w := ask(mux, "POST", "/v2/models/m/infer", []string{"Accept-Encoding: gzip"}, []byte(small)); w.Header().Get("Content-Encoding") != "" {
		t.Error("a small answer was compressed")
	}
}

// Nothing larger than the limit is read, however it is wrapped.
func TestBodyLimit(t *testing.T) {
	_, mux, _ := newREST(answerInputs)
	large := bytes.Repeat([]byte(" "), 1<<20+1)
	bomb := bytes.Repeat([]byte(" "), 64<<20)
	for name, r := range map[string]*http.Request{
		"declared": httptest.NewRequest("POST", "/v2/models/m/infer", bytes.NewReader(large)),
		"chunked":  httptest.NewRequest("POST", "/v2/models/m/infer", io.MultiReader(bytes.NewReader(large))),
		"gzip":     httptest.NewRequest("POST", "/v2/models/m/infer", bytes.NewReader(gzipped(bomb))),
		"deflate":  httptest.NewRequest("POST", "/v2/models/m/infer", bytes.NewReader(zlibbed(bomb))),
	} {
		if name == "gzip" || name == "deflate" {
			r.Header.Set("Content-Encoding", name)
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if w.Code != 413 || !strings.Contains(w.Body.String(), "limit of 1048576 bytes") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

// A request of very many inputs is refused before they are compared with each other.
func TestManyInputs(t *testing.T) {
	_, mux, _ := newREST(answerInputs)
	body := `{"inputs":[` + strings.Repeat(`{"name":"x","shape":[0],"datatype":"INT8","data":[]},`, 5000) + `0]}`
	w := ask(mux, "POST", "/v2/models/m/infer", nil, []byte(body))
	if w.Code != 400 || !strings.Contains(w.Body.String(), "more than 4096 inputs") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// A body cut short is the client's fault, and says so.
func TestBodyCutShort(t *testing.T) {
	_, mux, _ := newREST(answerInputs)
	r := httptest.NewRequest("POST", "/v2/models/m/infer", strings.NewReader(`{"inputs":[`))
	r.ContentLength = 100
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	if w.Code != 400 || !strings.Contains(w.Body.String(), "shorter than its Content-Length") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// A model that answers in pieces is told to stop at the second.
func TestPieces(t *testing.T) {
	var second error
	_, mux, _ := newREST(func(_ context.Context, r *serval.Request, sink serval.Sink) error {
		for range 2 {
			if second = sink.Send(&serval.Chunk{Output: &serval.Tensors{}}); second != nil {
				return errors.New("something else")
			}
		}
		return nil
	})
	w := ask(mux, "POST", "/v2/models/m/infer", nil, []byte(`{"inputs":[]}`))
	if w.Code != 501 || second == nil || !strings.Contains(w.Body.String(), "ModelStreamInfer") {
		t.Errorf("%d %s (%v)", w.Code, w.Body, second)
	}
}

// A chunk without output, as the last of one answer, is no second answer.
func TestEmptyLastChunk(t *testing.T) {
	_, mux, _ := newREST(func(ctx context.Context, r *serval.Request, sink serval.Sink) error {
		if err := answerInputs(ctx, r, sink); err != nil {
			return err
		}
		return sink.Send(&serval.Chunk{Finish: serval.Stop})
	})
	if w := ask(mux, "POST", "/v2/models/m/infer", nil, []byte(`{"inputs":[]}`)); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestRESTSharedMemory(t *testing.T) {
	p, mux, _ := newREST(answerInputs)
	folder := t.TempDir()
	p.shm.folder = folder
	defer p.shm.close()
	writeObject(t, folder, "obj", append([]byte{0, 0, 0, 0}, make([]byte, 12)...))
	if w := ask(mux, "POST", "/v2/systemsharedmemory/region/r/register", nil, []byte(`{"key":"/obj","offset":0,"byte_size":16}`)); w.Code != 200 {
		t.Fatal(w.Body)
	}
	if w := ask(mux, "GET", "/v2/systemsharedmemory/status", nil, nil); w.Body.String() != `[{"name":"r","key":"/obj","offset":0,"byte_size":16}]` {
		t.Error(w.Body)
	}
	if err := p.shm.write([]byte{1, 2, 3, 4}, "r", 0, 4); err != nil {
		t.Fatal(err)
	}
	req := `{"inputs":[{"name":"x","shape":[4],"datatype":"UINT8","parameters":{"shared_memory_region":"r","shared_memory_byte_size":4}}],
		"outputs":[{"name":"x","parameters":{"shared_memory_region":"r","shared_memory_offset":8,"shared_memory_byte_size":%d}}]}`
	w := ask(mux, "POST", "/v2/models/m/infer", nil, fmt.Appendf(nil, req, 8))
	want := `{"model_name":"m","model_version":"1","outputs":[{"name":"x","datatype":"UINT8","shape":[4],"parameters":{"shared_memory_region":"r","shared_memory_offset":8,"shared_memory_byte_size":4}}]}`
	if w.Body.String() != want {
		t.Errorf("%s", w.Body)
	}
	got := make([]byte, 4)
	if err := p.shm.read(got, "r", 8); err != nil || !bytes.Equal(got, []byte{1, 2, 3, 4}) {
		t.Errorf("%v %v", got, err)
	}
	for _, size := range []int{2, 100} {
		if w := ask(mux, "POST", "/v2/models/m/infer", nil, fmt.Appendf(nil, req, size)); w.Code != 400 || !strings.Contains(w.Body.String(), "output 'x'") {
			t.Errorf("%d: %d %s", size, w.Code, w.Body)
		}
	}
}

// Exchanges are reused by requests of other shapes, sizes and wires without a trace of the last one.
func TestReuseUnderLoad(t *testing.T) {
	_, mux, _ := newREST(answerInputs)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				n := (g*31+i*7)%50 + 1
				values := make([]float32, n)
				for j := range values {
					values[j] = float32(g*1000+i) + float32(j)/4
				}
				data, _ := json.Marshal(values)
				head := []string{}
				body := fmt.Appendf(nil, `{"id":"%d-%d","inputs":[{"name":"x%d","shape":[%d],"datatype":"FP32","data":%s}]}`, g, i, i%3, n, data)
				if i%10 == 9 {
					body = []byte(`{"inputs":[{"name":"bad","shape":[2],"datatype":"FP32","data":[1]}]}`)
				}
				w := ask(mux, "POST", "/v2/models/m/infer", head, body)
				if i%10 == 9 {
					if w.Code != 400 {
						t.Error(w.Body)
					}
					continue
				}
				var out struct {
					ID      string
					Outputs []struct {
						Name string
						Data []float32
					}
				}
				if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || out.ID != fmt.Sprintf("%d-%d", g, i) ||
					len(out.Outputs) != 1 || out.Outputs[0].Name != fmt.Sprintf("x%d", i%3) || !reflect.DeepEqual(out.Outputs[0].Data, values) {
					t.Errorf("%v %s", err, w.Body)
					return
				}
			}
		})
	}
	wg.Wait()
}

// discard is a ResponseWriter that keeps nothing and is reused.
type discard struct {
	head http.Header
	n    int
}

func (d *discard) Header() http.Header         { return d.head }
func (d *discard) Write(b []byte) (int, error) { d.n += len(b); return len(b), nil }
func (d *discard) WriteHeader(int)             {}

// bodyReader is a request's body that can be rewound.
type bodyReader struct{ bytes.Reader }

func (*bodyReader) Close() error { return nil }

// fixed answers [1, 2] without a look at the input, as a model would; it allocates nothing.
func fixed() serval.HandlerFunc {
	data := make([]byte, 8)
	le32(data, 0, 0.25)
	le32(data, 4, 0.75)
	chunk := &serval.Chunk{Finish: serval.Stop, Output: &serval.Tensors{List: []serval.Tensor{{Name: "probabilities", DType: serval.FP32, Shape: []int64{1, 2}, Data: data}}}}
	return func(_ context.Context, r *serval.Request, sink serval.Sink) error {
		r.Model.Version = "1"
		return sink.Send(chunk)
	}
}

func le32(b []byte, at int, f float32) {
	u := math.Float32bits(f)
	b[at], b[at+1], b[at+2], b[at+3] = byte(u), byte(u>>8), byte(u>>16), byte(u>>24)
}

func thirtyFeatures(id string) []byte {
	b := []byte(`{` + id + `"inputs":[{"name":"features","shape":[1,30],"datatype":"FP32","data":[`)
	for i := range 30 {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, "%.6f", math.Sin(float64(i))*3)
	}
	return append(b, `]}]}`...)
}

func benchRequest(body []byte) (func() *discard, *Protocol) {
	p := New(protocol.Backend{Handler: fixed(), Models: restModels{}, Config: protocol.Limits{MaxBody: 1 << 20}}, Options{})
	src := &bodyReader{}
	r := httptest.NewRequest("POST", "/v2/models/m/infer", nil)
	r.Body = src
	r.ContentLength = int64(len(body))
	r.SetPathValue("model", "m")
	w := &discard{head: http.Header{}}
	return func() *discard {
		src.Reset(body)
		clear(w.head)
		w.n = 0
		p.serveInfer(w, r)
		return w
	}, p
}

// A plain JSON request allocates the two header values of its answer, and one string for an id.
func TestInferAllocates(t *testing.T) {
	for _, c := range []struct {
		body []byte
		most float64
	}{{thirtyFeatures(""), 3}, {thirtyFeatures(`"id":"some-request",`), 5}} {
		serve, _ := benchRequest(c.body)
		serve()
		if got := testing.AllocsPerRun(200, func() { serve() }); got > c.most && !raceEnabled {
			t.Errorf("%.0f allocations a request, want at most %.0f", got, c.most)
		}
	}
}

func BenchmarkInferJSON(b *testing.B) {
	for name, body := range map[string][]byte{"30 features": thirtyFeatures(""), "30 features and id": thirtyFeatures(`"id":"some-request",`)} {
		b.Run(name, func(b *testing.B) {
			serve, _ := benchRequest(body)
			b.ReportAllocs()
			for b.Loop() {
				if w := serve(); w.n == 0 {
					b.Fatal("no answer")
				}
			}
		})
	}
}
