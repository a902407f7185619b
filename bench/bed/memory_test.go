package bed

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// What a process and its child hold counts for both.
func TestMemory(t *testing.T) {
	if _, err := os.Stat("/proc/self/smaps_rollup"); err != nil {
		t.Skip("the system does not say what a process holds")
	}
	const hold = "x=$(head -c 30000000 /dev/zero | tr '\\0' x); echo ready; "
	command := exec.Command("sh", "-c", "("+hold+"sleep 60; :) & "+hold+"wait")
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
		_ = command.Wait()
	}()
	for n := 0; n < len("ready\nready\n"); {
		m, err := out.Read(make([]byte, 64))
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
	p := &Process{command: command}
	if m := p.Memory(); m < 50e6 {
		t.Errorf("two shells with 30 MB each hold %d bytes", m)
	}
}
