package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"serval/bench/bed"
)

// options are the command's flags.
type options struct {
	show, of, write string
	gguf, exact     string // the model, and the same with its weights as F32
	library         string // llama-server's build of libllama
	keep, title     string
	texts           string
	window, windows int
	prompts, tokens int
	threads         int
	serval          string
	requests        int
	way             string // of the child: what it computes
}

func main() {
	home, err := os.UserCacheDir()
	if err != nil {
		fail(2, err)
	}
	peer := filepath.Join(home, "serval-bench", "llama-server")
	var o options
	flag.StringVar(&o.show, "show", "logits", "logits, greedy or memory")
	flag.StringVar(&o.of, "of", "", "ways of computing, separated by commas; the first is what the others are compared with (default: those of -show)")
	flag.StringVar(&o.write, "write", "", "Markdown file whose section is replaced")
	flag.StringVar(&o.title, "section", "", "the section's name in it (default: -show)")
	flag.StringVar(&o.gguf, "gguf", filepath.Join(home, "serval-test", "gguf", "smollm2.gguf"), "the model, which test/setup.sh fetches")
	flag.StringVar(&o.exact, "exact", filepath.Join(peer, "files", "f32.gguf"), "the model with its weights as F32, made by llama.cpp's llama-quantize; see bench/text/setup.sh")
	flag.StringVar(&o.library, "library", filepath.Join(peer, "build", "bin", "libllama.so"), "libllama of llama-server's build; see bench/text/setup.sh")
	flag.StringVar(&o.keep, "keep", filepath.Join(home, "serval-bench", "right"), "folder for what was computed")
	flag.StringVar(&o.texts, "texts", "8b18b02:README.md,8b18b02:docs/ARCHITECTURE.md,8b18b02:docs/operations.md,LICENSE,/usr/share/common-licenses/GPL-3,/usr/share/common-licenses/Artistic",
		"files of real text, or COMMIT:PATH of this repository, separated by commas")
	flag.IntVar(&o.window, "window", 256, "tokens of a piece of text that is read by itself")
	flag.IntVar(&o.windows, "windows", 9, "pieces, taken from the texts in turn")
	flag.IntVar(&o.prompts, "prompts", 100, "prompts of -show greedy")
	flag.IntVar(&o.tokens, "tokens", 64, "tokens of each answer")
	flag.IntVar(&o.threads, "threads", 2, "threads of each engine")
	flag.StringVar(&o.serval, "serval", "bin/serval", "the binary, for -show memory")
	flag.IntVar(&o.requests, "requests", 10000, "requests of -show memory")
	flag.StringVar(&o.way, "compute", "", "used by the command itself: compute one way and keep it")
	list := flag.Bool("list", false, "say which ways of computing there are")
	flag.Parse()
	if *list {
		for _, w := range ways() {
			fmt.Printf("  %-18s %s\n", w.name, w.title)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, &o); err != nil {
		stop()
		fail(1, err)
	}
}

func fail(code int, err error) {
	fmt.Fprintln(os.Stderr, "right:", err)
	os.Exit(code)
}

func run(ctx context.Context, o *options) error {
	if o.window < 2 || o.windows < 1 || o.prompts < 1 || o.tokens < 1 || o.threads < 1 || o.requests < 10 {
		return fmt.Errorf("-window wants 2 or more, -requests 10 or more, the other numbers 1 or more")
	}
	if o.way != "" {
		return compute(ctx, o)
	}
	var text string
	var err error
	switch o.show {
	case "logits", "greedy":
		text, err = compare(ctx, o)
	case "memory":
		text, err = memory(ctx, o)
	default:
		return fmt.Errorf("-show: %q; want logits, greedy or memory", o.show)
	}
	if err != nil {
		return err
	}
	text = about(o) + "\n\n" + text
	fmt.Print(text)
	if o.write == "" {
		return nil
	}
	section := o.title
	if section == "" {
		section = o.show
	}
	return bed.ReplaceSection(o.write, section, text)
}

// about is the command, the day and the commit.
func about(o *options) string {
	commit := "unknown"
	if out, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output(); err == nil {
		commit = strings.TrimSpace(string(out))
	}
	return fmt.Sprintf("`go run ./bench/right %s`, %s, %s, commit %s.", strings.Join(os.Args[1:], " "), filepath.Base(o.gguf), time.Now().Format("2006-01-02 15:04"), commit)
}
