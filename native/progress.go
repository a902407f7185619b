package native

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	barEvery  = 100 * time.Millisecond
	lineEvery = 5 * time.Second
	barWidth  = 28
)

// say writes one line to the progress writer, over the bar if there is one.
func (s *Store) say(format string, args ...any) {
	if s.progress == nil {
		return
	}
	clear := ""
	if s.terminal {
		clear = "\r\x1b[K"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.progress, clear+format+"\n", args...) // progress that cannot be shown is no reason to stop
}

// watch reports the download of p into temp by what it sees growing there, until stop is called; stop waits for its goroutine.
// A client that downloads elsewhere (npm) shows the time only.
func (s *Store) watch(p Package, c client, temp string) (stop func()) {
	if s.progress == nil {
		return func() {}
	}
	size := ""
	if p.Size > 0 {
		size = " (" + megabytes(p.Size) + ")"
	}
	s.say("%s%s: fetching with %s", p, size, strings.Join(c.command, " "))
	every := lineEvery
	if s.terminal {
		every = barEvery
	}
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		start, tick := time.Now(), time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case now := <-tick.C:
				s.show(p, largest(temp), now.Sub(start))
			}
		}
	})
	return sync.OnceFunc(func() {
		close(done)
		running.Wait()
		if s.terminal {
			s.mu.Lock()
			defer s.mu.Unlock()
			fmt.Fprint(s.progress, "\r\x1b[K")
		}
	})
}

// show draws the bar, or writes a line where there is no terminal.
func (s *Store) show(p Package, got int64, elapsed time.Duration) {
	text := progressText(p, got, elapsed, s.terminal)
	if !s.terminal {
		s.say("%s", text)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprint(s.progress, "\r\x1b[K"+text)
}

func progressText(p Package, got int64, elapsed time.Duration, bar bool) string {
	seconds := elapsed.Round(time.Second)
	switch {
	case got <= 0:
		return fmt.Sprintf("%s: %s", p, seconds)
	case p.Size <= 0:
		return fmt.Sprintf("%s: %s, %s", p, megabytes(got), seconds)
	}
	got = min(got, p.Size)
	text := fmt.Sprintf("%s of %s, %d %%, %s", megabytes(got), megabytes(p.Size), got*100/p.Size, seconds)
	if !bar {
		return fmt.Sprintf("%s: %s", p, text)
	}
	full := int(got * barWidth / p.Size)
	return fmt.Sprintf("%s [%s%s] %s", p, strings.Repeat("█", full), strings.Repeat("░", barWidth-full), text)
}

// largest is the size of the largest file under dir: a client may write a download twice (file and cache), never in pieces.
func largest(dir string) int64 {
	var most int64
	// Files come and go under the walk; what cannot be seen is not counted.
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			most = max(most, info.Size())
		}
		return nil
	})
	return most
}

func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

func megabytes(n int64) string {
	if n < 100_000 {
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
