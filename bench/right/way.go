package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"serval"
	"serval/engine"
	"serval/engine/gguf"
	"serval/engine/llama"
	"serval/native"
)

// way is a way of computing the model's numbers.
type way struct {
	name, title string
	own         bool   // engine/gguf; else engine/llama
	exact       bool   // of the F32 file: weights as the model has them, activations that are not rounded
	native      bool   // with llama-server's build of the library
	variant     string // with the shipped library of which only this variant of ggml's CPU code is left
	chunk       int    // tokens of a prompt that are computed at once; 0: as many as there are
	options     map[string]string
}

func ways() []way {
	return []way{
		{name: "own", title: "engine gguf", own: true},
		{name: "own-single", title: "engine gguf, token by token", own: true, chunk: 1},
		{name: "own-kv8", title: "engine gguf, keys and values as Q8_0", own: true, options: map[string]string{"kv_type": "q8_0"}},
		{name: "own-bf16", title: "engine gguf, keys and values as bf16", own: true, options: map[string]string{"kv_type": "bf16"}},
		{name: "own-f32", title: "engine gguf, F32 weights and activations", own: true, exact: true},
		{name: "own-f32-kv8", title: "engine gguf, F32, keys and values as Q8_0", own: true, exact: true, options: map[string]string{"kv_type": "q8_0"}},
		{name: "llama", title: "llama.cpp, shipped library"},
		{name: "llama-skylakex", title: "llama.cpp, its code for AVX-512 without VNNI", variant: "skylakex"},
		{name: "llama-haswell", title: "llama.cpp, its code for AVX2", variant: "haswell"},
		{name: "llama-sandybridge", title: "llama.cpp, its code for AVX", variant: "sandybridge"},
		{name: "llama-x64", title: "llama.cpp, its portable code", variant: "x64"},
		{name: "llama-native", title: "llama.cpp, llama-server's build", native: true},
		{name: "llama-single", title: "llama.cpp, shipped, token by token", chunk: 1},
		{name: "llama-halves", title: "llama.cpp, shipped, prompts in pieces of 128", chunk: 128},
		{name: "llama-noflash", title: "llama.cpp, shipped, flash attention off", options: map[string]string{"flash_attention": "off"}},
		{name: "llama-kv8", title: "llama.cpp, shipped, keys and values as Q8_0", options: map[string]string{"kv_type": "q8_0"}},
		{name: "llama-f32", title: "llama.cpp, F32 weights and activations", exact: true},
		{name: "llama-f32-kv8", title: "llama.cpp, F32, keys and values as Q8_0", exact: true, options: map[string]string{"kv_type": "q8_0"}},
	}
}

// chosen are the ways of a list of names.
func chosen(names string) ([]way, error) {
	var list []way
	for _, name := range strings.FieldsFunc(names, func(r rune) bool { return r == ',' }) {
		at := slices.IndexFunc(ways(), func(w way) bool { return w.name == name })
		if at < 0 {
			return nil, fmt.Errorf("-of: no way of computing %q; -list shows them", name)
		}
		list = append(list, ways()[at])
	}
	if len(list) < 2 {
		return nil, fmt.Errorf("-of: name two or more; the first is what the others are compared with")
	}
	return list, nil
}

// open opens the model. dir is for the files that this takes; it must be there until the model is closed.
func (w *way) open(ctx context.Context, o *options, dir string, text serval.TextSettings) (engine.Decoder, error) {
	file := o.gguf
	if w.exact {
		file = o.exact
	}
	if _, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("%s: %w (bench/text/setup.sh makes it)", w.name, err)
	}
	folder := filepath.Join(dir, "1")
	if err := os.Mkdir(folder, 0o755); err != nil {
		return nil, err
	}
	if err := os.Symlink(file, filepath.Join(folder, "model.gguf")); err != nil {
		return nil, err
	}
	text.Chunk = w.chunk
	spec := engine.Spec{Name: w.name, Dir: folder, Settings: serval.ModelSettings{Text: &text, Options: w.options}, Threads: o.threads}
	var e engine.Engine = gguf.New()
	if !w.own {
		store, err := w.store(ctx, o, dir)
		if err != nil {
			return nil, err
		}
		e = llama.New(store)
	}
	m, err := e.Open(ctx, spec)
	if err != nil {
		return nil, err
	}
	d, ok := m.(engine.Decoder)
	if !ok {
		return nil, fmt.Errorf("%s is no model that makes text", file)
	}
	return d, nil
}

// store finds the library of llama.cpp.
func (w *way) store(ctx context.Context, o *options, dir string) (*native.Store, error) {
	home, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	settings := native.Options{Cache: filepath.Join(home, "serval"), Progress: os.Stderr}
	if w.native {
		settings.Libraries = map[string]string{"llama": o.library}
		return native.New(settings), nil
	}
	store := native.New(settings)
	path, err := store.Ensure(ctx, "llama")
	if err != nil || w.variant == "" {
		return store, err
	}
	if settings.Libraries, err = only(path, w.variant, filepath.Join(dir, "lib")); err != nil {
		return nil, err
	}
	return native.New(settings), nil
}

// only copies the library's folder, but of ggml's variants for processors one alone: then that is what is loaded.
func only(path, variant, to string) (map[string]string, error) {
	if err := os.Mkdir(to, 0o755); err != nil {
		return nil, err
	}
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	found := false
	for _, f := range files {
		name, is := strings.CutPrefix(f.Name(), "libggml-cpu-")
		if is && name != variant+".so" {
			continue
		}
		found = found || is
		data, err := os.ReadFile(filepath.Join(filepath.Dir(path), f.Name()))
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(to, f.Name()), data, 0o755); err != nil {
			return nil, err
		}
	}
	if !found {
		return nil, fmt.Errorf("the library has no variant %s", variant)
	}
	return map[string]string{"llama": filepath.Join(to, filepath.Base(path))}, nil
}

// code is the library whose code computes, as the system has it in memory.
func code() string {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return ""
	}
	for _, line := range strings.Split(string(maps), "\n") {
		if at := strings.Index(line, "libggml-cpu"); at >= 0 {
			return line[at:]
		}
	}
	return ""
}
