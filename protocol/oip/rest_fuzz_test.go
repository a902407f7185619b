package oip

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"serval"
)

// goldenBodies are the request bodies of testdata/infer.golden: the seeds.
func goldenBodies(f *testing.F) []string {
	text, err := os.ReadFile("testdata/infer.golden")
	if err != nil {
		f.Fatal(err)
	}
	var bodies []string
	for _, block := range strings.Split(string(text), "\n## ")[1:] {
		request, _, _ := strings.Cut(block, "\n=> ")
		if i := strings.Index(request, "\n{"); i >= 0 {
			bodies = append(bodies, request[i+1:])
		}
	}
	return bodies
}

// What the decoder accepts is JSON, and its numbers are those that encoding/json and strconv read.
func FuzzInferJSON(f *testing.F) {
	for _, body := range goldenBodies(f) {
		f.Add([]byte(body))
	}
	var seen []serval.Tensor
	_, mux, _ := newREST(func(ctx context.Context, r *serval.Request, sink serval.Sink) error {
		seen = nil
		for _, t := range r.Input.(*serval.Tensors).List {
			t.Data = append([]byte(nil), t.Data...)
			seen = append(seen, t)
		}
		return answerInputs(ctx, r, sink)
	})
	f.Fuzz(func(t *testing.T, body []byte) {
		seen = nil
		w := ask(mux, "POST", "/v2/models/m/infer", nil, body)
		if w.Header().Get("Inference-Header-Content-Length") == "" && !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%q: the answer is not JSON: %q", body, w.Body)
		}
		if w.Code == 500 {
			t.Fatalf("%q: %s", body, w.Body)
		}
		if seen == nil {
			return
		}
		var req struct {
			Inputs []map[string]json.RawMessage `json:"inputs"`
		}
		var top map[string]json.RawMessage
		if json.Unmarshal(body, &top) != nil || json.Unmarshal(top["inputs"], &req.Inputs) != nil || len(req.Inputs) != len(seen) {
			t.Fatalf("accepted %q", body)
		}
		for i, in := range req.Inputs {
			var tree any
			d := json.NewDecoder(strings.NewReader(string(in["data"])))
			d.UseNumber()
			if err := d.Decode(&tree); err != nil {
				t.Fatalf("%q: %v", body, err)
			}
			compareValues(t, &seen[i], flattenJSON(nil, tree))
		}
	})
}

func flattenJSON(dst []any, v any) []any {
	if list, ok := v.([]any); ok {
		for _, e := range list {
			dst = flattenJSON(dst, e)
		}
		return dst
	}
	return append(dst, v)
}

func compareValues(t *testing.T, x *serval.Tensor, want []any) {
	if n, _ := serval.Elements(x.Shape); int(n) != len(want) {
		t.Fatalf("%s: %d values for shape %v", x.Name, len(want), x.Shape)
	}
	for i, v := range want {
		num, ok := v.(json.Number)
		if !ok {
			continue
		}
		var wrong bool
		switch x.DType {
		case serval.FP32:
			f, err := strconv.ParseFloat(string(num), 32)
			wrong = err != nil || math.Float32bits(float32(f)) != binary.LittleEndian.Uint32(x.Data[4*i:])
		case serval.FP64:
			f, err := strconv.ParseFloat(string(num), 64)
			wrong = err != nil || math.Float64bits(f) != binary.LittleEndian.Uint64(x.Data[8*i:])
		case serval.Int64:
			n, err := strconv.ParseInt(string(num), 10, 64)
			wrong = err != nil || uint64(n) != binary.LittleEndian.Uint64(x.Data[8*i:])
		case serval.Uint8:
			n, err := strconv.ParseUint(string(num), 10, 8)
			wrong = string(num) != "-0" && (err != nil || byte(n) != x.Data[i])
		}
		if wrong {
			t.Fatalf("%s: %s as %s is % x", x.Name, num, x.DType, x.Data)
		}
	}
}

// Whatever the header and the sizes claim, the tensors that come through hold what they declare and lie inside the body.
func FuzzBinary(f *testing.F) {
	for _, body := range goldenBodies(f) {
		f.Add("105", []byte(body))
		f.Add("0", []byte(body))
	}
	f.Add("-1", []byte("{}"))
	f.Add("9223372036854775808", []byte("{}"))
	var body []byte
	var bad error
	_, mux, _ := newREST(func(ctx context.Context, r *serval.Request, sink serval.Sink) error {
		total := 0
		for i := range r.Input.(*serval.Tensors).List {
			t := &r.Input.(*serval.Tensors).List[i]
			if err := t.Check(); err != nil {
				bad = err
			}
			total += len(t.Data)
		}
		if total > 4*len(body)+4 {
			bad = serval.Errorf(serval.Internal, "%d bytes of tensors from a body of %d", total, len(body))
		}
		return answerInputs(ctx, r, sink)
	})
	f.Fuzz(func(t *testing.T, header string, b []byte) {
		body, bad = b, nil
		w := ask(mux, "POST", "/v2/models/m/infer", []string{"Inference-Header-Content-Length: " + header}, b)
		if bad != nil || w.Code == 500 {
			t.Fatalf("%q %q: %v %s", header, b, bad, w.Body)
		}
	})
}
