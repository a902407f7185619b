package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"serval"
)

// local is a file of this machine, with the other parts of the model that it may be the first of.
type local struct {
	path string
	link bool
}

func parseDisk(rest string, link bool) (source, error) {
	at := strings.TrimPrefix(rest, "//") // file:///absolute/path is a usual spelling
	if at == "" {
		return nil, serval.Errorf(serval.InvalidArgument, "file: needs a path, as in file:/data/model.gguf").At("source")
	}
	abs, err := filepath.Abs(at)
	if err != nil {
		return nil, err
	}
	return &local{abs, link}, nil
}

func (l *local) name() string  { return filepath.Base(l.path) }
func (l *local) settled() bool { return false }

func (l *local) resolve(context.Context, string) (*plan, error) {
	paths, err := parts(filepath.ToSlash(l.path))
	if err != nil {
		return nil, err
	}
	if strings.EqualFold(filepath.Ext(l.path), ".onnx") { // its weights may stand beside it
		paths = append(paths, beside(l.path)...)
	}
	out := &plan{}
	for _, p := range paths {
		p = filepath.FromSlash(p)
		info, err := os.Stat(p)
		switch {
		case errors.Is(err, os.ErrNotExist):
			return nil, serval.Errorf(serval.NotFound, "there is no file %s", p).At("source")
		case err != nil:
			return nil, serval.Errorf(serval.InvalidArgument, "%w", err).At("source")
		case !info.Mode().IsRegular():
			return nil, serval.Errorf(serval.InvalidArgument, "%s is no plain file; name the model's file", p).At("source")
		}
		out.files = append(out.files, file{path: filepath.Base(p), size: info.Size(), mark: fileMark(info), from: &disk{p, l.link}})
	}
	return out, nil
}

// beside lists the files that hold an ONNX model's weights: model.onnx.data, model.onnx_data, model.onnx_data_1.
func beside(model string) []string {
	entries, err := os.ReadDir(filepath.Dir(model))
	if err != nil {
		return nil // Stat says it better
	}
	var out []string
	for _, e := range entries {
		if rest, ok := strings.CutPrefix(e.Name(), filepath.Base(model)); ok && (strings.HasPrefix(rest, "_data") || strings.HasPrefix(rest, ".data")) {
			out = append(out, filepath.Join(filepath.Dir(model), e.Name()))
		}
	}
	return out
}

func fileMark(info os.FileInfo) string {
	return fmt.Sprintf("%d-%d", info.Size(), info.ModTime().UnixNano())
}

// disk opens a file of this machine.
type disk struct {
	path string
	link bool
}

func (d *disk) id() string {
	if d.link {
		return "link " + d.path
	}
	return d.path
}

func (d *disk) open(_ context.Context, at int64, mark string) (*stream, error) {
	f, err := os.Open(d.path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	if at > info.Size() || mark != "" && mark != fileMark(info) {
		at = 0
	}
	if _, err := f.Seek(at, io.SeekStart); err != nil {
		f.Close()
		return nil, err
	}
	return &stream{ReadCloser: f, at: at, size: info.Size(), mark: fileMark(info)}, nil
}
