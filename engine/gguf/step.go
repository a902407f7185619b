package gguf

import (
	"context"
	"time"

	"serval"
	"serval/engine"
)

// Step computes one batch: the next token of every running sequence and a bounded piece of the prompts that are still read; and one
// of texts to make vectors of. See engine.Decoder.
func (d *decoder) Step(context.Context) (int, error) {
	moved := false
	for _, s := range d.live {
		moved = s.Drop() || s.Offer() || moved
	}
	d.sweep()
	computed := false
	if len(d.live) > 0 {
		var err error
		if computed, err = d.generate(); err != nil {
			return d.fail(err)
		}
		d.sweep()
	}
	if len(d.jobs) > 0 {
		some, err := d.encode()
		if err != nil {
			return d.fail(err)
		}
		moved = moved || some
	}
	n := len(d.live) + len(d.jobs)
	if n > 0 && !computed && !moved {
		return n, engine.ErrStalled
	}
	return n, nil
}

// generate computes a batch. It reports whether there was something to compute.
func (d *decoder) generate() (computed bool, err error) {
	d.start()
	running, err := d.lay()
	if err != nil || len(d.laid) == 0 {
		return false, err
	}
	begin := time.Now()
	if err := d.net.run(); err != nil {
		return false, err
	}
	switch rows := d.net.rows(); {
	case rows == running:
		d.pace.SawRows(rows, time.Since(begin))
	case rows-running >= leastPiece:
		d.pace.SawPrompt(rows, time.Since(begin))
	}
	d.team.Run(len(d.laid), d.takePiece)
	for _, s := range d.laid {
		d.settle(s)
	}
	return true, nil
}

// sweep lets the blocks of answers that have ended go, and ends the calls whose reader has it all.
func (d *decoder) sweep() {
	live := d.live[:0]
	for _, s := range d.live {
		if s.Over() {
			if s.placed {
				d.unplace(s)
			}
			if s.End() {
				continue
			}
		}
		live = append(live, s)
	}
	clear(d.live[len(live):])
	d.live = live
}

// take reads the logits of the i-th sequence of the batch, on any thread.
func (d *decoder) take(_, i int) {
	s := d.laid[i]
	out := s.out
	s.Take(s.rows, func(int) []float32 {
		out++
		return d.net.logits(out - 1)
	})
}

// fail ends every call with the error and begins anew with an empty cache.
func (d *decoder) fail(err error) (int, error) {
	err = serval.AsError(err)
	for _, s := range d.live {
		s.Fail(err)
	}
	for _, j := range d.jobs {
		j.Fail(err)
	}
	clear(d.live)
	clear(d.jobs)
	d.live, d.laid, d.jobs, d.texts = d.live[:0], d.laid[:0], d.jobs[:0], d.texts[:0]
	d.cache.clear()
	return 0, err
}
