package column

import (
	"fmt"
	"slices"

	"serval"
	"serval/batch"
)

// Pending are rows that a writer was given and has not put into its file yet: those of its next group. With a Sync they are
// brought to the disk in a journal beside the file, so that groups are cut at the same rows whenever Sync is called, and a file
// is the same, byte for byte, after a kill.
type Pending struct {
	Columns []batch.Vector // all Rows of them; Null is nil where none is missing
	Rows    int
	// Group counts the groups before.
	Group int64

	path    string
	most    int // rows of a group
	size    int // bytes in Columns
	logged  int // rows in the journal
	journal *journal
	kept    int64 // oldest group that a Mark may need
	sizes   []int
}

// PendingMark is what a Mark says of Pending.
type PendingMark struct {
	Group   int64    `json:"group"`
	Rows    int      `json:"rows"`
	Columns []Schema `json:"columns,omitempty"`
}

// Schema is a column of a Mark.
type Schema struct {
	Name  string  `json:"name"`
	Type  string  `json:"type"`
	Shape []int64 `json:"shape,omitempty"`
}

const maxGroupBytes = 64 << 20

// NewPending begins a file with groups of most rows, or of 64 MiB if that is less. What an earlier file of that path left is
// removed.
func NewPending(path string, most int) (*Pending, error) {
	p := &Pending{path: path, most: most}
	return p, p.removeJournals(-1)
}

// Settle takes the columns over from the first rows that are written, and refuses others later. New says that these are the first.
func (p *Pending) Settle(vectors []batch.Vector) (first bool, err error) {
	if p.Columns == nil {
		for i := range vectors {
			v := &vectors[i]
			if n, ok := serval.Elements(v.Shape); v.Shape != nil && (!ok || n > batch.MaxBlock) {
				return false, serval.Errorf(serval.InvalidArgument, "column '%s' of shape %s cannot be written", v.Name, serval.ShapeString(v.Shape)).At(v.Name)
			}
			p.Columns = append(p.Columns, batch.Vector{Name: v.Name, DType: v.DType, Shape: slices.Clone(v.Shape)})
		}
		return true, nil
	}
	if len(vectors) != len(p.Columns) {
		return false, fmt.Errorf("%d columns after %d", len(vectors), len(p.Columns))
	}
	for i := range vectors {
		v, own := &vectors[i], &p.Columns[i]
		if v.Name != own.Name || v.DType != own.DType || !slices.Equal(v.Shape, own.Shape) {
			return false, serval.Errorf(serval.InvalidArgument, "column '%s' of %s%s after '%s' of %s%s", v.Name, v.DType, shape(v.Shape), own.Name, own.DType, shape(own.Shape)).At(v.Name)
		}
	}
	return false, nil
}

func shape(s []int64) string {
	if s == nil {
		return ""
	}
	return serval.ShapeString(s)
}

// each is how many elements a row of v has.
func each(v *batch.Vector) int {
	if v.Shape == nil {
		return 1
	}
	n, _ := serval.Elements(v.Shape)
	return int(n)
}

// Add takes rows over, and calls flush, which must take Columns, each time a group is full.
func (p *Pending) Add(vectors []batch.Vector, rows int, flush func() error) error {
	at := make([]int, len(vectors))
	for from := 0; from < rows; {
		n, err := p.fit(vectors, at, rows-from)
		if err != nil {
			return err
		}
		for i := range vectors {
			size := p.span(&vectors[i], at[i], n)
			p.append(i, vectors[i].Data[at[i]:at[i]+size], vectors[i].Null, from, n)
			at[i] += size
		}
		p.Rows += n
		from += n
		if p.Rows >= p.most || p.size >= maxGroupBytes {
			if err := flush(); err != nil {
				return err
			}
			p.next()
		}
	}
	return nil
}

// fit says how many of the rows from at on go into the group, at least one.
func (p *Pending) fit(vectors []batch.Vector, at []int, rows int) (int, error) {
	rows = min(rows, p.most-p.Rows)
	p.sizes = slices.Grow(p.sizes[:0], rows)[:rows]
	clear(p.sizes)
	for i := range vectors {
		v := &vectors[i]
		n := each(v)
		if size := n * v.DType.Size(); size > 0 || n == 0 {
			if len(v.Data)-at[i] < rows*size {
				return 0, fmt.Errorf("column '%s' has fewer values than rows", v.Name)
			}
			for k := range p.sizes {
				p.sizes[k] += size
			}
			continue
		}
		rest := v.Data[at[i]:]
		for k := range p.sizes {
			for range n {
				e, next, ok := serval.NextBytes(rest)
				if !ok {
					return 0, fmt.Errorf("column '%s' has fewer values than rows", v.Name)
				}
				rest, p.sizes[k] = next, p.sizes[k]+4+len(e)
			}
		}
	}
	total := p.size
	for k, size := range p.sizes {
		if total += size; total >= maxGroupBytes {
			return k + 1, nil
		}
	}
	return rows, nil
}

// span is how many bytes n rows of v take from at on.
func (p *Pending) span(v *batch.Vector, at, n int) int {
	if size := v.DType.Size(); size > 0 {
		return n * each(v) * size
	}
	size := 0
	for range n * each(v) {
		e, _, _ := serval.NextBytes(v.Data[at+size:])
		size += 4 + len(e)
	}
	return size
}

func (p *Pending) append(i int, data []byte, null []bool, from, n int) {
	own := &p.Columns[i]
	own.Data = append(own.Data, data...)
	p.size += len(data)
	if null != nil {
		null = null[from : from+n]
	}
	switch {
	case own.Null == nil && !slices.Contains(null, true):
		return
	case own.Null == nil:
		own.Null = make([]bool, p.Rows, p.Rows+n)
	}
	if null == nil {
		null = make([]bool, n)
	}
	own.Null = append(own.Null, null...)
}

// next begins another group.
func (p *Pending) next() {
	for i := range p.Columns {
		p.Columns[i].Data, p.Columns[i].Null = p.Columns[i].Data[:0], nil
	}
	p.Rows, p.size, p.logged = 0, 0, 0
	p.Group++
	if p.journal != nil {
		p.journal.close()
		p.journal = nil
	}
}

// Flushed begins another group after the last one was written by Close.
func (p *Pending) Flushed() { p.next() }
