package sqs

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"regexp"
	"strconv"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"serval"
	"serval/stream"
)

// target writes to a queue. A FIFO queue keeps the messages of a group in order, and leaves out what it was sent within five
// minutes under the same deduplication id, which is made of where the message stood at its source: a result that is written again,
// after an answer that was lost or a crash, is there once.
type target struct {
	q     *queue
	o     *TargetOptions
	whose string // whose results they are: those of another stream are others
	seed  maphash.Seed
	// turns is how often messages were written, of those that the last calls of Write share. Who has one written once more wants
	// it behind another one that failed: it must not be left out, and so gets another deduplication id. For one goroutine.
	turns map[turn]int
}

// turn is a message of a FIFO queue. The worker that reads a lane anew has another lane.
type turn struct {
	lane  *stream.Lane
	dedup string
}

func newTarget(o *TargetOptions, q *queue, whose string) *target {
	return &target{q: q, o: o, whose: whose, seed: maphash.MakeSeed(), turns: map[turn]int{}}
}

// entry is a message to be sent.
type entry struct {
	content
	index int // in what Write was given
	turn  turn
	id    string // for deduplication
}

// Write implements stream.Target.
func (t *target) Write(ctx context.Context, messages []*stream.Message) error {
	w := &write{t: t, failed: map[int]error{}}
	lists := t.deal(messages, w.failed)
	var senders sync.WaitGroup
	for _, list := range lists {
		senders.Go(func() { w.send(ctx, list) })
	}
	senders.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, e := range w.wrote {
		t.turns[e]++
	}
	if len(w.failed) == 0 {
		return nil
	}
	return &stream.WriteError{Failed: w.failed}
}

// deal packs messages, and deals them out to senders: those of a group to the same one, in order.
func (t *target) deal(messages []*stream.Message, failed map[int]error) map[int][]entry {
	n := uint64(min(t.o.Senders, (len(messages)+maxBatch-1)/maxBatch))
	lists := map[int][]entry{}
	packed, known := 0, false
	var all []turn
	if t.q.fifo {
		all = make([]turn, len(messages))
		for i, m := range messages {
			all[i] = turn{m.Lane, t.dedup(m)}
			known = known || t.turns[all[i]] > 0
		}
		if !known {
			clear(t.turns)
		}
	}
	for i, m := range messages {
		e := entry{content: pack(m, t.q.fifo), index: i}
		if e.size > t.o.MaxMessage {
			failed[i] = t.tooLarge(e.size, nil)
			continue
		}
		to := packed / maxBatch % int(n)
		if t.q.fifo {
			e.turn, e.id = all[i], all[i].dedup
			if n := t.turns[e.turn]; n > 0 {
				e.id = fmt.Sprintf("%s-%d", e.id, n)
			}
			to = int(maphash.String(t.seed, e.group) % n)
		}
		packed++
		lists[to] = append(lists[to], e)
	}
	return lists
}

func (t *target) tooLarge(size int, because error) error {
	err := serval.Errorf(serval.TooLarge, "sqs: a message of %d bytes with its attributes is more than the queue '%s' takes (max_message is %d, SQS's limit %d, "+
		"and the queue has its own MaximumMessageSize)", size, t.q.name, t.o.MaxMessage, maxBytes)
	if because != nil {
		err = err.Because(because)
	}
	return stream.Permanent(err)
}

// dedup is a message's deduplication id. A result and a dead letter of the same message differ.
func (t *target) dedup(m *stream.Message) string {
	if m.Position == (stream.Position{}) {
		return rand.Text()
	}
	kind := "result"
	if _, dead := m.Header(stream.HeaderError); dead {
		kind = "dead"
	}
	sum := sha256.Sum256([]byte(t.whose + "\x00" + kind + "\x00" + m.Position.String()))
	return hex.EncodeToString(sum[:])
}

// write is one call of Write.
type write struct {
	t      *target
	mu     sync.Mutex // guards what follows
	failed map[int]error
	wrote  []turn // of those that may be written again on purpose
}

// send writes a list in order, as many as fit in a request. Behind a request that fails nothing is sent.
func (w *write) send(ctx context.Context, list []entry) {
	stuck := map[string]error{} // groups of which a message failed
	for len(list) > 0 {
		var batch []entry
		bytes := 0
		for len(list) > 0 && len(batch) < maxBatch && bytes+list[0].size <= maxBytes {
			e := list[0]
			list = list[1:]
			if err := stuck[e.group]; err != nil && w.t.q.fifo {
				w.fail(e, err)
				continue
			}
			batch, bytes = append(batch, e), bytes+e.size
		}
		if len(batch) == 0 {
			continue
		}
		if err := w.request(ctx, batch, stuck); err != nil {
			for _, e := range list {
				w.fail(e, err)
			}
			return
		}
	}
}

func (w *write) fail(e entry, err error) {
	w.mu.Lock()
	w.failed[e.index] = err
	w.mu.Unlock()
}

func (w *write) noted(e entry) {
	w.mu.Lock()
	w.wrote = append(w.wrote, e.turn)
	w.mu.Unlock()
}

// request sends a batch. It returns an error where nothing more is to be sent.
func (w *write) request(ctx context.Context, batch []entry, stuck map[string]error) error {
	out, err := w.t.call(ctx, batch)
	c := code(err)
	switch {
	case err == nil:
		w.sort(batch, out, stuck)
		return nil
	case ctx.Err() == nil && len(batch) > 1 && (c == "BatchRequestTooLong" || permanent(c)): // whose fault it is shows when each is sent alone
		for i := range batch {
			if err := w.request(ctx, batch[i:i+1], stuck); err != nil {
				for _, e := range batch[i+1:] {
					w.fail(e, err)
				}
				return err
			}
		}
		return nil
	case len(batch) == 1 && (c == "BatchRequestTooLong" || c == "MessageTooLong"):
		w.fail(batch[0], w.t.tooLarge(batch[0].size, err))
		return nil
	case len(batch) == 1 && permanent(c):
		w.fail(batch[0], w.t.refused(c, err.Error(), batch[0].size))
		return nil
	}
	err = w.t.q.class(err)
	for _, e := range batch {
		w.fail(e, err)
	}
	return err
}

// sort takes what came of a batch, message by message.
func (w *write) sort(batch []entry, out *sqs.SendMessageBatchOutput, stuck map[string]error) {
	texts, codes := map[int]string{}, map[int]string{}
	for i := range batch {
		codes[i] = "NoAnswer" // what the answer does not name was not taken
	}
	for _, e := range out.Successful {
		if i, err := strconv.Atoi(aws.ToString(e.Id)); err == nil {
			delete(codes, i)
		}
	}
	for _, e := range out.Failed {
		if i, err := strconv.Atoi(aws.ToString(e.Id)); err == nil {
			codes[i], texts[i] = word(aws.ToString(e.Code)), aws.ToString(e.Message)
		}
	}
	for i, e := range batch {
		c, bad := codes[i]
		switch {
		case bad && permanent(c):
			w.fail(e, w.t.refused(c, texts[i], e.size))
		case bad:
			err := serval.Errorf(serval.Unavailable, "sqs: queue '%s': %s: %s", w.t.q.name, c, texts[i])
			w.fail(e, err)
			if stuck[e.group] == nil {
				stuck[e.group] = err
			}
		case !w.t.q.fifo:
		case stuck[e.group] != nil: // it is to be written again, behind that one
			w.fail(e, stuck[e.group])
			w.noted(e)
		case e.turn.lane != nil: // the worker may want it behind another one of its lane
			w.noted(e)
		}
	}
}

// permanent says whether a code means that the message will never be taken.
func permanent(c string) bool {
	switch c {
	case "InvalidMessageContents", "MessageTooLong", "InvalidParameterValue":
		return true
	}
	return false
}

// tooLong is how SQS says it of a queue's own MaximumMessageSize, for which it has no code.
var tooLong = regexp.MustCompile(`(?i)too long|must be shorter`)

func (t *target) refused(c, text string, size int) error {
	if c == "MessageTooLong" || c == "InvalidParameterValue" && tooLong.MatchString(text) {
		return t.tooLarge(size, errors.New(text))
	}
	return stream.Permanent(serval.Errorf(serval.InvalidArgument, "sqs: the queue '%s' refuses the message: %s: %s", t.q.name, c, text))
}

// call makes the request.
func (t *target) call(ctx context.Context, batch []entry) (*sqs.SendMessageBatchOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	in := &sqs.SendMessageBatchInput{Entries: make([]types.SendMessageBatchRequestEntry, len(batch))}
	for i := range batch {
		e := &batch[i]
		to := &in.Entries[i]
		to.Id, to.MessageBody, to.MessageAttributes = aws.String(strconv.Itoa(i)), &e.body, e.attrs
		if t.q.fifo {
			to.MessageGroupId, to.MessageDeduplicationId = &e.group, &e.id
		}
	}
	var err error
	if in.QueueUrl, err = t.q.at(ctx); err != nil {
		return nil, err
	}
	return t.q.cl.SendMessageBatch(ctx, in)
}

// Close implements stream.Target.
func (t *target) Close() error { return nil }

// returned is a target to the queue of a source.
type returned struct{ *target }

// Write implements stream.Target.
func (t *returned) Write(ctx context.Context, messages []*stream.Message) error {
	failed := map[int]error{}
	var list []*stream.Message
	var index []int // of those, in messages
	for i, m := range messages {
		if m.Position.Topic != t.q.name {
			failed[i] = stream.Permanent(serval.Errorf(serval.InvalidArgument, "sqs: the message is of '%s', and the source reads the queue '%s'", m.Position.Topic, t.q.name))
			continue
		}
		list, index = append(list, m), append(index, i)
	}
	var err error
	if len(list) > 0 {
		err = t.target.Write(ctx, list)
	}
	var partly *stream.WriteError
	switch {
	case errors.As(err, &partly):
		for i, e := range partly.Failed {
			failed[index[i]] = e
		}
	case err != nil:
		return err
	}
	if len(failed) > 0 {
		return &stream.WriteError{Failed: failed}
	}
	return nil
}
