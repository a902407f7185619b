package serval

import (
	"math"
	"testing"
)

func TestNumbersReadEveryType(t *testing.T) {
	cases := []struct {
		d    DType
		data []byte
		want float64
	}{
		{Bool, []byte{1}, 1}, {Uint8, []byte{255}, 255}, {Int8, []byte{255}, -1},
		{Uint16, []byte{255, 255}, 65535}, {Int16, []byte{254, 255}, -2},
		{Uint32, []byte{255, 255, 255, 255}, math.MaxUint32}, {Int32, []byte{255, 255, 255, 255}, -1},
		{Uint64, []byte{0, 0, 0, 0, 0, 0, 0, 128}, 1 << 63}, {Int64, []byte{255, 255, 255, 255, 255, 255, 255, 255}, -1},
		{FP16, []byte{0, 0xc0}, -2}, {FP16, []byte{1, 0}, math.Ldexp(1, -24)}, {FP16, []byte{0, 0xfc}, math.Inf(-1)},
		{BF16, []byte{0x80, 0x3f}, 1}, {FP32, []byte{0, 0, 0xc0, 0xbf}, -1.5}, {FP64, []byte{0, 0, 0, 0, 0, 0, 0xf8, 0x3f}, 1.5},
	}
	for _, c := range cases {
		two := append(make([]byte, c.d.Size()), c.data...) // the second element, so that the index counts
		if got := c.d.Numbers()(two, 1); got != c.want {
			t.Errorf("%s %v: %g, want %g", c.d, c.data, got, c.want)
		}
	}
	if !math.IsNaN(FP16.Numbers()([]byte{1, 0x7c}, 0)) || Bytes.Numbers() != nil || InvalidType.Numbers() != nil {
		t.Error("a half that is no number, or a type that holds none")
	}
}
