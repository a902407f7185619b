package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"serval"
	"serval/bench/load"
	"serval/client/input"
)

type benchFlags struct {
	remote
	options                load.Options // of tensors; the load itself holds for text, too
	grpc, format, arrivals string
	rows                   int
	file                   string
	text                   textFlags
}

func benchCommand() *cobra.Command {
	f := &benchFlags{}
	c := &cobra.Command{
		Use:   "bench MODEL",
		Short: "Measure a model's throughput and latency, of tensors or of text",
		Long: `Measure a running server. With -c alone the loop is closed: each of c callers sends its next request when the last one
was answered. With --rate it is open: requests are due at that rate whatever the server does, and latency counts from
the time a request was due, so a stall shows in full.

A model of tensors is asked over REST or gRPC. A model of text is asked over OpenAI's API, with streams: what is shown is
the time to the first token, the gaps between tokens, tokens a second, what the prompt cache saved, and what was lost.
Serval and Ollama say which a model is; for any other server of OpenAI's API say --chat, --completions or --embed.

Prompts are made up from --seed, each its own, and every answer has all of its --max-tokens (ignore_eos) at temperature 0.
A request that got no whole answer is a failure and is not sent again, unless --retry says so.`,
		Example: `  serval bench credit -c 16 -d 10s
  serval bench credit --rate 2000 -d 10s
  serval bench credit --format grpc --grpc 127.0.0.1:8081 -c 16
  serval bench credit --file applicants.csv -o json

  serval bench chat -c 8 -n 64
  serval bench chat --rate 4 --arrivals poisson -d 1m --slo ttft=500ms,itl=50ms
  serval bench chat -c 16 -n 96 --shared-prefix-words 300 --max-tokens 32
  serval bench chat -c 4 -n 48 --turns 6
  serval bench chat -c 8 -d 1m --mix 4:20-100/16-64 --mix 1:lognormal:600,0.5/256
  serval bench chat -c 8 -n 500 --file prompts.jsonl
  serval bench qwen2.5-7b --chat --server http://127.0.0.1:8000 -c 16 -n 200
  serval bench gpt-x --chat --server https://host/v1 --key $KEY --ignore-eos=false -n 20
  serval bench minilm --embed --batch 16 --prompt-words 100 -c 4`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args[0]) },
	}
	f.remote.flags(c)
	fl := c.Flags()
	fl.SortFlags = false
	fl.StringVarP(&f.out, "output", "o", "table", "table or json")
	fl.IntVarP(&f.options.Concurrency, "concurrency", "c", 0, "callers (default: 1; with --rate: 256)")
	fl.DurationVarP(&f.options.Duration, "duration", "d", 0, "how long to measure (default: 10s, text 30s; with -n: as long as it takes)")
	fl.Int64VarP(&f.options.Count, "count", "n", 0, "requests to measure, at most")
	fl.DurationVar(&f.options.WarmUp, "warm-up", time.Second, "load before the measurement")
	fl.Float64Var(&f.options.Rate, "rate", 0, "requests a second of an open loop; with --turns: conversations")
	fl.StringVar(&f.arrivals, "arrivals", string(load.Constant), "spacing of an open loop: constant or poisson")
	fl.DurationVar(&f.options.Timeout, "timeout", 0, "of one request (default: 30s, text 5m)")
	fl.StringVar(&f.file, "file", "", "send this instead of made-up inputs; text: lines of {\"messages\": […]} or {\"prompt\": \"…\"}")
	fl.StringVar(&f.format, "format", "json", "tensors: json, binary or grpc")
	fl.StringVar(&f.grpc, "grpc", "127.0.0.1:8081", "tensors: address of the gRPC port")
	fl.IntVar(&f.rows, "rows", 1, "tensors: rows of a made-up request")
	f.text.flags(fl)
	return c
}

func (f *benchFlags) run(c *cobra.Command, model string) error {
	if f.out != "table" && f.out != "json" {
		return usage(fmt.Errorf("-o %q: use table or json", f.out))
	}
	if _, err := load.ParseFormat(f.format); err != nil {
		return usage(err)
	}
	if f.key == "" {
		f.key = os.Getenv("SERVAL_KEY")
	}
	api, err := f.text.api(c.Context(), c.Flags(), f, model)
	if err != nil {
		return err
	}
	if f.options.Duration == 0 && f.options.Count == 0 {
		f.options.Duration = 10 * time.Second
		if api != "" {
			f.options.Duration = 30 * time.Second
		}
	}
	var result interface{ Text() string }
	if api != "" {
		result, err = f.text.run(c, f, api, model)
	} else {
		result, err = f.tensors(c, model)
	}
	if err != nil {
		return err
	}
	if f.out == "json" {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(result)
	}
	fmt.Print(result.Text())
	return nil
}

// tensors measures a model that takes tensors.
func (f *benchFlags) tensors(c *cobra.Command, model string) (*load.Result, error) {
	ref, err := serval.ParseRef(model)
	if err != nil {
		return nil, usage(err)
	}
	format, err := load.ParseFormat(f.format)
	if err != nil {
		return nil, usage(err)
	}
	base, err := url.Parse(f.base())
	if err != nil || base.Host == "" {
		return nil, usage(fmt.Errorf("--server %q: write http://host:port", f.base()))
	}
	info, err := f.client().Info(c.Context(), ref)
	if e := new(serval.Error); errors.As(err, &e) && e.Code != serval.Unavailable {
		return nil, fmt.Errorf("%w; if this is another server of OpenAI's API, say --chat", err)
	} else if err != nil {
		return nil, err
	}
	inputs, err := f.inputs(input.Model{Signature: info.Signature, Recipe: info.Recipe})
	if err != nil {
		return nil, err
	}
	o := f.options
	o.Addr, o.Arrivals = base.Host, load.Arrivals(f.arrivals)
	if format == load.Proto {
		o.Addr = f.grpc
	}
	if f.key != "" {
		o.Headers = map[string]string{"authorization": "Bearer " + f.key}
	}
	if o.Payload, err = load.Body(format, ref, inputs); err != nil {
		return nil, err
	}
	show, clear := progress(o.Duration, o.Count)
	defer clear()
	o.Progress = show
	result, err := load.Run(c.Context(), o)
	return &result, err
}

func (f *benchFlags) inputs(m input.Model) ([]serval.Tensor, error) {
	if f.file == "" {
		return load.Tensors(m.Signature, load.Sample{Rows: f.rows, Seed: 1})
	}
	in, err := input.ReadFile(f.file, m)
	if err != nil {
		return nil, err
	}
	return in.Tensors, nil
}

// progress shows a bar on a terminal, and nothing elsewhere: a run is short. clear takes it away.
func progress(d time.Duration, count int64) (show func(load.Progress), clear func()) {
	if info, err := os.Stderr.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil, func() {}
	}
	const width = 30
	return func(p load.Progress) {
		what, n := "measuring", 0
		switch {
		case p.WarmUp:
			what = "warming up"
		case d > 0:
			n = min(width, int(width*p.Elapsed/d))
		}
		if !p.WarmUp && count > 0 {
			n = max(n, min(width, int(width*int64(p.Requests)/count)))
		}
		fmt.Fprintf(os.Stderr, "\r\033[K%s [%s%s] %d requests, %d errors", what, strings.Repeat("=", n), strings.Repeat(" ", width-n), p.Requests, p.Errors)
	}, func() { fmt.Fprint(os.Stderr, "\r\033[K") }
}
