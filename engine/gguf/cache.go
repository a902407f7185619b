package gguf

import (
	"fmt"
)

// block is how many cells of the cache, tokens of a sequence, are given out together.
const block = 32

// name is what a full block holds: what came before it, whose it is, and its tokens. Names are compared whole.
type name struct {
	before uint64 // the block before it, by its number; 0: it is the first
	salt   string // of the first block of a sequence; the others have it by the first
	tokens [block]int32
}

// cache counts the blocks of keys and values and finds those that begin alike. A block is free, held by one or more sequences, or
// kept: full, held by nobody, and there until room is needed. It belongs to one goroutine.
type cache struct {
	refs   []int32
	number []uint64 // of a block that has a name; 0: it has none
	names  []name
	index  map[name]int32
	free   []int32
	last   uint64 // number that was given

	// Of the kept blocks: a ring through next and prev with the one let go longest ago behind its head, which is one past the last block.
	next, prev []int32
	kept       int
}

func newCache(blocks int) *cache {
	c := &cache{
		refs: make([]int32, blocks), number: make([]uint64, blocks), names: make([]name, blocks), index: map[name]int32{},
		free: make([]int32, blocks), next: make([]int32, blocks+1), prev: make([]int32, blocks+1),
	}
	for i := range c.free {
		c.free[i] = int32(blocks - 1 - i)
	}
	c.next[blocks], c.prev[blocks] = int32(blocks), int32(blocks)
	return c
}

func (c *cache) size() int { return len(c.refs) }

// idle is how many blocks nobody holds.
func (c *cache) idle() int { return len(c.free) + c.kept }

// link puts a block at the end of the ring, unlink takes it out.
func (c *cache) link(b int32) {
	head := int32(len(c.refs))
	last := c.prev[head]
	c.next[last], c.prev[b], c.next[b], c.prev[head] = b, last, head, b
	c.kept++
}

func (c *cache) unlink(b int32) {
	c.next[c.prev[b]], c.prev[c.next[b]] = c.next[b], c.prev[b]
	c.kept--
}

// take gives a block to a sequence, of any content; false if all are held.
func (c *cache) take() (int32, bool) {
	if n := len(c.free); n > 0 {
		b := c.free[n-1]
		c.free = c.free[:n-1]
		c.refs[b] = 1
		return b, true
	}
	if c.kept == 0 {
		return 0, false
	}
	b := c.next[len(c.refs)]
	c.unlink(b)
	c.forget(b)
	c.refs[b] = 1
	return b, true
}

// forget takes a block's name away.
func (c *cache) forget(b int32) {
	delete(c.index, c.names[b])
	c.number[b], c.names[b] = 0, name{}
}

// release lets a sequence's blocks go, its end first, so that its beginning is kept longest.
func (c *cache) release(table []int32) {
	for i := len(table) - 1; i >= 0; i-- {
		b := table[i]
		if c.refs[b]--; c.refs[b] > 0 {
			continue
		}
		if c.number[b] != 0 {
			c.link(b)
		} else {
			c.free = append(c.free, b)
		}
	}
}

// nameOf is the name of the block at index i of a sequence.
func nameOf(before uint64, salt string, i int, tokens []int32) name {
	n := name{before: before, tokens: [block]int32(tokens[i*block : (i+1)*block])}
	if i == 0 {
		n.salt = salt
	}
	return n
}

// find appends the blocks that hold what tokens begin with to table, and holds them; last is the number of the last one.
func (c *cache) find(table []int32, salt string, tokens []int32) (_ []int32, last uint64) {
	for i := range len(tokens) / block {
		b, ok := c.index[nameOf(last, salt, i, tokens)]
		if !ok {
			break
		}
		if c.refs[b]++; c.refs[b] == 1 {
			c.unlink(b)
		}
		table, last = append(table, b), c.number[b]
	}
	return table, last
}

// held is how many of the blocks that tokens begin with sequences hold already.
func (c *cache) held(salt string, tokens []int32) (n int) {
	last := uint64(0)
	for i := range len(tokens) / block {
		b, ok := c.index[nameOf(last, salt, i, tokens)]
		if !ok {
			break
		}
		if c.refs[b] > 0 {
			n++
		}
		last = c.number[b]
	}
	return n
}

// full names block b, the i-th of a sequence, once it holds its tokens, and returns its number. If another block holds the same,
// that stays the one which is found.
func (c *cache) full(b int32, before uint64, salt string, i int, tokens []int32) uint64 {
	n := nameOf(before, salt, i, tokens)
	if other, ok := c.index[n]; ok {
		return c.number[other]
	}
	c.last++
	c.index[n], c.names[b], c.number[b] = b, n, c.last
	return c.last
}

// clear forgets what is kept. The sequences have released theirs.
func (c *cache) clear() { *c = *newCache(len(c.refs)) }

// check says what does not fit together, for tests; tables are those of the live sequences.
func (c *cache) check(tables ...[]int32) error {
	held := make([]int32, len(c.refs))
	for _, table := range tables {
		for _, b := range table {
			held[b]++
		}
	}
	kept := 0
	for b := range c.refs {
		if c.refs[b] != held[b] {
			return fmt.Errorf("block %d counts %d holders and has %d", b, c.refs[b], held[b])
		}
		if c.number[b] != 0 && c.index[c.names[b]] != int32(b) {
			return fmt.Errorf("block %d is not found by its name", b)
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
	ring := 0
	for b := c.next[len(c.refs)]; b != int32(len(c.refs)); b = c.next[b] {
		ring++
	}
	used := 0
	for _, n := range c.refs {
		if n > 0 {
			used++
		}
	}
	if kept != c.kept || ring != kept || free+kept+used != len(c.refs) {
		return fmt.Errorf("%d blocks: %d free, %d held, %d kept (%d counted, %d in the ring)", len(c.refs), free, used, kept, c.kept, ring)
	}
	return nil
}

// known is how many blocks of what tokens begin with are in the cache.
func (c *cache) known(salt string, tokens []int32) int {
	last := uint64(0)
	for i := range len(tokens) / block {
		b, ok := c.index[nameOf(last, salt, i, tokens)]
		if !ok {
			return i
		}
		last = c.number[b]
	}
	return len(tokens) / block
}
