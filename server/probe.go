package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"serval"
	"serval/engine"
	engines "serval/engine/all"
	"serval/schedule"
)

// ProbeCommand is the hidden sub-command that a probe child runs.
const ProbeCommand = "engine-probe"

// ProbePassed is what a child writes to its stdout last when all went well.
const ProbePassed = "passed\n"

// probeLimit is how long a child may take to load and run an artefact once.
const probeLimit = 5 * time.Minute

// prober loads an artefact that was never loaded here in a child process first, since a fault in an engine's C code would
// take the server with it. What passed is remembered by the artefact's files (name, size, time of change) in the data
// folder. Safe for concurrent use.
type prober struct {
	exe   string   // this program
	flags []string // so that the child finds the same libraries
	file  string   // where it remembers; "" means only in memory
	log   *slog.Logger
	// engines are the options of the engines, by name.
	engines map[string]any

	mu     sync.Mutex
	passed map[string]string // engine, device and folder → the artefact's files; one that is replaced is forgotten
}

// probeRequest is what a child reads on its stdin.
type probeRequest struct {
	Engine   string               `json:"engine"`
	Name     string               `json:"name"`
	Version  string               `json:"version"`
	Dir      string               `json:"dir"`
	Root     string               `json:"root"`
	Settings serval.ModelSettings `json:"settings"`
	// Engines are the engines' options as the server has them: the child reads no configuration of its own.
	Engines map[string]json.RawMessage `json:"engines"`
}

func newProber(exe, file string, flags []string, engines map[string]any, log *slog.Logger) *prober {
	p := &prober{exe: exe, file: file, flags: flags, engines: engines, log: log, passed: map[string]string{}}
	if raw, err := os.ReadFile(file); err == nil {
		_ = json.Unmarshal(raw, &p.passed) // unreadable: everything is tried again
	}
	return p
}

// try returns nil once the artefact has been loaded and run, now in a child or at an earlier time.
func (p *prober) try(ctx context.Context, eng string, spec engine.Spec) error {
	files, err := filesOf(spec.Dir)
	if err != nil {
		return err
	}
	request, err := p.request(eng, spec)
	if err != nil {
		return err
	}
	files += "|" + digest(request) // other options, another artefact
	place := fmt.Sprintf("%s %s %s", eng, spec.Device, spec.Dir)
	p.mu.Lock()
	known, ok := p.passed[place]
	p.mu.Unlock()
	if ok && known == files {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.exe, append([]string{ProbeCommand}, p.flags...)...)
	cmd.Stdin = bytes.NewReader(request)
	cmd.WaitDelay = 5 * time.Second // a grandchild that keeps its stderr open does not keep us
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	if err := cmd.Run(); err != nil || !strings.HasSuffix(out.String(), ProbePassed) { // exit(0) in C code is no success either
		return probeFailure(ctx, err, out.Bytes(), words.String())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.passed[place] = files
	if err := p.save(); err != nil { // a full disk, or one that is read-only: no reason not to serve
		p.log.Warn("the data folder cannot be written: at the next start this model is tried in a child again", "model", spec.Name, "error", err)
	}
	return nil
}

// request is what the child is told.
func (p *prober) request(eng string, spec engine.Spec) ([]byte, error) {
	r := probeRequest{Engine: eng, Name: spec.Name, Version: spec.Version, Dir: spec.Dir, Root: spec.Root, Settings: spec.Settings, Engines: map[string]json.RawMessage{}}
	for name, options := range p.engines {
		raw, err := json.Marshal(options)
		if err != nil {
			return nil, err
		}
		r.Engines[name] = raw
	}
	return json.Marshal(r)
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// probeFailure tells a model that is wrong, which the child says on stdout, from a child that died.
func probeFailure(ctx context.Context, err error, out []byte, words string) error {
	var said struct {
		Error string `json:"error"`
	}
	out = bytes.TrimSpace(out)
	if json.Unmarshal(out[bytes.LastIndexByte(out, '\n')+1:], &said) == nil && said.Error != "" { // a library may have written before
		return errors.New(said.Error)
	}
	switch ctx.Err() {
	case context.DeadlineExceeded:
		return fmt.Errorf("loading it in a probe child took more than %v", probeLimit)
	case context.Canceled:
		return errors.New("the server stopped while a probe child loaded it")
	}
	how := "it exited with 0 and without a verdict"
	if err != nil {
		how = err.Error()
	}
	return fmt.Errorf("loading it killed the probe child (%s), so it is not loaded here; the child's last words: %s", how, lastWords(words))
}

func lastWords(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	if len(lines) > 6 {
		lines = lines[:6] // a Go crash says what it was in its first lines
	}
	if s = strings.Join(lines, " | "); s == "" {
		return "none"
	}
	return s
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

// RunProbe is the child: it loads and runs what the request names, with the engines' options as its server has them.
func RunProbe(ctx context.Context, in []byte, libs engine.Libraries) error {
	options := engines.Options()
	var req probeRequest
	if err := json.Unmarshal(in, &req); err != nil {
		return err
	}
	for name, raw := range req.Engines {
		if into, ok := options[name]; ok {
			if err := json.Unmarshal(raw, into); err != nil {
				return err
			}
		}
	}
	for _, e := range engines.New(libs, options) {
		if e.Name() != req.Engine {
			continue
		}
		device, err := engine.ParseDevice(req.Settings.Device)
		if err != nil {
			return err
		}
		req.Settings.Instances, req.Settings.Threads = 1, 1
		opened, err := schedule.Open(ctx, e, engine.Spec{Name: req.Name, Version: req.Version, Dir: req.Dir, Root: req.Root, Settings: req.Settings, Device: device}, 1)
		if err != nil {
			return err
		}
		return opened.Loaded.Close()
	}
	return fmt.Errorf("engine %q is not built in", req.Engine)
}
