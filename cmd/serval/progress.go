package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	barEvery = 200 * time.Millisecond
	logEvery = 5 * time.Second
	barWidth = 28
)

// loading shows how far a long start is, until stop is called: a bar on a terminal, lines in the log elsewhere.
type loading struct {
	progress func() (done, of int)
	log      *slog.Logger
	bar      io.Writer // nil: no terminal
	drawn    int       // what the bar shows; -1: there is none
}

// watchLoading starts it. stop waits until nothing is written any more.
func watchLoading(progress func() (done, of int), log *slog.Logger) (stop func()) {
	l := &loading{progress: progress, log: log, drawn: -1}
	every := logEvery
	if info, err := os.Stderr.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		l.bar, every = os.Stderr, barEvery
	}
	end := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-end:
				l.clear()
				return
			case <-tick.C:
				l.show()
			}
		}
	})
	return sync.OnceFunc(func() {
		close(end)
		running.Wait()
	})
}

// byteBar shows on a terminal how much of a file is done, and nothing elsewhere. gone takes it away.
func byteBar(what string) (show func(done, total int64), gone func()) {
	if info, err := os.Stderr.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return func(int64, int64) {}, func() {}
	}
	var last time.Time
	show = func(done, total int64) {
		if now := time.Now(); total > 0 && now.Sub(last) >= barEvery {
			last = now
			full := int(done * barWidth / total)
			fmt.Fprintf(os.Stderr, "\r\x1b[K%s [%s%s] %d of %d MB", what, strings.Repeat("█", full), strings.Repeat("░", barWidth-full), done/1e6, total/1e6)
		}
	}
	return show, func() {
		if !last.IsZero() {
			fmt.Fprint(os.Stderr, "\r\x1b[K")
		}
	}
}

func (l *loading) show() {
	done, of := l.progress()
	switch {
	case of < 2 || done == of:
	case l.bar == nil:
		l.log.Info("loading models", "done", done, "of", of)
	case done != l.drawn: // else a download may show its own
		l.drawn = done
		full := done * barWidth / of
		// The cursor stands at its start, so that the log's next line is written over it.
		fmt.Fprintf(l.bar, "\r\x1b[Kloading models [%s%s] %d of %d\r", strings.Repeat("█", full), strings.Repeat("░", barWidth-full), done, of)
	}
}

func (l *loading) clear() {
	if l.drawn >= 0 {
		fmt.Fprint(l.bar, "\r\x1b[K")
	}
}

// few is what a joined error says, as far as a line of the log has room: each part was logged when it came.
func few(err error) string {
	const most = 10
	parts := strings.Split(err.Error(), "\n")
	if n := len(parts); n > most {
		parts = append(parts[:most], fmt.Sprintf("and %d more", n-most))
	}
	return strings.Join(parts, "\n")
}
