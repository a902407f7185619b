package compare

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"serval"
	"serval/stream"
)

// What is kept of an answer at most.
const (
	maxNumbers = 64
	maxLabel   = 200 // bytes
)

// value is what is kept of an answer.
type value struct {
	output  string
	numbers []float64
	label   string
	named   bool // it has a label
	whole   bool // its number is a class or a count: it is its own label
}

// valueOf takes the output of that name, or the first one, out of an answer. It copies what it keeps.
func valueOf(a *stream.Answer, output string) (v value, ok bool) {
	switch {
	case a.Vectors != nil:
		if len(a.Vectors) != 1 || len(a.Vectors[0]) > maxNumbers {
			return v, false
		}
		for _, f := range a.Vectors[0] {
			v.numbers = append(v.numbers, float64(f))
		}
		return v, len(v.numbers) > 0
	case a.Outputs == nil:
		v.label, v.named = cut(a.Text), true
		return v, true
	case len(a.Outputs) == 0:
		return v, false
	}
	at := 0
	if output != "" {
		if at = slices.IndexFunc(a.Outputs, func(t serval.Tensor) bool { return t.Name == output }); at < 0 {
			return v, false
		}
	}
	t := &a.Outputs[at]
	v.output = t.Name
	n, ok := serval.Elements(t.Shape)
	if !ok || n == 0 || n > maxNumbers || t.Check() != nil {
		return v, false
	}
	if t.DType == serval.Bytes {
		var labels []string
		for rest := t.Data; len(rest) > 0; {
			one, more, ok := serval.NextBytes(rest)
			if !ok {
				return v, false
			}
			labels, rest = append(labels, string(one)), more
		}
		v.label, v.named = cut(strings.Join(labels, ", ")), true
		return v, true
	}
	v.whole = t.DType != serval.FP32 && t.DType != serval.FP64
	size := t.DType.Size()
	for i := range int(n) {
		f, ok := number(t.DType, t.Data[i*size:][:size])
		if !ok {
			return v, false
		}
		v.numbers = append(v.numbers, f)
	}
	return v, true
}

// cut keeps labels short, and text.
func cut(label string) string {
	if len(label) > maxLabel {
		label = label[:maxLabel]
	}
	return strings.ToValidUTF8(label, string(utf8.RuneError))
}

func number(d serval.DType, b []byte) (float64, bool) {
	le := binary.LittleEndian
	switch d {
	case serval.Bool, serval.Uint8:
		return float64(b[0]), true
	case serval.Int8:
		return float64(int8(b[0])), true
	case serval.Int16:
		return float64(int16(le.Uint16(b))), true
	case serval.Uint16:
		return float64(le.Uint16(b)), true
	case serval.Int32:
		return float64(int32(le.Uint32(b))), true
	case serval.Uint32:
		return float64(le.Uint32(b)), true
	case serval.Int64:
		return float64(int64(le.Uint64(b))), true
	case serval.Uint64:
		return float64(le.Uint64(b)), true
	case serval.FP32:
		return float64(math.Float32frombits(le.Uint32(b))), true
	case serval.FP64:
		return math.Float64frombits(le.Uint64(b)), true
	}
	return 0, false
}

// labelled is a value's label: its own, the place of the largest of several numbers, or on which side of the threshold it is.
func (v *value) labelled(threshold *float64) (string, bool) {
	switch {
	case v.named:
		return v.label, true
	case len(v.numbers) > 1:
		best := 0
		for i, f := range v.numbers {
			if f > v.numbers[best] || v.numbers[best] != v.numbers[best] {
				best = i
			}
		}
		return strconv.Itoa(best), true
	case threshold != nil:
		if v.numbers[0] >= *threshold {
			return "1", true
		}
		return "0", true
	case v.whole:
		return text(v.numbers[0]), true
	}
	return "", false
}

// score is the number by which answers can be ordered: the only one, or of two classes the second one's.
func (v *value) score() (float64, bool) {
	switch len(v.numbers) {
	case 1:
		return v.numbers[0], true
	case 2:
		return v.numbers[1], true
	}
	return 0, false
}

// String is the value as people read it.
func (v *value) String() string {
	if v.named {
		return v.label
	}
	var list []string
	for i, f := range v.numbers {
		if i == 8 {
			list = append(list, "…")
			break
		}
		list = append(list, text(f))
	}
	return strings.Join(list, ", ")
}

func text(f float64) string { return strconv.FormatFloat(f, 'g', 7, 64) }
