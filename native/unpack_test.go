package native

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// entry is one member of an archive that a test makes.
type entry struct {
	name string
	body string
	kind byte // a tar.Type…; 0 = a plain file
}

func zipped(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		h.SetMode(0o644)
		if e.kind == tar.TypeSymlink {
			h.SetMode(fs.ModeSymlink | 0o777)
		}
		w, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tarred(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	w := tar.NewWriter(gz)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Mode: 0o644}
		switch e.kind {
		case tar.TypeSymlink, tar.TypeLink:
			h.Linkname = e.body
		case tar.TypeChar, tar.TypeDir:
		default:
			h.Size = int64(len(e.body))
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte(e.body)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unpackBytes unpacks an archive of the given name into dst, a folder inside a folder of its own.
func unpackBytes(t testing.TB, name string, data []byte, wanted []File, g guard) (dst string, files []unpacked, err error) {
	t.Helper()
	dir := t.TempDir()
	archive := filepath.Join(dir, name)
	if err := os.WriteFile(archive, data, 0o644); err != nil {
		t.Fatal(err)
	}
	dst = filepath.Join(dir, "in", "dst")
	if err := os.MkdirAll(dst, 0o755); err != nil {
		t.Fatal(err)
	}
	files, err = unpack(archive, dst, wanted, g)
	return dst, files, err
}

func TestUnpackRefuses(t *testing.T) {
	small := guard{members: 3, file: 100, total: 1 << 20}
	cases := []struct {
		name    string
		entries []entry
		wanted  []File
		want    string
	}{
		{"parent", []entry{{name: "a"}, {name: "../evil"}}, nil, `"../evil" would be written outside`},
		{"parent, not wanted", []entry{{name: "a"}, {name: "../evil"}}, []File{{Path: "a"}}, "outside"},
		{"parent in the middle", []entry{{name: "a/../../evil"}}, nil, "outside"},
		{"parent that stays inside", []entry{{name: "a/../b"}}, nil, "outside"},
		{"absolute", []entry{{name: "/etc/evil"}}, nil, "outside"},
		{"backslash", []entry{{name: `..\evil`}}, nil, "outside"},
		{"empty part", []entry{{name: "a//b"}}, nil, "outside"},
		{"symlink", []entry{{name: "a", body: "/etc", kind: tar.TypeSymlink}, {name: "a/evil"}}, nil, "no plain file"},
		{"twice", []entry{{name: "a", body: "x"}, {name: "a", body: "y"}}, nil, "exists"},
		{"file as folder", []entry{{name: "a", body: "x"}, {name: "a/b", body: "y"}}, nil, "a"},
		{"many", []entry{{name: "a"}, {name: "b"}, {name: "c"}, {name: "d"}}, nil, "more than 3 entries"},
		{"large", []entry{{name: "a", body: string(make([]byte, 101))}}, nil, "over the limit"},
		{"lacking", []entry{{name: "a", body: "x"}}, []File{{Path: "a"}, {Path: "lib/*.so"}}, `no "lib/*.so"`},
		{"other bytes", []entry{{name: "a", body: "x"}}, []File{{Path: "a", SHA256: onesDigest}}, "expected " + onesDigest},
		{"nothing", nil, nil, "holds no file"},
	}
	for _, c := range cases {
		for file, data := range map[string][]byte{"x.whl": zipped(t, c.entries...), "x.tgz": tarred(t, c.entries...)} {
			dst, _, err := unpackBytes(t, file, data, c.wanted, small)
			if err == nil {
				t.Errorf("%s, %s: accepted", c.name, file)
				continue
			}
			wantError(t, err, c.want)
			if others, _ := filepath.Glob(filepath.Join(filepath.Dir(dst), "*")); len(others) != 1 {
				t.Errorf("%s, %s: written outside: %q", c.name, file, others)
			}
		}
	}
}

func TestUnpackBoundsTheSum(t *testing.T) {
	entries := []entry{{name: "a", body: string(make([]byte, 90))}, {name: "b", body: string(make([]byte, 90))}}
	g := guard{members: 10, file: 100, total: 150}
	for file, data := range map[string][]byte{"x.whl": zipped(t, entries...), "x.tgz": tarred(t, entries...)} {
		_, _, err := unpackBytes(t, file, data, []File{{Path: "b"}, {Path: "a"}}, g)
		wantError(t, err, "limit")
	}
}

const onesDigest = "1111111111111111111111111111111111111111111111111111111111111111"

func TestUnpackRefusesSpecialTarEntries(t *testing.T) {
	for _, kind := range []byte{tar.TypeLink, tar.TypeChar} {
		data := tarred(t, entry{name: "a", body: "/etc/passwd", kind: kind}, entry{name: "b", body: "x"})
		_, _, err := unpackBytes(t, "x.tgz", data, nil, defaultGuard)
		wantError(t, err, `"a" is no plain file`)
		_, files, err := unpackBytes(t, "x.tgz", data, []File{{Path: "b"}}, defaultGuard)
		if err != nil || len(files) != 1 {
			t.Errorf("a link that nobody wants is in the way: %v, %v", files, err)
		}
	}
}

func TestUnpackRefusesALyingZipSize(t *testing.T) {
	data := zipped(t, entry{name: "a", body: string(make([]byte, 1<<20))})
	at := bytes.Index(data, []byte("PK\x01\x02")) // the central directory: uncompressed size at 24
	copy(data[at+24:], []byte{10, 0, 0, 0})
	_, _, err := unpackBytes(t, "x.zip", data, nil, defaultGuard)
	if err == nil {
		t.Error("accepted")
	}
}

func TestUnpackTakesWhatIsWanted(t *testing.T) {
	entries := []entry{{name: "./", kind: tar.TypeDir}, {name: "./lib/a.so", body: "A"}, {name: "lib/b.so", body: "B"},
		{name: "lib/c.txt", body: "C"}, {name: "data/x/y", body: "Y"}}
	wanted := []File{{Path: "lib/*.so"}, {Path: "data/"}}
	for file, data := range map[string][]byte{"x.tgz": tarred(t, entries...), "x.zip": zipped(t, entry{name: "lib/", kind: tar.TypeDir},
		entry{name: "lib/a.so", body: "A"}, entry{name: "lib/b.so", body: "B"}, entry{name: "lib/c.txt", body: "C"}, entry{name: "data/x/y", body: "Y"})} {
		dst, files, err := unpackBytes(t, file, data, wanted, defaultGuard)
		if err != nil {
			t.Fatal(file, err)
		}
		if len(files) != 3 {
			t.Errorf("%s: %v", file, files)
		}
		for name, body := range map[string]string{"lib/a.so": "A", "lib/b.so": "B", "data/x/y": "Y"} {
			if b, err := os.ReadFile(filepath.Join(dst, name)); err != nil || string(b) != body {
				t.Errorf("%s: %s: %q, %v", file, name, b, err)
			}
		}
		if _, err := os.Stat(filepath.Join(dst, "lib", "c.txt")); err == nil {
			t.Errorf("%s: c.txt was not wanted", file)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	for _, e := range [][]entry{{{name: "a/b", body: "x"}}, {{name: "../a", body: "x"}}, {{name: "a", body: "b", kind: tar.TypeSymlink}}} {
		f.Add(zipped(f, e...), false)
		f.Add(tarred(f, e...), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, tgz bool) {
		name := "x.zip"
		if tgz {
			name = "x.tgz"
		}
		g := guard{members: 100, file: 1 << 16, total: 1 << 18}
		dst, files, err := unpackBytes(t, name, data, nil, g)
		if others, _ := filepath.Glob(filepath.Join(filepath.Dir(dst), "*")); len(others) != 1 {
			t.Errorf("written outside: %q", others)
		}
		if err != nil {
			return
		}
		for _, u := range files {
			if err := verifyFile(filepath.Join(dst, filepath.FromSlash(u.Path)), u.SHA256); err != nil {
				t.Error(err)
			}
		}
	})
}
