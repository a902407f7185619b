//go:build linux

package gguf

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"serval"
	"serval/engine"
	"serval/engine/gguf/packed"
	"serval/llm/gguf"
)

// keeping is a store and the folder of a model whose weights it keeps.
type keeping struct {
	t        *testing.T
	store    *packed.Store
	dir      string // the store's
	model    string
	settings serval.TextSettings
}

func keep(t *testing.T, small bool) *keeping {
	t.Helper()
	k := &keeping{t: t, dir: t.TempDir(), settings: serval.TextSettings{Context: 128, Slots: 1}}
	k.model = written(t, tiny{kind: gguf.Q4_1, heads: 4, kvHeads: 2, head: 32, inner: 192, layer: 2, untied: true}.write())
	k.store = packed.New(k.dir, 0).All(small)
	return k
}

func (k *keeping) open() *decoder { return k.load().(*decoder) }

func (k *keeping) load() engine.Model {
	k.t.Helper()
	e := &Engine{kept: k.store}
	m, err := e.Open(k.t.Context(), engine.Spec{Name: "m", Dir: k.model, Settings: serval.ModelSettings{Text: &k.settings}, Threads: 2})
	if err != nil {
		k.t.Fatal(err)
	}
	return m
}

// answer loads the model, has it say the log-probabilities of all tokens of a prompt and go on, and unloads it once it has written so many
// files in all.
func (k *keeping) answer(wrote int64) *answer {
	k.t.Helper()
	d := k.open()
	in := greedy(someTokens(40, 1), 10)
	in.PromptLogprobs, in.Logprobs, in.Sampling.IgnoreEnd = 20, 20, true
	a := ask(in)
	run(k.t, d, a)
	k.wait(wrote)
	if err := d.Close(); err != nil {
		k.t.Error(err)
	}
	return a
}

// wait waits until so many files were written.
func (k *keeping) wait(wrote int64) {
	k.t.Helper()
	for range 1000 {
		if _, n, _ := k.store.Counts(); n >= wrote {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	k.t.Fatal("nothing was written")
}

func (k *keeping) counts(mapped, wrote, refused int64) {
	k.t.Helper()
	if a, b, c := k.store.Counts(); a != mapped || b != wrote || c != refused {
		k.t.Errorf("%d files were mapped, %d written and %d refused; want %d, %d and %d", a, b, c, mapped, wrote, refused)
	}
}

// file is the one that was kept.
func (k *keeping) file() string {
	k.t.Helper()
	list, err := filepath.Glob(filepath.Join(k.dir, "*.weights"))
	if err != nil || len(list) != 1 {
		k.t.Fatalf("%v, %v", list, err)
	}
	return list[0]
}

// A second start takes what the first has kept, mapped or, where pages are small, copied, and computes the same to the last bit; what was
// hurt meanwhile is packed and written anew.
func TestSecondStart(t *testing.T) {
	for name, small := range map[string]bool{"mapped": true, "copied where pages are small": false} {
		t.Run(name, func(t *testing.T) {
			k := keep(t, small)
			first := k.answer(1)
			k.counts(0, 1, 0)
			d := k.open()
			if (d.mapped != nil) != small || d.later != nil || d.arena.Used() != d.plan.weights {
				t.Errorf("mapped: %v, %d bytes of %d", d.mapped != nil, d.arena.Used(), d.plan.weights)
			}
			if maps, _ := os.ReadFile("/proc/self/maps"); strings.Contains(string(maps), k.file()) != small {
				t.Error("the file is mapped where it is to be copied, or is not")
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			if maps, _ := os.ReadFile("/proc/self/maps"); strings.Contains(string(maps), k.file()) {
				t.Error("an unloaded model is still mapped")
			}
			if !equal(k.answer(1), first) {
				t.Error("it computes something else")
			}
			k.counts(2, 1, 0)
			raw, err := os.ReadFile(k.file())
			if err != nil {
				t.Fatal(err)
			}
			for i, hurt := range [][]byte{raw[:len(raw)-100], append(bytes.Clone(raw[:len(raw)-1]), raw[len(raw)-1]^1), {}} {
				if err := os.WriteFile(k.file(), hurt, 0o600); err != nil {
					t.Fatal(err)
				}
				if !equal(k.answer(int64(i+2)), first) {
					t.Error("from a damaged file it computes something else")
				}
				k.counts(2, int64(i+2), int64(i+1))
			}
		})
	}
}

// A model's file that was changed is packed anew, though its size and times are what they were.
func TestChangedFile(t *testing.T) {
	k := keep(t, true)
	first := k.answer(1)
	path := filepath.Join(k.model, "model.gguf")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	at := f.Tensor("blk.1.ffn_down.weight").Offset
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // the file system's clock
	out, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if _, err := out.ReadAt(b[:], at+1); err != nil { // of a block's scale
		t.Fatal(err)
	}
	b[0] ^= 0x80 // its sign
	if _, err := out.WriteAt(b[:], at+1); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(out.Close(), os.Chtimes(path, info.ModTime(), info.ModTime())); err != nil {
		t.Fatal(err)
	}
	if again, err := os.Stat(path); err != nil || again.Size() != info.Size() || !again.ModTime().Equal(info.ModTime()) {
		t.Fatalf("%v", err)
	}
	if equal(k.answer(2), first) {
		t.Error("a weight was changed, and it computes the same")
	}
	k.counts(0, 2, 0)
}

// Loads at once share what is kept, and what cannot be kept is no error.
func TestLoadsAtOnce(t *testing.T) {
	k := keep(t, true)
	want := k.answer(1)
	if err := os.Remove(k.file()); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 3 {
				d := k.open()
				in := greedy(someTokens(40, 1), 10)
				in.PromptLogprobs, in.Logprobs, in.Sampling.IgnoreEnd = 20, 20, true
				a := ask(in)
				run(t, d, a)
				if !equal(a, want) {
					t.Error("one of several computes something else")
				}
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if _, _, refused := k.store.Counts(); refused != 0 {
		t.Errorf("%d files were refused", refused)
	}
	k.store = packed.New(filepath.Join(k.model, "model.gguf", "x"), 0).All(true) // no folder can be there
	d := k.open()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	k.counts(0, 0, 0)
}

// Kept weights that are cut short while they are mapped end answers with an error, not the process.
func TestKeptCutShort(t *testing.T) {
	k := keep(t, true)
	k.answer(1)
	d := k.open()
	if d.mapped == nil {
		t.Fatal("it is not mapped")
	}
	if err := os.Truncate(k.file(), 4096); err != nil {
		t.Fatal(err)
	}
	a := ask(greedy(someTokens(5, 1), 3))
	if err := d.Admit(&a.call); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Step(t.Context()); !errors.Is(err, packed.ErrGone) || !a.ended || a.err == nil {
		t.Errorf("%v; %v", err, a.err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	k.answer(2) // and the next start packs
}

// An encoder's weights are kept, too, and what is cut short while it is mapped ends its calls with an error.
func TestKeptEncoder(t *testing.T) {
	k := keep(t, true)
	k.model = written(t, smallBert.write())
	first := k.load().(*encoder)
	want := vectorsOf(t, first, "", someTokens(40, 1))
	k.wait(1)
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	e := k.load().(*encoder)
	if e.mapped == nil || e.later != nil || !slices.Equal(vectorsOf(t, e, "", someTokens(40, 1))[0], want[0]) {
		t.Errorf("mapped %v; or its vectors are others", e.mapped != nil)
	}
	k.counts(1, 1, 0)
	if err := os.Truncate(k.file(), 4096); err != nil {
		t.Fatal(err)
	}
	a := ask(&serval.Encode{List: [][]int32{someTokens(5, 1)}})
	if err := e.Admit(&a.call); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Step(t.Context()); !errors.Is(err, packed.ErrGone) || !a.ended || a.err == nil {
		t.Errorf("%v; %v", err, a.err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// An engine keeps what its libraries have a folder for, if it is let.
func TestNewKeeping(t *testing.T) {
	if NewKeeping(nil, Options{}).kept != nil || NewKeeping(folders(""), Options{}).kept != nil || NewKeeping(folders("x"), Options{PackedMiB: -1}).kept != nil {
		t.Error("it keeps where it cannot or must not")
	}
	e := NewKeeping(folders("x"), Options{PackedMiB: 100})
	if e.kept == nil || !e.kept.Keeps(90<<20) || e.kept.Keeps(101<<20) || e.kept.Keeps(1<<20) {
		t.Error("it does not keep as it is told")
	}
}

type folders string

func (f folders) Find(string) (string, error) { return "", errors.ErrUnsupported }
func (f folders) Folder(string) string        { return string(f) }
