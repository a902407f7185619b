package batch_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"serval"
	"serval/batch"
	"serval/client/element"
)

// TestAppendText holds the short way against the one of predict, bit for bit.
func TestAppendText(t *testing.T) {
	texts := []string{"", "-", ".", "-.", "0", "-0", "1.", ".5", "-.5", "00012.500", "999999999999999", "9999999999999999", "0.000000000000001",
		"1e3", "1E-3", " 7 ", "nan", "inf", "-Infinity", "true", "FALSE", "1", "3.0", "3.5", "256", "-1", "1_000", "0x10", "1 2", "12345678901234567890"}
	random := rand.New(rand.NewPCG(3, 4))
	for range 4000 {
		f := math.Float64frombits(random.Uint64())
		texts = append(texts, strconv.FormatFloat(f, 'g', 1+random.IntN(17), 64), strconv.FormatFloat(random.NormFloat64()*1000, 'f', random.IntN(12), 64),
			fmt.Sprint(random.Int64()>>random.IntN(63)))
	}
	for _, d := range []serval.DType{serval.FP32, serval.FP64, serval.FP16, serval.Int64, serval.Int8, serval.Uint8, serval.Uint64, serval.Bool, serval.Bytes} {
		for _, s := range texts {
			want, wrong := element.AppendText([]byte("x"), d, s)
			got, err := batch.AppendText([]byte("x"), d, []byte(s))
			if (err == nil) != (wrong == nil) || err == nil && !bytes.Equal(got, want) || err != nil && string(got) != "x" {
				t.Errorf("%q as %s: %x, %v; predict: %x, %v", s, d, got, err, want, wrong)
			}
		}
	}
}

// TestAppendNumber reads back what it writes.
func TestAppendNumber(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for _, d := range []serval.DType{serval.FP32, serval.FP64, serval.FP16, serval.BF16, serval.Int64, serval.Uint64, serval.Int16, serval.Uint8, serval.Bool} {
		for range 2000 {
			data := make([]byte, d.Size())
			for i := range data {
				data[i] = byte(random.Uint32())
			}
			if d == serval.Bool {
				data[0] &= 1
			}
			if f := d.Numbers()(data, 0); f != f {
				continue // one of many
			}
			text := batch.AppendNumber(nil, d, data, 0)
			if back, err := batch.AppendText(nil, d, text); err != nil || !bytes.Equal(back, data) {
				t.Fatalf("%s %x: %s, %v", d, data, text, err)
			}
		}
	}
	for f, want := range map[float64]string{1e6: "1000000", 123456789: "123456789", 1e-6: "0.000001", 1e-7: "1e-07", 1e15: "1e+15", 0: "0", math.Inf(1): "+Inf"} {
		data, _ := batch.AppendText(nil, serval.FP64, []byte(strconv.FormatFloat(f, 'g', -1, 64)))
		if got := batch.AppendNumber(nil, serval.FP64, data, 0); string(got) != want {
			t.Errorf("%v: %s, want %s", f, got, want)
		}
	}
}
