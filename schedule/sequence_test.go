package schedule

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"serval"
	"serval/engine"
	"serval/engine/onnx"
	"serval/native"
)

var library struct {
	once  sync.Once
	store *native.Store
	err   error
}

// stateful loads a model of testdata, which testdata/make.py made.
func stateful(t testing.TB, fixture string, s serval.ModelSettings) (*Opened, error) {
	t.Helper()
	library.once.Do(func() {
		cache, err := os.UserCacheDir()
		if err != nil {
			library.err = err
			return
		}
		library.store = native.New(native.Options{Cache: filepath.Join(cache, "serval"), Progress: os.Stderr})
		_, library.err = library.store.Ensure(context.Background(), "onnxruntime")
	})
	if library.err != nil {
		t.Fatal(library.err)
	}
	data, err := os.ReadFile(filepath.Join("testdata", fixture+".onnx"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, data := range map[string][]byte{"model.onnx": data, "hundred": binary.LittleEndian.AppendUint32(nil, 100)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	spec := engine.Spec{Name: fixture, Version: "1", Dir: dir, Settings: s, Device: engine.Device{Kind: "cpu"}}
	o, err := Open(context.Background(), onnx.New(library.store, onnx.Options{}), spec, 1)
	if err == nil {
		t.Cleanup(func() {
			if err := o.Loaded.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return o, err
}

func mustOpen(t testing.TB, fixture string, s serval.ModelSettings) *Opened {
	t.Helper()
	o, err := stateful(t, fixture, s)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// accumulating are the settings of the model accumulate.
func accumulating() *serval.SequenceSettings {
	return &serval.SequenceSettings{
		Controls: []serval.SequenceControl{{Input: "START", Kind: "start"}},
		States:   []serval.SequenceState{{Input: "STATE_IN", Output: "STATE_OUT"}},
	}
}

func int32s(name string, v ...int32) serval.Tensor {
	t := serval.Tensor{Name: name, DType: serval.Int32, Shape: []int64{1, int64(len(v))}}
	for _, n := range v {
		t.Data = binary.LittleEndian.AppendUint32(t.Data, uint32(n))
	}
	return t
}

func fp32s(name string, v ...float32) serval.Tensor {
	t := serval.Tensor{Name: name, DType: serval.FP32, Shape: []int64{1, int64(len(v))}}
	for _, f := range v {
		t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(f))
	}
	return t
}

// send runs one call and returns its outputs as text: name[shape]=values.
func send(ctx context.Context, h serval.Handler, where serval.Sequence, in ...serval.Tensor) (string, error) {
	return sendRequest(ctx, h, &serval.Request{Sequence: where, Input: &serval.Tensors{List: in}})
}

func sendRequest(ctx context.Context, h serval.Handler, req *serval.Request) (got string, err error) {
	err = h.Handle(ctx, req, serval.SinkFunc(func(c *serval.Chunk) error {
		for _, o := range c.Output.(*serval.Tensors).List {
			var values []string
			switch o.DType {
			case serval.Int32:
				for at := 0; at < len(o.Data); at += 4 {
					values = append(values, fmt.Sprint(int32(binary.LittleEndian.Uint32(o.Data[at:]))))
				}
			case serval.FP32:
				for _, f := range floats(&o) {
					values = append(values, fmt.Sprint(f))
				}
			case serval.Bytes:
				for rest := o.Data; len(rest) > 0; {
					var one []byte
					one, rest, _ = serval.NextBytes(rest)
					values = append(values, string(one))
				}
			}
			got += fmt.Sprintf("%s%s=%s ", o.Name, serval.ShapeString(o.Shape), strings.Join(values, ","))
		}
		return nil
	}))
	return strings.TrimSpace(got), err
}

// step is one call and what must come of it: the answer, or words of the error.
type step struct {
	id    string
	flags string // s: start, e: end
	in    serval.Tensor
	want  string
	err   string
}

func run(t *testing.T, h serval.Handler, steps []step) {
	t.Helper()
	for i, s := range steps {
		where := serval.Sequence{ID: s.id, Start: strings.Contains(s.flags, "s"), End: strings.Contains(s.flags, "e")}
		got, err := send(context.Background(), h, where, s.in)
		var e *serval.Error
		switch {
		case s.err == "" && (err != nil || got != s.want):
			t.Errorf("step %d: %q, %v; want %q", i, got, err, s.want)
		case s.err != "" && (!errors.As(err, &e) || e.Code != serval.InvalidArgument || e.Param == "" || !strings.Contains(e.Message, s.err)):
			t.Errorf("step %d: %q, %v; want the error %q", i, got, err, s.err)
		}
	}
}

func TestStateGoesFromCallToCall(t *testing.T) {
	o := mustOpen(t, "accumulate", serval.ModelSettings{Sequence: accumulating()})
	if len(o.Signature.Inputs) != 1 || len(o.Signature.Outputs) != 1 {
		t.Errorf("clients see %+v", o.Signature)
	}
	if s := o.Settings.Sequence; s.Strategy != "oldest" || s.MaxSequences != DefaultSequences || s.IdleTimeout != DefaultIdle {
		t.Errorf("settings in force: %+v", s)
	}
	in := func(n int32) serval.Tensor { return int32s("INPUT", n) }
	two := int32s("INPUT", 1, 2)
	two.Shape = []int64{2, 1}
	run(t, o.Loaded, []step{
		{"", "s", in(1), "", "must specify a non-zero or non-empty sequence_id"},
		{"7", "", in(1), "", "inference request for sequence '7' to model 'accumulate' version 1 must specify the START flag on the first request of the sequence"},
		{"7", "s", in(1), "OUTPUT[1,1]=1", ""},
		{"7", "", in(2), "OUTPUT[1,1]=3", ""},
		{"other", "s", in(10), "OUTPUT[1,1]=10", ""},
		{"7", "", in(4), "OUTPUT[1,1]=7", ""},
		{"7", "s", in(5), "OUTPUT[1,1]=5", ""}, // a second start begins anew
		{"7", "e", in(6), "OUTPUT[1,1]=11", ""},
		{"7", "e", in(6), "", "must specify the START flag"}, // ended twice
		{"7", "", in(6), "", "must specify the START flag"},
		{"other", "e", in(1), "OUTPUT[1,1]=11", ""},
		{"once", "se", in(3), "OUTPUT[1,1]=3", ""},
		{"once", "", in(3), "", "must specify the START flag"},
		{"rows", "s", two, "", "input 'INPUT' has 2 rows; a request of a sequence has one"},
		{"rows", "", in(3), "", "must specify the START flag"}, // what failed to start has not started
	})
	if n := o.Loaded.Stats().Sequences; n != 0 {
		t.Errorf("%d sequences are left", n)
	}
}

// TestTenantsDoNotShare wants an id to be its tenant's own.
func TestTenantsDoNotShare(t *testing.T) {
	o := mustOpen(t, "accumulate", serval.ModelSettings{Sequence: accumulating()})
	ask := func(tenant string, start bool, n int32) (string, error) {
		return sendRequest(context.Background(), o.Loaded, &serval.Request{Tenant: tenant, Sequence: serval.Sequence{ID: "1", Start: start},
			Input: &serval.Tensors{List: []serval.Tensor{int32s("INPUT", n)}}})
	}
	if got, err := ask("a", true, 5); got != "OUTPUT[1,1]=5" {
		t.Error(got, err)
	}
	if got, err := ask("b", false, 5); err == nil {
		t.Errorf("another tenant's sequence answered %s", got)
	}
}

func TestStateFromAFile(t *testing.T) {
	s := accumulating()
	s.States[0].File = "hundred"
	s.Controls[0].True = 0 // START is never set: the state counts from the first call on
	s.Controls[0].False = 0
	s.Controls[0].Kind = "end"
	o := mustOpen(t, "accumulate", serval.ModelSettings{Sequence: s})
	run(t, o.Loaded, []step{
		{"7", "s", int32s("INPUT", 1), "OUTPUT[1,1]=101", ""},
		{"7", "", int32s("INPUT", 1), "OUTPUT[1,1]=102", ""},
		{"7", "s", int32s("INPUT", 3), "OUTPUT[1,1]=103", ""},
	})
}

func TestControls(t *testing.T) {
	o := mustOpen(t, "controls", serval.ModelSettings{Sequence: &serval.SequenceSettings{Controls: []serval.SequenceControl{
		{Input: "START", Kind: "start"}, {Input: "END", Kind: "end"}, {Input: "READY", Kind: "ready"}, {Input: "CORRID", Kind: "id"}}}})
	in := int32s("INPUT", 20)
	run(t, o.Loaded, []step{
		{"1000", "s", in, "OUTPUT[1,1]=21", ""},
		{"1000", "", in, "OUTPUT[1,1]=20", ""},
		{"1000", "e", in, "OUTPUT[1,1]=1020", ""},
		{"42", "se", in, "OUTPUT[1,1]=63", ""},
		{"abc", "s", in, "", "sequence_id: the model's input 'CORRID' takes it as a number: \"abc\" is no UINT64"},
	})
	o = mustOpen(t, "controls", serval.ModelSettings{Sequence: &serval.SequenceSettings{Controls: []serval.SequenceControl{
		{Input: "START", Kind: "start", True: 500, False: 300}, {Input: "END", Kind: "end"}, {Input: "READY", Kind: "ready", True: 2}, {Input: "CORRID", Kind: "id"}}}})
	run(t, o.Loaded, []step{
		{"1", "s", in, "OUTPUT[1,1]=1040", ""},
		{"1", "", in, "OUTPUT[1,1]=640", ""},
	})
	o = mustOpen(t, "named", serval.ModelSettings{Sequence: &serval.SequenceSettings{Controls: []serval.SequenceControl{{Input: "CORRID", Kind: "id"}}}})
	text := serval.Tensor{Name: "INPUT", DType: serval.Bytes, Shape: []int64{1, 1}, Data: serval.AppendString(nil, "-text")}
	run(t, o.Loaded, []step{
		{"Käse", "s", text, "OUTPUT[1,1]=Käse-text", ""},
		{"18446744073709551615", "s", text, "OUTPUT[1,1]=18446744073709551615-text", ""},
	})
}

// TestStateWhoseBatchIsSecond also has a constant. The answers were worked out by hand: see testdata/make.py.
func TestStateWhoseBatchIsSecond(t *testing.T) {
	o := mustOpen(t, "second", serval.ModelSettings{
		Constants: map[string]string{"scale": "10"}, Dims: map[string]int64{"width": 2},
		Sequence: &serval.SequenceSettings{States: []serval.SequenceState{{Input: "h", Output: "h_next", Axis: 1}}},
	})
	if b := o.Loaded.Batching(); !b.On {
		t.Errorf("batching is off: %s", b.Reason)
	}
	if len(o.Signature.Inputs) != 1 || o.Signature.Inputs[0].Name != "x" || len(o.Signature.Outputs) != 1 {
		t.Errorf("clients see %+v", o.Signature)
	}
	run(t, o.Loaded, []step{
		{"1", "s", fp32s("x", 1, 2), "y[1,1]=30", ""},
		{"1", "", fp32s("x", 1, 0), "y[1,1]=73", ""}, // 3*(1+2+3+4+5+6) + 10
		{"1", "", fp32s("x", 0, 0), "y[1,1]=84", ""},
	})
}

func TestHistory(t *testing.T) {
	o := mustOpen(t, "window", serval.ModelSettings{Sequence: &serval.SequenceSettings{History: []serval.SequenceHistory{{Input: "x", Size: 3}}}})
	matrix := fp32s("x", 1, 2, 3, 4)
	matrix.Shape = []int64{2, 2}
	run(t, o.Loaded, []step{
		{"1", "s", fp32s("x", 1, 2, 3, 4, 5), "y[1,8]=0,0,0,1,2,3,4,5", ""},
		{"2", "s", fp32s("x", 9), "y[1,4]=0,0,0,9", ""},
		{"1", "", fp32s("x", 6), "y[1,4]=3,4,5,6", ""},
		{"1", "", fp32s("x", 7, 8), "y[1,5]=4,5,6,7,8", ""},
		{"2", "", fp32s("x", 8), "y[1,4]=0,0,9,8", ""},
		{"1", "s", fp32s("x", 1), "y[1,4]=0,0,0,1", ""},
		{"1", "", matrix, "", "input 'x' has 2 rows"},
	})
}

func TestStateThatGrows(t *testing.T) {
	o := mustOpen(t, "longer", serval.ModelSettings{Sequence: &serval.SequenceSettings{States: []serval.SequenceState{{Input: "past", Output: "past_next", Shape: []int64{1, 0}}}}})
	run(t, o.Loaded, []step{
		{"1", "s", fp32s("x", 1, 2), "y[1,1]=3", ""},
		{"1", "", fp32s("x", 4), "y[1,1]=7", ""},
		{"2", "s", fp32s("x", 100), "y[1,1]=100", ""},
		{"1", "", fp32s("x", 8, 16, 32), "y[1,1]=63", ""},
		{"2", "", fp32s("x", 100), "y[1,1]=200", ""},
		{"1", "s", fp32s("x", 1), "y[1,1]=1", ""},
	})
	q := o.Loaded.(*Sequences)
	q.plan.most = 16
	run(t, q, []step{{"1", "", fp32s("x", 1, 1, 1), "y[1,1]=4", ""}})
	_, err := send(context.Background(), q, serval.Sequence{ID: "1"}, fp32s("x", 1))
	wantCode(t, err, serval.TooLarge, "the sequence's state 'past_next' has grown to 20 bytes; at most 16 are kept")
	run(t, q, []step{{"1", "", fp32s("x", 1), "", "must specify the START flag"}})
}

// TestManySequencesShareBatches runs interleaved sequences, each of which must give what it gives alone.
func TestManySequencesShareBatches(t *testing.T) {
	const sequences, calls = 200, 40
	o := mustOpen(t, "accumulate", serval.ModelSettings{Sequence: accumulating()})
	var wg sync.WaitGroup
	for k := range sequences {
		wg.Go(func() {
			sum := int32(0)
			for i := range calls {
				n := int32(k*1000 + i)
				if i%10 == 0 { // begins anew now and then
					sum = 0
				}
				sum += n
				got, err := send(context.Background(), o.Loaded, serval.Sequence{ID: fmt.Sprint(k), Start: i%10 == 0, End: i%20 == 19}, int32s("INPUT", n))
				if want := fmt.Sprintf("OUTPUT[1,1]=%d", sum); got != want || err != nil {
					t.Errorf("sequence %d, call %d: %s, %v; want %s", k, i, got, err, want)
					return
				}
			}
		})
	}
	wg.Wait()
	s := o.Loaded.Stats()
	if s.Sequences != 0 {
		t.Errorf("%d sequences are left", s.Sequences)
	}
	mean := float64(s.Inferences) / float64(s.Executions)
	t.Logf("%d rows in %d batches: %.1f a batch", s.Inferences, s.Executions, mean)
	if mean < 2 {
		t.Errorf("%.1f rows a batch: sequences do not share batches", mean)
	}
}

// TestOneSequenceKeepsItsOrder sends calls of one sequence that all wait for their turn.
func TestOneSequenceKeepsItsOrder(t *testing.T) {
	o := mustOpen(t, "accumulate", serval.ModelSettings{Sequence: accumulating()})
	q := o.Loaded.(*Sequences)
	run(t, q, []step{{"1", "s", int32s("INPUT", 0), "OUTPUT[1,1]=0", ""}})
	s := q.live[sequenceKey{id: "1"}]
	s.turn <- struct{}{} // as if a call were at work
	var wg sync.WaitGroup
	got := make([]string, 20)
	for i := range got {
		wg.Go(func() {
			got[i], _ = send(context.Background(), q, serval.Sequence{ID: "1"}, int32s("INPUT", int32(i+1)))
		})
		await(t, "a waiting call", func() bool { return q.Stats().Waiting == i+1 })
	}
	<-s.turn
	wg.Wait()
	for i := range got {
		if n := (i + 1) * (i + 2) / 2; got[i] != fmt.Sprintf("OUTPUT[1,1]=%d", n) {
			t.Errorf("call %d: %s, want the sum %d", i+1, got[i], n)
		}
	}
}

// await polls until ok.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("no %s", what)
		}
	}
}
