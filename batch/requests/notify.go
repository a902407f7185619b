package requests

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"serval"
	"serval/internal/webhook"
	"serval/protocol"
)

// GroupEvent is the event of a group of requests, by inference.net's name.
const GroupEvent = "slow-group.completed"

// Hook is where events are sent.
type Hook struct {
	Name   string
	URL    string
	Sender *webhook.Sender
	GiveUp time.Duration // how long an event is sent again; 0: 72 h
}

// NotifierOptions are what a Notifier needs.
type NotifierOptions struct {
	Rows  EventRows
	Hooks []Hook
	// Group is the body of a GroupEvent.
	Group func(context.Context, *protocol.Event) ([]byte, error)
	Log   *slog.Logger
}

// Notifier sends events to webhooks, again until they are taken or given up, also after a kill. Any number of servers may share the
// store.
type Notifier struct {
	o     NotifierOptions
	hooks map[string]Hook
}

// NewNotifier makes one.
func NewNotifier(o NotifierOptions) *Notifier {
	n := &Notifier{o: o, hooks: map[string]Hook{}}
	for _, h := range o.Hooks {
		if h.GiveUp <= 0 {
			h.GiveUp = 72 * time.Hour
		}
		n.hooks[h.Name] = h
	}
	return n
}

// Times of deliveries: how long one server has for what it took, and how often it looks.
const (
	eventLease = 2 * time.Minute
	eventEvery = time.Second
)

// pauses are the waits after the first attempts; the last one is that of all further ones.
func pause(attempts int) time.Duration {
	list := []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute}
	return list[min(max(attempts, 1), len(list))-1]
}

// Run delivers until ctx ends.
func (n *Notifier) Run(ctx context.Context) {
	tick := time.NewTicker(eventEvery)
	defer tick.Stop()
	for {
		list, err := n.o.Rows.ClaimEvents(ctx, eventLease)
		if err != nil && ctx.Err() == nil {
			n.o.Log.Warn("webhooks: events cannot be read", "error", err)
		}
		var all sync.WaitGroup
		for _, e := range list {
			all.Go(func() { n.deliver(ctx, e) })
		}
		all.Wait()
		if len(list) > 0 {
			continue
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// deliver makes one attempt.
func (n *Notifier) deliver(ctx context.Context, e *protocol.Event) {
	log := n.o.Log.With("webhook", e.Hook, "event", e.ID, "type", e.Type, "about", e.Subject, "attempt", e.Attempts)
	err := n.send(ctx, e)
	end := func(err error) {
		if err != nil && ctx.Err() == nil {
			log.Warn("what became of an event could not be stored; it may come again", "error", err)
		}
	}
	var f *webhook.Failure
	switch {
	case err == nil:
		end(n.o.Rows.EndEvent(ctx, e))
	case ctx.Err() != nil: // another server, or this one after its start
		end(n.o.Rows.DelayEvent(context.WithoutCancel(ctx), e, 0))
	case time.Since(e.Created) > cmp.Or(n.hooks[e.Hook].GiveUp, usualGiveUp), errors.Is(err, errGone), errors.As(err, &f) && f.Status == http.StatusGone:
		log.Error("an event is given up", "error", err)
		end(n.o.Rows.EndEvent(ctx, e))
	default:
		wait := pause(e.Attempts)
		if f != nil {
			wait = max(wait, min(f.After, time.Hour))
		}
		log.Warn("a webhook did not take an event; it is sent again", "error", err, "in", wait)
		end(n.o.Rows.DelayEvent(ctx, e, wait))
	}
}

// errGone says that there is nobody to tell, or nothing to tell of.
var (
	errGone    = errors.New("the batch was deleted")
	errUnknown = errors.New("this server's configuration has no such webhook")
)

// usualGiveUp is for how long an event is kept for a webhook that is not configured.
const usualGiveUp = 72 * time.Hour

func (n *Notifier) send(ctx context.Context, e *protocol.Event) error {
	h, ok := n.hooks[e.Hook]
	if !ok { // another server that shares the store may have it, or this one after its next start
		return errUnknown
	}
	header := http.Header{}
	var body []byte
	var err error
	if e.Type == GroupEvent {
		header.Set("X-Inference-Event", e.Type)
		header.Set("X-Inference-Webhook-ID", e.Hook)
		header.Set("X-Inference-Group-ID", e.Subject)
		body, err = n.o.Group(ctx, e)
	} else {
		body, err = json.Marshal(event{ID: e.ID, Object: "event", Type: e.Type, Created: e.Created.Unix(), Data: eventData{e.Subject}})
	}
	if serval.AsError(err) != nil && serval.AsError(err).Code == serval.NotFound {
		return errGone
	}
	if err != nil {
		return err
	}
	return h.Sender.Once(ctx, h.URL, e.ID, body, header)
}

// event is what OpenAI's clients unwrap.
type event struct {
	ID      string    `json:"id"`
	Object  string    `json:"object"`
	Type    string    `json:"type"`
	Created int64     `json:"created_at"`
	Data    eventData `json:"data"`
}

type eventData struct {
	ID string `json:"id"`
}
