package native

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"serval"
)

func TestManifestIsSound(t *testing.T) {
	seen := map[string]bool{}
	for _, l := range Manifest() {
		if err := l.Package.check(); err != nil {
			t.Error(err)
		}
		if l.Package.digestOf(l.Path) == "" {
			t.Errorf("%s for %s/%s: no digest for %s", l.Name, l.OS, l.Arch, l.Path)
		}
		if l.Package.Size == 0 {
			t.Errorf("%s: no size", l.Package.File)
		}
		key := l.Name + l.OS + l.Arch + string(l.Package.Client)
		if seen[key] {
			t.Errorf("%s/%s: two entries for %s from %s", l.OS, l.Arch, l.Name, l.Package.Client)
		}
		seen[key] = true
	}
	for _, want := range []string{"onnxruntimelinuxamd64pip", "onnxruntimelinuxamd64npm", "onnxruntimelinuxarm64pip", "onnxruntimelinuxarm64npm"} {
		if !seen[want] {
			t.Errorf("%s is missing", want)
		}
	}
}

func TestPackageCheck(t *testing.T) {
	good := Package{Client: Pip, Name: "a", Version: "1", File: "a-1-py3-none-any.whl", SHA256: onesDigest}
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	cases := map[string]func(*Package){
		"Client":       func(p *Package) { p.Client = "conda" },
		"Name":         func(p *Package) { p.Name = "--index-url=x" },
		"Version":      func(p *Package) { p.Version = "1 --pre" },
		"File":         func(p *Package) { p.File = "../a-1-py3-none-any.whl" },
		"SHA256":       func(p *Package) { p.SHA256 = "abc" },
		"Files.Path":   func(p *Package) { p.Files = []File{{Path: "../x"}} },
		"Files.SHA256": func(p *Package) { p.Files = []File{{Path: "x", SHA256: "ABC"}} },
	}
	for field, spoil := range cases {
		p := good
		spoil(&p)
		err := p.check()
		if e := (*serval.Error)(nil); !errors.As(err, &e) || e.Param != field || e.Code != serval.InvalidArgument {
			t.Errorf("%s: %#v", field, err)
		}
	}
	for _, name := range []string{"a/b", "./a", "@a", "@/b", "@a/b/c", "git+ssh:x", "-g", ""} {
		p := Package{Client: NPM, Name: name, Version: "1", File: "a-1.tgz", SHA256: onesDigest}
		if p.check() == nil {
			t.Errorf("npm name %q was accepted", name)
		}
	}
	scoped := Package{Client: NPM, Name: "@a/b", Version: "1", File: "a-b-1.tgz", SHA256: onesDigest}
	if err := scoped.check(); err != nil {
		t.Error(err)
	}
	if f := scoped.folder(); strings.ContainsAny(f, "/@") {
		t.Errorf("folder %q", f)
	}
	sdist := good
	sdist.File = "a-1.tar.gz"
	wantError(t, sdist.check(), "no wheel", "runs their code")
}

func TestCommands(t *testing.T) {
	wheel := Package{Client: Pip, Name: "onnxruntime", Version: "1.32.0", File: "onnxruntime-1.32.0-cp312-cp312-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl"}
	want := "pip download --no-deps --only-binary=:all: --ignore-requires-python --python-version 3.12 --implementation cp --abi cp312 " +
		"--platform manylinux_2_27_x86_64 --platform manylinux_2_28_x86_64 --dest '/my cache' onnxruntime==1.32.0"
	if got := wheel.command("/my cache"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	pack := Package{Client: NPM, Name: "@a/b", Version: "1.2.3"}
	if got, want := pack.command("/c"), "mkdir -p /c && cd /c && npm pack --ignore-scripts @a/b@1.2.3"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestParseWheel(t *testing.T) {
	cases := []struct {
		file string
		want wheel
	}{
		{"a-1-py3-none-any.whl", wheel{"3.12", "py", []string{"none"}, []string{"any"}}},
		{"a-1-py2.py3-none-any.whl", wheel{"3.12", "py", []string{"none"}, []string{"any"}}},
		{"a-1-2-cp310-abi3-macosx_11_0_arm64.whl", wheel{"3.10", "cp", []string{"abi3"}, []string{"macosx_11_0_arm64"}}},
		{"a-1-cp39-cp39-linux_x86_64.whl", wheel{"3.9", "cp", []string{"cp39"}, []string{"linux_x86_64"}}},
	}
	for _, c := range cases {
		got, err := parseWheel(c.file)
		if err != nil || got.python != c.want.python || got.impl != c.want.impl || !slices.Equal(got.abis, c.want.abis) || !slices.Equal(got.platforms, c.want.platforms) {
			t.Errorf("%s: %+v, %v", c.file, got, err)
		}
	}
	for _, bad := range []string{"", "a.whl", "a-1-py3-none.whl", "a-1--none-any.whl", "a-1-p-none-any.whl", "a-1-cpython-none-any.whl", "a-1.tar.gz"} {
		if _, err := parseWheel(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func FuzzParseWheel(f *testing.F) {
	f.Add("a-1-py2.py3-none-any.whl")
	f.Add("a-1-2-cp310-abi3-macosx_11_0_arm64.whl")
	f.Fuzz(func(t *testing.T, file string) {
		w, err := parseWheel(file)
		if err == nil && (w.python == "" || len(w.impl) != 2 || len(w.abis) == 0 || len(w.platforms) == 0) {
			t.Errorf("%q: %+v", file, w)
		}
	})
}

func FuzzQuote(f *testing.F) {
	f.Add("it's")
	f.Fuzz(func(t *testing.T, s string) {
		q := quote(s)
		if strings.HasPrefix(q, "'") {
			q = strings.ReplaceAll(q[1:len(q)-1], `'\''`, "'")
		}
		if q != s {
			t.Errorf("%q came back as %q", s, q)
		}
	})
}
