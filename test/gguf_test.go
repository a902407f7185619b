package test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serval/internal/testkit"
)

// TestGGUFEncoder serves all-MiniLM-L6-v2 from GGUF files that setup.sh wrote by our own engine, in the server and in a process of its own,
// and by llama.cpp, beside the ONNX model that they are compared with.
func TestGGUFEncoder(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	whole, err := os.ReadFile(cache(t, "minilm-gguf", "minilm-f32.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]string{"f32": "f32", "f16": "f16", "apart": "f32", "peer": "f32"} {
		if err := os.MkdirAll(filepath.Join(root, name, "1"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(cache(t, "minilm-gguf", "minilm-"+file+".gguf"), filepath.Join(root, name, "1", "model.gguf")); err != nil {
			t.Fatal(err)
		}
	}
	key := []byte("bert.pooling_type")
	at := bytes.Index(whole, key) + len(key) + 4 // behind the value's type
	if n := binary.LittleEndian.Uint32(whole[at:]); n != 1 {
		t.Fatalf("the pooling is %d, not by the mean", n)
	}
	binary.LittleEndian.PutUint32(whole[at:], 2) // the first token's vector
	write(t, filepath.Join(root, "cls", "1", "model.gguf"), string(whole))
	link(t, cache(t, "minilm", "1"), filepath.Join(root, "tensors", "1"))
	write(t, filepath.Join(root, "tensors", "model.yaml"), "text: {tensors: true}\n")
	for name, more := range map[string]string{"f32": "", "f16": "", "cls": "", "apart": "isolation: process\n", "peer": "engine: llama\n"} {
		write(t, filepath.Join(root, name, "model.yaml"), "threads: 1\n"+more)
	}
	s := testkit.Serve(t, testkit.Options{Race: true, Models: root})
	pytestOn(t, s, root, "llm", "test_gguf_encoder.py")
}

// TestSplitGGUF serves a model of three files as one; what is missing or is another model's is named.
func TestSplitGGUF(t *testing.T) {
	t.Parallel()
	whole, err := os.ReadFile(testkit.GGUF(t, "smollm2.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	parts := split(t, whole, 3)
	name := func(i int) string { return fmt.Sprintf("smollm2-%05d-of-00003.gguf", i+1) }
	root := t.TempDir()
	lay := func(model string, files ...int) {
		for _, i := range files {
			write(t, filepath.Join(root, model, "1", name(i)), parts[i])
		}
		write(t, filepath.Join(root, model, "model.yaml"), "threads: 1\ntext: {context: 512, slots: 2}\n")
	}
	lay("split", 0, 1, 2)
	lay("no-second", 0, 2)
	lay("no-third", 0, 1)
	lay("twice")
	write(t, filepath.Join(root, "twice", "1", name(0)), parts[0])
	write(t, filepath.Join(root, "twice", "1", name(1)), parts[1])
	write(t, filepath.Join(root, "twice", "1", name(2)), parts[1])
	lay("cut", 0, 1)
	write(t, filepath.Join(root, "cut", "1", name(2)), parts[2][:len(parts[2])-1000])
	lay("renamed")
	write(t, filepath.Join(root, "renamed", "1", "model.gguf"), parts[0])
	lay("whole")
	link(t, filepath.Join(chatModels(t), "chat", "1"), filepath.Join(root, "whole", "1"))

	s := testkit.Serve(t, testkit.Options{Race: true, Models: root, Unset: true})
	s.Await("the end of loading", func() bool { return strings.Contains(s.Log(), "some models failed") })
	all := index(t, s)
	if len(all) != 7 || all["split 1"].State != "READY" || all["whole 1"].State != "READY" {
		t.Fatalf("%+v", all)
	}
	for model, words := range map[string][]string{
		"no-second": {"part 2 of 3", name(1), "no such file"},
		"no-third":  {"part 3 of 3", name(2), "no such file"},
		"twice":     {name(2), "part 3"},
		"cut":       {name(2), "cut short"},
		"renamed":   {"model.gguf", "3 parts", "NAME-00001-of-00003.gguf"},
	} {
		m := all[model+" 1"]
		if m.State != "UNAVAILABLE" {
			t.Errorf("%s: %+v", model, m)
		}
		answer{200, m.Reason, nil}.want(t, 200, words...)
	}
	said := func(model string) (text string) {
		a := ask(t, "POST", s.URL("/v1/completions"), `{"model":"`+model+`","prompt":"The capital of France is","max_tokens":12,"temperature":0}`)
		var got struct{ Choices []struct{ Text string } }
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || len(got.Choices) != 1 {
			t.Fatalf("%s: %d %s", model, a.code, clip(a.body))
		}
		return got.Choices[0].Text
	}
	if a, b := said("split"), said("whole"); a != b || a == "" {
		t.Errorf("the model of three files says %q, that of one %q", a, b)
	}
	write(t, filepath.Join(root, "no-second", "1", name(1)), parts[1])
	ask(t, "POST", s.URL("/v2/repository/models/no-second/load"), "{}").want(t, 200)
	if a, b := said("no-second"), said("whole"); a != b {
		t.Errorf("mended, it says %q, not %q", a, b)
	}
}

// split makes n files of a GGUF file, as llama.cpp's gguf-split does: the first has all keys, and each says which part it is.
func split(t *testing.T, whole []byte, n int) []string {
	t.Helper()
	le := binary.LittleEndian
	at := 8
	number := func() uint64 { at += 8; return le.Uint64(whole[at-8:]) }
	text := func() string { size := int(number()); at += size; return string(whole[at-size : at]) }
	var value func(kind uint32)
	value = func(kind uint32) {
		switch kind {
		case 8:
			text()
		case 9:
			of := le.Uint32(whole[at:])
			at += 4
			for range number() {
				value(of)
			}
		default:
			at += []int{0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}[kind]
		}
	}
	tensors, keys := int(number()), int(number())
	begin := at
	for range keys {
		if text() == "general.alignment" {
			t.Fatal("the file has an alignment of its own, which is not seen to here")
		}
		at += 4
		value(le.Uint32(whole[at-4:]))
	}
	header := whole[begin:at]
	type tensor struct {
		info   []byte // its name, shape and type
		offset uint64
	}
	list := make([]tensor, tensors)
	for i := range list {
		from := at
		text()
		at += 4 + 8*int(le.Uint32(whole[at:])) + 4
		list[i].info = whole[from:at]
		list[i].offset = number()
	}
	const alignment = 32
	pad := func(b []byte) []byte { return append(b, make([]byte, (alignment-len(b)%alignment)%alignment)...) }
	data := whole[(at+alignment-1)/alignment*alignment:]
	sized := func(b []byte, s string) []byte { return append(le.AppendUint64(b, uint64(len(s))), s...) }
	var out []string
	for part := range n {
		own := list[part*tensors/n : (part+1)*tensors/n]
		b := append([]byte("GGUF"), whole[4:8]...)
		b = le.AppendUint64(b, uint64(len(own)))
		if part == 0 {
			b = append(le.AppendUint64(b, uint64(keys+3)), header...)
		} else {
			b = le.AppendUint64(b, 3)
		}
		b = le.AppendUint16(le.AppendUint32(sized(b, "split.no"), 2), uint16(part))
		b = le.AppendUint16(le.AppendUint32(sized(b, "split.count"), 2), uint16(n))
		b = le.AppendUint32(le.AppendUint32(sized(b, "split.tensors.count"), 5), uint32(tensors))
		var content []byte
		for i := range own {
			b = le.AppendUint64(append(b, own[i].info...), uint64(len(content)))
			end := uint64(len(data))
			if next := part*tensors/n + i + 1; next < tensors {
				end = list[next].offset
			}
			content = pad(append(content, data[own[i].offset:end]...))
		}
		out = append(out, string(append(pad(b), content...)))
	}
	return out
}
