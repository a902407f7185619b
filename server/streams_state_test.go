package server

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serval"
	"serval/stream"
	brokers "serval/stream/all"
)

// noStreams is a server's, of which none runs.
func noStreams(t *testing.T) *Streams {
	s := &Streams{
		log: slog.New(slog.NewTextHandler(io.Discard, nil)), models: nil, dir: t.TempDir(), plugins: StreamPlugins(), known: map[string]stream.Broker{},
		kept: kept{filepath.Join(t.TempDir(), "streams")}, life: t.Context(), all: map[string]*streamed{}, replays: map[string]bool{},
	}
	s.as = func(string) serval.Handler { return nil }
	for _, b := range brokers.New() {
		s.known[b.Name()] = b
	}
	t.Cleanup(func() {
		for _, b := range s.known {
			if c, ok := b.(io.Closer); ok {
				_ = c.Close()
			}
		}
	})
	return s
}

// TestDeleteForgets: a stream that is paused while it is deleted is forgotten with its pause, and a NotFound names no stream of others.
func TestDeleteForgets(t *testing.T) {
	s := noStreams(t)
	e := &streamed{name: "scores", text: "x", worker: stream.New(stream.Options{Name: "scores", Log: s.log}), done: make(chan struct{})}
	ending := make(chan struct{})
	e.cancel = func() { close(ending) }
	s.all["scores"], s.all["others"] = e, &streamed{name: "others"}
	if err := s.kept.put("scores", "x"); err != nil {
		t.Fatal(err)
	}
	deleted := make(chan error)
	go func() {
		_, err := s.Delete(t.Context(), "scores", false)
		deleted <- err
	}()
	<-ending // what is under way is being finished
	if err := s.Pause("scores", true); err != nil {
		t.Fatal(err)
	}
	close(e.done)
	if err := <-deleted; err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(s.kept.dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v %v", left, err)
	}
	if _, err := s.Status("scores"); serval.AsError(err).Code != serval.NotFound || strings.Contains(err.Error(), "others") {
		t.Error(err)
	}
}

// TestDryRunLeavesNothing: what a dry run, or a document that was refused, said of the server in this process holds for nobody.
func TestDryRunLeavesNothing(t *testing.T) {
	s := noStreams(t)
	s.models = noModels{}
	document := func(names string, password string) string {
		text := "streams:\n"
		for _, n := range strings.Fields(names) {
			text += "  " + n + ":\n    model: m\n    paused: true\n    format: {raw: {}}\n    dead_letter: {nats: {subject: dead, embedded: {user: u, password: " + password + "}}}\n" +
				"    source: {nats: {stream: in, embedded: {user: u, password: " + password + "}}}\n    target: {nats: {subject: out}}\n"
			password += "2"
		}
		return text
	}
	make := func(text string, dry bool) error {
		_, err := s.Make(context.Background(), text, true, dry)
		return err
	}
	if err := make(document("one", "first"), true); err != nil {
		t.Fatal(err)
	}
	if err := make(document("one two", "first"), false); serval.AsError(err).Code != serval.InvalidArgument || !strings.Contains(err.Error(), "password") {
		t.Errorf("two that differ: %v", err)
	}
	if list := s.List(); len(list) != 0 {
		t.Fatalf("%d streams were made", len(list))
	}
	if err := make(document("one", "other"), false); err != nil {
		t.Errorf("after a dry run with another password: %v", err)
	}
	if err := make(document("two", "third"), true); serval.AsError(err).Code != serval.InvalidArgument {
		t.Errorf("another password beside one that was made: %v", err)
	}
}

type noModels struct{}

func (noModels) Model(serval.Ref) (serval.ModelInfo, error) {
	return serval.ModelInfo{}, serval.Errorf(serval.NotFound, "there is none")
}

// TestMarksTorn: a line that a full disk has cut off spoils none behind it.
func TestMarksTorn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "marks")
	m, err := openMarks(path)
	if err != nil {
		t.Fatal(err)
	}
	at := func(n int64) stream.Position { return stream.Position{Topic: "t", Offset: n} }
	m.add(at(1))
	if err := m.flush(); err != nil {
		t.Fatal(err)
	}
	// As after ENOSPC: half a line is there, and the rest is refused.
	if _, err := m.file.WriteString(`{"topic":"t","fr`); err != nil {
		t.Fatal(err)
	}
	full, err := os.Open(path) // not for writing
	if err != nil {
		t.Fatal(err)
	}
	writable := m.file
	m.file = full
	m.add(at(5))
	if err := m.flush(); err == nil {
		t.Fatal("a mark was written into a full disk")
	}
	if m.file != nil {
		m.file = writable // there is room again
	}
	m.add(at(9))
	if err := m.close(false); err != nil {
		t.Fatal(err)
	}
	again, err := openMarks(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int64{1, 5, 9} {
		if !again.has(at(n)) {
			t.Errorf("%d is forgotten", n)
		}
	}
}
