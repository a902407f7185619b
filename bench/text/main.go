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
	serval  string // the binary under test
	build   string // folder of llama-server's build
	gguf    string
	files   string // folder of the files that setup.sh made
	python  string // with openvino-genai
	write   string
	threads int
	rounds  int
	source  string  // of the roof; "": it is not measured
	others  float64 // what other programs may take of the processors, from 0 to 1
	work    *workload
	of      []contender
}

func main() {
	home, err := os.UserCacheDir()
	if err != nil {
		fail(2, err)
	}
	var o options
	flag.StringVar(&o.serval, "serval", "bin/serval", "the binary under test")
	flag.StringVar(&o.build, "build", filepath.Join(home, "serval-bench", "llama-server", "build"), "folder of llama-server's build; see setup.sh")
	flag.StringVar(&o.gguf, "gguf", filepath.Join(home, "serval-test", "gguf", "smollm2.gguf"), "the model, which test/setup.sh fetches")
	flag.StringVar(&o.files, "files", filepath.Join(home, "serval-bench", "llama-server", "files"), "folder of the files that setup.sh makes: re-quantised ones, and random weights")
	flag.StringVar(&o.python, "python", filepath.Join(home, "serval-bench", "openvino", "venv", "bin", "python"), "the Python that has openvino-genai; see setup.sh")
	flag.StringVar(&o.write, "write", "", "Markdown file whose section of this workload is replaced")
	flag.StringVar(&o.source, "roof", "", "C program that measures what the linear layers alone allow, run before; then the table has each server's share of it")
	flag.IntVar(&o.threads, "threads", 2, "threads of each server")
	flag.IntVar(&o.rounds, "rounds", 5, "interleaved rounds")
	flag.Float64Var(&o.others, "others", 0.03, "share of the processors that other programs may take while a round is measured; else it is measured again")
	work := flag.String("work", "c16", "the workload")
	of := flag.String("of", "", "contenders, separated by commas; the first is compared with each of the others (default: the workload's)")
	list := flag.Bool("list", false, "say which contenders and workloads there are")
	flag.Parse()
	if *list {
		printList()
		return
	}
	if err := o.choose(*work, *of); err != nil {
		fail(2, err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, &o); err != nil {
		stop()
		fail(1, err)
	}
}

func fail(code int, err error) {
	fmt.Fprintln(os.Stderr, "text:", err)
	os.Exit(code)
}

func printList() {
	fmt.Println("contenders:")
	for _, c := range contenders() {
		fmt.Printf("  %-22s %s\n", c.name, c.title)
	}
	fmt.Println("workloads:")
	for _, w := range workloads() {
		fmt.Printf("  %-10s %s (%s)\n", w.name, w.title, w.of)
	}
}

// choose finds the workload and the contenders.
func (o *options) choose(work, of string) (err error) {
	list := workloads()
	at := slices.IndexFunc(list, func(w workload) bool { return w.name == work })
	if at < 0 {
		return fmt.Errorf("-work: no workload %q; -list shows them", work)
	}
	o.work = &list[at]
	if of == "" {
		of = o.work.of
	}
	if o.threads < 1 || o.rounds < 1 {
		return fmt.Errorf("-threads and -rounds: want 1 or more")
	}
	if o.serval, err = filepath.Abs(o.serval); err != nil {
		return err
	}
	o.of, err = chosen(of)
	return err
}

func run(ctx context.Context, o *options) error {
	dir, err := os.MkdirTemp("", "serval-text-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // it is the system's folder for temporary files
	machine := describeMachine(o)
	var top *roof
	if o.source != "" {
		if top, err = measureRoof(ctx, o.source, dir); err != nil {
			return err
		}
	}
	var list []*server
	defer func() {
		for _, s := range list {
			s.Stop()
		}
	}()
	for _, c := range o.of {
		s, err := describe(o, c, dir)
		if err != nil {
			return err
		}
		if _, err := s.Start(ctx, 20*time.Millisecond); err != nil {
			return err
		}
		list = append(list, s)
		progress("%s is ready", c.name)
	}
	cells, err := measureAll(ctx, o, list)
	if err != nil {
		return err
	}
	text := report(o, machine, top, cells)
	fmt.Print(text)
	if o.write != "" {
		return bed.ReplaceSection(o.write, o.work.name, text)
	}
	return nil
}

func command() string {
	return "go run ./bench/text " + strings.Join(os.Args[1:], " ")
}

// commit is the repository's, as far as git knows.
func commit() string {
	out, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
