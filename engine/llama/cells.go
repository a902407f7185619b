package llama

// cells counts the cells of the key-value cache as llama.cpp uses them: one for each position of a sequence, and one for all
// sequences that share it by copying. It is a mirror: llama.cpp itself does not tell.
type cells struct {
	refs []uint16 // how many sequences hold a cell
	free []int32
}

func newCells(n int) *cells {
	c := &cells{refs: make([]uint16, n), free: make([]int32, n)}
	for i := range c.free {
		c.free[i] = int32(n - 1 - i)
	}
	return c
}

func (c *cells) size() int { return len(c.refs) }

// take appends n new cells to list. The caller has seen to it that they are there.
func (c *cells) take(list []int32, n int) []int32 {
	at := len(c.free) - n
	for _, cell := range c.free[at:] {
		c.refs[cell] = 1
		list = append(list, cell)
	}
	c.free = c.free[:at]
	return list
}

// share appends the cells of another sequence to list.
func (c *cells) share(list, of []int32) []int32 {
	for _, cell := range of {
		c.refs[cell]++
	}
	return append(list, of...)
}

// drop lets go of all but the first n cells of list.
func (c *cells) drop(list []int32, n int) []int32 {
	for _, cell := range list[n:] {
		if c.refs[cell]--; c.refs[cell] == 0 {
			c.free = append(c.free, cell)
		}
	}
	return list[:n]
}

// reset frees all.
func (c *cells) reset() { *c = *newCells(len(c.refs)) }
