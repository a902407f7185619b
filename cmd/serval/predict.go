package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"serval"
	"serval/client"
	"serval/client/input"
	"serval/client/output"
	"serval/config"
	engines "serval/engine/all"
	"serval/server"
)

type predictFlags struct {
	place
	remote
	local bool
	rows  int64
	want  []string
}

func predictCommand() *cobra.Command {
	f := &predictFlags{}
	c := &cobra.Command{
		Use:   "predict MODEL FILE...",
		Short: "Ask a model about files: CSV, JSON, NPY, pictures, sounds (WAV), or any file for models that take bytes",
		Long: `Ask a model about files. A running server answers if there is one (--server, or the default address);
otherwise the model is loaded from the models folder for this one question.`,
		Example: `  serval predict credit applicants.csv
  serval predict ocr line.png -o json
  serval predict file-types README.md Makefile
  serval predict vad speech.wav
  serval predict credit applicants.csv --local --models models -o csv`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args[0], args[1:]) },
	}
	f.place.flags(c)
	f.remote.flags(c)
	c.Flags().StringVarP(&f.out, "output", "o", "table", strings.Join(output.Formats(), ", "))
	c.Flags().BoolVar(&f.local, "local", false, "load the model here, even if a server runs")
	c.Flags().Int64Var(&f.rows, "rows", 1024, "most rows in one request; a longer file is sent in parts")
	c.Flags().StringSliceVar(&f.want, "want", nil, "outputs to show, as the model gives them (default: as the model's recipe says)")
	return c
}

// asker answers one request.
type asker interface {
	info(context.Context, serval.Ref) (input.Model, error)
	ask(context.Context, serval.Ref, serval.Sequence, []serval.Tensor, []string) ([]serval.Tensor, error)
}

func (f *predictFlags) run(c *cobra.Command, model string, files []string) error {
	ref, err := serval.ParseRef(model)
	if err != nil {
		return usage(err)
	}
	a, closeAsker, err := f.asker(c.Context(), ref)
	if err != nil {
		return err
	}
	defer closeAsker()
	info, err := a.info(c.Context(), ref)
	if err != nil {
		return err
	}
	all := &output.Table{}
	for _, file := range files {
		t, err := f.predict(c.Context(), a, ref, info, file)
		if err != nil {
			return err
		}
		if len(files) == 1 {
			all = t
		} else {
			all.Append("file", filepath.Base(file), t)
		}
	}
	return output.Write(os.Stdout, f.out, all)
}

func (f *predictFlags) predict(ctx context.Context, a asker, ref serval.Ref, info input.Model, file string) (*output.Table, error) {
	in, err := input.ReadFile(file, info)
	if err != nil {
		return nil, err
	}
	for _, name := range in.Ignored {
		fmt.Fprintf(os.Stderr, "serval: %s: field %q is not an input of the model; it was left out\n", filepath.Base(file), name)
	}
	want := f.want
	if len(want) == 0 {
		want = in.Want
	}
	rows, where := f.rows, serval.Sequence{}
	if in.Sequence {
		rows, where.ID = 1, strconv.FormatUint(rand.Uint64N(1<<53)+1, 10)
	}
	var parts [][]serval.Tensor
	requests := client.Batches(in.Tensors, rows)
	for i, part := range requests {
		where.Start, where.End = in.Sequence && i == 0, in.Sequence && i == len(requests)-1
		outputs, err := a.ask(ctx, ref, where, part, want)
		if err != nil {
			return nil, err
		}
		parts = append(parts, outputs)
	}
	outputs, err := client.Join(parts)
	if err != nil {
		return nil, err
	}
	recipe := info.Recipe
	if len(f.want) > 0 {
		recipe = nil // whoever names outputs gets them as they are
	}
	whole, err := output.Answer(outputs, recipe, in.Length)
	if err != nil {
		return nil, err
	}
	for i := len(in.Extra) - 1; i >= 0; i-- {
		whole.Carry(in.Extra[i].Name, in.Extra[i].Texts)
	}
	return whole, nil
}

// asker is the running server, or the model loaded here.
func (f *predictFlags) asker(ctx context.Context, ref serval.Ref) (asker, func(), error) {
	if !f.local && len(f.models) == 0 {
		c := f.client()
		quick, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		err := c.Ready(quick)
		var e *serval.Error
		if err == nil || f.server != "" || errors.As(err, &e) && e.Code == serval.Unavailable && !strings.Contains(e.Message, "refused") {
			return &online{c}, c.Close, nil
		}
		c.Close()
	}
	return f.load(ctx, ref)
}

// online asks a server.
type online struct{ c *client.Client }

func (o *online) info(ctx context.Context, ref serval.Ref) (input.Model, error) {
	i, err := o.c.Info(ctx, ref)
	if err != nil {
		return input.Model{}, err
	}
	return input.Model{Signature: i.Signature, Recipe: i.Recipe}, nil
}

func (o *online) ask(ctx context.Context, ref serval.Ref, where serval.Sequence, in []serval.Tensor, want []string) ([]serval.Tensor, error) {
	a, err := o.c.PredictSequence(ctx, ref, where, in, want...)
	if err != nil {
		return nil, err
	}
	return a.Outputs, nil
}

// local asks a chain in this process that listens nowhere.
type local struct{ s *server.Server }

func (f *predictFlags) load(ctx context.Context, ref serval.Ref) (asker, func(), error) {
	cfg, err := f.read(func(c *config.Config) { c.Log.Access, c.Log.Level = false, "error" })
	if err != nil {
		return nil, nil, err
	}
	store, err := f.store(os.Stderr)
	if err != nil {
		return nil, nil, err
	}
	out, err := server.OpenLog(cfg.Log)
	if err != nil {
		return nil, nil, err
	}
	s, err := server.New(server.Options{Config: cfg, Engines: engines.New(&libraries{ctx, store}, cfg.Engines), Cores: tuneRuntime(), Version: version, Log: out})
	if err != nil {
		return nil, nil, err
	}
	stop := func() { _ = s.Stop(); _ = out.Close() } // nothing is under way
	if err := s.LoadModel(ctx, ref.Name); err != nil {
		stop()
		return nil, nil, err
	}
	return &local{s}, stop, nil
}

func (l *local) info(_ context.Context, ref serval.Ref) (input.Model, error) {
	i, err := l.s.Models().Model(ref)
	if err != nil {
		return input.Model{}, err
	}
	return input.Model{Signature: i.Signature, Recipe: i.Settings.Recipe}, nil
}

func (l *local) ask(ctx context.Context, ref serval.Ref, where serval.Sequence, in []serval.Tensor, want []string) ([]serval.Tensor, error) {
	var out []serval.Tensor
	err := l.s.Handler().Handle(ctx, &serval.Request{Protocol: "command", Model: ref, Sequence: where, Input: &serval.Tensors{List: in, Want: want}},
		serval.SinkFunc(func(c *serval.Chunk) error {
			t, ok := c.Output.(*serval.Tensors)
			if !ok {
				return serval.Errorf(serval.Unimplemented, "the model does not answer with tensors")
			}
			for _, o := range t.List {
				o.Data = append([]byte(nil), o.Data...) // the chunk is reused once Send returned
				o.Shape = append([]int64(nil), o.Shape...)
				out = append(out, o)
			}
			return nil
		}))
	return out, err
}
