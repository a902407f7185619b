package convert

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"sync"

	"serval"
	"serval/llm/gguf"
	"serval/llm/quantize"
	"serval/llm/safetensors"
)

// chunk is how many elements are read, turned and written at a time, at least a row.
const chunk = 1 << 18

// source reads a tensor of the folder as the file is to have it.
type source struct {
	t     *tensor
	at    io.ReaderAt
	size  int64  // of a source element, in bytes
	bytes []byte // scratch
}

// floats fills dst with the rows from the first on, a multiple of the tensor's columns.
func (s *source) floats(dst []float32, first int) error {
	if s.t.fixed != nil {
		copy(dst, s.t.fixed)
		return nil
	}
	need := len(dst) * int(s.size)
	if cap(s.bytes) < need {
		s.bytes = make([]byte, need)
	}
	raw := s.bytes[:need]
	if err := s.raw(raw, first); err != nil {
		return serval.Errorf(serval.Internal, "tensor %s cannot be read: %w", s.t.src.Name, err)
	}
	switch s.t.src.Type {
	case safetensors.F32:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
	case safetensors.BF16:
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(raw[2*i:])) << 16)
		}
	case safetensors.F16:
		for i := range dst {
			dst[i] = widen(binary.LittleEndian.Uint16(raw[2*i:]))
		}
	}
	if s.t.add != 0 {
		for i := range dst {
			dst[i] += s.t.add
		}
	}
	return nil
}

// raw reads the bytes of rows. A tensor of one dimension is read whole, its elements being what other tensors' rows are.
func (s *source) raw(dst []byte, first int) error {
	t := s.t
	row := int64(t.cols) * s.size
	if t.heads == 0 {
		_, err := s.at.ReadAt(dst, int64(first)*row)
		return err
	}
	rows := t.rows
	if rows == 0 {
		rows, row = t.cols, s.size
	}
	for i := 0; int64(i)*row < int64(len(dst)); i++ {
		from := neighbours(first+i, rows/t.heads)
		if _, err := s.at.ReadAt(dst[int64(i)*row:int64(i+1)*row], int64(from)*row); err != nil {
			return err
		}
	}
	return nil
}

// neighbours is the row that comes to stand at i, of heads of so many rows: the first half of a head and its second half are
// interleaved, so that the two that rope turns together are neighbours.
func neighbours(i, head int) int {
	base, j := i-i%head, i%head
	return base + j/2 + j%2*(head/2)
}

// job is what a tensor's data is made by.
type job struct {
	set     *safetensors.Set
	threads int
}

// piece is a run of a tensor's rows on its way.
type piece struct {
	source
	first  int // row
	values []float32
	out    []byte
	err    error
}

// data writes one tensor: as many pieces at a time as there are threads, in order.
func (j *job) data(ctx context.Context, t *tensor, kind gguf.Type, w io.Writer) error {
	rows, step := max(t.rows, 1), max(chunk/t.cols, 1)
	elements, bytes := kind.Block()
	pieces := make([]piece, min(max(j.threads, 1), (rows+step-1)/step))
	for i := range pieces {
		p := &pieces[i]
		p.t = t
		if t.src != nil {
			p.at, p.size = j.set.Data(t.src), t.src.Type.Size()
		}
	}
	for first := 0; first < rows; {
		if err := ctx.Err(); err != nil {
			return err
		}
		var wg sync.WaitGroup
		used := 0
		for ; used < len(pieces) && first < rows; used++ {
			p, n := &pieces[used], min(step, rows-first)
			p.first = first
			p.values = slices.Grow(p.values[:0], n*t.cols)[:n*t.cols]
			size := int(int64(len(p.values)) / elements * bytes)
			p.out = slices.Grow(p.out[:0], size)[:size]
			wg.Go(func() { p.err = p.make(kind) })
			first += n
		}
		wg.Wait()
		for i := range pieces[:used] {
			if pieces[i].err != nil {
				return pieces[i].err
			}
			if _, err := w.Write(pieces[i].out); err != nil {
				return err
			}
		}
	}
	return nil
}

// make reads the piece and writes it as blocks of a type.
func (p *piece) make(kind gguf.Type) error {
	if err := p.floats(p.values, p.first); err != nil {
		return err
	}
	err := quantize.Encode(kind, p.out, p.values)
	var bad *quantize.BadWeight
	if errors.As(err, &bad) {
		at := p.first*p.t.cols + bad.At
		return serval.Errorf(serval.InvalidArgument, "tensor %s, row %d, column %d %w", p.t.from, at/p.t.cols, at%p.t.cols, err).At(p.t.from)
	}
	return err
}

// widen is the float32 of an IEEE 754 binary16.
func widen(h uint16) float32 {
	sign, exp, frac := uint32(h&0x8000)<<16, uint32(h>>10)&0x1f, uint32(h&0x3ff)
	switch exp {
	case 0x1f: // infinity or NaN
		return math.Float32frombits(sign | 0xff<<23 | frac<<13)
	case 0: // zero or subnormal: frac × 2^-24, exact in a float32
		return math.Float32frombits(sign | math.Float32bits(float32(frac)/(1<<24)))
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}
