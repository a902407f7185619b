package native

import (
	"bufio"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// machine reads facts of the system from files below root ("/" but in tests), running nothing. What cannot be read is left
// out: a fact that is missing is no failure.
type machine struct{ root string }

func (m machine) path(p string) string { return filepath.Join(m.root, p) }

// text is the content of a small file without the space around it, or empty.
func (m machine) text(p string) string {
	b, _ := os.ReadFile(m.path(p))
	return strings.TrimSpace(string(b))
}

// CPU is what the processor offers.
type CPU struct {
	Model    string   `json:"model,omitempty"`
	Cores    int      `json:"cores"`           // that this process may run on
	Limit    float64  `json:"limit,omitempty"` // cores' worth of time that the container grants; 0 = no limit
	Features []string `json:"features"`        // those that engines profit from
}

// Memory is in bytes.
type Memory struct {
	Total     int64 `json:"total"`
	Available int64 `json:"available"`
	Limit     int64 `json:"limit,omitempty"` // of the container; 0 = no limit
}

// cpuFeatures are the flags worth a line, in the order shown; x86-64 first, then arm64.
func cpuFeatures() []string {
	return []string{"sse4_2", "avx", "f16c", "fma", "avx2", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni",
		"avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16",
		"asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2"}
}

func (m machine) cpu() CPU {
	c := CPU{Cores: runtime.NumCPU(), Features: []string{}}
	f, err := os.Open(m.path("/proc/cpuinfo"))
	if err != nil {
		return c
	}
	defer f.Close()
	flags := map[string]bool{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		key, value, found := strings.Cut(lines.Text(), ":")
		if !found {
			continue
		}
		switch strings.TrimSpace(key) {
		case "model name", "Model", "cpu model":
			if c.Model == "" {
				c.Model = strings.TrimSpace(value)
			}
		case "flags", "Features":
			if len(flags) == 0 {
				for _, flag := range strings.Fields(value) {
					flags[flag] = true
				}
			}
		}
	}
	for _, name := range cpuFeatures() {
		if flags[name] {
			c.Features = append(c.Features, name)
		}
	}
	c.Limit = m.cpuLimit()
	return c
}

func (m machine) memory() Memory {
	var out Memory
	for line := range strings.SplitSeq(m.text("/proc/meminfo"), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kib, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			continue
		}
		switch fields[0] {
		case "MemTotal:":
			out.Total = kib << 10
		case "MemAvailable:":
			out.Available = kib << 10
		}
	}
	out.Limit = m.memoryLimit(out.Total)
	return out
}

// cpuLimit is the smallest quota of any control group that this process is in, in cores.
func (m machine) cpuLimit() float64 {
	least := math.Inf(1)
	take := func(quota, period string) {
		q, err1 := strconv.ParseFloat(quota, 64)
		p, err2 := strconv.ParseFloat(period, 64)
		if err1 == nil && err2 == nil && q > 0 && p > 0 {
			least = min(least, q/p)
		}
	}
	for _, dir := range m.groups("") {
		quota, period, _ := strings.Cut(m.text(dir+"/cpu.max"), " ")
		take(quota, period)
	}
	for _, dir := range m.groups("cpu") {
		take(m.text(dir+"/cpu.cfs_quota_us"), m.text(dir+"/cpu.cfs_period_us"))
	}
	if math.IsInf(least, 1) {
		return 0
	}
	return least
}

// memoryLimit is the smallest limit of any control group that this process is in, in bytes; one not below total is none.
func (m machine) memoryLimit(total int64) int64 {
	least := int64(math.MaxInt64)
	take := func(s string) {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil && n > 0 {
			least = min(least, n)
		}
	}
	for _, dir := range m.groups("") {
		take(m.text(dir + "/memory.max"))
	}
	for _, dir := range m.groups("memory") {
		take(m.text(dir + "/memory.limit_in_bytes"))
	}
	if least == math.MaxInt64 || total > 0 && least >= total {
		return 0
	}
	return least
}

// groups are the folders of this process's control group and its parents: of version 2 for the empty controller, else of the
// controller in version 1. In a container the path may be the host's; then only its tail, the mount's root, exists.
func (m machine) groups(controller string) []string {
	mounts := []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}
	if controller != "" {
		mounts = []string{"/sys/fs/cgroup/" + controller}
	}
	own := "/"
	for line := range strings.SplitSeq(m.text("/proc/self/cgroup"), "\n") {
		fields := strings.SplitN(line, ":", 3)
		if len(fields) == 3 && (fields[1] == controller || controller != "" && strings.Contains(","+fields[1]+",", ","+controller+",")) {
			own = filepath.Clean("/" + fields[2])
		}
	}
	var out []string
	for _, mount := range mounts {
		for dir := own; ; dir = filepath.Dir(dir) {
			out = append(out, filepath.Join(mount, dir))
			if dir == "/" {
				break
			}
		}
	}
	return out
}

// locate finds a shared library of the system by its name where the dynamic linker looks: what this process has mapped, the
// folders of ld.so.conf, the usual ones. Empty: it is not there, or not for this machine.
func (m machine) locate(name string) string {
	for line := range strings.SplitSeq(m.text("/proc/self/maps"), "\n") {
		if at := strings.IndexByte(line, '/'); at >= 0 && filepath.Base(line[at:]) == name {
			return m.path(line[at:])
		}
	}
	for _, dir := range m.libraryFolders() {
		p := filepath.Join(m.path(dir), name)
		if _, err := os.Stat(p); err == nil && checkLibrary(p) == nil {
			return p
		}
	}
	return ""
}

func (m machine) libraryFolders() []string {
	dirs := m.linkerConf("/etc/ld.so.conf", 0)
	triplet := map[string]string{"amd64": "x86_64", "arm64": "aarch64", "ppc64le": "powerpc64le"}[runtime.GOARCH]
	if triplet == "" {
		triplet = runtime.GOARCH
	}
	triplet += "-linux-gnu"
	return append(dirs, "/lib/"+triplet, "/usr/lib/"+triplet, "/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib")
}

// linkerConf reads the folders that a ld.so.conf lists, following its includes a few levels deep.
func (m machine) linkerConf(path string, depth int) []string {
	if depth > 4 {
		return nil
	}
	var dirs []string
	for line := range strings.SplitSeq(m.text(path), "\n") {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		switch {
		case len(fields) == 2 && fields[0] == "include":
			pattern := fields[1]
			if !filepath.IsAbs(pattern) {
				pattern = filepath.Join(filepath.Dir(path), pattern)
			}
			files, _ := filepath.Glob(filepath.Join(globLiteral(m.root), pattern)) // a bad pattern in there includes nothing
			for _, f := range files {
				if rel, err := filepath.Rel(m.root, f); err == nil {
					dirs = append(dirs, m.linkerConf("/"+rel, depth+1)...)
				}
			}
		case len(fields) == 1 && filepath.IsAbs(fields[0]):
			dirs = append(dirs, fields[0])
		}
	}
	return dirs
}
