package gguf

import "serval/llm/decode"

// block is how many cells of the cache, tokens of a sequence, are given out together.
const block = 32

// name is what a full block holds: what came before it, whose it is, and its tokens. Names are compared whole.
type name struct {
	before uint64 // the block before it, by its number; 0: it is the first
	salt   string // of the first block of a sequence; the others have it by the first
	tokens [block]int32
}

// parent is what blocks that may follow each other's place have in common: the block before, and whose they are where there is none.
type parent struct {
	before uint64
	salt   string
}

// cache counts the blocks of keys and values and finds those that begin alike. A block is free, held by one or more sequences, or
// kept: named, held by nobody, and there until room is needed. A name is given to a block that is full, and to the last one of a
// sequence that ends, with what it holds: a tail, which is only ever copied. It belongs to one goroutine.
type cache struct {
	refs   []int32
	number []uint64 // of a block that has a name; 0: it has none
	names  []name
	filled []int32        // tokens of the name
	index  map[name]int32 // of full blocks
	free   []int32
	last   uint64 // number that was given

	// Of the blocks that have a name: those of one parent, the youngest first; -1 ends a list.
	youngest       map[parent]int32
	older, younger []int32

	evictor // of the kept blocks
}

func newCache(blocks int, by costs) *cache {
	c := &cache{
		refs: make([]int32, blocks), number: make([]uint64, blocks), names: make([]name, blocks), filled: make([]int32, blocks),
		index: map[name]int32{}, free: make([]int32, blocks), youngest: map[parent]int32{}, older: make([]int32, blocks),
		younger: make([]int32, blocks), evictor: newEvictor(blocks, by),
	}
	for i := range c.free {
		c.free[i] = int32(blocks - 1 - i)
	}
	return c
}

func (c *cache) size() int { return len(c.refs) }

// idle is how many blocks nobody holds.
func (c *cache) idle() int { return len(c.free) + len(c.heap) }

// take gives a block to a sequence, of any content; false if all are held.
func (c *cache) take() (int32, bool) {
	if n := len(c.free); n > 0 {
		b := c.free[n-1]
		c.free = c.free[:n-1]
		c.refs[b] = 1
		return b, true
	}
	if len(c.heap) == 0 {
		return 0, false
	}
	b := c.evict()
	c.forget(b)
	c.refs[b] = 1
	return b, true
}

// call gives block b its name, of which filled tokens count; the first is a sequence's token at begin.
func (c *cache) call(b int32, n name, filled int32, begin int) {
	c.last++
	c.born(b, begin)
	c.names[b], c.filled[b], c.number[b] = n, filled, c.last
	if filled == block {
		c.index[n] = b
	}
	p := parent{n.before, n.salt}
	c.older[b], c.younger[b] = -1, -1
	if o, ok := c.youngest[p]; ok {
		c.older[b], c.younger[o] = o, b
	}
	c.youngest[p] = b
}

// forget takes a block's name away.
func (c *cache) forget(b int32) {
	n := c.names[b]
	if c.filled[b] == block {
		delete(c.index, n)
	}
	o, y := c.older[b], c.younger[b]
	if o >= 0 {
		c.younger[o] = y
	}
	switch {
	case y >= 0:
		c.older[y] = o
	case o >= 0:
		c.youngest[parent{n.before, n.salt}] = o
	default:
		delete(c.youngest, parent{n.before, n.salt})
	}
	c.number[b], c.filled[b], c.names[b] = 0, 0, name{}
}

// closest is the block that holds most of what follows the block with the number before (0: of what begins a sequence), and how
// many tokens those are.
func (c *cache) closest(before uint64, salt string, follows []int32) (at int32, n int) {
	b, ok := c.youngest[under(before, salt)]
	if !ok {
		return -1, 0
	}
	for at = -1; b >= 0; b = c.older[b] {
		if m := decode.Common(c.names[b].tokens[:c.filled[b]], follows); m > n {
			at, n = b, m
		}
	}
	return at, n
}

// under is the parent of blocks that follow another one.
func under(before uint64, salt string) parent {
	if before != 0 {
		salt = ""
	}
	return parent{before, salt}
}

// supersede lets the tails go that nobody holds and that end inside a block with these tokens, of the same parent.
func (c *cache) supersede(p parent, tokens []int32) {
	b, ok := c.youngest[p]
	for ok && b >= 0 {
		o := c.older[b]
		if n := int(c.filled[b]); c.refs[b] == 0 && n < block && n <= len(tokens) && decode.Common(c.names[b].tokens[:n], tokens) == n {
			c.unlink(b)
			c.forget(b)
			c.free = append(c.free, b)
		}
		b = o
	}
}

// hold keeps a block that is kept from being given away, until it is released.
func (c *cache) hold(b int32) {
	if c.refs[b]++; c.refs[b] == 1 {
		c.unlink(b)
	}
}

// tail names block b, the last of a sequence that ends, where no other block holds as much of what it does. tokens are those in it, from
// the sequence's i-th block on.
func (c *cache) tail(b int32, before uint64, salt string, i int, tokens []int32) {
	p := under(before, salt)
	if _, n := c.closest(before, salt, tokens); n == len(tokens) {
		return
	}
	c.supersede(p, tokens)
	n := name{before: p.before, salt: p.salt}
	copy(n.tokens[:], tokens)
	c.call(b, n, int32(len(tokens)), i*block)
}

// release lets a sequence's blocks go, its end first, so that its beginning is kept longest.
func (c *cache) release(table []int32) {
	least := uint64(0)
	for i := len(table) - 1; i >= 0; i-- {
		b := table[i]
		if c.number[b] != 0 {
			least = c.price(b, c.filled[b], least)
		}
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

// copied releases a block that was held to be copied from, and which follows those of table: the use counts for it, and they are worth no less.
func (c *cache) copied(table []int32, b int32) {
	c.used(b)
	least := c.price(b, c.filled[b], 0)
	for i := len(table) - 1; i >= 0 && c.worth[table[i]] < least; i-- {
		c.worth[table[i]] = least
	}
	if c.refs[b]--; c.refs[b] == 0 {
		c.link(b)
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
		c.hold(b)
		c.used(b)
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

// full names the i-th block of a sequence's table, once it holds its tokens, and returns its number. If another block holds the same,
// which are the same bits, it takes the place of this one in the table.
func (c *cache) full(table []int32, before uint64, salt string, i int, tokens []int32) uint64 {
	n, b := nameOf(before, salt, i, tokens), table[i]
	if other, ok := c.index[n]; ok {
		c.hold(other)
		c.used(other)
		table[i] = other
		c.release([]int32{b})
		return c.number[other]
	}
	c.supersede(parent{n.before, n.salt}, n.tokens[:])
	c.call(b, n, block, i*block)
	return c.last
}

// clear forgets what is kept. The sequences have released theirs.
func (c *cache) clear() { *c = *newCache(len(c.refs), c.costs) }

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
