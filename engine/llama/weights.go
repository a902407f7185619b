package llama

import (
	"context"
	"runtime"
	"slices"
	"unsafe"

	"serval"
	"serval/llm/gguf"
	"serval/llm/vocab"
)

// weights are a loaded model: what all its contexts share.
type weights struct {
	lib       *library
	name      string
	model     uintptr // llama_model
	vocab     int     // tokens
	words     *vocab.Vocabulary
	facts     facts
	width     int  // of a vector
	recurrent bool // its state cannot be cut
	adapters  map[string]*adapter
}

// load reads the model's files. When ctx ends, it stops at llama.cpp's next report.
func (l *library) load(ctx context.Context, name string, f *gguf.File, p modelParams) (*weights, error) {
	words, err := vocab.FromGGUF(f)
	if err != nil {
		return nil, serval.Errorf(serval.Unimplemented, "%s: %w", f.Paths[0], err)
	}
	key, forget := l.watched(func(float32) bool { return ctx.Err() == nil })
	defer forget()
	p.Progress, p.ProgressData = l.progress, key
	l.words()
	w := &weights{lib: l, name: name, words: words, facts: factsOf(f), adapters: map[string]*adapter{}}
	if len(f.Paths) == 1 {
		w.model = l.modelLoad(f.Paths[0], p)
	} else {
		w.model = l.loadSplits(f.Paths, p)
	}
	if w.model == 0 {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, serval.Errorf(serval.InvalidArgument, "%s: llama.cpp %s cannot load it: %s", f.Paths[0], l.release, l.words())
	}
	w.vocab = int(l.nTokens(l.getVocab(w.model)))
	w.width = int(l.nEmbdOut(w.model))
	w.recurrent = l.isRecurrent(w.model) || l.isHybrid(w.model)
	if w.vocab != words.Size() {
		w.close()
		return nil, serval.Errorf(serval.InvalidArgument, "%s: llama.cpp sees %d tokens in it, its vocabulary has %d", f.Paths[0], w.vocab, words.Size())
	}
	return w, nil
}

// loadSplits loads a model of several files.
func (l *library) loadSplits(paths []string, p modelParams) uintptr {
	var pin runtime.Pinner
	defer pin.Unpin()
	list := make([]uintptr, len(paths))
	for i, path := range paths {
		text := append([]byte(path), 0)
		pin.Pin(&text[0])
		list[i] = uintptr(unsafe.Pointer(&text[0]))
	}
	pin.Pin(&list[0])
	return l.modelSplits(uintptr(unsafe.Pointer(&list[0])), uint64(len(list)), p)
}

func (w *weights) close() {
	for _, a := range w.adapters {
		if a.ptr != 0 {
			w.lib.adapterFree(a.ptr)
		}
	}
	w.adapters = nil
	if w.model != 0 {
		w.lib.modelFree(w.model)
		w.model = 0
	}
}

// facts are what a file says of its model, as far as this package needs it.
type facts struct {
	Architecture string
	Layers       int
	Trained      int // context
	Width        int
	Inner        int // of the widest feed-forward layer
	Vocab        int
	Heads        int
	KVBytes      int64 // of one cell, in F16 values; see kvValues
	KVValues     int64 // of one cell
	State        int64 // bytes of a recurrent sequence's state
	Experts      bool
	Encoder      bool // makes vectors only
	Pooling      string
	Bytes        int64 // of all files
}

// The architectures that make vectors and no text.
var encoders = []string{
	"bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3", "eurobert", "gemma-embedding",
	"t5encoder", "llama-embed",
}

func factsOf(f *gguf.File) facts {
	arch := f.Architecture()
	number := func(key string, otherwise int64) int64 {
		if v, ok := f.Int(arch + "." + key); ok {
			return v
		}
		if list, ok := f.Ints(arch + "." + key); ok && len(list) > 0 {
			return slices.Max(list)
		}
		return otherwise
	}
	layers := number("block_count", 0)
	heads := max(number("attention.head_count", 1), 1)
	width := number("embedding_length", 0)
	x := facts{
		Architecture: arch, Layers: int(layers), Trained: int(number("context_length", 0)), Width: int(width), Inner: int(number("feed_forward_length", 4*width)),
		Heads: int(heads),
	}
	for _, size := range f.Sizes {
		x.Bytes += size
	}
	if list, ok := f.Strings("tokenizer.ggml.tokens"); ok {
		x.Vocab = len(list)
	}
	key := number("attention.key_length", width/heads)
	value := number("attention.value_length", width/heads)
	if number("attention.key_length_mla", 0) > 0 { // the values are computed from the keys
		value = 0
	}
	perLayer, each := f.Ints(arch + ".attention.head_count_kv")
	for i := range min(layers, 1<<16) {
		kv := number("attention.head_count_kv", heads)
		if each && int(i) < len(perLayer) {
			kv = perLayer[i]
		}
		x.KVValues += kv * (key + value)
	}
	if inner := number("ssm.inner_size", 0); inner > 0 {
		conv := max(number("ssm.conv_kernel", 1)-1, 0) * (inner + 2*number("ssm.group_count", 0)*number("ssm.state_size", 0))
		x.State = layers * 4 * (conv + inner*number("ssm.state_size", 0))
	}
	x.Experts = number("expert_count", 0) > 0
	causal, said := f.Bool(arch + ".attention.causal")
	x.Encoder = slices.Contains(encoders, arch) || said && !causal
	if pooling, ok := f.Int(arch + ".pooling_type"); ok && pooling >= 0 && int(pooling) < len(poolings) {
		x.Pooling = poolings[pooling]
	}
	return x
}

// poolings are C's llama_pooling_type in words.
var poolings = []string{"", "mean", "cls", "last", "rank"}
