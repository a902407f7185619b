package gguf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serval"
	"serval/engine"
	"serval/engine/gguf/kernel"
	"serval/engine/llama"
)

// What is known is claimed, unless its settings ask for what engine/llama alone does.
func TestClaim(t *testing.T) {
	if kernel.Best() == kernel.Portable() {
		if New().Claim(smol(t), &serval.ModelSettings{}) == nil {
			t.Error("a model is claimed on a processor without kernels")
		}
		return
	}
	broken := t.TempDir()
	if err := os.WriteFile(filepath.Join(broken, "model.gguf"), []byte("GGUF\x03\x00\x00\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := smol(t)
	for name, c := range map[string]struct {
		dir  string
		s    serval.ModelSettings
		want string // of the refusal; "": it is claimed
	}{
		"nothing said":  {dir, serval.ModelSettings{}, ""},
		"cpu":           {dir, serval.ModelSettings{Device: "cpu", Text: &serval.TextSettings{Slots: 2}}, ""},
		"gpu":           {dir, serval.ModelSettings{Device: "cuda:0"}, "CPU"},
		"option":        {dir, serval.ModelSettings{Options: map[string]string{"kv": "shared"}}, "options"},
		"f16":           {dir, serval.ModelSettings{Options: map[string]string{"kv_type": "f16"}}, ""},
		"bf16":          {dir, serval.ModelSettings{Options: map[string]string{"kv_type": "bf16"}}, ""},
		"q8_0":          {dir, serval.ModelSettings{Options: map[string]string{"kv_type": "q8_0"}}, ""},
		"q4_0":          {dir, serval.ModelSettings{Options: map[string]string{"kv_type": "q4_0"}}, "options.kv_type"},
		"q8_0 and more": {dir, serval.ModelSettings{Options: map[string]string{"kv_type": "q8_0", "flash_attention": "on"}}, "options.flash_attention"},
		"adapters":      {dir, serval.ModelSettings{Text: &serval.TextSettings{Adapters: map[string]string{"a": "a.gguf"}}}, "text.adapters.a"},
		"broken":        {broken, serval.ModelSettings{}, "model.gguf"},
		"another file":  {dir, serval.ModelSettings{File: "other.gguf"}, "other.gguf"},
		"not there":     {filepath.Join(dir, "1"), serval.ModelSettings{}, "gguf"},
		"unknown place": {dir, serval.ModelSettings{Device: "tpu"}, "tpu"},
	} {
		err := New().Claim(c.dir, &c.s)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		other := llama.New(nil)
		got, want := engine.Claimed([]engine.Engine{other, New()}, other, c.dir, &c.s).Name(), "gguf"
		if c.want != "" {
			want = "llama"
		}
		if got != want {
			t.Errorf("%s: engine %s, want %s", name, got, want)
		}
	}
}
