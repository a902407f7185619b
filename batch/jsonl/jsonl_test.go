package jsonl

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"serval"
	"serval/batch"
)

// text is an Object in memory.
type text struct{ data []byte }

func (o *text) Name() string    { return "x.jsonl" }
func (o *text) Size() int64     { return int64(len(o.data)) }
func (o *text) Version() string { return "1" }
func (o *text) At() io.ReaderAt { return bytes.NewReader(o.data) }
func (o *text) Open(_ context.Context, offset int64) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(o.data[min(offset, int64(len(o.data))):])), nil
}

// lines reads a whole object, n rows at once, each time from the Mark on if again, and writes it as JSONL again.
func lines(t testing.TB, data []byte, columns []batch.Column, n int, again bool) (out string, bad []string) {
	t.Helper()
	var mark batch.Mark
	open := func() (batch.Reader, error) {
		r, err := Format{}.Open(t.Context(), &text{data}, map[string]string{"max_record": "2000"})
		if err != nil {
			return nil, err
		}
		if columns == nil {
			columns = r.Columns()
		}
		return r, r.Select(columns, mark)
	}
	r, err := open()
	if err != nil {
		return "", []string{err.Error()}
	}
	path := filepath.Join(t.TempDir(), "out.jsonl")
	w, err := Format{}.Create(path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	next := int64(1)
	for {
		var b batch.Block
		err := r.Read(t.Context(), &b, n)
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if b.First != next || b.Rows < 1 || b.Rows > n {
			t.Fatalf("block of %d rows from %d on, where %d is next", b.Rows, b.First, next)
		}
		next += int64(b.Rows)
		good := b.Rows - len(b.Bad)
		for _, v := range b.Vectors {
			each, _ := serval.Elements(v.Shape)
			if v.DType != serval.Bytes && len(v.Data) != good*int(each)*v.DType.Size() || v.Null != nil && len(v.Null) > good {
				t.Fatalf("column %s: %d bytes, %d nulls for %d rows", v.Name, len(v.Data), len(v.Null), good)
			}
		}
		for i := range b.Vectors {
			for v := &b.Vectors[i]; v.Null != nil && len(v.Null) < good; {
				t.Fatalf("column %s: %d nulls for %d rows", v.Name, len(v.Null), good)
			}
		}
		if err := w.Write(b.Vectors, good); err != nil {
			t.Fatal(err)
		}
		for _, x := range b.Bad {
			bad = append(bad, fmt.Sprintf("%d:%s:%s", x.Row, x.Column, x.Reason))
		}
		if again {
			mark = r.Mark()
			_ = r.Close()
			if r, err = open(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(got), bad
}

func TestRoundTrip(t *testing.T) {
	for name, c := range map[string]struct{ in, out, bad string }{
		"plain":     {in: "{\"a\":1,\"b\":\"x\"}\n{\"a\":2,\"b\":\"y\"}\n"},
		"crlf":      {in: "{\"a\":1}\r\n\r\n{\"a\":2}", out: "{\"a\":1}\n{\"a\":2}\n"},
		"spaces":    {in: " { \"a\" : 1 , \"b\" : [ 1 , 2 ] } \n", out: "{\"a\":1,\"b\":[1.0,2.0]}\n"},
		"types":     {in: "{\"i\":-7,\"f\":0.25,\"s\":\"a\\\"\\u00e9\\n\",\"t\":true,\"l\":[[1,2],[3,4]],\"o\":{\"x\":[1,null]},\"m\":[\"a\",1]}\n", out: "{\"i\":-7,\"f\":0.25,\"s\":\"a\\\"é\\n\",\"t\":true,\"l\":[[1.0,2.0],[3.0,4.0]],\"o\":{\"x\":[1,null]},\"m\":[\"a\",1]}\n"},
		"nulls":     {in: "{\"a\":1,\"b\":\"x\"}\n{\"a\":null}\n{\"b\":\"z\",\"a\":3}\n", out: "{\"a\":1,\"b\":\"x\"}\n{\"a\":null,\"b\":null}\n{\"a\":3,\"b\":\"z\"}\n"},
		"all null":  {in: "{\"a\":null}\n{\"a\":null}\n"},
		"order":     {in: "{\"a\":1,\"b\":2}\n{\"b\":4,\"a\":3}\n", out: "{\"a\":1,\"b\":2}\n{\"a\":3,\"b\":4}\n"},
		"mixed":     {in: "{\"a\":1}\n{\"a\":2.5}\n", out: "{\"a\":1}\n{\"a\":2.5}\n"},
		"any":       {in: "{\"a\":1}\n{\"a\":\"x\"}\n{\"a\":[1]}\n"},
		"no object": {in: "{\"a\":1}\n[2]\n{\"a\":3}\n", out: "{\"a\":1}\n{\"a\":3}\n", bad: "2::line 2: a row must be an object {…}, not an array"},
		"cut":       {in: "{\"a\":1}\n{\"a\":", out: "{\"a\":1}\n", bad: "2:a:line 2: invalid JSON: the text ends at byte 5 where a value should be"},
		"behind":    {in: "{\"a\":1}x\n{\"a\":2}\n", out: "{\"a\":2}\n", bad: "1::line 1: invalid JSON at byte 7: 'x' stands where the end should be"},
		"twice":     {in: "{\"a\":1,\"a\":2}\n{\"a\":2}\n", out: "{\"a\":2}\n", bad: "1:a:line 1: given twice"},
		"giant":     {in: "{\"a\":1}\n{\"b\":\"" + strings.Repeat("x", 3000) + "\"}\n{\"a\":3}\n", out: "{\"a\":1,\"b\":null}\n{\"a\":3,\"b\":null}\n", bad: "2::line 2: longer than 2000 bytes, which is the option max_record"},
		"a list":    {in: "[{\"a\":1}]", bad: "x.jsonl: begins with '[': it is one list, where every line must be an object; jq -c '.[]' makes lines of it"},
		"empty":     {in: "\n", bad: "x.jsonl: empty"},
	} {
		t.Run(name, func(t *testing.T) {
			want := c.out
			if want == "" && c.bad == "" {
				want = c.in
			}
			for _, n := range []int{1, 2, 1000} {
				for _, again := range []bool{false, true} {
					if got, bad := lines(t, []byte(c.in), nil, n, again); got != want || strings.Join(bad, ";") != c.bad {
						t.Errorf("%d rows at once:\n%sbad %q", n, got, bad)
					}
				}
			}
		})
	}
}

// TestSelect reads fields as a model's types.
func TestSelect(t *testing.T) {
	in := `{"x":[1,2,3],"n":"4.5","t":true,"s":5,"o":{"a":1}}
{"x":[[1,2,3]],"n":7,"t":1,"s":"text","o":[1]}
{"x":[1,2],"n":7,"t":1,"s":"text","o":1}
{"x":[1,2,3],"n":"seven","t":1,"s":"text","o":1}
{"x":5,"n":1,"t":1,"s":"text","o":1}
{"x":[4,5,6],"n":300,"t":false,"s":null,"o":null}
`
	columns := []batch.Column{{Name: "x", Type: serval.FP32, Shape: []int64{3}}, {Name: "n", Type: serval.FP64}, {Name: "t", Type: serval.Bool}, {Name: "s", Type: serval.Bytes}, {Name: "o", Type: serval.Bytes}, {Name: "n", Type: serval.Bytes}}
	columns[5].Name = "n"
	got, bad := lines(t, []byte(in), columns[:5], 100, false)
	want := `{"x":[1.0,2.0,3.0],"n":4.5,"t":true,"s":"5","o":"{\"a\":1}"}
{"x":[1.0,2.0,3.0],"n":7,"t":true,"s":"text","o":"[1]"}
{"x":[4.0,5.0,6.0],"n":300,"t":false,"s":null,"o":null}
`
	if got != want {
		t.Errorf("got\n%s", got)
	}
	if len(bad) != 3 || !strings.HasPrefix(bad[0], "3:x:") || bad[1] != `4:n:line 4: "seven" is not a number` || bad[2] != "5:x:line 5: a single value, where 3 are needed" {
		t.Errorf("bad %q", bad)
	}
	if _, bad := lines(t, []byte(in), []batch.Column{{Name: "q"}}, 1, false); len(bad) != 1 || !strings.Contains(bad[0], "no field 'q'") {
		t.Errorf("%q", bad)
	}
}

// FuzzRead reads any text in blocks of any size and from any Mark; what is good is JSON that the standard library reads.
func FuzzRead(f *testing.F) {
	for _, s := range []string{`{"a":1,"b":[1,2]}`, "{\"a\":null}\n{\"a\":\"x\",\"c\":{}}\n", "{\"a\":[[1],[2]]}\n{\"a\":[1,2]}\n", "\xef\xbb\xbf{}\n{\"\":true}"} {
		f.Add([]byte(s), uint8(2))
	}
	f.Fuzz(func(t *testing.T, data []byte, n uint8) {
		out, bad := lines(t, data, nil, int(n)+1, false)
		out2, bad2 := lines(t, data, nil, 1, true)
		if out != out2 || !reflect.DeepEqual(bad, bad2) {
			t.Fatalf("blocks of %d rows:\n%s%q\none by one:\n%s%q", n+1, out, bad, out2, bad2)
		}
		for line := range strings.Lines(out) {
			if !json.Valid([]byte(line)) {
				t.Fatalf("not JSON: %q", line)
			}
		}
	})
}

func BenchmarkRead(b *testing.B) {
	const n = 5000
	var data bytes.Buffer
	for i := range n {
		data.WriteString(`{"id":"row-` + fmt.Sprint(i) + `"`)
		for c := range 20 {
			fmt.Fprintf(&data, `,"c%d":%.4f`, c, float64((i*31+c*17)%9973)/7)
		}
		data.WriteString(",\"unused\":{\"a\":[1,2,3]}}\n")
	}
	b.SetBytes(int64(data.Len()))
	for b.Loop() {
		r, err := Format{}.Open(b.Context(), &text{data.Bytes()}, nil)
		if err != nil {
			b.Fatal(err)
		}
		columns := r.Columns()[:21]
		for i := range columns[1:] {
			columns[1+i].Type = serval.FP32
		}
		if err := r.Select(columns, nil); err != nil {
			b.Fatal(err)
		}
		var block batch.Block
		for err == nil {
			err = r.Read(b.Context(), &block, 4096)
		}
		if err != io.EOF {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
