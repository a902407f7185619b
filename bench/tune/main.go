package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// subject is a model and the latency that it is tuned for.
type subject struct {
	name, about string
	p99         time.Duration
	callers     int
}

var subjects = []subject{
	{"mlp", "ONNX, 2 layers of 256", 500 * time.Microsecond, 16},
	{"trees", "XGBoost, 1,000 trees, 713,300 nodes", 2 * time.Millisecond, 16},
	{"file-types", "ONNX, starter, 2,048 bytes a row", 120 * time.Millisecond, 16},
	{"ocr", "ONNX, starter, a line of text", 120 * time.Millisecond, 16},
}

// options are the command's flags.
type options struct {
	serval, models, only, library string
	rounds, finalists             int
	time                          time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.serval, "serval", "bin/serval", "the binary under test")
	flag.StringVar(&o.models, "models", "", "folder with the models; default: made, below ~/.cache/serval-bench, of what bench/trees/setup.sh trains, the starter and bench/mlp")
	flag.StringVar(&o.only, "only", "", "models to tune, separated by commas; default: all")
	flag.StringVar(&o.library, "library", "", "passed on: file of a library, as in onnxruntime=PATH")
	flag.IntVar(&o.rounds, "rounds", 5, "interleaved rounds of the comparison that finds the best of the others; the last has three times as many")
	flag.IntVar(&o.finalists, "finalists", 4, "how many of the exhaustive search's best are compared with what the search chose")
	flag.DurationVar(&o.time, "time", time.Second, "for each measurement")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "tune:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if o.models == "" {
		if err := o.prepare(ctx); err != nil {
			return err
		}
	}
	fmt.Printf("%s, %d cores. Command: `go run ./bench/tune %s`.\n\n", runtime.GOARCH, runtime.NumCPU(), strings.Join(os.Args[1:], " "))
	fmt.Println("| model | p99 target | search: tried, s | chosen | exhaustive: tried, s | its best | side by side: the search's rows/s, p99 | the best other: rows/s, p99 | search ÷ best other |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, s := range subjects {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), s.name) {
			continue
		}
		line, err := o.compare(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		fmt.Println(line)
	}
	return nil
}

// prepare makes the folder of models.
func (o *options) prepare(ctx context.Context) error {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return err
		}
		cache = filepath.Join(home, ".cache")
	}
	cache = filepath.Join(cache, "serval-bench")
	o.models = filepath.Join(cache, "tune")
	for _, argv := range [][]string{{"bench/trees/setup.sh"}, {o.serval, "model", "pull", "starter", "--models", o.models}} {
		c := exec.CommandContext(ctx, argv[0], argv[1:]...)
		c.Stderr = os.Stderr
		if err := c.Run(); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
		}
	}
	for name, file := range map[string]string{"mlp": "bench/mlp/model.onnx", "trees": filepath.Join(cache, "trees", "flights-xgboost", "model.ubj")} {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		folder := filepath.Join(o.models, name, "1")
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, filepath.Base(file)), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// trial is what the binary says of one combination.
type trial struct {
	Instances  int           `json:"instances"`
	Threads    int           `json:"threads"`
	MaxBatch   int           `json:"max_batch"`
	Throughput float64       `json:"rows_per_second"`
	P99        time.Duration `json:"p99_ns"`
	Meets      bool          `json:"meets_target"`
	Stopped    bool          `json:"stopped_early"`
}

func (t *trial) String() string { return fmt.Sprintf("%dx%dx%d", t.Instances, t.Threads, t.MaxBatch) }

// outcome is what a run of the binary found.
type outcome struct {
	Best   trial   `json:"best"`
	Trials []trial `json:"trials"`
	took   time.Duration
}

func (o *options) tune(ctx context.Context, s subject, more ...string) (outcome, error) {
	argv := append([]string{"model", "tune", s.name, "--models", o.models, "--dry-run", "--output", "json", "--time", o.time.String(),
		"--p99", s.p99.String(), "--callers", strconv.Itoa(s.callers)}, more...)
	if o.library != "" {
		argv = append(argv, "--library", o.library)
	}
	c := exec.CommandContext(ctx, o.serval, argv...)
	var said bytes.Buffer
	c.Stderr = &said
	begun := time.Now()
	out, err := c.Output()
	found := outcome{took: time.Since(begun)}
	if jsonErr := json.Unmarshal(out, &found); jsonErr != nil { // where nothing meets the target, there is a result and an error
		return found, errors.Join(err, fmt.Errorf("%s %s: %s", o.serval, strings.Join(argv, " "), said.String()))
	}
	return found, nil
}

// compare makes a line of the table.
func (o *options) compare(ctx context.Context, s subject) (string, error) {
	search, err := o.tune(ctx, s)
	if err != nil {
		return "", err
	}
	all, err := o.tune(ctx, s, "--exhaustive")
	if err != nil {
		return "", err
	}
	list := []string{search.Best.String()}
	slices.SortStableFunc(all.Trials, prefer)
	for _, t := range all.Trials {
		if text := t.String(); len(list) <= o.finalists && !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	last, err := o.tune(ctx, s, "--only", strings.Join(list, ","), "--rounds", strconv.Itoa(o.rounds))
	if err != nil {
		return "", err
	}
	rival := slices.MinFunc(last.Trials[1:], prefer) // of those that the search did not choose
	duel, err := o.tune(ctx, s, "--only", search.Best.String()+","+rival.String(), "--rounds", strconv.Itoa(3*o.rounds))
	if err != nil {
		return "", err
	}
	mine, best := duel.Trials[0], duel.Trials[1]
	verdict := fmt.Sprintf("**%.3f**", mine.Throughput/best.Throughput)
	if mine.Meets != best.Meets {
		verdict = fmt.Sprintf("%.3f; the target is met: by the search's %v, by the other %v", mine.Throughput/best.Throughput, mine.Meets, best.Meets)
	}
	return fmt.Sprintf("| %s (%s) | %v | %d, %.0f | %v | %d, %.0f | %v | %.0f, %v | %v: %.0f, %v | %s |", s.name, s.about, s.p99, len(search.Trials), search.took.Seconds(), &search.Best,
		len(all.Trials), all.took.Seconds(), &all.Best, mine.Throughput, mine.P99.Round(time.Microsecond), &best, best.Throughput, best.P99.Round(time.Microsecond), verdict), nil
}

// prefer orders trials by what tune looks for: the target first, then throughput; where neither meets it, p99.
func prefer(a, b trial) int {
	better := func(a, b trial) bool {
		switch {
		case a.Meets != b.Meets:
			return a.Meets
		case !a.Meets:
			return a.P99 < b.P99
		}
		return a.Throughput > b.Throughput
	}
	switch {
	case better(a, b):
		return -1
	case better(b, a):
		return 1
	}
	return 0
}
