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
	"syscall"
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
	flag.IntVar(&b.rounds, "rounds", 2, "how often both are measured; the best of each counts")
	flag.StringVar(&b.format, "format", "csv", "format of the output: csv or jsonl")
	flag.Int64Var(&b.mlflow, "mlflow", 500_000, "rows that 'mlflow models predict' is asked about, too; 0: it is left out")
	flag.StringVar(&b.work, "work", "", "folder for the CSV file (default: a temporary one)")
	flag.Parse()
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "batch:", err)
		os.Exit(1)
	}
}

type bench struct {
	model, serval, format, work string
	rows, mlflow                int64
	rounds                      int
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
	parquet := filepath.Join(dir, "in.parquet")
	if err := b.writeParquet(parquet); err != nil {
		return err
	}
	peer, err := b.prepare(ctx, dir, in)
	if err != nil {
		return err
	}
	flags, err := b.flags(ctx, models, in)
	if err != nil {
		return err
	}
	inParquet, err := b.flags(ctx, models, parquet)
	if err != nil {
		return err
	}
	plan, err := b.plan(ctx, flags)
	if err != nil {
		return err
	}
	m := measured{peer: peer}
	for range b.rounds {
		if err := b.round(ctx, &m, sources{dir: dir, models: models, csv: flags, parquet: inParquet}); err != nil {
			return err
		}
	}
	m.show(b.rows)
	fmt.Printf("batch plan             %8.2f s foretold for %d rows, %+.1f %% off\n", plan.Seconds, plan.Rows, 100*(plan.Seconds/m.csv.wall-1))
	return nil
}

// sources are what is read: the program's flags for either table.
type sources struct {
	dir, models  string
	csv, parquet []string
}

// measured is the best of each, of all rounds. own is the jobs' time without the model's load.
type measured struct {
	peer                             *mlflow // nil: it is left out
	bare, csv, parquet, peers, small took
	csvOwn, parquetOwn               float64
}

// round measures everything once.
func (b *bench) round(ctx context.Context, m *measured, s sources) error {
	for _, batch := range []int{512, 8192} {
		t, err := b.bare(ctx, batch)
		if err != nil {
			return err
		}
		m.bare.least(t)
	}
	for _, j := range []struct {
		flags []string
		out   string
		to    *took
		own   *float64
	}{{s.csv, "out." + b.format, &m.csv, &m.csvOwn}, {s.parquet, "out.parquet", &m.parquet, &m.parquetOwn}} {
		t, own, err := b.job(ctx, j.flags, filepath.Join(s.dir, j.out))
		if err != nil {
			return err
		}
		if *j.own == 0 || t.wall < j.to.wall {
			*j.own = own
		}
		j.to.least(t)
	}
	if m.peer == nil {
		return nil
	}
	t, err := m.peer.predict(ctx, filepath.Join(s.dir, "mlflow.json"))
	if err != nil {
		return err
	}
	m.peers.least(t)
	if t, err = b.small(ctx, s.models, m.peer, filepath.Join(s.dir, "small-out."+b.format)); err != nil {
		return err
	}
	m.small.least(t)
	return nil
}

// show prints the table.
func (m *measured) show(rows int64) {
	row := func(name string, seconds, cpu float64) {
		rate, base := float64(rows)/seconds, float64(rows)/m.bare.wall
		fmt.Printf("%-22s %8.2f s  %10.0f rows/s  %5.1f %%  %8.2f s of CPU\n", name, seconds, rate, 100*rate/base, cpu)
	}
	row("bare engine", m.bare.wall, m.bare.cpu)
	row("batch run, CSV", m.csvOwn, m.csv.cpu)
	row("with the model's load", m.csv.wall, m.csv.cpu)
	row("batch run, Parquet", m.parquetOwn, m.parquet.cpu)
	row("with the model's load", m.parquet.wall, m.parquet.cpu)
	if m.peer == nil {
		return
	}
	fmt.Printf("%d rows, from the program's start to its end:\n", m.peer.rows)
	each := func(name string, t took) {
		fmt.Printf("%-22s %8.2f s  %10.0f rows/s  %5.1f x  %8.2f s of CPU\n", name, t.wall, float64(m.peer.rows)/t.wall, m.peers.wall/t.wall, t.cpu)
	}
	each("mlflow models predict", m.peers)
	each("batch run", m.small)
}

// took is seconds.
type took struct{ wall, cpu float64 }

// least keeps the smaller of each: what is above it is the machine's other work.
func (t *took) least(o took) {
	if t.wall == 0 || o.wall < t.wall {
		t.wall = o.wall
	}
	if t.cpu == 0 || o.cpu < t.cpu {
		t.cpu = o.cpu
	}
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
	if b.data, err = os.ReadFile(filepath.Join(b.model, "rows.f32")); err == nil && (b.features < 1 || len(b.data) < 4*b.features*8192) {
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

// bare scores the rows from memory, a copy of the model on each core, in batches of so many rows.
func (b *bench) bare(ctx context.Context, batch int) (t took, err error) {
	cores := runtime.NumCPU()
	models := make([]engine.Batcher, cores)
	for i := range models {
		dir, err := filepath.Abs(b.model)
		if err != nil {
			return t, err
		}
		m, err := tree.New().Open(ctx, engine.Spec{Name: "trees", Version: "1", Dir: dir, Threads: 1, Cores: cores, Settings: serval.ModelSettings{File: b.file()}})
		if err != nil {
			return t, err
		}
		defer m.Close()
		models[i] = m.(engine.Batcher)
	}
	sig := models[0].Signature()
	row := 4 * b.features
	batches := int((b.rows + int64(batch) - 1) / int64(batch))
	have := len(b.data) / row / batch
	failed := make([]error, cores)
	score := func(core, from, to int) {
		call := &engine.Call{}
		for i := from; i < to && ctx.Err() == nil && failed[core] == nil; i++ {
			at := i % have * batch * row
			call.Reset()
			call.Inputs = append(call.Inputs[:0], serval.Tensor{
				Name: sig.Inputs[0].Name, DType: serval.FP32, Shape: []int64{int64(batch), int64(b.features)}, Data: b.data[at : at+batch*row]})
			call.Rows = int64(batch)
			if failed[core] = models[core].Execute(ctx, []*engine.Call{call}); failed[core] == nil {
				failed[core] = call.Err
			}
		}
		call.Reset()
	}
	var running sync.WaitGroup
	busy, begun := cpuTime(syscall.RUSAGE_SELF), time.Now()
	for core := range cores {
		running.Go(func() { score(core, core*batches/cores, (core+1)*batches/cores) })
	}
	running.Wait()
	return took{time.Since(begun).Seconds(), cpuTime(syscall.RUSAGE_SELF) - busy}, errors.Join(append(failed, ctx.Err())...)
}

// cpuTime is how many seconds this process, or its children that have ended, kept cores busy.
func cpuTime(who int) float64 {
	var u syscall.Rusage
	if syscall.Getrusage(who, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
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
func (b *bench) ask(ctx context.Context, into any, args ...string) (t took, err error) {
	cmd := exec.CommandContext(ctx, b.serval, append([]string{"batch"}, args...)...)
	cmd.Stderr = os.Stderr
	busy, begun := cpuTime(syscall.RUSAGE_CHILDREN), time.Now()
	said, err := cmd.Output()
	t = took{time.Since(begun).Seconds(), cpuTime(syscall.RUSAGE_CHILDREN) - busy}
	if err == nil {
		err = json.Unmarshal(said, into)
	}
	if err != nil {
		return t, fmt.Errorf("%s batch %s: %w", b.serval, args[0], err)
	}
	return t, nil
}

// small runs the job on the peer's file.
func (b *bench) small(ctx context.Context, models string, peer *mlflow, out string) (took, error) {
	flags, err := b.flags(ctx, models, peer.in)
	if err != nil {
		return took{}, err
	}
	less := *b
	less.rows = peer.rows
	t, _, err := less.job(ctx, flags, out)
	return t, err
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

// job runs the job, and gives the process's time and the job's own.
func (b *bench) job(ctx context.Context, flags []string, out string) (t took, seconds float64, err error) {
	var report plan
	t, err = b.ask(ctx, &report, append([]string{"run", "-o", out}, flags...)...)
	if err == nil && report.Rows != b.rows {
		err = fmt.Errorf("%d rows, where there are %d", report.Rows, b.rows)
	}
	return t, report.Seconds, errors.Join(err, os.Remove(out))
}
