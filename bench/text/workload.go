package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"serval/bench/chat"
)

// workload is a load that every contender gets.
type workload struct {
	name, title string
	of          string // contenders, where the command names none
	slots       int
	context     int // tokens of each sequence
	load        chat.Options
	behind      *chat.Options // a request that comes while load runs: then load's gaps are those that it causes
}

// behindAfter is how long the running streams run before the other request comes.
const behindAfter = time.Second

func workloads() []workload {
	const (
		peers = "serval-own,llama-server,openvino"
		usual = peers + ",serval-shipped"
	)
	closed := func(callers int, count int64) chat.Options {
		return chat.Options{Concurrency: callers, Count: count, WarmUp: time.Second}
	}
	long := func(tokens int) chat.Workload {
		return chat.Workload{Words: chat.Fixed(60), Tokens: chat.Fixed(tokens)}
	}
	read := closed(1, 6)
	read.Workload = chat.Workload{Words: chat.Fixed(600), Tokens: chat.Fixed(1)}
	plain := read
	plain.API = chat.Completions // the file has no chat template
	short, shorter, single := closed(16, 16), closed(16, 16), closed(1, 3)
	short.Workload.Tokens, shorter.Workload.Tokens, single.Workload.Tokens = chat.Fixed(32), chat.Fixed(16), chat.Fixed(32)
	gemma, gemma1 := closed(16, 32), closed(1, 6)
	gemma.API, gemma1.API = chat.Completions, chat.Completions
	prefix := closed(16, 32)
	prefix.Workload = chat.Workload{Shared: 300, Words: chat.Fixed(20), Tokens: chat.Fixed(32)}
	mixed := closed(16, 48)
	mixed.Workload = chat.Workload{Words: chat.Lengths{Least: 20, Most: 200}, Tokens: chat.Lengths{Least: 16, Most: 128}}
	streams := chat.Options{Concurrency: 4, Count: 4, Workload: long(400)}
	prompt := chat.Options{Count: 1, Workload: chat.Workload{Words: chat.Fixed(3000), Tokens: chat.Fixed(8)}}
	repeated := closed(1, 8)
	repeated.Workload = chat.Workload{Prompts: repeats(), Tokens: chat.Fixed(96)}
	return []workload{
		{name: "c1", title: "1 caller, prompts of 60 words, answers of 64 tokens", of: usual, slots: 16, context: 2048, load: closed(1, 6)},
		{name: "c8", title: "8 callers, prompts of 60 words, answers of 64 tokens", of: usual, slots: 16, context: 2048, load: closed(8, 24)},
		{name: "c16", title: "16 callers, prompts of 60 words, answers of 64 tokens", of: usual, slots: 16, context: 2048, load: closed(16, 32)},
		{name: "c32", title: "32 callers, prompts of 60 words, answers of 64 tokens", of: usual, slots: 32, context: 1024, load: closed(32, 64)},
		{name: "prefill", title: "1 caller, prompts of 600 words, answers of 1 token", of: peers, slots: 4, context: 2048, load: read},
		{name: "prefillq8", title: "1 caller, prompts of 600 words, answers of 1 token, the file re-quantised to Q8_0",
			of: "serval-own-q8,llama-server-q8,openvino-q8", slots: 4, context: 2048, load: read},
		{name: "prefillgemma", title: "1 caller, prompts of 600 words, answers of 1 token, plain completions, Gemma-3-270M",
			of: "serval-own-gemma,llama-server-gemma", slots: 4, context: 2048, load: plain},
		{name: "mixed", title: "16 callers, prompts of 20 to 200 words, answers of 16 to 128 tokens, so that prompts arrive while others answer", of: usual,
			slots: 16, context: 2048, load: mixed},
		{name: "prefix", title: "16 callers, 300 words in common before 20 of their own, answers of 32 tokens", of: usual, slots: 16, context: 2048, load: prefix},
		{name: "behind", title: "4 running streams of 400 tokens, while a prompt of 3,000 words (some 4,000 tokens) arrives", of: usual, slots: 8, context: 6144,
			load: streams, behind: &prompt},
		{name: "isolation", title: "16 callers as above: the model's own process, and the server's", of: "serval-shipped,serval-inside", slots: 16, context: 2048,
			load: closed(16, 32)},
		{name: "guessing", title: "1 caller who has a text repeated, answers of 96 tokens", of: "serval-own,serval-own-plain,serval-guessing,serval,llama-server", slots: 16, context: 2048, load: repeated},
		{name: "q8", title: "16 callers as above, the file re-quantised to Q8_0", of: "serval-own-q8,llama-server-q8,openvino-q8", slots: 16, context: 2048, load: closed(16, 32)},
		{name: "q4", title: "16 callers as above, the file re-quantised to Q4_0", of: "serval-own-q4,llama-server-q4,openvino-q4", slots: 16, context: 2048,
			load: closed(16, 32)},
		{name: "q8c1", title: "1 caller as above, the file re-quantised to Q8_0", of: "serval-own-q8,llama-server-q8,openvino-q8", slots: 16, context: 2048, load: closed(1, 6)},
		{name: "gemma", title: "16 callers as above, plain completions, Gemma-3-270M", of: "serval-own-gemma,llama-server-gemma", slots: 16, context: 2048, load: gemma},
		{name: "gemmac1", title: "1 caller as above, plain completions, Gemma-3-270M", of: "serval-own-gemma,llama-server-gemma", slots: 16, context: 2048, load: gemma1},
		{name: "qwen05", title: "16 callers as above, answers of 32 tokens, random weights in the shape of Qwen2.5 0.5B", slots: 16, context: 1024, load: short,
			of: "serval-own-qwen05,llama-server-qwen05,serval-own-qwen05-k,llama-server-qwen05-k"},
		{name: "qwen05c1", title: "1 caller as above, answers of 32 tokens, random weights in the shape of Qwen2.5 0.5B", slots: 16, context: 1024, load: single,
			of: "serval-own-qwen05,llama-server-qwen05,serval-own-qwen05-k,llama-server-qwen05-k"},
		{name: "qwen15", title: "16 callers as above, answers of 16 tokens, random weights in the shape of Qwen2.5 1.5B", slots: 16, context: 1024, load: shorter,
			of: "serval-own-qwen15,llama-server-qwen15,serval-own-qwen15-k,llama-server-qwen15-k"},
		{name: "qwen15c1", title: "1 caller as above, answers of 32 tokens, random weights in the shape of Qwen2.5 1.5B", slots: 16, context: 1024, load: single,
			of: "serval-own-qwen15,llama-server-qwen15,serval-own-qwen15-k,llama-server-qwen15-k"},
	}
}

// repeats are prompts whose answers repeat their text.
func repeats() []chat.Prompt {
	text := "The harbour master keeps a list of every ship that enters the bay, with the hour, the cargo and the name of the captain. " +
		"When a ship leaves, its line is struck out and a copy goes to the customs house, where it is kept for seven years."
	var lines strings.Builder
	for _, ask := range []string{"Repeat this text word for word", "Copy the following text exactly", "Write the text below again, unchanged", "Say this again"} {
		quoted, err := json.Marshal(fmt.Sprintf("%s: %s", ask, text))
		if err != nil {
			continue // a string always marshals
		}
		fmt.Fprintf(&lines, "{\"prompt\":%s}\n", quoted)
	}
	list, err := chat.ReadPrompts(strings.NewReader(lines.String()))
	if err != nil {
		return nil // Run says then that there is nothing to ask
	}
	return list
}
