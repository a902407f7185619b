package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"serval"
)

// answers counts the answers of models of text: how soon they begin, how fast they go on, and what they cost. Each number has
// its own name and vLLM's.
type answers struct {
	first, each, vllmFirst, vllmEach, vllmLatency *prometheus.HistogramVec
	tokens, vllmPrompt, vllmMade, vllmSuccess     *prometheus.CounterVec
}

var (
	firstBounds = []float64{.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80}
	eachBounds  = []float64{.001, .0025, .005, .01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5}
	wholeBounds = []float64{.05, .1, .3, .5, .8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480}
)

func newAnswers() *answers {
	histogram := func(name, help, label string, bounds []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: bounds}, []string{label})
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	const first, each = "Time from a request's arrival to the first piece of its answer.", "Time between the tokens of an answer: an answer's mean."
	return &answers{
		first:       histogram(nameFirstToken, first, labelModel, firstBounds),
		each:        histogram(nameEachToken, each, labelModel, eachBounds),
		tokens:      counter(nameTokens, "Tokens by kind: prompt (those from the cache among them), cached, completion (reasoning among them), reasoning, drafted, accepted.", labelModel, labelKind),
		vllmFirst:   histogram(nameVLLMFirst, first, labelVLLM, firstBounds),
		vllmEach:    histogram(nameVLLMEach, each, labelVLLM, eachBounds),
		vllmLatency: histogram(nameVLLMLatency, "Time from a request's arrival to the end of its answer.", labelVLLM, wholeBounds),
		vllmPrompt:  counter(nameVLLMPrompt, "Number of prompt tokens read.", labelVLLM),
		vllmMade:    counter(nameVLLMGeneration, "Number of tokens made.", labelVLLM),
		vllmSuccess: counter(nameVLLMSuccess, "Answers that ended well, by why they ended.", labelVLLM, labelFinished),
	}
}

func (t *answers) all() []prometheus.Collector {
	return []prometheus.Collector{t.first, t.each, t.tokens, t.vllmFirst, t.vllmEach, t.vllmLatency, t.vllmPrompt, t.vllmMade, t.vllmSuccess}
}

// observe counts one request of a model that exists; err is nil for a success.
func (t *answers) observe(req *serval.Request, err *serval.Error, now time.Time) {
	model, u, timing := label(req.Model.Name), &req.Usage, &req.Timing
	for _, kind := range [...]struct {
		name string
		n    int64
	}{{"prompt", u.Prompt}, {"cached", u.Cached}, {"completion", u.Completion}, {"reasoning", u.Reasoning}, {"drafted", u.Drafted}, {"accepted", u.Accepted}} {
		if kind.n > 0 {
			t.tokens.WithLabelValues(model, kind.name).Add(float64(kind.n))
		}
	}
	t.vllmPrompt.WithLabelValues(model).Add(float64(u.Prompt))
	t.vllmMade.WithLabelValues(model).Add(float64(u.Completion))
	if timing.Chunks > 0 && u.Completion > 0 {
		first := timing.First.Sub(timing.Start).Seconds()
		t.first.WithLabelValues(model).Observe(first)
		t.vllmFirst.WithLabelValues(model).Observe(first)
		if u.Completion > 1 && timing.Chunks > 1 {
			each := timing.Last.Sub(timing.First).Seconds() / float64(u.Completion-1)
			t.each.WithLabelValues(model).Observe(each)
			t.vllmEach.WithLabelValues(model).Observe(each)
		}
	}
	if err != nil {
		return
	}
	t.vllmLatency.WithLabelValues(model).Observe(now.Sub(timing.Start).Seconds())
	if u.Completion > 0 {
		t.vllmSuccess.WithLabelValues(model, string(req.Finish)).Inc()
	}
}
