package llama

import (
	"context"
	"time"

	"serval"
	"serval/engine"
)

// Step computes one batch: the next token of every running sequence of one adapter, and a bounded piece of the prompts that
// are still read; or one batch of texts to make vectors of. See engine.Decoder.
func (d *decoder) Step(ctx context.Context) (int, error) {
	d.clock++
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
		if err := d.encode(); err != nil {
			return d.fail(err)
		}
		computed = true
	}
	n := len(d.live) + len(d.jobs)
	if n > 0 && !computed && !moved {
		return n, engine.ErrStalled
	}
	return n, nil
}

// generate computes the next tokens of the running sequences of one adapter, and then a piece of its prompts. It reports whether
// there was something to compute.
func (d *decoder) generate() (computed bool, err error) {
	d.start()
	if !d.chooseAdapter() {
		return false, nil
	}
	if err := d.layRunning(); err != nil {
		return false, err
	}
	if d.main.batch.n > 0 {
		computed = true
		if err := d.compute(d.pace.SawRows); err != nil {
			return false, err
		}
	}
	read, err := d.readPrompts()
	return computed || read, err
}

// compute runs the batch and takes it apart; saw is told what it cost.
func (d *decoder) compute(saw func(n int, took time.Duration)) error {
	if err := d.loras.use(d.main, d.turn); err != nil {
		return err
	}
	start := time.Now()
	if err := d.main.decode(); err != nil {
		return err
	}
	saw(d.main.batch.n, time.Since(start))
	d.takeAll()
	for _, s := range d.batched {
		d.settle(s)
	}
	return nil
}

// sweep lets the places of answers that have ended go, and ends the calls whose reader has it all.
func (d *decoder) sweep() {
	live := d.live[:0]
	for _, s := range d.live {
		if s.Over() {
			d.keep(s)
			if s.End() {
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
		s.Fail(err)
	}
	for _, j := range d.jobs {
		j.Fail(err)
	}
	clear(d.live)
	clear(d.jobs)
	d.live, d.jobs, d.batched = d.live[:0], d.jobs[:0], d.batched[:0]
	if d.main != nil {
		d.clearCache()
	}
	return 0, err
}
