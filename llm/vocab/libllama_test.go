package vocab

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
)

// theirs is libllama, for comparison. It is opened once and stays open.
type theirs struct {
	load      func(path string, p theirParams) uintptr
	free      func(model uintptr)
	vocab     func(model uintptr) uintptr
	tokenize  func(vocab uintptr, text *byte, n int32, ids *int32, room int32, around, special bool) int32
	piece     func(vocab uintptr, id int32, buf *byte, n, lstrip int32, special bool) int32
	end       func(vocab uintptr, id int32) bool
	attribute func(vocab uintptr, id int32) int32
	bos, eos  func(vocab uintptr) int32
	defaults  func() theirParams
}

// theirParams is C's llama_model_params of llama.cpp v0.5: 72 bytes that stay as they are, then bools of which the first says
// that only the vocabulary is read.
type theirParams struct {
	_         [9]uint64
	VocabOnly bool
	_         [7]bool
}

var openTheirs = sync.OnceValues(func() (*theirs, error) {
	var paths []string
	if dir, err := os.UserCacheDir(); err == nil {
		for _, p := range []string{"serval/packages/*/package/bins/linux-x64", "serval/packages/*/bins/linux-x64", "serval-test/*/package/bins/linux-x64", "serval-dev/npm/x64/package/bins/linux-x64"} {
			found, _ := filepath.Glob(filepath.Join(dir, p, "libllama.*so"))
			paths = append(paths, found...)
		}
	}
	if len(paths) == 0 || runtime.GOARCH != "amd64" {
		return nil, os.ErrNotExist
	}
	lib, err := purego.Dlopen(paths[0], purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, err
	}
	t := &theirs{}
	for name, f := range map[string]any{"llama_model_load_from_file": &t.load, "llama_model_free": &t.free, "llama_model_get_vocab": &t.vocab,
		"llama_tokenize": &t.tokenize, "llama_token_to_piece": &t.piece, "llama_vocab_is_eog": &t.end, "llama_vocab_get_attr": &t.attribute,
		"llama_model_default_params": &t.defaults, "llama_vocab_bos": &t.bos, "llama_vocab_eos": &t.eos} {
		purego.RegisterLibFunc(f, lib, name)
	}
	var backend func()
	purego.RegisterLibFunc(&backend, lib, "llama_backend_init")
	var log func(uintptr, uintptr)
	purego.RegisterLibFunc(&log, lib, "llama_log_set")
	log(purego.NewCallback(func(level uintptr, text *byte, _ uintptr) uintptr { return 0 }), 0)
	backend()
	return t, nil
})

// theirVocabulary is libllama's vocabulary of a file; without the library the test is skipped.
func theirVocabulary(t testing.TB, path string) (*theirs, uintptr) {
	t.Helper()
	lib, err := openTheirs()
	if err != nil {
		t.Skipf("no libllama in the cache (%v); test/setup.sh fetches it", err)
	}
	p := lib.defaults()
	p.VocabOnly = true
	model := lib.load(path, p)
	if model == 0 {
		t.Fatalf("libllama does not load %s", path)
	}
	t.Cleanup(func() { lib.free(model) })
	return lib, lib.vocab(model)
}

// encode tokenizes by libllama.
func (l *theirs) encode(vocab uintptr, text string, o Options) []int32 {
	ids := make([]int32, 2*len(text)+16)
	b := append([]byte(text), 0)
	n := l.tokenize(vocab, &b[0], int32(len(text)), &ids[0], int32(len(ids)), o.Around, o.Special)
	if n < 0 {
		panic("libllama asks for more room than there is")
	}
	return ids[:n]
}

// text is what libllama prints for a token.
func (l *theirs) text(vocab uintptr, id int32) []byte {
	b := make([]byte, 4096)
	n := l.piece(vocab, id, unsafe.SliceData(b), int32(len(b)), 0, true)
	if n < 0 {
		return nil
	}
	return b[:n]
}

// ggufs are the GGUF files in the developer's cache: whole models, and vocabularies that llama.cpp's source comes with.
func ggufs(t testing.TB) []string {
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	var out []string
	for _, p := range []string{"serval-test/gguf/*.gguf", "serval-test/vocab/*.gguf", "serval-dev/gguf/*.gguf", "serval-dev/vocab/*.gguf"} {
		found, _ := filepath.Glob(filepath.Join(dir, p))
		for _, f := range found {
			if !slices.ContainsFunc(out, func(o string) bool { return filepath.Base(o) == filepath.Base(f) }) {
				out = append(out, f)
			}
		}
	}
	if len(out) == 0 {
		t.Skip("no GGUF files in the cache; test/setup.sh fetches them")
	}
	return out
}
