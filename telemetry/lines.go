package telemetry

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	flushEvery = 100 * time.Millisecond
	bufferSize = 4 << 20  // bytes of lines that may wait; what is never filled is never resident
	writeSize  = 64 << 10 // bytes of lines that are worth a write before the time
	lineRoom   = 4 << 10  // longest line, in bytes
)

// lines is a buffer of log lines in front of a writer that may be slow. Adding a line never waits for the writer: where the
// buffer is full, the line is dropped and counted. Its goroutine writes every 100 ms, and early where the buffer fills.
type lines struct {
	to io.Writer

	mu      sync.Mutex
	buffer  []byte // of capacity bufferSize
	count   uint64 // of lines in buffer
	second  int64  // whose text is stamp
	stamp   [len("2006-01-02T15:04:05")]byte
	spare   []byte // what is being written, or waits to be buffer
	shut    bool
	dropped atomic.Uint64

	wake chan struct{}
	quit chan struct{}
	done chan struct{}
}

func newLines(to io.Writer) *lines {
	l := &lines{to: to, buffer: make([]byte, 0, bufferSize), spare: make([]byte, 0, bufferSize),
		wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	go l.run()
	return l
}

// start locks the buffer and returns it for the caller to append one line of at most lineRoom bytes to and give to finish.
// It reports false, and counts the line as dropped, where there is no room.
func (l *lines) start() ([]byte, bool) {
	l.mu.Lock()
	if l.shut || len(l.buffer) > bufferSize-lineRoom {
		l.mu.Unlock()
		l.dropped.Add(1)
		return nil, false
	}
	return l.buffer, true
}

// finish takes the buffer back.
func (l *lines) finish(b []byte) {
	early := len(l.buffer) <= writeSize && len(b) > writeSize
	l.buffer = b
	l.count++
	l.mu.Unlock()
	if early {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// time appends now as 2006-01-02T15:04:05.000Z. Between start and finish only: it keeps the last second's text.
func (l *lines) time(b []byte, now time.Time) []byte {
	if second := now.Unix(); second != l.second {
		l.second = second
		now.UTC().AppendFormat(l.stamp[:0], "2006-01-02T15:04:05")
	}
	ms := now.Nanosecond() / int(time.Millisecond)
	b = append(b, l.stamp[:]...)
	return append(b, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10), 'Z')
}

// run writes until close.
func (l *lines) run() {
	defer close(l.done)
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-l.wake:
		case <-l.quit:
			l.flush()
			return
		}
		l.flush()
	}
}

func (l *lines) flush() {
	l.mu.Lock()
	full, count := l.buffer, l.count
	l.buffer, l.spare, l.count = l.spare[:0], nil, 0
	l.mu.Unlock()
	if len(full) > 0 {
		if _, err := l.to.Write(full); err != nil {
			l.dropped.Add(count) // there is nowhere to say so but in the metrics
		}
	}
	l.mu.Lock()
	l.spare = full
	l.mu.Unlock()
}

// close writes what is left and ends the goroutine. Lines that come later are dropped.
func (l *lines) close() {
	l.mu.Lock()
	l.shut = true
	l.mu.Unlock()
	close(l.quit)
	<-l.done
}
