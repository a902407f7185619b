package nats

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"serval"
	"serval/stream"
)

// share keeps this member's part of a consumer's lanes. Members and leases are messages of a small stream, one a subject, that
// expire when they are not renewed: the server's clock alone counts. A lease is taken by publishing to its subject on the
// condition that nothing is there, renewed on the condition that it is still one's own, and given back by removing it. Each
// member works out from the members there are how many lanes are its part; those with more give lanes away, those with less
// take what is free.
type share struct {
	s      *source
	table  jetstream.Stream
	prefix string // of subjects
	me     string
	kicked chan struct{} // somebody came, went, or gave something away
	bell   string        // the subject of that
	sub    *natsgo.Subscription
	fresh  atomic.Bool // there may be leases that this member has and does not know of

	renewal sync.Mutex // held while a lease is renewed or given back
}

const (
	members = "m."
	leases  = "l."
)

// newShare finds or makes the table.
func (s *source) newShare(ctx context.Context, replicas int) (*share, error) {
	name := "SERVAL-" + s.stream + "-" + s.consumer
	h := &share{s: s, prefix: "serval.lanes." + s.stream + "." + s.consumer + ".", kicked: make(chan struct{}, 1)}
	h.fresh.Store(true)
	h.bell = "serval.bell." + s.stream + "." + s.consumer
	h.me = named(s.env.Instance + "-" + s.env.Stream)
	config := jetstream.StreamConfig{
		Name: name, Subjects: []string{h.prefix + ">"}, MaxMsgsPerSubject: 1, MaxAge: s.o.Lease, Duplicates: min(s.o.Lease, 2*time.Minute), Replicas: max(1, replicas),
		Discard: jetstream.DiscardOld, MaxMsgs: -1, MaxBytes: -1, Description: "who reads which lane of " + s.stream + " for " + s.consumer + "; made by Serval",
	}
	var err error
	if h.table, err = s.js.Stream(ctx, name); errors.Is(err, jetstream.ErrStreamNotFound) {
		h.table, err = s.js.CreateStream(ctx, config)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			h.table, err = s.js.Stream(ctx, name)
		}
	}
	if err != nil {
		return nil, refused("the table of leases "+name, err)
	}
	if have := h.table.CachedInfo().Config.MaxAge; have != s.o.Lease {
		return nil, serval.Errorf(serval.InvalidArgument, "nats: the members of consumer '%s' have agreed on a lease of %v, not %v; write the same everywhere, or delete the stream %s", s.consumer, have, s.o.Lease, name).At("lease")
	}
	h.sub, err = s.nc.Subscribe(h.bell, func(*natsgo.Msg) {
		select {
		case h.kicked <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return nil, refused("the bell of "+name, err)
	}
	return h, nil
}

// keep renews what this member has and takes its part, until the source is closed.
func (h *share) keep() {
	tick := time.NewTicker(h.s.o.Lease / 4)
	defer tick.Stop()
	for first, troubled := true, false; ; first = false {
		ctx, cancel := context.WithTimeout(h.s.ctx, h.s.o.Lease/2)
		changed, err := h.turn(ctx)
		cancel()
		if h.s.ctx.Err() != nil {
			return
		}
		if err != nil && h.s.nc.IsConnected() {
			troubled = true
			h.s.env.Owner.Trouble(refused("leases", err).Error())
		} else if err == nil && troubled {
			troubled = false
			h.s.env.Owner.Trouble("")
		}
		if first || changed {
			h.ring()
		}
		select {
		case <-tick.C:
		case <-h.kicked:
		case <-h.s.ctx.Done():
			return
		}
	}
}

// ring tells the other members to look.
func (h *share) ring() { _ = h.s.nc.Publish(h.bell, nil) }

// put publishes to a subject of the table whose last message has this revision; 0: that has none.
func (h *share) put(ctx context.Context, what string, revision uint64) (uint64, error) {
	ack, err := h.s.js.Publish(ctx, h.prefix+what, []byte(h.me), jetstream.WithExpectLastSequencePerSubject(revision))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// taken says whether an error of put is that somebody else was there.
func taken(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}

// turn renews, looks at the table, and gives away or takes lanes. changed: other members should look as well.
func (h *share) turn(ctx context.Context) (changed bool, err error) {
	s := h.s
	if _, err := s.js.Publish(ctx, h.prefix+members+h.me, nil); err != nil {
		return false, err
	}
	for _, c := range h.mine() {
		if err := h.renew(ctx, c); taken(err) {
			h.lose(c)
		} else if err != nil {
			return false, err
		}
	}
	info, err := h.table.Info(ctx, jetstream.WithSubjectFilter(h.prefix+">"))
	if err != nil {
		return false, err
	}
	var all []string
	busy := make([]bool, len(s.lanes))
	for subject := range info.State.Subjects {
		what := strings.TrimPrefix(subject, h.prefix)
		if name, ok := strings.CutPrefix(what, members); ok {
			all = append(all, name)
		} else if n, err := strconv.Atoi(strings.TrimPrefix(what, leases)); err == nil && n >= 0 && n < len(busy) {
			busy[n] = true
		}
	}
	if h.fresh.Swap(false) {
		if err := h.recover(ctx, busy); err != nil {
			h.fresh.Store(true)
			return false, err
		}
	}
	part := portion(all, h.me, len(s.lanes))
	kept := slices.DeleteFunc(h.mine(), func(c *claim) bool { return c.leaving })
	for len(kept) > part {
		c := kept[len(kept)-1]
		kept = kept[:len(kept)-1]
		s.mu.Lock()
		c.leaving = true
		s.mu.Unlock()
		s.work.Go(func() { h.give(c) })
	}
	for n := 0; n < len(busy) && len(kept) < part; n++ {
		if busy[n] {
			continue
		}
		now := time.Now()
		revision, err := h.put(ctx, leases+strconv.Itoa(n), 0)
		if taken(err) {
			continue
		}
		if err != nil {
			return changed, err
		}
		kept = append(kept, s.claim(n, revision, now))
		changed = true
	}
	return changed, nil
}

// renew renews the lease of a claim, unless it was given back in between.
func (h *share) renew(ctx context.Context, c *claim) error {
	h.renewal.Lock()
	defer h.renewal.Unlock()
	if !slices.Contains(h.mine(), c) {
		return nil
	}
	now := time.Now()
	revision, err := h.put(ctx, leases+strconv.Itoa(c.number), c.revision)
	if taken(err) { // perhaps by this member, who did not hear that it worked
		mine, ok, failed := h.held(ctx, c.number)
		if failed != nil || !ok {
			return errors.Join(failed, err)
		}
		revision, err = h.put(ctx, leases+strconv.Itoa(c.number), mine)
	}
	if err != nil {
		return err
	}
	h.s.mu.Lock()
	c.revision, c.renewed = revision, now
	h.s.mu.Unlock()
	return nil
}

// held says whether a lane's lease is this member's, and its revision.
func (h *share) held(ctx context.Context, number int) (revision uint64, ok bool, err error) {
	m, err := h.table.GetLastMsgForSubject(ctx, h.prefix+leases+strconv.Itoa(number))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	return m.Sequence, string(m.Data) == h.me, nil
}

// portion is how many of the lanes a member has.
func portion(all []string, me string, lanes int) int {
	slices.Sort(all)
	i, ok := slices.BinarySearch(all, me)
	if !ok { // its own message expired between two requests
		return 0
	}
	n := lanes / len(all)
	if i < lanes%len(all) {
		n++
	}
	return n
}

// recover takes leases that this member has and does not know of: from before its server was restarted, or since it gave them up
// for lost.
func (h *share) recover(ctx context.Context, busy []bool) error {
	for n := range busy {
		if !busy[n] || slices.ContainsFunc(h.mine(), func(c *claim) bool { return c.number == n }) {
			continue
		}
		mine, ok, err := h.held(ctx, n)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		now := time.Now()
		revision, err := h.put(ctx, leases+strconv.Itoa(n), mine)
		if taken(err) {
			continue
		}
		if err != nil {
			return err
		}
		h.s.claim(n, revision, now)
	}
	return nil
}

// mine are the claims.
func (h *share) mine() []*claim {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	return slices.Clone(h.s.claims)
}

// give hands a lane over: what is under way is finished and acked first, unless that takes too long.
func (h *share) give(c *claim) {
	s := h.s
	c.cancel()
	<-c.done
	s.mu.Lock()
	lane := c.lane
	c.open, c.buffer, c.bytes = false, nil, 0
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(s.ctx, s.o.Handover)
	if lane != nil {
		s.env.Owner.Revoke(ctx, []*stream.Lane{lane})
	}
	cancel()
	if s.ctx.Err() != nil { // Close does the rest
		return
	}
	ctx, cancel = context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if !slices.Contains(h.mine(), c) { // the lease was lost meanwhile: what is there now is somebody else's, or this member's anew
		return
	}
	c.confirm(ctx)
	if !h.remove(c) {
		return
	}
	h.back(ctx, c)
	h.ring()
}

// remove takes a claim out of the source's, and says whether it was there.
func (h *share) remove(c *claim) bool {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	n := len(h.s.claims)
	h.s.claims = slices.DeleteFunc(h.s.claims, func(o *claim) bool { return o == c })
	return len(h.s.claims) < n
}

// back gives a lease back; one that is somebody else's by now has another revision, and stays.
func (h *share) back(ctx context.Context, c *claim) {
	h.renewal.Lock()
	defer h.renewal.Unlock()
	err := h.table.DeleteMsg(ctx, c.revision)
	if err != nil {
		var mine uint64
		var ok bool
		if mine, ok, err = h.held(ctx, c.number); ok { // renewed, and that was not heard of
			err = h.table.DeleteMsg(ctx, mine)
		}
	}
	if err != nil && h.s.nc.IsConnected() {
		h.s.env.Warn("nats: a lease could not be given back; it expires by itself", "lane", c.number, "error", err)
	}
}

// expire drops claims whose leases may be over.
func (h *share) expire() {
	before := time.Now().Add(-h.s.o.Lease * 9 / 10)
	for _, c := range h.mine() {
		h.s.mu.Lock()
		over := c.renewed.Before(before)
		h.s.mu.Unlock()
		if over {
			h.lose(c)
		}
	}
}

// lose drops a claim that somebody else may have.
func (h *share) lose(c *claim) {
	c.cancel()
	h.remove(c)
	c.drop()
	h.fresh.Store(true)
	h.s.env.Warn("nats: the lease of a lane is lost; what was under way is done again by its next owner", "stream", h.s.stream, "lane", c.number)
}

// leave gives everything back.
func (h *share) leave(ctx context.Context) {
	for _, c := range h.mine() {
		h.back(ctx, c)
	}
	subject := h.prefix + members + h.me
	if m, err := h.table.GetLastMsgForSubject(ctx, subject); err == nil {
		_ = h.table.DeleteMsg(ctx, m.Sequence)
	}
	h.ring()
	_ = h.s.nc.FlushWithContext(ctx)
}
