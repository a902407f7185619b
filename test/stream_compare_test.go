package test

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"serval"
	"serval/internal/testkit"
)

// TestStreamCompare: a challenger reads the champion's topic in a group of its own; what the server says of the two is what
// their results say, and how right they were is what the outcomes say.
func TestStreamCompare(t *testing.T) {
	t.Parallel()
	const n = 500
	k := testkit.Kafka(t)
	b := newBus(t, k, "compare")
	truth := b.in + "-truth"
	k.Topic(t, truth, 2)
	models := streamModels(t)
	copyFile(t, filepath.Join(testkit.Root(), "engine", "tree", "testdata", "lgb_zero_missing.txt"), filepath.Join(models, "next", "1", "model.txt"))
	file := filepath.Join(t.TempDir(), "serval.yaml")
	write(t, file, fmt.Sprintf(`streams:
  old:
    model: tree
    source: {kafka: {brokers: [%[1]s], topics: [%[2]s], group: %[2]s-old}}
    target: {kafka: {brokers: [%[1]s], topic: %[3]s}}
    %[6]s
  new:
    model: next
    source: {kafka: {brokers: [%[1]s], topics: [%[2]s], group: %[2]s-new}}
    target: {kafka: {brokers: [%[1]s], topic: %[4]s}}
    %[6]s
    compare: {champion: old, threshold: 0.5, outcomes: {from: {kafka: {brokers: [%[1]s], topic: %[5]s}}, key: id, value: defaulted}}
log: {access: false}
`, k.Addr, b.in, b.out, b.dead, truth, rowsFormat))
	s := serveStream(t, true, models, "", file)
	b.send(t, records(0, n)...)
	reaches(t, s, "serval_stream_written_total", n, `stream="old"`)
	reaches(t, s, "serval_stream_written_total", n, `stream="new"`)
	scores := map[string][]float64{}
	for name, topic := range map[string]string{"old": b.out, "new": b.dead} {
		scores[name] = make([]float64, n)
		for _, r := range b.all(t, topic) {
			var one struct {
				ID         int
				Prediction map[string]float64
			}
			if err := json.Unmarshal(r.Value, &one); err != nil || len(one.Prediction) != 1 {
				t.Fatalf("%v: %s", err, r.Value)
			}
			for _, v := range one.Prediction {
				scores[name][one.ID] = v
			}
		}
	}
	equal, sum, most := 0, 0.0, 0.0
	var outcomes []*kgo.Record
	table := map[string]map[string]uint64{"0": {}, "1": {}}
	for i := range n {
		x, y := scores["old"][i], scores["new"][i]
		a, c := side(x), side(y)
		table[a][c]++
		if a == c {
			equal++
		}
		sum, most = sum+math.Abs(x-y), max(most, math.Abs(x-y))
		outcomes = append(outcomes, &kgo.Record{Topic: truth, Value: fmt.Appendf(nil, `{"id": %d, "defaulted": %t}`, i, x >= 0.5)}) // the champion is always right
	}
	if equal == 0 || equal == n {
		t.Fatalf("the models agree on %d of %d; the test needs some of both", equal, n)
	}
	cl := b.client(t)
	defer cl.Close()
	if err := cl.ProduceSync(t.Context(), outcomes...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	var r serval.StreamComparison
	s.Await("all outcomes", func() bool {
		a := ask(t, "GET", "http://"+s.Admin+"/api/v1/streams/old/compare/new", "")
		a.want(t, 200)
		r = serval.StreamComparison{}
		if err := json.Unmarshal([]byte(a.body), &r); err != nil {
			t.Fatal(err)
		}
		return r.Outcomes != nil && r.Outcomes.Known == n
	})
	if r.Pairs != n || r.Champion.Model != "tree:1" || r.Challenger.Model != "next:1" || r.Champion.Waiting+r.Challenger.Waiting != 0 || r.Incomplete != 0 || r.Champion.AgeP99 <= 0 || r.Challenger.AgeP50 <= 0 {
		t.Errorf("%+v", r)
	}
	if l := r.Labels; l == nil || l.Equal != uint64(equal) || l.Confusion["0"]["1"] != table["0"]["1"] || l.Confusion["1"]["0"] != table["1"]["0"] || l.Confusion["1"]["1"] != table["1"]["1"] {
		t.Errorf("labels: %+v; their results say %d of %d, %v", r.Labels, equal, n, table)
	}
	if a := r.Numbers; a == nil || a.Numbers != n || math.Abs(a.MeanDifference-sum/n) > 1e-6 || math.Abs(a.MaxDifference-most) > 1e-6 || a.Correlation < 0.1 || a.Correlation > 1 {
		t.Errorf("numbers: %+v; their results say mean %v, largest %v", r.Numbers, sum/n, most)
	}
	if o := r.Outcomes; *o.Champion.Accuracy != 1 || *o.Champion.AUC != 1 || math.Abs(*o.Challenger.Accuracy-float64(equal)/n) > 1e-9 || *o.Challenger.AUC <= 0.5 || *o.Challenger.AUC >= 1 || o.Waiting != 0 || o.NoKey != 0 {
		t.Errorf("outcomes: %+v", o)
	}
	for name, want := range map[string]float64{"serval_stream_compare_pairs_total": n, "serval_stream_compare_equal_labels_total": float64(equal), "serval_stream_compare_different_labels_total": float64(n - equal)} {
		if got := sample(t, s, name, `champion="old"`, `challenger="new"`); got != want {
			t.Errorf("%s is %v, not %v", name, got, want)
		}
	}
	if got := sample(t, s, "serval_stream_compare_accuracy", `stream="old"`); got != 1 {
		t.Errorf("the metric of the champion's accuracy is %v", got)
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{strconv.Itoa(equal) + " of 500", []string{"old", "new"}}, {`"equal": ` + strconv.Itoa(equal), []string{"old", "new", "-o", "json"}},
		{"old       new", nil}, {"are not being compared; begin with", []string{"new", "old"}}, {"there is no stream 'nobody'", []string{"old", "nobody"}}, {"takes the champion's", []string{"old"}},
	} {
		out, errs, code := testkit.Run(t.Context(), t, append(append([]string{"stream", "compare"}, c.args...), "--admin", s.Admin)...)
		if !strings.Contains(out+errs, c.want) || (code != 0) != (strings.Contains(c.want, "not being") || strings.Contains(c.want, "no stream") || strings.Contains(c.want, "takes")) {
			t.Errorf("%v: exit code %d: %s%s; it must say %q", c.args, code, out, errs, c.want)
		}
	}
}

// TestStreamCompareAsked: an operator has two running streams compared, and no more.
func TestStreamCompareAsked(t *testing.T) {
	t.Parallel()
	const n = 100
	k := testkit.Kafka(t)
	b := newBus(t, k, "asked")
	file := filepath.Join(t.TempDir(), "serval.yaml")
	text := "log: {access: false}\nstreams:\n"
	for name, out := range map[string]string{"one": b.out, "two": b.dead} {
		text += fmt.Sprintf("  %[1]s:\n    model: tree\n    source: {kafka: {brokers: [%[2]s], topics: [%[3]s], group: %[3]s-%[1]s}}\n    target: {kafka: {brokers: [%[2]s], topic: %[4]s}}\n    %[5]s\n", name, k.Addr, b.in, out, rowsFormat)
	}
	write(t, file, text)
	s := serveStream(t, true, streamModels(t), "", file)
	command := func(want string, fails bool, args ...string) {
		t.Helper()
		out, errs, code := testkit.Run(t.Context(), t, append(append([]string{"stream", "compare"}, args...), "--admin", s.Admin)...)
		if !strings.Contains(out+errs, want) || (code != 0) != fails {
			t.Errorf("%v: exit code %d: %s%s; it must say %q", args, code, out, errs, want)
		}
	}
	command("--begin", true, "one", "two")
	command("cannot be its own challenger", true, "one", "one", "--begin")
	command("there is no stream 'three'", true, "one", "three", "--begin")
	command("0 messages were answered by both", false, "one", "two", "--begin", "--threshold", "0.5")
	command("already; end that first", true, "one", "two", "--begin")
	b.send(t, records(0, n)...)
	reaches(t, s, "serval_stream_compare_pairs_total", n, `champion="one"`, `challenger="two"`)
	command("Same label: 100 of 100", false, "one", "two", "--end")
	command("are not being compared", true, "one", "two", "--end")
	command("CHAMPION", false)
}

func side(score float64) string {
	if score >= 0.5 {
		return "1"
	}
	return "0"
}
