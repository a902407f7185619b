package gguf

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"serval"
	"serval/engine/gguf/kernel"
	"serval/engine/gguf/packed"
	"serval/llm/gguf"
	"serval/llm/vocab"
)

// weights are a loaded model. Its tensors are copies, repacked for the kernels; the file stays open for the rows of the embedding.
type weights struct {
	*shape
	ops    kernel.Ops
	arena  *kernel.Arena
	mapped *packed.Mapping // what the arena's matrices are read from; nil: memory
	later  func()          // once the model is there; nil: nothing
	f      *gguf.File
	words  *vocab.Vocabulary
	embed  *rows
	layer  []layer
	norm   []float32
	output *kernel.Matrix
}

// layer is one of the net's.
type layer struct {
	norm, ffnNorm  []float32
	bias           []float32 // of q, k and v; nil: none
	qNorm, kNorm   []float32 // of a head; nil: none
	post, ffnPost  []float32 // of what attention and the feed-forward layers add; nil: none
	q, k, v, o     *kernel.Matrix
	gate, up, down *kernel.Matrix
}

// load reads the tensors, which the team packs, and the vocabulary. It stops between two pieces when ctx ends.
func load(ctx context.Context, f source, x *shape, team *kernel.Team) (*weights, error) {
	var words *vocab.Vocabulary
	read := make(chan error, 1)
	go func() { // beside the tensors, which take as long
		var err error
		words, err = readWords(f.File, x)
		read <- err
	}()
	w, err := loadTensors(ctx, f, x, team)
	wordsErr := <-read
	if err == nil && wordsErr == nil {
		w.words = words
		return w, nil
	}
	if w != nil {
		_ = w.free()
	}
	return nil, cmp.Or(wordsErr, err)
}

func readWords(f *gguf.File, x *shape) (*vocab.Vocabulary, error) {
	words, err := vocab.FromGGUF(f)
	if err != nil {
		return nil, serval.Errorf(serval.Unimplemented, "%s: %w", x.file, err)
	}
	if words.Size() != x.vocab {
		return nil, serval.Errorf(serval.InvalidArgument, "%s: its vocabulary has %d tokens and its embedding %d rows", x.file, words.Size(), x.vocab)
	}
	return words, nil
}

// loadTensors makes weights without a vocabulary.
func loadTensors(ctx context.Context, f source, x *shape, team *kernel.Team) (*weights, error) {
	ops := kernel.Best()
	w := &weights{shape: x, ops: ops, arena: kernel.NewArena(ops), f: f.File, layer: make([]layer, x.layers)}
	l := newLoader(f, w.arena)
	w.embed = l.rows(embedName)
	w.norm = l.floats(outNormName)
	if x.tied {
		w.output = l.matrix(embedName)
	} else {
		w.output = l.matrix(outName)
	}
	for i := range w.layer {
		of := func(name string) string { return layerName(i, name) }
		w.layer[i] = layer{
			norm: l.floats(of("attn_norm")), ffnNorm: l.floats(of("ffn_norm")),
			q: l.matrix(of("attn_q")), k: l.matrix(of("attn_k")), v: l.matrix(of("attn_v")), o: l.matrix(of("attn_output")),
			gate: l.matrix(of("ffn_gate")), up: l.matrix(of("ffn_up")), down: l.matrix(of("ffn_down")),
		}
		if x.biases {
			for _, name := range []string{"attn_q", "attn_k", "attn_v"} {
				w.layer[i].bias = append(w.layer[i].bias, l.floats(biasName(i, name))...)
			}
		}
		if x.headNorms {
			w.layer[i].qNorm, w.layer[i].kNorm = l.floats(of("attn_q_norm")), l.floats(of("attn_k_norm"))
		}
		if x.gemma {
			w.layer[i].post, w.layer[i].ffnPost = l.floats(of("post_attention_norm")), l.floats(of("post_ffw_norm"))
		}
		if l.err != nil {
			break
		}
	}
	l.pack(ctx, team)
	if l.err != nil {
		_ = w.free()
		return nil, l.err
	}
	w.mapped, w.later = l.mapped, l.later
	return w, nil
}

// loader reads tensors and keeps the first error. What the file has not is nil.
type loader struct {
	f      *gguf.File
	kept   *packed.Store // nil: nothing is kept
	arena  *kernel.Arena
	byName map[string]*gguf.Tensor
	pieces []packing
	what   []byte // is packed, for the key of what is kept
	mapped *packed.Mapping
	later  func()
	err    error
}

// packing is some rows of a matrix that are read and packed together.
type packing struct {
	m    *kernel.Matrix
	t    *gguf.Tensor
	tile int   // the first
	at   int64 // of its rows in the tensor
	size int64
}

// atOnce is about how much of a file is read at once: what the second cache holds until it is packed.
const atOnce = 512 << 10

func newLoader(f source, arena *kernel.Arena) *loader {
	l := &loader{f: f.File, kept: f.kept, arena: arena, byName: make(map[string]*gguf.Tensor, len(f.Tensors))}
	for i := range f.Tensors {
		l.byName[f.Tensors[i].Name] = &f.Tensors[i]
	}
	return l
}

// matrix makes room for a matrix; pack fills it.
func (l *loader) matrix(name string) *kernel.Matrix {
	t := l.byName[name]
	if l.err != nil || t == nil {
		return nil
	}
	cols := t.Shape[0]
	m, err := l.arena.Room(t.Type, int(t.Elements()/cols), int(cols))
	if err != nil {
		l.err = serval.Errorf(serval.InvalidArgument, "%s: tensor %s at byte %d: %w", l.f.Paths[t.File], name, t.Offset, err)
		return nil
	}
	l.what = fmt.Appendf(l.what, "%s %s %d×%d\n", name, t.Type, m.Rows, m.Cols)
	tile := int64(16 * m.RowSize())
	step := max(1, atOnce/tile) * tile
	for at := int64(0); at < t.Size; at += step {
		l.pieces = append(l.pieces, packing{m: m, t: t, tile: int(at / tile), at: at, size: min(step, t.Size-at)})
	}
	return m
}

// fill reads and packs the matrices, several pieces at once.
func (l *loader) fill(ctx context.Context, team *kernel.Team) {
	most := int64(0)
	for i := range l.pieces {
		most = max(most, l.pieces[i].size)
	}
	scratch, errs := make([][]byte, team.Size()), make([]error, team.Size())
	for i := range scratch {
		scratch[i] = make([]byte, most)
	}
	team.Run(len(l.pieces), func(worker, i int) {
		if errs[worker] == nil {
			errs[worker] = ctx.Err()
		}
		if errs[worker] != nil {
			return
		}
		p := &l.pieces[i]
		data := scratch[worker][:p.size]
		if _, err := l.f.Data(p.t).ReadAt(data, p.at); err != nil {
			errs[worker] = serval.Errorf(serval.InvalidArgument, "%s: tensor %s at byte %d: %w", l.f.Paths[p.t.File], p.t.Name, p.t.Offset+p.at, err)
			return
		}
		p.m.Fill(p.tile, data)
	})
	l.err = cmp.Or(errs...)
}

func (l *loader) floats(name string) []float32 {
	t := l.byName[name]
	if l.err != nil || t == nil {
		return nil
	}
	list, err := floats(l.f, t)
	l.err = err
	return list
}

func (l *loader) rows(name string) *rows {
	t := l.byName[name]
	if l.err != nil || t == nil {
		return nil
	}
	r, err := newRows(l.f, t)
	l.err = err
	return r
}

// floats reads a small tensor.
func floats(f *gguf.File, t *gguf.Tensor) ([]float32, error) {
	r, err := newRows(f, &gguf.Tensor{Name: t.Name, Type: t.Type, Shape: []int64{t.Elements()}, File: t.File, Offset: t.Offset, Size: t.Size})
	if err != nil {
		return nil, err
	}
	out := make([]float32, t.Elements())
	return out, r.read(out, 0, make([]byte, r.bytes))
}

// rows reads rows of a tensor from the file.
type rows struct {
	at    *io.SectionReader
	name  string
	bytes int64 // of a row
	turn  func(dst []float32, src []byte)
}

func newRows(f *gguf.File, t *gguf.Tensor) (*rows, error) {
	turn := kernel.Dequantize(t.Type)
	if turn == nil {
		return nil, declined(f.Paths[0], "tensor %s is of type %s", t.Name, t.Type)
	}
	elements, bytes := t.Type.Block()
	return &rows{at: f.Data(t), name: t.Name, bytes: t.Shape[0] / elements * bytes, turn: turn}, nil
}

// read writes row i to dst; scratch has room for a row's bytes.
func (r *rows) read(dst []float32, i int, scratch []byte) error {
	if _, err := r.at.ReadAt(scratch[:r.bytes], int64(i)*r.bytes); err != nil {
		return serval.Errorf(serval.Internal, "row %d of tensor %s cannot be read any more (was the model's file changed?): %w", i, r.name, err)
	}
	r.turn(dst, scratch[:r.bytes])
	return nil
}

// free gives the memory of the matrices back.
func (w *weights) free() error { return w.arena.Close() }
