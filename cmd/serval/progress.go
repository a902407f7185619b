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
