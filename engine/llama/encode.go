package llama

import (
	"fmt"
	"slices"

	"serval"
	"serval/engine"
	"serval/llm/decode"
)

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
	j, err := d.answers.Texts(in, c.Stream)
	if err != nil {
		return err
	}
	if len(d.jobs) >= encodeTexts || len(d.live) > 0 && d.live[0].In.Alone {
		return engine.ErrNoRoom
	}
	d.jobs = append(d.jobs, j)
	return nil
}

// part is a text of a job in the batch that is computed.
type part struct {
	job *decode.Texts
	at  int
}

// encode computes one batch of texts: of the first job that has some, and of all others that pool in the same way.
func (d *decoder) encode() error {
	d.jobs = slices.DeleteFunc(d.jobs, (*decode.Texts).Drop)
	var first *decode.Texts
	for _, j := range d.jobs {
		if j.Next < len(j.In.List) {
			first = j
			break
		}
	}
	if first != nil {
		e, err := d.encoderFor(first.Pooling, len(first.In.List[first.Next]))
		if err == nil {
			err = d.encodeBatch(e)
		}
		if err != nil {
			return err
		}
	}
	d.jobs = slices.DeleteFunc(d.jobs, (*decode.Texts).End)
	return nil
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
		if j.Pooling != e.pooling {
			continue
		}
		for at := j.Next; at < len(j.In.List) && len(parts) < encodeTexts && len(j.In.List[at]) <= b.room(); at++ {
			for i, t := range j.In.List[at] {
				b.add(t, int32(i), int32(len(parts)), true)
			}
			parts = append(parts, part{j, at})
			j.Next++
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
		p.job.Set(p.at, slices.Clone(v))
	}
	return nil
}
