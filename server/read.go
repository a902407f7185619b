package server

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"serval"
	"serval/config"
	"serval/engine"
	"serval/wire/mlserver"
	"serval/wire/triton"
)

// ownFile is Serval's own file in a model's folder.
const ownFile = "model.yaml"

// reader reads what a model's folder says of the model: Serval's own file, or that of another server, whose repositories are
// served as they are.
type reader struct {
	engines []engine.Engine
	name    string // of a model whose folder is a root; "": as its own files or its folder say
	log     *slog.Logger
}

// settingsFile is one kind of file; the first that a folder has counts.
type settingsFile struct {
	name    string
	foreign bool // a configuration that a load request brings stands in its place
	read    func(model, dir string, raw []byte, file string) (serval.ModelSettings, error)
}

func settingsFiles() []settingsFile {
	return []settingsFile{
		{ownFile, false, readOwn},
		{triton.FileName, true, readTriton},
		{mlserver.FileName, true, readMLServer},
	}
}

// foreignFile is another server's file in a model's folder; "" if there is none.
func foreignFile(dir string) string {
	for _, kind := range settingsFiles() {
		file := filepath.Join(dir, kind.name)
		if _, err := os.Stat(file); err == nil && kind.foreign {
			return file
		}
	}
	return ""
}

// CheckModelFile reads a file with a model's settings, Serval's own or another server's, as its name says, without the model.
// notes are the settings in it that have no effect. It reports false for a file of another name.
func CheckModelFile(file string, raw []byte) (notes []string, known bool, err error) {
	dir := filepath.Dir(file)
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	for _, kind := range settingsFiles() {
		if strings.HasSuffix(file, kind.name) || kind.name == triton.FileName && filepath.Ext(file) == filepath.Ext(kind.name) {
			s, err := kind.read(filepath.Base(dir), dir, raw, file)
			return s.Notes, true, err
		}
	}
	return nil, false, nil
}

// read implements registry.Options.Read.
func (r *reader) read(name, dir string, override *serval.ModelSettings) (serval.ModelSettings, error) {
	for _, kind := range settingsFiles() {
		file := filepath.Join(dir, kind.name)
		raw, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if override != nil && len(override.Declared) > 0 && kind.foreign {
			return serval.ModelSettings{}, nil
		}
		if err != nil {
			return serval.ModelSettings{}, err
		}
		settings, err := kind.read(name, dir, raw, file)
		if err != nil {
			return serval.ModelSettings{}, err
		}
		for _, note := range settings.Notes {
			r.log.Warn("a setting of the model has no effect", "model", name, "file", file, "setting", note)
		}
		return settings, nil
	}
	if len(versionFiles(dir)) > 0 { // MLServer serves every version; see version
		return serval.ModelSettings{Versions: serval.VersionPolicy{All: true}}, nil
	}
	return serval.ModelSettings{}, nil
}

// versionFiles are the model-settings.json of a model's version folders: MLServer's other layout.
func versionFiles(dir string) []string {
	files, _ := filepath.Glob(filepath.Join(glob(dir), "[0-9]*", mlserver.FileName))
	return files
}

// glob is a path as a pattern that matches it alone.
func glob(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// version implements registry.Options.Version.
func (r *reader) version(dir string, s serval.ModelSettings) (serval.ModelSettings, error) {
	file := filepath.Join(dir, mlserver.FileName)
	raw, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	own, err := readMLServer("", dir, raw, file)
	if err != nil {
		return s, err
	}
	own.Version = "" // the folder's
	return merge(own, s), nil
}

func readOwn(_, _ string, raw []byte, file string) (serval.ModelSettings, error) {
	return config.ReadModel(raw, file)
}

func readTriton(model, _ string, raw []byte, file string) (serval.ModelSettings, error) {
	c, err := triton.ReadText(raw, file)
	if err != nil {
		return serval.ModelSettings{}, err
	}
	if c.Name != "" && c.Name != model {
		return serval.ModelSettings{}, fmt.Errorf("%s: name: is %q, the model's folder is %q; they must be the same, or name be left out", file, c.Name, model)
	}
	s, err := triton.Settings(c, file)
	if err != nil {
		return serval.ModelSettings{}, err
	}
	return s, config.CheckModel(&s, file)
}

func readMLServer(_, dir string, raw []byte, file string) (serval.ModelSettings, error) {
	c, err := mlserver.Read(raw, file)
	if err != nil {
		return serval.ModelSettings{}, err
	}
	s, err := c.Settings(dir, file)
	if err != nil {
		return serval.ModelSettings{}, err
	}
	return s, config.CheckModel(&s, file)
}

// alone implements registry.Options.Alone: a root is one model's folder if it holds a file with settings, or nothing but
// version folders, or no folders and an artefact. So KServe lays out what it mounts.
func (r *reader) alone(root string) (string, bool) {
	name := r.name
	if abs, err := filepath.Abs(root); name == "" && err == nil {
		name = filepath.Base(abs)
	}
	for _, kind := range settingsFiles() {
		raw, err := os.ReadFile(filepath.Join(root, kind.name))
		if err != nil {
			continue
		}
		if own := ownName(kind.name, raw); r.name == "" && own != "" {
			name = own
		}
		return name, true
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return "", false
	}
	version := ""
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || strings.HasPrefix(e.Name(), "_") {
			continue
		}
		info, err := os.Stat(filepath.Join(root, e.Name()))
		if err != nil || !info.IsDir() {
			continue
		}
		if n, err := strconv.ParseInt(e.Name(), 10, 64); err != nil || n < 0 {
			return "", false // a model's folder
		}
		version = e.Name()
	}
	return name, r.detected(filepath.Join(root, version))
}

// detected says whether an engine takes what is in a folder.
func (r *reader) detected(dir string) bool {
	for _, e := range r.engines {
		if rank, _ := e.Detect(os.DirFS(dir)); rank > engine.OnlyIfAsked {
			return true
		}
	}
	return false
}

// ownName is what a file with settings calls the model; "" where it does not, or cannot be read.
func ownName(kind string, raw []byte) string {
	switch kind {
	case triton.FileName:
		if c, err := triton.ReadText(raw, kind); err == nil {
			return c.Name
		}
	case mlserver.FileName:
		if c, err := mlserver.Read(raw, kind); err == nil {
			return c.Name
		}
	}
	return ""
}

// named implements registry.Options.Name: MLServer's models may be called otherwise than their folders. (Triton's must not.)
func (r *reader) named(dir string) string {
	for _, kind := range settingsFiles() {
		raw, err := os.ReadFile(filepath.Join(dir, kind.name))
		if err != nil {
			continue
		}
		if kind.name == mlserver.FileName {
			return ownName(kind.name, raw)
		}
		return ""
	}
	for _, file := range versionFiles(dir) {
		if raw, err := os.ReadFile(file); err == nil {
			return ownName(mlserver.FileName, raw)
		}
	}
	return ""
}
