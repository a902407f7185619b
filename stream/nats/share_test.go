package nats

import (
	"testing"

	"serval"
	"serval/internal/testkit"
	"serval/stream"
)

// TestGiveLate: a lane whose lease was lost while it was handed over, and that this member has anew, is not given away by the end of that.
func TestGiveLate(t *testing.T) {
	t.Parallel()
	b := newBus(t, New(), "", testkit.NATS(t).URL)
	in, _ := b.places(t, 1)
	src, err := b.b.Source(t.Context(), b.source(in), stream.Env{Stream: "flow", Instance: "i", Owner: nobody{}, Warn: warn(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	h := src.(*source).share
	lanes := len(src.(*source).lanes)
	await(t, "all lanes", func() bool { return len(h.mine()) == lanes })
	old := h.mine()[0]
	h.lose(old)
	h.ring()
	find := func() *claim {
		for _, c := range h.mine() {
			if c.number == old.number {
				return c
			}
		}
		return nil
	}
	await(t, "the lane again", func() bool { return find() != nil })
	h.give(old)
	if _, ok, err := h.held(t.Context(), old.number); err != nil || !ok {
		t.Errorf("its lease is gone: %v %v", ok, err)
	}
	if c := find(); c == nil || c == old {
		t.Errorf("the lane is %v", c)
	}
}

// TestNamesMeet: subjects and streams whose names would make the same one at the server do not meet there.
func TestNamesMeet(t *testing.T) {
	t.Parallel()
	b := newBus(t, New(), "", testkit.NATS(t).URL)
	base, _ := b.places(t, 1)
	for _, subject := range []string{base + ".x_y", base + ".x.y", base + ".x_y"} {
		o := b.target("meet." + subject)
		o.Make.When = "always"
		to, err := b.b.Target(t.Context(), o, stream.Env{Stream: "flow", Instance: "i", Owner: nobody{}, Warn: warn(t)})
		if err != nil {
			t.Fatal(err)
		}
		defer to.Close()
		if err := to.Write(t.Context(), []*stream.Message{{Value: []byte(subject)}}); err != nil {
			t.Errorf("%s: %v", subject, err)
		}
	}
	open := func(name, consumer string) (stream.Source, error) {
		o := b.source(base)
		o.Consumer = consumer
		return b.b.Source(t.Context(), o, stream.Env{Stream: name, Instance: "i", Owner: nobody{}, Warn: warn(t)})
	}
	one, err := open("x.y", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open("x_y", ""); !isCode(err, serval.InvalidArgument) || serval.AsError(err).Param != "consumer" {
		t.Errorf("two streams with one consumer: %v", err)
	}
	other, err := open("x_y", "own")
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	if err := one.Close(); err != nil {
		t.Error(err)
	}
	last, err := open("x_y", "")
	if err != nil {
		t.Fatal(err)
	}
	_ = last.Close()
}
