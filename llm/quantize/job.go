package quantize

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"serval/llm/gguf"
)

// Options say how a model is to be written.
type Options struct {
	Recipe     Recipe
	Keep       []Override // the first that fits a matrix decides
	Requantize bool       // take sources that are quantised already
	Threads    int        // that encode; 0: one
	// Decode returns how a row of a type becomes numbers; nil: not known. dst has as many elements as src.
	Decode func(gguf.Type) func(dst []float32, src []byte)
}

// Choice is what becomes of a tensor.
type Choice struct {
	Name     string
	Shape    []int64
	From, To gguf.Type
	Wanted   gguf.Type // what To stands in for, where its rows did not allow it; else To
}

// Job is a model and what is to become of it.
type Job struct {
	Choices []Choice // in the file's order
	file    *gguf.File
	draft   gguf.Draft
	o       Options
}

// ErrQuantized is the reason why a source is refused that has fewer than 16 bits a weight.
var ErrQuantized = errors.New("it is quantised already")

// Plan decides what every tensor of a file becomes, and finds out whether it can. The Job reads from f, which must stay open.
func Plan(f *gguf.File, o Options) (*Job, error) {
	j := &Job{file: f, o: o}
	if err := j.source(); err != nil {
		return nil, err
	}
	layers, tied := 0, true
	for i := range f.Tensors {
		layer, _ := layerOf(f.Tensors[i].Name)
		layers = max(layers, layer+1)
		tied = tied && f.Tensors[i].Name != "output.weight"
	}
	used := make([]bool, len(o.Keep))
	for i := range f.Tensors {
		t := &f.Tensors[i]
		c := Choice{Name: t.Name, Shape: t.Shape, From: t.Type, To: t.Type, Wanted: t.Type}
		if matrix(t) {
			c.Wanted = o.Recipe.of(t.Name, layers, tied)
			if k := slices.IndexFunc(o.Keep, func(k Override) bool { ok, _ := path.Match(k.Pattern, t.Name); return ok }); k >= 0 {
				c.Wanted, used[k] = o.Keep[k].Type, true
			}
			c.To = fitting(c.Wanted, t.Shape[0])
		}
		if c.To != c.From && (o.Decode == nil || o.Decode(c.From) == nil) {
			return nil, fmt.Errorf("tensor %q is %s, which is not known here; take a file of floats, or one of Q4_0 to Q8_0 or Q4_K to Q6_K", t.Name, t.Type)
		}
		j.Choices = append(j.Choices, c)
		if err := j.draft.Add(t.Name, c.To, t.Shape); err != nil {
			return nil, err
		}
	}
	for k, was := range used {
		if !was {
			return nil, fmt.Errorf("no matrix of the model has the name %s; 'serval model inspect' and the table of this command show names", o.Keep[k].Pattern)
		}
	}
	j.draft.Inherit(f)
	j.draft.Set("general.file_type", gguf.Num(o.Recipe.number))
	j.draft.Set("general.quantization_version", gguf.Num(uint32(2))) // of the layouts of blocks, ggml's GGML_QNT_VERSION
	if _, err := j.draft.Size(); err != nil {
		return nil, err
	}
	return j, nil
}

// source refuses a file that is quantised already, unless that is asked for.
func (j *Job) source() error {
	if len(j.file.Tensors) == 0 {
		return errors.New("the file has no tensors, only metadata; a vocabulary cannot be quantised")
	}
	if j.o.Requantize {
		return nil
	}
	count := map[gguf.Type]int{}
	for i := range j.file.Tensors {
		if t := &j.file.Tensors[i]; bits(t.Type) < 16 && matrix(t) {
			count[t.Type]++
		}
	}
	var list []string
	for t, n := range count {
		list = append(list, fmt.Sprintf("%d tensors are %s", n, t))
	}
	if len(list) == 0 {
		return nil
	}
	slices.Sort(list)
	return fmt.Errorf("%w (%s), and rounding twice loses more than rounding once; take the F16, BF16 or F32 file, or say --requantize", ErrQuantized, strings.Join(list, ", "))
}

// bits is how many bits a weight of a type takes.
func bits(t gguf.Type) float64 {
	elements, bytes := t.Block()
	return 8 * float64(bytes) / float64(elements)
}

// Size is how many bytes the new file will have, all weights together, and how many weights there are.
func (j *Job) Size() (file, weights, count int64) {
	file, _ = j.draft.Size() // Plan has seen it
	for i := range j.Choices {
		c := &j.Choices[i]
		n := int64(1)
		for _, d := range c.Shape {
			n *= d
		}
		elements, bytes := c.To.Block()
		weights, count = weights+n/elements*bytes, count+n
	}
	return file, weights, count
}

// Save writes the file; s.Data is the Job's own. An error names the tensor.
func (j *Job) Save(ctx context.Context, s gguf.Saving) error {
	next := 0
	s.Data = func(ctx context.Context, _ *gguf.Tensor, w io.Writer) error {
		i := next
		next++
		if err := j.tensor(ctx, i, w); err != nil {
			return fmt.Errorf("tensor %q: %w", j.Choices[i].Name, err)
		}
		return nil
	}
	return j.draft.Save(ctx, s)
}

// piece is how many weights are encoded as one; it is a multiple of every block. Each thread holds one at a time.
const piece = 1 << 16

// tensor encodes the i-th tensor. Blocks do not cross rows, and all rows are whole blocks, so that it is cut without regard to rows.
func (j *Job) tensor(ctx context.Context, i int, w io.Writer) error {
	c, t := &j.Choices[i], &j.file.Tensors[i]
	from := j.file.Data(t)
	if c.From == c.To {
		_, err := io.Copy(w, from)
		return err
	}
	workers := max(j.o.Threads, 1)
	list := make([]part, workers)
	for begin := int64(0); begin < t.Elements(); begin += int64(workers) * piece {
		if err := ctx.Err(); err != nil {
			return err
		}
		var pieces []*part
		for k := range list {
			p := &list[k]
			p.begin = begin + int64(k)*piece
			if p.begin < t.Elements() {
				p.fit(c, min(piece, t.Elements()-p.begin))
				pieces = append(pieces, p)
			}
		}
		j.encode(c, from, pieces)
		for _, p := range pieces {
			if p.err != nil {
				return p.err
			}
			if _, err := w.Write(p.out); err != nil {
				return err
			}
		}
	}
	return nil
}

// part is a piece of a tensor.
type part struct {
	begin   int64 // its first weight
	in, out []byte
	floats  []float32
	err     error
}

// fit makes room for n weights.
func (p *part) fit(c *Choice, n int64) {
	size := func(t gguf.Type) int {
		elements, bytes := t.Block()
		return int(n / elements * bytes)
	}
	grow := func(b []byte, n int) []byte { return slices.Grow(b[:0], n)[:n] }
	p.in, p.out, p.floats = grow(p.in, size(c.From)), grow(p.out, size(c.To)), slices.Grow(p.floats[:0], int(n))[:n]
}

// encode reads and encodes the pieces, each on a goroutine, and waits for them.
func (j *Job) encode(c *Choice, from io.ReaderAt, pieces []*part) {
	decode := j.o.Decode(c.From)
	elements, bytes := c.From.Block()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range pieces {
		wg.Go(func() {
			p := pieces[next.Add(1)-1]
			if _, p.err = from.ReadAt(p.in, p.begin/elements*bytes); p.err != nil {
				return
			}
			decode(p.floats, p.in)
			p.err = c.where(p.begin, Encode(c.To, p.out, p.floats))
		})
	}
	wg.Wait()
}

// where gives the place of a bad weight in the tensor.
func (c *Choice) where(begin int64, err error) error {
	var bad *BadWeight
	if !errors.As(err, &bad) {
		return err
	}
	at := begin + int64(bad.At)
	return fmt.Errorf("row %d, column %d %w", at/c.Shape[0], at%c.Shape[0], err)
}
