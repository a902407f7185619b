package tune

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"serval"
	"serval/engine"
	"serval/engine/fake"
	"serval/schedule"
)

// landscape is a made-up model: throughput and p99 as functions of the settings.
type landscape func(c Candidate) (rows float64, p99 time.Duration)

func (l landscape) measure(target time.Duration, tried *int) Measure {
	return func(_ context.Context, c Candidate, best *Trial) (Trial, error) {
		*tried++
		t := Trial{Candidate: c}
		t.Throughput, t.P99 = l(c)
		t.Meets = target == 0 || t.P99 <= target
		t.Stopped = best != nil && best.Meets && t.Throughput < best.Throughput*hopeless
		return t, nil
	}
}

func TestSearchFindsWhatTryingAllFinds(t *testing.T) {
	ms := func(f float64) time.Duration { return time.Duration(f * float64(time.Millisecond)) }
	models := map[string]landscape{
		"grows with the batch": func(c Candidate) (float64, time.Duration) {
			per := 1.0 + 0.05*float64(c.MaxBatch)
			return float64(c.MaxBatch*c.Instances) / per * 1000, ms(per * 2)
		},
		"falls with the batch": func(c Candidate) (float64, time.Duration) {
			per := 1 + 0.02*float64(c.MaxBatch*c.MaxBatch)/float64(c.Threads)
			return float64(c.MaxBatch*c.Instances) / per * 1000, ms(per)
		},
		"threads pay, instances do not": func(c Candidate) (float64, time.Duration) {
			per := (3 + 0.3*float64(c.MaxBatch)) / float64(c.Threads)
			return float64(c.MaxBatch) / per * 1000, ms(per * float64(c.Instances))
		},
	}
	for name, l := range models {
		for _, cores := range []int{1, 2, 8, 12} {
			for _, target := range []time.Duration{0, 3 * time.Millisecond, 8 * time.Millisecond} {
				var few, all int
				space := Space{Cores: cores}
				found, _, err := Search(context.Background(), space, l.measure(target, &few))
				if err != nil {
					t.Fatal(err)
				}
				best, _, err := Exhaustive(context.Background(), space, l.measure(target, &all))
				if err != nil {
					t.Fatal(err)
				}
				if found.Meets != best.Meets || found.Meets && found.Throughput < best.Throughput*0.95 {
					t.Errorf("%s, %d cores, target %v: found %+v, the best is %+v", name, cores, target, found, best)
				}
				if cores > 2 && few >= all {
					t.Errorf("%s, %d cores: the search tried %d candidates, all of them are %d", name, cores, few, all)
				}
			}
		}
	}
}

func model(t *testing.T, text string) engine.Spec {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "model.fake"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return engine.Spec{Name: "m", Version: "1", Dir: dir}
}

const slow = `{"inputs":[{"name":"x","datatype":"FP32","shape":[-1,2],"symbols":["batch",""]}],
	"outputs":[{"name":"y","datatype":"FP32","shape":[-1,2],"symbols":["batch",""]}], "delay": "2ms"}`

func TestProfileAndTuneRunTheModel(t *testing.T) {
	spec := model(t, slow)
	points, err := Profile(context.Background(), fake.New(), spec, ProfileOptions{Cores: 2, Rows: []int{1, 4}, Time: 30 * time.Millisecond})
	if err != nil || len(points) != 6 { // 1×1, 1×2, 2×1 instances and threads, two batch sizes each
		t.Fatalf("%d points, %v", len(points), err)
	}
	for _, p := range points {
		if p.P50 < 2*time.Millisecond || p.RowsPerS <= 0 {
			t.Errorf("%+v: a batch takes 2ms", p)
		}
	}
	opened, err := schedule.Open(context.Background(), fake.New(), spec, 1)
	if err != nil {
		t.Fatal(err)
	}
	inputs := schedule.Samples(opened.Signature, nil)
	if err := opened.Loaded.Close(); err != nil {
		t.Fatal(err)
	}
	if got := inputs(3, 1)[0]; serval.ShapeString(got.Shape) != "[3,2]" || got.Check() != nil {
		t.Errorf("made-up input: %s, %v", serval.ShapeString(got.Shape), got.Check())
	}
	measure := Measurer(fake.New(), spec, Options{Load: Load{Callers: 8, Inputs: inputs}, Time: 150 * time.Millisecond})
	if one, err := measure(context.Background(), Candidate{1, 1, 8}, nil); err != nil || one.Stopped || one.Throughput <= 0 || one.P99 < 2*time.Millisecond || !one.Meets {
		t.Errorf("%+v, %v", one, err)
	}
	unreachable := &Trial{Throughput: 1e12, Meets: true}
	if worse, err := measure(context.Background(), Candidate{1, 1, 1}, unreachable); err != nil || !worse.Stopped {
		t.Errorf("a candidate that is far worse was measured to its end (%+v, %v)", worse, err)
	}
}
