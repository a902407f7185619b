package chat

import (
	"encoding/json"
	"time"

	"serval/bench/load"
)

// Result is what a run measured. Tokens and times are those of successes only. In an open loop times count from when a
// request was due, so that a server that stalls cannot hide the requests it held up.
type Result struct {
	URL         string
	Model       string
	API         API
	Workload    string // in words
	Concurrency int
	Rate        float64       // asked for; 0: closed loop
	Arrivals    load.Arrivals // of an open loop
	SLO         SLO

	Elapsed      time.Duration     // of the measurement
	Requests     uint64            // answered or lost
	Failures     uint64            // of these
	FailuresBy   map[string]uint64 // by reason: see Closed and its neighbours
	FirstFailure string            // what the first said; "" without any
	GivenUp      uint64            // requests in flight when the run ended; they are not among Requests
	Reconnects   uint64            // connections that the server had closed between two requests; nothing was lost by it
	Retried      uint64            // requests that were lost on a kept connection and went out again; with Options.Retry only
	Sent         uint64            // bytes
	Received     uint64            // bytes

	PromptTokens  uint64
	CachedTokens  uint64 // of these, from the server's cache
	CacheKnown    bool   // the server tells how many are
	OutputTokens  uint64 // as the usage says
	Deltas        uint64 // with content, of the same answers
	ArrivedDeltas uint64 // within the measurement, also of answers that began before it or were not done at its end
	Texts         uint64 // embeddings
	Short         uint64 // answers with fewer tokens than max_tokens
	Empty         uint64 // answers without any content
	Good          uint64 // successes that kept the SLO

	TTFT load.Latency // time to the first delta with content
	ITL  load.Latency // between two deltas
	TPOT load.Latency // per output token after the first: one value for each request
	E2E  load.Latency // to the end of the answer
	Wait load.Latency // open loop only: from the due time to sending, where all callers were busy
}

func (r *Result) per(n uint64) float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(n) / r.Elapsed.Seconds()
}

// RequestRate is the successes a second.
func (r *Result) RequestRate() float64 { return r.per(r.Requests - r.Failures) }

// OutputRate is the output tokens a second, of requests that ended.
func (r *Result) OutputRate() float64 { return r.per(r.OutputTokens) }

// DeltaRate is the deltas a second that arrived within the measurement: a check of OutputRate that does not rely on what the
// server says, and that counts answers in part.
func (r *Result) DeltaRate() float64 { return r.per(r.ArrivedDeltas) }

// PromptRate is the prompt tokens a second, of requests that ended; cached ones are among them.
func (r *Result) PromptRate() float64 { return r.per(r.PromptTokens) }

// TextRate is the embedded texts a second.
func (r *Result) TextRate() float64 { return r.per(r.Texts) }

// Goodput is the requests a second that kept the SLO.
func (r *Result) Goodput() float64 { return r.per(r.Good) }

// CachedShare is how much of the prompts came from the cache, from 0 to 1.
func (r *Result) CachedShare() float64 { return share(r.CachedTokens, r.PromptTokens) }

// GoodShare is how many of all requests, failures included, kept the SLO, from 0 to 1.
func (r *Result) GoodShare() float64 { return share(r.Good, r.Requests) }

func share(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// MarshalJSON writes the result for programs; times are in seconds and, where the name says so, milliseconds.
func (r Result) MarshalJSON() ([]byte, error) {
	out := map[string]any{
		"url": r.URL, "model": r.Model, "api": r.API, "workload": r.Workload, "concurrency": r.Concurrency,
		"elapsed_s": r.Elapsed.Seconds(), "requests": r.Requests, "failures": r.Failures, "requests_per_s": r.RequestRate(),
		"given_up": r.GivenUp, "reconnects": r.Reconnects, "retried": r.Retried, "bytes_sent": r.Sent, "bytes_received": r.Received,
		"prompt_tokens": r.PromptTokens, "prompt_tokens_per_s": r.PromptRate(), "e2e_ms": r.E2E,
	}
	if r.API == Embeddings {
		out["texts"], out["texts_per_s"] = r.Texts, r.TextRate()
	} else {
		out["output_tokens"], out["output_tokens_per_s"] = r.OutputTokens, r.OutputRate()
		out["deltas"], out["deltas_per_s"] = r.Deltas, r.DeltaRate()
		out["short"], out["empty"] = r.Short, r.Empty
		out["ttft_ms"], out["itl_ms"], out["tpot_ms"] = r.TTFT, r.ITL, r.TPOT
	}
	if r.CacheKnown {
		out["cached_tokens"], out["cached_share"] = r.CachedTokens, r.CachedShare()
	}
	if r.SLO != (SLO{}) {
		out["slo"], out["goodput"], out["good_share"] = r.SLO.String(), r.Goodput(), r.GoodShare()
	}
	if r.Rate > 0 {
		out["rate"], out["arrivals"], out["wait_ms"] = r.Rate, r.Arrivals, r.Wait
	}
	if r.Failures > 0 {
		out["failures_by"], out["first_failure"] = r.FailuresBy, r.FirstFailure
	}
	return json.Marshal(out)
}
