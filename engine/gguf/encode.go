package gguf

import (
	"slices"

	"serval"
	"serval/engine"
	"serval/llm/decode"
)

// encoding is a text that is computed, in one batch or, if it is long, in several.
type encoding struct {
	job   *decode.Texts
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
	j, err := d.answers.Texts(in, c.Stream)
	if err != nil {
		return err
	}
	if len(d.jobs) >= encodeJobs {
		return engine.ErrNoRoom
	}
	d.jobs = append(d.jobs, j)
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
		for skip(j) && len(d.texts) < encodeTexts && d.net.rows() < piece && d.beginText(j) {
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

// skip passes over texts that were done before an earlier one was begun anew. It reports false if none is left.
func skip(j *decode.Texts) bool {
	for j.Next < len(j.In.List) && j.Has(j.Next) {
		j.Next++
	}
	return j.Next < len(j.In.List)
}

// beginText lays a job's next text. It reports false where the cache has no room for it beside what the answers that are on their
// way will soon take: a text that has to give its room up is begun anew.
func (d *decoder) beginText(j *decode.Texts) bool {
	need := blocksFor(len(j.In.List[j.Next]))
	if need+d.growth() > d.cache.idle() {
		return false
	}
	t := &encoding{job: j, at: j.Next, sum: make([]float32, d.width)}
	for range need {
		b, _ := d.cache.take()
		t.table = append(t.table, b)
	}
	j.Next++
	d.layText(t)
	d.texts = append(d.texts, t)
	return true
}

// waitingText is how many blocks the next text needs that was not begun.
func (d *decoder) waitingText() int {
	for _, j := range d.jobs {
		if j.Next < len(j.In.List) {
			return blocksFor(len(j.In.List[j.Next]))
		}
	}
	return 0
}

// layText adds as much of a text to the batch as it has room for.
func (d *decoder) layText(t *encoding) {
	tokens := t.job.In.List[t.at][t.done:]
	t.row, t.n = d.net.rows(), min(len(tokens), piece-d.net.rows())
	if t.n > 0 {
		d.net.add(tokens[:t.n], t.done, t.table, func(int) bool { return false })
	}
}

// pool takes the tokens' vectors out of a batch that was computed. It reports whether the text is done.
func (d *decoder) pool(t *encoding) bool {
	whole := len(t.job.In.List[t.at])
	for i := range t.n {
		switch at := t.done + i; t.job.Pooling {
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
	if t.job.Pooling == "mean" {
		for i := range t.sum {
			t.sum[i] /= float32(whole)
		}
	}
	d.cache.release(t.table)
	t.job.Set(t.at, t.sum)
	return true
}

// dropTexts lets the blocks of texts go that are not done, of one job or, if it is nil, of all; they are begun anew. It reports
// whether there were any.
func (d *decoder) dropTexts(of *decode.Texts) bool {
	n := len(d.texts)
	d.texts = slices.DeleteFunc(d.texts, func(t *encoding) bool {
		if of != nil && t.job != of {
			return false
		}
		d.cache.release(t.table)
		t.job.Next = min(t.job.Next, t.at)
		return true
	})
	return len(d.texts) < n
}

func (d *decoder) dropJobs() (moved bool) {
	d.jobs = slices.DeleteFunc(d.jobs, func(j *decode.Texts) bool {
		if !j.Drop() {
			return false
		}
		d.dropTexts(j)
		moved = true
		return true
	})
	return moved
}

// finishJobs answers the jobs whose vectors are all there.
func (d *decoder) finishJobs() bool {
	n := len(d.jobs)
	d.jobs = slices.DeleteFunc(d.jobs, (*decode.Texts).End)
	return len(d.jobs) < n
}
