package native

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// tree writes files below a new root that stands for "/".
func tree(t *testing.T, files map[string]string) machine {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return machine{root}
}

func TestReportOfThisMachine(t *testing.T) {
	l := onnx(t)
	offline := archives(t)
	s := New(Options{Cache: t.TempDir(), Offline: offline})
	r := s.Report(t.Context())
	if !r.OK() {
		t.Errorf("problems: %+v", r.Problems)
	}
	if r.OS != runtime.GOOS || r.Arch != runtime.GOARCH || r.CPU.Cores < 1 || r.CPU.Model == "" || len(r.CPU.Features) == 0 || r.Memory.Total == 0 || r.Memory.Available == 0 {
		t.Errorf("machine: %+v", r)
	}
	if !r.GLibC.Found || compareVersions(r.GLibC.Version, "2.17") < 0 || !r.LibStdCXX.Found || compareVersions(r.LibStdCXX.Version, "3.4") < 0 {
		t.Errorf("glibc %+v, libstdc++ %+v", r.GLibC, r.LibStdCXX)
	}
	for _, c := range r.Clients {
		if !c.Found || versionNumbers(c.Version) == nil {
			t.Errorf("client: %+v", c)
		}
	}
	if len(r.Libraries) != 2 || !r.Libraries[0].Found || !r.Libraries[0].Verified || reported(r, l.Name).Version != l.Package.Version {
		t.Errorf("libraries: %+v", r.Libraries)
	}

	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{`"libstdcxx":{"found":true`, `"problems":[]`, `"verified":true`} {
		if !strings.Contains(string(b), key) {
			t.Errorf("JSON lacks %s: %s", key, b)
		}
	}
	var text strings.Builder
	if err := r.Text(&text); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + text.String())
	if !strings.Contains(text.String(), "sha256 ok") || !strings.Contains(text.String(), "All is well.") {
		t.Error("text lacks the verdict")
	}
}

// reported is what a report says of a library.
func reported(r Report, name string) LibraryReport {
	for _, l := range r.Libraries {
		if l.Name == name {
			return l
		}
	}
	return LibraryReport{}
}

func TestReportSeesADamagedLibrary(t *testing.T) {
	l := onnx(t)
	s := New(Options{Cache: t.TempDir(), Offline: archives(t)})
	path, err := s.Find(l.Name)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1 // one bit, with the size and the time kept
	os.Chmod(path, 0o644)
	if err := os.WriteFile(path, b, 0o444); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	noClients(t)
	r := s.Report(t.Context())
	if r.OK() || reported(r, l.Name).Verified || !strings.Contains(r.Problems[0].What, "damaged") || !strings.HasPrefix(r.Problems[0].Fix, "rm -rf ") {
		t.Errorf("%+v %+v", r.Libraries, r.Problems)
	}
}

func TestReportOfABareMachine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("system libraries are looked for on Linux only")
	}
	l := onnx(t)
	noClients(t)
	m := tree(t, map[string]string{
		"proc/cpuinfo":                   "processor\t: 0\nFeatures\t: fp asimd i8mm sve whatever\nprocessor\t: 1\nFeatures\t: fp\n",
		"proc/meminfo":                   "MemTotal:       2000 kB\nMemAvailable:   1000 kB\n",
		"proc/self/cgroup":               "0::/pod/box\n",
		"sys/fs/cgroup/pod/cpu.max":      "150000 100000",
		"sys/fs/cgroup/pod/box/cpu.max":  "max 100000",
		"sys/fs/cgroup/pod/memory.max":   "max",
		"sys/fs/cgroup/memory.max":       "1024000",
		"proc/sys/kernel/osrelease":      "6.1.0",
		"usr/lib/libstdc++.so.6":         "not for this machine",
		"etc/ld.so.conf":                 "include ld.so.conf.d/*.conf\n",
		"etc/ld.so.conf.d/nothing.conf":  "# only a remark\n/opt/lib\n",
		"etc/ld.so.conf.d/rounding.conf": "include /etc/ld.so.conf\n",
	})
	s := New(Options{Cache: "/proc/nowhere"})
	r := s.report(t.Context(), m)
	if want := []string{"asimd", "i8mm", "sve"}; !slices.Equal(r.CPU.Features, want) || r.CPU.Limit != 1.5 {
		t.Errorf("%+v", r.CPU)
	}
	if want := (Memory{Total: 2000 << 10, Available: 1000 << 10, Limit: 1024000}); r.Memory != want {
		t.Errorf("%+v", r.Memory)
	}
	var text strings.Builder
	if err := r.Text(&text); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + text.String())
	for _, want := range []string{"limited to 1.5 by the container", "cannot be written", "libc.so.6) was not found", "apt-get install libstdc++6",
		"library onnxruntime " + l.Package.Version + " is not on this machine, and neither pip nor npm", "apt-get install python3-pip", "pip download", "missing " + l.Package.Version} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q", want)
		}
	}
}

func TestLimitsOfControlGroupsVersion1(t *testing.T) {
	m := tree(t, map[string]string{
		"proc/self/cgroup":                               "4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n",
		"sys/fs/cgroup/cpu/cpu.cfs_quota_us":             "50000",
		"sys/fs/cgroup/cpu/cpu.cfs_period_us":            "100000",
		"sys/fs/cgroup/memory/memory.limit_in_bytes":     "9223372036854771712",
		"sys/fs/cgroup/memory/docker/abc/memory.limit_x": "1",
	})
	if got := m.cpuLimit(); got != 0.5 {
		t.Errorf("cpu limit %v", got)
	}
	if got := m.memoryLimit(1 << 34); got != 0 {
		t.Errorf("memory limit %v", got)
	}
	if got := tree(t, nil).cpuLimit(); got != 0 {
		t.Errorf("cpu limit %v where there is none", got)
	}
}

func TestReportComparesWhatALibraryNeeds(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("ELF only")
	}
	l := onnx(t)
	path, err := New(Options{Cache: filepath.Dir(archives(t))}).Find(l.Name)
	if err != nil {
		t.Fatal(err)
	}
	n, err := readNeeds(path)
	if err != nil || compareVersions(n.glibc, "2.2.5") <= 0 || n.libstdcxx == "" || !slices.Contains(n.libraries, "libc.so.6") {
		t.Fatalf("%+v, %v", n, err)
	}
	r := Report{GLibC: SystemLibrary{Found: true, Version: "2.12"}, LibStdCXX: SystemLibrary{Found: true, Version: "3.4.9"}}
	r.needsProblems(tree(t, nil), l.Name, path)
	var all []string
	for _, p := range r.Problems {
		all = append(all, p.What)
	}
	for _, want := range []string{"needs glibc " + n.glibc + ", this system has 2.12", "needs GLIBCXX_" + n.libstdcxx, "needs libm.so.6, which was not found"} {
		if !strings.Contains(strings.Join(all, "\n"), want) {
			t.Errorf("no %q in %q", want, all)
		}
	}
}

func TestCompareVersions(t *testing.T) {
	ascending := []string{"", "2", "2.9", "2.28", "2.28.1", "3"}
	for i := range ascending[1:] {
		if compareVersions(ascending[i], ascending[i+1]) >= 0 || compareVersions(ascending[i+1], ascending[i]) <= 0 {
			t.Errorf("%q is not older than %q", ascending[i], ascending[i+1])
		}
	}
	if got := newer("2.28", "GLIBC_PRIVATE", "GLIBC_"); got != "2.28" {
		t.Error(got)
	}
}

// TestReportOffline: with an offline folder a missing library is mended there, since serval doctor --fix fetches nothing then.
func TestReportOffline(t *testing.T) {
	t.Parallel()
	l, offline := onnx(t), t.TempDir()
	r := New(Options{Cache: t.TempDir(), Offline: offline}).Report(t.Context())
	at := slices.IndexFunc(r.Problems, func(p Problem) bool { return strings.Contains(p.What, l.Name) })
	if at < 0 {
		t.Fatalf("problems: %+v", r.Problems)
	}
	if p := r.Problems[at]; !strings.Contains(p.What, "is not in "+offline) || !strings.Contains(p.What, "nothing is fetched") || !strings.Contains(p.Fix, "--dest "+offline) || strings.HasPrefix(p.Fix, "serval") {
		t.Errorf("%+v", p)
	}
}
