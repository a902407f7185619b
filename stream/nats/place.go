package nats

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"serval"
)

// most lanes that are read of one stream.
const mostLanes = 256

// find returns a stream by its name. Where there is none, it is made if that is wanted: with these subjects, partitioned if they
// are its name and what follows it.
func find(ctx context.Context, js jetstream.JetStream, c *Connection, m *Make, name string, subjects []string) (jetstream.Stream, error) {
	st, err := js.Stream(ctx, name)
	if err == nil {
		return st, nil
	}
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, refused("stream "+name, err)
	}
	if m.When == "never" || m.When != "always" && len(c.URLs) > 0 {
		return nil, serval.Errorf(serval.NotFound, "nats: there is no stream '%s'; make it, or set make.when: always", name).At("stream")
	}
	st, err = js.CreateStream(ctx, m.config(name, subjects))
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another worker was faster
		st, err = js.Stream(ctx, name)
	}
	if err != nil {
		return nil, refused("stream "+name+" could not be made", err)
	}
	return st, nil
}

// config is a stream that is made. base is the subject that it is made for; its messages are those of base, and those with more
// tokens behind it, which are partitioned by all of these.
func (m *Make) config(name string, subjects []string) jetstream.StreamConfig {
	c := jetstream.StreamConfig{
		Name: name, Subjects: subjects, Replicas: m.Replicas, MaxAge: m.MaxAge, MaxBytes: -1, MaxMsgs: -1, Duplicates: m.Duplicates,
		Description: "made by Serval",
	}
	if m.MaxBytes > 0 {
		c.MaxBytes = m.MaxBytes
	}
	if m.MaxCount > 0 {
		c.MaxMsgs = m.MaxCount
	}
	if m.Storage == "memory" {
		c.Storage = jetstream.MemoryStorage
	}
	switch m.Retention {
	case "workqueue":
		c.Retention = jetstream.WorkQueuePolicy
	case "interest":
		c.Retention = jetstream.InterestPolicy
	}
	if m.Full == "refuse" {
		c.Discard = jetstream.DiscardNew
	}
	if base, ok := tree(subjects); ok && m.Partitions > 1 {
		c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: base + ".>", Destination: fmt.Sprintf("%s.{{partition(%d)}}.>", base, m.Partitions)}
	}
	return c
}

// below are a subject, and all that follow it after a dot.
func below(base string) []string { return []string{base, base + ".>"} }

// tree says whether subjects are what below makes, and of what.
func tree(subjects []string) (base string, ok bool) {
	if len(subjects) != 2 {
		return "", false
	}
	return subjects[0], subjects[1] == subjects[0]+".>"
}

// layout says how a stream is read.
type layout struct {
	lanes [][]string // the subjects of each lane; one without any has all
	// keys are patterns of subjects: what their wildcards stand for is the key of a message without that header.
	keys []string
}

// partitioned finds the partition in the destination of a subject transform, and what else of it stands for something.
var (
	partitioned = regexp.MustCompile(`(?i)^{{\s*partition\s*\(\s*(\d+)[^)]*\)\s*}}$`)
	mapped      = regexp.MustCompile(`^({{.*}}|\$\d+)$`)
)

// lay lays out a stream in lanes.
func (o *SourceOptions) lay(c *jetstream.StreamConfig) (layout, error) {
	if len(o.Subjects) > 0 {
		return o.chosen(), nil
	}
	if t := c.SubjectTransform; t != nil {
		if form, n := partitionOf(t.Destination); n > 1 {
			l := layout{lanes: make([][]string, n)}
			for p := range l.lanes {
				l.lanes[p] = []string{strings.ReplaceAll(form, partitionMark, strconv.Itoa(p))}
				l.keys = append(l.keys, l.lanes[p]...)
			}
			for _, s := range c.Subjects { // what is not transformed
				if s != t.Source && t.Source != "" && t.Source != ">" {
					l.lanes[0] = append(l.lanes[0], s)
				}
			}
			switch {
			case o.Order == "none":
				l.lanes = [][]string{nil}
			case n > mostLanes:
				return layout{}, serval.Errorf(serval.InvalidArgument, "nats: the stream '%s' has %d partitions, of which at most %d are read as lanes; use order: none", c.Name, n, mostLanes).At("order")
			}
			return l, nil
		}
	}
	return layout{lanes: [][]string{nil}, keys: c.Subjects}, nil
}

// chosen is the layout of Subjects.
func (o *SourceOptions) chosen() layout {
	l := layout{lanes: make([][]string, max(1, o.Partitions))}
	for _, s := range o.Subjects {
		if !strings.Contains(s, partitionMark) {
			l.lanes[0] = append(l.lanes[0], s)
			l.keys = append(l.keys, s)
			continue
		}
		for p := range l.lanes {
			filter := strings.ReplaceAll(s, partitionMark, strconv.Itoa(p))
			l.lanes[p] = append(l.lanes[p], filter)
			l.keys = append(l.keys, filter)
		}
	}
	return l
}

// partitionOf finds the partition in the destination of a subject transform: its subjects with {partition} and wildcards, and the
// number of partitions; 0: there is none.
func partitionOf(destination string) (form string, n int) {
	tokens := tokensOf(destination)
	for i, t := range tokens {
		switch found := partitioned.FindStringSubmatch(t); {
		case found != nil && n == 0:
			n, _ = strconv.Atoi(found[1])
			tokens[i] = partitionMark
		case mapped.MatchString(t):
			tokens[i] = "*"
		}
	}
	return strings.Join(tokens, "."), n
}

// tokensOf splits a subject at its dots, but not those within {{ }}.
func tokensOf(s string) (list []string) {
	depth, from := 0, 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			depth++
		case '}':
			depth--
		case '.':
			if depth <= 0 {
				list = append(list, s[from:i])
				from = i + 1
			}
		}
	}
	return append(list, s[from:])
}

// refused is an error of the server's as one of ours.
func refused(what string, err error) error {
	code, hint := serval.Unavailable, ""
	var api *jetstream.APIError
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, jetstream.ErrConsumerNotFound):
		code = serval.NotFound
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		code, hint = serval.Unavailable, "; the server runs without JetStream: start it with -js, or enable it for the account"
	case errors.As(err, &api) && api.Code >= 400 && api.Code < 500:
		code = serval.InvalidArgument
	case errors.Is(err, context.DeadlineExceeded):
		hint = "; no server answers for JetStream, or the user may not use it"
	}
	return serval.Errorf(code, "nats: %s: %w%s", what, err, hint)
}
