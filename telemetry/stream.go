package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"serval"
)

// Streams is what is known of the streams when the metrics are read; safe for concurrent use.
type Streams interface {
	List() []serval.StreamStatus
}

// WatchStreams adds the streams' metrics. It is called once, before the first scrape.
func (t *Telemetry) WatchStreams(s Streams) { t.registry.MustRegister(newStreamCollector(s)) }

// streamCollector reads the streams' state when the metrics are read; it keeps no numbers of its own.
type streamCollector struct {
	streams Streams
	all     []*prometheus.Desc

	running, lag, inFlight, bytes, oldest, last                              *prometheus.Desc
	read, written, dead, dropped, retries, aborted, calls, handed, age, info *prometheus.Desc
}

func newStreamCollector(s Streams) *streamCollector {
	c := &streamCollector{streams: s}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		d := prometheus.NewDesc(name, help, append([]string{labelStream}, labels...), nil)
		c.all = append(c.all, d)
		return d
	}
	c.info = desc(nameStreamInfo, "Always 1; the labels say which model answers the stream and how it is delivered.", labelModel, labelDelivery)
	c.running = desc(nameStreamRunning, "1 if the stream works, 0 if it waits, is paused or stopped.", labelState)
	c.lag = desc(nameStreamLag, "Messages that wait at the broker.")
	c.inFlight = desc(nameStreamInFlight, "Messages that were read and are not yet written.")
	c.bytes = desc(nameStreamBytes, "Bytes of the messages that were read and are not yet written.")
	c.oldest = desc(nameStreamOldest, "How long ago the oldest message under way was made.")
	c.last = desc(nameStreamLast, "When a result was written last.")
	c.read = desc(nameStreamRead, "Messages that were read.")
	c.written = desc(nameStreamWritten, "Messages whose results were written.")
	c.dead = desc(nameStreamDead, "Messages that became dead letters, by the code of their error.", labelCode)
	c.dropped = desc(nameStreamDropped, "Messages that were dropped without a dead letter, as configured.")
	c.retries = desc(nameStreamRetries, "Calls and writes that were done again, by the code of their error.", labelCode)
	c.aborted = desc(nameStreamAborted, "Transactions that were undone.")
	c.calls = desc(nameStreamCalls, "Calls of the model; one may hold the rows of many messages.")
	c.handed = desc(nameStreamHanded, "Partitions that were given to other workers.")
	c.age = desc(nameStreamAge, "Time from the making of messages to the writing of their results.")
	return c
}

// Describe implements prometheus.Collector.
func (c *streamCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.all {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *streamCollector) Collect(to chan<- prometheus.Metric) {
	for _, s := range c.streams.List() {
		value := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
			to <- prometheus.MustNewConstMetric(d, kind, v, append([]string{s.Name}, labels...)...)
		}
		gauge := func(d *prometheus.Desc, v float64, labels ...string) { value(d, prometheus.GaugeValue, v, labels...) }
		counter := func(d *prometheus.Desc, v float64, labels ...string) {
			value(d, prometheus.CounterValue, v, labels...)
		}
		gauge(c.info, 1, label(s.Model), s.Delivery)
		running := 0.0
		if s.State == serval.StreamRunning {
			running = 1
		}
		gauge(c.running, running, string(s.State))
		if s.Lag >= 0 {
			gauge(c.lag, float64(s.Lag))
		}
		gauge(c.inFlight, float64(s.InFlight))
		gauge(c.bytes, float64(s.Bytes))
		oldest := 0.0
		if !s.Oldest.IsZero() {
			oldest = max(0, time.Since(s.Oldest).Seconds())
		}
		gauge(c.oldest, oldest)
		if !s.Last.IsZero() {
			gauge(c.last, float64(s.Last.UnixMilli())/1000)
		}
		counter(c.read, float64(s.Read))
		counter(c.written, float64(s.Written))
		for code, n := range s.Dead {
			counter(c.dead, float64(n), code)
		}
		counter(c.dropped, float64(s.Dropped))
		for code, n := range s.Retries {
			counter(c.retries, float64(n), code)
		}
		counter(c.aborted, float64(s.Aborted))
		counter(c.calls, float64(s.Calls))
		counter(c.handed, float64(s.Rebalance))
		to <- prometheus.MustNewConstSummary(c.age, s.Aged, s.Age, nil, s.Name)
	}
}
