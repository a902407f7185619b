package batch_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"serval"
	"serval/batch"
	formats "serval/batch/all"
)

// sums is a model that adds up the columns of its matrix x, and says the sum's sign. fault may refuse a row by its first column.
func sums(fault func(first float32, rows int) error) serval.Handler {
	return serval.HandlerFunc(func(ctx context.Context, req *serval.Request, sink serval.Sink) error {
		in := req.Input.(*serval.Tensors).Find("x")
		if err := in.Check(); err != nil {
			return err
		}
		rows, k := int(in.Shape[0]), int(in.Shape[1])
		total := serval.Tensor{Name: "total", DType: serval.FP32, Shape: []int64{int64(rows), 1}}
		sign := serval.Tensor{Name: "sign", DType: serval.Bytes, Shape: []int64{int64(rows)}}
		both := serval.Tensor{Name: "both", DType: serval.FP32, Shape: []int64{int64(rows), 2}, Labels: []string{"low", "high"}}
		number := in.DType.Numbers()
		for r := range rows {
			if fault != nil {
				if err := fault(float32(number(in.Data, r*k)), rows); err != nil {
					return err
				}
			}
			sum := float32(0)
			for c := range k {
				sum += float32(number(in.Data, r*k+c))
			}
			word := "plus"
			if sum < 0 {
				word = "minus"
			}
			bits := math.Float32bits(sum)
			total.Data = binary.LittleEndian.AppendUint32(total.Data, bits)
			both.Data = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(both.Data, bits), bits)
			sign.Data = serval.AppendString(sign.Data, word)
		}
		err := sink.Send(&serval.Chunk{Output: &serval.Tensors{List: []serval.Tensor{total, sign, both}}, Finish: serval.Stop})
		for i := range total.Data {
			total.Data[i] = 0xff // as a chunk is reused
		}
		return err
	})
}

var sumsModel = serval.ModelInfo{Name: "sums", Version: "3", Signature: serval.Signature{
	Inputs:  []serval.TensorInfo{{Name: "x", DType: serval.FP32, Shape: []int64{-1, 3}}},
	Outputs: []serval.TensorInfo{{Name: "total", DType: serval.FP32, Shape: []int64{-1, 1}}},
}}

// table is a CSV file of n rows; bad gives a row another text.
func table(t *testing.T, name string, n int, bad func(int) string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("id,a,b,c,note\n")
	for i := 1; i <= n; i++ {
		if bad != nil {
			if line := bad(i); line != "" {
				b.WriteString(line)
				continue
			}
		}
		fmt.Fprintf(&b, "row-%d,%d,%d.25,-3e1,\"n, %d\"\n", i, i, i, i%7)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// options are those of a job over files.
func options(t *testing.T, h serval.Handler, out string, in ...string) batch.Options {
	t.Helper()
	o := batch.Options{Handler: h, Model: sumsModel, Formats: formats.Formats(), Job: batch.Job{Model: "sums", Map: map[string][]string{"x": {"a", "b", "c"}}}}
	for _, location := range in {
		objects, err := (batch.Files{}).Locate(t.Context(), location)
		if err != nil {
			t.Fatal(err)
		}
		o.Inputs = append(o.Inputs, objects...)
	}
	var err error
	if o.Target, err = (batch.Files{}).Target(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	return o
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestRun(t *testing.T) {
	in := table(t, "in.csv", 5, nil)
	out := filepath.Join(t.TempDir(), "out.csv")
	report, err := batch.Run(t.Context(), options(t, sums(nil), out, in))
	if err != nil {
		t.Fatal(err)
	}
	if report.Rows != 5 || report.Bad != 0 || report.Errors != "" {
		t.Errorf("report %+v", report)
	}
	want := `id,note,total,sign,low,high
row-1,"n, 1",-27.75,minus,-27.75,-27.75
row-2,"n, 2",-25.75,minus,-25.75,-25.75
row-3,"n, 3",-23.75,minus,-23.75,-23.75
row-4,"n, 4",-21.75,minus,-21.75,-21.75
row-5,"n, 5",-19.75,minus,-19.75,-19.75
`
	if got := read(t, out); got != want {
		t.Errorf("got\n%s", got)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(out), "*")); len(left) != 1 {
		t.Errorf("beside the output: %v", left)
	}
	named := options(t, sums(nil), filepath.Join(t.TempDir(), "out.csv"), in)
	named.Model.Signature.Outputs = append(named.Model.Signature.Outputs, serval.TensorInfo{Name: "both", Labels: []string{"unused", "too"}})
	named.Job.Map, named.Job.Limit = map[string][]string{"x": {"a", "a", "b"}}, 1
	if err := os.WriteFile(in, []byte("a,b,total,low\n1,2,3,4\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	named.Inputs = options(t, sums(nil), out, in).Inputs
	if _, err := batch.Run(t.Context(), named); err != nil {
		t.Fatal(err)
	}
	if got := read(t, named.Target.Path()); got != "total,low,predicted_total,sign,predicted_low,high\n3,4,4,plus,4,4\n" {
		t.Errorf("names that are taken: %s", got)
	}
	_, err = batch.Run(t.Context(), options(t, sums(nil), out, in))
	if e := serval.AsError(err); err == nil || e.Code != serval.Conflict || !strings.Contains(e.Message, "--restart") {
		t.Errorf("an output that exists: %v", err)
	}
	in = table(t, "in.csv", 5, nil)
	o := options(t, sums(nil), filepath.Join(t.TempDir(), "out.jsonl"), in, in)
	o.Job.Passthrough, o.Job.Want = []string{"note"}, []string{"total", "both"}
	if _, err = batch.Run(t.Context(), o); err == nil || serval.AsError(err).Param != "want" {
		t.Errorf("an output that the model does not have: %v", err)
	}
	o.Model.Signature.Outputs = append(slices.Clip(o.Model.Signature.Outputs), serval.TensorInfo{Name: "both", DType: serval.FP32, Shape: []int64{-1, 2}})
	if _, err = batch.Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(read(t, o.Target.Path()), "\n")
	if len(lines) != 11 || lines[0] != `{"note":"n, 1","total":-27.75,"sign":"minus","both":[-27.75,-27.75]}` {
		t.Errorf("as JSONL: %d lines, first %s", len(lines), lines[0])
	}
}

// TestBadRows has rows that cannot be read, and rows that the model refuses: they alone are lost.
func TestBadRows(t *testing.T) {
	refused := map[float32]bool{77: true, 78: true, 4000: true, 9999: true}
	calls := atomic.Int64{}
	h := sums(func(first float32, rows int) error {
		calls.Add(1)
		if refused[first] {
			return serval.Errorf(serval.InvalidArgument, "no %v, please", first).At("x")
		}
		return nil
	})
	in := table(t, "in.csv", 10000, func(i int) string {
		switch i {
		case 1:
			return "row-1,1\n"
		case 500:
			return "row-500,five,1,2,x\n"
		case 501:
			return "row-501,\"5\"0,1,2,x\n"
		}
		return ""
	})
	o := options(t, h, filepath.Join(t.TempDir(), "out.csv"), in)
	report, err := batch.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if report.Rows != 10000 || report.Bad != 7 || report.Errors != o.Target.Path()+batch.ErrorsSuffix {
		t.Errorf("report %+v", report)
	}
	rows := strings.Split(strings.TrimSpace(read(t, o.Target.Path())), "\n")
	if len(rows) != 10001-7 || rows[76-1] != `row-76,"n, 6",122.25,plus,122.25,122.25` || !strings.HasPrefix(rows[77-1], "row-79,") || !strings.HasPrefix(rows[len(rows)-1], "row-10000,") {
		t.Errorf("%d rows; %s; %s", len(rows), rows[75], rows[76])
	}
	errs := strings.Split(strings.TrimSpace(read(t, report.Errors)), "\n")
	want := []string{
		`{"object":"` + in + `","row":1,"reason":"line 2: 2 fields, where the file has 5 columns","raw":"row-1,1"}`,
		`{"object":"` + in + `","row":77,"column":"x","reason":"no 77, please","raw":"{\"x\": [77.0,77.25,-30.0]}"}`,
		`{"object":"` + in + `","row":78,"column":"x","reason":"no 78, please","raw":"{\"x\": [78.0,78.25,-30.0]}"}`,
		`{"object":"` + in + `","row":500,"column":"a","reason":"line 501: \"five\" is not a number","raw":"row-500,five,1,2,x"}`,
		`{"object":"` + in + `","row":501,"reason":"line 502: text between a closing quote and the delimiter; a quote inside a quoted field is written twice","raw":"row-501,\"5\"0,1,2,x"}`,
		`{"object":"` + in + `","row":4000,"column":"x","reason":"no 4000, please","raw":"{\"x\": [4000.0,4000.25,-30.0]}"}`,
		`{"object":"` + in + `","row":9999,"column":"x","reason":"no 9999, please","raw":"{\"x\": [9999.0,9999.25,-30.0]}"}`,
	}
	if strings.Join(errs, "\n") != strings.Join(want, "\n") {
		t.Errorf("side file\n%s", strings.Join(errs, "\n"))
	}

	all := options(t, h, filepath.Join(t.TempDir(), "out.csv"), table(t, "in.csv", 300, func(i int) string { return "x,y\n" }))
	if _, err := batch.Run(t.Context(), all); err == nil || !strings.Contains(err.Error(), "each of the first 300 rows is bad, the last one for: line 301: 2 fields") {
		t.Errorf("nothing but bad rows: %v", err)
	}
	for limit, ok := range map[string]bool{"6": false, "7": true, "0.06%": false, "0.07%": true} {
		o := options(t, h, filepath.Join(t.TempDir(), "out.csv"), in)
		o.Job.MaxErrors = limit
		_, err := batch.Run(t.Context(), o)
		if (err == nil) != ok {
			t.Errorf("with at most %s: %v", limit, err)
		}
		if err != nil && !strings.Contains(err.Error(), "7 of 10000 rows are bad") {
			t.Errorf("with at most %s: %v", limit, err)
		}
	}
}

// TestRetries has a model that is overloaded now and then, and fails now and then: no row is lost or bad for it.
func TestRetries(t *testing.T) {
	in := table(t, "in.csv", 3000, nil)
	want := options(t, sums(nil), filepath.Join(t.TempDir(), "out.csv"), in)
	want.Job.Rows = 100
	if _, err := batch.Run(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	n := atomic.Int64{}
	o := options(t, sums(func(first float32, rows int) error {
		if int(first)%100 != 1 {
			return nil
		}
		switch n.Add(1) % 5 {
		case 0:
			return serval.Errorf(serval.Unavailable, "overloaded").After(time.Millisecond)
		case 2:
			return serval.Errorf(serval.DeadlineExceeded, "too late")
		case 3:
			return errors.New("a fault") // once: the same call then works
		}
		return nil
	}), filepath.Join(t.TempDir(), "out.csv"), in)
	o.Job.Rows = 100
	report, err := batch.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if report.Bad != 0 || report.Retries == 0 {
		t.Errorf("report %+v", report)
	}
	if read(t, o.Target.Path()) != read(t, want.Target.Path()) {
		t.Error("another output than without faults")
	}
	// A model that never works ends the job; so does one that takes nothing.
	o = options(t, sums(func(float32, int) error { return serval.Errorf(serval.Unavailable, "loading") }), filepath.Join(t.TempDir(), "out.csv"), in)
	o.Patience = 30 * time.Millisecond
	if _, err := batch.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "loading") {
		t.Errorf("a model that never works: %v", err)
	}
	o = options(t, sums(func(float32, int) error { return serval.Errorf(serval.InvalidArgument, "not that") }), filepath.Join(t.TempDir(), "out.csv"), in)
	if _, err := batch.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "each of the first 1000 rows") {
		t.Errorf("a model that takes nothing: %v", err)
	}
	o = options(t, sums(func(float32, int) error { return errors.New("segfault") }), filepath.Join(t.TempDir(), "out.csv"), in)
	if _, err := batch.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "failed on 100 rows") {
		t.Errorf("a model that always fails: %v", err)
	}
}

// TestResume cancels a job at many points, in memory; the real program is killed in test/.
func TestResume(t *testing.T) {
	fault := func(first float32, rows int) error {
		if int(first)%997 == 5 {
			return serval.Errorf(serval.InvalidArgument, "no %v", first)
		}
		return nil
	}
	in1 := table(t, "a.csv", 20000, func(i int) string {
		if i%333 == 0 {
			return "broken\n"
		}
		return ""
	})
	in2 := table(t, "b.csv", 7001, nil)
	for _, name := range []string{"out.csv", "out.jsonl"} {
		t.Run(name, func(t *testing.T) {
			set := func(out string) batch.Options {
				o := options(t, sums(fault), out, in1, in2)
				o.Job.Rows, o.Job.Limit, o.Checkpoint = 250, 26500, 1
				return o
			}
			want := set(filepath.Join(t.TempDir(), name))
			if _, err := batch.Run(t.Context(), want); err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(t.TempDir(), name)
			random := rand.New(rand.NewPCG(1, 2))
			stops := 0
			for {
				o := set(out)
				ctx, cancel := context.WithCancel(t.Context())
				left := random.IntN(40)
				o.Handler = serval.HandlerFunc(func(c context.Context, req *serval.Request, sink serval.Sink) error {
					if left--; left == 0 {
						cancel()
					}
					return sums(fault).Handle(c, req, sink)
				})
				o.Job.Parallel = 1
				report, err := batch.Run(ctx, o)
				cancel()
				if err == nil {
					if report.Resumed == 0 || report.Rows != 26500 {
						t.Errorf("report %+v", report)
					}
					break
				}
				var s *batch.Stopped
				if !errors.As(err, &s) || !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
				stops++
			}
			if stops < 5 {
				t.Errorf("stopped %d times only", stops)
			}
			for _, suffix := range []string{"", batch.ErrorsSuffix} {
				if read(t, out+suffix) != read(t, want.Target.Path()+suffix) {
					t.Errorf("%s: another output than undisturbed, after %d stops", name+suffix, stops)
				}
			}
		})
	}
}

// stopAfter runs a job that is cancelled after so many requests.
func stopAfter(t *testing.T, o batch.Options, n int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	next := o.Handler
	o.Handler = serval.HandlerFunc(func(c context.Context, req *serval.Request, sink serval.Sink) error {
		if n--; n == 0 {
			cancel()
		}
		return next.Handle(c, req, sink)
	})
	if _, err := batch.Run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// TestChanged resumes jobs of which something changed.
func TestChanged(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*batch.Options, string)
		want   string
	}{
		"input":   {func(_ *batch.Options, in string) { _ = os.WriteFile(in, []byte("id,a,b,c\nx,1,2,3\n"), 0o644) }, "has changed"},
		"model":   {func(o *batch.Options, _ string) { o.Model.Version = "4" }, "version 4"},
		"digest":  {func(o *batch.Options, _ string) { o.Digest = "other" }, "files of model sums"},
		"mapping": {func(o *batch.Options, _ string) { o.Job.Map = map[string][]string{"x": {"c", "b", "a"}} }, "map was"},
		"pass":    {func(o *batch.Options, _ string) { o.Job.Passthrough = []string{"none"} }, "passthrough was"},
		"format":  {func(o *batch.Options, _ string) { o.Job.OutputFormat = "jsonl" }, "output_format was"},
	} {
		t.Run(name, func(t *testing.T) {
			in, out := table(t, "in.csv", 5000, nil), filepath.Join(t.TempDir(), "out.csv")
			set := func() batch.Options {
				o := options(t, sums(nil), out, in)
				o.Job.Rows, o.Job.Parallel, o.Checkpoint = 100, 1, 1
				return o
			}
			stopAfter(t, set(), 10)
			o := set()
			c.change(&o, in)
			again := set() // the input's version is taken anew
			o.Inputs = again.Inputs
			_, err := batch.Run(t.Context(), o)
			if e := serval.AsError(err); err == nil || e.Code != serval.Conflict || !strings.Contains(e.Message, c.want) || !strings.Contains(e.Message, "--restart") {
				t.Fatalf("%v", err)
			}
			o.Restart = true
			report, err := batch.Run(t.Context(), o)
			if err != nil || report.Resumed != 0 {
				t.Errorf("anew: %+v, %v", report, err)
			}
		})
	}
}

// TestPublishing goes on with a job that was killed while its files were put in their places.
func TestPublishing(t *testing.T) {
	in := table(t, "in.csv", 1000, func(i int) string {
		if i == 7 {
			return "x\n"
		}
		return ""
	})
	want := options(t, sums(nil), filepath.Join(t.TempDir(), "out.csv"), in)
	if _, err := batch.Run(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	for step := range 3 {
		o := options(t, sums(nil), filepath.Join(t.TempDir(), "out.csv"), in)
		kill := &killed{Target: o.Target, left: step}
		o.Target = kill
		if _, err := batch.Run(t.Context(), o); err == nil {
			if step < 2 {
				t.Fatal("was not stopped")
			}
		}
		o.Target = kill.Target
		if step == 2 { // a whole job; its checkpoint is gone
			continue
		}
		report, err := batch.Run(t.Context(), o)
		if err != nil || report.Rows != 1000 || report.Bad != 1 {
			t.Fatalf("step %d: %+v, %v", step, report, err)
		}
		for _, suffix := range []string{"", batch.ErrorsSuffix} {
			if read(t, o.Target.Path()+suffix) != read(t, want.Target.Path()+suffix) {
				t.Errorf("step %d: another output", step)
			}
		}
		if left, _ := filepath.Glob(filepath.Dir(o.Target.Path()) + "/*"); len(left) != 2 {
			t.Errorf("step %d: there are %v", step, left)
		}
	}
}

// killed is a target that stops working after some calls of Publish.
type killed struct {
	batch.Target
	left int
}

func (k *killed) Publish(ctx context.Context, path, suffix string) error {
	if k.left--; k.left < 0 {
		return errors.New("killed")
	}
	return k.Target.Publish(ctx, path, suffix)
}

func TestMistakes(t *testing.T) {
	in := table(t, "in.csv", 5, nil)
	for want, change := range map[string]func(*batch.Options){
		"no column 'z'":        func(o *batch.Options) { o.Job.Map = map[string][]string{"x": {"a", "b", "z"}} },
		"no input 'y'":         func(o *batch.Options) { o.Job.Map = map[string][]string{"y": {"a"}} },
		"takes [3] a row":      func(o *batch.Options) { o.Job.Map = map[string][]string{"x": {"a", "b"}} },
		"5 columns":            func(o *batch.Options) { o.Job.Map = nil },
		"to pass through":      func(o *batch.Options) { o.Job.Passthrough = []string{"nothing"} },
		"max_errors":           func(o *batch.Options) { o.Job.MaxErrors = "few" },
		"option \"colour\"":    func(o *batch.Options) { o.Job.InputOptions = map[string]string{"colour": "red"} },
		"input_format \"xml\"": func(o *batch.Options) { o.Job.InputFormat = "xml" },
		"keeps state":          func(o *batch.Options) { o.Model.Settings.Sequence = &serval.SequenceSettings{} },
		"does not say what format": func(o *batch.Options) {
			o.Target, _ = (batch.Files{}).Target(context.Background(), filepath.Join(t.TempDir(), "out"))
		},
		"use chat, completion or": func(o *batch.Options) {
			o.Model.Language = &serval.Language{Generate: true}
			o.Job.Text = &batch.Text{Task: "sing"}
		},
		"no column 'messages'": func(o *batch.Options) { o.Model.Language = &serval.Language{Generate: true}; o.Job.Map = nil },
		"a '{' without its '}'": func(o *batch.Options) {
			o.Model.Language = &serval.Language{Generate: true}
			o.Job.Text = &batch.Text{Prompt: "{id"}
		},
	} {
		o := options(t, sums(nil), filepath.Join(t.TempDir(), "out.csv"), in)
		change(&o)
		if _, err := batch.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		if left, _ := filepath.Glob(filepath.Dir(o.Target.Name()) + "/*"); len(left) != 0 {
			t.Errorf("%s: it leaves %v", want, left)
		}
	}
}
