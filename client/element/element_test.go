package element

import (
	"encoding/json"
	"math"
	"testing"

	"serval"
)

func TestHalfRoundTrip(t *testing.T) {
	for h := range 1 << 16 {
		f := fromHalf(uint16(h))
		if f != f {
			continue
		}
		if got := toHalf(f); got != uint16(h) {
			t.Fatalf("binary16 %#04x → %v → %#04x", h, f, got)
		}
	}
	for b := range 1 << 16 {
		f := fromBrain(uint16(b))
		if f == f && toBrain(f) != uint16(b) {
			t.Fatalf("bfloat16 %#04x → %v → %#04x", b, f, toBrain(f))
		}
	}
}

func TestHalfRounds(t *testing.T) { // values from the definition of binary16
	for f, want := range map[float32]uint16{
		1: 0x3c00, 65504: 0x7bff, 65519: 0x7bff, 65520: 0x7c00, 1e9: 0x7c00, -2: 0xc000,
		1 + 1.0/2048: 0x3c00, 1 + 3.0/2048: 0x3c02, // ties go to even
		6.0e-8: 0x0001, 2.9e-8: 0x0000, 6.103515625e-05: 0x0400,
	} {
		if got := toHalf(f); got != want {
			t.Errorf("toHalf(%v) = %#04x, want %#04x", f, got, want)
		}
	}
	if !math.IsNaN(float64(fromHalf(toHalf(float32(math.NaN()))))) || !math.IsNaN(float64(fromBrain(toBrain(float32(math.NaN()))))) {
		t.Error("NaN must stay NaN")
	}
}

func TestAppendText(t *testing.T) {
	for _, c := range []struct {
		d    serval.DType
		text string
		want any // nil: refused
	}{
		{serval.Bool, "TRUE", true}, {serval.Bool, "0", false}, {serval.Bool, "maybe", nil},
		{serval.Uint8, "255", uint64(255)}, {serval.Uint8, "256", nil}, {serval.Uint8, "-1", nil},
		{serval.Int8, "-128", int64(-128)}, {serval.Int8, "128", nil}, {serval.Int64, "-9223372036854775808", int64(math.MinInt64)},
		{serval.Int64, "9223372036854775808", nil}, {serval.Uint64, "18446744073709551615", uint64(math.MaxUint64)},
		{serval.Int32, "3.0", int64(3)}, {serval.Int32, "3.5", nil}, {serval.Int32, "nan", nil}, {serval.Int32, "", nil},
		{serval.FP32, " 1.5 ", float32(1.5)}, {serval.FP32, "inf", float32(math.Inf(1))}, {serval.FP32, "1e999", float32(math.Inf(1))},
		{serval.FP64, "0.1", 0.1}, {serval.FP16, "0.5", float32(0.5)}, {serval.BF16, "-2", float32(-2)}, {serval.FP32, "x", nil}, {serval.FP32, "", nil},
		{serval.Bytes, " a b ", " a b "}, {serval.Bytes, "", ""}, {serval.InvalidType, "1", nil},
	} {
		data, err := AppendText(nil, c.d, c.text)
		if err != nil {
			if c.want != nil {
				t.Errorf("%s %q: %v", c.d, c.text, err)
			}
			continue
		}
		got, err := Values(&serval.Tensor{Name: "x", DType: c.d, Shape: []int64{1}, Data: data})
		if err != nil || got[0] != c.want {
			t.Errorf("%s %q = %v, %v; want %v", c.d, c.text, got, err, c.want)
		}
	}
}

func TestAppendJSON(t *testing.T) {
	for _, c := range []struct {
		d    serval.DType
		v    any
		want any
	}{
		{serval.FP32, json.Number("1.25"), float32(1.25)}, {serval.FP32, "1.25", nil}, {serval.FP64, "-Infinity", math.Inf(-1)},
		{serval.Bytes, "é", "é"}, {serval.Bytes, json.Number("3"), nil}, {serval.Bool, true, true}, {serval.Bool, json.Number("2"), nil},
		{serval.Int64, true, int64(1)}, {serval.Int64, nil, nil}, {serval.Int64, map[string]any{}, nil}, {serval.Bytes, false, nil},
	} {
		data, err := AppendJSON(nil, c.d, c.v)
		if (err != nil) != (c.want == nil) {
			t.Errorf("%s %v: %v", c.d, c.v, err)
		}
		if err != nil {
			continue
		}
		if got, err := Values(&serval.Tensor{DType: c.d, Shape: []int64{1}, Data: data}); err != nil || got[0] != c.want {
			t.Errorf("%s %v = %v, %v; want %v", c.d, c.v, got, err, c.want)
		}
	}
	if data, err := AppendJSON(nil, serval.FP64, nil); err != nil || !math.IsNaN(read(serval.FP64, data).(float64)) {
		t.Errorf("null as a float: %v, %v", data, err)
	}
}

func TestReadRefusesWrongData(t *testing.T) {
	short := &serval.Tensor{Name: "x", DType: serval.FP32, Shape: []int64{1 << 40}, Data: make([]byte, 8)}
	if _, err := Values(short); err == nil {
		t.Error("Values took a tensor whose shape lies")
	}
	if _, err := Floats(short); err == nil {
		t.Error("Floats took a tensor whose shape lies")
	}
	if _, err := Floats(&serval.Tensor{Name: "s", DType: serval.Bytes, Shape: []int64{0}}); err == nil {
		t.Error("Floats took strings")
	}
}
