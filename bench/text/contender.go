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
	native      bool   // Serval opens the libraries of llama-server's build
	speculate   bool   // guesses by prompt lookup
	settings    string // more lines of Serval's model.yaml
	file        string // in the folder of re-quantised files; "": the file that the command names
}

func contenders() []contender {
	return []contender{
		{name: "serval", title: "Serval, llama-server's library build", native: true},
		{name: "llama-server", title: "llama-server", peer: true},
		{name: "serval-shipped", title: "Serval as shipped"},
		{name: "serval-own", title: "Serval's own engine, `engine: gguf`", settings: "engine: gguf\n"},
		{name: "serval-own-apart", title: "Serval's own engine, `isolation: process`", settings: "engine: gguf\nisolation: process\n"},
		{name: "serval-inside", title: "Serval as shipped, `isolation: none`", settings: "isolation: none\n"},
		{name: "serval-guessing", title: "Serval, llama-server's library build, `text.speculate`", native: true, speculate: true},
		{name: "serval-q8", title: "Serval, llama-server's library build, Q8_0 file", native: true, file: "q8_0.gguf"},
		{name: "llama-server-q8", title: "llama-server, Q8_0 file", peer: true, file: "q8_0.gguf"},
		{name: "serval-q4", title: "Serval, llama-server's library build, Q4_0 file", native: true, file: "q4_0.gguf"},
		{name: "llama-server-q4", title: "llama-server, Q4_0 file", peer: true, file: "q4_0.gguf"},
		{name: "serval-shipped-q4", title: "Serval as shipped, Q4_0 file", file: "q4_0.gguf"},
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
