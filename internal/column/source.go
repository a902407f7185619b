package column

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"serval"
	"serval/batch"
	"serval/client/element"
	"serval/internal/jsontensor"
)

// Kind is how a file keeps single values: little-endian, one after the other, but for Text.
type Kind uint8

// The kinds. A Bool is a byte, 0 or 1. Fixed values have a width of their own; texts are of any length.
const (
	Bool Kind = iota
	Int8
	Int16
	Int32
	Int64
	Uint8
	Uint16
	Uint32
	Uint64
	Half
	Float
	Double
	Fixed
	Text
)

var kinds = [...]struct {
	size  int
	dtype serval.DType
}{
	Bool: {1, serval.Bool}, Int8: {1, serval.Int8}, Int16: {2, serval.Int16}, Int32: {4, serval.Int32}, Int64: {8, serval.Int64},
	Uint8: {1, serval.Uint8}, Uint16: {2, serval.Uint16}, Uint32: {4, serval.Uint32}, Uint64: {8, serval.Uint64},
	Half: {2, serval.FP16}, Float: {4, serval.FP32}, Double: {8, serval.FP64}, Fixed: {0, serval.Bytes}, Text: {0, serval.Bytes},
}

// Source says how a file keeps a column's values.
type Source struct {
	Kind  Kind
	Width int // of a Fixed value, in bytes
	// Render appends the text of a value that is no plain number or text: a date, a decimal. What it writes is JSON as well where
	// Number is set, else it takes quotes there.
	Render func(dst, raw []byte) []byte
	Number bool   // what Render writes is a number
	What   string // the type's name in the file, for errors: "timestamp"
}

// Size of a value in bytes; 0: of any length.
func (s *Source) Size() int {
	if s.Kind == Fixed {
		return s.Width
	}
	return kinds[s.Kind].size
}

// DType is the type that the values have for others.
func (s *Source) DType() serval.DType {
	if s.Render != nil {
		return serval.Bytes
	}
	return kinds[s.Kind].dtype
}

// Raw are values as a file has them. Text i is Data[Off[i]+Gap : Off[i+1]].
type Raw struct {
	Data []byte
	Off  []uint32
	Gap  uint32
}

func (r *Raw) text(i int) []byte { return r.Data[r.Off[i]+r.Gap : r.Off[i+1]] }

// Elems are values of the type that was asked for, as in a serval.Tensor. Element i of Bytes is Data[Off[i]:Off[i+1]], with its
// length in front. Data may be that of the Raw it was made of.
type Elems struct {
	Data []byte
	Off  []uint32
	Size int            // of one; 0: Bytes
	Bad  map[int]string // elements that cannot be had as that type, and why
	buf  []byte
	offs []uint32
}

func (e *Elems) bad(i int, why string) {
	if e.Bad == nil {
		e.Bad = map[int]string{}
	}
	e.Bad[i] = why
}

// Memory is what it holds, in bytes.
func (e *Elems) Memory() int64 { return int64(cap(e.buf)) + 4*int64(cap(e.offs)) }

// Converter makes n elements of n values.
type Converter func(e *Elems, raw *Raw, n int)

// Converter returns the one to a type; with asJSON the elements are Bytes that hold the values' JSON, for lists. It fails where no
// value of the source can be of that type.
func (s *Source) Converter(to serval.DType, asJSON bool) (Converter, error) {
	own := s.DType()
	switch {
	case asJSON:
		return s.texts(s.appendJSON), nil
	case to == serval.Bytes && s.Render == nil && s.Kind == Text:
		return plainTexts, nil
	case to == serval.Bytes && s.Render == nil && s.Kind == Fixed:
		return s.texts(func(dst, raw []byte) []byte { return append(dst, raw...) }), nil
	case to == serval.Bytes && s.Render != nil:
		return s.texts(s.Render), nil
	case to == serval.Bytes:
		return s.texts(s.appendJSON), nil
	case s.Render != nil && !s.Number:
		return nil, fmt.Errorf("holds values of type %s, which are no numbers", s.What)
	case own == serval.Bytes:
		return s.parse(to), nil
	case own == to:
		return same(to.Size()), nil
	}
	return s.numbers(to), nil
}

// same takes values as they are.
func same(size int) Converter {
	return func(e *Elems, raw *Raw, n int) {
		e.Size, e.Data, e.Off, e.Bad = size, raw.Data[:n*size], nil, nil
	}
}

// plainTexts takes texts as they are where each has four bytes in front, which then hold its length.
func plainTexts(e *Elems, raw *Raw, n int) {
	e.Size, e.Bad = 0, nil
	if raw.Gap == 4 {
		e.Data, e.Off = raw.Data, raw.Off[:n+1]
	} else {
		e.buf, e.offs = e.buf[:0], append(e.offs[:0], 0)
		for i := range n {
			t := raw.text(i)
			if len(t) > batch.MaxBlock {
				t = nil
			}
			e.buf = serval.AppendBytes(e.buf, t)
			e.offs = append(e.offs, uint32(len(e.buf)))
		}
		e.Data, e.Off = e.buf, e.offs
	}
	for i := range n {
		if size := raw.Off[i+1] - raw.Off[i] - raw.Gap; size > batch.MaxBlock {
			e.bad(i, fmt.Sprintf("a value of %d bytes; there may be %d", size, batch.MaxBlock))
		}
	}
}

// each calls do with the bytes of every value.
func (s *Source) each(raw *Raw, n int, do func(i int, value []byte)) {
	if size := s.Size(); s.Kind != Text {
		for i := range n {
			do(i, raw.Data[i*size:(i+1)*size])
		}
		return
	}
	for i := range n {
		do(i, raw.text(i))
	}
}

// texts writes each value as a text.
func (s *Source) texts(render func(dst, raw []byte) []byte) Converter {
	return func(e *Elems, raw *Raw, n int) {
		e.Size, e.Bad = 0, nil
		e.buf, e.offs = e.buf[:0], append(e.offs[:0], 0)
		s.each(raw, n, func(i int, value []byte) {
			at := len(e.buf)
			e.buf = append(e.buf, 0, 0, 0, 0)
			if len(value) > batch.MaxBlock {
				e.bad(i, fmt.Sprintf("a value of %d bytes; there may be %d", len(value), batch.MaxBlock))
			} else {
				e.buf = render(e.buf, value)
			}
			binary.LittleEndian.PutUint32(e.buf[at:], uint32(len(e.buf)-at-4))
			e.offs = append(e.offs, uint32(len(e.buf)))
		})
		e.Data, e.Off = e.buf, e.offs
	}
}

// parse reads texts as numbers.
func (s *Source) parse(to serval.DType) Converter {
	size := to.Size()
	var text []byte
	return func(e *Elems, raw *Raw, n int) {
		e.Size, e.Off, e.Bad = size, nil, nil
		e.buf = e.buf[:0]
		s.each(raw, n, func(i int, value []byte) {
			if s.Render != nil {
				text = s.Render(text[:0], value)
				value = text
			}
			var err error
			if e.buf, err = batch.AppendText(e.buf, to, value); err != nil {
				e.bad(i, err.Error())
				e.buf = append(e.buf, make([]byte, size)...)
			}
		})
		e.Data = e.buf
	}
}

// appendJSON appends a value as JSON.
func (s *Source) appendJSON(dst, raw []byte) []byte {
	le := binary.LittleEndian
	switch {
	case s.Render != nil && s.Number:
		return s.Render(dst, raw)
	case s.Render != nil:
		return jsontensor.AppendString(dst, s.Render(nil, raw))
	case s.Kind == Text || s.Kind == Fixed:
		return jsontensor.AppendString(dst, raw)
	case s.Kind == Bool:
		return strconv.AppendBool(dst, raw[0] != 0)
	case s.Kind == Uint64:
		return strconv.AppendUint(dst, le.Uint64(raw), 10)
	case s.Kind == Int64:
		return strconv.AppendInt(dst, int64(le.Uint64(raw)), 10)
	}
	d := kinds[s.Kind].dtype
	f := d.Numbers()(raw, 0)
	switch {
	case s.Kind < Half:
		return strconv.AppendInt(dst, int64(f), 10)
	case math.IsNaN(f):
		return append(dst, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(dst, `"-Infinity"`...)
	case s.Kind == Double:
		return strconv.AppendFloat(dst, f, 'g', -1, 64)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, 32)
}

// numbers converts between types of numbers. Whole numbers become floats by rounding, floats whole numbers only where they are.
func (s *Source) numbers(to serval.DType) Converter {
	size := to.Size()
	if fast := s.fast(to); fast != nil {
		return func(e *Elems, raw *Raw, n int) {
			e.Size, e.Off, e.Bad = size, nil, nil
			if cap(e.buf) < n*size {
				e.buf = make([]byte, n*size)
			}
			e.buf = e.buf[:n*size]
			fast(e, e.buf, raw.Data[:n*s.Size()])
			e.Data = e.buf
		}
	}
	read := kinds[s.Kind].dtype.Numbers()
	one := func(dst, raw []byte) ([]byte, error) {
		switch s.Kind {
		case Int64:
			return element.AppendInt(dst, to, int64(binary.LittleEndian.Uint64(raw)))
		case Uint64:
			if u := binary.LittleEndian.Uint64(raw); u > math.MaxInt64 {
				return element.AppendText(dst, to, strconv.FormatUint(u, 10))
			}
			return element.AppendInt(dst, to, int64(binary.LittleEndian.Uint64(raw)))
		}
		f := read(raw, 0)
		if s.Kind < Half {
			return element.AppendInt(dst, to, int64(f))
		}
		if lost(f, to) {
			return nil, tooLarge(f, to)
		}
		return element.AppendFloat(dst, to, f)
	}
	return func(e *Elems, raw *Raw, n int) {
		e.Size, e.Off, e.Bad = size, nil, nil
		e.buf = e.buf[:0]
		s.each(raw, n, func(i int, value []byte) {
			longer, err := one(e.buf, value)
			if err != nil {
				e.bad(i, err.Error())
				longer = append(e.buf, make([]byte, size)...)
			}
			e.buf = longer
		})
		e.Data = e.buf
	}
}

// lost says whether a number would become an infinity.
func lost(f float64, to serval.DType) bool {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return false
	}
	switch to {
	case serval.FP32, serval.BF16:
		return math.IsInf(float64(float32(f)), 0)
	case serval.FP16:
		return math.Abs(f) >= 65520
	}
	return false
}

func tooLarge(f float64, to serval.DType) error { return fmt.Errorf("%v is too large for %s", f, to) }

// fast are the conversions that most files need, as loops; nil for others.
func (s *Source) fast(to serval.DType) func(e *Elems, dst, src []byte) {
	le := binary.LittleEndian
	switch {
	case s.Kind == Double && to == serval.FP32:
		return func(e *Elems, dst, src []byte) {
			for i := 0; len(src) >= 8 && len(dst) >= 4; i++ {
				bits := math.Float32bits(float32(math.Float64frombits(le.Uint64(src))))
				le.PutUint32(dst, bits)
				if bits&0x7f800000 == 0x7f800000 { // not finite: see if it was
					if f := math.Float64frombits(le.Uint64(src)); lost(f, to) {
						e.bad(i, tooLarge(f, to).Error())
					}
				}
				src, dst = src[8:], dst[4:]
			}
		}
	case s.Kind == Int64 && to == serval.FP32:
		return func(_ *Elems, dst, src []byte) {
			for len(src) >= 8 && len(dst) >= 4 {
				le.PutUint32(dst, math.Float32bits(float32(int64(le.Uint64(src)))))
				src, dst = src[8:], dst[4:]
			}
		}
	case s.Kind == Int32 && to == serval.FP32:
		return func(_ *Elems, dst, src []byte) {
			for len(src) >= 4 && len(dst) >= 4 {
				le.PutUint32(dst, math.Float32bits(float32(int32(le.Uint32(src)))))
				src, dst = src[4:], dst[4:]
			}
		}
	case s.Kind == Float && to == serval.FP64:
		return func(_ *Elems, dst, src []byte) {
			for len(src) >= 4 && len(dst) >= 8 {
				le.PutUint64(dst, math.Float64bits(float64(math.Float32frombits(le.Uint32(src)))))
				src, dst = src[4:], dst[8:]
			}
		}
	case s.Kind == Int64 && to == serval.FP64:
		return func(_ *Elems, dst, src []byte) {
			for len(src) >= 8 && len(dst) >= 8 {
				le.PutUint64(dst, math.Float64bits(float64(int64(le.Uint64(src)))))
				src, dst = src[8:], dst[8:]
			}
		}
	case s.Kind == Int32 && to == serval.Int64:
		return func(_ *Elems, dst, src []byte) {
			for len(src) >= 4 && len(dst) >= 8 {
				le.PutUint64(dst, uint64(int64(int32(le.Uint32(src)))))
				src, dst = src[4:], dst[8:]
			}
		}
	}
	return nil
}

// Own makes an Elems that is appended to, which owns its Data. It begins empty.
func (e *Elems) Own(size int) {
	e.Size = size
	if len(e.offs) == 0 {
		e.offs = append(e.offs, 0)
	}
	e.Data, e.Off = e.buf, e.offs
}

// Append appends element i of another; one that is not there is zero, or empty.
func (e *Elems) Append(from *Elems, i int, there bool) {
	n := len(e.buf)
	switch {
	case !there:
		e.buf = zeros(e.buf, max(e.Size, 4*bit(e.Size == 0)))
	case e.Size > 0:
		e.buf = append(e.buf, from.Data[i*e.Size:(i+1)*e.Size]...)
	default:
		e.buf = append(e.buf, from.Data[from.Off[i]:from.Off[i+1]]...)
	}
	if e.Size > 0 {
		if why, is := from.Bad[i]; is && there {
			e.bad(n/e.Size, why)
		}
	} else {
		if why, is := from.Bad[i]; is && there {
			e.bad(len(e.offs)-1, why)
		}
		e.offs = append(e.offs, uint32(len(e.buf)))
	}
	e.Data, e.Off = e.buf, e.offs
}

// Len is the number of elements.
func (e *Elems) Len() int {
	if e.Size > 0 {
		return len(e.Data) / e.Size
	}
	return max(0, len(e.Off)-1)
}

// Forget drops the first n elements of one that was appended to.
func (e *Elems) Forget(n int) {
	at := n * e.Size
	if e.Size == 0 && len(e.offs) > 0 {
		at = int(e.offs[n])
		e.offs = append(e.offs[:0], e.offs[n:]...)
		for i := range e.offs {
			e.offs[i] -= uint32(at)
		}
	}
	e.buf = append(e.buf[:0], e.buf[at:]...)
	e.Data, e.Off = e.buf, e.offs
	old := e.Bad
	e.Bad = nil
	for i, why := range old {
		if i >= n {
			e.bad(i-n, why)
		}
	}
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
