package compare

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"serval"
	"serval/stream"
)

var began = time.Date(2026, 11, 27, 8, 0, 0, 0, time.UTC)

// made is a comparison whose clock stands a second after all messages were made.
func made(o Options) *Comparison {
	o.Champion, o.Challenger = "old", "new"
	c := New(o)
	c.now = func() time.Time { return began.Add(time.Second) }
	return c
}

func message(i int) *stream.Message {
	return &stream.Message{Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, `{"id": %d, "s": "x%d", "deep": {"id": 1}}`, i, i),
		Position: stream.Position{Topic: "t", Offset: int64(i)}, Time: began}
}

func scores(list ...float64) *stream.Answer {
	var b []byte
	for _, f := range list {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
	}
	return &stream.Answer{Model: serval.Ref{Name: "m", Version: "2"}, Outputs: []serval.Tensor{{Name: "y", DType: serval.FP64, Shape: []int64{1, int64(len(list))}, Data: b}}}
}

func label(text string) *stream.Answer {
	return &stream.Answer{Outputs: []serval.Tensor{{Name: "l", DType: serval.Bytes, Shape: []int64{1}, Data: serval.AppendString(nil, text)}}}
}

// TestNumbers: sums over a stream are those over all numbers at once.
func TestNumbers(t *testing.T) {
	c := made(Options{})
	random := rand.New(rand.NewPCG(1, 2))
	const n = 5000
	x, y := make([]float64, n), make([]float64, n)
	for i := range n {
		x[i] = random.NormFloat64() + 1e6 // far from zero, where naive sums lose their digits
		y[i] = x[i] + 0.1*random.NormFloat64()
	}
	for _, i := range random.Perm(n) {
		c.See(Champion, message(i), scores(x[i]))
	}
	for _, i := range random.Perm(n) {
		c.See(Challenger, message(i), scores(y[i]))
		c.See(Challenger, message(i), scores(0)) // it comes again
	}
	var mx, my, vx, vy, cov, sum, most float64
	for i := range n {
		mx, my = mx+x[i]/n, my+y[i]/n
	}
	at := 0
	for i := range n {
		vx, vy, cov = vx+(x[i]-mx)*(x[i]-mx), vy+(y[i]-my)*(y[i]-my), cov+(x[i]-mx)*(y[i]-my)
		d := math.Abs(x[i] - y[i])
		if sum += d; d > most {
			most, at = d, i
		}
	}
	r := c.Report()
	near := func(what string, got, want, by float64) {
		t.Helper()
		if !(math.Abs(got-want) <= by*math.Abs(want)) {
			t.Errorf("%s is %v, not %v", what, got, want)
		}
	}
	a := r.Numbers
	if r.Pairs != n || a == nil || a.Numbers != n || r.Champion.Seen != n || r.Challenger.Seen != n || r.Champion.Waiting+r.Challenger.Waiting != 0 || r.Labels != nil {
		t.Fatalf("%+v", r)
	}
	near("the champion's mean", a.Champion, mx, 1e-12)
	near("the challenger's mean", a.Challenger, my, 1e-12)
	near("the correlation", a.Correlation, cov/math.Sqrt(vx*vy), 1e-9)
	near("the mean difference", a.MeanDifference, sum/n, 1e-9)
	near("the largest difference", a.MaxDifference, most, 0)
	near("the age", r.Champion.AgeP99, 1, 0.03)
	near("the p99 difference", a.P99Difference, 0.2576, 0.1) // of |N(0, 0.1)|
	if want := fmt.Sprintf("t/0@%d", at); a.MaxAt != want {
		t.Errorf("the largest difference is at %s, not %s", a.MaxAt, want)
	}
}

// TestLabels: labels, the largest of several numbers and thresholds are counted in a table; few labels have rows of their own.
func TestLabels(t *testing.T) {
	c := made(Options{})
	for i := range 10 {
		c.See(Champion, message(i), label("good"))
		c.See(Challenger, message(i), label([]string{"good", "bad"}[i%5/4]))
	}
	r := c.Report()
	if r.Labels == nil || r.Labels.Pairs != 10 || r.Labels.Equal != 8 || r.Labels.Share != 0.8 || r.Labels.Confusion["good"]["bad"] != 2 || len(r.Examples) != 2 || r.Examples[1].Challenger != "bad" || r.Examples[1].Message != "t/0@9" {
		t.Errorf("%+v", r)
	}
	half := 0.5
	c = made(Options{Threshold: &half})
	c.See(Champion, message(0), scores(0.5))
	c.See(Challenger, message(0), scores(0.4))
	c.See(Champion, message(1), scores(0.1, 0.7, 0.2))
	c.See(Challenger, message(1), scores(math.NaN(), 0.6, 0.5))
	if r := c.Report(); r.Labels.Confusion["1"]["0"] != 1 || r.Labels.Confusion["1"]["1"] != 1 || r.Numbers.NotFinite != 1 || r.Numbers.Numbers != 3 {
		t.Errorf("%+v %+v", r.Labels, r.Numbers)
	}
	c = made(Options{})
	for i := range 1000 {
		c.See(Champion, message(i), label(fmt.Sprint("c", i)))
		c.See(Challenger, message(i), label(fmt.Sprint("d", i)))
	}
	r = c.Report()
	cells := 0
	for _, row := range r.Labels.Confusion {
		cells += len(row)
	}
	if len(r.Labels.Confusion) > maxClasses+1 || cells > 2*maxClasses+2 || r.Labels.Confusion[other][other] < 900 || len(r.Examples) != maxExamples {
		t.Errorf("%d rows, %d cells, %d others, %d examples", len(r.Labels.Confusion), cells, r.Labels.Confusion[other][other], len(r.Examples))
	}
}

// TestUnlike: answers that cannot be set against each other are counted apart.
func TestUnlike(t *testing.T) {
	c := made(Options{Output: "y"})
	for i, a := range []*stream.Answer{scores(1, 2), label("x"), {Text: "x"}, {Outputs: []serval.Tensor{}}, {Vectors: [][]float32{make([]float32, 100)}}} {
		c.See(Champion, message(i), scores(1))
		c.See(Challenger, message(i), a)
	}
	if r := c.Report(); r.Pairs != 5 || r.Incomplete != 5 || r.Numbers != nil {
		t.Errorf("%+v", r)
	}
}

// TestWindow: what waits is bounded on each side, and a challenger that lags meets the champion's newest answers.
func TestWindow(t *testing.T) {
	c := made(Options{Window: 100})
	for i := range 1000 {
		c.See(Champion, message(i), scores(1))
	}
	for i := range 1000 {
		c.See(Challenger, message(i), scores(1))
	}
	r := c.Report()
	if r.Pairs != 100 || r.Champion.Alone != 900 || r.Champion.Waiting != 0 || r.Challenger.Alone+uint64(r.Challenger.Waiting) != 900 || r.Challenger.Waiting > 100 {
		t.Errorf("%+v", r)
	}
	w := newWindow[int, int](3)
	for round := range 50 { // taken and put again, as duplicates are
		w.put(1, round)
		if v, ok := w.take(1); !ok || v != round {
			t.Fatal(round, v, ok)
		}
		if old, given := w.put(2, round); given && old != round-2 && old != round-1 {
			t.Fatal(old)
		}
		if len(w.all) > 3 || len(w.ring) > 3 {
			t.Fatal(len(w.all), len(w.ring))
		}
	}
}

// TestOutcomes: by key, whichever comes first; AUC is that of all pairs counted one by one.
func TestOutcomes(t *testing.T) {
	half := 0.5
	c := made(Options{Outcomes: true, Key: "s", Threshold: &half})
	random := rand.New(rand.NewPCG(3, 4))
	const n = 400
	x, right := make([]float64, n), make([]bool, n)
	for i := range n {
		x[i] = math.Round(random.Float64()*20) / 20 // many are equal
		right[i] = random.Float64() < x[i]
	}
	tell := func(i int) {
		if !c.Outcome([]byte("unused"), fmt.Appendf(nil, `{"v": %t, "s": "x%d"}`, right[i], i), "v") {
			t.Fatal(i)
		}
	}
	for i := range n {
		if i%2 == 0 {
			tell(i)
		}
		c.See(Champion, message(i), scores(x[i]))
		c.See(Challenger, message(i), scores(1-x[i]))
		if i%2 == 1 {
			tell(i)
		}
	}
	ahead, pairs, correct, miss := 0.0, 0.0, 0, 0.0
	for i := range n {
		is := 0.0
		if right[i] {
			is = 1
		}
		miss += math.Abs(x[i]-is) / n
		if (x[i] >= 0.5) == right[i] {
			correct++
		}
		for j := range n {
			if right[i] && !right[j] {
				pairs++
				if x[i] > x[j] {
					ahead++
				} else if x[i] == x[j] {
					ahead += 0.5
				}
			}
		}
	}
	if c.Outcome(nil, []byte("no json"), "v") || c.Outcome(nil, []byte(`{"s": "x1"}`), "v") || c.Outcome(nil, []byte(`{"v": 1}`), "v") {
		t.Error("an outcome without key or value is taken")
	}
	o := c.Report().Outcomes
	if o.Told != n+3 || o.Known != n || o.Waiting != 0 || o.Broken != 3 || o.NoKey != 0 {
		t.Fatalf("%+v", o)
	}
	for what, pair := range map[string][2]float64{
		"AUC": {*o.Champion.AUC, ahead / pairs}, "the challenger's AUC": {*o.Challenger.AUC, 1 - ahead/pairs},
		"accuracy": {*o.Champion.Accuracy, float64(correct) / n}, "MAE": {*o.Champion.MAE, miss},
	} {
		if math.Abs(pair[0]-pair[1]) > 1e-9 {
			t.Errorf("%s is %v, not %v", what, pair[0], pair[1])
		}
	}
	c = made(Options{Outcomes: true}) // by the messages' keys
	c.See(Challenger, message(7), label("good"))
	c.See(Champion, message(7), label("bad"))
	c.Outcome([]byte("k7"), []byte(`{"was": "good"}`), "was")
	if o := c.Report().Outcomes; *o.Champion.Accuracy != 0 || *o.Challenger.Accuracy != 1 || o.Champion.AUC != nil || o.Champion.MAE != nil {
		t.Errorf("%+v", o)
	}
}

func TestField(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":1,"b":"x\ny"}`: "x\ny", `{"b": 1.5 }`: "1.5", `{"a":{"b":1},"b":true}`: "true", `{"b":null}`: "", `{"b":{"c":1}}`: "", `[1]`: "", `{"b":`: "", ``: "",
	} {
		if got, ok := field([]byte(text), "b"); ok != (want != "") || ok && string(got) != want {
			t.Errorf("%s: %q, %v", text, got, ok)
		}
	}
}

func FuzzField(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":"x\u00e4"}`), "b")
	f.Fuzz(func(t *testing.T, body []byte, name string) {
		if v, ok := field(body, name); ok && len(v) > len(body) && !strings.Contains(string(body), `\`) {
			t.Errorf("%q", v)
		}
	})
}
