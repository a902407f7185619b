package sqs

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"serval/stream"
)

const (
	// linger is how long Read waits for what other requests bring, once it has something.
	linger = 10 * time.Millisecond
	// extraWait is how long a request waits that is not the only one.
	extraWait = time.Second
	// A request that waits cannot be taken back: what SQS gives it while it is cut off comes again only after the visibility time. So
	// Close lets one end that ends soon, and gives one that began just now a moment: one that waits for longer waits at an empty queue.
	lastWait, lastBegun = time.Second, 250 * time.Millisecond
	// What was received and is not read is given back: a stream that was paused, or waits for room for so long, keeps nothing
	// from others.
	keepPaused, keepFull = time.Second, time.Minute
)

// source reads a queue. Receivers bring messages into fresh, which Read takes; keeper.go keeps the queue from forgetting who has
// them; remover.go deletes those that were acked.
type source struct {
	q    *queue
	o    *SourceOptions
	env  stream.Env
	bell chan struct{} // something happened that Read waits for; room for one

	polling context.Context // of requests for messages
	cut     context.CancelFunc
	ctx     context.Context // of everything else
	end     context.CancelFunc
	work    sync.WaitGroup
	close   sync.Once
	remover *remover
	limit   chan struct{} // bounds the requests of the keeper

	mu      sync.Mutex // guards what follows
	held    map[string]*hold
	groups  map[string]*group
	fresh   []stream.Message
	polls   map[*poll]struct{} // under way
	asked   int                // most messages that they bring
	width   int                // how many requests there may be
	failed  error              // of one; Read says it once
	reading bool
	left    time.Time // when Read was left last, because its context ended where paused
	paused  bool
	ending  bool
	failing bool  // the last extension did, and it was said
	waiting int64 // at the queue, as last heard; -1: not known
}

// poll is a request for messages.
type poll struct {
	n     int // at most
	wait  time.Duration
	began time.Time
}

// hold is a message that this source has, from when it came until it was deleted, given back, or lost. The source's mu guards it.
type hold struct {
	id       string
	receipt  string
	until    time.Time // the queue does not forget who has it before
	group    *group    // of a FIFO queue; else nil
	unread   bool
	acked    bool
	lapsed   bool // the queue forgot; only where there is no group
	renewing bool
}

// group is a message group of which messages are held.
type group struct {
	name  string
	lane  *stream.Lane
	holds map[*hold]struct{}
	shard int // of the remover
}

func newSource(o *SourceOptions, q *queue, env stream.Env) *source {
	s := &source{
		q: q, o: o, env: env, bell: make(chan struct{}, 1), limit: make(chan struct{}, renewals), held: map[string]*hold{}, groups: map[string]*group{},
		polls: map[*poll]struct{}{}, width: 1, left: time.Now(), waiting: -1,
	}
	s.polling, s.cut = context.WithCancel(context.Background())
	s.ctx, s.end = context.WithCancel(context.Background())
	s.remover = newRemover(s)
	s.work.Go(s.keep)
	s.work.Go(s.probe)
	return s
}

// Read implements stream.Source. When ctx ends, requests go on, and what they bring is there for the next Read.
func (s *source) Read(ctx context.Context, most int) ([]stream.Message, error) {
	s.mu.Lock()
	s.reading = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.reading, s.left, s.paused = false, time.Now(), ctx.Err() != nil
		s.mu.Unlock()
	}()
	var enough <-chan time.Time
	waited := false
	for ctx.Err() == nil {
		list, some, err := s.take(most, waited)
		if len(list) > 0 || err != nil {
			return list, err
		}
		if some && enough == nil {
			enough = time.After(linger)
		}
		select {
		case <-s.bell:
		case <-enough:
			waited = true
		case <-ctx.Done():
		}
	}
	return nil, ctx.Err()
}

// take has receivers ask, and takes what there is: once there is enough, nothing more is to come, or it waited.
func (s *source) take(most int, waited bool) (list []stream.Message, some bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		s.ask(most)
	}
	n := len(s.fresh)
	if n == 0 {
		err, s.failed = s.failed, nil
		return nil, false, err
	}
	if n < most && !waited && len(s.polls) > 0 {
		return nil, true, nil
	}
	n = min(n, most)
	list = append(list, s.fresh[:n]...)
	for i := range list {
		list[i].Handle.(*hold).unread = false
	}
	rest := copy(s.fresh, s.fresh[n:])
	clear(s.fresh[rest:])
	s.fresh = s.fresh[:rest]
	return list, true, nil
}

// ask starts requests for as many messages as are wanted, no more than width at the same time. s.mu is held.
func (s *source) ask(most int) {
	for !s.ending && len(s.polls) < s.width {
		n := min(maxBatch, most-len(s.fresh)-s.asked)
		if n <= 0 {
			return
		}
		wait := s.o.Wait
		if len(s.polls) > 0 {
			wait = min(wait, extraWait)
		}
		p := &poll{n, wait, time.Now()}
		s.polls[p] = struct{}{}
		s.asked += n
		s.work.Go(func() { s.poll(p) })
	}
}

// poll makes a request for messages.
func (s *source) poll(p *poll) {
	list, err := s.receive(p.n, p.wait)
	// Where it waited, SQS gave the messages at its end.
	given := p.began
	if late := time.Now().Add(-s.o.Visibility / 8); late.After(given) {
		given = late
	}
	if err != nil {
		err = s.q.class(err)
	}
	s.mu.Lock()
	delete(s.polls, p)
	s.asked -= p.n
	switch {
	case err != nil:
		s.width = 1
		if s.polling.Err() == nil {
			s.failed = err
		}
	case len(list) == p.n:
		s.width = min(2*s.width, s.o.Receivers)
	case len(list) == 0:
		s.width = 1
	}
	for i := range list {
		s.got(&list[i], given)
	}
	s.mu.Unlock()
	s.ring()
}

func (s *source) ring() {
	select {
	case s.bell <- struct{}{}:
	default:
	}
}

func (s *source) receive(n int, wait time.Duration) ([]types.Message, error) {
	ctx, cancel := context.WithTimeout(s.polling, wait+callTimeout)
	defer cancel()
	url, err := s.q.at(ctx)
	if err != nil {
		return nil, err
	}
	in := &sqs.ReceiveMessageInput{
		QueueUrl: url, MaxNumberOfMessages: int32(n), WaitTimeSeconds: seconds(wait), VisibilityTimeout: seconds(s.o.Visibility), MessageAttributeNames: []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{
			types.MessageSystemAttributeNameApproximateReceiveCount, types.MessageSystemAttributeNameSentTimestamp, types.MessageSystemAttributeNameMessageGroupId,
		},
	}
	if s.q.fifo { // a request that is tried again gets what its answer, which was lost, had
		in.ReceiveRequestAttemptId = aws.String(rand.Text())
	}
	out, err := s.q.cl.ReceiveMessage(ctx, in)
	if err != nil {
		return nil, err
	}
	return out.Messages, nil
}

// got takes a message that came. One that is here already, because the queue forgot who had it or gave it twice, is not worked on
// again. s.mu is held.
func (s *source) got(in *types.Message, given time.Time) {
	id, until := aws.ToString(in.MessageId), given.Add(s.o.Visibility)
	if h := s.held[id]; h != nil {
		h.receipt, h.until, h.lapsed = aws.ToString(in.ReceiptHandle), until, false
		return
	}
	h := &hold{id: id, receipt: aws.ToString(in.ReceiptHandle), until: until, unread: true}
	m := unpack(in)
	m.Handle = h
	m.Position = stream.Position{Topic: s.q.name, ID: id}
	if s.q.fifo {
		name := in.Attributes[string(types.MessageSystemAttributeNameMessageGroupId)]
		g := s.groups[name]
		if g == nil {
			g = &group{name: name, holds: map[*hold]struct{}{}, shard: s.remover.turn()}
			g.lane = stream.NewLane(s.q.name+"/"+name, g)
			s.groups[name] = g
		}
		g.holds[h] = struct{}{}
		h.group, m.Lane = g, g.lane
	}
	s.held[id] = h
	s.fresh = append(s.fresh, m)
}

// forget takes a message off the books, and its group with its last one. s.mu is held.
func (s *source) forget(h *hold) {
	if s.held[h.id] == h {
		delete(s.held, h.id)
	}
	if g := h.group; g != nil {
		delete(g.holds, h)
		if len(g.holds) == 0 && s.groups[g.name] == g {
			delete(s.groups, g.name)
		}
	}
}

// Ack implements stream.Source: the messages are deleted a moment later, and kept until then. It waits while too many are to be
// deleted.
func (s *source) Ack(ctx context.Context, done []*stream.Message) error {
	s.mu.Lock()
	list := make([]*hold, 0, len(done))
	for _, m := range done {
		if h, ok := m.Handle.(*hold); ok && s.held[h.id] == h { // else it was lost, and is somebody else's
			h.acked = true
			list = append(list, h)
		}
	}
	s.mu.Unlock()
	return s.remover.add(ctx, list)
}

// Lag implements stream.Source.
func (s *source) Lag() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting < 0 {
		return -1
	}
	return s.waiting + int64(len(s.fresh))
}

// Close implements stream.Source. What was acked is deleted, the rest is given back at once.
func (s *source) Close() error {
	s.close.Do(func() {
		s.stopPolling()
		s.remover.finish()
		s.mu.Lock()
		var rest []*hold
		for _, h := range s.held {
			if !h.acked && !h.lapsed {
				rest = append(rest, h)
			}
		}
		s.mu.Unlock()
		s.giveBack(rest)
		s.end()
		s.work.Wait()
	})
	return nil
}

// stopPolling ends the requests for messages.
func (s *source) stopPolling() {
	for {
		s.mu.Lock()
		s.ending = true
		var wait time.Duration
		for p := range s.polls {
			since := time.Since(p.began)
			if rest := p.wait - since; rest <= lastWait {
				wait = max(wait, rest+lastWait) // and its answer's way
			} else {
				wait = max(wait, lastBegun-since)
			}
		}
		n := len(s.polls)
		s.mu.Unlock()
		if n == 0 || wait <= 0 {
			break
		}
		select {
		case <-s.bell:
		case <-time.After(wait):
		}
	}
	s.cut()
	for {
		s.mu.Lock()
		n := len(s.polls)
		s.mu.Unlock()
		if n == 0 {
			return
		}
		<-s.bell
	}
}
