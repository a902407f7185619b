package main

import (
	"encoding/json"
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
	options                load.Options
	grpc, format, arrivals string
	rows                   int
	file                   string
}

func benchCommand() *cobra.Command {
	f := &benchFlags{}
	c := &cobra.Command{
		Use:   "bench MODEL",
		Short: "Measure a model's throughput and latency over REST or gRPC",
		Long: `Measure a running server. With -c alone the loop is closed: each of c callers sends its next request when the last one
was answered. With --rate it is open: requests are due at that rate whatever the server does, and latency counts from
the time a request was due, so a stall shows in full.`,
		Example: `  serval bench credit -c 16 -d 10s
  serval bench credit --rate 2000 -d 10s
  serval bench credit --format grpc --grpc 127.0.0.1:8081 -c 16
  serval bench credit --file applicants.csv -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args[0]) },
	}
	f.remote.flags(c)
	fl := c.Flags()
	fl.StringVarP(&f.out, "output", "o", "table", "table or json")
	fl.StringVar(&f.grpc, "grpc", "127.0.0.1:8081", "address of the gRPC port")
	fl.StringVar(&f.format, "format", "json", "json, binary or grpc")
	fl.IntVarP(&f.options.Concurrency, "concurrency", "c", 0, "callers (default: 1; with --rate: 256)")
	fl.DurationVarP(&f.options.Duration, "duration", "d", 10*time.Second, "how long to measure")
	fl.Int64VarP(&f.options.Count, "count", "n", 0, "requests to measure, at most")
	fl.DurationVar(&f.options.WarmUp, "warm-up", time.Second, "load before the measurement")
	fl.Float64Var(&f.options.Rate, "rate", 0, "requests a second of an open loop")
	fl.StringVar(&f.arrivals, "arrivals", string(load.Constant), "spacing of an open loop: constant or poisson")
	fl.DurationVar(&f.options.Timeout, "timeout", 0, "of one request (default: 30s)")
	fl.IntVar(&f.rows, "rows", 1, "rows of a made-up request")
	fl.StringVar(&f.file, "file", "", "send this file instead of made-up inputs")
	return c
}

func (f *benchFlags) run(c *cobra.Command, model string) error {
	ref, err := serval.ParseRef(model)
	if err != nil {
		return usage(err)
	}
	if f.out != "table" && f.out != "json" {
		return usage(fmt.Errorf("-o %q: use table or json", f.out))
	}
	format, err := load.ParseFormat(f.format)
	if err != nil {
		return usage(err)
	}
	base, err := url.Parse(f.base())
	if err != nil || base.Host == "" {
		return usage(fmt.Errorf("--server %q: write http://host:port", f.base()))
	}
	info, err := f.client().Info(c.Context(), ref)
	if err != nil {
		return err
	}
	inputs, err := f.inputs(input.Model{Signature: info.Signature, Recipe: info.Recipe})
	if err != nil {
		return err
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
		return err
	}
	o.Progress = progress(o.Duration)
	result, err := load.Run(c.Context(), o)
	if o.Progress != nil {
		fmt.Fprint(os.Stderr, "\r\033[K")
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

// progress shows a bar on a terminal, and nothing elsewhere: a run is short.
func progress(d time.Duration) func(load.Progress) {
	if info, err := os.Stderr.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 || d <= 0 {
		return nil
	}
	return func(p load.Progress) {
		const width = 30
		n := min(width, int(width*p.Elapsed/d))
		what := "measuring"
		if p.WarmUp {
			what, n = "warming up", 0
		}
		fmt.Fprintf(os.Stderr, "\r\033[K%s [%s%s] %d requests, %d errors", what, strings.Repeat("=", n), strings.Repeat(" ", width-n), p.Requests, p.Errors)
	}
}
