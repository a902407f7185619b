package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"serval/engine"
)

const (
	// probeLimit is how long a child may take to load and run an artefact once.
	probeLimit = 5 * time.Minute
	// probeTurns is how many artefacts one child tries at most, so that what leaks in it does not pile up.
	probeTurns = 100
	// probeIdle is how long a child is kept for artefacts that may come.
	probeIdle = 2 * time.Second
	// probeSave is how often what passed is written down while more is tried.
	probeSave = time.Second
)

// prober loads an artefact that was never loaded here in a child process first, since a fault in an engine's C code would
// take the server with it. A child tries one artefact after another, since starting one and opening a library in it takes
// longer than a small model; as many run as models are loaded at the same time. Where a child dies, the artefact that it was
// at is blamed, if it kills a fresh child too. What passed is remembered by the artefact's files (name, size, time of
// change) in the data folder. Safe for concurrent use; close ends the children.
type prober struct {
	exe   string   // this program
	flags []string // so that the child finds the same libraries
	file  string   // where it remembers; "" means only in memory
	log   *slog.Logger
	hello []byte // the first line that a child reads

	mu     sync.Mutex
	passed map[string]string // engine, device and folder → the artefact's files; one that is replaced is forgotten
	saved  time.Time
	dirty  bool // passed has more than the file
	busy   int  // children that try something, or are about to
	free   []*probeChild
	idle   *time.Timer // ends the free children
	closed bool

	resting sync.Mutex // held while free children are ended
}

func newProber(exe, file string, flags []string, engines map[string]any, log *slog.Logger) (*prober, error) {
	hello := probeHello{Engines: map[string]json.RawMessage{}}
	for name, options := range engines {
		raw, err := json.Marshal(options)
		if err != nil {
			return nil, fmt.Errorf("engines.%s: %w", name, err)
		}
		hello.Engines[name] = raw
	}
	line, err := json.Marshal(hello)
	if err != nil {
		return nil, err
	}
	p := &prober{exe: exe, file: file, flags: flags, hello: line, log: log, passed: map[string]string{}}
	p.idle = time.AfterFunc(time.Hour, p.rest)
	p.idle.Stop()
	if raw, err := os.ReadFile(file); err == nil {
		_ = json.Unmarshal(raw, &p.passed) // unreadable: everything is tried again
	}
	return p, nil
}

// try returns nil once the artefact has been loaded and run, now in a child or at an earlier time.
func (p *prober) try(ctx context.Context, eng string, spec engine.Spec) error {
	files, err := filesOf(spec.Dir)
	if err != nil {
		return err
	}
	request, err := json.Marshal(probeRequest{Engine: eng, Name: spec.Name, Version: spec.Version, Dir: spec.Dir, Root: spec.Root, Settings: spec.Settings})
	if err != nil {
		return err
	}
	files += "|" + digest(p.hello, request) // other options, another artefact
	place := fmt.Sprintf("%s %s %s", eng, spec.Device, spec.Dir)
	p.mu.Lock()
	known, ok := p.passed[place]
	if ok && known == files {
		p.mu.Unlock()
		return nil
	}
	p.busy++
	p.idle.Stop()
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	err = p.run(ctx, place, request)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy--
	if err == nil {
		p.passed[place], p.dirty = files, true
	}
	p.remember(spec.Name)
	if p.busy == 0 && !p.closed {
		p.idle.Reset(probeIdle)
	}
	return err
}

// run has a child try the artefact. One that dies of it after it had tried others may have been spoilt by those: the artefact
// is tried once more alone.
func (p *prober) run(ctx context.Context, place string, request []byte) error {
	c, err := p.take()
	if err != nil {
		return err
	}
	err = c.try(ctx, request)
	if !c.broken {
		p.put(c, place)
		return err
	}
	before := c.tried
	c.close()
	if len(before) == 0 || ctx.Err() != nil {
		return err
	}
	if c, err = startProbe(p.exe, p.flags, p.hello); err != nil {
		return err
	}
	if err = c.try(ctx, request); c.broken {
		c.close()
		return err
	}
	p.doubt(before, place)
	p.put(c, place)
	return err
}

// doubt forgets that artefacts passed: a child that had tried them died at another that is sound.
func (p *prober) doubt(places []string, at string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, place := range places {
		delete(p.passed, place)
	}
	p.dirty = true
	p.log.Warn("a probe child died at an artefact that kills none alone, so one that it tried before may have spoilt it: they serve, and are tried again when they are loaded next",
		"at", at, "before", places)
}

// take gives a child that is free, or a new one.
func (p *prober) take() (*probeChild, error) {
	p.mu.Lock()
	if n := len(p.free); n > 0 {
		c := p.free[n-1]
		p.free = p.free[:n-1]
		p.mu.Unlock()
		return c, nil
	}
	p.mu.Unlock()
	return startProbe(p.exe, p.flags, p.hello)
}

// put keeps a child for the next artefact.
func (p *prober) put(c *probeChild, place string) {
	c.tried = append(c.tried, place)
	p.mu.Lock()
	keep := !p.closed && len(c.tried) < probeTurns
	if keep {
		p.free = append(p.free, c)
	}
	p.mu.Unlock()
	if !keep {
		c.close()
	}
}

// rest ends the children that are free, and waits for them.
func (p *prober) rest() {
	p.resting.Lock()
	defer p.resting.Unlock()
	p.mu.Lock()
	free := p.free
	p.free = nil
	p.mu.Unlock()
	for _, c := range free {
		c.close()
	}
}

// close ends the children that are free; the others are ended by their tries, whose contexts have ended.
func (p *prober) close() {
	p.mu.Lock()
	p.closed = true
	p.idle.Stop()
	p.mu.Unlock()
	p.rest()
}

func digest(parts ...[]byte) string {
	h := sha256.New()
	for _, b := range parts {
		_, _ = h.Write(b) // a hash takes all
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// remember writes down what passed: now and then while others are tried, and when the last was. p.mu is held.
func (p *prober) remember(model string) {
	if !p.dirty || p.busy > 0 && time.Since(p.saved) < probeSave {
		return
	}
	p.saved = time.Now()
	if err := p.save(); err != nil { // a full disk, or one that is read-only: no reason not to serve
		p.log.Warn("the data folder cannot be written: at the next start this model is tried in a child again", "model", model, "error", err)
	}
	p.dirty = false
}

// save writes the list to a temporary file and renames it, so that a crash leaves the old one. p.mu is held.
func (p *prober) save() error {
	if p.file == "" {
		return nil
	}
	raw, err := json.MarshalIndent(p.passed, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(p.file), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(p.file), ".probed-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.Write(raw); err != nil {
		_ = tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), p.file)
}

// filesOf tells one state of a folder from another: every file with its size and time of change.
func filesOf(dir string) (string, error) {
	var b strings.Builder
	dir, err := filepath.EvalSymlinks(dir) // of a link, WalkDir sees the link only
	if err != nil {
		return "", err
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "|%s %d %d", strings.TrimPrefix(path, dir), info.Size(), info.ModTime().UnixNano())
		return nil
	})
	return b.String(), err
}
