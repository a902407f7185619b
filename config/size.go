package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes, written with its unit: 64MiB, 10kB, 512B.
type Size int64

var units = [...]struct {
	name  string
	bytes int64
}{ // the binary ones first and the largest first: String takes the first that divides
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3}, {"B", 1},
}

// ParseSize reads a number and its unit; only 0 needs none.
func ParseSize(s string) (Size, error) {
	if s == "0" {
		return 0, nil
	}
	for _, u := range units {
		number, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		switch {
		case err != nil || math.IsNaN(f) || strings.ContainsAny(number, "xX_pP"):
			return 0, fmt.Errorf("must be a size such as 64MiB, not %s", quote(s))
		case f < 0:
			return 0, fmt.Errorf("must not be negative, is %s", quote(s))
		case f*float64(u.bytes) >= math.MaxInt64:
			return 0, fmt.Errorf("is more bytes than can be counted: %s", quote(s))
		}
		return Size(f * float64(u.bytes)), nil
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return 0, fmt.Errorf("needs a unit: write %sB, or a size such as 64MiB (B, kB, MB, GB, TB, KiB, MiB, GiB, TiB)", s)
	}
	return 0, fmt.Errorf("must be a size such as 64MiB (B, kB, MB, GB, TB, KiB, MiB, GiB, TiB), not %s", quote(s))
}

// String writes the size as ParseSize reads it.
func (s Size) String() string {
	if s == 0 {
		return "0"
	}
	for _, u := range units {
		if int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return "0" // not reached: the last unit is 1
}
