package main

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

func TestLoadingProgress(t *testing.T) {
	done, of := 0, 1
	var said, bar bytes.Buffer
	l := &loading{progress: func() (int, int) { return done, of }, log: slog.New(slog.NewTextHandler(&said, nil)), drawn: -1}
	l.show() // one model: its own lines say all
	done, of = 250, 1000
	l.show()
	l.clear()
	if got := said.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `msg="loading models" done=250 of=1000`) {
		t.Errorf("log: %q", got)
	}
	l.bar = &bar
	l.show()
	l.show() // nothing changed
	l.clear()
	want := "\r\x1b[Kloading models [" + strings.Repeat("█", 7) + strings.Repeat("░", 21) + "] 250 of 1000\r\r\x1b[K"
	if bar.String() != want {
		t.Errorf("bar: %q, want %q", bar.String(), want)
	}
	done = 1000
	l.show()
	if bar.String() != want {
		t.Errorf("a bar when all is loaded: %q", bar.String())
	}
}

func TestFew(t *testing.T) {
	one := errors.New("model 'a': broken")
	if got := few(errors.Join(one, one)); got != one.Error()+"\n"+one.Error() {
		t.Errorf("two: %q", got)
	}
	if got := strings.Split(few(errors.Join(slices.Repeat([]error{one}, 1000)...)), "\n"); len(got) != 11 || got[0] != one.Error() || got[10] != "and 990 more" {
		t.Errorf("1,000: %q", got)
	}
}
