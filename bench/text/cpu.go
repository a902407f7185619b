package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Other programs take the processors away from whoever is measured just then, and a thread of llama.cpp that lost its core holds up
// all others. So what others took is counted, and a round in which that was more than -others is measured again.
const (
	calmTime = 500 * time.Millisecond
	calmWait = time.Minute
	tries    = 3
)

// usage is processor time since the start of the machine, in ticks.
type usage struct{ all, busy, own int64 }

// foreign is the share of the processors that others had between two readings, from 0 to 1.
func (u usage) foreign(before usage) float64 {
	all := u.all - before.all
	if all <= 0 {
		return 0
	}
	return max(0, float64((u.busy-before.busy)-(u.own-before.own))/float64(all))
}

// readUsage reads the machine's time, and that of this process and its descendants.
func readUsage() (u usage, err error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return u, err
	}
	line, _, _ := strings.Cut(string(data), "\n")
	for i, field := range strings.Fields(line)[1:] {
		const idle, ioWait, steal = 3, 4, 7
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return u, fmt.Errorf("/proc/stat: %w", err)
		}
		if i > steal { // guests are counted before
			break
		}
		u.all += n
		if i != idle && i != ioWait {
			u.busy += n
		}
	}
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return u, err
	}
	parents, ticks := map[int]int{}, map[int]int64{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // that process has ended
		}
		// pid (name) state ppid …; the name may hold anything, so fields count from its last parenthesis.
		fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
		const parent, user, system = 1, 11, 12
		if len(fields) <= system {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		parents[pid], _ = strconv.Atoi(fields[parent])
		for _, at := range []int{user, system} {
			n, _ := strconv.ParseInt(fields[at], 10, 64) // the kernel writes numbers
			ticks[pid] += n
		}
	}
	self := os.Getpid()
	for pid, n := range ticks {
		for at := pid; at > 1; at = parents[at] {
			if at == self {
				u.own += n
				break
			}
		}
	}
	return u, nil
}

// calm waits until others leave the processors alone, a minute at most.
func calm(ctx context.Context, limit float64) error {
	for begin := time.Now(); ; {
		before, err := readUsage()
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(calmTime):
		}
		after, err := readUsage()
		if err != nil || after.foreign(before) <= limit || time.Since(begin) > calmWait {
			return err
		}
	}
}
