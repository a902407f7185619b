package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
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

// probeAnswer begins the line on a child's stdout that says how an artefact went; libraries may write there too.
const probeAnswer = "serval-probe:"

// probeHello is the first line that a child reads on its stdin; each other is a probeRequest.
type probeHello struct {
	// Engines are the engines' options as the server has them: the child reads no configuration of its own.
	Engines map[string]json.RawMessage `json:"engines"`
}

// probeRequest is an artefact to try.
type probeRequest struct {
	Engine   string               `json:"engine"`
	Name     string               `json:"name"`
	Version  string               `json:"version"`
	Dir      string               `json:"dir"`
	Root     string               `json:"root"`
	Settings serval.ModelSettings `json:"settings"`
}

// probeVerdict is how it went; without an error, it passed.
type probeVerdict struct {
	Error string `json:"error,omitempty"`
}

// probeChild is a process that tries artefacts. It ends when its stdin does. One goroutine at a time uses it.
type probeChild struct {
	tried  []string // what it was at before
	broken bool     // it is dead, or must be

	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	pipe  *io.PipeReader // under out
	words words
	done  chan struct{} // closed when it ended; then err is why
	err   error
}

// startProbe starts a child.
func startProbe(exe string, flags []string, hello []byte) (*probeChild, error) {
	c := &probeChild{cmd: exec.Command(exe, append([]string{ProbeCommand}, flags...)...), done: make(chan struct{})}
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("a probe child cannot be started: %w", err)
	}
	pipe, write := io.Pipe()
	c.pipe, c.out = pipe, bufio.NewReaderSize(pipe, 64<<10)
	c.cmd.Stdout, c.cmd.Stderr = write, &c.words
	c.cmd.WaitDelay = 5 * time.Second // a grandchild that keeps its stderr open does not keep us
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("a probe child cannot be started: %w", err)
	}
	go func() { // close waits for it
		c.err = c.cmd.Wait()
		_ = write.Close() // which never fails
		close(c.done)
	}()
	_ = c.send(hello) // if it is dead already, the first try says so
	return c, nil
}

func (c *probeChild) send(line []byte) error {
	_, err := c.in.Write(append(bytes.Clone(line), '\n'))
	return err
}

// try has the child load and run an artefact. When ctx ends, so does the child.
func (c *probeChild) try(ctx context.Context, request []byte) error {
	c.words.reset()
	stop := context.AfterFunc(ctx, c.kill)
	verdict, ok := c.ask(request)
	if !stop() || !ok {
		c.broken = true
	}
	if !ok {
		<-c.done
		return probeFailure(ctx, c.err, c.words.String())
	}
	if verdict.Error != "" {
		return errors.New(verdict.Error)
	}
	return nil
}

// ask sends a request and waits for the answer; it reports false if none came.
func (c *probeChild) ask(request []byte) (v probeVerdict, ok bool) {
	if err := c.send(request); err != nil {
		return v, false
	}
	for whole := true; ; {
		line, err := c.out.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return v, false
		}
		// What is longer than an answer can be, or has no end, is a library's.
		begins := whole
		whole = err == nil
		if text, is := bytes.CutPrefix(line, []byte(probeAnswer)); is && begins && whole && json.Unmarshal(text, &v) == nil {
			return v, true
		}
	}
}

func (c *probeChild) kill() { _ = c.cmd.Process.Kill() } // it may have ended

// close ends the child and waits for it.
func (c *probeChild) close() {
	_ = c.in.Close() // it may have ended
	_ = c.pipe.Close()
	if c.broken {
		c.kill()
	}
	select {
	case <-c.done:
	case <-time.After(5 * time.Second): // the end of a library's threads can take as long as it likes
		c.kill()
		<-c.done
	}
}

// words is what a child writes to its stderr while it is at one artefact; the start counts. Safe for concurrent use.
type words struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if room := 64<<10 - w.buf.Len(); room > 0 {
		w.buf.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}

func (w *words) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf.Reset()
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

// probeFailure says how a child died.
func probeFailure(ctx context.Context, err error, words string) error {
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

// RunProbe is the child: it reads what to try, loads and runs each, with the engines' options as its server has them, and
// answers a line, until in ends.
func RunProbe(ctx context.Context, in io.Reader, out io.Writer, libs engine.Libraries) error {
	orders := json.NewDecoder(in)
	var hello probeHello
	if err := orders.Decode(&hello); err != nil {
		return err
	}
	options := engines.Options()
	for name, raw := range hello.Engines {
		if into, ok := options[name]; ok {
			if err := json.Unmarshal(raw, into); err != nil {
				return err
			}
		}
	}
	list := engines.New(libs, options)
	for {
		var req probeRequest
		if err := orders.Decode(&req); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var v probeVerdict
		if err := probeOnce(ctx, list, &req); err != nil {
			v.Error = cutShort(err.Error())
		}
		raw, err := json.Marshal(v)
		if err != nil {
			return err
		}
		// On a line of its own, whatever a library left on the last.
		if _, err := fmt.Fprintf(out, "\n%s%s\n", probeAnswer, raw); err != nil {
			return err
		}
	}
}

// cutShort bounds what a verdict says, to what fits a line even where each byte takes six in JSON.
func cutShort(s string) string {
	const most = 8 << 10
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + " …"
	}
	return s
}

// probeOnce loads and runs one artefact.
func probeOnce(ctx context.Context, list []engine.Engine, req *probeRequest) error {
	for _, e := range list {
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
