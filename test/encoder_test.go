package test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"serval/internal/testkit"
)

// TestEncoders serves ONNX encoders with their tokenizers: all-MiniLM-L6-v2, as setup.sh exported it, and a small random one
// that scores pairs, both in the server and in processes of their own.
func TestEncoders(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	minilm := cache(t, "minilm", "1")
	for _, name := range []string{"minilm", "apart"} {
		link(t, minilm, filepath.Join(root, name, "1"))
	}
	write(t, filepath.Join(root, "apart", "model.yaml"), "isolation: process\n")
	scorer, err := filepath.Abs(filepath.Join(testkit.Root(), "schedule", "testdata", "scorer", "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	for name, settings := range map[string]string{"scorer": "", "scorer-apart": "isolation: process\n", "scorer-tensors": "text: {tensors: true}\n"} {
		dir := filepath.Join(root, name)
		write(t, filepath.Join(dir, "model.yaml"), settings)
		write(t, filepath.Join(dir, "config.json"), `{"max_position_embeddings": 48, "pad_token_id": 0}`)
		write(t, filepath.Join(dir, "tokenizer.json"), letters(t))
		copyFile(t, scorer, filepath.Join(dir, "1", "model.onnx"))
	}
	s := testkit.Serve(t, testkit.Options{Race: true, Models: root})
	pytestOn(t, s, root, "llm", "test_encoder.py")
}

// link makes a folder of the same files as another, which stay where they are.
func link(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		return os.Symlink(path, filepath.Join(to, rel))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// letters is a tokenizer.json whose tokens are single letters, for a model of 64 tokens.
func letters(t *testing.T) string {
	t.Helper()
	vocab := map[string]int{"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}
	for c := range 26 {
		vocab[string(rune('a'+c))], vocab["##"+string(rune('a'+c))] = 5+c, 31+c
	}
	added := []any{}
	for id, name := range []string{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"} {
		added = append(added, map[string]any{"id": id, "content": name, "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false})
	}
	raw, err := json.Marshal(map[string]any{
		"version": "1.0", "added_tokens": added,
		"model":          map[string]any{"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": vocab},
		"normalizer":     map[string]any{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": nil, "lowercase": true},
		"pre_tokenizer":  map[string]any{"type": "BertPreTokenizer"},
		"post_processor": map[string]any{"type": "BertProcessing", "sep": []any{"[SEP]", 3}, "cls": []any{"[CLS]", 2}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
