package source

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func FuzzSource(f *testing.F) {
	for _, s := range []string{"hf:a/b@refs/pr/1:Q4", "hf:a/b/c.gguf", "https://h/x-00001-of-00009.gguf", "s3://b/k%2F/ü", "file:x", "pypi:a==1/b", ":", "hf:", "a/b"} {
		f.Add(s)
	}
	p := New(Options{Packages: none{}})
	f.Fuzz(func(t *testing.T, text string) {
		s, err := p.parse(text, false)
		if err != nil {
			return
		}
		if name := cleanName(s.name()); name != "" && checkName(name) != nil && len(name) <= 128 {
			t.Errorf("%q makes the name %q, which is refused", text, name)
		}
		if h, ok := s.(*hub); ok && (strings.Contains(h.web(commit, "f").url, "/..") || !strings.HasPrefix(h.web(commit, "f").url, DefaultHub+"/")) {
			t.Errorf("%q leads to %s", text, h.web(commit, "f").url)
		}
	})
}

type none struct{ Packages }

func FuzzListing(f *testing.F) {
	f.Add([]byte(`{"sha":"` + commit + `","siblings":[{"rfilename":"a-Q4_K_M.gguf","size":5,"lfs":{"sha256":"x","size":-1}},{"rfilename":"../x.onnx"}]}`))
	f.Add([]byte(`{"sha":"` + commit + `","siblings":[{"rfilename":"onnx/model.onnx"},{"rfilename":"onnx/model.onnx_data"},{"rfilename":"a-00001-of-99999.gguf"}]}`))
	h := &hub{p: New(Options{}), repo: "a/b"}
	f.Fuzz(func(t *testing.T, raw []byte) {
		l, err := readListing(raw)
		if err != nil {
			return
		}
		var names []string
		for _, s := range l.Siblings {
			names = append(names, s.Name)
		}
		chosen, _, err := h.choose(names)
		for _, c := range chosen {
			if err == nil && (!safePath(c.to) || !filepath.IsLocal(c.to)) {
				t.Errorf("%q is put at %q", c.from, c.to)
			}
		}
	})
}

func FuzzHeaders(f *testing.F) {
	f.Add("bytes 5-9/10", "7")
	f.Add("bytes 0-0/*", "Fri, 27 Nov 2026 17:00:00 GMT")
	now := time.Unix(1795798867, 0)
	f.Fuzz(func(t *testing.T, span, after string) {
		if from, size, ok := contentRange(span); ok && (from < 0 || size >= 0 && from >= size) {
			t.Errorf("%q: from %d of %d", span, from, size)
		}
		if d := retryAfter(after, now); d < 0 {
			t.Errorf("%q: %v", after, d)
		}
	})
}

func FuzzWheel(f *testing.F) {
	dir := f.TempDir()
	f.Add([]byte("PK\x05\x06" + strings.Repeat("\x00", 18)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		at := filepath.Join(dir, "x-1-py3-none-any.whl")
		if err := os.WriteFile(at, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		w, err := openWheel(at)
		if err != nil {
			return
		}
		defer w.Close()
		if found, err := join(w.models()); err == nil {
			for _, m := range found {
				_, _ = m.size()
			}
		}
	})
}
