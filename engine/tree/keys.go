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
	single  bool       // codes are read as XGBoost does, else as LightGBM does
	exact   bool       // numbers are ranked as float64
}

// numberKey says how a number becomes a key: a value whose bits, without the sign, lie below zero or above infinity's is
// absent and gets instead.
type numberKey struct {
	at      uint32 // where the value stands in the row, in values
	instead int32
	zero    uint32 // bits of float32; 0: no value is too small
	zero64  uint64 // bits of float64
	ranks   []float64
}

// codeKey says how a category becomes a key: plus is added, and nothing above most remains.
type codeKey struct {
	at, view   uint32
	plus, most int64
}

const (
	infinity32 = 0x7f800000
	infinity64 = 0x7ff0000000000000
)

// newReader prepares for inputs of float32, or of float64 if double.
func newReader(f *forest, double bool) *reader {
	r := &reader{size: 4, exact: f.ranks != nil, single: f.single, first: f.numbers + f.codes}
	if double {
		r.size = 8
	}
	for i, v := range f.views {
		switch v.kind {
		case numberView:
			k := numberKey{at: uint32(v.feature)}
			switch v.absent {
			case nanLeft, zeroLeft:
				k.instead = lowestKey
			case nanRight, zeroRight:
				k.instead = highestKey
			}
			if v.absent == zeroLeft || v.absent == zeroRight {
				k.zero = math.Float32bits(float32(zeroBelow)) + 1
				k.zero64 = math.Float64bits(zeroBelow) + 1
			}
			if r.exact {
				k.ranks = f.ranks[i]
				if v.absent == nanZero {
					k.instead = rank(k.ranks, 0)
				}
			}
			r.numbers = append(r.numbers, k)
		case codeView:
			c := codeKey{at: uint32(v.feature), view: uint32(i), most: math.MaxInt32}
			if room, ok := f.room[i]; ok {
				c.plus, c.most = firstCode, room-1
			}
			r.codes = append(r.codes, c)
		case questionView:
			r.asked = append(r.asked, v.asked)
		}
	}
	return r
}

// fill puts the keys of a row to dst[0], dst[stride], … hashes are those of its categories.
func (r *reader) fill(dst []int32, stride int, row []byte, hashes []int32) {
	at := 0
	for i := range r.numbers {
		k := &r.numbers[i]
		switch {
		case r.exact:
			dst[at] = k.ofDouble(binary.LittleEndian.Uint64(row[k.at*8:]))
		case r.size == 4:
			dst[at] = k.of(binary.LittleEndian.Uint32(row[k.at*4:]))
		default:
			v := float32(math.Float64frombits(binary.LittleEndian.Uint64(row[k.at*8:])))
			dst[at] = k.of(math.Float32bits(v))
		}
		at += stride
	}
	for i := range r.codes {
		k := &r.codes[i]
		dst[int(k.view)*stride] = int32(min(r.code(row, int(k.at))+k.plus, k.most))
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

// of is the key of a float32 by its bits.
func (k *numberKey) of(b uint32) int32 {
	key := int32(b) ^ int32(b)>>31&math.MaxInt32
	if b&math.MaxInt32-k.zero > infinity32-k.zero {
		key = k.instead
	}
	return key
}

// ofDouble is the key of a float64 by its bits.
func (k *numberKey) ofDouble(b uint64) int32 {
	if b&math.MaxInt64-k.zero64 > infinity64-k.zero64 {
		return k.instead
	}
	return rank(k.ranks, math.Float64frombits(b))
}

// rank is how many of the rising thresholds v is above.
func rank(thresholds []float64, v float64) int32 {
	lo, n := 0, len(thresholds)
	for n > 0 {
		half := (n + 1) / 2
		if thresholds[lo+half-1] < v {
			lo += half
		}
		n -= half
	}
	return int32(lo)
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
