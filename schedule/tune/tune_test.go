package tune

import (
	"context"
	"math"
	"math/rand/v2"
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

// TestSearchSeesThroughNoise searches where each measurement is up to 20 % too slow, as on a machine that does other work.
func TestSearchSeesThroughNoise(t *testing.T) {
	flat := func(c Candidate) (float64, time.Duration) { // settings next to each other differ by a few per cent
		rows := 400.0 * float64(c.Instances) / (1 + 0.6*float64(c.Instances-1)) * (1 + 0.1*float64(c.Threads-1))
		rows *= 1 - 0.05*math.Abs(math.Log2(float64(c.MaxBatch))-1)
		return rows, time.Duration(float64(c.MaxBatch) / rows * float64(time.Second))
	}
	const seeds = 200
	missed := 0
	for seed := range uint64(seeds) {
		r := rand.New(rand.NewPCG(seed, 3))
		noisy := landscape(func(c Candidate) (float64, time.Duration) {
			rows, p99 := flat(c)
			f := 1 - 0.2*r.Float64()
			return rows * f, time.Duration(float64(p99) / f)
		})
		var tried int
		space := Space{Cores: 4}
		found, _, err := Search(context.Background(), space, noisy.measure(0, &tried))
		if err != nil {
			t.Fatal(err)
		}
		best, _, err := Exhaustive(context.Background(), space, landscape(flat).measure(0, &tried))
		if err != nil {
			t.Fatal(err)
		}
		if rows, _ := flat(found.Candidate); rows < best.Throughput*0.95 {
			missed++
		}
	}
	if missed > seeds/6 {
		t.Errorf("%d of %d searches chose settings more than 5 %% below the best", missed, seeds) // without the last rounds: 54
	}
}

func TestBatchesThatNobodyFillsAreLeftOut(t *testing.T) {
	for rows, want := range map[int]int{1: 1, 2: 2, 3: 4, 16: 16, 100: 128, 1000: 128} {
		if list := (Space{}).Upto(rows).Batches; list[0] != 1 || list[len(list)-1] != want {
			t.Errorf("%d rows: %v", rows, list)
		}
	}
}

func TestCompareTakesMedians(t *testing.T) {
	rates := map[int][]float64{1: {100, 10, 101, 99, 102}, 2: {90, 300, 91, 92, 89}}
	m := func(_ context.Context, c Candidate, _ *Trial) (Trial, error) {
		next := rates[c.MaxBatch][0]
		rates[c.MaxBatch] = rates[c.MaxBatch][1:]
		return Trial{Candidate: c, Throughput: next, Meets: next > 50}, nil
	}
	best, trials, err := Compare(context.Background(), []Candidate{{1, 1, 2}, {1, 1, 1}}, 5, m)
	if err != nil || len(trials) != 2 || trials[0].Throughput != 91 || trials[1].Throughput != 100 || best.MaxBatch != 1 || !best.Meets {
		t.Errorf("%+v, best %+v, %v", trials, best, err)
	}
}

func TestParseCandidate(t *testing.T) {
	if c, err := ParseCandidate("2x1x16"); err != nil || c != (Candidate{2, 1, 16}) {
		t.Errorf("%+v, %v", c, err)
	}
	for _, bad := range []string{"", "2", "2x1", "2x1x0", "2x1x-1", "ax1x1", "1x1x1x1", "1x1x99999999999999999999"} {
		if c, err := ParseCandidate(bad); err == nil {
			t.Errorf("%q: %+v", bad, c)
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
