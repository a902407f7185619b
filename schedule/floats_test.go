package schedule

import (
	"encoding/binary"
	"math"
	"testing"

	"serval"
)

func TestOutputsAreComparedByValue(t *testing.T) {
	f32 := func(v ...float64) []byte {
		var b []byte
		for _, x := range v {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(x)))
		}
		return b
	}
	u16 := func(v ...uint16) []byte {
		var b []byte
		for _, x := range v {
			b = binary.LittleEndian.AppendUint16(b, x)
		}
		return b
	}
	cases := []struct {
		name string
		d    serval.DType
		a, b []byte
		same bool
	}{
		{"equal", serval.FP32, f32(1, math.NaN()), f32(1, math.NaN()), true},
		{"rounding", serval.FP32, f32(1, 2), f32(1.0001, 2), true},
		{"apart", serval.FP32, f32(1, 2), f32(1.1, 2), false},
		{"infinite alone", serval.FP32, f32(math.Inf(1)), f32(1), false},
		{"infinite with another sign", serval.FP32, f32(math.Inf(1)), f32(math.Inf(-1)), false},
		{"halves apart", serval.FP16, u16(0x3c00), u16(0xc000), false}, // 1 and -2
		{"halves that round", serval.FP16, u16(0x3c00), u16(0x3c01), true},
		{"bfloat16 apart", serval.BF16, u16(0x3f80), u16(0x4000), false}, // 1 and 2
		{"integers", serval.Int32, []byte{1, 0, 0, 0}, []byte{2, 0, 0, 0}, false},
	}
	for _, c := range cases {
		shape := []int64{int64(len(c.a) / c.d.Size())}
		err := closeTo(&serval.Tensor{Name: "y", DType: c.d, Shape: shape, Data: c.a}, &serval.Tensor{Name: "y", DType: c.d, Shape: shape, Data: c.b})
		if (err == nil) != c.same {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
