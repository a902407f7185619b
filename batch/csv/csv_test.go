package csv

import (
	"bytes"
	"context"
	stdcsv "encoding/csv"
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
type text struct {
	name string
	data []byte
}

func (o *text) Name() string    { return o.name }
func (o *text) Size() int64     { return int64(len(o.data)) }
func (o *text) Version() string { return "1" }
func (o *text) At() io.ReaderAt { return bytes.NewReader(o.data) }
func (o *text) Open(_ context.Context, offset int64) (io.ReadCloser, error) {
	return io.NopCloser(&dribble{bytes.NewReader(o.data[min(offset, int64(len(o.data))):])}), nil
}

// dribble gives little at once, so that rows lie across reads.
type dribble struct{ r io.Reader }

func (d *dribble) Read(p []byte) (int, error) { return d.r.Read(p[:min(len(p), 7)]) }

// rows reads a whole object as texts, n rows at once, each time from the Mark on if again.
func rows(t testing.TB, data []byte, options map[string]string, n int, again bool) (header []string, good [][]string, bad []batch.Bad) {
	t.Helper()
	o := &text{"x.csv", data}
	var mark batch.Mark
	var r batch.Reader
	open := func() bool {
		var err error
		if r, err = (Format{}).Open(t.Context(), o, options); err != nil {
			bad = []batch.Bad{{Reason: err.Error()}}
			return false
		}
		columns := r.Columns()
		header = nil
		for _, c := range columns {
			header = append(header, c.Name)
		}
		if err := r.Select(columns, mark); err != nil {
			bad = []batch.Bad{{Reason: err.Error()}} // two columns of one name
			return false
		}
		return true
	}
	if !open() {
		return header, nil, bad
	}
	next := int64(1)
	for {
		var b batch.Block
		err := r.Read(t.Context(), &b, n)
		if err == io.EOF {
			return header, good, bad
		} else if err != nil {
			t.Fatal(err)
		}
		if b.First != next || b.Rows < 1 || b.Rows > n {
			t.Fatalf("block of %d rows from %d on, where %d is next", b.Rows, b.First, next)
		}
		next += int64(b.Rows)
		at := len(good)
		for range b.Rows - len(b.Bad) {
			good = append(good, nil)
		}
		for _, v := range b.Vectors {
			rest := v.Data
			for i := at; i < len(good); i++ {
				var e []byte
				e, rest, _ = serval.NextBytes(rest)
				good[i] = append(good[i], string(e))
			}
			if len(rest) > 0 {
				t.Fatal("more values than rows")
			}
		}
		bad = append(bad, b.Bad...)
		if again {
			mark = r.Mark()
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			if !open() {
				t.Fatal(bad)
			}
		}
	}
}

func TestRead(t *testing.T) {
	for name, c := range map[string]struct {
		data    string
		options map[string]string
		header  string
		rows    string
		bad     string // row:reason
	}{
		"plain":         {data: "a,b\n1,2\n3,4\n", header: "a|b", rows: "1|2 3|4"},
		"no end":        {data: "a,b\n1,2", header: "a|b", rows: "1|2"},
		"crlf":          {data: "a,b\r\n1,2\r\n", header: "a|b", rows: "1|2"},
		"bom":           {data: "\xef\xbb\xbfa,b\n1,2\n", header: "a|b", rows: "1|2"},
		"semicolons":    {data: "a;b\n1,5;2\n", header: "a|b", rows: "1,5|2"},
		"tab":           {data: "a\tb\n1\t2\n", header: "a|b", rows: "1|2"},
		"option":        {data: "a|b,c\n1|2\n", options: map[string]string{"delimiter": "|"}, header: "a|b,c", rows: "1|2"},
		"headless":      {data: "1,2.5\n3,nan\n", header: "1|2", rows: "1|2.5 3|nan"},
		"header no":     {data: "a,b\n", options: map[string]string{"header": "no"}, header: "1|2", rows: "a|b"},
		"header yes":    {data: "1,2\n3,4\n", options: map[string]string{"header": "yes"}, header: "1|2", rows: "3|4"},
		"quotes":        {data: "a,b\n\"x,y\",\"say \"\"hi\"\"\"\n\"\",z\n", header: "a|b", rows: `x,y|say_"hi" |z`},
		"quoted header": {data: "\"a,1\", b \n1,2\n", header: "a,1|b", rows: "1|2"},
		"line in cell":  {data: "a,b\n\"x\ny\",2\n3,4\n", header: "a|b", rows: "x/y|2 3|4"},
		"empty lines":   {data: "\n\na,b\n\n1,2\n\n\n3,4\n\n", header: "a|b", rows: "1|2 3|4"},
		"empty cells":   {data: "a,b\n,\n1,\n", header: "a|b", rows: "| 1|"},
		"only header":   {data: "a,b\n", header: "a|b"},
		"few fields":    {data: "a,b\n1\n3,4\n", header: "a|b", rows: "3|4", bad: "1:line 2: 1 fields, where the file has 2 columns"},
		"many fields":   {data: "a,b\n3,4\n1,2,3", header: "a|b", rows: "3|4", bad: "2:line 3: 3 fields, where the file has 2 columns"},
		"bare quote":    {data: "a,b\n1\",2\n3,4\n", header: "a|b", rows: "3|4", bad: "1:line 2: a quote inside a field that is not quoted"},
		"open quote":    {data: "a,b\n\"1,2\n3,4\n5,6\n", header: "a|b", rows: "3|4 5|6", bad: "1:line 2: a quoted field that is not closed"},
		"behind quote":  {data: "a,b\n\"1\"x,2\n3,4\n", header: "a|b", rows: "3|4", bad: "1:line 2: text between a closing quote and the delimiter; a quote inside a quoted field is written twice"},
		"giant":         {data: "a,b\n" + strings.Repeat("x", 99) + ",2\n3,4\n", options: map[string]string{"max_record": "50"}, header: "a|b", rows: "3|4", bad: "1:line 2: longer than 50 bytes, which is the option max_record"},
		"giant end":     {data: "a,b\n3,4\n" + strings.Repeat("x", 99), options: map[string]string{"max_record": "50"}, header: "a|b", rows: "3|4", bad: "2:line 3: longer than 50 bytes, which is the option max_record"},
		"long quote":    {data: "a,b\n\"" + strings.Repeat("x\n", 40) + "\",2\n3,4\n", options: map[string]string{"max_record": "50"}, header: "a|b", bad: "1:line 2: a quoted field that is not closed within 50 bytes (max_record) …"},
		"empty":         {data: "", bad: "0:x.csv: empty; the first line must name the columns"},
		"unknown":       {data: "a\n", options: map[string]string{"colour": "x"}, bad: `0:csv has no option "colour"; there are delimiter, header, max_record, crlf`},
	} {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{1, 2, 1000} {
				for _, again := range []bool{false, true} {
					header, good, bad := rows(t, []byte(c.data), c.options, n, again)
					var lines, faults []string
					for _, row := range good {
						lines = append(lines, strings.NewReplacer(" ", "_", "\n", "/").Replace(strings.Join(row, "|")))
					}
					for _, b := range bad {
						faults = append(faults, fmt.Sprintf("%d:%s", b.Row, b.Reason))
					}
					got := strings.Join(faults, ";")
					if more, ok := strings.CutSuffix(c.bad, " …"); ok {
						if !strings.HasPrefix(got, more) {
							t.Errorf("bad rows %s", got)
						}
						continue
					}
					if strings.Join(header, "|") != c.header && c.header != "" || strings.Join(lines, " ") != c.rows || got != c.bad {
						t.Errorf("%d rows at once: header %q, rows %q, bad %q", n, header, lines, got)
					}
				}
			}
		})
	}
}

// TestSelect reads columns as numbers, in another order, one of them twice.
func TestSelect(t *testing.T) {
	r, err := Format{}.Open(t.Context(), &text{"x.csv", []byte("a,b,c\n1,x,2.5\nno,y,1\n-3, z ,1e3\n4,w,\n")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Select([]batch.Column{{Name: "c", Type: serval.FP32}, {Name: "b", Type: serval.Bytes}, {Name: "a", Type: serval.Int8}, {Name: "a", Type: serval.Bytes}}, nil); err != nil {
		t.Fatal(err)
	}
	var b batch.Block
	if err := r.Read(t.Context(), &b, 10); err != nil {
		t.Fatal(err)
	}
	var got []any
	for _, v := range b.Vectors {
		if v.DType == serval.Bytes {
			for rest := v.Data; len(rest) > 0; {
				var e []byte
				e, rest, _ = serval.NextBytes(rest)
				got = append(got, string(e))
			}
			continue
		}
		for i := range b.Rows - len(b.Bad) {
			got = append(got, v.DType.Numbers()(v.Data, i))
		}
	}
	if want := []any{2.5, 1000., "x", " z ", 1., -3., "1", "-3"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	if len(b.Bad) != 2 || b.Bad[0].Column != "a" || b.Bad[0].Row != 2 || string(b.Bad[0].Raw) != "no,y,1" || b.Bad[1].Column != "c" {
		t.Errorf("bad %+v", b.Bad)
	}
	for want, c := range map[string]batch.Column{"no column 'd'": {Name: "d"}, "map several columns": {Name: "a", Shape: []int64{3}}} {
		r, err := Format{}.Open(t.Context(), &text{"x.csv", []byte("a,b,c\n1,x,2.5\n")}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Select([]batch.Column{c}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v", err)
		}
	}
}

// TestWrite writes every type, reads it back with the standard library, and goes on from a Mark.
func TestWrite(t *testing.T) {
	le := func(d serval.DType, texts ...string) []byte {
		var out []byte
		for _, s := range texts {
			var err error
			if out, err = batch.AppendText(out, d, []byte(s)); err != nil {
				t.Fatal(err)
			}
		}
		return out
	}
	vectors := []batch.Vector{
		{Name: "text, quoted", DType: serval.Bytes, Data: le(serval.Bytes, "a\"b", "c\nd", "")},
		{Name: "f32", DType: serval.FP32, Data: le(serval.FP32, "0.1", "123456792", "nan")},
		{Name: "f64", DType: serval.FP64, Data: le(serval.FP64, "0.1", "-1e300", "inf")},
		{Name: "i64", DType: serval.Int64, Data: le(serval.Int64, "-9223372036854775808", "0", "7")},
		{Name: "u8", DType: serval.Uint8, Data: le(serval.Uint8, "255", "0", "7"), Null: []bool{false, true, false}},
		{Name: "bool", DType: serval.Bool, Data: le(serval.Bool, "true", "false", "1")},
		{Name: "list", DType: serval.FP32, Shape: []int64{2}, Data: le(serval.FP32, "1", "2", "3", "4", "5", "6")},
	}
	want := [][]string{
		{"text, quoted", "f32", "f64", "i64", "u8", "bool", "list"},
		{"a\"b", "0.1", "0.1", "-9223372036854775808", "255", "true", "[1.0,2.0]"},
		{"c\nd", "123456790", "-1e+300", "0", "", "false", "[3.0,4.0]"},
		{"", "NaN", "+Inf", "7", "7", "true", "[5.0,6.0]"},
	}
	path := filepath.Join(t.TempDir(), "x.csv")
	w, err := Format{}.Create(path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(vectors, 3); err != nil {
		t.Fatal(err)
	}
	mark, err := w.Sync()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(vectors, 3); err != nil { // lost
		t.Fatal(err)
	}
	if err := w.Abandon(); err != nil {
		t.Fatal(err)
	}
	if _, err := (Format{}).Create(path, nil, nil); !os.IsExist(err) {
		t.Errorf("a file that exists: %v", err)
	}
	if w, err = (Format{}).Create(path, mark, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(vectors[:2], 3); err == nil {
		t.Error("other columns were taken")
	}
	if err := w.Write(vectors, 3); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := stdcsv.NewReader(bytes.NewReader(data)).ReadAll()
	if want := append(want, want[1:]...); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n%q", err, got)
	}
	if err := os.Truncate(path, 20); err != nil {
		t.Fatal(err)
	}
	if _, err := (Format{}).Create(path, mark, nil); err == nil || !strings.Contains(err.Error(), "--restart") {
		t.Errorf("a file that was cut: %v", err)
	}
}

// FuzzRead holds the reader against the standard library, where that takes the text; blocks of any size and any Mark give the same.
func FuzzRead(f *testing.F) {
	for _, s := range []string{"a,b\n1,2\n", "a;b\n\"1;\n\";2\n", "\"a\"\"\",b\n1,\"\n", "a\n\n\"\"\n", "a,b\n\"1,2\n3,4\n"} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, n uint8) {
		options := map[string]string{"header": "yes", "delimiter": ",", "max_record": "300"}
		header, good, bad := rows(t, data, options, int(n)+1, false)
		header2, good2, bad2 := rows(t, data, options, 1, true)
		if !reflect.DeepEqual(header, header2) || !reflect.DeepEqual(good, good2) || !reflect.DeepEqual(bad, bad2) {
			t.Fatalf("blocks of %d rows: %q %q %v\none by one: %q %q %v", n+1, header, good, bad, header2, good2, bad2)
		}
		std := stdcsv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))))
		want, err := std.ReadAll()
		if err != nil || len(want) == 0 || len(data) > 300 || bytes.ContainsRune(data, '\r') {
			return
		}
		seen := map[string]bool{}
		for i, name := range want[0] {
			if want[0][i] = strings.TrimSpace(name); seen[want[0][i]] {
				return
			}
			seen[want[0][i]] = true
		}
		if len(bad) > 0 || !reflect.DeepEqual(header, want[0]) || len(good) != len(want)-1 || len(good) > 0 && !reflect.DeepEqual(good, want[1:]) {
			t.Fatalf("header %q, rows %q, bad %v\nthe standard library: %q", header, good, bad, want)
		}
	})
}

// FuzzFloats reads any text as numbers, in blocks of any size: rows and bad rows are what AppendText says of each cell.
func FuzzFloats(f *testing.F) {
	f.Add("1,2\n3,4\n", uint8(1))
	f.Add("-1.5,nan\nx,2\n1e3,.5\n\"7\",\" 8\"\n,1\n1,2,3\n", uint8(4))
	f.Fuzz(func(t *testing.T, data string, n uint8) {
		options := map[string]string{"header": "no", "delimiter": ","}
		_, texts, _ := rows(t, []byte(data), options, 7, false)
		r, err := Format{}.Open(t.Context(), &text{"x.csv", []byte(data)}, options)
		if err != nil {
			return
		}
		columns := r.Columns()
		for i := range columns {
			columns[i].Type = []serval.DType{serval.FP32, serval.FP64}[i%2]
		}
		if err := r.Select(columns, nil); err != nil {
			t.Fatal(err)
		}
		want := make([][]byte, len(columns))
		for _, row := range texts {
			cells, whole := make([][]byte, len(row)), true
			for i, cell := range row {
				var err error
				if cells[i], err = batch.AppendText(nil, columns[i].Type, []byte(cell)); err != nil {
					whole = false
				}
			}
			for i := range cells {
				if whole {
					want[i] = append(want[i], cells[i]...)
				}
			}
		}
		got := make([][]byte, len(columns))
		for {
			var b batch.Block
			if err := r.Read(t.Context(), &b, int(n)+1); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			for i, v := range b.Vectors {
				if len(v.Data) != (b.Rows-len(b.Bad))*v.DType.Size() {
					t.Fatalf("%d bytes for %d rows of %s", len(v.Data), b.Rows-len(b.Bad), v.DType)
				}
				got[i] = append(got[i], v.Data...)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %x, want %x", data, got, want)
		}
	})
}

// big is a table of 20 numbers a row.
func big(n int) []byte {
	var b bytes.Buffer
	for c := range 20 {
		fmt.Fprintf(&b, "c%d,", c)
	}
	b.WriteString("id\n")
	for i := range n {
		for c := range 20 {
			fmt.Fprintf(&b, "%.4f,", float64((i*31+c*17)%9973)/7)
		}
		fmt.Fprintf(&b, "row-%d\n", i)
	}
	return b.Bytes()
}

type plain struct{ text }

func (o *plain) Open(_ context.Context, offset int64) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(o.data[offset:])), nil
}

func BenchmarkRead(b *testing.B) {
	const n = 20000
	data := big(n)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		r, err := Format{}.Open(b.Context(), &plain{text{"x.csv", data}}, nil)
		if err != nil {
			b.Fatal(err)
		}
		columns := r.Columns()
		for i := range columns[:20] {
			columns[i].Type = serval.FP32
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

func BenchmarkWrite(b *testing.B) {
	const n = 4096
	v := []batch.Vector{{Name: "id", DType: serval.Bytes}, {Name: "p", DType: serval.FP32}, {Name: "q", DType: serval.FP32}}
	for i := range n {
		v[0].Data = serval.AppendString(v[0].Data, fmt.Sprint("row-", i))
		for k := 1; k < 3; k++ {
			v[k].Data, _ = batch.AppendText(v[k].Data, serval.FP32, fmt.Append(nil, float32(i*k)/4096))
		}
	}
	w, err := Format{}.Create(filepath.Join(b.TempDir(), "x.csv"), nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := w.Write(v, n); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}
