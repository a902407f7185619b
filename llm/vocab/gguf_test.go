package vocab

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"

	"serval/llm/gguf"
)

// metadata writes a GGUF file that has nothing but metadata.
type metadata map[string]any

func (m metadata) bytes() []byte {
	var b bytes.Buffer
	put := func(v any) { binary.Write(&b, binary.LittleEndian, v) }
	text := func(s string) { put(uint64(len(s))); b.WriteString(s) }
	b.WriteString("GGUF")
	put(uint32(3))
	put(uint64(0))
	put(uint64(len(m)))
	for k, v := range m {
		text(k)
		switch v := v.(type) {
		case string:
			put(gguf.String)
			text(v)
		case bool:
			put(gguf.Bool)
			put(v)
		case int:
			put(gguf.Uint32)
			put(uint32(v))
		case []string:
			put([]uint32{uint32(gguf.Array), uint32(gguf.String)})
			put(uint64(len(v)))
			for _, s := range v {
				text(s)
			}
		case []float32:
			put([]uint32{uint32(gguf.Array), uint32(gguf.Float32)})
			put(uint64(len(v)))
			put(v)
		case []int32:
			put([]uint32{uint32(gguf.Array), uint32(gguf.Int32)})
			put(uint64(len(v)))
			put(v)
		case []uint8:
			put([]uint32{uint32(gguf.Array), uint32(gguf.Uint8)})
			put(uint64(len(v)))
			put(v)
		default:
			panic(fmt.Sprintf("%T", v))
		}
	}
	return b.Bytes()
}

func (m metadata) with(key string, v any) metadata {
	out := metadata{}
	for k, v := range m {
		out[k] = v
	}
	if v == nil {
		delete(out, "tokenizer.ggml."+key)
	} else {
		out["tokenizer.ggml."+key] = v
	}
	return out
}

func (m metadata) open() (*Vocabulary, error) {
	b := m.bytes()
	f, err := gguf.Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	return FromGGUF(f)
}

// bpeFile has the 256 bytes, a few merges and a few special tokens.
func bpeFile() metadata {
	tokens := []string{"<s>", "<|im_end|>", "<|user|>"}
	types := []int32{3, 3, 4}
	for b := range 256 {
		tokens, types = append(tokens, string(byteRune(byte(b)))), append(types, 1)
	}
	merges := []string{"Ġ b", "h e", "l l", "he ll", "hell o", "Ġ t", "Ġt he", "Ġt h"}
	for _, m := range merges {
		tokens, types = append(tokens, strings.ReplaceAll(m, " ", "")), append(types, 1)
	}
	tokens = tokens[:len(tokens)-1] // "Ġth" is a merge, but no token
	return metadata{"general.architecture": "llama", "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm", "tokenizer.ggml.tokens": tokens,
		"tokenizer.ggml.token_type": types[:len(tokens)], "tokenizer.ggml.merges": merges, "tokenizer.ggml.bos_token_id": 0,
		"tokenizer.ggml.eos_token_id": 1, "tokenizer.ggml.add_bos_token": true}
}

// spmFile has the 256 bytes and a few words.
func spmFile() metadata {
	tokens, types, scores := []string{"<unk>", "<s>", "</s>"}, []int32{2, 3, 3}, []float32{0, 0, 0}
	for b := range 256 {
		tokens, types, scores = append(tokens, fmt.Sprintf("<0x%02X>", b)), append(types, 6), append(scores, 0)
	}
	for i, s := range []string{"▁", "▁▁", "▁▁▁▁", "a", "aa", "aaaa", "h", "e", "l", "o", "he", "ll", "hell", "hello", "▁hello", "▁h", "w", "世", "世世"} {
		tokens, types, scores = append(tokens, s), append(types, 1), append(scores, -float32(i))
	}
	return metadata{"general.architecture": "llama", "tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": tokens,
		"tokenizer.ggml.token_type": types, "tokenizer.ggml.scores": scores}
}

// ggufVocabulary opens a file; nil is bpeFile.
func ggufVocabulary(t testing.TB, file func() metadata) *Vocabulary {
	t.Helper()
	if file == nil {
		file = bpeFile
	}
	v, err := file().open()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestGGUFAlgorithms(t *testing.T) {
	for _, c := range []struct {
		file metadata
		text string
		want string
	}{
		{bpeFile(), "hello the b", `["hello" "Ġthe" "Ġb"]`},
		{bpeFile(), "  the", `["Ġ" "Ġthe"]`},
		{bpeFile(), " tha", `["t" "h" "a"]`}, // "Ġth" is no token, so its characters stand alone, and one that is no ASCII goes, as in llama.cpp
		{bpeFile(), "<|user|>é<|im_end|>", `["<|user|>" "Ã" "©" "<" "|" "i" "m" "_" "e" "n" "d" "|" ">"]`},
		{spmFile(), "hello  w", `["▁hello" "▁▁" "w"]`},
		{spmFile(), "é世", `["▁" "<0xC3>" "<0xA9>" "世"]`},
		{spmFile().with("add_space_prefix", false), "aaaaa", `["aaaa" "a"]`},
	} {
		v, err := c.file.open()
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%q", spell(v, v.Encode(nil, c.text, Options{}))); got != c.want {
			t.Errorf("%q: %s, want %s", c.text, got, c.want)
		}
	}
}

func TestGGUFRefusals(t *testing.T) {
	b, s := bpeFile(), spmFile()
	short := []int32{1, 2}
	types := append([]int32{}, s["tokenizer.ggml.token_type"].([]int32)...)
	types[260] = 6
	unigram := s.with("model", "t5")
	for name, c := range map[string]struct {
		file metadata
		want string
	}{
		"no model":      {b.with("model", nil), "the key tokenizer.ggml.model is missing"},
		"model":         {b.with("model", "rwkv"), `tokenizer.ggml.model is "rwkv", which is not supported`},
		"none":          {b.with("model", "none"), "give the model's tokenizer.json"},
		"pre":           {b.with("pre", "new-model"), `tokenizer.ggml.pre is "new-model", a way to cut text into words that this version does not know`},
		"no tokens":     {b.with("tokens", nil), "tokenizer.ggml.tokens is missing"},
		"empty":         {b.with("tokens", []string{}), "tokenizer.ggml.tokens is missing"},
		"twice":         {b.with("tokens", []string{"a", "b", "a"}), `tokens 0 and 2 are both "a"`},
		"scores":        {s.with("scores", []float32{1}), "tokenizer.ggml.scores has 1 entries for 278 tokens"},
		"types":         {s.with("token_type", short), "tokenizer.ggml.token_type has 2 entries"},
		"NaN":           {s.with("scores", append([]float32{float32(math.NaN())}, make([]float32, 300)...)), "of token 0 is no number"},
		"byte":          {s.with("token_type", types), `token 260 is a byte by its type, but its text is "▁▁"`},
		"no merges":     {b.with("merges", nil), "tokenizer.ggml.merges is missing"},
		"no bos":        {b.with("bos_token_id", 9999).with("tokens", []string{"a"}).with("token_type", nil), "tokenizer.ggml.add_bos_token is true, but"},
		"charsmap":      {unigram.with("precompiled_charsmap", []uint8{1, 2}), "it is too short"},
		"charsmap size": {unigram.with("precompiled_charsmap", []uint8{8, 0, 0, 0, 1, 2, 3, 4}), "its trie would take 8 of its 8 bytes"},
		"charsmap end":  {unigram.with("precompiled_charsmap", []uint8{4, 0, 0, 0, 0, 0, 0, 0, 'a'}), "its last string has no end"},
		"charsmap kind": {unigram.with("precompiled_charsmap", "x"), "it is no list of bytes"},
	} {
		v, err := c.file.open()
		if err == nil {
			t.Errorf("%s: was read as %s", name, v.Kind())
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
}

func FuzzFromGGUF(f *testing.F) {
	for _, m := range []metadata{bpeFile(), spmFile(), spmFile().with("model", "t5"), spmFile().with("model", "bert"), bpeFile().with("pre", "gemma4"),
		spmFile().with("model", "t5").with("precompiled_charsmap", []uint8{8, 0, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 'a', 0})} {
		f.Add(m.bytes(), "hello <s> the\n\n 123 é")
	}
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		file, err := gguf.Read(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		v, err := FromGGUF(file)
		if err != nil {
			return
		}
		for _, o := range []Options{{}, {Around: true, Special: true}} {
			for _, id := range v.Encode(nil, text, o) {
				if id < 0 || int(id) >= v.Size() {
					t.Fatalf("token %d of %d", id, v.Size())
				}
			}
		}
	})
}
