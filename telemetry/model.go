package telemetry

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"serval"
)

// batchBounds are the upper bounds of the batch size histogram, in rows.
var batchBounds = [...]float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}

// modelCollector reads the models' state when the metrics are read; it keeps no numbers of its own.
type modelCollector struct {
	models Models
	all    []*prometheus.Desc

	ready, memory, loadTime, loaded, instances, batching, waiting, sequences *prometheus.Desc
	process, restarts                                                        *prometheus.Desc
	inferences, executions, calls, callTime                                  *prometheus.Desc
	queue, input, compute, output                                            *prometheus.Desc
	batchRows, closed, rejected                                              *prometheus.Desc

	running, queued, cache, prefixQueries, prefixHits *prometheus.Desc

	tritonSuccess, tritonFailure, tritonCount, tritonExec, tritonPending *prometheus.Desc
	tritonDuration, tritonQueue, tritonInput, tritonInfer, tritonOutput  *prometheus.Desc
}

func newModelCollector(models Models) *modelCollector {
	c := &modelCollector{models: models}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		d := prometheus.NewDesc(name, help, append([]string{labelModel, labelVersion}, labels...), nil)
		c.all = append(c.all, d)
		return d
	}
	c.ready = desc(nameReady, "1 if the version serves, else 0.", labelEngine)
	c.memory = desc(nameMemory, "Memory of the version, as far as its engine can tell.")
	c.loadTime = desc(nameLoadTime, "How long the version took to load.")
	c.loaded = desc(nameLoaded, "When the version was loaded.")
	c.instances = desc(nameInstances, "Copies that compute at the same time.")
	c.batching = desc(nameBatching, "1 if rows of different requests share a batch, else 0.")
	c.waiting = desc(nameWaiting, "Calls in the queue.")
	c.process = desc(nameProcess, "Memory in RAM of the process of an isolated model.")
	c.restarts = desc(nameRestarts, "How often the process of an isolated model ended and was started again.")
	c.sequences = desc(nameSequences, "Sequences that have state, of a stateful model.")
	c.inferences = desc(nameInferences, "Rows computed.")
	c.executions = desc(nameExecutions, "Batches computed.")
	c.calls = desc(nameCalls, "Calls that ended.", labelResult)
	c.callTime = desc(nameCallTime, "Time of the calls that ended, from their arrival in the queue.", labelResult)
	c.queue = desc(nameQueue, "Time that calls waited for an instance.")
	c.input = desc(nameInput, "Time that calls' rows took to be laid together.")
	c.compute = desc(nameCompute, "Time that calls spent in the engine.")
	c.output = desc(nameOutput, "Time that calls' rows took to be taken apart.")
	c.batchRows = desc(nameBatchRows, "Rows of a batch.")
	c.closed = desc(nameClosed, "Batches by the reason why they closed.", labelReason)
	c.rejected = desc(nameRejected, "Calls that were refused before they ran, by reason.", labelReason)
	vllm := func(name, help string) *prometheus.Desc {
		d := prometheus.NewDesc(name, help, []string{labelVLLM, labelVersion}, nil)
		c.all = append(c.all, d)
		return d
	}
	c.running = vllm(nameVLLMRunning, "Number of requests that are answered.")
	c.queued = vllm(nameVLLMWaiting, "Number of requests that wait.")
	c.cache = vllm(nameVLLMCache, "Share of the cache of keys and values that running requests use. 1 means all of it.")
	c.prefixQueries = vllm(nameVLLMQueries, "Tokens of prompts that were looked up in the prefix cache.")
	c.prefixHits = vllm(nameVLLMHits, "Tokens of prompts that the prefix cache held.")
	c.tritonSuccess = desc(nameTritonSuccess, "Number of successful inference requests.")
	c.tritonFailure = desc(nameTritonFailure, "Number of failed inference requests, by reason.", labelReason)
	c.tritonCount = desc(nameTritonCount, "Number of inferences performed (rows).")
	c.tritonExec = desc(nameTritonExec, "Number of model executions performed (batches).")
	c.tritonDuration = desc(nameTritonDuration, "Cumulative inference request duration in microseconds.")
	c.tritonQueue = desc(nameTritonQueue, "Cumulative inference queuing duration in microseconds.")
	c.tritonInput = desc(nameTritonInput, "Cumulative compute input duration in microseconds.")
	c.tritonInfer = desc(nameTritonInfer, "Cumulative compute inference duration in microseconds.")
	c.tritonOutput = desc(nameTritonOutput, "Cumulative inference compute output duration in microseconds.")
	c.tritonPending = desc(nameTritonPending, "Number of requests awaiting execution.")
	return c
}

// Describe implements prometheus.Collector.
func (c *modelCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.all {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *modelCollector) Collect(out chan<- prometheus.Metric) {
	seen := map[[2]string]bool{}
	for _, info := range c.models.List() {
		s := sample{out: out, labels: [2]string{label(info.Name), label(info.Version)}}
		if seen[s.labels] { // two samples of one label set would spoil the whole scrape
			continue
		}
		seen[s.labels] = true
		s.gauge(c.ready, truth(info.State == serval.StateReady), label(info.Engine))
		if info.State != serval.StateReady && info.State != serval.StateUnloading {
			continue
		}
		s.gauge(c.memory, float64(info.Memory))
		s.gauge(c.loadTime, info.LoadTime.Seconds())
		s.gauge(c.batching, truth(info.Batching.On))
		if !info.Loaded.IsZero() {
			s.gauge(c.loaded, float64(info.Loaded.UnixMilli())/1000)
		}
		// A version that was unloaded since List has no statistics any more.
		if stats, err := c.models.Stats(serval.Ref{Name: info.Name, Version: info.Version}); err == nil {
			c.stats(s, &stats)
			if info.Settings.Isolation == "process" {
				s.gauge(c.process, float64(stats.Process.Memory))
				s.counter(c.restarts, float64(stats.Process.Restarts))
			}
			if info.Settings.Sequence != nil {
				s.gauge(c.sequences, float64(stats.Sequences))
			}
			if info.Language != nil {
				s.gauge(c.running, float64(stats.Sequences))
				s.gauge(c.queued, float64(stats.Waiting))
				if stats.CacheSize > 0 {
					s.gauge(c.cache, float64(stats.CacheUsed)/float64(stats.CacheSize))
				}
				s.counter(c.prefixQueries, float64(stats.Tokens.Prompt))
				s.counter(c.prefixHits, float64(stats.Tokens.Cached))
			}
			c.triton(s, &stats)
		}
	}
}

func (c *modelCollector) stats(s sample, stats *serval.Stats) {
	s.gauge(c.instances, float64(stats.Instances))
	s.gauge(c.waiting, float64(stats.Waiting))
	s.counter(c.inferences, float64(stats.Inferences))
	s.counter(c.executions, float64(stats.Executions))
	s.counter(c.calls, float64(stats.Success.Count), "success")
	s.counter(c.calls, float64(stats.Fail.Count), "failure")
	s.counter(c.callTime, stats.Success.Total.Seconds(), "success")
	s.counter(c.callTime, stats.Fail.Total.Seconds(), "failure")
	s.counter(c.queue, stats.Queue.Total.Seconds())
	s.counter(c.input, stats.Input.Total.Seconds())
	s.counter(c.compute, stats.Compute.Total.Seconds())
	s.counter(c.output, stats.Output.Total.Seconds())
	for _, why := range slices.Sorted(maps.Keys(stats.Closed)) {
		s.counter(c.closed, float64(stats.Closed[why]), label(why))
	}
	for _, why := range slices.Sorted(maps.Keys(stats.Rejected)) {
		s.counter(c.rejected, float64(stats.Rejected[why]), label(why))
	}
	var batches, rows uint64
	buckets := make(map[float64]uint64, len(batchBounds))
	for _, bound := range batchBounds {
		buckets[bound] = 0
	}
	for _, b := range stats.Batches {
		batches += b.Compute.Count
		rows += b.Compute.Count * uint64(max(0, b.Size))
		for _, bound := range batchBounds {
			if float64(b.Size) <= bound {
				buckets[bound] += b.Compute.Count
			}
		}
	}
	s.send(prometheus.NewConstHistogram(c.batchRows, batches, float64(rows), buckets, s.labels[0], s.labels[1]))
}

// triton gives the numbers that Triton gives, by its names. A failure's reason is REJECTED, CANCELED, BACKEND or OTHER.
func (c *modelCollector) triton(s sample, stats *serval.Stats) {
	var rejected, canceled uint64
	for why, n := range stats.Rejected {
		if why == "canceled" {
			canceled += n
		} else {
			rejected += n
		}
	}
	backend := stats.Fail.Count - min(stats.Fail.Count, rejected+canceled)
	s.counter(c.tritonSuccess, float64(stats.Success.Count))
	s.counter(c.tritonFailure, float64(rejected), "REJECTED")
	s.counter(c.tritonFailure, float64(canceled), "CANCELED")
	s.counter(c.tritonFailure, float64(backend), "BACKEND")
	s.counter(c.tritonFailure, 0, "OTHER")
	s.counter(c.tritonCount, float64(stats.Inferences))
	s.counter(c.tritonExec, float64(stats.Executions))
	s.counter(c.tritonDuration, microseconds(stats.Success.Total))
	s.counter(c.tritonQueue, microseconds(stats.Queue.Total))
	s.counter(c.tritonInput, microseconds(stats.Input.Total))
	s.counter(c.tritonInfer, microseconds(stats.Compute.Total))
	s.counter(c.tritonOutput, microseconds(stats.Output.Total))
	s.gauge(c.tritonPending, float64(stats.Waiting))
}

// sample sends the metrics of one version.
type sample struct {
	out    chan<- prometheus.Metric
	labels [2]string // model and version
}

func (s sample) gauge(d *prometheus.Desc, value float64, more ...string) {
	s.send(prometheus.NewConstMetric(d, prometheus.GaugeValue, value, append(s.labels[:], more...)...))
}

func (s sample) counter(d *prometheus.Desc, value float64, more ...string) {
	s.send(prometheus.NewConstMetric(d, prometheus.CounterValue, value, append(s.labels[:], more...)...))
}

func (s sample) send(m prometheus.Metric, err error) {
	if err == nil { // it fails for labels that do not fit the Desc, which would be a bug that the tests see
		s.out <- m
	}
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func microseconds(d time.Duration) float64 { return float64(d.Microseconds()) }

// label makes a copy of s that Prometheus takes: labels must be UTF-8.
func label(s string) string { return strings.Clone(strings.ToValidUTF8(s, "\uFFFD")) }
