package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"serval"
	"serval/batch"
	formats "serval/batch/all"
	"serval/batch/postgres"
	"serval/client"
	"serval/config"
	engines "serval/engine/all"
	"serval/server"
	"serval/store/blob"
)

func batchCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "batch", Short: "Ask a model about whole data sets", Args: cobra.NoArgs, RunE: showHelp,
		Long: `Ask a model about whole data sets: CSV, JSONL and other files in, the same with the model's answers out. A job that is
interrupted goes on where it stopped.`,
	}
	c.AddCommand(batchRun(), batchPlan())
	c.AddCommand(batchJobCommands()...)
	return c
}

// jobFlags are those that say what a job is.
type jobFlags struct {
	place
	remote
	job                     batch.Job
	maps, inOpts, outOpts   []string
	passthrough             string
	text                    batch.Text
	maxTokens               int
	temperature, topP, seed string
	local                   bool
	places                  *blob.Places // made at its first use
}

func (f *jobFlags) flags(c *cobra.Command) {
	f.place.flags(c)
	f.remote.flags(c)
	l, j := c.Flags(), &f.job
	l.Lookup("server").Usage = "ask this running server, and do not load the model here"
	l.StringArrayVarP(&j.Input, "input", "i", nil, "what to read: a file, folder or glob, s3://bucket/key*, gs://bucket/key*, azblob://container/key*, https://…, postgres://…?table=, or - for standard input; may be given several times")
	l.StringVar(&j.InputFormat, "input-format", "", "format of the input (default: by the files' names)")
	l.StringArrayVar(&f.inOpts, "input-option", nil, "option of the input's format, as in delimiter=; or header=no")
	l.StringArrayVar(&f.maps, "map", nil, "columns of an input of the model, as in x=a,b,c (default: the column of the input's name, or all columns for one matrix)")
	l.StringSliceVar(&j.Want, "want", nil, "outputs to write, as the model gives them (default: as the model's recipe says)")
	l.IntVar(&j.Rows, "rows", 0, "rows of a block (default: chosen)")
	l.IntVar(&j.Parallel, "parallel", 0, "requests under way at the same time (default: chosen)")
	l.Int64Var(&j.Limit, "limit", 0, "stop after so many rows of the input")
	l.StringVar(&f.text.Prompt, "prompt", "", "what to ask a model of text about a row, as in 'Classify: {text}' (default: the column messages, prompt or text)")
	l.StringVar(&f.text.System, "system", "", "system message; may have columns in braces, too")
	l.StringVar(&f.text.Task, "task", "", "chat, completion or embed (default: by what the model can do)")
	l.IntVar(&f.maxTokens, "max-tokens", 0, "most tokens of an answer (default: the model's)")
	l.StringVar(&f.temperature, "temperature", "", "sampling temperature (default: the model's)")
	l.StringVar(&f.topP, "top-p", "", "nucleus sampling (default: the model's)")
	l.StringVar(&f.seed, "seed", "", "seed of the sampling")
	l.StringArrayVar(&f.text.Stop, "stop", nil, "text that ends an answer")
	l.BoolVar(&f.local, "local", false, "load the model here (the default, unless --server is given)")
}

// finish makes the job of the flags.
func (f *jobFlags) finish(model string) error {
	j := &f.job
	j.Model = model
	if len(j.Input) == 0 {
		return fmt.Errorf("no input; name it with -i")
	}
	if f.local && f.server != "" {
		return fmt.Errorf("--local and --server exclude each other")
	}
	var err error
	if j.InputOptions, err = pairs("--input-option", f.inOpts); err != nil {
		return err
	}
	if j.OutputOptions, err = pairs("--output-option", f.outOpts); err != nil {
		return err
	}
	for _, m := range f.maps {
		input, columns, ok := strings.Cut(m, "=")
		if !ok || input == "" || columns == "" {
			return fmt.Errorf("--map %q: write input=column or input=column,column", m)
		}
		if j.Map == nil {
			j.Map = map[string][]string{}
		}
		j.Map[input] = strings.Split(columns, ",")
	}
	if f.passthrough != "" {
		j.Passthrough = strings.Split(f.passthrough, ",")
	}
	return f.finishText()
}

func (f *jobFlags) finishText() error {
	t := &f.text
	if f.maxTokens > 0 {
		t.MaxTokens = &f.maxTokens
	}
	for _, n := range []struct {
		flag, text string
		set        func(string) error
	}{
		{"--temperature", f.temperature, number(&t.Temperature)}, {"--top-p", f.topP, number(&t.TopP)}, {"--seed", f.seed, number(&t.Seed)},
	} {
		if n.text == "" {
			continue
		}
		if err := n.set(n.text); err != nil {
			return fmt.Errorf("%s %q is not a number", n.flag, n.text)
		}
	}
	if t.Prompt != "" || t.System != "" || t.Task != "" || t.MaxTokens != nil || t.Temperature != nil || t.TopP != nil || t.Seed != nil || t.Stop != nil {
		f.job.Text = t
	}
	return nil
}

func number[T int64 | float64](to **T) func(string) error {
	return func(text string) error {
		var v T
		_, err := fmt.Sscan(text, &v)
		*to = &v
		return err
	}
}

func pairs(flag string, list []string) (map[string]string, error) {
	var out map[string]string
	for _, p := range list {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%s %q: write name=value", flag, p)
		}
		if out == nil {
			out = map[string]string{}
		}
		out[name] = value
	}
	return out, nil
}

// inputs are the objects at the job's locations.
func (f *jobFlags) inputs(ctx context.Context) ([]batch.Object, error) {
	var all []batch.Object
	for _, location := range f.job.Input {
		if location == "-" {
			if f.job.InputFormat == "" {
				f.job.InputFormat = "csv"
			}
			all = append(all, &batch.Stream{Label: "standard input", Source: os.Stdin})
			continue
		}
		found, err := f.locator(location).Locate(ctx, location)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// locator is what knows a location.
func (f *jobFlags) locator(location string) batch.Locator {
	if postgres.Is(location) {
		return postgres.Places{}
	}
	if f.places == nil {
		f.places = blob.New(blob.Options{})
	}
	return f.places
}

// closePlaces lets go of the stores that were read or written.
func (f *jobFlags) closePlaces() {
	if f.places != nil {
		_ = f.places.Close() // all was read, or is given up
	}
}

// options are those of a run, with the model ready to be asked. close is for afterwards.
func (f *jobFlags) options(ctx context.Context) (o batch.Options, end func(), err error) {
	ref, err := serval.ParseRef(f.job.Model)
	if err != nil {
		return o, nil, usage(err)
	}
	o = batch.Options{Formats: formats.Formats(), ID: "batch"}
	if o.Inputs, err = f.inputs(ctx); err != nil {
		return o, nil, err
	}
	o.Job = f.job
	if f.server != "" {
		return f.online(ctx, ref, o)
	}
	cfg, err := f.read(func(c *config.Config) { c.Log.Access, c.Log.Level = false, "error" })
	if err != nil {
		return o, nil, err
	}
	store, err := f.store(os.Stderr)
	if err != nil {
		return o, nil, err
	}
	log, err := server.OpenLog(cfg.Log)
	if err != nil {
		return o, nil, err
	}
	s, err := server.New(server.Options{Config: cfg, Engines: engines.New(&libraries{ctx, store}, cfg.Engines), Cores: tuneRuntime(), Version: version, Log: log})
	if err != nil {
		return o, nil, err
	}
	end = func() { _ = s.Stop(); _ = log.Close() } // nothing is under way
	if err := s.LoadModel(ctx, ref.Name); err != nil {
		end()
		return o, nil, err
	}
	if o.Model, err = s.Models().Model(ref); err != nil {
		end()
		return o, nil, err
	}
	o.Handler, o.Digest = s.Handler(), digest(o.Model.Path)
	o.Credential = f.key
	return o, end, nil
}

// digest tells a model's files from others, by their names, sizes and times: reading some gigabytes takes too long.
func digest(folder string) string {
	h := sha256.New()
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := os.Stat(path)
		if err == nil {
			fmt.Fprintln(h, strings.TrimPrefix(path, folder), info.Size(), info.ModTime().UnixNano())
		}
		return err
	})
	if err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// online asks a running server.
func (f *jobFlags) online(ctx context.Context, ref serval.Ref, o batch.Options) (batch.Options, func(), error) {
	c := f.client()
	info, err := c.Info(ctx, ref)
	if err != nil {
		c.Close()
		return o, nil, err
	}
	o.Model = serval.ModelInfo{Name: ref.Name, Version: ref.Version, Signature: info.Signature, Settings: serval.ModelSettings{Recipe: info.Recipe}}
	if o.Model.Version == "" && ref.Alias == "" && len(info.Versions) > 0 {
		o.Model.Version = info.Versions[len(info.Versions)-1]
	}
	o.Handler = asking(c)
	return o, c.Close, nil
}

// asking is a Handler that asks a server.
func asking(c *client.Client) serval.Handler {
	return serval.HandlerFunc(func(ctx context.Context, req *serval.Request, sink serval.Sink) error {
		in, ok := req.Input.(*serval.Tensors)
		if !ok {
			return serval.Errorf(serval.Unimplemented, "--server takes models of tensors; a model of text is run with --local")
		}
		a, err := c.PredictSequence(ctx, req.Model, serval.Sequence{}, in.List, in.Want...)
		if err != nil {
			return err
		}
		return sink.Send(&serval.Chunk{Output: &serval.Tensors{List: a.Outputs}, Finish: serval.Stop})
	})
}
