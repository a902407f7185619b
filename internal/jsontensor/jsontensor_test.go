package jsontensor

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"serval"
)

func read(t serval.Tensor, text string) (serval.Tensor, error) {
	var s Scanner
	s.Reset([]byte(text))
	_, err := s.Tensor(&t, nil)
	if err == nil {
		err = s.End()
	}
	return t, err
}

// Every value goes in and comes out as it was.
func TestValuesRoundTrip(t *testing.T) {
	for _, c := range []struct {
		d       serval.DType
		shape   []int64
		in, out string
	}{
		{serval.FP32, []int64{2, 3}, ` [ [1, 2.5,-0],[1e3 ,0.1,3.4028235e38]] `, `[1.0,2.5,-0.0,1000.0,0.1,3.4028235e+38]`},
		{serval.FP32, []int64{3}, `["NaN","Infinity","-Infinity"]`, `["NaN","Infinity","-Infinity"]`},
		{serval.FP32, []int64{2}, `[1e-46,16777217]`, `[0.0,16777216.0]`},
		{serval.FP64, []int64{4}, `[0.30000000000000004,1e-400,123456789012345678901234567890,5e-324]`, `[0.30000000000000004,0.0,1.2345678901234568e+29,5e-324]`},
		{serval.Int64, []int64{1, 2}, `[[-9223372036854775808,9223372036854775807]]`, `[-9223372036854775808,9223372036854775807]`},
		{serval.Uint64, []int64{2}, `[18446744073709551615,0]`, `[18446744073709551615,0]`},
		{serval.Int8, []int64{2}, `[-128,127]`, `[-128,127]`},
		{serval.Uint16, []int64{1}, `[65535]`, `[65535]`},
		{serval.Bool, []int64{4}, `[true,false,1,0]`, `[true,false,true,false]`},
		{serval.Bytes, []int64{4}, `["a\u00e9\n\"\\", "", "\ud83d\ude00", "äöü"]`, `["aé\n\"\\","","😀","äöü"]`},
		{serval.FP32, []int64{0, 3}, `[]`, `[]`},
		{serval.FP32, []int64{2, 0}, `[[],[]]`, `[]`},
		{serval.FP32, []int64{}, `[7]`, `[7.0]`},
		{serval.FP32, []int64{}, ` 7 `, `[7.0]`},
		{serval.Bytes, []int64{}, `"a"`, `["a"]`},
		{serval.Bool, nil, `true`, `[true]`},
		{serval.FP32, []int64{4}, `[[[1],[2]],[[3],[4]]]`, `[1.0,2.0,3.0,4.0]`},
	} {
		got, err := read(serval.Tensor{Name: "x", DType: c.d, Shape: c.shape}, c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		out, err := AppendFlat(nil, &got)
		if err != nil || string(out) != c.out {
			t.Errorf("%s became %s, want %s (%v)", c.in, out, c.out, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		d     serval.DType
		shape []int64
		in    string
		want  string
	}{
		{serval.FP32, []int64{2, 3}, `[1,2,3,4,5]`, `input 'x': shape [2,3] of FP32 takes 6 values, the data holds 5`},
		{serval.FP32, []int64{2}, `[1,2,3]`, `input 'x': shape [2] of FP32 takes 2 values, the data holds more`},
		{serval.FP32, []int64{1000000000000, 30}, `[1,2,3]`, `input 'x': shape [1000000000000,30] of FP32 takes 30000000000000 values, the data holds 3`},
		{serval.FP32, []int64{1 << 40, 1 << 40}, `[1]`, `input 'x': shape [1099511627776,1099511627776] has a negative dimension or more elements than can be counted`},
		{serval.FP32, []int64{1}, `[NaN]`, `input 'x': data[0] is NaN, which JSON does not have; put it in quotes ("NaN", "Infinity", "-Infinity") or send the tensor as binary data (parameter binary_data_size)`},
		{serval.FP32, []int64{1}, `[-Infinity]`, `input 'x': data[0] is -Infinity, which JSON does not have; put it in quotes ("NaN", "Infinity", "-Infinity") or send the tensor as binary data (parameter binary_data_size)`},
		{serval.FP32, []int64{1}, `[1e39]`, `input 'x': data[0] is 1e39, which is out of the range of FP32`},
		{serval.FP32, []int64{1}, `["a"]`, `input 'x': data[0] is "a", which is a string; FP32 takes numbers, "NaN", "Infinity" and "-Infinity"`},
		{serval.FP32, []int64{1}, `[null]`, `input 'x': data[0] is null; FP32 takes numbers`},
		{serval.FP32, []int64{1}, `[01]`, `invalid JSON at byte 1: '0' stands where a value of input 'x' should be`},
		{serval.FP16, []int64{1}, `[1]`, `input 'x': FP16 cannot be sent as JSON; send it as binary data (parameter binary_data_size)`},
		{serval.Int8, []int64{2}, `[1,300]`, `input 'x': data[1] is 300, which is out of the range of INT8`},
		{serval.Uint8, []int64{1}, `[-1]`, `input 'x': data[0] is -1, which is out of the range of UINT8`},
		{serval.Int64, []int64{1}, `[1.5]`, `input 'x': data[0] is 1.5, which is not a whole number, which INT64 takes`},
		{serval.Uint64, []int64{1}, `[18446744073709551616]`, `input 'x': data[0] is 18446744073709551616, which is out of the range of UINT64`},
		{serval.Bool, []int64{1}, `[2]`, `input 'x': data[0] is 2, which is not a BOOL: write true or false`},
		{serval.Bytes, []int64{1}, `[2]`, `input 'x': data[0] is a number; BYTES takes strings`},
		{serval.Bytes, []int64{1}, `["\ud800"]`, `invalid JSON at byte 2: \ud800 is half of a surrogate pair; send bytes that are not text as binary data`},
		{serval.FP32, []int64{3}, `[[1,2],[3]]`, `input 'x': data is ragged: arrays of one level have 2 and 1 elements`},
		{serval.FP32, []int64{2}, `[1,[2]]`, `input 'x': data is ragged: values stand at different levels of nesting`},
		{serval.FP32, []int64{1}, `[[[]],[1]]`, `input 'x': data is ragged: values stand at different levels of nesting`},
		{serval.FP32, []int64{1}, strings.Repeat("[", 100000), `input 'x': data is nested deeper than 32 levels`},
		{serval.FP32, []int64{1}, `5`, `input 'x': data must be an array, not a number`},
		{serval.FP32, nil, ``, `invalid JSON: the text ends at byte 0 where a value of input 'x' should be`},
		{serval.FP32, []int64{2}, `[1,]`, `invalid JSON at byte 3: ']' stands where a value of input 'x' should be`},
		{serval.FP32, []int64{2}, `[1 2]`, `invalid JSON at byte 3: '2' stands where ',' or ']' should be`},
		{serval.FP32, []int64{2}, `[1,2`, `invalid JSON: the text ends at byte 4 where ',' or ']' should be`},
		{serval.FP32, []int64{1}, `[1]]`, `invalid JSON at byte 3: ']' stands where the end should be`},
	} {
		_, err := read(serval.Tensor{Name: "x", DType: c.d, Shape: c.shape}, c.in)
		if err == nil || err.Error() != c.want {
			t.Errorf("%.40s:\n got %v\nwant %s", c.in, err, c.want)
		}
	}
}

// Numbers of every length and size round as strconv's do, which rounds correctly.
func TestFloatsRoundCorrectly(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var texts []string
	for range 20000 {
		f := math.Float32frombits(rng.Uint32())
		if f != f || math.IsInf(float64(f), 0) {
			continue
		}
		next := math.Nextafter32(f, 0)
		middle := (float64(f) + float64(next)) / 2
		texts = append(texts, strconv.FormatFloat(float64(f), 'g', -1, 32), strconv.FormatFloat(float64(f), 'f', -1, 64),
			strconv.FormatFloat(middle, 'e', 17, 64), strconv.FormatFloat(middle, 'f', -1, 64),
			strconv.FormatFloat(rng.Float64(), 'g', 1+rng.IntN(20), 64), strconv.FormatUint(rng.Uint64()>>rng.IntN(64), 10)+"e-"+strconv.Itoa(rng.IntN(30)))
	}
	for _, text := range texts {
		f32, err32 := strconv.ParseFloat(text, 32)
		f64, err64 := strconv.ParseFloat(text, 64)
		for _, c := range []struct {
			d    serval.DType
			want float64
			err  error
		}{{serval.FP32, f32, err32}, {serval.FP64, f64, err64}} {
			got, err := read(serval.Tensor{Name: "x", DType: c.d, Shape: []int64{1}}, "["+text+"]")
			if (err == nil) != (c.err == nil) {
				t.Fatalf("%s as %s: %v, strconv says %v", text, c.d, err, c.err)
			}
			if err != nil {
				continue
			}
			if v := floatsOf(got)[0]; math.Float64bits(v) != math.Float64bits(c.want) {
				t.Fatalf("%s as %s is %v, want %v", text, c.d, v, c.want)
			}
		}
	}
}

func TestNestedAndRows(t *testing.T) {
	x := serval.Tensor{Name: "x", DType: serval.Int8, Shape: []int64{2, 1, 2}, Data: []byte{1, 2, 3, 4}}
	s := serval.Tensor{Name: "s", DType: serval.Bytes, Shape: []int64{2}, Data: serval.AppendString(serval.AppendString(nil, "a"), "b")}
	if got, err := AppendNested(nil, &x); string(got) != "[[[1,2]],[[3,4]]]" {
		t.Error(string(got), err)
	}
	for _, c := range []struct {
		t    *serval.Tensor
		want string
	}{{&x, "[[1,2]] [[3,4]] "}, {&s, `"a" "b" `}} {
		rows, err := NewRows(c.t)
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		for range c.t.Shape[0] {
			if got, err = rows.Append(got); err != nil {
				t.Fatal(err)
			}
			got = append(got, ' ')
		}
		if string(got) != c.want {
			t.Errorf("rows %s, want %s", got, c.want)
		}
	}
	x.Data = x.Data[:3]
	if _, err := AppendFlat(nil, &x); err == nil {
		t.Error("a short answer was taken")
	}
}

func TestShape(t *testing.T) {
	for text, want := range map[string]string{`[[1,2,3],[4,5,6]]`: "[2,3]", `5`: "[]", `[]`: "[0]", `[[],[]]`: "[2,0]", `["a","b"]`: "[2]"} {
		var s Scanner
		s.Reset([]byte(text))
		if got, err := s.Shape(nil); serval.ShapeString(got) != want || err != nil || s.Pos() != 0 {
			t.Errorf("%s: %v %v", text, got, err)
		}
	}
}

func TestHugeShapeAllocatesNothing(t *testing.T) {
	x := serval.Tensor{Name: "x", DType: serval.FP64, Shape: []int64{1000000000000, 30}}
	var s Scanner
	text := []byte(`[1,2,3]`)
	r := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			s.Reset(text)
			s.Tensor(&x, nil)
		}
	})
	if r.AllocedBytesPerOp() > 4096 {
		t.Errorf("%d bytes for a refused shape", r.AllocedBytesPerOp())
	}
}

func floatsOf(t serval.Tensor) []float64 {
	var out []float64
	for i := 0; i < len(t.Data); i += t.DType.Size() {
		if t.DType == serval.FP32 {
			out = append(out, float64(math.Float32frombits(uint32(t.Data[i])|uint32(t.Data[i+1])<<8|uint32(t.Data[i+2])<<16|uint32(t.Data[i+3])<<24)))
		} else {
			var u uint64
			for j := range 8 {
				u |= uint64(t.Data[i+j]) << (8 * j)
			}
			out = append(out, math.Float64frombits(u))
		}
	}
	return out
}

// What is accepted is JSON, and holds what encoding/json reads.
func FuzzTensor(f *testing.F) {
	for _, seed := range []string{`[1,2.5,-3e2]`, `[[1],[2]]`, `[0.1,1e22,123456789012345678]`, `["NaN",1]`, `[1e-400,1.7976931348623157e308]`, `[]`, `[[[[[`, `[1,]`, `[-]`, `[1.e1]`} {
		f.Add([]byte(seed), 3)
	}
	f.Fuzz(func(t *testing.T, text []byte, n int) {
		for _, d := range []serval.DType{serval.FP32, serval.FP64, serval.Int32, serval.Bytes} {
			x := serval.Tensor{Name: "x", DType: d, Shape: []int64{int64(n)}}
			var s Scanner
			s.Reset(text)
			if _, err := s.Tensor(&x, nil); err != nil || s.End() != nil {
				continue
			}
			var tree any
			dec := json.NewDecoder(strings.NewReader(string(text)))
			dec.UseNumber()
			if !json.Valid(text) || dec.Decode(&tree) != nil {
				t.Fatalf("accepted %q, which is not JSON", text)
			}
			flat := flatten(nil, tree)
			if len(flat) != n {
				t.Fatalf("%q holds %d values, not %d", text, len(flat), n)
			}
			if d != serval.FP32 && d != serval.FP64 {
				continue
			}
			for i, got := range floatsOf(x) {
				num, ok := flat[i].(json.Number)
				if !ok {
					continue
				}
				want, err := strconv.ParseFloat(string(num), d.Size()*8)
				if err != nil || math.Float64bits(want) != math.Float64bits(got) {
					t.Fatalf("%s as %s is %v, want %v (%v)", num, d, got, want, err)
				}
			}
		}
	})
}

func flatten(dst []any, v any) []any {
	if list, ok := v.([]any); ok {
		for _, e := range list {
			dst = flatten(dst, e)
		}
		return dst
	}
	return append(dst, v)
}

// FuzzValue: what Value takes is what Tensor takes, to the byte.
func FuzzValue(f *testing.F) {
	for _, text := range []string{"1", "-0.0", " 16777217", "1.5e3,", "0.1000000014901161193847656251", "-129]", "1e400", "01", "-", "null", "2147483648", "-9223372036854775808", "9223372036854775808", "3.0"} {
		for d := serval.Bool; d <= serval.Bytes; d++ {
			f.Add(uint8(d), text)
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, text string) {
		d := serval.DType(kind)
		if d > serval.Bytes {
			return
		}
		var a, b Scanner
		a.Reset([]byte(text))
		b.Reset([]byte(text))
		dst := make([]byte, d.Size())
		if !a.Value(d, dst) {
			if c := b.Peek(); a.Pos() != b.Pos() {
				t.Fatalf("%s %q: at %d, not %d (%q)", d, text, a.Pos(), b.Pos(), c)
			}
			return
		}
		one := serval.Tensor{Name: "x", DType: d}
		if _, err := b.Tensor(&one, nil); err != nil || !bytes.Equal(dst, one.Data) || a.Pos() != b.Pos() {
			t.Fatalf("%s %q: %x up to %d; Tensor: %x up to %d, %v", d, text, dst, a.Pos(), one.Data, b.Pos(), err)
		}
	})
}

// Skip takes what encoding/json calls valid, and nothing else.
func FuzzSkip(f *testing.F) {
	for _, seed := range []string{`{"a":[1,{"b":null}],"c":"\u00e9\n"}`, `[true,false]`, `"x`, `{"a"}`, `{,}`, "\"\x01\"", `[[[[`, `-0.0e+1`, ` 1 `} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var s Scanner
		s.Reset(text)
		err := s.Skip()
		if err == nil {
			err = s.End()
		}
		if valid := json.Valid(text); valid != (err == nil) && !(valid && strings.Contains(err.Error(), "deeper")) {
			t.Fatalf("%q: %v, but valid is %v", text, err, valid)
		}
	})
}

func FuzzAppendString(f *testing.F) {
	f.Add("a\"\\\n\x00é\xff😀")
	f.Fuzz(func(t *testing.T, text string) {
		var got string
		if err := json.Unmarshal(AppendString(nil, text), &got); err != nil || got != strings.ToValidUTF8(text, "\uFFFD") && got != string([]rune(text)) {
			t.Fatalf("%q became %q: %v", text, got, err)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	row := func(n int, bits int) []byte {
		text := []byte("[")
		for i := range n {
			if i > 0 {
				text = append(text, ',')
			}
			text = strconv.AppendFloat(text, float64(float32(rng.NormFloat64())), 'g', -1, bits)
		}
		return append(text, ']')
	}
	for _, c := range []struct {
		name string
		n    int
		bits int
	}{{"30 short", 30, 32}, {"30 long", 30, 64}, {"10000 short", 10000, 32}} {
		text := row(c.n, c.bits)
		b.Run(c.name, func(b *testing.B) {
			var s Scanner
			x := serval.Tensor{Name: "x", DType: serval.FP32, Shape: []int64{1, int64(c.n)}}
			var arena []byte
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for range b.N {
				s.Reset(text)
				var err error
				if arena, err = s.Tensor(&x, arena[:0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	x := serval.Tensor{Name: "x", DType: serval.FP32, Shape: []int64{1, 256}}
	for range 256 {
		u := math.Float32bits(rng.Float32())
		x.Data = append(x.Data, byte(u), byte(u>>8), byte(u>>16), byte(u>>24))
	}
	var out []byte
	b.ReportAllocs()
	for range b.N {
		out, _ = AppendFlat(out[:0], &x)
	}
	b.SetBytes(int64(len(out)))
}
