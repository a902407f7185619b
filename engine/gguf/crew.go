package gguf

import (
	"runtime/debug"

	"serval"
	"serval/engine/gguf/kernel"
	"serval/engine/gguf/packed"
)

// crew shares out what a net computes of some rows: a function of each, and products of matrices with the acts. It belongs to one
// goroutine. The functions that compute pieces are made once: nothing is allocated in a pass.
type crew struct {
	team   *kernel.Team
	acts   *kernel.Acts
	mapped *packed.Mapping // what the matrices are read from; nil: memory
	muls   []mul
	errs   []error // of each worker

	row          func(worker, i int) // of each, and how many rows, and of a piece
	count, grain int

	rowsPiece, mulPiece func(worker, i int)
}

// mul is a product of the acts with a matrix.
type mul struct {
	m      *kernel.Matrix
	y      []float32
	ld     int
	grain  int
	pieces int
}

// newCrew has acts for the matrices that the arena has by now.
func newCrew(team *kernel.Team, arena *kernel.Arena, mapped *packed.Mapping) *crew {
	c := &crew{team: team, acts: arena.Acts(), mapped: mapped, errs: make([]error, team.Size())}
	c.rowsPiece, c.mulPiece = c.rowsOf, c.mulOne
	if mapped != nil {
		c.mulPiece = c.mulMapped
	}
	return c
}

// failed is the first error of the workers, which it forgets.
func (c *crew) failed() (err error) {
	for i := range c.errs {
		if c.errs[i] != nil {
			err, c.errs[i] = c.errs[i], nil
		}
	}
	return err
}

// passed is the error of a pass over a file's weights: its own, or what workers met since it asked.
func (c *crew) passed(file string, err error) error {
	if lost := c.failed(); err == nil && lost != nil {
		err = serval.Errorf(serval.Internal, "%s: %w", file, lost)
	}
	return err
}

// each runs f for every row of cols numbers: on the team where that is worth a barrier, some rows a piece.
func (c *crew) each(rows, cols int, f func(worker, i int)) {
	const alone, grain = 1 << 13, 1 << 12 // numbers
	if rows*cols <= alone {
		for i := range rows {
			f(0, i)
		}
		return
	}
	c.row, c.count, c.grain = f, rows, max(grain/cols, 1)
	c.team.Run((rows+c.grain-1)/c.grain, c.rowsPiece)
}

func (c *crew) rowsOf(worker, piece int) {
	for i := piece * c.grain; i < min((piece+1)*c.grain, c.count); i++ {
		c.row(worker, i)
	}
}

// groups runs f for every lane group of the acts, so that one worker fills what stands side by side.
func (c *crew) groups(f func(worker, i int)) { c.team.Run(c.acts.Groups(), f) }

// multiply computes products of the same acts.
func (c *crew) multiply(muls ...mul) {
	c.muls = append(c.muls[:0], muls...)
	pieces := 0
	for i := range c.muls {
		m := &c.muls[i]
		m.grain = m.m.Split(c.acts.Tokens(), c.team.Size())
		m.pieces = (m.m.Tiles() + m.grain - 1) / m.grain
		pieces += m.pieces
	}
	c.team.Run(pieces, c.mulPiece)
}

func (c *crew) mulOne(_, i int) {
	for j := range c.muls {
		m := &c.muls[j]
		if i < m.pieces {
			m.m.Mul(m.y, m.ld, c.acts, i*m.grain, min((i+1)*m.grain, m.m.Tiles()))
			return
		}
		i -= m.pieces
	}
}

// mulMapped is mulOne where the weights are mapped: that their file was cut short underneath is an error of the pass.
func (c *crew) mulMapped(worker, i int) {
	defer c.mapped.Recover(debug.SetPanicOnFault(true), &c.errs[worker])
	c.mulOne(worker, i)
}
