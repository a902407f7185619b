package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// options are the command's flags.
type options struct {
	serval, gguf  string
	text, engine  string
	n, c, rounds  int
	tokens, words int
	stream        bool
}

func main() {
	home, err := os.UserCacheDir()
	if err != nil {
		fail(err)
	}
	var o options
	flag.StringVar(&o.serval, "serval", "bin/serval", "the binary under test")
	flag.StringVar(&o.gguf, "gguf", filepath.Join(home, "serval-test", "gguf", "smollm2.gguf"), "the model, which test/setup.sh fetches")
	flag.StringVar(&o.engine, "engine", "", "the engine that model.yaml names: llama or gguf (default: chosen)")
	flag.StringVar(&o.text, "text", "{context: 1024, slots: 64}", "the model's settings of text, in model.yaml")
	flag.IntVar(&o.n, "n", 500, "requests of a run")
	flag.IntVar(&o.c, "c", 16, "online clients at a time")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds of an online run and a batch each")
	flag.IntVar(&o.tokens, "tokens", 32, "tokens of each answer")
	flag.IntVar(&o.words, "words", 150, "words of the shared system prompt")
	flag.BoolVar(&o.stream, "stream", true, "online answers are streamed, as chats are")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, &o); err != nil {
		stop()
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "requests:", err)
	os.Exit(1)
}

func run(ctx context.Context, o *options) error {
	dir, err := os.MkdirTemp("", "serval-requests-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := start(ctx, o, dir)
	if err != nil {
		return err
	}
	defer s.stop()
	warm := &workload{o: o, salt: "warm", n: 2 * o.c}
	if err := s.online(ctx, warm); err != nil {
		return fmt.Errorf("warm-up: %w", err)
	}
	var ratios []float64
	for round := range o.rounds {
		rates := [2]float64{}
		for i, way := range []func(context.Context, *workload) error{s.online, s.batch} {
			w := &workload{o: o, salt: fmt.Sprintf("%d-%d", round, i), n: o.n} // no run finds another one's prompts kept
			began := time.Now()
			if err := way(ctx, w); err != nil {
				return err
			}
			rates[i] = float64(o.n) / time.Since(began).Seconds()
		}
		ratios = append(ratios, rates[1]/rates[0])
		fmt.Printf("round %d: online (c=%d) %.2f requests/s, batch %.2f requests/s: %.2f times\n", round+1, o.c, rates[0], rates[1], rates[1]/rates[0])
	}
	slices.Sort(ratios)
	fmt.Printf("%d chats of %d tokens with %d shared words, text: %s: batch at %.2f times the online rate (median of %d rounds)\n",
		o.n, o.tokens, o.words, o.text, ratios[len(ratios)/2], o.rounds)
	return nil
}

// workload is a run's requests.
type workload struct {
	o    *options
	salt string
	n    int
}

// body is request i's.
func (w *workload) body(i int, stream bool) []byte {
	system := strings.Repeat("You are the helpful, brief and polite assistant of a shop that sells books. ", w.o.words/15+1)
	body := map[string]any{
		"model": "chat", "max_tokens": w.o.tokens, "temperature": 0, "ignore_eos": true, "stream": stream,
		"messages": []map[string]string{{"role": "system", "content": system}, {"role": "user", "content": fmt.Sprintf("Run %s, customer %d asks: which book do you recommend to someone who likes number %d?", w.salt, i, i*7)}},
	}
	raw, _ := json.Marshal(body) // plain data
	return raw
}

// server is the one under test.
type server struct {
	cmd  *exec.Cmd
	base string
}

func start(ctx context.Context, o *options, dir string) (*server, error) {
	model := filepath.Join(dir, "models", "chat")
	if err := os.MkdirAll(filepath.Join(model, "1"), 0o755); err != nil {
		return nil, err
	}
	if err := os.Symlink(o.gguf, filepath.Join(model, "1", "model.gguf")); err != nil {
		return nil, err
	}
	settings := "text: " + o.text + "\n"
	if o.engine != "" {
		settings += "engine: " + o.engine + "\n"
	}
	if err := os.WriteFile(filepath.Join(model, "model.yaml"), []byte(settings), 0o644); err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "serval.yaml")
	if err := os.WriteFile(conf, []byte("log: {access: false, level: warn}\n"), 0o644); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	_ = l.Close()
	s := &server{base: "http://" + addr}
	s.cmd = exec.CommandContext(ctx, o.serval, "serve", "--config", conf, "--models", filepath.Join(dir, "models"), "--data", filepath.Join(dir, "data"), "--listen", addr, "--grpc", "", "--admin", "")
	s.cmd.Stderr, s.cmd.Cancel = os.Stderr, func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	s.cmd.WaitDelay = 20 * time.Second
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for range 600 {
		if resp, err := http.Get(s.base + "/v2/health/ready"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return s, nil
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.stop()
	return nil, errors.New("the server was not ready within a minute")
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait()
}

// send makes a request and returns the answer's body.
func (s *server) send(ctx context.Context, method, path, kind string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode, text)
	}
	return text, err
}

// online asks from so many clients at a time.
func (s *server) online(ctx context.Context, w *workload) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	next := make(chan int)
	var all sync.WaitGroup
	for range w.o.c {
		all.Go(func() {
			for i := range next {
				text, err := s.send(ctx, "POST", "/v1/chat/completions", "application/json", w.body(i, w.o.stream))
				if err == nil && w.o.stream && !bytes.Contains(text, []byte("data: [DONE]")) {
					err = errors.New("a stream ended early")
				}
				if err != nil {
					stop(err)
				}
			}
		})
	}
	for i := range w.n {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	all.Wait()
	return context.Cause(ctx)
}

// batch uploads the requests, waits for the end and reads the answers; all of it counts.
func (s *server) batch(ctx context.Context, w *workload) error {
	var lines bytes.Buffer
	for i := range w.n {
		fmt.Fprintf(&lines, `{"custom_id":"r%d","method":"POST","url":"/v1/chat/completions","body":%s}`+"\n", i, w.body(i, false))
	}
	var form bytes.Buffer
	m := multipart.NewWriter(&form)
	_ = m.WriteField("purpose", "batch") // into memory
	part, err := m.CreateFormFile("file", "requests.jsonl")
	if err != nil {
		return err
	}
	_, _ = part.Write(lines.Bytes())
	_ = m.Close()
	var file struct{ ID string }
	if err := s.decode(ctx, &file, "POST", "/v1/files", m.FormDataContentType(), form.Bytes()); err != nil {
		return err
	}
	var b struct {
		ID, Status string
		Output     string                                 `json:"output_file_id"`
		Counts     struct{ Total, Completed, Failed int } `json:"request_counts"`
	}
	ask := fmt.Appendf(nil, `{"input_file_id":%q,"endpoint":"/v1/chat/completions","completion_window":"24h"}`, file.ID)
	if err := s.decode(ctx, &b, "POST", "/v1/batches", "application/json", ask); err != nil {
		return err
	}
	for b.Status == "validating" || b.Status == "in_progress" || b.Status == "finalizing" {
		time.Sleep(100 * time.Millisecond)
		if err := s.decode(ctx, &b, "GET", "/v1/batches/"+b.ID, "", nil); err != nil {
			return err
		}
	}
	if b.Status != "completed" || b.Counts.Completed != w.n {
		return fmt.Errorf("the batch ended as %s: %+v", b.Status, b.Counts)
	}
	text, err := s.send(ctx, "GET", "/v1/files/"+b.Output+"/content", "", nil)
	if n := bytes.Count(text, []byte("\n")); err == nil && n != w.n {
		err = fmt.Errorf("the output has %d lines", n)
	}
	return err
}

func (s *server) decode(ctx context.Context, into any, method, path, kind string, body []byte) error {
	text, err := s.send(ctx, method, path, kind, body)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	return err
}
