//go:build !linux || !amd64

package testkit

import (
	"errors"
	"time"
)

const jumps = false

func jump(int, time.Duration) error { return errors.ErrUnsupported }

func follow(int, int) error { return errors.ErrUnsupported }
