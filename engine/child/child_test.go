package child

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"serval"
	"serval/engine"
	"serval/schedule"
)

func numbers(first float32) *serval.Tensors {
	data := make([]byte, 16)
	binary.LittleEndian.PutUint32(data, math.Float32bits(first))
	return &serval.Tensors{List: []serval.Tensor{{Name: "x", DType: serval.FP32, Shape: []int64{1, 4}, Data: data}}}
}

func TestAnswersAsInProcess(t *testing.T) {
	k := launch(t, quick(t), echo, "")
	if b := k.Loaded.Batching(); !b.On || b.Reason == "" {
		t.Errorf("batching %+v", b)
	}
	if s := k.Settings; s.Isolation != "process" || s.Instances != 2 || s.Queue.Limit != schedule.DefaultQueueLimit {
		t.Errorf("settings %+v", s)
	}
	if !reflect.DeepEqual(k.Signature.Inputs, []serval.TensorInfo{{Name: "x", DType: serval.FP32, Shape: []int64{-1, 4}, Symbols: []string{"n", ""}}}) {
		t.Errorf("signature %+v", k.Signature)
	}
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			in := numbers(float32(i))
			req := &serval.Request{Input: in, Tenant: "t", Priority: 1}
			var got serval.Tensor
			if err := k.Loaded.Handle(t.Context(), req, serval.SinkFunc(func(c *serval.Chunk) error {
				got = c.Output.(*serval.Tensors).List[0]
				if c.Finish != serval.Stop || c.Usage.Rows != 1 {
					t.Errorf("chunk %+v", c)
				}
				return nil
			})); err != nil {
				t.Error(err)
			}
			want := serval.Tensor{Name: "y", DType: serval.FP32, Shape: []int64{1, 4}, Data: in.List[0].Data}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if req.Timing.Batch == 0 || req.Timing.Compute == 0 {
				t.Errorf("timing %+v", req.Timing)
			}
		})
	}
	wg.Wait()
	if s := k.Loaded.Stats(); s.Success.Count != 64 || s.Inferences != 64 || s.Instances != 2 || s.Process.PID == 0 || s.Process.Memory == 0 || s.Process.Restarts != 0 {
		t.Errorf("stats %+v", s)
	}
	if err := k.Loaded.(*schedule.Passage).Warm(t.Context(), numbers(1).List); err != nil {
		t.Error(err)
	}
}

func TestErrorsPassAsTheyAre(t *testing.T) {
	_, err := tryOpen(t, quick(t), `{"inputs":[{"name":"x","datatype":"FP99"}]}`, serval.ModelSettings{})
	if err == nil || err.Error() != `model.fake: inputs: "x": unknown datatype "FP99"` {
		t.Errorf("open: %v", err)
	}
	k := launch(t, quick(t), echo, `,"faults":[{"do":"fail","at":"call","value":13}]`)
	_, err = k.ask(t.Context(), 13)
	var e *serval.Error
	if !errors.As(err, &e) || e.Code != serval.InvalidArgument || e.Message != "the model fails, as it was told to" || e.Param != "x" || e.Reason != "told" {
		t.Errorf("call: %#v", err)
	}
	if _, err := k.ask(t.Context(), 1); err != nil {
		t.Error(err)
	}
	is(t, k.Loaded.Handle(t.Context(), &serval.Request{Input: &serval.Generate{Tokens: []int32{1}}}, nil), serval.InvalidArgument, "takes tensors")
	is(t, k.Loaded.Handle(t.Context(), &serval.Request{Input: &serval.Chat{}}, nil), serval.InvalidArgument)
}

func TestDeathAtOpen(t *testing.T) {
	for do, words := range map[string][]string{
		"crash": {"exit status 2", "last words: the model crashes, as it was told to", "panic: a fault of the model"},
		"kill":  {"SIGKILL", "last words: none"},
		"exit":  {"exit status 3"},
	} {
		_, err := tryOpen(t, quick(t), strings.Replace(echo, "%s", `,"faults":[{"do":"`+do+`","at":"open"}]`, 1), serval.ModelSettings{})
		says(t, err, append(words, "loading it ended its process")...)
	}
}

// A call that kills its process once is answered by the next process; nobody else is told either.
func TestRetry(t *testing.T) {
	for _, do := range []string{"crash", "kill", "exit"} {
		k := launch(t, quick(t), echo, `,"faults":[{"do":"`+do+`","at":"call","value":6,"once":"done"}]`)
		before := k.pid()
		if got, err := k.ask(t.Context(), 6); err != nil || len(got) != 1 {
			t.Fatalf("%s: %v %v", do, got, err)
		}
		if s := k.Loaded.Stats(); s.Process.PID == before || s.Process.Restarts != 1 {
			t.Errorf("%s: %+v, pid %d before", do, s.Process, before)
		}
	}
}

// One that kills it each time is tried twice, and not a third time.
func TestRetryOnce(t *testing.T) {
	k := launch(t, quick(t), echo, `,"faults":[{"do":"exit","at":"call","value":6}]`)
	_, err := k.ask(t.Context(), 6)
	is(t, err, serval.Unavailable, "died twice", "exit status 3")
	if _, err := k.ask(t.Context(), 1); err != nil {
		t.Error(err)
	}
	if s := k.Loaded.Stats(); s.Process.Restarts != 2 || s.Fail.Count != 1 {
		t.Errorf("%+v", s)
	}
}

func TestCutAnswer(t *testing.T) {
	k := launch(t, quick(t), count, 50, "")
	pid, last := k.pid(), 0
	err := k.count(t.Context(), 1, func(n int) error {
		if last = n; n == 3 {
			return syscall.Kill(pid, syscall.SIGKILL)
		}
		return nil
	})
	is(t, err, serval.Unavailable, "died", "SIGKILL", "in the middle of the answer, which is cut after")
	if last < 3 {
		t.Errorf("%d chunks", last)
	}
	if err := k.count(t.Context(), 1, func(int) error { return nil }); err != nil { // the next process
		t.Error(err)
	}
}

// kill -9 under load: each call is answered right or ends with a clear error, and most are answered.
func TestKilledUnderLoad(t *testing.T) {
	o := quick(t)
	o.Pace.Deaths = 100
	k := launch(t, o, echo, `,"delay":"1ms"`)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var mu sync.Mutex
	good, bad := 0, 0
	for i := range 16 {
		wg.Go(func() {
			for ctx.Err() == nil {
				got, err := k.ask(t.Context(), float32(i))
				mu.Lock()
				switch {
				case err == nil && len(got) == 1:
					good++
				default:
					bad++
					var e *serval.Error
					if !errors.As(err, &e) || e.Code != serval.Unavailable || !strings.Contains(e.Message, "died twice") {
						t.Errorf("%v %v", got, err)
					}
				}
				mu.Unlock()
			}
		})
	}
	for n := uint64(0); n < 5; n++ {
		var pid int
		eventually(t, "a process serves", func() bool {
			s := k.Loaded.Stats()
			pid = s.Process.PID
			return pid != 0 && s.Process.Restarts == n && s.Waiting < 16
		})
		if _, err := k.ask(t.Context(), 1); err != nil { // it has served since
			t.Error(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "five restarts", func() bool { return k.Loaded.Stats().Process.Restarts == 5 })
	stop()
	wg.Wait()
	t.Logf("%d answered, %d not", good, bad)
	if good == 0 {
		t.Error("nothing was answered")
	}
}

func TestHung(t *testing.T) {
	o := quick(t)
	o.Health.Limit = time.Second
	k := launch(t, o, echo, "")
	pid := k.pid()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it stands still", func() bool {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(raw), ") T ") // or was killed already
	})
	if got, err := k.ask(t.Context(), 1); err != nil || len(got) != 1 { // by the next process
		t.Errorf("%v %v", got, err)
	}
	if !strings.Contains(k.log.String(), "it was hung") {
		t.Error("the log does not say that it was hung")
	}
}

// An engine that computes for ever is found out once nobody waits for it any more.
func TestStuck(t *testing.T) {
	o := quick(t)
	o.Health.Stuck = 100 * time.Millisecond
	k := launch(t, o, echo, `,"faults":[{"do":"hang","at":"call","value":6}]`)
	pid := k.pid()
	req := &serval.Request{Input: numbers(6), Deadline: time.Now().Add(50 * time.Millisecond)}
	is(t, k.Loaded.Handle(t.Context(), req, serval.SinkFunc(func(*serval.Chunk) error { return nil })), serval.DeadlineExceeded)
	eventually(t, "another process", func() bool { now := k.pid(); return now != 0 && now != pid })
	if !strings.Contains(k.log.String(), "its engine was stuck") {
		t.Error("the log does not say that it was stuck")
	}
}

func TestMemoryLimit(t *testing.T) {
	o := quick(t)
	o.Memory = 200 << 20
	k := launch(t, o, echo, `,"faults":[{"do":"leak","at":"call","value":6,"bytes":400000000},{"do":"hang","at":"call","value":6}]`)
	_, err := k.ask(t.Context(), 6)
	is(t, err, serval.Unavailable, "took", "its settings allow 200 MiB (memory)")
	if _, err := k.ask(t.Context(), 1); err != nil {
		t.Error(err)
	}
	if s := k.Loaded.Stats().Process; s.Restarts != 1 { // the call was not tried once more
		t.Errorf("%+v", s)
	}
	_, err = tryOpen(t, o, strings.Replace(echo, "%s", `,"faults":[{"do":"leak","at":"open","bytes":400000000},{"do":"hang","at":"open"}]`, 1), serval.ModelSettings{})
	says(t, err, "its settings allow 200 MiB")
}

func TestCrashLoop(t *testing.T) {
	o := quick(t)
	o.Pace.Deaths = 3
	k := launch(t, o, echo, `,"faults":[{"do":"crash","at":"call","value":6}]`)
	_, err := k.ask(t.Context(), 6)
	is(t, err, serval.Unavailable, "died twice")
	_, err = k.ask(t.Context(), 6) // the third death
	words := []string{"died 3 times", "exit status 2", "last words", "panic: a fault of the model", "load the model again"}
	is(t, err, serval.Unavailable, words...)
	is(t, <-k.told, serval.Unavailable, words...)
	_, err = k.ask(t.Context(), 1)
	is(t, err, serval.Unavailable, words...)
	late := make(chan error, 1)
	k.Loaded.(*schedule.Passage).OnFail(func(err error) { late <- err })
	is(t, <-late, serval.Unavailable, words...)
}

// A call that waits for a process leaves at its deadline, and when its client does.
func TestWaitsForRestart(t *testing.T) {
	o := quick(t)
	o.Pace.First, o.Pace.Most = time.Hour, time.Hour
	k := launch(t, o, echo, `,"faults":[{"do":"exit","at":"call","value":6}]`)
	req := &serval.Request{Input: numbers(6), Deadline: time.Now().Add(time.Second)}
	is(t, k.Loaded.Handle(t.Context(), req, nil), serval.DeadlineExceeded, "started again")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err := k.ask(ctx, 1)
	is(t, err, serval.Canceled)
}

func TestCancel(t *testing.T) {
	k := launch(t, quick(t), count, 1<<30, "")
	ctx, cancel := context.WithCancel(t.Context())
	err := k.count(ctx, 1, func(n int) error {
		if n == 3 {
			cancel()
		}
		return nil
	})
	is(t, err, serval.Canceled)
	gone := errors.New("the client left")
	if err := k.count(t.Context(), 1, func(int) error { return gone }); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
	if err := k.count(t.Context(), 1, func(n int) error {
		if n == 5 {
			return serval.ErrEnough
		}
		return nil
	}); err != nil {
		t.Errorf("enough: %v", err)
	}
	eventually(t, "the sequences are dropped", func() bool { return k.Loaded.Stats().Sequences == 0 })
	if s := k.Loaded.Stats(); s.Rejected["canceled"] != 2 || s.Success.Count != 1 {
		t.Errorf("%+v", s)
	}
}

// A reader that stands still stops its own sequence, before it is far ahead, and nobody else's.
func TestSlowReader(t *testing.T) {
	const steps = 1000
	k := launch(t, quick(t), count, steps, "")
	ctx, cancel := context.WithCancel(t.Context())
	read, ended := make(chan struct{}), make(chan error)
	first := sync.OnceFunc(func() { close(read) })
	go func() {
		ended <- k.count(ctx, 1, func(int) error { first(); <-ctx.Done(); return ctx.Err() })
	}()
	<-read
	n := 0
	if err := k.count(t.Context(), 1, func(i int) error { n = i; return nil }); err != nil || n != steps {
		t.Errorf("the other: %d %v", n, err)
	}
	s := k.Loaded.Stats() // each execution has the live calls as its rows
	if s.Sequences != 1 {
		t.Errorf("%d sequences live, want the slow one", s.Sequences)
	}
	if made := s.Tokens.Rows; made != steps { // counted when a call ends
		t.Errorf("%d chunks were made of the calls that ended", made)
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("the slow one ended well")
	}
	eventually(t, "the slow one ends", func() bool { return k.Loaded.Stats().Sequences == 0 })
	if ahead := k.Loaded.Stats().Tokens.Rows - steps; ahead < 1 || ahead > 3*window {
		t.Errorf("the slow one was %d chunks ahead of its reader", ahead)
	}
}

func TestCloseWaits(t *testing.T) {
	k := launch(t, quick(t), echo, `,"delay":"200ms"`)
	pid, answered := k.pid(), make(chan error)
	go func() { _, err := k.ask(t.Context(), 1); answered <- err }()
	eventually(t, "the call is inside", func() bool { return k.Loaded.Stats().Success.Count > 0 || k.busy() })
	done := make(chan error)
	go func() { done <- k.Loaded.Close() }()
	if err := <-answered; err != nil {
		t.Errorf("the call inside: %v", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the process is there: %v", err)
	}
	if _, err := k.ask(t.Context(), 1); !errors.Is(err, serval.ErrRetired) {
		t.Errorf("a call after that: %v", err)
	}
}

func TestWords(t *testing.T) {
	o := quick(t)
	var log lockedBuffer
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	m, err := schedule.Open(t.Context(), Wrap(named{}, o), engine.Spec{Name: "w", Version: "2", Device: engine.Device{Kind: "cpu"}}, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Loaded.Close()
	if m.Language == nil || !reflect.DeepEqual(*m.Language, (&speaker{}).Language()) || m.Memory != (engine.Memory{Bytes: 42, Estimated: true}) {
		t.Errorf("language %+v, memory %+v", m.Language, m.Memory)
	}
	var got []int32
	var use serval.Usage
	var finish serval.Finish
	in := &serval.Generate{Tokens: []int32{5, 6, -7}, Sampling: serval.Sampling{Temperature: 0.5}}
	if err := m.Loaded.Handle(t.Context(), &serval.Request{Input: in}, serval.SinkFunc(func(c *serval.Chunk) error {
		tok := c.Output.(*serval.Tokens).List[0]
		got, finish = append(got, tok.ID), c.Finish
		use.Add(c.Usage)
		if tok.Logprob != 0.5 || !reflect.DeepEqual(tok.Top, []serval.Token{{ID: 7, Logprob: -1}}) {
			t.Errorf("%+v", tok)
		}
		return nil
	})); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, in.Tokens) || use != (serval.Usage{Prompt: 3, Completion: 3}) || finish != serval.Length {
		t.Errorf("%v %+v %v", got, use, finish)
	}
	if err := m.Loaded.Handle(t.Context(), &serval.Request{Input: &serval.Encode{List: [][]int32{{1, 2}, {3}}, Pooling: "cls"}}, serval.SinkFunc(func(c *serval.Chunk) error {
		if e := c.Output.(*serval.Embeddings); !reflect.DeepEqual(e.List, [][]float32{{2, 3}, {1, 3}}) {
			t.Errorf("%+v", e)
		}
		return nil
	})); err != nil {
		t.Fatal(err)
	}
	is(t, m.Loaded.Handle(t.Context(), &serval.Request{Input: numbers(1)}, nil), serval.InvalidArgument, "takes text")
}
