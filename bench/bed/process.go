package bed

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"
)

const (
	readyTimeout = 90 * time.Second
	stopTimeout  = 15 * time.Second
)

// Process is a server's process and its children. Whoever starts it stops it; it belongs to one goroutine.
type Process struct {
	Name    string   // for people
	Argv    []string // the program and its arguments
	Health  string   // URL that answers 200 once the server is ready
	LogFile string   // what the server says goes here

	command *exec.Cmd // nil: it does not run
	exited  chan error
}

// Start starts the process and returns how long it took until it was ready, asking every so often. One that was not ready still runs
// until Stop.
func (p *Process) Start(ctx context.Context, every time.Duration) (time.Duration, error) {
	log, err := os.Create(p.LogFile)
	if err != nil {
		return 0, err
	}
	defer func() { _ = log.Close() }() // the process has its own descriptor
	command := exec.Command(p.Argv[0], p.Argv[1:]...)
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	begin := time.Now()
	if err := command.Start(); err != nil {
		return 0, err
	}
	exited := make(chan error, 1)
	go func() { exited <- command.Wait() }() // Stop waits for it
	p.command, p.exited = command, exited
	for !p.Ready(ctx) {
		select {
		case err := <-exited:
			p.command = nil
			return 0, fmt.Errorf("%s ended before it was ready: %w\n%s", p.Name, errors.Join(err), p.tail())
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(every):
		}
		if time.Since(begin) > readyTimeout {
			return 0, fmt.Errorf("%s was not ready after %v\n%s", p.Name, readyTimeout, p.tail())
		}
	}
	return time.Since(begin), nil
}

// Pid is the number of the process; 0 where it does not run.
func (p *Process) Pid() int {
	if p.command == nil {
		return 0
	}
	return p.command.Process.Pid
}

// Stop ends the process and its children, and waits for it. It may be called at any time.
func (p *Process) Stop() {
	if p.command == nil {
		return
	}
	group := -p.command.Process.Pid
	_ = syscall.Kill(group, syscall.SIGTERM) // it may have ended by itself
	select {
	case <-p.exited:
	case <-time.After(stopTimeout):
		_ = syscall.Kill(group, syscall.SIGKILL)
		<-p.exited
	}
	p.command = nil
}

// Ready asks once whether the server is ready.
func (p *Process) Ready(ctx context.Context) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Health, nil)
	if err != nil {
		return false
	}
	request.Close = true
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_ = answer.Body.Close() // only the status matters
	return answer.StatusCode == http.StatusOK
}

// tail is what the server said last.
func (p *Process) tail() string {
	data, err := os.ReadFile(p.LogFile)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-2000):])
}
