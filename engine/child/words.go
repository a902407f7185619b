package child

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	lineRoom  = 2 << 10 // longest line that is kept and logged
	lastLines = 6       // what was said before the end
	crashRoom = 6       // lines of a crash, with that which says what it is
	lineRate  = 200     // lines a second that go to the log
)

// words takes what a process writes to its standard error and output: each line goes to the log, and the last ones are kept.
// Of a crash of the Go runtime, which writes its reason first and thousands of lines after that, those from the reason on are
// kept. It implements io.Writer; safe for concurrent use.
type words struct {
	log *slog.Logger

	mu      sync.Mutex
	line    []byte // begun
	cut     bool   // and longer than lineRoom
	last    []string
	crash   int // lines kept since a crash began; 0: none
	second  int64
	count   int // lines logged in it
	dropped int
}

// marks begin the line with which a process says of what it dies.
var marks = [...]string{"panic:", "fatal error:", "SIG", "runtime:", "unexpected fault address", "terminate called"}

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		line, rest, whole := bytes.Cut(p, []byte{'\n'})
		if room := lineRoom - len(w.line); len(line) > room {
			w.cut, line = true, line[:room]
		}
		w.line = append(w.line, line...)
		p = rest
		if whole {
			w.end()
		}
	}
	return n, nil
}

// end takes the line that is complete. w.mu is held.
func (w *words) end() {
	text := strings.ToValidUTF8(strings.TrimRight(string(w.line), " \t\r"), "\uFFFD")
	if w.cut {
		text += " …"
	}
	w.line, w.cut = w.line[:0], false
	if strings.TrimSpace(text) == "" {
		return
	}
	switch {
	case w.crash >= crashRoom:
		w.crash++
	case w.crash > 0 || begins(text):
		if w.crash == 0 && len(w.last) > 2 {
			w.last = w.last[len(w.last)-2:]
		}
		w.crash++
		w.last = append(w.last, text)
	default:
		if len(w.last) == lastLines {
			w.last = append(w.last[:0], w.last[1:]...)
		}
		w.last = append(w.last, text)
	}
	if w.crash > 10*crashRoom { // a dump of every goroutine is for nobody
		return
	}
	if now := time.Now().Unix(); now != w.second {
		if w.dropped > 0 {
			w.log.Warn("the model's process said more than is logged", "lines", w.dropped)
		}
		w.second, w.count, w.dropped = now, 0, 0
	}
	if w.count++; w.count > lineRate {
		w.dropped++
		return
	}
	level := slog.LevelInfo
	if w.crash > 0 {
		level = slog.LevelWarn
	}
	w.log.Log(context.Background(), level, "the model's process says", "line", text)
}

func begins(line string) bool {
	for _, m := range marks {
		if strings.HasPrefix(line, m) {
			return true
		}
	}
	return false
}

// String is the last words in one line.
func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.line) > 0 {
		w.end()
	}
	if len(w.last) == 0 {
		return "none"
	}
	s := strings.Join(w.last, " | ")
	if len(s) > lineRoom {
		s = strings.ToValidUTF8(s[:lineRoom], "") + " …"
	}
	return s
}
