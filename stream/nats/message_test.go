package nats

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"serval/stream"
)

// FuzzHeaders: keys and headers of any bytes pass through a message of NATS as its server sees it.
func FuzzHeaders(f *testing.F) {
	f.Add([]byte("key"), "colour", []byte("red"), "Nats-TTL", []byte("1s"))
	f.Add([]byte("a\r\nb"), "x:y", []byte(" \x00\xff "), "serval-key", []byte("other"))
	f.Add([]byte{}, "", []byte{}, "a-serval-base64", []byte("!"))
	f.Fuzz(func(t *testing.T, key []byte, name string, value []byte, second string, other []byte) {
		m := &stream.Message{Key: key, Value: []byte("v"), Headers: []stream.Header{{Key: name, Value: value}, {Key: second, Value: other}}}
		out := outgoing(m, "s", "id")
		for name, values := range out.Header {
			if strings.ContainsAny(name, " :\r\n\t\x00") || name == "" {
				t.Errorf("the name %q", name)
			}
			for _, v := range values {
				if strings.ContainsAny(v, "\r\n\x00") {
					t.Errorf("%s has the value %q", name, v)
				}
			}
			if strings.HasPrefix(strings.ToLower(name), "nats-") && name != natsgo.MsgIdHdr {
				t.Errorf("%s would instruct the server", name)
			}
		}
		list, got := headers(out.Header)
		if key != nil && !bytes.Equal(got, key) {
			t.Errorf("the key %q came back as %q", key, got)
		}
		if plain := headerName(name); plain == name && name != second && !strings.HasPrefix(strings.ToLower(name), "nats-") && !strings.EqualFold(name, "status") &&
			!strings.HasSuffix(name, encoded) && name != headerKey && second+encoded != name && name+encoded != second && headerName(second) != name {
			if !slices.ContainsFunc(list, func(h stream.Header) bool { return h.Key == name && bytes.Equal(h.Value, value) }) {
				t.Errorf("header %q: %q came back as %v", name, value, list)
			}
		}
		if !validSubject("s."+token(key), false) {
			t.Errorf("the key %q is the token %q", key, token(key))
		}
		if id := messageID("s", m); !plain(id) || id == "" {
			t.Errorf("the id %q", id)
		}
	})
}

// FuzzSubjects: what the wildcards of a pattern stand for puts the subject together again.
func FuzzSubjects(f *testing.F) {
	f.Add("a.*.b.>", "a.1.b.2.3")
	f.Add("a", "a")
	f.Add(">", "..")
	f.Add("a.{{partition(8,1)}}.$1.>", "{{")
	f.Fuzz(func(t *testing.T, pattern, subject string) {
		key, ok := match(pattern, subject)
		form, _ := partitionOf(pattern)
		_ = matched([]string{pattern, form}, subject)
		if ok && validSubject(subject, false) && validSubject(pattern, true) && strings.ContainsAny(pattern, "*>") {
			if got := fill(pattern, []byte(key)); got != subject {
				t.Errorf("%q matches %q with %q, which makes %q", pattern, subject, key, got)
			}
		}
	})
}

// FuzzStatus: whatever stands in the place of a status, reading it ends.
func FuzzStatus(f *testing.F) {
	f.Add("409", "Batch Completed", "", "r")
	f.Add("100", "Idle Heartbeat", "", "r")
	f.Add("503", "", "x", "q")
	f.Fuzz(func(t *testing.T, code, text, data, subject string) {
		m := &natsgo.Msg{Subject: subject, Data: []byte(data), Header: natsgo.Header{"Status": {code}, "Description": {text}}}
		over, err := status(m, "r")
		if err != nil && !over || (data != "" || subject != "r" || code == "") && (over || err != nil) {
			t.Errorf("%v %v", over, err)
		}
	})
}

func TestMessageID(t *testing.T) {
	at := time.Unix(1, 5)
	m := stream.Message{Value: []byte("v"), Position: stream.Position{Topic: "in", Partition: 2, Offset: 7}}
	withTime, dead, other, named := m, m, m, m
	withTime.Time = at
	dead.Headers = []stream.Header{{Key: stream.HeaderCode, Value: []byte("internal")}}
	other.Value = []byte("w")
	named.Position = stream.Position{Topic: "queue", ID: "a\nb"}
	seen := map[string]bool{}
	for _, m := range []stream.Message{m, withTime, dead, other, named} {
		for _, flow := range []string{"a", "b"} {
			id := messageID(flow, &m)
			if seen[id] || id != messageID(flow, &m) || !plain(id) {
				t.Errorf("the id %q", id)
			}
			seen[id] = true
		}
	}
}

// TestLay: how streams are laid out in lanes.
func TestLay(t *testing.T) {
	transform := func(source, destination string) *jetstream.SubjectTransformConfig {
		return &jetstream.SubjectTransformConfig{Source: source, Destination: destination}
	}
	for name, c := range map[string]struct {
		change func(*SourceOptions)
		stream jetstream.StreamConfig
		lanes  string
		keys   string
	}{
		"plain": {stream: jetstream.StreamConfig{Subjects: []string{"a", "a.>"}}, lanes: "[[]]", keys: "[a a.>]"},
		"partitioned": {
			stream: jetstream.StreamConfig{Subjects: []string{"a", "a.>"}, SubjectTransform: transform("a.>", "a.{{partition(2)}}.>")},
			lanes:  "[[a.0.> a] [a.1.>]]", keys: "[a.0.> a.1.>]",
		},
		"by tokens": {
			stream: jetstream.StreamConfig{Subjects: []string{"a.*.*"}, SubjectTransform: transform("a.*.*", "a.$1.{{ Partition( 2 , 1,2 ) }}.{{wildcard(2)}}")},
			lanes:  "[[a.*.0.*] [a.*.1.*]]", keys: "[a.*.0.* a.*.1.*]",
		},
		"another transform": {
			stream: jetstream.StreamConfig{Subjects: []string{"a.*"}, SubjectTransform: transform("a.*", "b.$1")}, lanes: "[[]]", keys: "[a.*]",
		},
		"none": {
			change: func(o *SourceOptions) { o.Order = "none" },
			stream: jetstream.StreamConfig{Subjects: []string{"a.>"}, SubjectTransform: transform("a.>", "a.{{partition(2)}}.>")},
			lanes:  "[[]]", keys: "[a.0.> a.1.>]",
		},
		"chosen": {
			change: func(o *SourceOptions) { o.Subjects, o.Partitions = []string{"b", "a.{partition}.>"}, 2 },
			stream: jetstream.StreamConfig{Subjects: []string{">"}}, lanes: "[[b a.0.>] [a.1.>]]", keys: "[b a.0.> a.1.>]",
		},
	} {
		o := defaultSource()
		if c.change != nil {
			c.change(o)
		}
		l, err := o.lay(&c.stream)
		if err != nil || fmt.Sprint(l.lanes) != c.lanes || fmt.Sprint(l.keys) != c.keys {
			t.Errorf("%s: %v, keys %v, %v", name, l.lanes, l.keys, err)
		}
	}
	many := jetstream.StreamConfig{Subjects: []string{"a.>"}, SubjectTransform: transform("a.>", "a.{{partition(300)}}.>")}
	if _, err := defaultSource().lay(&many); err == nil {
		t.Error("300 lanes are read")
	}
}

func TestPortion(t *testing.T) {
	for _, members := range [][]string{{"a"}, {"b", "a"}, {"c", "b", "a"}, {"e", "d", "c", "b", "a"}} {
		for lanes := range 9 {
			sum := 0
			for _, me := range slices.Clone(members) {
				n := portion(members, me, lanes)
				if n < lanes/len(members) || n > lanes/len(members)+1 {
					t.Errorf("%d of %d lanes for one of %d", n, lanes, len(members))
				}
				sum += n
			}
			if sum != lanes {
				t.Errorf("%d of %d lanes are read by %d", sum, lanes, len(members))
			}
		}
	}
	if n := portion([]string{"a"}, "b", 3); n != 0 {
		t.Errorf("somebody who is not there has %d", n)
	}
}
