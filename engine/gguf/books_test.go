package gguf

import "fmt"

// check says what does not fit together, for tests; tables are those of the live sequences.
func (c *cache) check(tables ...[]int32) error {
	held := make([]int32, len(c.refs))
	for _, table := range tables {
		for _, b := range table {
			held[b]++
		}
	}
	kept, named := 0, 0
	for b := range c.refs {
		if c.refs[b] != held[b] {
			return fmt.Errorf("block %d counts %d holders and has %d", b, c.refs[b], held[b])
		}
		if c.number[b] != 0 {
			if c.filled[b] == block && c.index[c.names[b]] != int32(b) {
				return fmt.Errorf("block %d is not found by its name", b)
			}
			if _, n := c.closest(c.names[b].before, c.names[b].salt, c.names[b].tokens[:c.filled[b]]); n != int(c.filled[b]) {
				return fmt.Errorf("block %d has %d tokens, and of them %d are found", b, c.filled[b], n)
			}
			named++
		}
		if c.refs[b] == 0 && c.number[b] != 0 {
			kept++
		}
	}
	free := 0
	for _, b := range c.free {
		if c.refs[b] != 0 || c.number[b] != 0 {
			return fmt.Errorf("block %d is free and in use", b)
		}
		free++
	}
	used := 0
	for _, n := range c.refs {
		if n > 0 {
			used++
		}
	}
	listed := 0
	for _, b := range c.youngest {
		for ; b >= 0; b = c.older[b] {
			listed++
		}
	}
	if listed != named {
		return fmt.Errorf("%d blocks have names, and %d are in the lists of their parents", named, listed)
	}
	if kept != len(c.heap) || free+kept+used != len(c.refs) {
		return fmt.Errorf("%d blocks: %d free, %d held, %d kept, of which %d are in order", len(c.refs), free, used, kept, len(c.heap))
	}
	return c.ordered()
}

// ordered says what is wrong in the order in which blocks go: whatever follows another block goes before it, and is held only if that is.
func (c *cache) ordered() error {
	by := map[uint64]int32{}
	for b, number := range c.number {
		if number != 0 {
			by[number] = int32(b)
		}
	}
	for i, b := range c.heap {
		if c.at[b] != int32(i) || c.refs[b] != 0 || c.number[b] == 0 || i > 0 && c.before(b, c.heap[(i-1)/2]) {
			return fmt.Errorf("block %d stands wrongly at %d of those that are kept", b, i)
		}
	}
	for b, number := range c.number {
		before := c.names[b].before
		if number == 0 || before == 0 {
			continue
		}
		p, ok := by[before]
		switch {
		case !ok:
			return fmt.Errorf("block %d follows one that is gone", b)
		case c.refs[b] > 0 && c.refs[p] == 0:
			return fmt.Errorf("block %d is held, and block %d before it is not", b, p)
		case c.worth[p] < c.worth[b] || c.refs[p] == 0 && c.before(p, int32(b)):
			return fmt.Errorf("block %d goes before block %d, which follows it", p, b)
		}
	}
	return nil
}
