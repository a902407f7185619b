package schedule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serval"
	"serval/engine"
	"serval/engine/fake"
)

// open loads a model.fake of one FP32 input [batch,2].
func open(t testing.TB, extra map[string]any, s serval.ModelSettings) *Opened {
	t.Helper()
	io := []map[string]any{{"name": "x", "datatype": "FP32", "shape": []int{-1, 2}, "symbols": []string{"batch", ""}}}
	spec := map[string]any{"inputs": io, "outputs": []map[string]any{{"name": "y", "datatype": "FP32", "shape": []int{-1, 2}, "symbols": []string{"batch", ""}}}}
	for k, v := range extra {
		spec[k] = v
	}
	raw, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "model.fake"), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	o, err := Open(context.Background(), fake.New(), engine.Spec{Name: "m", Version: "1", Dir: dir, Settings: s}, 1)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func request(row byte, rows int) *serval.Request {
	return &serval.Request{Input: &serval.Tensors{List: []serval.Tensor{{
		Name: "x", DType: serval.FP32, Shape: []int64{int64(rows), 2}, Data: bytes.Repeat([]byte{row}, 8*rows)}}}}
}

// check sends one call and compares the answer with its input.
func check(h serval.Handler, row byte, rows int) error {
	req := request(row, rows)
	var got []byte
	err := h.Handle(context.Background(), req, serval.SinkFunc(func(c *serval.Chunk) error {
		got = append(got, c.Output.(*serval.Tensors).List[0].Data...)
		return nil
	}))
	if err != nil {
		return err
	}
	if !bytes.Equal(got, bytes.Repeat([]byte{row}, 8*rows)) {
		return errors.New("the answer is another call's")
	}
	return nil
}

func TestCallsThatWaitShareABatch(t *testing.T) {
	o := open(t, map[string]any{"delay": "20ms"}, serval.ModelSettings{Instances: 1})
	defer o.Loaded.Close()
	if b := o.Loaded.Batching(); !b.On {
		t.Fatalf("batching is off: %s", b.Reason)
	}
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := check(o.Loaded, byte(i+1), 1+i%3); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	s := o.Loaded.Stats()
	if s.Executions > 8 {
		t.Errorf("40 calls took %d executions: they were not batched", s.Executions)
	}
	if s.Success.Count != 40 || s.Closed["drained"]+s.Closed["full"] == 0 {
		t.Errorf("stats: %d successes, closed %v", s.Success.Count, s.Closed)
	}
}

func TestOverloadIsRefusedAtOnce(t *testing.T) {
	o := open(t, map[string]any{"delay": "50ms"}, serval.ModelSettings{Instances: 1, Queue: serval.QueueSettings{Limit: 2}, Batching: serval.BatchSettings{Mode: "off"}})
	defer o.Loaded.Close()
	var wg sync.WaitGroup
	var refused, answered atomic.Int32
	for range 20 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			err := check(o.Loaded, 7, 1)
			var e *serval.Error
			switch {
			case err == nil:
				answered.Add(1)
			case errors.As(err, &e) && e.Code == serval.Unavailable && e.RetryAfter > 0:
				refused.Add(1)
			default:
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	if answered.Load() == 0 || refused.Load() == 0 {
		t.Errorf("%d answered, %d refused", answered.Load(), refused.Load())
	}
	if s := o.Loaded.Stats(); s.Rejected["queue_full"] != uint64(refused.Load()) {
		t.Errorf("statistics count %v refusals, callers saw %d", s.Rejected, refused.Load())
	}
}

func TestACallWhoseClientLeftIsNeverComputed(t *testing.T) {
	o := open(t, map[string]any{"delay": "50ms"}, serval.ModelSettings{Instances: 1, Batching: serval.BatchSettings{Mode: "off"}})
	defer o.Loaded.Close()
	before := o.Loaded.Stats().Executions
	busy := make(chan error, 1)
	go func() { busy <- check(o.Loaded, 1, 1) }()
	time.Sleep(10 * time.Millisecond)
	ctx, cancel := context.WithCancel(context.Background())
	left := make(chan error, 1)
	go func() {
		left <- o.Loaded.Handle(ctx, request(2, 1), serval.SinkFunc(func(*serval.Chunk) error { return nil }))
	}()
	time.Sleep(10 * time.Millisecond)
	cancel()
	var e *serval.Error
	if err := <-left; !errors.As(err, &e) || e.Code != serval.Canceled {
		t.Errorf("got %v", err)
	}
	late := request(3, 1)
	late.Deadline = time.Now().Add(5 * time.Millisecond)
	err := o.Loaded.Handle(context.Background(), late, serval.SinkFunc(func(*serval.Chunk) error { return nil }))
	if !errors.As(err, &e) || e.Code != serval.DeadlineExceeded {
		t.Errorf("got %v", err)
	}
	if err := <-busy; err != nil {
		t.Error(err)
	}
	if got := o.Loaded.Stats().Executions - before; got != 1 {
		t.Errorf("%d executions, want 1", got)
	}
}

func TestCloseLetsCallsFinish(t *testing.T) {
	for _, delay := range []time.Duration{0, time.Hour} { // a batch that waits for company must not wait on
		o := open(t, map[string]any{"delay": "20ms"}, serval.ModelSettings{Instances: 2, Batching: serval.BatchSettings{MaxDelay: delay}})
		var wg sync.WaitGroup
		for i := range 30 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				if err := check(o.Loaded, byte(i), 1); err != nil && !errors.Is(err, serval.ErrRetired) {
					t.Error(err)
				}
			}()
		}
		time.Sleep(5 * time.Millisecond)
		if err := o.Loaded.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if err := check(o.Loaded, 1, 1); !errors.Is(err, serval.ErrRetired) {
			t.Errorf("after Close: %v", err)
		}
	}
}

func TestStreamsDeliverEveryChunkInOrder(t *testing.T) {
	o := open(t, map[string]any{"steps": 100, "slots": 5}, serval.ModelSettings{})
	defer o.Loaded.Close()
	var wg sync.WaitGroup
	for range 12 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			n := 0
			err := o.Loaded.Handle(context.Background(), request(1, 1), serval.SinkFunc(func(c *serval.Chunk) error {
				if got := int(c.Output.(*serval.Tensors).List[0].Data[0]); got != n {
					t.Errorf("chunk %d came in place %d", got, n)
				}
				if n++; n%40 == 0 {
					time.Sleep(2 * time.Millisecond) // falls behind: the sequence pauses
				}
				return nil
			}))
			if err != nil || n != 100 {
				t.Errorf("%d chunks, %v", n, err)
			}
		}()
	}
	wg.Wait()
}

func TestAStreamWhoseReaderLeftIsDropped(t *testing.T) {
	o := open(t, map[string]any{"steps": 1000000, "delay": "1ms"}, serval.ModelSettings{})
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	err := o.Loaded.Handle(ctx, request(1, 1), serval.SinkFunc(func(*serval.Chunk) error {
		if n++; n == 3 {
			cancel()
		}
		return nil
	}))
	var e *serval.Error
	if !errors.As(err, &e) || e.Code != serval.Canceled {
		t.Errorf("got %v", err)
	}
	if err := o.Loaded.Close(); err != nil { // returns only when nothing is live
		t.Error(err)
	}
}

func TestStreamsThatWaitLeaveAtOnceAndObeyTheirDeadline(t *testing.T) {
	o := open(t, map[string]any{"steps": 400, "slots": 1, "delay": "1ms"}, serval.ModelSettings{Queue: serval.QueueSettings{Timeout: time.Second}})
	busy := make(chan error, 1)
	none := serval.SinkFunc(func(*serval.Chunk) error { return nil })
	go func() { busy <- o.Loaded.Handle(context.Background(), request(1, 1), none) }()
	time.Sleep(20 * time.Millisecond)
	ctx, cancel := context.WithCancel(context.Background())
	left := make(chan error, 1)
	go func() { left <- o.Loaded.Handle(ctx, request(2, 1), none) }()
	late := request(3, 1)
	late.Deadline = time.Now().Add(30 * time.Millisecond)
	var e *serval.Error
	if err := o.Loaded.Handle(context.Background(), late, none); !errors.As(err, &e) || e.Code != serval.DeadlineExceeded {
		t.Errorf("past its deadline: %v", err)
	}
	cancel()
	select {
	case err := <-left:
		if !errors.As(err, &e) || e.Code != serval.Canceled {
			t.Errorf("left: %v", err)
		}
	case err := <-busy:
		t.Errorf("a call that waited was held until the one before it ended (%v)", err)
	}
	if n := o.Loaded.Stats().Waiting; n != 0 {
		t.Errorf("%d calls still wait", n)
	}
	if err := <-busy; err != nil {
		t.Error(err)
	}
	if err := o.Loaded.Close(); err != nil {
		t.Error(err)
	}
}

// brokenDecoder panics at its third step.
type brokenDecoder struct {
	engine.Decoder
	steps int
}

func (d *brokenDecoder) Step(ctx context.Context) (int, error) {
	if d.steps++; d.steps == 3 {
		panic("out of steps")
	}
	return d.Decoder.Step(ctx)
}

func TestAPanicOfADecoderEndsItsCallsOnly(t *testing.T) {
	o := open(t, map[string]any{"steps": 100}, serval.ModelSettings{})
	healthy := o.Loaded.(*Streams)
	m := newStreams("model 'm'", serval.ModelSettings{Queue: serval.QueueSettings{Limit: 10}}, &brokenDecoder{Decoder: healthy.model})
	none := serval.SinkFunc(func(*serval.Chunk) error { return nil })
	for range 2 {
		if err := m.Handle(context.Background(), request(1, 1), none); err == nil || !strings.Contains(err.Error(), "out of steps") {
			t.Errorf("got %v", err)
		}
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// meanModel answers with the mean over the batch: rows together differ from rows alone.
type meanModel struct{ engine.Batcher }

func (m meanModel) Execute(ctx context.Context, calls []*engine.Call) error {
	if err := m.Batcher.Execute(ctx, calls); err != nil {
		return err
	}
	if len(calls) > 1 {
		for _, c := range calls {
			c.Outputs[0].Data[3] = 0x7f // another exponent
		}
	}
	return nil
}

type meanEngine struct{ *fake.Engine }

func (e meanEngine) Open(ctx context.Context, s engine.Spec) (engine.Model, error) {
	m, err := e.Engine.Open(ctx, s)
	if err != nil {
		return nil, err
	}
	return meanModel{m.(engine.Batcher)}, nil
}

func TestRowsThatDifferTogetherAreNotBatched(t *testing.T) {
	dir := t.TempDir()
	spec := `{"inputs":[{"name":"x","datatype":"FP32","shape":[-1,2],"symbols":["batch",""]}],"outputs":[{"name":"y","datatype":"FP32","shape":[-1,2],"symbols":["batch",""]}]}`
	if err := os.WriteFile(filepath.Join(dir, "model.fake"), []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[string]string{"": "rows together differ", "on": "against the probe", "off": "mode is off"} {
		o, err := Open(context.Background(), meanEngine{fake.New()}, engine.Spec{Name: "m", Version: "1", Dir: dir, Settings: serval.ModelSettings{Instances: 1, Batching: serval.BatchSettings{Mode: mode}}}, 1)
		if err != nil {
			t.Fatal(err)
		}
		b := o.Loaded.Batching()
		if !strings.Contains(b.Reason, want) || b.On != (mode == "on") {
			t.Errorf("mode %q: on %v, %s", mode, b.On, b.Reason)
		}
		if err := o.Loaded.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestLeadingDimensionsMustAgree(t *testing.T) {
	info := func(name string, dim int64, symbol string) serval.TensorInfo {
		return serval.TensorInfo{Name: name, DType: serval.FP32, Shape: []int64{dim, 2}, Symbols: []string{symbol, ""}}
	}
	cases := []struct {
		in, out serval.TensorInfo
		want    bool
	}{
		{info("x", -1, "N"), info("y", -1, "N"), true},
		{info("x", -1, ""), info("y", -1, ""), true}, // unnamed: the probe decides
		{info("x", -1, "N"), info("y", -1, "M"), false},
		{info("x", 1, ""), info("y", 1, ""), false},
		{info("x", -1, "N"), serval.TensorInfo{Name: "y", DType: serval.FP32, Shape: []int64{}}, false},
	}
	for _, c := range cases {
		got, _, why := sharesLeading(serval.Signature{Inputs: []serval.TensorInfo{c.in}, Outputs: []serval.TensorInfo{c.out}})
		if got != c.want || got == (why != "") {
			t.Errorf("%v → %v: %v, %q", c.in, c.out, got, why)
		}
	}
}
