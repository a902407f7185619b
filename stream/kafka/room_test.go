package kafka

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"serval/internal/testkit"
	"serval/stream"
)

// TestRoom: a topic whose batches are small takes all messages that fit, and refuses those alone that do not.
func TestRoom(t *testing.T) {
	b := bus{testkit.Kafka(t), t}
	place := fmt.Sprintf("room-%d", time.Now().UnixNano())
	b.k.Topic(t, place, 2, "max.message.bytes=20000")
	o := b.target(place)
	o.Compression = "none"
	to, err := Broker{}.Target(t.Context(), o, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	const n = 1000
	var left []*stream.Message
	for i := range n {
		value := fmt.Sprintf("%d %s", i, strings.Repeat("x", 200))
		if i%400 == 200 {
			value = fmt.Sprintf("%d %s", i, strings.Repeat("y", 25_000))
		}
		left = append(left, &stream.Message{Key: fmt.Appendf(nil, "k%d", i%5), Value: []byte(value)})
	}
	var refused []string
	for tries := 0; len(left) > 0; tries++ {
		if tries > 30 {
			t.Fatalf("%d messages are not written after %d tries", len(left), tries)
		}
		err := to.Write(t.Context(), left)
		var partly *stream.WriteError
		if err != nil && !errors.As(err, &partly) {
			t.Fatal(err)
		}
		var rest []*stream.Message
		for i, m := range left {
			if partly == nil || partly.Failed[i] == nil {
				continue
			}
			if stream.IsPermanent(partly.Failed[i]) {
				refused = append(refused, strings.Fields(string(m.Value))[0])
			} else {
				rest = append(rest, m)
			}
		}
		left = rest
	}
	if fmt.Sprint(refused) != "[200 600]" {
		t.Errorf("refused for good: %v", refused)
	}
	seen := map[string]int{}
	for _, m := range b.All(t, place) {
		seen[strings.Fields(string(m.Value))[0]]++
	}
	if len(seen) != n-2 {
		t.Errorf("%d of %d messages are there", len(seen), n-2)
	}
}

// TestRoomExactly: the same in transactions.
func TestRoomExactly(t *testing.T) {
	b := bus{testkit.Kafka(t), t}
	name := fmt.Sprintf("rooms-%d", time.Now().UnixNano())
	b.Create(t, name+"-in")
	b.Create(t, name+"-dead")
	b.k.Topic(t, name+"-out", 1, "max.message.bytes=20000")
	out := b.target(name + "-out")
	out.Compression = "none"
	s, err := Broker{}.Session(t.Context(), b.source(name+"-in"), out, b.target(name+"-dead"), stream.Env{Stream: name, Instance: "i", Owner: &troubled{told: func() {}}, Warn: func(string, ...any) {}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	gone := map[int]bool{}
	for try := 0; ; try++ {
		if try > 30 {
			t.Fatal("it does not end")
		}
		if err := s.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		var list []*stream.Message
		var index []int
		for i := range 300 {
			size := 200
			if i == 170 {
				size = 25_000
			}
			if !gone[i] {
				list, index = append(list, &stream.Message{Key: []byte("k"), Value: []byte(strings.Repeat("z", size))}), append(index, i)
			}
		}
		err := s.Write(t.Context(), list)
		if err == nil {
			if ok, err := s.Commit(t.Context()); !ok || err != nil {
				t.Fatal(ok, err)
			}
			break
		}
		var partly *stream.WriteError
		if !errors.As(err, &partly) {
			t.Fatal(err)
		}
		for i, e := range partly.Failed {
			if stream.IsPermanent(e) {
				gone[index[i]] = true
			}
		}
		if err := s.Abort(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(b.All(t, name+"-out")); len(gone) != 1 || got != 299 {
		t.Errorf("%d messages are there, and given up were %v", got, gone)
	}
}
