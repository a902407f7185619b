package tree

import (
	"context"
	"encoding/binary"

	"serval"
	"serval/engine"
)

// batch is the rows of the calls that are computed together, and where their answers go.
type batch struct {
	ctx     context.Context
	calls   []*engine.Call // each checked
	rows    int
	width   int // bytes of a row's numbers
	texts   int // categories of a row
	asks    []bool
	outputs []serval.Tensor
	leaf    int     // index of the output that holds the leaves
	trees   int     // its columns
	classes []int32 // of rows whose labels are text
}

// cursor stands before a row of a batch.
type cursor struct {
	b     *batch
	call  int
	row   int // of the call
	texts []byte
}

// rowsOf is how many rows a call has. Its own count is 1 where the model does not batch, whatever the inputs hold.
func rowsOf(c *engine.Call) int { return int(c.Inputs[0].Shape[0]) }

// seek stands before row number row.
func (b *batch) seek(row int) cursor {
	c := cursor{b: b}
	for row >= rowsOf(b.calls[c.call]) && c.call < len(b.calls)-1 {
		row -= rowsOf(b.calls[c.call])
		c.call++
	}
	c.row = row
	c.open()
	for range row * b.texts {
		_, c.texts, _ = serval.NextBytes(c.texts)
	}
	return c
}

// open is called at a call's first row.
func (c *cursor) open() {
	if c.b.texts > 0 {
		inputs := c.b.calls[c.call].Inputs
		c.texts = inputs[len(inputs)-1].Data
	}
}

// next returns the numbers of the row behind the cursor, puts the hashes of its categories into hashes, and moves on.
func (c *cursor) next(hashes []int32) []byte {
	for c.row == rowsOf(c.b.calls[c.call]) {
		c.call++
		c.row = 0
		c.open()
	}
	for i := range hashes {
		var text []byte
		text, c.texts, _ = serval.NextBytes(c.texts)
		if c.b.asks[i] {
			hashes[i] = categoryHash(text)
		}
	}
	var row []byte
	if c.b.width > 0 {
		row = c.b.calls[c.call].Inputs[0].Data[c.row*c.b.width : (c.row+1)*c.b.width]
	}
	c.row++
	return row
}

// putLeaf writes the name of the leaf that a row has reached in a tree.
func (b *batch) putLeaf(row, tree int, leaf int32) {
	binary.LittleEndian.PutUint32(b.outputs[b.leaf].Data[(row*b.trees+tree)*4:], uint32(leaf))
}
