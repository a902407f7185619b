package tree

import (
	"encoding/binary"
	"math"
)

// reader turns a row's values into keys. It belongs to a forest and one type of input, and is never changed.
type reader struct {
	size    int // of a value in bytes: 4 or 8
	numbers []numberKey
	codes   []codeKey
	asked   []category // questions, in the order of their views
	first   int        // the first question's view
	exact   bool       // keys are those of float64
	single  bool       // codes are read as XGBoost does, else as LightGBM does
}

// numberKey says how a number becomes a key: a value whose bits, without the sign, lie below zero or above infinity's is
// absent and gets instead.
type numberKey struct {
	at      uint32 // where the value stands in the row, in values
	zero    uint32 // bits of float32; 0: no value is too small
	zero64  uint64 // bits of float64
	instead int64
}

type codeKey struct {
	at, view uint32
}

const (
	infinity32 = 0x7f800000
	infinity64 = 0x7ff0000000000000
)

// newReader prepares for inputs of float32, or of float64 if double.
func newReader(f *forest, double bool) *reader {
	r := &reader{size: 4, exact: f.exact, single: f.single, first: f.numbers + f.codes}
	if double {
		r.size = 8
	}
	for i, v := range f.views {
		switch v.kind {
		case numberView:
			k := numberKey{at: uint32(v.feature)}
			left := v.absent == nanLeft || v.absent == zeroLeft
			switch {
			case v.absent == nanZero:
			case f.walker.width() == 4 && left:
				k.instead = below32
			case f.walker.width() == 4:
				k.instead = above32
			case left:
				k.instead = below64
			default:
				k.instead = above64
			}
			if v.absent == zeroLeft || v.absent == zeroRight {
				k.zero = math.Float32bits(float32(zeroBelow)) + 1
				k.zero64 = math.Float64bits(zeroBelow) + 1
			}
			r.numbers = append(r.numbers, k)
		case codeView:
			r.codes = append(r.codes, codeKey{at: uint32(v.feature), view: uint32(i)})
		case questionView:
			r.asked = append(r.asked, v.asked)
		}
	}
	return r
}

// fill puts the keys of a row to dst[0], dst[stride], … hashes are those of its categories.
func fill[K int32 | int64](r *reader, dst []K, stride int, row []byte, hashes []int32) {
	at := 0
	switch {
	case r.exact:
		for i := range r.numbers {
			k := &r.numbers[i]
			b := binary.LittleEndian.Uint64(row[k.at*8:])
			key := int64(b) ^ int64(b)>>63&math.MaxInt64
			if b&math.MaxInt64-k.zero64 > infinity64-k.zero64 {
				key = k.instead
			}
			dst[at] = K(key)
			at += stride
		}
	case r.size == 4:
		for i := range r.numbers {
			k := &r.numbers[i]
			dst[at] = place[K](k, binary.LittleEndian.Uint32(row[k.at*4:]))
			at += stride
		}
	default:
		for i := range r.numbers {
			k := &r.numbers[i]
			v := float32(math.Float64frombits(binary.LittleEndian.Uint64(row[k.at*8:])))
			dst[at] = place[K](k, math.Float32bits(v))
			at += stride
		}
	}
	for _, k := range r.codes {
		dst[int(k.view)*stride] = K(r.code(row, int(k.at)))
	}
	at = r.first * stride
	for _, q := range r.asked {
		dst[at] = 0
		if hashes[q.input] == q.hash {
			dst[at] = 1
		}
		at += stride
	}
}

// place is the key of a float32 by its bits.
func place[K int32 | int64](k *numberKey, b uint32) K {
	key := K(int32(b) ^ int32(b)>>31&math.MaxInt32)
	if b&math.MaxInt32-k.zero > infinity32-k.zero {
		key = K(k.instead)
	}
	return key
}

// code is a category's number as the library reads it.
func (r *reader) code(row []byte, at int) int64 {
	var v float64
	if r.size == 4 {
		v = float64(math.Float32frombits(binary.LittleEndian.Uint32(row[at*4:])))
	} else {
		v = math.Float64frombits(binary.LittleEndian.Uint64(row[at*8:]))
	}
	if r.single {
		v = float64(float32(v))
	}
	switch {
	case v != v:
		return codeMissing
	case r.single && (v < 0 || v >= maxCategory), v <= -1 || v >= math.MaxInt32+1:
		return codeInvalid
	}
	return int64(v)
}
