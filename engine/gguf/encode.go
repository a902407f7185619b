package gguf

import (
	"context"
	"slices"

	"serval"
	"serval/engine"
)

// encodeJob is a call for vectors.
type encodeJob struct {
	call    *engine.Call
	in      *serval.Encode
	pooling string
	next    int // of the list: the first text that is not begun
	left    int // texts that have no vector yet
	out     serval.Embeddings
	tokens  int64
}

// encoding is a text that is computed, in one batch or, if it is long, in several.
type encoding struct {
	job   *encodeJob
	at    int // of the job's list
	table []int32
	done  int
	row   int // in the batch, of its next n tokens
	n     int
	sum   []float32 // [width]: what its tokens' vectors are pooled to
}

// Bounds of what is computed for vectors between two steps of those who wait for text.
const (
	encodeJobs  = 64
	encodeTexts = 64
)

// ownPooling is how a causal model makes one vector where nobody says: its last token alone has seen the whole text.
const ownPooling = "last"

func (d *decoder) admitEncode(c *engine.Call, in *serval.Encode) error {
	pooling := in.Pooling
	if pooling == "" {
		pooling = ownPooling
	}
	switch pooling {
	case "mean", "cls", "last":
	case "rank":
		return serval.Errorf(serval.InvalidArgument, "model '%s' pools by %s; it cannot pool by rank", d.name, ownPooling).At("pooling")
	default:
		return serval.Errorf(serval.InvalidArgument, "pooling %q is not known; use mean, cls or last", pooling).At("pooling")
	}
	for i, list := range in.List {
		if len(list) == 0 {
			return serval.Errorf(serval.InvalidArgument, "text %d has no tokens", i).At("input")
		}
		if n := d.plan.context; len(list) > n {
			return serval.Errorf(serval.InvalidArgument, "text %d has %d tokens; model '%s' takes %d, so it is %d too long", i, len(list), d.name, n, len(list)-n).
				At("input").Named("context_length_exceeded")
		}
		for _, t := range list {
			if t < 0 || int(t) >= d.vocab {
				return serval.Errorf(serval.InvalidArgument, "text %d has the token %d; model '%s' has the tokens 0 to %d", i, t, d.name, d.vocab-1).At("input")
			}
		}
	}
	if len(d.jobs) >= encodeJobs {
		return engine.ErrNoRoom
	}
	d.jobs = append(d.jobs, &encodeJob{call: c, in: in, pooling: pooling, left: len(in.List), out: serval.Embeddings{List: make([][]float32, len(in.List))}})
	return nil
}

// encode computes one batch of texts, of whoever asked. It reports whether there was something to do.
func (d *decoder) encode() (bool, error) {
	moved := d.dropJobs()
	d.net.reset()
	d.net.whole = true
	for _, t := range d.texts {
		d.layText(t)
	}
	for _, j := range d.jobs {
		for j.skip(); j.next < len(j.in.List) && len(d.texts) < encodeTexts && d.net.rows() < piece && d.beginText(j); j.skip() {
		}
	}
	if d.net.rows() > 0 {
		moved = true
		if err := d.net.run(); err != nil {
			return true, err
		}
		d.texts = slices.DeleteFunc(d.texts, d.pool)
	}
	return d.finishJobs() || moved, nil
}

// skip passes over texts that were done before an earlier one was begun anew.
func (j *encodeJob) skip() {
	for j.next < len(j.in.List) && j.out.List[j.next] != nil {
		j.next++
	}
}

// beginText lays a job's next text. It reports false where the cache has no room for it beside what the answers that are on their
// way will soon take: a text that has to give its room up is begun anew.
func (d *decoder) beginText(j *encodeJob) bool {
	need := blocksFor(len(j.in.List[j.next]))
	if need+d.growth() > d.cache.idle() {
		return false
	}
	t := &encoding{job: j, at: j.next, sum: make([]float32, d.width)}
	for range need {
		b, _ := d.cache.take()
		t.table = append(t.table, b)
	}
	j.next++
	d.layText(t)
	d.texts = append(d.texts, t)
	return true
}

// waitingText is how many blocks the next text needs that was not begun.
func (d *decoder) waitingText() int {
	for _, j := range d.jobs {
		if j.next < len(j.in.List) {
			return blocksFor(len(j.in.List[j.next]))
		}
	}
	return 0
}

// layText adds as much of a text to the batch as it has room for.
func (d *decoder) layText(t *encoding) {
	tokens := t.job.in.List[t.at][t.done:]
	t.row, t.n = d.net.rows(), min(len(tokens), piece-d.net.rows())
	if t.n > 0 {
		d.net.add(tokens[:t.n], t.done, t.table, func(int) bool { return false })
	}
}

// pool takes the tokens' vectors out of a batch that was computed. It reports whether the text is done.
func (d *decoder) pool(t *encoding) bool {
	whole := len(t.job.in.List[t.at])
	for i := range t.n {
		switch at := t.done + i; t.job.pooling {
		case "mean":
			d.net.ops.AddTo(t.sum, d.net.vector(t.row+i))
		case "cls":
			if at == 0 {
				copy(t.sum, d.net.vector(t.row))
			}
		case "last":
			if at == whole-1 {
				copy(t.sum, d.net.vector(t.row+i))
			}
		}
	}
	if t.done += t.n; t.done < whole {
		return false
	}
	if t.job.pooling == "mean" {
		for i := range t.sum {
			t.sum[i] /= float32(whole)
		}
	}
	d.cache.release(t.table)
	t.job.out.List[t.at] = t.sum
	t.job.tokens += int64(whole)
	t.job.left--
	return true
}

// dropTexts lets the blocks of texts go that are not done, of one job or, if it is nil, of all; they are begun anew. It reports
// whether there were any.
func (d *decoder) dropTexts(of *encodeJob) bool {
	n := len(d.texts)
	d.texts = slices.DeleteFunc(d.texts, func(t *encoding) bool {
		if of != nil && t.job != of {
			return false
		}
		d.cache.release(t.table)
		t.job.next = min(t.job.next, t.at)
		return true
	})
	return len(d.texts) < n
}

func (d *decoder) dropJobs() (moved bool) {
	d.jobs = slices.DeleteFunc(d.jobs, func(j *encodeJob) bool {
		if !j.call.Stream.Canceled() {
			return false
		}
		d.dropTexts(j)
		j.call.Stream.End(context.Canceled)
		moved = true
		return true
	})
	return moved
}

// finishJobs answers the jobs whose vectors are all there.
func (d *decoder) finishJobs() (moved bool) {
	d.jobs = slices.DeleteFunc(d.jobs, func(j *encodeJob) bool {
		if j.left == 0 && slices.ContainsFunc(j.out.List, broken) {
			j.call.Stream.End(d.damaged())
			moved = true
			return true
		}
		if j.left > 0 || !j.call.Stream.Emit(serval.Chunk{Output: &j.out, Usage: serval.Usage{Rows: int64(len(j.out.List)), Prompt: j.tokens}, Finish: serval.Stop}) {
			return false
		}
		j.call.Stream.End(nil)
		moved = true
		return true
	})
	return moved
}

// broken says of a vector that some of its numbers are none.
func broken(v []float32) bool {
	return slices.ContainsFunc(v, func(x float32) bool { return x-x != 0 })
}
