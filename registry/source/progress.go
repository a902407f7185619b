package source

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	barEvery  = 200 * time.Millisecond
	lineEvery = 5 * time.Second
	barWidth  = 28
)

// meter writes what happens: a bar on a terminal, lines elsewhere. It is safe for concurrent use.
type meter struct {
	mu       sync.Mutex
	out      io.Writer // nil: nowhere
	terminal bool
}

func newMeter(out io.Writer) *meter {
	m := &meter{out: out}
	if f, ok := out.(*os.File); ok && f != nil {
		info, err := f.Stat()
		m.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return m
}

// say writes one line, over the bar if there is one.
func (m *meter) say(format string, args ...any) {
	text := plainText(fmt.Sprintf(format, args...)) + "\n"
	if m.terminal {
		text = "\r\x1b[K" + text
	}
	m.write(text)
}

func (m *meter) write(text string) {
	if m.out == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	_, _ = io.WriteString(m.out, text) // progress that cannot be shown is no reason to stop
}

// gauge shows how far one pull is, until end. Its goroutine is waited for by end.
type gauge struct {
	m     *meter
	name  string
	mu    sync.Mutex
	done  int64
	moved int64 // bytes that came over the wire, for the speed
	total int64
	start time.Time
	stop  func()
}

// begin starts a gauge. watch, if not nil, is called from a goroutine of the gauge's, and a last time before end returns.
func (m *meter) begin(name string, total int64, watch func(done, total int64)) *gauge {
	g := &gauge{m: m, name: name, total: total, start: time.Now()}
	end := make(chan struct{})
	var running sync.WaitGroup
	each := func(every time.Duration, f func()) {
		running.Go(func() {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for {
				select {
				case <-end:
					return
				case <-tick.C:
					f()
				}
			}
		})
	}
	switch {
	case m.out == nil:
	case m.terminal:
		each(barEvery, g.show)
	default:
		each(lineEvery, g.show)
	}
	look := func() {
		g.mu.Lock()
		done, total := g.done, g.total
		g.mu.Unlock()
		watch(done, total)
	}
	if watch != nil {
		each(barEvery, look)
	}
	g.stop = sync.OnceFunc(func() {
		close(end)
		running.Wait()
		if watch != nil {
			look()
		}
		if m.terminal {
			m.write("\r\x1b[K")
		}
	})
	return g
}

// add counts bytes that are there now; fewer than none where they were thrown away.
func (g *gauge) add(n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.done += n
	if n > 0 && n <= chunk { // more at once was on the disk already
		g.moved += n
	}
}

// grow counts bytes that were not announced before.
func (g *gauge) grow(n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total += n
}

func (g *gauge) end() { g.stop() }

func (g *gauge) show() {
	g.mu.Lock()
	text := gaugeText(g.done, g.total, g.moved, time.Since(g.start), g.m.terminal)
	g.mu.Unlock()
	if g.m.terminal {
		g.m.write("\r\x1b[K" + g.name + " " + text)
		return
	}
	g.m.say("%s: %s", g.name, text)
}

// gaugeText is "1.2 GB of 4.7 GB, 25 %, 41.0 MB/s, 1m25s left", with a bar before it on a terminal.
func gaugeText(done, total, moved int64, elapsed time.Duration, bar bool) string {
	speed := int64(0)
	if s := elapsed.Seconds(); s > 0 {
		speed = int64(float64(moved) / s)
	}
	if total <= 0 {
		return fmt.Sprintf("%s, %s/s", size(done), size(speed))
	}
	done = min(max(done, 0), total)
	text := fmt.Sprintf("%s of %s, %d %%, %s/s", size(done), size(total), int64(float64(done)/float64(total)*100), size(speed))
	if speed > 0 && done < total {
		left := time.Duration(float64(total-done) / float64(speed) * float64(time.Second))
		text += fmt.Sprintf(", %v left", left.Round(time.Second))
	}
	if !bar {
		return text
	}
	full := int(float64(done) / float64(total) * barWidth)
	return "[" + strings.Repeat("█", full) + strings.Repeat("░", barWidth-full) + "] " + text
}

// size is a number of bytes for a person.
func size(n int64) string {
	switch {
	case n < 100_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1e9:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}
