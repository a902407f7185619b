package source

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serval"
)

func TestHub(t *testing.T) {
	h, models := newHub(t), filepath.Join(t.TempDir(), "new", "models")
	h.token = "hf_secret"
	q4, q8 := gguf(300_000, 1), gguf(500_000, 2)
	h.repo("acme/Tiny-1B-GGUF", map[string][]byte{"Tiny-1B-Q4_K_M.gguf": q4, "Tiny-1B-Q8_0.gguf": q8, "mmproj-F16.gguf": gguf(10, 3), "README.md": []byte("# Tiny"), ".gitattributes": {}})
	p := newQuick(Options{HubEndpoint: h.URL + "/", HubToken: "hf_secret"})

	got, err := p.Pull(t.Context(), Request{Source: "hf:acme/Tiny-1B-GGUF", Models: models})
	if err != nil {
		t.Fatal(err)
	}
	if want := (Result{Name: "tiny-1b", Dir: filepath.Join(models, "tiny-1b"), Source: "hf:acme/Tiny-1B-GGUF", Revision: commit, Bytes: 300_000, Fresh: true, Verified: true}); got != want {
		t.Errorf("got %+v", got)
	}
	if !bytes.Equal(content(t, models, "tiny-1b", "1", "Tiny-1B-Q4_K_M.gguf"), q4) {
		t.Error("other bytes")
	}
	if !strings.Contains(p.said.String(), "taking Q4_K_M; there are Q4_K_M, Q8_0") {
		t.Errorf("it said %q", p.said.String())
	}
	for _, r := range h.store.log {
		if r.auth != "" {
			t.Errorf("the storage saw the hub's token: %+v", r)
		}
	}

	before := len(h.store.log)
	if got, err = p.Pull(t.Context(), Request{Source: "hf:acme/Tiny-1B-GGUF", Models: models}); err != nil || got.Fresh || !got.Verified || len(h.store.log) != before {
		t.Errorf("again: %+v %v, %d requests for content", got, err, len(h.store.log)-before)
	}
	if _, err = p.Pull(t.Context(), Request{Source: "hf:acme/Tiny-1B-GGUF:q8_0", Models: models}); code(err) != serval.Conflict || !strings.Contains(err.Error(), "--as") {
		t.Errorf("another quantisation under the same name: %v", err)
	}
	if got, err = p.Pull(t.Context(), Request{Source: "hf:acme/Tiny-1B-GGUF@" + commit + ":q8_0", Name: "Big", Models: models}); err != nil || got.Bytes != 500_000 {
		t.Errorf("%+v %v", got, err)
	}
	asked := len(h.log)
	if got, err = p.Pull(t.Context(), Request{Source: "hf:acme/Tiny-1B-GGUF@" + commit + ":q8_0", Name: "Big", Models: models}); err != nil || got.Fresh || len(h.log) != asked {
		t.Errorf("a commit that is there was asked for again: %+v %v", got, err)
	}
	clean(t, models, "Big", "tiny-1b")
}

func code(err error) serval.Code { return serval.AsError(err).Code }

func TestHubRefusals(t *testing.T) {
	h := newHub(t)
	h.repo("acme/m", map[string][]byte{"a-Q2_K.gguf": gguf(10, 1), "a-Q3_K_S.gguf": gguf(10, 2), "b.txt": nil})
	h.repo("acme/parts", map[string][]byte{"p-00001-of-00002.gguf": gguf(10, 1)})
	h.repo("acme/onnx", map[string][]byte{"a.onnx": []byte("x"), "b.onnx": []byte("x")})
	h.repo("acme/none", map[string][]byte{"README.md": nil})
	for text, want := range map[string]struct {
		code  serval.Code
		words string
	}{
		"hf:acme/m:Q4_K_M":               {serval.NotFound, "has no Q4_K_M; it has Q2_K, Q3_K_S"},
		"hf:acme/m@v9":                   {serval.NotFound, `no revision "v9"`},
		"hf:acme/m/c.gguf":               {serval.NotFound, "it has a-Q2_K.gguf"},
		"hf:acme/other":                  {serval.PermissionDenied, "HF_TOKEN"},
		"hf:acme/parts":                  {serval.NotFound, "the part p-00002-of-00002.gguf is missing"},
		"hf:acme/onnx":                   {serval.NotFound, "several .onnx files; name one"},
		"hf:acme/onnx:int8":              {serval.NotFound, "variant int8"},
		"hf:acme/none":                   {serval.NotFound, "neither a .gguf nor an .onnx"},
		"hf:acme":                        {serval.InvalidArgument, "owner"},
		"hf:acme/..":                     {serval.InvalidArgument, "no repository"},
		"hf:acme/m/../../etc/passwd":     {serval.InvalidArgument, "no file"},
		"hf:acme/m@":                     {serval.InvalidArgument, "revision"},
		"hf:acme/m:":                     {serval.InvalidArgument, "quantisation"},
		"acme/m":                         {serval.InvalidArgument, "hf:acme/m"},
		"model.gguf":                     {serval.InvalidArgument, "file:model.gguf"},
		"ftp://x/y":                      {serval.InvalidArgument, "ftp"},
		"https://host/":                  {serval.InvalidArgument, "file's name"},
		"s3://bucket":                    {serval.InvalidArgument, "whole key"},
		"pypi:a":                         {serval.Unimplemented, "package client"},
		"file:":                          {serval.InvalidArgument, "path"},
		"http://h/a-00002-of-00003.gguf": {serval.InvalidArgument, "name the first"},
	} {
		t.Run(text, func(t *testing.T) {
			models := t.TempDir()
			_, err := newQuick(Options{HubEndpoint: h.URL}).Pull(t.Context(), Request{Source: text, Models: models})
			if err == nil || code(err) != want.code || !strings.Contains(err.Error(), want.words) {
				t.Errorf("%v", err)
			}
			clean(t, models)
		})
	}
	h.token = "x"
	if _, err := newQuick(Options{HubEndpoint: h.URL}).Pull(t.Context(), Request{Source: "hf:acme/m:Q2_K", Models: t.TempDir()}); code(err) != serval.PermissionDenied || !strings.Contains(err.Error(), "gated") {
		t.Errorf("%v", err)
	}
}

func TestHubPartsAndCompanions(t *testing.T) {
	h, models := newHub(t), t.TempDir()
	one, two := gguf(1000, 1), gguf(2000, 2)
	h.repo("acme/split", map[string][]byte{"Q4_K_M/m-00001-of-00002.gguf": one, "Q4_K_M/m-00002-of-00002.gguf": two, "Q8_0/m-00001-of-00001.gguf": one})
	h.repo("acme/encoder", map[string][]byte{
		"onnx/model.onnx": []byte("onnx"), "onnx/model.onnx_data": []byte("weights"), "onnx/model_int8.onnx": []byte("int8"), "tokenizer.json": []byte("{}"),
		"onnx/config.json": []byte("inner"), "config.json": []byte("outer"), "1_Pooling/config.json": []byte("pool"), "pytorch_model.bin": []byte("no"),
	})
	p := newQuick(Options{HubEndpoint: h.URL})
	if _, err := p.Pull(t.Context(), Request{Source: "hf:acme/split", Models: models}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(content(t, models, "split/1/m-00001-of-00002.gguf"), one) || !bytes.Equal(content(t, models, "split/1/m-00002-of-00002.gguf"), two) {
		t.Error("other parts")
	}
	for _, plain := range []bool{false, true} { // a mirror that lists no sizes too
		h.plain = plain
		name := "encoder"
		if plain {
			name = "mirrored"
		}
		if _, err := p.Pull(t.Context(), Request{Source: "hf:acme/encoder/onnx/model.onnx", Name: name, Models: models}); err != nil {
			t.Fatal(err)
		}
		for file, want := range map[string]string{"model.onnx": "onnx", "model.onnx_data": "weights", "tokenizer.json": "{}", "config.json": "inner", "1_Pooling/config.json": "pool"} {
			if got := content(t, models, name, "1", file); string(got) != want {
				t.Errorf("%s: %q", file, got)
			}
		}
		if _, err := os.Stat(filepath.Join(models, name, "1", "pytorch_model.bin")); err == nil {
			t.Error("a file of another format came along")
		}
	}
	h.plain = false
	if _, err := p.Pull(t.Context(), Request{Source: "hf:acme/encoder:int8", Name: "small", Models: models}); err != nil || string(content(t, models, "small/1/model_int8.onnx")) != "int8" {
		t.Errorf("%v", err)
	}
}

func TestHubLies(t *testing.T) {
	data := gguf(1000, 1)
	for name, lie := range map[string]struct {
		do    func(map[string]any)
		words string
	}{
		"wrong digest":   {func(s map[string]any) { s["lfs"].(map[string]any)["sha256"] = strings.Repeat("ab", 32) }, "is offered"},
		"no digest":      {func(s map[string]any) { s["lfs"].(map[string]any)["sha256"] = "../../etc" }, "as the sha256"},
		"absurd size":    {func(s map[string]any) { s["lfs"].(map[string]any)["size"] = int64(1) << 62 }, "no model has"},
		"negative size":  {func(s map[string]any) { s["lfs"].(map[string]any)["size"] = -7 }, "no model has"},
		"too large":      {func(s map[string]any) { s["lfs"].(map[string]any)["size"] = int64(1) << 49 }, "make room"},
		"other size":     {func(s map[string]any) { s["lfs"].(map[string]any)["size"] = 999 }, "1000 bytes are sent, 999 were announced"},
		"leaves folder":  {func(s map[string]any) { s["rfilename"] = "../../x-Q4_K_M.gguf" }, "neither a .gguf"},
		"absolute":       {func(s map[string]any) { s["rfilename"] = "/etc/x-Q4_K_M.gguf" }, "neither a .gguf"},
		"blob of others": {func(s map[string]any) { delete(s, "lfs"); s["size"], s["blobId"] = 1000, strings.Repeat("0", 40) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h, models := newHub(t), t.TempDir()
			h.repo("acme/m", map[string][]byte{"m-Q4_K_M.gguf": data})
			h.lie = lie.do
			_, err := newQuick(Options{HubEndpoint: h.URL}).Pull(t.Context(), Request{Source: "hf:acme/m", Models: models})
			if lie.words == "" { // the digest of the hub's answer stands over git's
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), lie.words) {
				t.Errorf("%v", err)
			}
			if _, err := os.Stat(filepath.Join(models, "m")); err == nil {
				t.Error("a model is there")
			}
		})
	}
}

func TestQuants(t *testing.T) {
	for name, want := range map[string]string{
		"SmolLM2-135M-Instruct-Q4_K_M.gguf": "Q4_K_M", "gemma.Q4_1.gguf": "Q4_1", "m-IQ2_XXS.gguf": "IQ2_XXS", "m-UD-Q4_K_XL.gguf": "UD-Q4_K_XL", "m.f16.gguf": "F16",
		"m-fp16.gguf": "F16", "m-bf16.gguf": "BF16", "m-q4_k_m-imat.gguf": "Q4_K_M", "Q5_K_S/m-00001-of-00003.gguf": "Q5_K_S", "m-MXFP4_MOE.gguf": "MXFP4_MOE",
		"Qwen3-0.6B.gguf": "", "m-q4_0_4_8.gguf": "Q4_0_4_8", "q8/model.gguf": "Q8", "TQ1_0-x.gguf": "TQ1_0", "m.gguf": "",
	} {
		if got := quantOf(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for in, want := range map[string]string{"Tiny-1B-GGUF": "tiny-1b", "SmolLM2.Q4_1.gguf": "smollm2.q4_1", "x-00001-of-00002.gguf": "x", "Ünï côde": "n--c-de", "..a": "a", "model.onnx": "model"} {
		if got := cleanName(in); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}
