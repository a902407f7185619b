package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"serval/bench/chat"
	"serval/bench/load"
)

// textFlags are those of bench that only a model of text has.
type textFlags struct {
	chat, completions, embed bool
	words, tokens, slo       string
	shared, turns, batch     int
	mix, fields              []string
	seed                     uint64
	ignoreEnd, usage, retry  bool
}

func (f *textFlags) flags(fl *pflag.FlagSet) {
	fl.BoolVar(&f.chat, "chat", false, "text: ask /v1/chat/completions, without asking the server what the model is")
	fl.BoolVar(&f.completions, "completions", false, "text: ask /v1/completions")
	fl.BoolVar(&f.embed, "embed", false, "text: ask /v1/embeddings")
	fl.StringVar(&f.words, "prompt-words", "60", "text: words of a prompt: 60, 20-200 (uniform) or lognormal:MEDIAN,SIGMA[,MOST]")
	fl.StringVar(&f.tokens, "max-tokens", "64", "text: tokens of an answer, written the same way")
	fl.StringArrayVar(&f.mix, "mix", nil, "text: one kind of several, instead of these two: SHARE:WORDS/TOKENS, as in 4:60/32; once for each kind")
	fl.IntVar(&f.shared, "shared-prefix-words", 0, "text: words that all prompts begin with; of a chat, its system message")
	fl.IntVar(&f.turns, "turns", 1, "text: requests of a conversation, which grows with the real answers")
	fl.IntVar(&f.batch, "batch", 1, "text: texts in a request for embeddings")
	fl.Uint64Var(&f.seed, "seed", 0, "text: another seed makes other prompts up")
	fl.BoolVar(&f.ignoreEnd, "ignore-eos", true, "text: ask for answers of full length; servers that refuse ignore_eos need =false")
	fl.BoolVar(&f.usage, "usage", true, "text: ask for the stream's usage; for servers that have none =false counts deltas as tokens")
	fl.BoolVar(&f.retry, "retry", false, "text: send once more what a server lost by closing a connection that it had kept open, as OpenAI's clients do")
	fl.StringArrayVar(&f.fields, "field", nil, "text: set a field of every request, as in temperature=0.8; null leaves a field out")
	fl.StringVar(&f.slo, "slo", "", "text: count what keeps limits, as in ttft=500ms,itl=50ms (mean of an answer), gap=200ms (longest), e2e=5s")
}

// api says over which API the model is asked; "" is that of tensors.
func (f *textFlags) api(ctx context.Context, fl *pflag.FlagSet, b *benchFlags, model string) (chat.API, error) {
	var list []chat.API
	for _, way := range []struct {
		on  bool
		api chat.API
	}{{f.chat, chat.Chat}, {f.completions, chat.Completions}, {f.embed, chat.Embeddings}} {
		if way.on {
			list = append(list, way.api)
		}
	}
	if len(list) > 1 {
		return "", usage(fmt.Errorf("--chat, --completions and --embed: say one of them"))
	}
	var ofText, ofTensors string
	fl.Visit(func(g *pflag.Flag) {
		switch {
		case strings.HasPrefix(g.Usage, "text: "):
			ofText = g.Name
		case strings.HasPrefix(g.Usage, "tensors: "):
			ofTensors = g.Name
		}
	})
	if ofText != "" && ofTensors != "" {
		return "", usage(fmt.Errorf("--%s is of models of text, --%s of models of tensors: leave one out", ofText, ofTensors))
	}
	if len(list) == 1 {
		return list[0], nil
	}
	if ofTensors != "" {
		return "", nil
	}
	api, err := chat.Detect(ctx, b.base(), b.key, model)
	if err != nil {
		return "", usage(fmt.Errorf("--server %q: write http://host:port", b.base()))
	}
	if api == "" && ofText != "" {
		return "", usage(fmt.Errorf("--%s is of models of text, and the server at %s does not say that '%s' is one; if it is, add --chat, --completions or --embed",
			ofText, b.base(), model))
	}
	return api, nil
}

// run measures a model of text.
func (f *textFlags) run(c *cobra.Command, b *benchFlags, api chat.API, model string) (*chat.Result, error) {
	o := chat.Options{
		URL: b.base(), Model: model, API: api, Key: b.key, StopEarly: !f.ignoreEnd, NoUsage: !f.usage, Retry: f.retry,
		Concurrency: b.options.Concurrency, Duration: b.options.Duration, Count: b.options.Count, WarmUp: b.options.WarmUp,
		Rate: b.options.Rate, Arrivals: load.Arrivals(b.arrivals), Timeout: b.options.Timeout,
		Workload: chat.Workload{Shared: f.shared, Turns: f.turns, Batch: f.batch, Seed: f.seed},
		Fields:   map[string]json.RawMessage{},
	}
	if err := f.parse(&o); err != nil {
		return nil, usage(err)
	}
	if b.file != "" {
		file, err := os.Open(b.file)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		if o.Workload.Prompts, err = chat.ReadPrompts(file); err != nil {
			return nil, fmt.Errorf("%s: %w", b.file, err)
		}
	}
	show, clear := progress(o.Duration, o.Count)
	defer clear()
	o.Progress = show
	result, err := chat.Run(c.Context(), o)
	if err != nil {
		return nil, usage(err) // the options are wrong
	}
	return result, nil
}

// parse reads what the flags say in words.
func (f *textFlags) parse(o *chat.Options) error {
	var err error
	w := &o.Workload
	if w.Words, err = chat.ParseLengths(f.words); err != nil {
		return fmt.Errorf("--prompt-words %w", err)
	}
	if w.Tokens, err = chat.ParseLengths(f.tokens); err != nil {
		return fmt.Errorf("--max-tokens %w", err)
	}
	for _, text := range f.mix {
		p, err := chat.ParsePart(text)
		if err != nil {
			return err
		}
		w.Mix = append(w.Mix, p)
	}
	for _, text := range f.fields {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return fmt.Errorf("--field %q: write name=value, where value is JSON", text)
		}
		if !json.Valid([]byte(value)) { // a word is a text
			quoted, err := json.Marshal(value)
			if err != nil {
				return err
			}
			value = string(quoted)
		}
		o.Fields[name] = json.RawMessage(value)
	}
	o.SLO, err = chat.ParseSLO(f.slo)
	return err
}
