package child

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"serval"
	"serval/wire/worker"
)

// fill gives every field a value that is not its zero: one that is forgotten on the wire is found, one that is new as well.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), n)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		if v.Type().Elem() == reflect.TypeFor[serval.Token]() && *n > 40 { // tokens are in tokens
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), n)
		}
	case reflect.String:
		v.SetString(fmt.Sprint("text ", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int32, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(uint64(*n))
	case reflect.Float32:
		v.SetFloat(float64(*n) / 2)
	default:
		panic(v.Type())
	}
}

// passed is m as it comes out on the other side.
func passed[M proto.Message](t *testing.T, m, empty M) M {
	t.Helper()
	slice, err := codec{}.Marshal(m)
	if err == nil {
		err = codec{}.Unmarshal(slice, empty)
	}
	if err != nil {
		t.Fatal(err)
	}
	return empty
}

func TestEveryFieldPasses(t *testing.T) {
	now, n := time.Now(), 0
	for _, in := range []serval.Input{&serval.Generate{}, &serval.Encode{}, &serval.Tensors{}} {
		fill(reflect.ValueOf(in).Elem(), &n)
		if t, ok := in.(*serval.Tensors); ok {
			t.List = []serval.Tensor{
				{Name: "a", DType: serval.FP32, Shape: []int64{1, 2}, Data: []byte{1, 2, 3, 4, 5, 6, 7, 8}, Labels: []string{"x", "y"}},
				{Name: "scalar", DType: serval.Int8, Shape: []int64{}, Data: []byte{9}}, {Name: "not given"},
			}
		}
		req := &serval.Request{
			ID: "id", Tenant: "tenant", Protocol: "p", Input: in, Deadline: now.Add(time.Minute), Timeout: time.Second, Priority: -3,
			Sequence: serval.Sequence{ID: "s", Start: true, End: true}, Trace: "trace",
		}
		m, err := encodeRequest(req, now)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeRequest(passed(t, m, &worker.Request{}), now)
		if err != nil {
			t.Fatal(err)
		}
		req.Timing.Start = now
		if !reflect.DeepEqual(got, req) {
			t.Errorf("%T:\n got %+v %+v\nwant %+v %+v", in, got, got.Input, req, req.Input)
		}
	}
	for _, out := range []serval.Output{&serval.Tokens{}, &serval.Embeddings{}, &serval.Tensors{List: []serval.Tensor{{Name: "y", DType: serval.Bytes, Shape: []int64{1}, Data: []byte{1, 0, 0, 0, 'x'}}}}, nil} {
		c := &serval.Chunk{}
		fill(reflect.ValueOf(&c.Usage).Elem(), &n)
		c.Finish, c.Choice, c.Output = serval.Length, 3, out
		switch out.(type) {
		case *serval.Tokens, *serval.Embeddings:
			n = 0
			fill(reflect.ValueOf(out).Elem(), &n)
		}
		m, err := encodeChunk(c)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeChunk(passed(t, m, &worker.Chunk{}))
		if err != nil {
			t.Fatal(err)
		}
		if tok, ok := out.(*serval.Tokens); ok { // the likeliest beside a token have none beside them
			for _, list := range [][]serval.Token{tok.List, tok.Prompt} {
				for i := range list {
					for j := range list[i].Top {
						list[i].Top[j].Top = nil
					}
				}
			}
		}
		if !reflect.DeepEqual(got, c) {
			t.Errorf("%T:\n got %+v %+v\nwant %+v %+v", out, got, got.Output, c, c.Output)
		}
	}
}

func TestErrorsPass(t *testing.T) {
	known := serval.Errorf(serval.ResourceExhausted, "full").At("x").Named("r").After(3 * time.Second)
	got := decodeFailure(passed(t, encodeFailure(fmt.Errorf("outer: %w", known)), &worker.Failure{}))
	if !reflect.DeepEqual(got, error(known)) {
		t.Errorf("%#v", got)
	}
	got = decodeFailure(passed(t, encodeFailure(serval.Errorf(serval.Internal, "no").Because(errors.New("the cause"))), &worker.Failure{}))
	if e := got.(*serval.Error); e.Unwrap() == nil || e.Unwrap().Error() != "the cause" {
		t.Errorf("%#v", got)
	}
	if got = decodeFailure(encodeFailure(serval.Errorf(serval.DeadlineExceeded, "late"))); !errors.Is(got, context.DeadlineExceeded) {
		t.Errorf("%#v", got)
	}
	if got = decodeFailure(encodeFailure(fmt.Errorf("it: %w", serval.ErrRetired))); got != serval.ErrRetired {
		t.Errorf("%#v", got)
	}
	var e *serval.Error
	if got = decodeFailure(passed(t, encodeFailure(errors.New("bad \xff"+strings.Repeat("x", 1<<20))), &worker.Failure{})); errors.As(got, &e) || len(got.Error()) > 20<<10 {
		t.Errorf("%T, %d bytes", got, len(got.Error()))
	}
	if decodeFailure(encodeFailure(nil)) != nil {
		t.Error("no error became one")
	}
}

func FuzzAnswer(f *testing.F) {
	c, err := encodeChunk(&serval.Chunk{Output: &serval.Tensors{List: []serval.Tensor{{Name: "y", DType: serval.FP32, Shape: []int64{1}, Data: []byte{1, 2, 3, 4}}}}})
	if err != nil {
		f.Fatal(err)
	}
	raw, err := proto.Marshal(&worker.Answer{Chunk: c, End: &worker.End{Failure: &worker.Failure{Known: true, Code: 300}, Timing: &worker.Timing{Batch: -1}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m worker.Answer
		if proto.Unmarshal(raw, &m) != nil {
			return
		}
		if chunk, err := decodeChunk(m.Chunk); err == nil {
			if out, ok := chunk.Output.(*serval.Tensors); ok {
				for i := range out.List {
					if x := &out.List[i]; x.DType != serval.InvalidType && x.Check() != nil {
						t.Errorf("%+v", x)
					}
				}
			}
		}
		var timing serval.Timing
		decodeTiming(m.GetEnd().GetTiming(), &timing)
		if err := decodeFailure(m.GetEnd().GetFailure()); err != nil {
			_ = serval.AsError(err).Code.String()
		}
	})
}

func FuzzRequest(f *testing.F) {
	m, err := encodeRequest(&serval.Request{Input: &serval.Generate{Tokens: []int32{1}, Sampling: serval.Sampling{Bias: []serval.TokenBias{{Token: 1, Bias: 2}}}}}, time.Now())
	if err != nil {
		f.Fatal(err)
	}
	raw, err := proto.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m worker.Request
		if proto.Unmarshal(raw, &m) != nil {
			return
		}
		if req, err := decodeRequest(&m, time.Now()); err == nil && req.Input == nil {
			t.Error("no input")
		}
	})
}

func TestLives(t *testing.T) {
	l := lives{pace: Pace{Deaths: 8, Most: time.Second}.filled()}
	for i, most := range []time.Duration{100, 200, 400, 800, 1000, 1000, 1000} {
		pause, again := l.died(time.Second)
		if most *= time.Millisecond; !again || pause > most || pause < most*3/4-1 {
			t.Errorf("death %d: %v %v, want up to %v", i+1, pause, again, most)
		}
	}
	if _, again := l.died(time.Second); again {
		t.Error("one after the eighth death")
	}
	l = lives{pace: Pace{}.filled()}
	for range 100 { // each served for long
		if pause, again := l.died(time.Hour); !again || pause > 100*time.Millisecond {
			t.Fatalf("%v %v", pause, again)
		}
	}
}

func TestLastWords(t *testing.T) {
	k := &kid{}
	w := &words{log: newLog(k)}
	for _, part := range []string{"one\ntw", "o\n\n  \nthree\nfour\nfive\nsix\nseven\n", "eight \xff"} {
		if _, err := w.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.String(); got != "three | four | five | six | seven | eight \uFFFD" {
		t.Errorf("%q", got)
	}
	fmt.Fprintf(w, "assertion failed\nSIGABRT: abort\nPC=0x1\n%sgoroutine 1 [running]:\n", strings.Repeat("m=0 ", 2000)+"\n")
	for i := range 1000 {
		fmt.Fprintf(w, "frame %d\n", i)
	}
	got := w.String()
	if !strings.HasPrefix(got, "eight \uFFFD | assertion failed | SIGABRT: abort | PC=0x1 | m=0 ") || len(got) > 3<<10 {
		t.Errorf("%q", got)
	}
	if log := k.log.String(); !strings.Contains(log, `line="assertion failed"`) || strings.Contains(log, "frame 500") {
		t.Errorf("log: %.2000s", log)
	}
	if (&words{}).String() != "none" {
		t.Error("words of nothing")
	}
}

func TestSum(t *testing.T) {
	at := time.Now()
	a := serval.Stats{Inferences: 3, Closed: map[string]uint64{"full": 1}, Batches: []serval.BatchStat{{Size: 1, Compute: serval.StatDuration{Count: 1, Total: 2}}, {Size: 4}}, LastInference: at, Waiting: 5}
	b := serval.Stats{Inferences: 4, Closed: map[string]uint64{"full": 2, "idle": 1}, Batches: []serval.BatchStat{{Size: 1, Compute: serval.StatDuration{Count: 3, Total: 4}}, {Size: 2}}, Waiting: 1}
	want := serval.Stats{
		Inferences: 7, Closed: map[string]uint64{"full": 3, "idle": 1}, Rejected: map[string]uint64{}, LastInference: at, Waiting: 1,
		Batches: []serval.BatchStat{{Size: 1, Compute: serval.StatDuration{Count: 4, Total: 6}}, {Size: 2}, {Size: 4}},
	}
	for range 2 { // it changes neither
		if got := sum(a, b); !reflect.DeepEqual(got, want) {
			t.Errorf("\n got %+v\nwant %+v", got, want)
		}
	}
	// No count is forgotten, nor one that is new: two of the same have each number twice.
	var c serval.Stats
	count := func(s serval.Stats) []uint64 {
		var all []uint64
		walk(reflect.ValueOf(s), &all)
		return all
	}
	number(reflect.ValueOf(&c).Elem())
	once, twice := count(c), count(sum(c, c))
	for i := range once {
		if twice[i] != 2*once[i] {
			t.Errorf("number %d: %d and %d are %d", i, once[i], once[i], twice[i])
		}
	}
}

// number gives each count a value; walk lists them.
func number(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if skipped(v.Type()) {
			return
		}
		for i := range v.NumField() {
			number(v.Field(i))
		}
	case reflect.Uint64:
		v.SetUint(rand.Uint64N(1000) + 1)
	case reflect.Int64:
		v.SetInt(rand.Int64N(1000) + 1)
	}
}

func walk(v reflect.Value, out *[]uint64) {
	switch v.Kind() {
	case reflect.Struct:
		if skipped(v.Type()) {
			return
		}
		for i := range v.NumField() {
			walk(v.Field(i), out)
		}
	case reflect.Uint64:
		*out = append(*out, v.Uint())
	case reflect.Int64:
		*out = append(*out, uint64(v.Int()))
	}
}

func skipped(t reflect.Type) bool {
	return t == reflect.TypeFor[time.Time]() || t == reflect.TypeFor[serval.ProcessStats]()
}
