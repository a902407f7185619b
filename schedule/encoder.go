package schedule

import (
	"context"
	"encoding/binary"
	"math"
	"slices"
	"sync"
	"time"

	"serval"
	"serval/engine"
)

// Encoder makes vectors of texts with a model of tensors. It cuts a request's texts into spans of similar length; each is a
// call in the Model's queue, whose rows are its tokens, so that what waits is put together by tokens and not by count. It is
// a serval.Handler and safe for concurrent use.
type Encoder struct {
	*Model
	lang   serval.Language
	kind   int // of the output; see textPlan
	budget int

	inside  sync.WaitGroup // requests; Add only while not closing
	gate    sync.Mutex     // guards closing, and tokens
	closing bool
	tokens  int64 // that were read
}

// DefaultTextWait is the default of queue.max_wait for encoders: a request of many texts takes longer than one of a row.
const DefaultTextWait = 30 * time.Second

func newEncoder(m *Model, r *ragged) *Encoder {
	m.cost.seen(probeShort, r.more[0])
	m.cost.seen(probeTexts*probeLong, r.more[1])
	return &Encoder{Model: m, lang: r.plan.lang, kind: r.plan.kind, budget: r.plan.budget}
}

// span is a part of a request's texts.
type span struct {
	encode serval.Encode
	at     []int // where its texts stand in the request
	tokens int64
	entry  *entry
}

// Handle makes the vectors of one request, and sends them as one chunk.
func (n *Encoder) Handle(ctx context.Context, req *serval.Request, sink serval.Sink) error {
	in, ok := req.Input.(*serval.Encode)
	if !ok {
		return serval.Errorf(serval.InvalidArgument, "%s takes text, not tensors; with tensors: true under text: in its model.yaml it takes tensors", n.what)
	}
	if err := n.check(in); err != nil {
		return err
	}
	if !n.enter() {
		n.stats.refuse(refusedClosed, 0)
		return serval.ErrRetired
	}
	defer n.inside.Done()
	began := time.Now()
	spans := n.cut(in)
	vectors := make([][]float32, len(in.List))
	ran, err := n.run(ctx, req, spans, vectors)
	if !ran { // it was refused, which is counted
		return err
	}
	req.Timing.Compute = time.Since(began) - req.Timing.Queue - req.Timing.Input - req.Timing.Output
	n.stats.call(req.Timing, time.Since(began), err == nil)
	if err != nil {
		return err
	}
	usage := serval.Usage{Rows: int64(len(vectors))}
	for i := range spans {
		usage.Prompt += spans[i].tokens
	}
	n.gate.Lock()
	n.tokens += usage.Prompt
	n.gate.Unlock()
	return sink.Send(&serval.Chunk{Output: &serval.Embeddings{List: vectors}, Usage: usage, Finish: serval.Stop})
}

// check refuses what the model cannot take.
func (n *Encoder) check(in *serval.Encode) error {
	switch p := in.Pooling; {
	case p == "" || p == n.lang.Pooling:
	case n.kind == textScores:
		return serval.Errorf(serval.InvalidArgument, "%s ranks pairs of texts; it makes no vectors", n.what).At("model")
	case p == "rank":
		return serval.Errorf(serval.InvalidArgument, "%s makes vectors; it ranks no pairs of texts", n.what).At("model")
	case n.kind == textVectors:
		return serval.Errorf(serval.InvalidArgument, "%s pools in its own way; it cannot pool by %s", n.what, p).At("pooling")
	case p != "mean" && p != "cls" && p != "last":
		return serval.Errorf(serval.InvalidArgument, "pooling %q is not known; use mean, cls or last", p).At("pooling")
	}
	if len(in.List) == 0 {
		return serval.Errorf(serval.InvalidArgument, "input is empty; give at least one text").At("input")
	}
	if in.Types != nil && len(in.Types) != len(in.List) {
		return serval.Errorf(serval.Internal, "there are %d texts, and types of %d", len(in.List), len(in.Types))
	}
	for i, list := range in.List {
		switch {
		case len(list) == 0:
			return serval.Errorf(serval.InvalidArgument, "text %d has no tokens", i).At("input")
		case len(list) > n.lang.Context:
			return serval.Errorf(serval.InvalidArgument, "text %d has %d tokens; %s takes %d, so it is %d too long", i, len(list), n.what, n.lang.Context, len(list)-n.lang.Context).
				At("input").Named("context_length_exceeded")
		case slices.Min(list) < 0:
			return serval.Errorf(serval.InvalidArgument, "text %d has the token %d; there are no tokens below 0", i, slices.Min(list)).At("input")
		case in.Types != nil && len(in.Types[i]) != len(list):
			return serval.Errorf(serval.Internal, "text %d has %d tokens, and types for %d", i, len(list), len(in.Types[i]))
		}
	}
	return nil
}

// cut makes spans of a request: texts of similar length, with tokens for a batch at most.
func (n *Encoder) cut(in *serval.Encode) []span {
	order := make([]int, len(in.List))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return len(in.List[b]) - len(in.List[a]) })
	var spans []span
	for _, i := range order {
		size := int64(len(in.List[i]))
		if k := len(spans); k == 0 || spans[k-1].tokens+size > int64(n.budget) {
			spans = append(spans, span{encode: serval.Encode{Pooling: in.Pooling}})
		}
		s := &spans[len(spans)-1]
		s.at, s.tokens = append(s.at, i), s.tokens+size
		s.encode.List = append(s.encode.List, in.List[i])
		if in.Types != nil {
			s.encode.Types = append(s.encode.Types, in.Types[i])
		}
	}
	return spans
}

// run has the spans computed, a few at a time, so that a large request leaves others their turn. It reports whether the
// first was let in.
func (n *Encoder) run(ctx context.Context, req *serval.Request, spans []span, vectors [][]float32) (ran bool, err error) {
	window := len(n.all) + 1
	next := 0
	defer func() {
		for i := range spans[:next] {
			if e := spans[i].entry; e != nil {
				n.withdraw(e)
			}
		}
	}()
	for at := range spans {
		for ; next < len(spans) && next < at+window; next++ {
			if err := n.submit(ctx, req, &spans[next], next == 0, len(spans) == 1); err != nil {
				return next > 0, err
			}
		}
		s := &spans[at]
		e := s.entry
		if err := n.wait(ctx, e, req); err != nil { // it never ran
			s.entry = nil
			n.putBack(e)
			return at > 0, err
		}
		if at == 0 {
			req.Timing.Queue = e.timing.Queue
		}
		req.Timing.Batch = e.timing.Batch
		req.Timing.Input += e.timing.Input
		req.Timing.Output += e.timing.Output
		err := e.call.Err
		if err == nil {
			deliver(&e.call, s.at, vectors)
		}
		s.entry = nil
		n.putBack(e)
		if err != nil {
			return true, err
		}
	}
	return true, nil
}

// submit puts a span into the queue. The first of a request is let in or refused; those after it belong to it. One that is
// alone may be computed right here.
func (n *Encoder) submit(ctx context.Context, req *serval.Request, s *span, first, alone bool) error {
	e := n.entries.Get().(*entry)
	e.call.Inputs, e.call.Input, e.call.Rows = e.call.Inputs[:0], &s.encode, s.tokens
	e.items, e.key, e.level = int64(len(s.at)), 0, n.level(req.Priority)
	e.timing, e.enqueued = serval.Timing{}, time.Now()
	if !first {
		n.mu.Lock()
		n.q.push(e)
		n.kick(e.enqueued)
		n.mu.Unlock()
		s.entry = e
		return nil
	}
	inst, err := n.admit(ctx, e, req)
	if err != nil {
		n.putBack(e)
		return err
	}
	s.entry = e
	switch {
	case inst == nil:
	case alone:
		n.lead(inst)
	default:
		inst.wake <- struct{}{}
	}
	return nil
}

// withdraw takes back an entry that is no longer wanted; one that is being executed is waited for.
func (m *Model) withdraw(e *entry) {
	m.mu.Lock()
	waiting := m.q.remove(e)
	m.mu.Unlock()
	if !waiting {
		<-e.done
	}
	m.putBack(e)
}

// deliver copies a call's vectors to their places.
func deliver(c *engine.Call, at []int, vectors [][]float32) {
	out := &c.Outputs[0]
	width := int(out.Shape[1])
	all := make([]float32, len(at)*width)
	for i := range all {
		all[i] = math.Float32frombits(binary.LittleEndian.Uint32(out.Data[i*4:]))
	}
	for i, to := range at {
		vectors[to] = all[i*width : (i+1)*width : (i+1)*width]
	}
}

func (n *Encoder) enter() bool {
	n.gate.Lock()
	defer n.gate.Unlock()
	if n.closing {
		return false
	}
	n.inside.Add(1)
	return true
}

// Stats is what happened since Open; its inferences are texts.
func (n *Encoder) Stats() serval.Stats {
	s := n.Model.Stats()
	n.gate.Lock()
	s.Tokens.Prompt = n.tokens
	n.gate.Unlock()
	return s
}

// Close refuses new requests with ErrRetired, lets those inside finish, and closes the instances.
func (n *Encoder) Close() error {
	n.gate.Lock()
	n.closing = true
	n.gate.Unlock()
	n.inside.Wait()
	return n.Model.Close()
}
