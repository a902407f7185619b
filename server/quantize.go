package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"serval"
	"serval/engine/gguf/kernel"
	"serval/llm/gguf"
	"serval/llm/quantize"
)

// Quantization is a model that is to be written in fewer bits.
type Quantization struct {
	In         string // a GGUF file, the first of a split one, or a folder that holds one
	Out        string // the new file; folders on the way that are not there are made
	Recipe     quantize.Recipe
	Keep       []quantize.Override
	Requantize bool
	Replace    bool                    // a file that Out names already
	Progress   func(done, total int64) // bytes written; nil: nobody looks
}

// Quantized is what became of a model.
type Quantized struct {
	In      ModelFile      `json:"source"`
	Out     ModelFile      `json:"result"`
	Types   []TypeCount    `json:"types"`             // of the result's tensors, the largest first
	Instead []StandIn      `json:"instead,omitempty"` // types that were wanted and did not fit
	Choices []TensorChoice `json:"tensors,omitempty"` // each of them
}

// ModelFile is a model's file, or all parts of it.
type ModelFile struct {
	Path  string  `json:"path"`
	Type  string  `json:"type"`
	Bytes int64   `json:"bytes"`
	Bits  float64 `json:"bits_per_weight"`
}

// TypeCount is how much of a file has a type.
type TypeCount struct {
	Type    string `json:"type"`
	Tensors int    `json:"tensors"`
	Bytes   int64  `json:"bytes"`
}

// StandIn is a type that tensors got because their rows are no multiple of the block of another.
type StandIn struct {
	Wanted  string `json:"wanted"`
	Got     string `json:"got"`
	Width   int64  `json:"width"`
	Tensors int    `json:"tensors"`
}

// TensorChoice is what became of a tensor.
type TensorChoice struct {
	Name  string  `json:"name"`
	Shape []int64 `json:"shape"`
	From  string  `json:"from"`
	To    string  `json:"to"`
}

// Quantize writes a GGUF model in fewer bits.
func (w *Workbench) Quantize(ctx context.Context, q Quantization) (*Quantized, error) {
	in, err := ggufFile(q.In)
	if err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "%w", err).At("in")
	}
	if err := outside(in, q.Out, q.Replace); err != nil {
		return nil, err
	}
	f, err := gguf.Open(in)
	if err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "%w", err).At("in")
	}
	defer f.Close() // it was only read
	job, err := quantize.Plan(f, quantize.Options{Recipe: q.Recipe, Keep: q.Keep, Requantize: q.Requantize, Threads: w.cores, Decode: kernel.Dequantize})
	if err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "%s: %w", in, err).At("in")
	}
	unmake, err := makeFolders(filepath.Dir(q.Out))
	if err != nil {
		return nil, err
	}
	if err := job.Save(ctx, gguf.Saving{Path: q.Out, Replace: q.Replace, Progress: q.Progress}); err != nil {
		unmake()
		return nil, err
	}
	return quantized(f, job, in, &q), nil
}

// ggufFile is the model's file where a folder is named.
func ggufFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return path, err
	}
	name, err := gguf.Find(os.DirFS(path), "")
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return filepath.Join(path, name), nil
}

var partOfSplit = regexp.MustCompile(`-\d{5}-of-\d{5}\.gguf$`)

// outside refuses an output that cannot be, or that would take the source's place.
func outside(in, out string, replace bool) error {
	bad := func(format string, args ...any) error {
		return serval.Errorf(serval.InvalidArgument, format, args...).At("out")
	}
	if partOfSplit.MatchString(out) {
		return bad("%s is named like a part of a split model, but the model is written as one file; name it otherwise", out)
	}
	info, err := os.Stat(out)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		return bad("%s is a folder; name the file, as in %s", out, filepath.Join(out, gguf.UsualName))
	}
	if source, err := os.Stat(in); err == nil && os.SameFile(source, info) {
		return bad("%s is the source; name another file", out)
	}
	if !replace {
		return serval.Errorf(serval.Conflict, "%s is there already; --force writes over it", out).At("out")
	}
	return nil
}

// makeFolders makes a folder and those above it; unmake takes away those that it made, if they are empty.
func makeFolders(dir string) (unmake func(), err error) {
	var made []string
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		made = append(made, at)
	}
	unmake = func() {
		for _, at := range made {
			_ = os.Remove(at) // somebody else may have put something there meanwhile
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		unmake()
		return nil, err
	}
	return unmake, nil
}
