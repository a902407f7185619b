//go:build !unix

package child

import (
	"errors"
	"net"
	"os"
	"os/exec"
)

func pair() (net.Conn, *os.File, error) {
	return nil, nil, errors.New("models run in processes of their own on Unix only; say isolation: none")
}

func apart(*exec.Cmd) {}

func killAll(cmd *exec.Cmd) { _ = cmd.Process.Kill() } // it may have ended

func describe(state *os.ProcessState) string { return state.String() }
