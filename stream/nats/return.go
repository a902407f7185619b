package nats

import (
	"context"
	"errors"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"serval"
	"serval/stream"
)

// returned publishes to a stream what stood in it, to the subjects that its keys came from, so that it comes into its lane again.
type returned struct {
	target
	name  string
	plain string // the subject of messages without a key
	keyed string // with wildcards in place of the key
}

// Return implements stream.Returner.
func (b *Broker) Return(ctx context.Context, options any, env stream.Env) (_ stream.Target, err error) {
	o, ok := options.(*SourceOptions)
	if !ok {
		return nil, wrong(options)
	}
	if o.Partitions > 0 {
		return nil, serval.Errorf(serval.Unimplemented, "nats: to which subjects messages of '%s' were published is not known, as subjects has {partition}; publish them again yourself", o.Stream).At("subjects")
	}
	to := defaultTarget()
	to.Connection, to.Stream, to.Subject, to.Deduplicate, to.Make.When = o.Connection, o.Stream, o.Stream, false, "never"
	t, err := b.newTarget(ctx, to, env)
	if err != nil {
		return nil, err
	}
	r := &returned{target: *t, name: o.Stream}
	st, err := t.js.Stream(ctx, o.Stream)
	if err != nil {
		err = errors.Join(refused("stream "+o.Stream, err), t.Close())
		return nil, err
	}
	r.lay(o, &st.CachedInfo().Config)
	return r, nil
}

// lay finds out how messages come into the stream.
func (r *returned) lay(o *SourceOptions, c *jetstream.StreamConfig) {
	subjects := c.Subjects
	if len(o.Subjects) > 0 {
		subjects = o.Subjects
	}
	for _, s := range subjects {
		switch wild := strings.ContainsAny(s, "*>"); {
		case wild && r.keyed == "":
			r.keyed = s
		case !wild && r.plain == "":
			r.plain = s
		}
	}
	if r.plain == "" {
		r.plain = fill(r.keyed, nil)
	}
	if r.keyed == "" {
		r.keyed = r.plain
	}
}

// Write implements stream.Target.
func (r *returned) Write(ctx context.Context, messages []*stream.Message) error {
	failed := map[int]error{}
	for i, m := range messages { // one by one: this is for people
		if m.Position.Topic != r.name {
			failed[i] = stream.Permanent(serval.Errorf(serval.InvalidArgument, "nats: the message is of stream '%s', and the source reads '%s'", m.Position.Topic, r.name))
			continue
		}
		subject := r.plain
		if m.Key != nil {
			subject = fill(r.keyed, m.Key)
		}
		wait, cancel := context.WithTimeout(ctx, r.o.AckTimeout)
		_, err := r.js.PublishMsg(wait, outgoing(m, subject, ""), jetstream.WithExpectStream(r.name))
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			failed[i] = r.class(err, m)
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return &stream.WriteError{Failed: failed}
}

// fill is a pattern with a key in place of its wildcards: the tokens of the key, where there are as many, as match found them
// there.
func fill(pattern string, key []byte) string {
	tokens := strings.Split(pattern, ".")
	parts := strings.Split(string(key), ".")
	wild := 0
	for _, t := range tokens {
		if t == "*" || t == ">" {
			wild++
		}
	}
	open := tokens[len(tokens)-1] == ">"
	if !validSubject(string(key), false) || len(parts) < wild || len(parts) > wild && !open {
		parts = []string{token(key)}
	}
	for i, t := range tokens {
		switch {
		case t == ">":
			tokens[i] = "_"
			if len(parts) > 0 {
				tokens[i] = strings.Join(parts, ".")
			}
		case t != "*":
		case len(parts) > 0:
			tokens[i], parts = parts[0], parts[1:]
		default:
			tokens[i] = "_"
		}
	}
	return strings.Join(tokens, ".")
}
