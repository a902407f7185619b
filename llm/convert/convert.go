package convert

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"serval"
	"serval/llm/gguf"
	"serval/llm/quantize"
	"serval/llm/safetensors"
)

// Options say what is converted, and how.
type Options struct {
	Dir     string           // the model's folder
	Recipe  *quantize.Recipe // the types of the matrices; nil: F32, F16 or BF16, as the folder has them
	Name    string           // general.name; "": the folder's
	Ignore  []string         // keys of config.json that need not be known
	Threads int              // that encode; 0: one
}

// Model is a folder that can be converted. Close it once.
type Model struct {
	Architecture string   // as GGUF calls it
	Type         string   // of the matrices, or the recipe's name
	Tokens       int      // of the vocabulary
	Weights      int64    // numbers in all tensors
	Notes        []string // what a user should hear of
	list         []tensor
	kinds        []gguf.Type
	draft        gguf.Draft
	set          *safetensors.Set
	threads      int
}

// Open reads a folder's small files and the headers of its tensors, and finds out whether all of it can be converted.
func Open(o Options) (*Model, error) {
	n, c, err := netOf(o.Dir, o.Ignore)
	if err != nil {
		return nil, err
	}
	set, err := safetensors.Open(o.Dir)
	if err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "%w", err)
	}
	m := &Model{Architecture: n.arch, Tokens: n.vocab, set: set, threads: o.Threads}
	if err := m.open(n, c, o); err != nil {
		return nil, errors.Join(err, set.Close())
	}
	return m, nil
}

func (m *Model) open(n *net, c *config, o Options) error {
	var err error
	if m.list, err = n.find(m.set); err != nil {
		return err
	}
	x, err := readTexts(o.Dir)
	if err != nil {
		return err
	}
	w, err := wordsOf(o.Dir, x, n)
	if err != nil {
		return err
	}
	inside := c
	if text := c.object("text_config"); text != nil {
		inside = text
	}
	var generation map[string]json.RawMessage
	if _, err := readJSON(o.Dir, "generation_config.json", maxConfig, &generation); err != nil {
		return err
	}
	if err := w.specials(generation, x, c, inside); err != nil {
		return err
	}
	picks, err := sampling(generation)
	if err != nil {
		return err
	}
	if err := w.chat(o.Dir, x); err != nil {
		return err
	}
	kind, err := pooling(o.Dir)
	if err != nil {
		return err
	}
	if kind > 0 {
		n.number("pooling_type", int(kind))
	}
	m.Notes = append(n.notes, w.notes...)
	if err := m.types(o.Recipe, n.layers, n.tied); err != nil {
		return err
	}
	m.describe(n, w, o)
	for _, p := range picks {
		m.draft.Set(p.key, p.value)
	}
	f, err := m.draft.Read()
	if err != nil {
		return err
	}
	return check(f, x)
}

// types decides the types of the tensors, and adds them to the draft.
func (m *Model) types(r *quantize.Recipe, layers int, tied bool) error {
	if r == nil {
		found, err := quantize.Named(typeOf(m.list).String())
		if err != nil {
			return err
		}
		r = &found
	}
	m.Type = r.Name
	type stand struct {
		wanted, got gguf.Type
		width       int
	}
	instead := map[stand]int{}
	m.kinds = make([]gguf.Type, len(m.list))
	for i := range m.list {
		t := &m.list[i]
		kind := gguf.F32
		if !t.plain {
			var wanted gguf.Type
			kind, wanted = r.Choose(&gguf.Tensor{Name: t.name, Shape: t.shape(), Type: gguf.F32}, layers, tied)
			if kind != wanted {
				instead[stand{wanted, kind, t.cols}]++
			}
		}
		m.kinds[i] = kind
		if err := m.draft.Add(t.name, kind, t.shape()); err != nil {
			return err
		}
		m.Weights += int64(t.cols) * int64(max(t.rows, 1))
	}
	for s, count := range instead {
		m.Notes = append(m.Notes, fmt.Sprintf("%d matrices are %s and not %s: their rows of %d columns are no multiple of its block",
			count, s.got, s.wanted, s.width))
	}
	m.draft.Set("general.file_type", gguf.Num(r.FileType()))
	return nil
}

// describe sets the draft's keys.
func (m *Model) describe(n *net, w *words, o Options) {
	name := o.Name
	if name == "" {
		if abs, err := filepath.Abs(o.Dir); err == nil {
			name = filepath.Base(abs)
		}
	}
	d := &m.draft
	d.Set("general.architecture", gguf.Text(n.arch))
	d.Set("general.type", gguf.Text("model"))
	d.Set("general.name", gguf.Text(name))
	d.Set("general.quantization_version", gguf.Num(uint32(2)))
	for _, p := range n.keys {
		d.Set(n.arch+"."+p.key, p.value)
	}
	if n.bert {
		d.Set("tokenizer.ggml.token_type_count", gguf.Num(uint32(n.kinds)))
	}
	d.Set("tokenizer.ggml.model", gguf.Text(w.model))
	d.Set("tokenizer.ggml.pre", gguf.Text(w.pre))
	d.Set("tokenizer.ggml.tokens", gguf.Texts(w.tokens))
	if w.scores != nil {
		d.Set("tokenizer.ggml.scores", gguf.Nums(w.scores))
	}
	d.Set("tokenizer.ggml.token_type", gguf.Nums(w.types))
	if w.merges != nil {
		d.Set("tokenizer.ggml.merges", gguf.Texts(w.merges))
	}
	for _, p := range w.keys {
		d.Set(p.key, p.value)
	}
}

// Size is how many bytes the file will have.
func (m *Model) Size() (int64, error) { return m.draft.Size() }

// Save writes the file; s.Data is the Model's own.
func (m *Model) Save(ctx context.Context, s gguf.Saving) error {
	j := &job{set: m.set, threads: m.threads}
	next := 0
	s.Data = func(ctx context.Context, _ *gguf.Tensor, w io.Writer) error {
		i := next
		next++
		return j.data(ctx, &m.list[i], m.kinds[i], w)
	}
	return m.draft.Save(ctx, s)
}

// Close closes the folder's files.
func (m *Model) Close() error { return m.set.Close() }
