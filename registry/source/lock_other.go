//go:build !unix

package source

import (
	"context"
	"errors"
)

func lock(context.Context, string, func()) (func(), error) {
	return nil, errors.New("pulling models needs file locks, which Serval has on Unix only; put the files into the models folder by hand")
}
