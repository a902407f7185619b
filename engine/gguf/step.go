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
	moved := d.drop()
	moved = d.offer() || moved
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
	if read := d.net.rows() - running; read >= leastPiece {
		took := time.Since(begin).Seconds() / float64(d.net.rows())
		if d.perPrompt == 0 {
			d.perPrompt = took
		}
		d.perPrompt += 0.2 * (took - d.perPrompt)
	}
	d.takeAll()
	for _, s := range d.laid {
		d.settle(s)
	}
	return true, nil
}

// offer gives readers again what they had no room for.
func (d *decoder) offer() (moved bool) {
	for _, s := range d.live {
		if s.pending != nil && s.call.Stream.Emit(*s.pending) {
			s.pending = nil
			moved = true
		}
	}
	return moved
}

// emit hands a sequence's new tokens to its reader.
func (d *decoder) emit(s *sequence) {
	chunk := serval.Chunk{Finish: s.finish, Output: &serval.Tokens{List: s.fresh}}
	chunk.Usage = serval.Usage{Completion: int64(len(s.fresh))}
	if !s.told {
		s.told = true
		chunk.Usage.Prompt, chunk.Usage.Cached = int64(s.prompt), int64(s.cached)
		chunk.Output.(*serval.Tokens).Prompt = s.echo
	}
	s.fresh = nil
	if !s.call.Stream.Emit(chunk) {
		s.pending = &chunk
	}
}

// sweep lets the blocks of answers that have ended go, and ends the calls whose reader has it all.
func (d *decoder) sweep() {
	live := d.live[:0]
	for _, s := range d.live {
		if s.over() {
			if s.placed {
				d.unplace(s)
			}
			if s.pending == nil {
				s.call.Stream.End(s.err)
				continue
			}
		}
		live = append(live, s)
	}
	clear(d.live[len(live):])
	d.live = live
}

// fail ends every call with the error and begins anew with an empty cache.
func (d *decoder) fail(err error) (int, error) {
	err = serval.AsError(err)
	for _, s := range d.live {
		s.call.Stream.End(err)
	}
	for _, j := range d.jobs {
		j.call.Stream.End(err)
	}
	clear(d.live)
	clear(d.jobs)
	d.live, d.laid, d.jobs, d.texts = d.live[:0], d.laid[:0], d.jobs[:0], d.texts[:0]
	d.cache.clear()
	return 0, err
}
