package vocab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzFromJSON reads anything as a tokenizer.json, and encodes a text by what could be read.
func FuzzFromJSON(f *testing.F) {
	for _, name := range allSmall(f) {
		data, err := os.ReadFile(filepath.Join("testdata/small", name+".json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, "hello [SEP] word 12\n\n é")
	}
	f.Add([]byte(`{"model":{"type":"WordPiece","vocab":{"[UNK]":0,"a":1,"##b":2}}}`), "ab c")
	f.Add([]byte(`{"model":{"type":"Unigram","unk_id":0,"vocab":[["u",0],["a",-1.5]]},"pre_tokenizer":{"type":"Metaspace"}}`), "ab c")
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		v, err := FromJSON(data, nil)
		if err != nil || len(text) > 1000 {
			return
		}
		for _, o := range []Options{{}, {Around: true, Special: true}} {
			for _, id := range v.Encode(nil, text, o) {
				if id < 0 || int(id) >= v.Size() {
					t.Fatalf("token %d of %d", id, v.Size())
				}
			}
		}
		v.EncodePair(nil, nil, text, text, true)
	})
}

// FuzzEncode encodes any text by tokenizers of each kind; those of bytes must give it back.
func FuzzEncode(f *testing.F) {
	whole := []*Vocabulary{small(f, "split-isolated-blank"), small(f, "split-contiguous-digit")}
	merges := bpeFile()["tokenizer.ggml.merges"].([]string)
	merges = merges[:len(merges)-1] // the last makes what is no token, which is lost, as by libllama
	for _, p := range presetNames {
		made := p.make()
		if made.raw {
			continue
		}
		whole = append(whole, ggufVocabulary(f, func() metadata { return bpeFile().with("pre", strings.Fields(p.names)[0]).with("merges", merges) }))
	}
	others := []*Vocabulary{small(f, "llama"), small(f, "unigram"), small(f, "unigram-first"), small(f, "bert-cased"), small(f, "wordpiece-normal"),
		small(f, "roberta"), small(f, "bpe-suffix"), ggufVocabulary(f, spmFile), ggufVocabulary(f, func() metadata { return spmFile().with("model", "t5") })}
	for _, s := range corpus(50, nil) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, v := range whole {
			if got := v.Decode(v.Encode(nil, s, Options{Special: true}), true); got != validUTF8(s) {
				t.Fatalf("%s: %q became %q", v.Kind(), s, got)
			}
		}
		for _, v := range others {
			for _, id := range v.Encode(nil, s, Options{Special: true}) {
				if id < 0 || int(id) >= v.Size() {
					t.Fatalf("%s: token %d of %d", v.Kind(), id, v.Size())
				}
			}
		}
	})
}
