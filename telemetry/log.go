package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
)

// LogOptions say what is logged, how and where.
type LogOptions struct {
	Level  string    // the least level: debug, info, warn or error; "": info
	Format string    // text or json; "": text
	Access bool      // one line for each request
	File   string    // appended to; "": To
	To     io.Writer // nil: standard error
}

// Log is the server's log: a slog.Logger that writes at once, and the access lines, which are written within 100 ms and
// are dropped, and counted, where the writer cannot keep up. It is safe for concurrent use; Close ends it. A nil Log has no
// access lines and slog's default Logger.
type Log struct {
	logger *slog.Logger
	access bool
	json   bool
	levels levels
	lines  *lines // nil without access lines
	file   *os.File
	name   string                 // of file
	stamps atomic.Pointer[string] // Triton's log_format
}

// OpenLog opens a Log.
func OpenLog(o LogOptions) (*Log, error) {
	l := &Log{access: o.Access, name: o.File, json: o.Format == "json"}
	if o.Format != "" && o.Format != "text" && !l.json {
		return nil, fmt.Errorf("log.format: must be one of text, json, not %q", o.Format)
	}
	least := slog.LevelInfo
	if o.Level != "" {
		if err := least.UnmarshalText([]byte(o.Level)); err != nil {
			return nil, fmt.Errorf("log.level: must be one of debug, info, warn, error, not %q", o.Level)
		}
	}
	l.levels.set(least)
	stamps := "default"
	l.stamps.Store(&stamps)
	to := o.To
	if o.File != "" {
		file, err := os.OpenFile(o.File, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
		if err != nil {
			return nil, fmt.Errorf("log.file: %w", err)
		}
		l.file, to = file, file
	} else if to == nil {
		to = os.Stderr
	}
	to = &writer{to: to}
	// The filter decides, so that levels can be switched one by one.
	options := &slog.HandlerOptions{Level: slog.LevelDebug}
	var handler slog.Handler = slog.NewTextHandler(to, options)
	if l.json {
		handler = slog.NewJSONHandler(to, options)
	}
	l.logger = slog.New(filter{handler, &l.levels})
	if l.access {
		l.lines = newLines(to)
	}
	return l, nil
}

// Logger is for everything that is not a request's line.
func (l *Log) Logger() *slog.Logger {
	if l == nil {
		return slog.Default()
	}
	return l.logger
}

// Dropped is the number of access lines that were dropped.
func (l *Log) Dropped() uint64 {
	if l == nil || l.lines == nil {
		return 0
	}
	return l.lines.dropped.Load()
}

// Close writes the lines that wait and closes the file. It may be called once, after the last request.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	if l.lines != nil {
		l.lines.close()
	}
	if l.file != nil {
		return l.file.Close()
	}
	return nil
}

// writer lets slog and the access lines write to one place.
type writer struct {
	mu sync.Mutex
	to io.Writer
}

// Write implements io.Writer.
func (w *writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(p)
}

// levels says what is logged. Triton's clients switch each by itself.
type levels struct {
	debug, info, warn, err atomic.Bool
}

func (v *levels) set(least slog.Level) {
	v.debug.Store(least <= slog.LevelDebug)
	v.info.Store(least <= slog.LevelInfo)
	v.warn.Store(least <= slog.LevelWarn)
	v.err.Store(least <= slog.LevelError)
}

// filter is a slog.Handler that lets through what its levels say.
type filter struct {
	slog.Handler
	levels *levels
}

// Enabled implements slog.Handler.
func (f filter) Enabled(_ context.Context, level slog.Level) bool {
	switch {
	case level >= slog.LevelError:
		return f.levels.err.Load()
	case level >= slog.LevelWarn:
		return f.levels.warn.Load()
	case level >= slog.LevelInfo:
		return f.levels.info.Load()
	}
	return f.levels.debug.Load()
}

// WithAttrs implements slog.Handler.
func (f filter) WithAttrs(attrs []slog.Attr) slog.Handler {
	return filter{f.Handler.WithAttrs(attrs), f.levels}
}

// WithGroup implements slog.Handler.
func (f filter) WithGroup(name string) slog.Handler {
	return filter{f.Handler.WithGroup(name), f.levels}
}
