package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"time"

	"serval"
	"serval/engine"
	"serval/engine/tree"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	b := bench{}
	flag.StringVar(&b.model, "model", "", "folder with a tree model and rows.f32")
	flag.StringVar(&b.serval, "serval", "bin/serval", "the program")
	flag.Int64Var(&b.rows, "rows", 5_000_000, "rows to score")
	flag.IntVar(&b.batch, "batch", 512, "rows of one call to the bare engine")
	flag.StringVar(&b.format, "format", "csv", "format of the output: csv or jsonl")
	flag.StringVar(&b.work, "work", "", "folder for the CSV file (default: a temporary one)")
	flag.Parse()
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "batch:", err)
		os.Exit(1)
	}
}

type bench struct {
	model, serval, format, work string
	rows                        int64
	batch                       int
	features                    int
	data                        []byte // rows.f32
}

func (b *bench) run(ctx context.Context) error {
	if err := b.read(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(b.work, "serval-bench-batch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	models := filepath.Join(dir, "models")
	if err := b.layOut(filepath.Join(models, "trees", "1")); err != nil {
		return err
	}
	in := filepath.Join(dir, "in.csv")
	size, err := b.write(in)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d rows of %d features; CSV of %d MB; %d cores\n", filepath.Base(b.model), b.rows, b.features, size>>20, runtime.NumCPU())
	bare, err := b.bare(ctx)
	if err != nil {
		return err
	}
	flags, err := b.flags(ctx, models, in)
	if err != nil {
		return err
	}
	plan, err := b.plan(ctx, flags)
	if err != nil {
		return err
	}
	report, whole, err := b.job(ctx, flags, filepath.Join(dir, "out."+b.format))
	if err != nil {
		return err
	}
	rate := float64(b.rows) / bare.Seconds()
	fmt.Printf("bare engine   %8.2f s  %10.0f rows/s\n", bare.Seconds(), rate)
	fmt.Printf("batch run     %8.2f s  %10.0f rows/s  %5.1f %% of the bare engine\n", report, float64(b.rows)/report, 100*float64(b.rows)/report/rate)
	fmt.Printf("with its load %8.2f s  %10.0f rows/s  %5.1f %%\n", whole.Seconds(), float64(b.rows)/whole.Seconds(), 100*float64(b.rows)/whole.Seconds()/rate)
	fmt.Printf("batch plan    %8.2f s foretold for %d rows, %+.1f %% off\n", plan.Seconds, plan.Rows, 100*(plan.Seconds/whole.Seconds()-1))
	return nil
}

// read takes the sample rows into memory.
func (b *bench) read() error {
	raw, err := os.ReadFile(filepath.Join(b.model, "meta.json"))
	if err != nil {
		return fmt.Errorf("%w; make the models with bench/trees/train.py and name one's folder with -model", err)
	}
	var meta struct{ Features int }
	if err := json.Unmarshal(raw, &meta); err != nil {
		return err
	}
	b.features = meta.Features
	if b.data, err = os.ReadFile(filepath.Join(b.model, "rows.f32")); err == nil && (b.features < 1 || len(b.data) < 4*b.features*b.batch) {
		err = errors.New("rows.f32 is too short")
	}
	return err
}

// layOut makes a version folder of the model's file.
func (b *bench) layOut(version string) error {
	if err := os.MkdirAll(version, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"model.ubj", "model.txt", "model.json"} {
		if _, err := os.Stat(filepath.Join(b.model, name)); err == nil {
			file, err := filepath.Abs(filepath.Join(b.model, name))
			if err != nil {
				return err
			}
			return os.Symlink(file, filepath.Join(version, name))
		}
	}
	return fmt.Errorf("%s: no model.ubj, model.txt or model.json", b.model)
}

// write makes the CSV file.
func (b *bench) write(path string) (size int64, err error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	line := []byte("id")
	for c := range b.features {
		line = fmt.Appendf(line, ",f%d", c)
	}
	_, _ = w.Write(append(line, '\n')) // Flush tells
	have := int64(len(b.data) / 4 / b.features)
	for row := range b.rows {
		line = strconv.AppendInt(append(line[:0], 'r'), row, 10)
		at := row % have * int64(4*b.features)
		for c := range b.features {
			v := math.Float32frombits(binary.LittleEndian.Uint32(b.data[at+int64(4*c):]))
			line = strconv.AppendFloat(append(line, ','), float64(v), 'g', -1, 32)
		}
		_, _ = w.Write(append(line, '\n'))
	}
	if err := w.Flush(); err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), f.Close()
}

// bare scores the rows from memory, a copy of the model on each core.
func (b *bench) bare(ctx context.Context) (time.Duration, error) {
	cores := runtime.NumCPU()
	models := make([]engine.Batcher, cores)
	for i := range models {
		dir, err := filepath.Abs(b.model)
		if err != nil {
			return 0, err
		}
		m, err := tree.New().Open(ctx, engine.Spec{Name: "trees", Version: "1", Dir: dir, Threads: 1, Cores: cores, Settings: serval.ModelSettings{File: b.file()}})
		if err != nil {
			return 0, err
		}
		defer m.Close()
		models[i] = m.(engine.Batcher)
	}
	sig := models[0].Signature()
	row := 4 * b.features
	batches := int((b.rows + int64(b.batch) - 1) / int64(b.batch))
	have := len(b.data) / row / b.batch
	failed := make([]error, cores)
	score := func(core, from, to int) {
		call := &engine.Call{}
		for i := from; i < to && ctx.Err() == nil && failed[core] == nil; i++ {
			at := i % have * b.batch * row
			call.Reset()
			call.Inputs = append(call.Inputs[:0], serval.Tensor{
				Name: sig.Inputs[0].Name, DType: serval.FP32, Shape: []int64{int64(b.batch), int64(b.features)}, Data: b.data[at : at+b.batch*row]})
			call.Rows = int64(b.batch)
			if failed[core] = models[core].Execute(ctx, []*engine.Call{call}); failed[core] == nil {
				failed[core] = call.Err
			}
		}
		call.Reset()
	}
	var running sync.WaitGroup
	begun := time.Now()
	for core := range cores {
		running.Go(func() { score(core, core*batches/cores, (core+1)*batches/cores) })
	}
	running.Wait()
	return time.Since(begun), errors.Join(append(failed, ctx.Err())...)
}

func (b *bench) file() string {
	for _, name := range []string{"model.ubj", "model.txt"} {
		if _, err := os.Stat(filepath.Join(b.model, name)); err == nil {
			return name
		}
	}
	return "model.json"
}

// flags are those of the program's commands.
func (b *bench) flags(ctx context.Context, models, in string) ([]string, error) {
	m, err := tree.New().Open(ctx, engine.Spec{Name: "trees", Version: "1", Dir: filepath.Join(models, "trees", "1"), Threads: 1})
	if err != nil {
		return nil, err
	}
	columns := m.Signature().Inputs[0].Name
	for c := range b.features {
		columns += fmt.Sprintf("%cf%d", "=,"[min(c, 1)], c)
	}
	return []string{"trees", "-i", in, "--map", columns, "--models", models, "--data", filepath.Join(filepath.Dir(in), "data"), "--report", "json"}, m.Close()
}

// ask runs one of the program's commands, and reads what it prints.
func (b *bench) ask(ctx context.Context, into any, args ...string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, b.serval, append([]string{"batch"}, args...)...)
	cmd.Stderr = os.Stderr
	begun := time.Now()
	said, err := cmd.Output()
	took := time.Since(begun)
	if err == nil {
		err = json.Unmarshal(said, into)
	}
	if err != nil {
		return 0, fmt.Errorf("%s batch %s: %w", b.serval, args[0], err)
	}
	return took, nil
}

type plan struct {
	Rows    int64
	Seconds float64
}

// plan has the program foretell the job.
func (b *bench) plan(ctx context.Context, flags []string) (p plan, err error) {
	_, err = b.ask(ctx, &p, append([]string{"plan"}, flags...)...)
	return p, err
}

// job runs the job, and gives its own time and the process's.
func (b *bench) job(ctx context.Context, flags []string, out string) (seconds float64, whole time.Duration, err error) {
	var report plan
	whole, err = b.ask(ctx, &report, append([]string{"run", "-o", out}, flags...)...)
	if err == nil && report.Rows != b.rows {
		err = fmt.Errorf("%d rows, where there are %d", report.Rows, b.rows)
	}
	return report.Seconds, whole, err
}
