package server

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"serval/stream"
)

// marks remember which messages of a place a replay is done with: a file of lines that are added to, each a stretch of offsets of
// a partition or a message's id, and the same in memory, where stretches that meet are one. A line that a crash cut off is
// left out: what it stood for is replayed again. Safe for concurrent use.
type marks struct {
	path string

	mu    sync.Mutex // guards what follows
	file  *os.File   // nil: nothing was added yet
	known map[markLane][]span
	ids   map[string]bool
	fresh []markLine // not yet in the file
	lines int        // in the file
}

type markLane struct {
	topic     string
	partition int32
}

// span is a stretch of offsets; the end is not in it.
type span struct{ from, to int64 }

type markLine struct {
	Topic     string `json:"topic,omitempty"`
	Partition int32  `json:"partition,omitempty"`
	From      int64  `json:"from,omitempty"`
	To        int64  `json:"to,omitempty"`
	ID        string `json:"id,omitempty"`
}

func openMarks(path string) (*marks, error) {
	m := &marks{path: path, known: map[markLane][]span{}, ids: map[string]bool{}}
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("what was replayed before: %w", err)
	}
	for line := range bytes.Lines(raw) {
		var l markLine
		if json.Unmarshal(line, &l) != nil {
			continue
		}
		m.lines++
		m.note(&l)
	}
	if n := m.count(); m.lines > 100 && m.lines > 2*n {
		if err := m.rewrite(); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// count is how many lines it takes.
func (m *marks) count() int {
	n := len(m.ids)
	for _, list := range m.known {
		n += len(list)
	}
	return n
}

func (m *marks) rewrite() error {
	var b bytes.Buffer
	w := json.NewEncoder(&b)
	for lane, list := range m.known {
		for _, s := range list {
			_ = w.Encode(markLine{Topic: lane.topic, Partition: lane.partition, From: s.from, To: s.to}) // a Buffer takes all
		}
	}
	for id := range m.ids {
		_ = w.Encode(markLine{ID: id})
	}
	m.lines = m.count()
	dir, name := filepath.Split(m.path)
	return kept{dir}.write(name, b.Bytes())
}

// has says whether a message was replayed.
func (m *marks) has(p stream.Position) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.ID != "" {
		return m.ids[p.Topic+"\n"+p.ID]
	}
	list := m.known[markLane{p.Topic, p.Partition}]
	_, found := slices.BinarySearchFunc(list, p.Offset, func(s span, o int64) int {
		switch {
		case s.to <= o:
			return -1
		case s.from > o:
			return 1
		}
		return 0
	})
	return found
}

// add notes a message; flush makes it last.
func (m *marks) add(p stream.Position) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := markLine{Topic: p.Topic, Partition: p.Partition, From: p.Offset, To: p.Offset + 1}
	if p.ID != "" {
		l = markLine{ID: p.Topic + "\n" + p.ID}
	}
	m.note(&l)
	if n := len(m.fresh); n > 0 && l.ID == "" {
		if last := &m.fresh[n-1]; last.ID == "" && last.Topic == l.Topic && last.Partition == l.Partition && last.To == l.From {
			last.To = l.To
			return
		}
	}
	m.fresh = append(m.fresh, l)
}

// note takes a line into memory.
func (m *marks) note(l *markLine) {
	if l.ID != "" {
		m.ids[l.ID] = true
		return
	}
	if l.From >= l.To {
		return
	}
	lane := markLane{l.Topic, l.Partition}
	list := m.known[lane]
	from, to := l.From, l.To
	i, _ := slices.BinarySearchFunc(list, from, func(s span, o int64) int { // the first that ends at from or behind it
		if s.to < o {
			return -1
		}
		return 1
	})
	j := i
	for j < len(list) && list[j].from <= to {
		from, to = min(from, list[j].from), max(to, list[j].to)
		j++
	}
	m.known[lane] = slices.Replace(list, i, j, span{from, to})
}

// flush makes what was added last.
func (m *marks) flush() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.fresh) == 0 {
		return nil
	}
	fail := func(err error) error { return fmt.Errorf("what was replayed cannot be kept: %w", err) }
	if m.file == nil {
		if err := os.MkdirAll(filepath.Dir(m.path), 0o700); err != nil {
			return fail(err)
		}
		f, err := os.OpenFile(m.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return fail(err)
		}
		m.file = f
		if at, err := f.Seek(0, 2); err == nil && at > 0 {
			m.fresh = append([]markLine{{}}, m.fresh...) // an empty line, behind one that was cut off
		}
	}
	whole := false
	defer func() {
		if !whole { // a line may be cut off, as by a full disk: the next attempt begins behind it
			_ = m.file.Close()
			m.file = nil
		}
	}()
	w := bufio.NewWriter(m.file)
	e := json.NewEncoder(w)
	for i := range m.fresh {
		if m.fresh[i] == (markLine{}) {
			_ = w.WriteByte('\n') // Flush says it
			continue
		}
		if err := e.Encode(&m.fresh[i]); err != nil {
			return fail(err)
		}
	}
	if err := errors.Join(w.Flush(), m.file.Sync()); err != nil {
		return fail(err)
	}
	whole = true
	m.fresh = m.fresh[:0]
	return nil
}

// close ends it; done removes the file, as nothing is to be remembered.
func (m *marks) close(done bool) error {
	err := m.flush()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.file != nil {
		err = errors.Join(err, m.file.Close())
	}
	if done {
		if gone := os.Remove(m.path); !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}
	return err
}
