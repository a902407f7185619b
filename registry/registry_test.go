package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"serval"
)

// artefact is a loaded version for tests: it answers with the text of its file, and refuses calls once closed.
type artefact struct {
	src    Source
	text   string
	mu     sync.RWMutex
	closed bool
	live   *atomic.Int32
}

func (a *artefact) Handle(context.Context, *serval.Request, serval.Sink) error {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.closed {
		return serval.ErrRetired
	}
	return nil
}
func (a *artefact) Info() serval.ModelInfo {
	return serval.ModelInfo{Name: a.src.Name, Version: a.src.Version, Engine: a.text, Settings: a.src.Settings}
}
func (a *artefact) Stats() serval.Stats { return serval.Stats{} }
func (a *artefact) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return errors.New("closed twice")
	}
	a.closed = true
	a.live.Add(-1)
	return nil
}

type files struct{ live atomic.Int32 }

func (f *files) Load(_ context.Context, s Source) (Loaded, error) {
	raw, err := os.ReadFile(filepath.Join(s.Dir, "model.txt"))
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(string(raw), "bad") {
		return nil, fmt.Errorf("the artefact is %s", raw)
	}
	f.live.Add(1)
	return &artefact{src: s, text: string(raw), live: &f.live}, nil
}

func setUp(t *testing.T, tree map[string]string) (*Registry, *files, string) {
	t.Helper()
	root := t.TempDir()
	write(t, root, tree)
	f := &files{}
	r := New(Options{Roots: []string{root}, Loader: f, Parallel: 2, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Merge: func(_, over serval.ModelSettings) serval.ModelSettings { return over },
		Read: func(_, dir string, _ *serval.ModelSettings) (s serval.ModelSettings, err error) {
			raw, err := os.ReadFile(filepath.Join(dir, "policy"))
			switch {
			case err != nil:
				return s, nil
			case string(raw) == "all":
				s.Versions.All = true
			case string(raw) == "alias":
				s.Aliases = map[string]string{"prod": "2"}
			default:
				return s, errors.New("policy: unreadable")
			}
			return s, nil
		}})
	t.Cleanup(func() {
		r.Close()
		if n := f.live.Load(); n != 0 {
			t.Errorf("%d versions were never closed", n)
		}
	})
	return r, f, root
}

// watched is a Loader that tells what was ready before each load.
type watched struct {
	files
	registry *Registry
	ready    []bool
}

func (w *watched) Load(ctx context.Context, s Source) (Loaded, error) {
	w.ready = append(w.ready, w.registry.Ready())
	return w.files.Load(ctx, s)
}

func TestNotReadyBeforeTheLastVersion(t *testing.T) {
	r, _, _ := setUp(t, map[string]string{"m/policy": "all", "m/1/model.txt": "one", "m/2/model.txt": "two", "m/3/model.txt": "three"})
	w := &watched{registry: r}
	r.opt.Loader = w
	if err := r.LoadAll(t.Context()); err != nil || len(w.ready) != 3 || w.ready[0] || w.ready[1] || w.ready[2] || !r.Ready() {
		t.Errorf("ready before each of the versions: %v, at the end: %v, %v", w.ready, r.Ready(), err)
	}
}

// closing is a Loader under which the registry is closed.
type closing struct {
	files
	registry *Registry
	fail     bool
}

func (c *closing) Load(ctx context.Context, s Source) (Loaded, error) {
	c.registry.Close()
	if c.fail {
		return nil, errors.New("cut short")
	}
	return c.files.Load(ctx, s)
}

func TestCloseDuringALoad(t *testing.T) {
	for _, fail := range []bool{false, true} {
		r, _, _ := setUp(t, map[string]string{"m/1/model.txt": "one"})
		c := &closing{registry: r, fail: fail}
		r.opt.Loader = c
		if err := r.LoadAll(t.Context()); err == nil || c.live.Load() != 0 {
			t.Errorf("fail %v: %v, %d versions left open", fail, err, c.live.Load())
		}
	}
}

func write(t *testing.T, root string, tree map[string]string) {
	t.Helper()
	for name, text := range tree {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// serves is what Find finds: the artefact's text, or the error.
func serves(r *Registry, ref string) string {
	p, err := serval.ParseRef(ref)
	if err != nil {
		return err.Error()
	}
	h, _, err := r.Find(p)
	if err != nil {
		return fmt.Sprintf("%s: %v", serval.AsError(err).Code, err)
	}
	return h.(*artefact).text
}

func expect(t *testing.T, r *Registry, want map[string]string) {
	t.Helper()
	for ref, text := range want {
		if got := serves(r, ref); !strings.Contains(got, text) {
			t.Errorf("%s: %s, want %s", ref, got, text)
		}
	}
}

func TestFoldersAndPolicies(t *testing.T) {
	r, _, _ := setUp(t, map[string]string{
		"plain/model.txt":    "one artefact, no versions",
		"newest/1/model.txt": "old", "newest/2/model.txt": "mid", "newest/10/model.txt": "new",
		"every/policy": "all", "every/1/model.txt": "old", "every/3/model.txt": "new",
		"named/policy": "alias", "named/2/model.txt": "two",
		"broken/1/model.txt": "bad", "strange/policy": "?", "strange/1/model.txt": "x",
		".hidden/1/model.txt": "x", "file.txt": "x",
	})
	err := r.LoadAll(context.Background())
	if err == nil || !strings.Contains(err.Error(), "model 'broken' version 1: the artefact is bad") || !strings.Contains(err.Error(), "policy: unreadable") {
		t.Errorf("LoadAll: %v", err)
	}
	expect(t, r, map[string]string{
		"plain": "one artefact", "plain:1": "one artefact", "newest": "new", "newest:10": "new",
		"newest:2": "not_found: model 'newest:2' is not found: it has no version '2'; ready are the versions 10",
		"every":    "new", "every:1": "old", "named@prod": "two", "named@test": "it has no alias 'test'",
		"broken":  "unavailable: model 'broken' is not ready: the artefact is bad",
		"strange": "unavailable: model 'strange' is not ready: policy: unreadable",
		"evry":    "not_found: model 'evry' is not found; did you mean 'every'? the server has 'broken', 'every'",
		"nobody":  "not_found: model 'nobody' is not found; the server has 'broken', 'every'",
	})
	if r.Ready() {
		t.Error("ready, though a model failed")
	}
	if err := r.Unload(context.Background(), "broken"); err != nil {
		t.Error(err)
	}
	if err := r.Unload(context.Background(), "strange"); err != nil {
		t.Error(err)
	}
	if !r.Ready() {
		t.Error("not ready, though what failed is no longer wanted")
	}
}

func TestAReloadThatFailsKeepsTheOldCopy(t *testing.T) {
	r, _, root := setUp(t, map[string]string{"m/1/model.txt": "first"})
	ctx := context.Background()
	if err := r.LoadAll(ctx); err != nil {
		t.Fatal(err)
	}
	write(t, root, map[string]string{"m/1/model.txt": "bad luck"})
	if err := r.Load(ctx, "m", nil); err == nil || !strings.Contains(err.Error(), "the artefact is bad luck") {
		t.Errorf("Load: %v", err)
	}
	expect(t, r, map[string]string{"m": "first"})
	if info := r.List()[0]; info.State != serval.StateReady || !strings.Contains(info.Reason, "the copy loaded before serves on: the artefact is bad luck") {
		t.Errorf("%s: %s", info.State, info.Reason)
	}
	write(t, root, map[string]string{"m/1/model.txt": "second", "m/policy": "?"})
	if err := r.Load(ctx, "m", nil); err == nil {
		t.Error("a bad policy was taken")
	}
	expect(t, r, map[string]string{"m": "first"})
	if err := os.Remove(filepath.Join(root, "m/policy")); err != nil {
		t.Fatal(err)
	}
	if err := r.Load(ctx, "m", nil); err != nil {
		t.Error(err)
	}
	expect(t, r, map[string]string{"m": "second"})
	if info := r.List()[0]; info.Reason != "" {
		t.Errorf("the reason stayed: %s", info.Reason)
	}
	write(t, root, map[string]string{"m/2/model.txt": "third"})
	if err := r.Load(ctx, "m", nil); err != nil {
		t.Error(err)
	}
	expect(t, r, map[string]string{"m": "third", "m:1": "no version '1'"})
}

func TestANewVersionThatFailsKeepsTheOldOne(t *testing.T) {
	r, f, root := setUp(t, map[string]string{"m/1/model.txt": "one"})
	if err := r.LoadAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, root, map[string]string{"m/2/model.txt": "bad"})
	if err := r.Load(t.Context(), "m", nil); err == nil {
		t.Error("a bad version was loaded")
	}
	list := r.List()
	if got := serves(r, "m"); got != "one" || !r.Ready() || len(list) != 2 || !strings.Contains(list[0].Reason, "bad") || list[1].State != serval.StateUnavailable {
		t.Errorf("%s answers, ready %v: %+v", got, r.Ready(), list)
	}
	write(t, root, map[string]string{"m/2/model.txt": "two"})
	if err := r.Load(t.Context(), "m", nil); err != nil {
		t.Error(err)
	}
	r.retired.Wait()
	if got := serves(r, "m"); got != "two" || !r.Ready() || len(r.List()) != 1 || f.live.Load() != 1 {
		t.Errorf("mended: %s answers, ready %v, %d live: %+v", got, r.Ready(), f.live.Load(), r.List())
	}
}

func TestUnloadedModelsComeBack(t *testing.T) {
	r, _, _ := setUp(t, map[string]string{"m/1/model.txt": "first"})
	ctx := context.Background()
	if err := r.LoadAll(ctx); err != nil {
		t.Fatal(err)
	}
	if err := r.Unload(ctx, "m"); err != nil {
		t.Fatal(err)
	}
	expect(t, r, map[string]string{"m": "unavailable: model 'm' is not ready: unloaded"})
	if err := r.Load(ctx, "m", nil); err != nil {
		t.Fatal(err)
	}
	expect(t, r, map[string]string{"m": "first"})
	for err, want := range map[error]string{r.Load(ctx, "x", nil): "has no folder", r.Unload(ctx, "x"): "not known"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestReloadsDropNoCall looks up and calls while versions are swapped all the time.
func TestReloadsDropNoCall(t *testing.T) {
	r, _, _ := setUp(t, map[string]string{"m/1/model.txt": "first"})
	ctx := context.Background()
	if err := r.LoadAll(ctx); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				select {
				case <-stop:
					return
				default:
				}
				err := serval.ErrRetired
				for tries := 0; errors.Is(err, serval.ErrRetired) && tries < 4; tries++ { // as route does
					var h serval.Handler
					if h, _, err = r.Find(serval.Ref{Name: "m"}); err == nil {
						err = h.Handle(ctx, &serval.Request{}, nil)
					}
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	for range 200 {
		if err := r.Load(ctx, "m", nil); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}
