package bed

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Memory is what the process and its children have in memory now, in bytes: what several share counts once (the kernel's Pss). 0 where
// the system does not say.
func (p *Process) Memory() int64 {
	var total int64
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is right
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// pid (name) state parent group …, where the name may have anything in it.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) < 3 || fields[2] != strconv.Itoa(p.Pid()) {
			continue
		}
		total += proportional(filepath.Join(filepath.Dir(path), "smaps_rollup"))
	}
	return total
}

func proportional(path string) int64 {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }() // it was only read
	var kilobytes int64
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if n, _ := fmt.Sscanf(lines.Text(), "Pss: %d kB", &kilobytes); n == 1 {
			break
		}
	}
	return kilobytes << 10
}
