package nats

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"serval"
	"serval/stream"
)

// mostPending bounds how many messages wait for the server to confirm them.
const mostPending = 4096

// target publishes to a subject.
type target struct {
	o     *TargetOptions
	env   stream.Env
	nc    *natsgo.Conn
	js    jetstream.JetStream
	turns turns
	doubt bool // nothing was confirmed since something failed
}

// turns remembers how often each result of a lane was published lately: at least those of the last Write, and all that its caller
// may still have again.
type turns struct{ young, old map[written]int }

// written is a result. The worker that reads a lane anew has another lane.
type written struct {
	lane *stream.Lane
	id   string
}

// forgetAfter is how many results are remembered at least; twice as many at most, or those of two calls of Write.
const forgetAfter = 16384

// next is how often it was published before.
func (t *turns) next(w written) int {
	n, ok := t.young[w]
	if !ok {
		n, ok = t.old[w]
	}
	if ok {
		n++
	}
	if t.young == nil {
		t.young = map[written]int{}
	}
	t.young[w] = n
	return n
}

// forget makes room, between calls of Write.
func (t *turns) forget() {
	if len(t.young) >= forgetAfter {
		t.young, t.old = nil, t.young
	}
}

func (b *Broker) newTarget(ctx context.Context, o *TargetOptions, env stream.Env) (_ *target, err error) {
	t := &target{o: o, env: env, doubt: true}
	// What is published while the connection is lost must fail: if it were kept and sent later, it would come before what was
	// lost and is published again.
	if t.nc, err = b.connect(&o.Connection, env, natsgo.ReconnectBufSize(-1)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			t.nc.Close()
		}
	}()
	if t.js, err = o.jetStream(t.nc, jetstream.WithPublishAsyncMaxPending(mostPending), jetstream.WithPublishAsyncTimeout(o.AckTimeout)); err != nil {
		return nil, refused("JetStream", err)
	}
	if m := &o.Make; m.When == "never" || m.When != "always" && len(o.URLs) > 0 {
		return t, nil
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	base := o.base()
	if _, err = t.js.StreamNameBySubject(ctx, base); err == nil || !errors.Is(err, jetstream.ErrStreamNotFound) {
		if err != nil {
			return nil, refused("subject "+base, err)
		}
		return t, nil
	}
	name := o.Stream
	if name == "" {
		if name, err = t.fresh(ctx, base); err != nil {
			return nil, err
		}
	}
	if _, err = find(ctx, t.js, &o.Connection, &o.Make, name, below(base)); err != nil {
		return nil, err
	}
	return t, nil
}

// fresh names a stream after a subject that none takes. Where the name is that of another one, as a.b and a_b have the same, it has a
// digest of the subject behind it.
func (t *target) fresh(ctx context.Context, base string) (string, error) {
	name := named(base)
	_, err := t.js.Stream(ctx, name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return name, nil
	case err != nil:
		return "", refused("stream "+name, err)
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(base))
	return fmt.Sprintf("%s-%08x", name, h.Sum32()), nil
}

// base is the subject up to the key.
func (o *TargetOptions) base() string {
	base, _, _ := strings.Cut(o.Subject, "."+keyMark)
	return base
}

// Write implements stream.Target. Messages are published one behind the other, without waiting for each; one that fails has all
// behind it fail that were not published yet. After a failure the first is waited for, so that those behind it are not written
// alone by a target that comes back in the middle.
func (t *target) Write(ctx context.Context, messages []*stream.Message) error {
	t.turns.forget()
	sent := make([]jetstream.PubAckFuture, len(messages))
	failed := map[int]error{}
	reconnects := t.nc.Stats().Reconnects
	var stopped error
	for i, m := range messages {
		if stopped == nil && t.nc.Stats().Reconnects != reconnects {
			stopped = natsgo.ErrDisconnected
		}
		if stopped != nil {
			failed[i] = t.class(stopped, m)
			continue
		}
		var err error
		if sent[i], err = t.publish(m); err != nil {
			if failed[i] = t.class(err, m); !stream.IsPermanent(failed[i]) {
				stopped = err
			}
		} else if t.doubt {
			switch err := confirmed(ctx, sent[i]); {
			case ctx.Err() != nil:
				return ctx.Err()
			case err == nil:
				t.doubt = false
			default:
				if failed[i] = t.class(err, m); !stream.IsPermanent(failed[i]) {
					stopped = err
				}
			}
			sent[i] = nil
		}
	}
	for i, f := range sent {
		if f == nil {
			continue
		}
		if err := confirmed(ctx, f); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			failed[i] = t.class(err, messages[i])
		}
	}
	if len(failed) == 0 {
		return nil
	}
	for _, err := range failed {
		if errors.Is(err, stream.ErrBroken) {
			return err
		}
		t.doubt = t.doubt || !stream.IsPermanent(err)
	}
	return &stream.WriteError{Failed: failed}
}

// confirmed waits for the server's word.
func confirmed(ctx context.Context, f jetstream.PubAckFuture) error {
	select {
	case <-f.Ok():
		return nil
	case err := <-f.Err():
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *target) publish(m *stream.Message) (jetstream.PubAckFuture, error) {
	id := ""
	// A replay answers on purpose what was answered before, under a name of its own.
	if t.o.Deduplicate && !t.env.Again {
		id = messageID(t.env.Stream, m)
		if m.Lane != nil {
			// Who has it written once more wants it behind what came in between: it must not be left out.
			if turn := t.turns.next(written{m.Lane, id}); turn > 0 {
				id += " again " + strconv.Itoa(turn)
			}
		}
	}
	subject := t.o.Subject
	if strings.Contains(subject, keyMark) {
		subject = strings.ReplaceAll(subject, keyMark, token(m.Key))
	}
	out := outgoing(m, subject, id)
	if t.o.Stream != "" {
		out.Header[jetstream.ExpectedStreamHeader] = []string{t.o.Stream}
	}
	return t.js.PublishMsgAsync(out, jetstream.WithRetryAttempts(0))
}

// class says what an error means for a message.
func (t *target) class(err error, m *stream.Message) error {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, natsgo.ErrMaxPayload), errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamMessageExceedsMaximum:
		return stream.Permanent(serval.Errorf(serval.TooLarge, "nats: a message of %d bytes is more than the target takes (the server takes %d, headers included; the stream may have its own max_msg_size)",
			len(m.Key)+len(m.Value), t.nc.MaxPayload()).Because(err))
	case errors.Is(err, natsgo.ErrBadSubject):
		return stream.Permanent(serval.Errorf(serval.InvalidArgument, "nats: the key %q makes no subject: %w", m.Key, err))
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		return serval.Errorf(serval.NotFound, "nats: no stream takes the subject %s; make one, or set make.when: always, and writing goes on", t.o.Subject)
	case errors.Is(err, natsgo.ErrConnectionClosed):
		return serval.Errorf(serval.Unavailable, "nats: %v", err).Because(errors.Join(stream.ErrBroken, err))
	case errors.Is(err, natsgo.ErrDisconnected), errors.Is(err, natsgo.ErrReconnectBufExceeded):
		return serval.Errorf(serval.Unavailable, "nats: the connection is lost: %w", err)
	case errors.Is(err, jetstream.ErrAsyncPublishTimeout) && errors.Is(t.nc.LastError(), natsgo.ErrPermissionViolation):
		return serval.Errorf(serval.PermissionDenied, "nats: the user may not do what is needed: %w", t.nc.LastError())
	case errors.As(err, &api) && api.ErrorCode == 10060: // expected stream does not match
		return serval.Errorf(serval.NotFound, "nats: another stream than %s takes the subject %s; correct stream or subject: %w", t.o.Stream, t.o.Subject, err)
	}
	return serval.Errorf(serval.Unavailable, "nats: %w", err)
}

// Close implements stream.Target.
func (t *target) Close() error {
	t.nc.Close()
	return nil
}
