package sqs

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

const (
	// shards delete at the same time. Messages of one group are deleted by the same one, in order: were a later one deleted
	// before an earlier one, the earlier one alone would come again after a crash.
	shards = 8
	// maxRemovals is how many messages may wait to be deleted; then Ack waits.
	maxRemovals = 4096
	// lastRemovals bounds how long Close waits for them.
	lastRemovals = 5 * time.Second
	// A request that fails is made again after a while.
	minRetry, maxRetry = 100 * time.Millisecond, 5 * time.Second
)

// remover deletes messages that were acked, again and again until it works or the queue has forgotten that they are here.
type remover struct {
	s     *source
	stop  context.CancelFunc
	ctx   context.Context
	doors [shards]chan struct{} // there is work; room for one
	room  chan struct{}         // there is less to do; room for one
	work  sync.WaitGroup

	mu    sync.Mutex // guards what follows
	lists [shards][]*hold
	left  int // in all lists, and being deleted
	next  int // shard
}

func newRemover(s *source) *remover {
	r := &remover{s: s, room: make(chan struct{}, 1)}
	r.ctx, r.stop = context.WithCancel(context.Background())
	for i := range r.doors {
		r.doors[i] = make(chan struct{}, 1)
		r.work.Go(func() { r.run(i) })
	}
	return r
}

// turn is the next shard.
func (r *remover) turn() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = (r.next + 1) % shards
	return r.next
}

// add takes messages, and waits while there are too many.
func (r *remover) add(ctx context.Context, list []*hold) error {
	if len(list) == 0 {
		return nil
	}
	r.mu.Lock()
	used := map[int]bool{}
	for i, h := range list {
		if i%maxBatch == 0 { // messages without a group fill one request after the other
			r.next = (r.next + 1) % shards
		}
		n := r.next
		if h.group != nil {
			n = h.group.shard
		}
		r.lists[n] = append(r.lists[n], h)
		used[n] = true
	}
	r.left += len(list)
	r.mu.Unlock()
	for n := range used {
		knock(r.doors[n])
	}
	for {
		r.mu.Lock()
		full := r.left > maxRemovals
		r.mu.Unlock()
		if !full {
			return nil
		}
		select {
		case <-r.room:
		case <-ctx.Done():
			return ctx.Err()
		case <-r.ctx.Done():
			return nil
		}
	}
}

func knock(door chan struct{}) {
	select {
	case door <- struct{}{}:
	default:
	}
}

// run is one shard.
func (r *remover) run(shard int) {
	wait := time.Duration(0)
	troubled := false
	for {
		r.mu.Lock()
		batch := slices.Clone(r.lists[shard][:min(maxBatch, len(r.lists[shard]))])
		r.mu.Unlock()
		if len(batch) == 0 {
			select {
			case <-r.doors[shard]:
				continue
			case <-r.ctx.Done():
				return
			}
		}
		rest, err := r.remove(batch)
		r.mu.Lock()
		r.left -= len(batch) - len(rest)
		r.lists[shard] = slices.Concat(rest, r.lists[shard][len(batch):])
		r.mu.Unlock()
		knock(r.room)
		if r.ctx.Err() != nil {
			return
		}
		if len(rest) == 0 {
			wait = 0
			if troubled {
				troubled = false
				r.s.env.Owner.Trouble("")
			}
			continue
		}
		if err != nil {
			troubled = true
			r.s.env.Owner.Trouble("delete: " + err.Error())
		}
		wait = min(max(2*wait, minRetry), maxRetry)
		select {
		case <-time.After(wait):
		case <-r.ctx.Done():
			return
		}
	}
}

// remove deletes up to ten messages and returns those that are to be tried again, in order.
func (r *remover) remove(list []*hold) (rest []*hold, err error) {
	s := r.s
	in := &sqs.DeleteMessageBatchInput{}
	var sent []*hold
	s.mu.Lock()
	for _, h := range list {
		if s.held[h.id] == h { // else it was lost with its group
			in.Entries = append(in.Entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(len(sent))), ReceiptHandle: aws.String(h.receipt)})
			sent = append(sent, h)
		} else {
			s.forget(h)
		}
	}
	s.mu.Unlock()
	if len(sent) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(r.ctx, callTimeout)
	defer cancel()
	if in.QueueUrl, err = s.q.at(ctx); err != nil {
		return sent, s.q.class(err)
	}
	out, err := s.q.cl.DeleteMessageBatch(ctx, in)
	if err != nil {
		return sent, s.q.class(err)
	}
	failed := failures(out.Failed, len(sent))
	late := 0
	s.mu.Lock()
	for i, h := range sent {
		switch c, bad := failed[i]; {
		case bad && !gone(c):
			rest = append(rest, h)
			continue
		case bad && h.receipt != *in.Entries[i].ReceiptHandle: // it came again meanwhile
			rest = append(rest, h)
			continue
		case bad:
			late++
		}
		s.forget(h)
	}
	s.mu.Unlock()
	if late > 0 {
		s.env.Warn("sqs: messages were answered, but the queue had forgotten who has them; they may be answered again", "queue", s.q.name, "messages", late)
	}
	return rest, nil
}

// finish deletes what is left, for as long as that may take, and ends.
func (r *remover) finish() {
	limit := time.After(lastRemovals)
	for done := false; !done; {
		r.mu.Lock()
		done = r.left == 0
		r.mu.Unlock()
		if done {
			break
		}
		select {
		case <-r.room:
		case <-limit:
			r.s.env.Warn("sqs: messages that were answered could not be deleted, and will come again", "queue", r.s.q.name)
			done = true
		}
	}
	r.stop()
	r.work.Wait()
}
