package engine

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// FreeMemory is how many bytes of memory this process may still take: what the system has available, or what its control
// groups leave it, whichever is less; 0: not known. root is "/" but in tests.
func FreeMemory(root string) int64 {
	free := int64(0)
	least := func(n int64) {
		if n > 0 && (free == 0 || n < free) {
			free = n
		}
	}
	raw, _ := os.ReadFile(filepath.Join(root, "proc/meminfo"))
	for line := range strings.Lines(string(raw)) {
		if rest, found := strings.CutPrefix(line, "MemAvailable:"); found {
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			least(n << 10)
		}
	}
	groups, _ := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	for line := range strings.Lines(string(groups)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(fields) < 3:
		case fields[0] == "0" && fields[1] == "":
			groupLimits(filepath.Join(root, "sys/fs/cgroup"), fields[2], "memory.max", "memory.current", "inactive_file", least)
		case strings.Contains(","+fields[1]+",", ",memory,"):
			groupLimits(filepath.Join(root, "sys/fs/cgroup/memory"), fields[2], "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", least)
		}
	}
	return free
}

// groupLimits tells what each group from the process's own up to the top leaves. Inside a container the path may be one of the
// host's, of which only the top is to be seen.
func groupLimits(top, path, limit, usage, file string, least func(int64)) {
	number := func(name string) int64 {
		raw, err := os.ReadFile(name)
		if err != nil {
			return -1
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
		if err != nil { // "max"
			return -1
		}
		return n
	}
	for dir := filepath.Join(top, path); ; dir = filepath.Dir(dir) {
		if most, used := number(filepath.Join(dir, limit)), number(filepath.Join(dir, usage)); most > 0 && used >= 0 && most < 1<<60 {
			cached := int64(0) // of files, which the kernel gives up when memory is short
			raw, _ := os.ReadFile(filepath.Join(dir, "memory.stat"))
			for line := range strings.Lines(string(raw)) {
				if rest, found := strings.CutPrefix(line, file+" "); found {
					cached, _ = strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
				}
			}
			least(max(most-used+cached, 1))
		}
		if len(dir) <= len(top) {
			return
		}
	}
}
