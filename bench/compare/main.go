package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"serval/bench/bed"
)

// options are the command's flags.
type options struct {
	serval string
	write  string
	rounds int
	time   time.Duration
	warmUp time.Duration
	peers  map[string]bool
	work   *workload
}

func main() {
	var o options
	flag.StringVar(&o.serval, "serval", "bin/serval", "the binary under test; empty: only the peers and the floor")
	flag.StringVar(&o.write, "write", "", "Markdown file whose section between the bench markers is replaced")
	flag.IntVar(&o.rounds, "rounds", 5, "interleaved rounds of each workload")
	flag.DurationVar(&o.time, "time", 3*time.Second, "length of one measurement")
	flag.DurationVar(&o.warmUp, "warm-up", 500*time.Millisecond, "load before each measurement")
	work := flag.String("workload", "mlp", "what is served: mlp, or trees or trees-small (models that bench/trees/setup.sh trains)")
	peers := flag.String("peers", "all", "peers to measure, separated by commas; triton-c needs a C compiler")
	flag.Parse()
	if err := o.choose(*work, *peers); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

// choose finds the workload and which of its peers are measured.
func (o *options) choose(work, peers string) error {
	list := workloads()
	at := slices.IndexFunc(list, func(w workload) bool { return w.name == work })
	if at < 0 {
		return fmt.Errorf("-workload: no workload %q", work)
	}
	o.work, o.peers = &list[at], map[string]bool{}
	if peers == "all" {
		for _, p := range o.work.peers {
			o.peers[p.key] = true
		}
		return nil
	}
	for _, name := range strings.FieldsFunc(peers, func(r rune) bool { return r == ',' }) {
		if !slices.ContainsFunc(o.work.peers, func(p peer) bool { return p.key == name }) {
			return fmt.Errorf("-peers: no peer %q", name)
		}
		o.peers[name] = true
	}
	return nil
}

func run(ctx context.Context, o options) error {
	if _, err := os.Stat("bench/peers/setup.sh"); err != nil {
		return fmt.Errorf("start it in the repository's root: %w", err)
	}
	machine := describeMachine()
	dir, err := os.MkdirTemp("", "serval-compare-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // it is the system's folder for temporary files
	list, err := prepare(ctx, o, dir)
	if err != nil {
		return err
	}
	defer stopAll(list)
	starts, err := measureStarts(ctx, o, dir, list)
	if err != nil {
		return err
	}
	if err := sameAnswers(ctx, o.work, list); err != nil {
		return err
	}
	cells, err := measureAll(ctx, o, list)
	if err != nil {
		return err
	}
	allocs, err := measureAllocations(ctx, o, list)
	if err != nil {
		return err
	}
	report := report{machine: machine, command: command(), options: o, servers: list, cells: cells, starts: starts, allocs: allocs}
	text := report.markdown()
	fmt.Print(text)
	if o.write != "" {
		return bed.ReplaceSection(o.write, o.work.section, text)
	}
	return nil
}

func command() string {
	text := "go run ./bench/compare"
	for _, arg := range os.Args[1:] {
		if arg == "" || strings.ContainsAny(arg, " \t") {
			arg = "'" + arg + "'"
		}
		text += " " + arg
	}
	return text
}

// prepare installs the peers, builds the floor and describes every server; none is started.
func prepare(ctx context.Context, o options, dir string) ([]*server, error) {
	if err := o.work.prepare(ctx); err != nil {
		return nil, err
	}
	var list []*server
	if o.serval != "" {
		binary, err := filepath.Abs(o.serval)
		if err != nil {
			return nil, err
		}
		models := filepath.Join(dir, "models")
		if err := copyFile(o.work.model, filepath.Join(models, o.work.name, "1", filepath.Base(o.work.model))); err != nil {
			return nil, err
		}
		s, err := newServal(dir, "serval", binary, models)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	for _, p := range o.work.peers {
		if !o.peers[p.key] {
			continue
		}
		if err := setup(ctx, p.setup...); err != nil {
			return nil, err
		}
		s, err := newServer(dir, p.key, p.name)
		if err != nil {
			return nil, err
		}
		s.Argv = append([]string{p.run[0], port(s.rest), port(s.grpc)}, p.run[1:]...)
		list = append(list, s)
	}
	floor := filepath.Join(dir, "floor")
	if err := setup(ctx, "go", "build", "-o", floor, "./bench/floor"); err != nil {
		return nil, err
	}
	s, err := newServer(dir, "floor", "floor")
	if err != nil {
		return nil, err
	}
	s.Argv = []string{floor, "--listen", s.rest, "--grpc", s.grpc}
	return append(list, s), nil
}

// setup runs a command that prepares something, with its output on the terminal.
func setup(ctx context.Context, argv ...string) error {
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	return nil
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
