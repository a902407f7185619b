//go:build !unix

package native

import (
	"context"
	"errors"
	"os/exec"
)

// lock needs flock, which this system lacks: give the library by path or unpack it by hand.
func lock(context.Context, string, func()) (func(), error) {
	return nil, errors.New("fetching needs file locks, which Serval has on Unix only; give the library by its path")
}

func ownGroup(*exec.Cmd) {}
