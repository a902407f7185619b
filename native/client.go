package native

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"serval"
)

// client is a package client that answered.
type client struct {
	kind    Client
	command []string // what to run, before the arguments
	path    string   // of command[0]
	version string
}

// clientCommands are the ways to call a client, the first that answers wins.
func clientCommands(kind Client) [][]string {
	if kind == NPM {
		return [][]string{{"npm"}}
	}
	return [][]string{{"pip"}, {"pip3"}, {"python3", "-m", "pip"}}
}

const (
	versionPatience = 30 * time.Second // for a client to say its version; a cold Python on a slow disk takes seconds
	killPatience    = 5 * time.Second  // for a killed client's pipes to close
)

// findClient looks for a client of the kind and asks its version, which also tells a Python without pip from one with.
func findClient(ctx context.Context, kind Client) (client, error) {
	for _, command := range clientCommands(kind) {
		path, err := exec.LookPath(command[0])
		if err != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, versionPatience)
		cmd := exec.CommandContext(ctx, path, append(command[1:len(command):len(command)], "--version")...)
		ownGroup(cmd)
		cmd.WaitDelay = killPatience
		out, err := cmd.Output()
		cancel()
		if err != nil {
			continue
		}
		version := strings.TrimPrefix(strings.TrimSpace(string(out)), "pip ") // "pip 23.2.1 from …", "11.19.1"
		version, _, _ = strings.Cut(version, " ")
		return client{kind: kind, command: command, path: path, version: version}, nil
	}
	var tried []string
	for _, command := range clientCommands(kind) {
		tried = append(tried, strings.Join(command, " "))
	}
	if err := ctx.Err(); err != nil {
		return client{}, err
	}
	return client{}, serval.Errorf(serval.Unavailable, "no package client %s was found (tried %s); %s", kind, strings.Join(tried, ", "), installHint(kind))
}

func installHint(kind Client) string {
	if kind == NPM {
		return "install npm, for example with: apt-get install npm"
	}
	return "install pip, for example with: apt-get install python3-pip"
}

// save has the client save p's archive into temp/out, with temp as its folder for temporary files; fresh passes by the
// client's own cache. No code of the package is run: pip is held to wheels, npm to ignore scripts.
func (c client) save(ctx context.Context, p Package, temp string, fresh bool) error {
	return c.call(ctx, p.arguments(filepath.Join(temp, "out")), temp, fresh)
}

// call runs the client with the arguments in the folder temp/out, which it makes.
func (c client) call(ctx context.Context, words []string, temp string, fresh bool) error {
	out, scratch := filepath.Join(temp, "out"), filepath.Join(temp, "scratch")
	for _, d := range []string{out, scratch} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	args := append(c.command[1:len(c.command):len(c.command)], words...)
	if c.kind == Pip {
		args = append(args, "--no-input", "--disable-pip-version-check", "--progress-bar", "off")
		if fresh {
			args = append(args, "--no-cache-dir")
		}
	} else if fresh {
		args = append(args, "--cache", filepath.Join(scratch, "npm"))
	}
	cmd := exec.CommandContext(ctx, c.path, args...)
	cmd.Dir = out
	// An old pip ignores PIP_RESUME_RETRIES; a newer one goes on where a broken connection stopped.
	cmd.Env = append(cmd.Environ(), "TMPDIR="+scratch, "PIP_RESUME_RETRIES=5", "NO_COLOR=1")
	ownGroup(cmd)
	cmd.WaitDelay = killPatience
	said := &tail{limit: 4 << 10}
	cmd.Stdout, cmd.Stderr = said, said
	err := cmd.Run()
	if err != nil {
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			return fmt.Errorf("%s ended with %s: %s", strings.Join(c.command, " "), exit.ProcessState, said)
		}
		return err
	}
	return nil
}

// tail keeps the last bytes written to it. One writer at a time.
type tail struct {
	limit int
	data  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	if over := len(t.data) - t.limit; over > 0 {
		t.data = append(t.data[:0], t.data[over:]...)
	}
	return len(p), nil
}

// String is the last few lines in one, those that name an error if there are any.
func (t *tail) String() string {
	var lines, errs []string
	for line := range strings.SplitSeq(string(t.data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		lines = append(lines, line)
		if strings.Contains(strings.ToLower(line), "error") {
			errs = append(errs, line)
		}
	}
	if len(errs) > 0 {
		lines = errs
	}
	if len(lines) == 0 {
		return "it said nothing"
	}
	return strings.Join(lines[max(0, len(lines)-3):], "; ")
}
