package sqs

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"serval/stream"
)

const (
	// renewals is how many requests the keeper has under way.
	renewals = 8
	// lagInterval is how often the number of waiting messages is asked for.
	lagInterval = 5 * time.Second
	// fewReceives is a redrive policy's count below which restarts alone may set messages aside.
	fewReceives = 3
)

// keep tells the queue, until the source ends, who has its messages: each is extended when half of its time is over, so that a few
// attempts may fail. It also gives back what nobody reads.
func (s *source) keep() {
	tick := time.NewTicker(min(max(s.o.Visibility/16, 20*time.Millisecond), time.Second))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.renew(time.Now())
			s.unread(time.Now())
		case <-s.ctx.Done():
			return
		}
	}
}

// renew extends what is due, and finds what the queue has forgotten.
func (s *source) renew(now time.Time) {
	var due []*hold
	lost := map[*group]struct{}{}
	s.mu.Lock()
	for _, h := range s.held {
		switch left := h.until.Sub(now); {
		case h.lapsed:
		case left <= 0:
			s.lapse(h, lost)
		case left <= s.o.Visibility/2 && !h.renewing:
			h.renewing = true
			due = append(due, h)
		}
	}
	s.mu.Unlock()
	s.lose(lost, "their time passed while the queue could not be reached")
	for chunk := range slices.Chunk(due, maxBatch) {
		s.work.Go(func() {
			s.limit <- struct{}{}
			defer func() { <-s.limit }()
			s.extend(chunk)
		})
	}
}

// lapse notes that the queue may have given a message to somebody else: of a FIFO queue, all of its group is lost. s.mu is held.
func (s *source) lapse(h *hold, lost map[*group]struct{}) {
	if h.group != nil {
		lost[h.group] = struct{}{}
		return
	}
	h.lapsed = true // until it comes again, or it was answered
}

// lose drops groups, and gives back what of them is not lost yet.
func (s *source) lose(lost map[*group]struct{}, why string) {
	if len(lost) == 0 {
		return
	}
	var lanes []*stream.Lane
	var back []*hold
	now := time.Now()
	s.mu.Lock()
	for g := range lost {
		lanes = append(lanes, g.lane)
		for h := range g.holds {
			if h.until.After(now) && !h.acked {
				back = append(back, h)
			}
			s.forget(h)
		}
	}
	s.fresh = slices.DeleteFunc(s.fresh, func(m stream.Message) bool { _, gone := lost[m.Handle.(*hold).group]; return gone })
	s.mu.Unlock()
	s.env.Owner.Lost(lanes)
	s.env.Warn("sqs: message groups were lost, and may be answered again", "queue", s.q.name, "groups", len(lanes), "reason", why)
	s.giveBack(back)
}

// extend says of up to ten messages that they are worked on.
func (s *source) extend(list []*hold) {
	ctx, cancel := context.WithTimeout(s.ctx, min(callTimeout, s.o.Visibility/4))
	defer cancel()
	began := time.Now()
	receipts, failed, err := s.change(ctx, list, s.o.Visibility)
	lost := map[*group]struct{}{}
	s.mu.Lock()
	said := s.failing
	s.failing = err != nil
	for i, h := range list {
		h.renewing = false
		switch c, bad := failed[i]; {
		case err != nil || s.held[h.id] != h || h.receipt != receipts[i]: // it is tried again, was deleted, or came again
		case !bad:
			h.until = began.Add(s.o.Visibility)
		case gone(c) && !h.acked:
			s.lapse(h, lost)
		}
	}
	s.mu.Unlock()
	if err != nil && !said && s.ctx.Err() == nil {
		s.env.Warn("sqs: messages that are worked on could not be extended; it is tried again", "queue", s.q.name, "error", err)
	}
	s.lose(lost, "the queue says that it has them no longer")
}

// gone says whether a code of a message means that this source does not have it any more.
func gone(c string) bool {
	switch c {
	case "ReceiptHandleIsInvalid", "MessageNotInflight", "InvalidParameterValue", "InvalidIdFormat", "InvalidReceiptHandle":
		return true
	}
	return false
}

// change sets how long messages are not given to others. It returns the receipts that it used, and the codes of those that failed.
func (s *source) change(ctx context.Context, list []*hold, d time.Duration) (receipts []string, failed map[int]string, err error) {
	receipts = make([]string, len(list))
	in := &sqs.ChangeMessageVisibilityBatchInput{Entries: make([]types.ChangeMessageVisibilityBatchRequestEntry, len(list))}
	s.mu.Lock()
	for i, h := range list {
		receipts[i] = h.receipt
		in.Entries[i] = types.ChangeMessageVisibilityBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: &receipts[i], VisibilityTimeout: seconds(d)}
	}
	s.mu.Unlock()
	if in.QueueUrl, err = s.q.at(ctx); err != nil {
		return receipts, nil, s.q.class(err)
	}
	out, err := s.q.cl.ChangeMessageVisibilityBatch(ctx, in)
	if err != nil {
		return receipts, nil, s.q.class(err)
	}
	return receipts, failures(out.Failed, len(list)), nil
}

// failures are the codes of a batch's entries that failed, by index; the ids of entries are their indexes.
func failures(list []types.BatchResultErrorEntry, n int) map[int]string {
	failed := map[int]string{}
	for _, e := range list {
		if i, err := strconv.Atoi(aws.ToString(e.Id)); err == nil && i >= 0 && i < n {
			failed[i] = word(aws.ToString(e.Code))
		}
	}
	return failed
}

// giveBack has the queue give messages to others at once. What fails is given to them after the visibility time.
func (s *source) giveBack(list []*hold) {
	ctx, cancel := context.WithTimeout(context.Background(), min(callTimeout, s.o.Visibility))
	defer cancel()
	var work sync.WaitGroup
	var failed atomic.Pointer[error]
	limit := make(chan struct{}, renewals)
	for chunk := range slices.Chunk(list, maxBatch) {
		work.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			if _, _, err := s.change(ctx, chunk, 0); err != nil {
				failed.Store(&err)
			}
		})
	}
	work.Wait()
	if err := failed.Load(); err != nil {
		s.env.Warn("sqs: messages could not be given back; others get them when their time is over", "queue", s.q.name, "error", *err)
	}
}

// unread gives back what was received and is not read, once no request is under way that would get it.
func (s *source) unread(now time.Time) {
	s.mu.Lock()
	limit := keepFull
	if s.paused {
		limit = keepPaused
	}
	if s.reading || len(s.fresh) == 0 || len(s.polls) > 0 || now.Sub(s.left) < limit {
		s.mu.Unlock()
		return
	}
	list := make([]*hold, len(s.fresh))
	for i := range s.fresh {
		list[i] = s.fresh[i].Handle.(*hold)
		s.forget(list[i])
	}
	s.fresh = nil
	s.mu.Unlock()
	s.giveBack(list)
}

// probe keeps known how many messages wait, until the source ends, and looks once at what else takes messages out of the queue.
func (s *source) probe() {
	tick := time.NewTicker(lagInterval)
	defer tick.Stop()
	looked := false
	for wait := time.After(lagInterval / 10); ; {
		select {
		case <-wait:
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(s.ctx, lagInterval)
		got, err := s.q.attributes(ctx, types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameRedrivePolicy)
		cancel()
		if err != nil { // the lag stays what it was; where it matters, Read says it too
			continue
		}
		if n, err := strconv.ParseInt(got[string(types.QueueAttributeNameApproximateNumberOfMessages)], 10, 64); err == nil {
			s.mu.Lock()
			s.waiting = n
			s.mu.Unlock()
		}
		if n := maxReceives(got[string(types.QueueAttributeNameRedrivePolicy)]); !looked && n > 0 && n < fewReceives {
			s.env.Warn("sqs: the queue's redrive policy sets messages aside that were given out a few times, which every stop of a worker may add to; "+
				"raise its maxReceiveCount to 5 or more", "queue", s.q.name, "maxReceiveCount", n)
		}
		looked = true
	}
}

// attributes asks for some of the queue's.
func (q *queue) attributes(ctx context.Context, names ...types.QueueAttributeName) (map[string]string, error) {
	url, err := q.at(ctx)
	if err != nil {
		return nil, q.class(err)
	}
	out, err := q.cl.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: url, AttributeNames: names})
	if err != nil {
		return nil, q.class(err)
	}
	return out.Attributes, nil
}

// maxReceives is after how often a redrive policy sets a message aside; 0: never.
func maxReceives(policy string) int {
	var p struct {
		Max json.RawMessage `json:"maxReceiveCount"` // a number, or one as a text
	}
	if json.Unmarshal([]byte(policy), &p) != nil {
		return 0
	}
	text := string(p.Max)
	if unquoted, err := strconv.Unquote(text); err == nil {
		text = unquoted
	}
	n, _ := strconv.Atoi(text) // 0 where it is none
	return n
}
