package test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"serval/internal/testkit"
)

// readmeLimit is how long one command of the README may take.
const readmeLimit = 3 * time.Minute

// TestREADME runs every command of README.md's sh blocks, in order, in a copy of the repository: who pastes them gets no
// error. `make run` starts the server for those after it; `make test` and the like are left out.
func TestREADME(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(testkit.Root(), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	commands := shCommands(string(raw))
	if len(commands) == 0 {
		t.Fatal("README.md has no sh blocks")
	}
	portsAreFree(t)
	dir := workTree(t)
	ran := 0
	for _, c := range commands {
		switch {
		case skipped.MatchString(c):
			continue
		case strings.HasPrefix(c, "make run"):
			started(t, dir, c)
		default:
			ctx, cancel := context.WithTimeout(t.Context(), readmeLimit)
			cmd := exec.CommandContext(ctx, "bash", "-c", c)
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			cancel()
			if err != nil {
				t.Errorf("README.md: %s\n%v\n%s", c, err, out)
			}
		}
		ran++
	}
	if ran == 0 {
		t.Error("no command of README.md was run")
	}
}

// portsAreFree makes sure that the README's own ports can be had. On a developer's machine a server may have them.
func portsAreFree(t *testing.T) {
	t.Helper()
	for _, port := range []string{"8080", "8081", "8082"} {
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = l.Close()
		} else if os.Getenv("CI") == "" {
			t.Skipf("%v: stop what has the port, and the README is tried", err)
		} else {
			t.Fatal(err)
		}
	}
}

// skipped are commands that would run this test again, hurt the machine, take long, or get what is here already.
var skipped = regexp.MustCompile(`^(git clone|cd |sudo |apt-get |make (test|hurt|bench|fuzz))`)

// shCommands are the commands of the fenced sh blocks: a line each, with the lines that continue it, and here-documents
// and quoted texts whole. Lines of comments are left out.
func shCommands(markdown string) []string {
	var out []string
	in, command := false, ""
	for line := range strings.Lines(markdown) {
		line = strings.TrimRight(line, "\n")
		switch trimmed := strings.TrimSpace(line); {
		case !in:
			in = trimmed == "```sh"
			continue
		case strings.HasPrefix(trimmed, "```"):
			in = false
		case command == "" && (trimmed == "" || strings.HasPrefix(trimmed, "#")):
			continue
		case command == "":
			command = trimmed
		default:
			command += "\n" + line
		}
		if command != "" && (!in || whole(command)) {
			out = append(out, command)
			command = ""
		}
	}
	return out
}

// whole asks bash whether a command is complete. An open here-document is only a warning to it.
func whole(command string) bool {
	said, err := exec.Command("bash", "-n", "-c", command).CombinedOutput()
	return err == nil && !strings.HasSuffix(command, "\\") && !bytes.Contains(said, []byte("here-document"))
}

// workTree copies what is in the repository, as git lists it, so that nothing of a developer's own is used or changed.
func workTree(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = testkit.Root()
	list, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		from, to := filepath.Join(testkit.Root(), name), filepath.Join(dir, name)
		info, err := os.Lstat(from)
		if err != nil || !info.Mode().IsRegular() {
			continue // deleted, or a link
		}
		copyFile(t, from, to)
		if err := os.Chmod(to, info.Mode()); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// started runs `make run` in the background and waits for the line that says it is ready. Ctrl-C ends it with the test.
func started(t *testing.T, dir, command string) {
	t.Helper()
	cmd := exec.Command("bash", "-c", "exec "+command)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C goes to make and to what it started
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready, ended := make(chan struct{}), make(chan string, 1)
	go func() {
		var said strings.Builder
		for sc := bufio.NewScanner(out); sc.Scan(); {
			said.WriteString(sc.Text() + "\n")
			if strings.Contains(sc.Text(), "Serval is ready") {
				close(ready)
			}
		}
		ended <- said.String()
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
		said := <-ended
		_ = cmd.Wait() // make itself always ends by the signal
		if !strings.Contains(said, "msg=stopped") || t.Failed() {
			t.Errorf("%s, and Ctrl-C:\n%s", command, said)
		}
	})
	select {
	case <-ready:
	case said := <-ended:
		ended <- said
		t.Fatalf("%s ended:\n%s", command, said)
	case <-time.After(readmeLimit):
		t.Fatalf("%s: not ready within %v", command, readmeLimit)
	}
}

func TestREADMECommands(t *testing.T) {
	got := shCommands("# x\n```sh\nmake run # builds\n\n# a comment\na \\\n  b\n```\n```json\n{}\n```\n```sh\ncat >f <<'E'\nx y\nE\necho 'one\ntwo'\n```\n")
	want := []string{"make run # builds", "a \\\n  b", "cat >f <<'E'\nx y\nE", "echo 'one\ntwo'"}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%q", got)
	}
}

// TestREADMESettings: the settings that README.md and the pages for operators show are settings. Blocks that hold the place of
// something (…), or that are for another program, are not.
func TestREADMESettings(t *testing.T) {
	checked, variable := 0, regexp.MustCompile(`\$\{[A-Z_]+\}`)
	for _, page := range []string{"README.md", "docs/operations.md"} {
		raw, err := os.ReadFile(filepath.Join(testkit.Root(), page))
		if err != nil {
			t.Fatal(err)
		}
		for i, block := range strings.Split(string(raw), "```yaml\n")[1:] {
			block, _, _ = strings.Cut(block, "```")
			if strings.Contains(block, "…") || strings.Contains(block, "apiVersion:") {
				continue
			}
			block = variable.ReplaceAllStringFunc(block, func(name string) string {
				switch {
				case strings.HasSuffix(name, "URL}"):
					return "postgres://u:p@db/x"
				case strings.HasSuffix(name, "SECRET}"):
					return "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
				}
				return "x"
			})
			if strings.HasPrefix(block, "  ") { // one stream
				block = "streams:\n" + block
			}
			file := filepath.Join(t.TempDir(), fmt.Sprintf("%s-%d.yaml", filepath.Base(page), i))
			write(t, file, block)
			run(t, "config", "check", file).want(t, 0, "ok")
			checked++
		}
	}
	if checked == 0 {
		t.Error("no settings were found")
	}
}
