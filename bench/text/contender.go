package main

import (
	"fmt"
	"slices"
	"strings"
)

// contender is a server as it is configured for a comparison.
type contender struct {
	name, title string
	peer        bool   // llama-server
	openvino    bool   // OpenVINO GenAI behind openvino_front.py
	native      bool   // Serval opens the libraries of llama-server's build
	speculate   string // text.speculate; "": as the engine does by itself
	settings    string // more lines of Serval's model.yaml
	file        string // in the folder of files that setup.sh made; "": the file that the command names
	beside      string // a file in the folder of that which the command names, instead
}

func contenders() []contender {
	const own, llama = "engine: gguf\n", "engine: llama\n"
	return []contender{
		{name: "serval", title: "Serval, `engine: llama`, llama-server's library build", native: true, settings: llama},
		{name: "llama-server", title: "llama-server", peer: true},
		{name: "serval-shipped", title: "Serval, `engine: llama` as shipped", settings: llama},
		{name: "serval-own", title: "Serval's own engine, `engine: gguf`", settings: own},
		{name: "serval-own-plain", title: "Serval's own engine, `speculate: false`", settings: own, speculate: "false"},
		{name: "serval-own-apart", title: "Serval's own engine, `isolation: process`", settings: "engine: gguf\nisolation: process\n"},
		{name: "serval-inside", title: "Serval as shipped, `isolation: none`", settings: llama + "isolation: none\n"},
		{name: "serval-guessing", title: "Serval, llama-server's library build, `text.speculate`", native: true, speculate: "true", settings: llama},
		{name: "serval-q8", title: "Serval, llama-server's library build, Q8_0 file", native: true, file: "q8_0.gguf", settings: llama},
		{name: "llama-server-q8", title: "llama-server, Q8_0 file", peer: true, file: "q8_0.gguf"},
		{name: "serval-q4", title: "Serval, llama-server's library build, Q4_0 file", native: true, file: "q4_0.gguf", settings: llama},
		{name: "llama-server-q4", title: "llama-server, Q4_0 file", peer: true, file: "q4_0.gguf"},
		{name: "serval-shipped-q4", title: "Serval as shipped, Q4_0 file", file: "q4_0.gguf", settings: llama},
		{name: "openvino", title: "OpenVINO GenAI", openvino: true},
		{name: "serval-own-q8", title: "Serval's own engine, Q8_0 file", settings: own, file: "q8_0.gguf"},
		{name: "openvino-q8", title: "OpenVINO GenAI, Q8_0 file", openvino: true, file: "q8_0.gguf"},
		{name: "serval-own-q4", title: "Serval's own engine, Q4_0 file", settings: own, file: "q4_0.gguf"},
		{name: "openvino-q4", title: "OpenVINO GenAI, Q4_0 file", openvino: true, file: "q4_0.gguf"},
		{name: "serval-own-gemma", title: "Serval's own engine, Gemma-3-270M Q4_K_M", settings: own, beside: "gemma3.gguf"},
		{name: "llama-server-gemma", title: "llama-server, Gemma-3-270M Q4_K_M", peer: true, beside: "gemma3.gguf"},
		{name: "serval-own-qwen05", title: "Serval's own engine, Qwen2.5 0.5B's shape, Q4_0", settings: own, file: "qwen05-q4_0.gguf"},
		{name: "llama-server-qwen05", title: "llama-server, Qwen2.5 0.5B's shape, Q4_0", peer: true, file: "qwen05-q4_0.gguf"},
		{name: "serval-own-qwen05-k", title: "Serval's own engine, Qwen2.5 0.5B's shape, Q4_K", settings: own, file: "qwen05-q4_k.gguf"},
		{name: "llama-server-qwen05-k", title: "llama-server, Qwen2.5 0.5B's shape, Q4_K", peer: true, file: "qwen05-q4_k.gguf"},
		{name: "serval-own-qwen15", title: "Serval's own engine, Qwen2.5 1.5B's shape, Q4_0", settings: own, file: "qwen15-q4_0.gguf"},
		{name: "llama-server-qwen15", title: "llama-server, Qwen2.5 1.5B's shape, Q4_0", peer: true, file: "qwen15-q4_0.gguf"},
		{name: "serval-own-qwen15-k", title: "Serval's own engine, Qwen2.5 1.5B's shape, Q4_K", settings: own, file: "qwen15-q4_k.gguf"},
		{name: "llama-server-qwen15-k", title: "llama-server, Qwen2.5 1.5B's shape, Q4_K", peer: true, file: "qwen15-q4_k.gguf"},
	}
}

// chosen are the contenders of a list of names.
func chosen(names string) ([]contender, error) {
	var list []contender
	known := contenders()
	for _, name := range strings.FieldsFunc(names, func(r rune) bool { return r == ',' }) {
		at := slices.IndexFunc(known, func(c contender) bool { return c.name == name })
		if at < 0 {
			return nil, fmt.Errorf("-of: no contender %q; -list shows them", name)
		}
		list = append(list, known[at])
	}
	if len(list) < 2 {
		return nil, fmt.Errorf("-of: name two contenders or more; the first is compared with each of the others")
	}
	return list, nil
}
