package nats

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"serval"
	"serval/internal/testkit"
	"serval/stream"
)

// embed starts a broker's embedded server.
func embed(t *testing.T, dir string, set Embedded) (*Broker, error) {
	t.Helper()
	b := New()
	t.Cleanup(func() { _ = b.Close() })
	o := defaultTarget()
	o.Subject, o.Embedded = "unused", set
	if err := b.Settle(o); err != nil {
		t.Fatal(err)
	}
	_, err := b.start(stream.Env{Dir: dir, Warn: warn(t)})
	return b, err
}

// TestEmbeddedData: streams that are not there are made, with lanes; what was acknowledged is there after a restart; keys come
// from subjects; nobody else runs on the same data.
func TestEmbeddedData(t *testing.T) {
	t.Parallel()
	const n, keys = 500, 11
	dir, at := t.TempDir(), freeAddress(t)
	first, err := embed(t, dir, Embedded{Listen: at})
	if err != nil {
		t.Fatal(err)
	}
	b := newBus(t, first, dir, "nats://"+at)
	in, out, other := defaultSource(), defaultTarget(), defaultSource()
	in.Stream, out.Subject, other.Stream = "applicants", "scores.all.{key}", "other"
	in.Make.Partitions, other.Make.Partitions, other.Make.Retention, other.Make.MaxBytes, other.Make.MaxCount = 3, 1, "workqueue", 1<<20, 3
	w := run(t, b, in, out, "i", nil)
	second := run(t, b, other, out, "j", nil)
	await(t, "the streams", func() bool {
		_, err1 := b.js.Stream(t.Context(), "applicants")
		_, err2 := b.js.Stream(t.Context(), "scores_all")
		_, err3 := b.js.Stream(t.Context(), "other")
		return err1 == nil && err2 == nil && err3 == nil
	})
	st, err := b.js.Stream(t.Context(), "other")
	if err != nil {
		t.Fatal(err)
	}
	if c := st.CachedInfo().Config; c.Retention != jetstream.WorkQueuePolicy || c.MaxBytes != 1<<20 || c.MaxMsgs != 3 || c.Discard != jetstream.DiscardNew || c.SubjectTransform != nil || c.MaxAge != 7*24*time.Hour {
		t.Errorf("it was made as %+v", c)
	}
	b.Send(t, "applicants", numbers(0, n, keys))
	await(t, "results", func() bool { return w.Status().Written == n })
	w.stop()
	second.stop()
	list := b.All(t, "scores_all")
	if again := tally(t, list, n, keys); again > 0 {
		t.Errorf("%d came again", again)
	}
	b.Send(t, "applicants", numbers(n, 2*n, keys))
	if _, err := embed(t, dir, Embedded{Listen: "off"}); !isCode(err, serval.Conflict) || !strings.Contains(err.Error(), "--data") {
		t.Errorf("a second server on the same data: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := first.start(stream.Env{Dir: dir, Warn: warn(t)}); err == nil {
		t.Error("it starts again after Close")
	}
	b.b, err = embed(t, dir, Embedded{Listen: at})
	if err != nil {
		t.Fatal(err)
	}
	w = run(t, b, in, out, "i", nil)
	await(t, "the rest", func() bool { return w.Status().Written == n })
	w.stop()
	tally(t, b.All(t, "scores_all"), 2*n, keys)
	o := defaultTarget()
	o.Subject, o.Embedded.Sync = "scores", true
	if err := b.b.Check(o); err == nil || !strings.Contains(err.Error(), "restart") {
		t.Errorf("settings of a server that runs: %v", err)
	}
}

func isCode(err error, code serval.Code) bool {
	var e *serval.Error
	return errors.As(err, &e) && e.Code == code
}

// TestEmbeddedRefusals: it says what it cannot do.
func TestEmbeddedRefusals(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := embed(t, t.TempDir(), Embedded{Listen: l.Addr().String()}); !isCode(err, serval.Unavailable) || !strings.Contains(err.Error(), "embedded.listen") {
		t.Errorf("a port that is taken: %v", err)
	}
	if _, err := embed(t, "", Embedded{Listen: "off"}); !isCode(err, serval.InvalidArgument) || !strings.Contains(err.Error(), "--data") {
		t.Errorf("no folder: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := embed(t, file, Embedded{Listen: "off"}); !isCode(err, serval.Unavailable) {
		t.Errorf("a file for a folder: %v", err)
	}
	if _, err := embed(t, t.TempDir(), Embedded{Listen: "127.0.0.1:x"}); err == nil || !strings.Contains(err.Error(), "number") {
		t.Errorf("a port that is none: %v", err)
	}
	b, err := embed(t, t.TempDir(), Embedded{Listen: "off"})
	if err != nil {
		t.Fatal(err)
	}
	if addr := b.embedded.srv.Addr(); addr != nil {
		t.Errorf("it listens on %v", addr)
	}
}

// TestEmbeddedGuarded: with a user, and encrypted, only who knows both gets in; the streams of this process do.
func TestEmbeddedGuarded(t *testing.T) {
	t.Parallel()
	cert, key, ca := certificate(t)
	at := freeAddress(t)
	b, err := embed(t, t.TempDir(), Embedded{Listen: at, User: "alice", Password: "secret", Cert: cert, Key: key, MaxPayload: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	o := defaultTarget()
	o.Subject = "scores"
	target, err := b.Target(t.Context(), o, stream.Env{Stream: "flow", Owner: nobody{}, Warn: warn(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	if err := target.Write(t.Context(), []*stream.Message{{Value: make([]byte, 3<<20)}}); err != nil {
		t.Error(err)
	}
	external := defaultSource()
	external.URLs, external.Stream = []string{"nats://" + at}, "scores"
	external.TLS = TLS{On: true, CA: ca}
	env := stream.Env{Stream: "flow", Instance: "i", Owner: nobody{}, Warn: warn(t)}
	if _, err := New().Source(t.Context(), external, env); !isCode(err, serval.Unauthenticated) {
		t.Errorf("without a user: %v", err)
	}
	external.User, external.Password = "alice", "secret"
	if err := New().Check(external); err != nil {
		t.Error(err)
	}
	src, err := New().Source(t.Context(), external, env)
	if err != nil {
		t.Fatal(err)
	}
	list, err := src.Read(t.Context(), 10)
	if err != nil || len(list) != 1 || len(list[0].Value) != 3<<20 {
		t.Errorf("%d messages, %v", len(list), err)
	}
	if err := src.Close(); err != nil {
		t.Error(err)
	}
	external.TLS = TLS{}
	if _, err := New().Source(t.Context(), external, env); err == nil {
		t.Error("without TLS it gets in")
	}
}

// certificate makes files of one for 127.0.0.1 that signs itself.
func certificate(t *testing.T) (cert, key, ca string) {
	t.Helper()
	c, k := testkit.Certificate(t)
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, data := range map[string][]byte{cert: c, key: k} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key, cert
}

// TestExternalWays: a token and an NKey get in.
func TestExternalWays(t *testing.T) {
	t.Parallel()
	seed := filepath.Join(t.TempDir(), "seed")
	public := testkit.NKey(t, seed)
	env := stream.Env{Stream: "flow", Instance: "i", Owner: nobody{}, Warn: warn(t)}
	for name, c := range map[string]struct {
		server func(*server.Options)
		client func(*Connection)
	}{
		"token": {func(o *server.Options) { o.Authorization = "secret" }, func(c *Connection) { c.Token = "secret" }},
		"nkey":  {func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} }, func(c *Connection) { c.NKey = seed }},
		"url":   {func(o *server.Options) { o.Username, o.Password = "u", "p" }, func(c *Connection) { c.URLs[0] = strings.Replace(c.URLs[0], "//", "//u:p@", 1) }},
	} {
		k := testkit.NATSAlone(t, c.server)
		o := defaultTarget()
		o.URLs, o.Subject, o.Make.When = []string{k.URL}, "scores", "always"
		if _, err := New().Target(t.Context(), o, env); !isCode(err, serval.Unauthenticated) {
			t.Errorf("%s: without it: %v", name, err)
		}
		c.client(&o.Connection)
		target, err := New().Target(t.Context(), o, env)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := target.Write(t.Context(), []*stream.Message{{Value: []byte("v")}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_ = target.Close()
	}
}

// TestMisfits: consumers and streams that are there, and are not what is needed.
func TestMisfits(t *testing.T) {
	t.Parallel()
	b := newBus(t, New(), "", testkit.NATS(t).URL)
	in, out := b.places(t, 1)
	env := stream.Env{Stream: "flow", Instance: "i", Owner: nobody{}, Warn: warn(t)}
	open := func(change func(*SourceOptions)) error {
		o := b.source(in)
		o.Order = "none"
		change(o)
		src, err := b.b.Source(t.Context(), o, env)
		if err == nil {
			_ = src.Close()
		}
		return err
	}
	make := func(c jetstream.ConsumerConfig) string {
		t.Helper()
		if _, err := b.js.CreateConsumer(t.Context(), in, c); err != nil {
			t.Fatal(err)
		}
		return c.Durable
	}
	for words, name := range map[string]string{
		"acked":        make(jetstream.ConsumerConfig{Durable: "all", AckPolicy: jetstream.AckAllPolicy}),
		"2 times":      make(jetstream.ConsumerConfig{Durable: "twice", AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: 2}),
		in + ".1.>":    make(jetstream.ConsumerConfig{Durable: "other", AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: in + ".1.>"}),
		"all subjects": make(jetstream.ConsumerConfig{Durable: "whole", AckPolicy: jetstream.AckExplicitPolicy}),
	} {
		err := open(func(o *SourceOptions) {
			if o.Consumer = name; name == "whole" {
				o.Subjects = []string{in + ".1.>"}
			}
		})
		if !isCode(err, serval.InvalidArgument) || !strings.Contains(err.Error(), words) {
			t.Errorf("consumer %s: %v", name, err)
		}
	}
	if _, err := b.js.CreateOrUpdatePushConsumer(t.Context(), in, jetstream.ConsumerConfig{Durable: "push", DeliverSubject: "there", AckPolicy: jetstream.AckExplicitPolicy}); err != nil {
		t.Fatal(err)
	}
	if err := open(func(o *SourceOptions) { o.Consumer = "push" }); !isCode(err, serval.InvalidArgument) || !strings.Contains(err.Error(), "push") {
		t.Errorf("a push consumer: %v", err)
	}
	if err := open(func(o *SourceOptions) { o.Stream = "missing" }); !isCode(err, serval.NotFound) || !strings.Contains(err.Error(), "make.when") {
		t.Errorf("no stream: %v", err)
	}
	if err := open(func(o *SourceOptions) { o.URLs = []string{"nats://u:secret@" + freeAddress(t)} }); !isCode(err, serval.Unavailable) || strings.Contains(err.Error(), "secret") {
		t.Errorf("no server: %v", err)
	}
	if err := open(func(o *SourceOptions) { o.Order = "lane" }); err != nil {
		t.Error(err)
	}
	if err := open(func(o *SourceOptions) { o.Order, o.Lease = "lane", time.Minute }); !isCode(err, serval.InvalidArgument) || !strings.Contains(err.Error(), "lease of 10s") {
		t.Errorf("another lease: %v", err)
	}
	to := b.target(out)
	to.Stream = in
	target, err := b.b.Target(t.Context(), to, env)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	if err := target.Write(t.Context(), []*stream.Message{{Value: []byte("v")}}); err == nil || !strings.Contains(err.Error(), "another stream") {
		t.Errorf("another stream takes the subject: %v", err)
	}
}

// TestStart: where a consumer begins that does not exist yet.
func TestStart(t *testing.T) {
	t.Parallel()
	b := newBus(t, New(), "", testkit.NATS(t).URL)
	in, _ := b.places(t, 1)
	b.Send(t, in, numbers(0, 10, 3))
	time.Sleep(20 * time.Millisecond)
	middle := time.Now()
	time.Sleep(20 * time.Millisecond)
	b.Send(t, in, numbers(10, 20, 3))
	for start, want := range map[string]int{"all": 25, "new": 5, middle.UTC().Format(time.RFC3339Nano): 15} {
		o := b.source(in)
		o.Start, o.Consumer = start, named(start)
		if start == "new" { // made now, and read later
			src, err := b.b.Source(t.Context(), o, stream.Env{Stream: "flow", Instance: "i", Owner: nobody{}, Warn: warn(t)})
			if err != nil {
				t.Fatal(err)
			}
			if err := src.Close(); err != nil {
				t.Error(err)
			}
		}
		defer func() {
			src, err := b.b.Source(t.Context(), o, stream.Env{Stream: "flow", Instance: "i", Owner: nobody{}, Warn: warn(t)})
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			read := 0
			for read < want {
				list, err := src.Read(ctx, 100)
				if err != nil {
					t.Fatalf("start %s: %d of %d messages, %v", start, read, want, err)
				}
				read += len(list)
			}
			if read != want {
				t.Errorf("start %s: %d messages, not %d", start, read, want)
			}
		}()
	}
	b.Send(t, in, numbers(20, 25, 3))
}

// TestRights: a user needs no more than the documentation says; what is not allowed is said.
func TestRights(t *testing.T) {
	t.Parallel()
	k := testkit.NATSAlone(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "admin", Password: "p"}, {Username: "serval", Password: "p", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{"$JS.API.>", "$JS.ACK.>", "serval.lanes.>", "serval.bell.>", "out"}},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>", "serval.bell.>"}},
		}}}
	})
	as := func(user string) string { return strings.Replace(k.URL, "//", "//"+user+":p@", 1) }
	b := newBus(t, New(), "", as("admin"))
	b.create(t, "in", 1)
	b.create(t, "out", 1)
	b.urls = []string{as("serval")}
	b.Send(t, "in", numbers(0, 50, 5))
	w := run(t, b, b.source("in"), b.target("out"), "i", nil)
	await(t, "results", func() bool { return w.Status().Written == 50 })
	w.stop()
	tally(t, b.All(t, "out"), 50, 5)
	o := b.target("in")
	o.AckTimeout = 200 * time.Millisecond
	target, err := b.b.Target(t.Context(), o, stream.Env{Stream: "flow", Owner: nobody{}, Warn: warn(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	var partly *stream.WriteError
	if err := target.Write(t.Context(), []*stream.Message{{Value: []byte("v")}}); !errors.As(err, &partly) || !isCode(partly.Failed[0], serval.PermissionDenied) {
		t.Errorf("a subject that is not allowed: %v", err)
	}
}
