package all

import (
	"serval/engine"
	"serval/engine/fake"
	"serval/engine/gguf"
	"serval/engine/llama"
	"serval/engine/onnx"
	"serval/engine/tree"
)

// Options holds a pointer to the options of each engine that has some, by the engine's name; config fills them in.
func Options() map[string]any {
	return map[string]any{
		"gguf": &gguf.Options{},
		"onnx": &onnx.Options{},
	}
}

// New makes every engine, with options as Options returned them.
func New(libs engine.Libraries, options map[string]any) []engine.Engine {
	return []engine.Engine{
		onnx.New(libs, *options["onnx"].(*onnx.Options)),
		tree.New(),
		llama.New(libs),
		gguf.NewKeeping(libs, *options["gguf"].(*gguf.Options)),
		fake.New(),
	}
}
