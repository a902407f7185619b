package llama

import (
	"context"
	"fmt"
	"slices"

	"serval"
	"serval/engine"
)

// encodeJob is a call for vectors.
type encodeJob struct {
	call    *engine.Call
	in      *serval.Encode
	pooling string
	next    int // of the list
	out     serval.Embeddings
	tokens  int64
}

// encoder is a context that makes vectors with one way of pooling.
type encoder struct {
	session *session
	pooling string
	width   int
	size    int // tokens of a batch
}

// Bounds of a batch of texts: a text must be computed whole, so that a longer one makes the batch longer.
const (
	encodeTokens = 512
	encodeTexts  = 64
	exactTokens  = 1024 // up to which attention is computed in 32 bits, as those do who trained the model; it takes tokens² of memory
)

func (d *decoder) admitEncode(c *engine.Call, in *serval.Encode) error {
	pooling := in.Pooling
	if pooling == "" {
		pooling = d.facts.ownPooling()
	}
	switch at := slices.Index(poolings, pooling); {
	case at < 1:
		return serval.Errorf(serval.InvalidArgument, "pooling %q is not known; use mean, cls or last", pooling).At("pooling")
	case (pooling == "rank") != (d.facts.Pooling == "rank"):
		return serval.Errorf(serval.InvalidArgument, "model '%s' pools by %s; it cannot pool by %s", d.name, d.facts.ownPooling(), pooling).At("pooling")
	}
	for i, list := range in.List {
		if len(list) == 0 {
			return serval.Errorf(serval.InvalidArgument, "text %d has no tokens", i).At("input")
		}
		if len(list) > d.window {
			return serval.Errorf(serval.InvalidArgument, "text %d has %d tokens; model '%s' takes %d, so it is %d too long", i, len(list), d.name, d.window, len(list)-d.window).
				At("input").Named("context_length_exceeded")
		}
		for _, t := range list {
			if t < 0 || int(t) >= d.vocab {
				return serval.Errorf(serval.InvalidArgument, "text %d has the token %d; model '%s' has the tokens 0 to %d", i, t, d.name, d.vocab-1).At("input")
			}
		}
	}
	if len(d.jobs) >= encodeTexts || len(d.live) > 0 && d.live[0].in.Alone {
		return engine.ErrNoRoom
	}
	d.jobs = append(d.jobs, &encodeJob{call: c, in: in, pooling: pooling, out: serval.Embeddings{List: make([][]float32, len(in.List))}})
	return nil
}

// part is a text of a job in the batch that is computed.
type part struct {
	job *encodeJob
	at  int
}

// encode computes one batch of texts: of the first job that has some, and of all others that pool in the same way.
func (d *decoder) encode() error {
	d.dropJobs()
	var first *encodeJob
	for _, j := range d.jobs {
		if j.next < len(j.in.List) {
			first = j
			break
		}
	}
	if first != nil {
		e, err := d.encoderFor(first.pooling, len(first.in.List[first.next]))
		if err == nil {
			err = d.encodeBatch(e)
		}
		if err != nil {
			return err
		}
	}
	d.finishJobs()
	return nil
}

func (d *decoder) dropJobs() {
	d.jobs = slices.DeleteFunc(d.jobs, func(j *encodeJob) bool {
		if j.call.Stream.Canceled() {
			j.call.Stream.End(context.Canceled)
			return true
		}
		return false
	})
}

// finishJobs answers the jobs whose vectors are all there.
func (d *decoder) finishJobs() {
	d.jobs = slices.DeleteFunc(d.jobs, func(j *encodeJob) bool {
		if j.next < len(j.in.List) {
			return false
		}
		if !j.call.Stream.Emit(serval.Chunk{Output: &j.out, Usage: serval.Usage{Rows: int64(len(j.out.List)), Prompt: j.tokens}, Finish: serval.Stop}) {
			return false
		}
		j.call.Stream.End(nil)
		return true
	})
}

// encoderFor finds or makes the context for a way of pooling that holds a text of n tokens.
func (d *decoder) encoderFor(pooling string, n int) (*encoder, error) {
	e := d.encoders[pooling]
	if e != nil && e.size >= n {
		return e, nil
	}
	size := encodeTokens
	for size < n {
		size *= 2
	}
	if e != nil {
		e.session.close()
		delete(d.encoders, pooling)
	}
	p := d.lib.contextDefaults()
	p.Ctx, p.Batch, p.Ubatch = uint32(size), uint32(size), uint32(size)
	p.SeqMax, p.Unified, p.Embeddings = encodeTexts, true, true
	if size <= exactTokens {
		p.FlashAttention = 0
	}
	p.Pooling = int32(slices.Index(poolings, pooling))
	s, err := d.newSession(p, d.threads)
	if err != nil {
		return nil, err
	}
	e = &encoder{session: s, pooling: pooling, width: d.width, size: size}
	if pooling == "rank" {
		e.width = max(int(d.lib.nClsOut(d.model)), 1)
	}
	d.encoders[pooling] = e
	return e, nil
}

func (d *decoder) encodeBatch(e *encoder) error {
	b := e.session.batch
	b.reset()
	var parts []part
	for _, j := range d.jobs {
		if j.pooling != e.pooling {
			continue
		}
		for at := j.next; at < len(j.in.List) && len(parts) < encodeTexts && len(j.in.List[at]) <= b.room(); at++ {
			for i, t := range j.in.List[at] {
				b.add(t, int32(i), int32(len(parts)), true)
			}
			parts = append(parts, part{j, at})
			j.next++
		}
	}
	if e.session.mem != 0 {
		d.lib.memClear(e.session.mem, false)
	}
	if err := e.session.decode(); err != nil {
		return err
	}
	for i, p := range parts {
		v := e.session.vector(i, e.width)
		if v == nil {
			return fmt.Errorf("llama.cpp gave no vector for text %d of a batch", i)
		}
		if e.pooling == "rank" {
			v = v[:1]
		}
		p.job.out.List[p.at] = append([]float32(nil), v...)
		p.job.tokens += int64(len(p.job.in.List[p.at]))
	}
	return nil
}
