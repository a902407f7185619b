package llama

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"serval"
	"serval/engine"
	"serval/llm/gguf"
)

// write makes a version folder with a file of these bytes.
func write(t testing.TB, name string, data []byte) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// refused opens a folder that must not load.
func refused(t *testing.T, dir string, settings serval.ModelSettings, words ...string) {
	t.Helper()
	m, err := testEngine(t).Open(t.Context(), engine.Spec{Name: "m", Dir: dir, Settings: settings, Threads: 1})
	if err == nil {
		_ = m.Close()
		t.Fatalf("it was loaded; expected an error with %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%v: expected %q in it", err, w)
		}
	}
}

func TestDamagedFiles(t *testing.T) {
	whole, err := os.ReadFile(small(t))
	if err != nil {
		t.Fatal(err)
	}
	renamed := func(from, to string) []byte {
		return []byte(strings.Replace(string(whole), from, to, 1))
	}
	refused(t, write(t, "model.gguf", []byte("not a model")), serval.ModelSettings{}, "model.gguf")
	refused(t, write(t, "model.gguf", whole[:len(whole)/2]), serval.ModelSettings{}, "model.gguf")
	refused(t, write(t, "model.gguf", whole[:1000]), serval.ModelSettings{}, "model.gguf")
	refused(t, write(t, "model.gguf", nil), serval.ModelSettings{}, "model.gguf")
	arch := "general.architecture\x08\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00"
	refused(t, write(t, "model.gguf", renamed(arch+"llama", arch+"lamma")), serval.ModelSettings{}, "model.gguf", "lamma")
	refused(t, write(t, "model.gguf", renamed("blk.0.attn_q.weight", "blk.0.attn_x.weight")), serval.ModelSettings{}, "model.gguf", "attn_q")
	refused(t, t.TempDir(), serval.ModelSettings{}, "no .gguf file")
	refused(t, write(t, "a-00002-of-00003.gguf", whole), serval.ModelSettings{}, "a-00001-of-00003.gguf, is not there")
}

func TestSettingsRefused(t *testing.T) {
	dir := folder(t, small(t))
	for field, s := range map[string]serval.ModelSettings{
		"options.kv_type":         {Options: map[string]string{"kv_type": "f12"}},
		"options.kv":              {Options: map[string]string{"kv": "maybe"}},
		"options.mmap":            {Options: map[string]string{"mmap": "maybe"}},
		"options.flash_attention": {Options: map[string]string{"flash_attention": "maybe"}},
		"text.slots":              {Text: &serval.TextSettings{Slots: 1000}},
		"text.cache":              {Text: &serval.TextSettings{Context: 2048, Cache: 1024}},
		"text.adapters.x":         {Text: &serval.TextSettings{Adapters: map[string]string{"x": "../x.gguf"}}},
		"text.adapters.y":         {Text: &serval.TextSettings{Adapters: map[string]string{"y": "missing.gguf"}}},
	} {
		refused(t, dir, s, field)
	}
	refused(t, dir, serval.ModelSettings{File: "other.gguf"}, "other.gguf")
}

func TestDetect(t *testing.T) {
	e := New(nil)
	for name, want := range map[string]engine.Rank{"x.gguf": engine.Preferred, "x-00001-of-00002.gguf": engine.Preferred, "x-00002-of-00002.gguf": engine.NotMine, "x.onnx": engine.NotMine, "mmproj-x.gguf": engine.NotMine} {
		rank, err := e.Detect(os.DirFS(write(t, name, []byte("GGUF\x03\x00\x00\x00"))))
		if rank != want || (err == nil) != (want == engine.Preferred) {
			t.Errorf("%s: %v, %v", name, rank, err)
		}
	}
	if rank, err := e.Detect(os.DirFS(write(t, "big-00002-of-00003.gguf", []byte("GGUF")))); rank != engine.NotMine || !strings.Contains(err.Error(), "big-00001-of-00003.gguf, is not there") {
		t.Errorf("a later part alone: %v, %v", rank, err)
	}
	if rank, err := e.Detect(os.DirFS(write(t, "x.gguf", []byte("GGML....")))); rank != engine.NotMine || !strings.Contains(err.Error(), "GGML") {
		t.Errorf("another magic: %v, %v", rank, err)
	}
}

// planOf plans a model with so much memory.
func planOf(t *testing.T, s *serval.ModelSettings, free int64) *Plan {
	t.Helper()
	f, err := gguf.Open(smol(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := MakePlan(f, s, free)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPlan(t *testing.T) {
	const mib = 1 << 20
	p := planOf(t, &serval.ModelSettings{Options: map[string]string{"kv": "shared"}}, 8<<30)
	// 30 layers of 3 key-value heads of 64 numbers, keys and values, in 16 bits.
	if p.KVCell != 30*3*64*2*2 || p.Context != 8192 || p.Cells != 8*2048 || p.Stream != 0 || p.KV != int64(p.Cells)*p.KVCell || !p.Fits || p.Error("m") != nil {
		t.Errorf("%+v", p)
	}
	for name, c := range map[string]struct {
		settings        serval.ModelSettings
		free            int64
		stream, archive int
	}{
		"much memory":         {serval.ModelSettings{}, 8 << 30, 8192, 0},
		"short sequences":     {serval.ModelSettings{Text: &serval.TextSettings{Context: 1000, Slots: 4}}, 8 << 30, 1024, 4},
		"little memory":       {serval.ModelSettings{}, 3 << 30, 0, 0},
		"too small a cache":   {serval.ModelSettings{Text: &serval.TextSettings{Context: 1024, Cache: 4096}}, 8 << 30, 0, 0},
		"a cache for it":      {serval.ModelSettings{Text: &serval.TextSettings{Context: 1024, Cache: 12 * 1024}}, 8 << 30, 1024, 4},
		"streams asked for":   {serval.ModelSettings{Options: map[string]string{"kv": "streams"}}, 3 << 30, 8192, 0},
		"a shared one wanted": {serval.ModelSettings{Options: map[string]string{"kv": "shared"}}, 64 << 30, 0, 0},
	} {
		if q := planOf(t, &c.settings, c.free); q.Stream != c.stream || q.Archive != c.archive || !q.Fits {
			t.Errorf("%s: %+v", name, q)
		}
	}
	if p.Weights < 93*mib || p.Weights > 94*mib || p.Total != p.Weights+p.KV+p.State+p.Compute {
		t.Errorf("%+v", p)
	}
	if q := planOf(t, &serval.ModelSettings{Options: map[string]string{"kv_type": "q8_0", "kv": "shared"}}, 8<<30); q.KVCell != p.KVCell/2*34/32 {
		t.Errorf("a cell of q8_0 takes %d bytes, of f16 %d", q.KVCell, p.KVCell)
	}
	less := planOf(t, &serval.ModelSettings{}, p.Total-10*mib)
	if !less.Fits || less.Cells >= p.Cells || less.Context != 8192 || len(less.Advice) == 0 {
		t.Errorf("with a little less memory: %+v", less)
	}
	short := planOf(t, &serval.ModelSettings{}, p.Weights+p.Compute+20*mib)
	if !short.Fits || short.Context >= 8192 || short.Context < leastContext || len(short.Advice) == 0 {
		t.Errorf("with little memory: %+v", short)
	}
	none := planOf(t, &serval.ModelSettings{}, 50*mib)
	if err := none.Error("m"); none.Fits || err == nil || !strings.Contains(err.Error(), "free") {
		t.Errorf("with none: %+v, %v", none, err)
	}
	asked := planOf(t, &serval.ModelSettings{Text: &serval.TextSettings{Context: 8192}}, p.Weights+p.Compute+60*mib)
	if err := asked.Error("m"); err == nil || !strings.Contains(err.Error(), "text.context") {
		t.Errorf("a context that was asked for does not fit: %v", err)
	}
}

func TestFreeMemory(t *testing.T) {
	root := t.TempDir()
	put := func(name, text string) {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(what string, want int64) {
		t.Helper()
		if got := engine.FreeMemory(root); got != want {
			t.Errorf("%s: %d, expected %d", what, got, want)
		}
	}
	expect("nothing known", 0)
	put("proc/meminfo", "MemTotal: 100 kB\nMemAvailable:   64 kB\n")
	expect("the system's", 64<<10)
	put("proc/self/cgroup", "0::/a/b\n")
	put("sys/fs/cgroup/a/memory.max", "40960\n")
	put("sys/fs/cgroup/a/memory.current", "30000\n")
	put("sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 5000\n")
	put("sys/fs/cgroup/a/b/memory.max", "max\n")
	put("sys/fs/cgroup/a/b/memory.current", "30000\n")
	expect("a group above", 40960-30000+5000)
	put("sys/fs/cgroup/memory.max", "20000\n")
	put("sys/fs/cgroup/memory.current", "19000\n")
	expect("the top group", 1000)
	put("proc/self/cgroup", "4:memory:/x\n")
	put("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "9000\n")
	put("sys/fs/cgroup/memory/x/memory.usage_in_bytes", "8000\n")
	put("sys/fs/cgroup/memory/x/memory.stat", "total_inactive_file 500\n")
	expect("version 1", 1500)
}

// The plan's numbers are what the process takes.
func TestPlanIsHonest(t *testing.T) {
	anonymous := func() int64 {
		debug.FreeOSMemory() // what other tests left must not go while this is measured
		raw, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Skip("no /proc to measure with")
		}
		_, rest, _ := strings.Cut(string(raw), "RssAnon:")
		kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return kib << 10
	}
	for _, kv := range []string{"streams", "shared"} {
		before := anonymous()
		d := openKV(t, kv, smol(t), &serval.TextSettings{Context: 2048, Slots: 4})
		run(t, d, ask(greedy(long(d, 100), 2)))
		took, planned := anonymous()-before, d.plan.KV+d.plan.Compute
		if took < planned*6/10 || took > planned*11/10 {
			t.Errorf("%s: it takes %d MiB beside its weights, the plan says %d", kv, took>>20, planned>>20)
		}
	}
}
