package child

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"serval"
	"serval/engine"
	"serval/engine/fake"
	"serval/schedule"
)

// TestMain is the host process, too, when it is started as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Command {
		file := os.NewFile(SocketFD, "server")
		conn, err := net.FileConn(file)
		if err == nil {
			err = Serve(os.Stdin, conn, open)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// open is what server/host.go does, for the engines of these tests.
func open(ctx context.Context, o Order) (*Hosted, error) {
	var eng engine.Engine = fake.New()
	if o.Engine == "words" {
		eng = named{}
	}
	opened, err := schedule.Open(ctx, eng, o.Spec, o.Cores)
	if err != nil {
		return nil, err
	}
	_, streams := opened.Loaded.(*schedule.Streams)
	return &Hosted{Loaded: opened.Loaded, Signature: opened.Signature, Language: opened.Language, Memory: opened.Memory, Settings: opened.Settings, Streams: streams}, nil
}

// named is an engine of a model of text: it says the tokens of its prompt again, each with what it was asked by.
type named struct{}

func (named) Name() string                      { return "words" }
func (named) Platform() string                  { return "serval_words" }
func (named) Detect(fs.FS) (engine.Rank, error) { return engine.Possible, nil }
func (named) Open(context.Context, engine.Spec) (engine.Model, error) {
	return &speaker{}, nil
}

type speaker struct {
	engine.Decoder
	calls []*engine.Call
}

func (*speaker) Signature() serval.Signature { return serval.Signature{} }
func (*speaker) Memory() engine.Memory       { return engine.Memory{Bytes: 42, Estimated: true} }
func (*speaker) Close() error                { return nil }
func (*speaker) Language() serval.Language {
	return serval.Language{File: "/words.gguf", Context: 128, Slots: 4, Generate: true, Embed: true, Width: 2, Adapters: []string{"a"}}
}

func (s *speaker) Admit(c *engine.Call) error {
	s.calls = append(s.calls, c)
	return nil
}

// Step answers each call whole.
func (s *speaker) Step(context.Context) (int, error) {
	for _, c := range s.calls {
		switch in := c.Input.(type) {
		case *serval.Generate:
			for i, id := range in.Tokens {
				chunk := serval.Chunk{Usage: serval.Usage{Completion: 1}, Output: &serval.Tokens{List: []serval.Token{
					{ID: id, Logprob: in.Sampling.Temperature, Top: []serval.Token{{ID: 7, Logprob: -1}}}}}}
				if i == 0 {
					chunk.Usage.Prompt = int64(len(in.Tokens))
				}
				if i == len(in.Tokens)-1 {
					chunk.Finish = serval.Length
				}
				c.Stream.Emit(chunk)
			}
		case *serval.Encode:
			e := &serval.Embeddings{}
			for _, l := range in.List {
				e.List = append(e.List, []float32{float32(len(l)), float32(len(in.Pooling))})
			}
			c.Stream.Emit(serval.Chunk{Output: e, Finish: serval.Stop})
		}
		c.Stream.End(nil)
	}
	s.calls = nil
	return 0, nil
}

// kid is a model in a process, as schedule runs it.
type kid struct {
	*schedule.Opened
	t    testing.TB
	dir  string
	log  lockedBuffer
	told chan error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

const (
	echo  = `{"inputs":[{"name":"x","datatype":"FP32","shape":[-1,4],"symbols":["n",""]}],"outputs":[{"name":"y","datatype":"FP32","shape":[-1,4],"symbols":["n",""]}]%s}`
	count = `{"inputs":[{"name":"x","datatype":"INT32","shape":[1]}],"outputs":[{"name":"step","datatype":"INT32","shape":[1]}],"steps":%d,"delay":"1ms"%s}`
)

// quick has tests wait for nothing longer than need be.
func quick(t testing.TB) Options {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Options{Exe: exe, Cores: 2, Pace: Pace{First: 5 * time.Millisecond, Most: 20 * time.Millisecond}, Health: Health{Every: 50 * time.Millisecond, Limit: 20 * time.Second}}
}

// tryOpen opens a model.fake.
func tryOpen(t testing.TB, o Options, model string, s serval.ModelSettings) (*kid, error) {
	t.Helper()
	k := &kid{t: t, dir: t.TempDir(), told: make(chan error, 1)}
	if err := os.WriteFile(filepath.Join(k.dir, "model.fake"), []byte(model), 0o644); err != nil {
		t.Fatal(err)
	}
	o.Log = slog.New(slog.NewTextHandler(&k.log, nil))
	var err error
	k.Opened, err = schedule.Open(t.Context(), Wrap(fake.New(), o), engine.Spec{Name: "m", Version: "1", Dir: k.dir, Root: k.dir, Settings: s, Device: engine.Device{Kind: "cpu"}}, 2)
	if err != nil {
		return k, err
	}
	k.Loaded.(*schedule.Passage).OnFail(func(err error) { k.told <- err })
	t.Cleanup(func() {
		if pid := k.pid(); pid != 0 {
			defer func() {
				if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
					t.Errorf("the process is still there after Close: %v", err)
				}
			}()
		}
		if err := k.Loaded.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", k.log.String())
		}
	})
	return k, nil
}

func launch(t testing.TB, o Options, model string, args ...any) *kid {
	t.Helper()
	k, err := tryOpen(t, o, fmt.Sprintf(model, args...), serval.ModelSettings{})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *kid) pid() int { return k.Loaded.Stats().Process.PID }

// ask sends four numbers, of which the first is given, and returns the chunks as numbers.
func (k *kid) ask(ctx context.Context, first float32) (got []int, err error) {
	err = k.Loaded.Handle(ctx, &serval.Request{Input: numbers(first), Deadline: time.Now().Add(30 * time.Second)}, serval.SinkFunc(func(c *serval.Chunk) error {
		got = append(got, int(c.Output.(*serval.Tensors).List[0].Data[0]))
		return nil
	}))
	return got, err
}

// count asks a model of steps.
func (k *kid) count(ctx context.Context, first int32, each func(int) error) error {
	in := &serval.Tensors{List: []serval.Tensor{{Name: "x", DType: serval.Int32, Shape: []int64{1}, Data: []byte{byte(first), 0, 0, 0}}}}
	n := 0
	return k.Loaded.Handle(ctx, &serval.Request{Input: in, Deadline: time.Now().Add(30 * time.Second)}, serval.SinkFunc(func(*serval.Chunk) error {
		n++
		return each(n)
	}))
}

// is fails the test unless the error is of that code and says those words.
func is(t *testing.T, err error, code serval.Code, words ...string) {
	t.Helper()
	var e *serval.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("error %v, want one of code %v", err, code)
	}
	says(t, err, words...)
}

func says(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Fatalf("error %q does not say %q", err, w)
		}
	}
}

// eventually waits for what must come.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// busy says whether a call is inside.
func (k *kid) busy() bool { return k.Loaded.(*schedule.Passage).InFlight() > 0 }

func newLog(k *kid) *slog.Logger { return slog.New(slog.NewTextHandler(&k.log, nil)) }
