package sqs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"serval/stream"
)

func (b *bus) to(t *testing.T, place, endpoint, name string) stream.Target {
	t.Helper()
	o := defaultTarget()
	o.Connection = b.connection(place)
	o.Endpoint = endpoint
	name, instance, _ := strings.Cut(name, "/")
	dst, err := Broker{}.Target(t.Context(), o, stream.Env{Stream: name, Instance: instance, Again: instance == "replay"})
	if err != nil {
		t.Fatal(err)
	}
	return dst
}

// results are messages of the values 0 to n-1, as a stream writes them.
func results(n, keys int) (list []*stream.Message) {
	for i := range n {
		list = append(list, &stream.Message{Key: fmt.Appendf(nil, "k%d", i%keys), Value: fmt.Appendf(nil, "%d", i), Position: stream.Position{Topic: "t", Partition: int32(i % keys), Offset: int64(i)}})
	}
	return list
}

// TestOnce: a FIFO queue has a result once that was written again, and that of another stream, of a replay, or a dead letter,
// beside it.
func TestOnce(t *testing.T) {
	b := newBus(t, true)
	q := b.place(t)
	list := results(35, 5)
	for _, name := range []string{"one/a", "one/b", "two/a", "one/replay"} {
		if err := b.to(t, q, b.q.Endpoint, name).Write(t.Context(), list); err != nil {
			t.Fatal(err)
		}
	}
	dead := *list[0]
	dead.Headers = []stream.Header{{Key: stream.HeaderError, Value: []byte("no")}}
	if err := b.to(t, q, b.q.Endpoint, "one").Write(t.Context(), []*stream.Message{&dead, {Value: []byte("x")}, {Value: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	if got := len(b.All(t, q)); got != 3*35+3 {
		t.Errorf("%d messages, not %d", got, 3*35+3)
	}
}

// TestPartly: what of a batch fails is named; behind a message of a group that failed for now, its group comes again, in order.
func TestPartly(t *testing.T) {
	kinds(t, func(t *testing.T, b *bus) {
		q := b.place(t)
		net := newProxy(t, b.q.Endpoint)
		dst := b.to(t, q, net.url, "s")
		list := results(40, 4)
		calls := 0
		net.meddle("SendMessageBatch", func(r *request) {
			switch calls++; calls {
			case 1:
				r.fail(2, "InternalError", false)
			case 2:
				r.fail(1, "InvalidParameterValue", true)
			case 3:
				r.answer(503, "")
			}
		})
		permanent, rounds := 0, 0
		for ; len(list) > 0; rounds++ {
			err := dst.Write(t.Context(), list)
			var partly *stream.WriteError
			if err != nil && !errors.As(err, &partly) {
				t.Fatal(err)
			}
			var again []*stream.Message
			if partly != nil {
				for i, m := range list {
					switch e := partly.Failed[i]; {
					case e == nil:
					case stream.IsPermanent(e):
						if permanent++; codeOf(e) != "too_large" {
							t.Errorf("it says %v", e)
						}
					default:
						again = append(again, m)
					}
				}
			}
			list = again
		}
		if permanent != 1 || rounds < 2 {
			t.Errorf("%d messages were refused for good, in %d rounds", permanent, rounds)
		}
		seen, last := map[string]int{}, map[string]string{}
		for _, m := range b.All(t, q) {
			seen[string(m.Value)]++
			last[string(m.Key)] += " " + string(m.Value)
		}
		if len(seen) != 39 {
			t.Errorf("%d of 39 messages are there", len(seen))
		}
		if !b.fifo {
			return
		}
		for key, order := range last { // the last of each come in order
			list := strings.Fields(order)
			slices.Reverse(list)
			before := 1000
			had := map[string]bool{}
			for _, v := range list {
				var i int
				_, _ = fmt.Sscan(v, &i)
				if !had[v] && i > before {
					t.Errorf("of %s: %s", key, order)
				}
				if !had[v] {
					before = i
				}
				had[v] = true
			}
		}
	})
}

// TestSizes: batches stay below SQS's limit for a request, and a message that is too large is refused for good without it.
func TestSizes(t *testing.T) {
	b := newBus(t, false)
	q := b.place(t)
	dst := b.to(t, q, b.q.Endpoint, "s")
	var list []*stream.Message
	for i := range 11 {
		list = append(list, &stream.Message{Key: []byte("k"), Value: bytes.Repeat([]byte{byte('a' + i)}, 300_000)})
	}
	list[7].Value = bytes.Repeat([]byte("x"), maxBytes-10) // with its attributes it is too large
	list[8].Value = bytes.Repeat([]byte{0xff}, 800_000)    // and in base64 this one
	err := dst.Write(t.Context(), list)
	var partly *stream.WriteError
	if !errors.As(err, &partly) || len(partly.Failed) != 2 || codeOf(partly.Failed[7]) != "too_large" || !stream.IsPermanent(partly.Failed[8]) {
		t.Errorf("it says %v", err)
	}
	if got := len(b.All(t, q)); got != 9 {
		t.Errorf("%d of 9 are there", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := dst.Write(ctx, results(3, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("given up, it says %v", err)
	}
}

// TestReturn: messages go back to the queue of a source; those of elsewhere do not.
func TestReturn(t *testing.T) {
	b := newBus(t, true)
	q := b.place(t)
	dst, err := Broker{}.Return(t.Context(), b.source(q), stream.Env{Stream: "s"})
	if err != nil {
		t.Fatal(err)
	}
	list := []*stream.Message{
		{Key: []byte("a"), Value: []byte("1"), Position: stream.Position{Topic: q, ID: "1"}},
		{Key: []byte("a"), Value: []byte("2"), Position: stream.Position{Topic: "elsewhere", ID: "2"}},
		{Key: []byte("a"), Value: []byte("3"), Position: stream.Position{Topic: q, ID: "3"}},
	}
	var partly *stream.WriteError
	if err := dst.Write(t.Context(), list); !errors.As(err, &partly) || len(partly.Failed) != 1 || !stream.IsPermanent(partly.Failed[1]) {
		t.Errorf("it says %v", err)
	}
	if got := values(b.All(t, q)); !slices.Equal(got, []string{"1", "3"}) {
		t.Errorf("there are %v", got)
	}
}

// TestCarries: whatever is in a message comes out as it went in, through a server that holds to SQS's limits.
func TestCarries(t *testing.T) {
	kinds(t, func(t *testing.T, b *bus) {
		q := b.place(t)
		var many []stream.Header
		for i := range 15 {
			many = append(many, stream.Header{Key: fmt.Sprintf("h%02d", i), Value: fmt.Appendf(nil, "v%d", i)})
		}
		odd := []stream.Header{
			{Key: "a", Value: []byte("1")}, {Key: "bin", Value: []byte{0, 1, 255}}, {Key: "x", Value: []byte("last")}, {Key: "a", Value: []byte("again")}, {Key: "empty"},
			{Key: "with space", Value: []byte("ü")}, {Key: "AWS.x", Value: []byte("y")}, {Key: attrEncoding, Value: []byte("base64")}, {Key: attrKey, Value: []byte{7}},
			{Key: ".dot", Value: []byte("\x00")}, {Key: "bom", Value: []byte("\uffff")},
		}
		list := []*stream.Message{
			{Key: []byte("plain"), Value: []byte("text"), Headers: many[:10]}, {Value: []byte("no key")}, {Key: []byte("with space"), Value: []byte{0, 255, 10}},
			{Key: []byte{0, 1}, Value: []byte("\x00"), Headers: many}, {Key: []byte("e"), Value: nil}, {Key: bytes.Repeat([]byte("l"), 200), Value: []byte("日本 \t\r\n"), Headers: odd},
			{Key: []byte("serval.key.x"), Value: []byte("aGVsbG8=")}, {Value: []byte("of a lane"), Lane: stream.NewLane("t/1", nil)}, {Value: []byte("\ufffe")},
		}
		for i, m := range list {
			m.Position = stream.Position{Topic: "t", Offset: int64(i)}
		}
		if err := b.to(t, q, b.q.Endpoint, "s").Write(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		o := b.source(q)
		s := b.open(t, o, &watch{})
		got := read(t, s, len(list))
		for _, want := range list {
			at := slices.IndexFunc(got, func(m stream.Message) bool { return bytes.Equal(m.Value, want.Value) })
			if at < 0 {
				t.Errorf("%q is not there", want.Value)
				continue
			}
			m := got[at]
			if !bytes.Equal(m.Key, want.Key) || (m.Key == nil) != (want.Key == nil) {
				t.Errorf("%q: the key is %q, not %q", want.Value, m.Key, want.Key)
			}
			if !sameHeaders(m.Headers, want.Headers) {
				t.Errorf("%q: the headers are %q, not %q", want.Value, m.Headers, want.Headers)
			}
			if since := time.Since(m.Time); since < -time.Minute || since > time.Hour {
				t.Errorf("%q: made at %v", want.Value, m.Time)
			}
		}
	})
}

// sameHeaders compares without the order, but for that of equal names.
func sameHeaders(a, b []stream.Header) bool {
	sorted := func(list []stream.Header) []stream.Header {
		list = slices.Clone(list)
		slices.SortStableFunc(list, func(x, y stream.Header) int { return strings.Compare(x.Key, y.Key) })
		return list
	}
	return slices.EqualFunc(sorted(a), sorted(b), func(x, y stream.Header) bool { return x.Key == y.Key && bytes.Equal(x.Value, y.Value) })
}
