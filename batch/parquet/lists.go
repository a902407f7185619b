package parquet

import (
	"context"
	"errors"

	"serval/internal/column"
)

// lists are rows whose values are lists, put together from pages: a row may go on in the next one.
type lists struct {
	elems   column.Elems
	starts  []int
	valid   []bool
	present []bool
	done    int // complete rows, which were handed out
}

// nextLists reads pages until there is a complete row.
func (c *cursor) nextLists(ctx context.Context, p *column.Page) error {
	l := &c.lists
	l.forget(l.done)
	for {
		if c.left <= 0 && len(l.valid) > 0 {
			l.done = len(l.valid)
		} else {
			h, page, err := c.data(ctx)
			if err != nil {
				return err
			}
			if err := c.addLists(h, page); err != nil {
				return err
			}
			l.done = max(0, len(l.valid)-1) // the last one may go on
			if c.left <= 0 {
				l.done = len(l.valid)
			}
		}
		if skip := int(min(c.skip, int64(l.done))); skip > 0 {
			c.skip -= int64(skip)
			l.forget(skip)
			l.done -= skip
		}
		if l.done > 0 {
			break
		}
	}
	starts := append(l.starts, len(l.present))[:l.done+1]
	*p = column.Page{Rows: l.done, Valid: l.valid[:l.done], Elems: &l.elems, Starts: starts, Present: l.present}
	return nil
}

// forget drops the first rows.
func (l *lists) forget(rows int) {
	if rows == 0 {
		return
	}
	at := len(l.present)
	if rows < len(l.starts) {
		at = l.starts[rows]
	}
	l.starts = append(l.starts[:0], l.starts[rows:]...)
	for i := range l.starts {
		l.starts[i] -= at
	}
	l.valid = append(l.valid[:0], l.valid[rows:]...)
	l.present = append(l.present[:0], l.present[at:]...)
	l.elems.Forget(at)
}

// addLists adds a page's rows.
func (c *cursor) addLists(h *header, page []byte) error {
	l := &c.lists
	reps, defs, data, err := c.levels(h, page)
	if err != nil {
		return err
	}
	most, begin := byte(c.leaf.maxDef), byte(c.leaf.listDef)
	present := 0
	for _, d := range defs {
		if d == most {
			present++
		}
	}
	e, index, err := c.elements(data, h.encoding, present)
	if err != nil {
		return err
	}
	before := l.memory()
	l.elems.Own(c.size)
	value := 0
	for i, d := range defs {
		if reps[i] == 0 {
			l.starts = append(l.starts, len(l.present))
			l.valid = append(l.valid, int(d)+1 >= int(begin))
			c.rows--
		} else if len(l.starts) == 0 {
			return errors.New("a list that goes on before it begins")
		}
		if d < begin {
			continue
		}
		there := d == most
		l.present = append(l.present, there)
		at := value
		if there {
			if index != nil {
				at = int(index[value])
			}
			value++
		}
		l.elems.Append(e, at, there)
		if len(l.elems.Data) > maxPage {
			return errors.New("lists of more than 256 MiB in a page")
		}
	}
	if c.rows < 0 || c.left <= 0 && c.rows != 0 {
		return errors.New("it has other rows than its row group")
	}
	return c.budget.take(l.memory() - before)
}

func (l *lists) memory() int64 {
	return l.elems.Memory() + int64(8*cap(l.starts)+cap(l.valid)+cap(l.present))
}
