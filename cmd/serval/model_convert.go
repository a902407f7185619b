package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"serval"
	"serval/llm/convert"
	"serval/llm/gguf"
	"serval/llm/quantize"
)

// conversion is what model convert was asked for.
type conversion struct {
	convert.Options
	kind  string
	force bool
	out   remote // of which only the output's form
}

// written is what model convert says of a file.
type written struct {
	File         string   `json:"file"`
	Architecture string   `json:"architecture"`
	Type         string   `json:"type"`
	Bytes        int64    `json:"bytes"`
	Weights      int64    `json:"weights"`
	Tokens       int      `json:"tokens"`
	Notes        []string `json:"notes,omitempty"`
}

func modelConvert() *cobra.Command {
	o := &conversion{}
	c := &cobra.Command{
		Use:   "convert FOLDER OUT.gguf",
		Short: "Make a GGUF file of a model's folder from a model hub (safetensors)",
		Long: `Make a GGUF file, which Serval and llama.cpp serve, of a model as Hugging Face's libraries save it: a folder with config.json,
model.safetensors or its shards, and tokenizer.json or tokenizer.model. No Python is needed, and no code of the folder is run.

Architectures (in config.json): ` + convert.Architectures + `.

What config.json says that would change the net and is not known is an error, and so is a tokenizer that GGUF has no place for:
before anything is written, both tokenizers are asked about a sample, and must agree. OUT.gguf is there only when it is whole; folders
on the way are made, so that models/NAME/1/model.gguf is a model that a server finds. 'serval model quantize' has a table of the types.`,
		Example: `  serval model convert ~/models/SmolLM2-135M-Instruct models/smol/1/model.gguf
  serval model convert ~/models/all-MiniLM-L6-v2 minilm.gguf --type F16
  serval model convert ~/models/Qwen3-0.6B qwen3.gguf --type Q8_0 -o json`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error { return o.run(c.Context(), args[0], args[1]) },
	}
	f := c.Flags()
	f.StringVar(&o.kind, "type", "", "of the matrices: "+recipeNames()+" (default: F32, F16 or BF16, as the folder has them)")
	f.StringVar(&o.Name, "name", "", "general.name of the file (default: the folder's name)")
	f.StringSliceVar(&o.Ignore, "ignore", nil, "keys of config.json that do not change the net, though they are not known")
	f.IntVar(&o.Threads, "threads", runtime.NumCPU(), "threads that round weights")
	f.BoolVar(&o.force, "force", false, "write over OUT.gguf")
	o.out.output(c)
	return c
}

// recipeNames lists the types that a file can be written in.
func recipeNames() string {
	var names []string
	for _, r := range quantize.Recipes() {
		names = append(names, r.Name)
	}
	return strings.Join(names, ", ")
}

func (o *conversion) run(ctx context.Context, dir, path string) error {
	if o.kind != "" {
		r, err := quantize.Named(o.kind)
		if err != nil {
			return usage(fmt.Errorf("--type: %w", err))
		}
		o.Recipe = &r
	}
	if o.out.out != "table" && o.out.out != "json" {
		return usage(fmt.Errorf("-o %q: use table or json", o.out.out))
	}
	if o.Threads < 1 {
		return usage(fmt.Errorf("--threads %d: it must be at least 1", o.Threads))
	}
	if info, err := os.Stat(dir); err != nil {
		return usage(err)
	} else if !info.IsDir() {
		return usage(fmt.Errorf("%s is no folder; name the one that has config.json", dir))
	}
	if info, err := os.Stat(path); err == nil && (info.IsDir() || !o.force) {
		if info.IsDir() {
			return usage(fmt.Errorf("%s is a folder; name the file to write", path))
		}
		return usage(fmt.Errorf("%s is there already; take another name, or say --force", path))
	}
	o.Dir = dir
	m, err := convert.Open(o.Options)
	if err != nil {
		return blame(err)
	}
	w := written{File: path, Architecture: m.Architecture, Type: m.Type, Weights: m.Weights, Tokens: m.Tokens, Notes: m.Notes}
	if w.Bytes, err = m.Size(); err != nil {
		return errors.Join(err, m.Close())
	}
	folder := filepath.Dir(path)
	_, missing := os.Stat(folder)
	if err = os.MkdirAll(folder, 0o755); err == nil {
		err = m.Save(ctx, gguf.Saving{Path: path, Replace: o.force, Progress: bytesWritten("writing " + path)})
	}
	if err != nil && missing != nil {
		_ = os.Remove(folder) // if it is empty
	}
	if ctx.Err() != nil && err != nil {
		err = &exitError{code: exitInterrupted, err: errors.New("stopped; nothing was written")}
	}
	if errors.Is(err, fs.ErrExist) {
		err = fmt.Errorf("%w; take another name, or say --force", err)
	}
	if failed := m.Close(); err == nil {
		err = failed
	}
	if err != nil {
		return blame(err)
	}
	return o.out.emit(w, func(out io.Writer) error {
		fmt.Fprintf(out, "%s\t%s, %s, %s, %.1f M weights, %d tokens\n",
			w.File, w.Architecture, w.Type, mebibytes(w.Bytes), float64(w.Weights)/1e6, w.Tokens)
		for _, note := range w.Notes {
			fmt.Fprintf(out, "note\t%s\n", note)
		}
		return nil
	})
}

// blame makes a mistake of the folder's one of the command line.
func blame(err error) error {
	var e *serval.Error
	if errors.As(err, &e) && e.Code == serval.InvalidArgument {
		return usage(err)
	}
	return err
}
