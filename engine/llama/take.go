package llama

import "sync"

// takeAll reads the logits of every sequence of the batch, on several goroutines where picking tokens is work, and waits for them.
func (d *decoder) takeAll() {
	work := 0
	for _, s := range d.batched {
		if s.Work() {
			work++
		}
	}
	n := min(work, d.threads)
	if n < 2 {
		for _, s := range d.batched {
			d.take(s)
		}
		return
	}
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() {
			for j := i; j < len(d.batched); j += n {
				d.take(d.batched[j])
			}
		})
	}
	wait.Wait()
}

func (d *decoder) take(s *sequence) {
	s.Take(s.rows, func(i int) []float32 { return d.main.logits(s.row+i, d.vocab) })
}

// settle takes back what guesses put into the cache in vain, and hands the new tokens on.
func (d *decoder) settle(s *sequence) {
	if len(s.cells) > s.Done {
		d.lib.seqRm(d.main.mem, s.id, int32(s.Done), -1)
		s.cells = d.cells.drop(s.cells, s.Done)
	}
	s.Tell()
}
