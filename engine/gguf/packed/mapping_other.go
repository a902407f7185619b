//go:build !linux

package packed

import (
	"errors"
	"io/fs"
	"os"
	"time"
)

const supported = false

func ownTimes(fs.FileInfo) (uint64, time.Time, bool) { return 0, time.Time{}, false }

func freeSpace(string) (int64, error) { return 0, errors.ErrUnsupported }

func mapFile(*os.File, int64) (*Mapping, error) { return nil, errors.ErrUnsupported }

// Close does nothing: there are no mappings.
func (m *Mapping) Close() error { return nil }

// Huge is false.
func (m *Mapping) Huge() bool { return false }
