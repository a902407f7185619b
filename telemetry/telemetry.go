package telemetry

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"serval"
)

// Models is what is known of the models when the metrics are read; safe for concurrent use.
type Models interface {
	// List describes every version of every model.
	List() []serval.ModelInfo
	// Stats of one version.
	Stats(serval.Ref) (serval.Stats, error)
}

// Options are what New needs.
type Options struct {
	Version  string       // of the server
	Models   Models       // may be nil
	InFlight func() int64 // requests under way; may be nil
	Log      *Log         // whose lines it writes the requests to; may be nil. Its owner closes it, after Close.
	Traces   TraceOptions
}

// Telemetry watches the requests. It is safe for concurrent use; Close ends it.
type Telemetry struct {
	registry *prometheus.Registry
	requests *requests
	answers  *answers
	log      *Log
	traces   *Traces
}

// New makes a Telemetry with a registry of its own. Traces are sent only where an endpoint is given; that it cannot be
// reached is no error, the log says so.
func New(o Options) (*Telemetry, error) {
	t := &Telemetry{registry: prometheus.NewRegistry(), requests: newRequests(maxSeries), answers: newAnswers(), log: o.Log}
	var err error
	if t.traces, err = newTraces(o.Traces, o.Version, o.Log.Logger()); err != nil {
		return nil, err
	}
	t.registry.MustRegister( // into an empty registry, so it cannot fail
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		t.requests.histogram,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: nameBuildInfo, Help: "Always 1; the labels say which build this is.",
			ConstLabels: prometheus.Labels{"version": o.Version, "go": runtime.Version()},
		}, func() float64 { return 1 }),
		counterFunc(nameAccessDropped, "Lines of the access log that were dropped because the log could not be written as fast.", o.Log.Dropped),
		counterFunc(nameSpansSent, "Spans that the trace receiver took.", t.traces.sent.Load),
		counterFunc(nameSpansLost, "Spans that could not be sent to the trace receiver.", t.traces.lost.Load),
	)
	t.registry.MustRegister(t.answers.all()...)
	if o.InFlight != nil {
		t.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: nameInFlight, Help: "Requests under way.",
		}, func() float64 { return float64(o.InFlight()) }))
	}
	if o.Models != nil {
		t.registry.MustRegister(newModelCollector(o.Models))
	}
	return t, nil
}

func counterFunc(name, help string, read func() uint64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(read()) })
}

// Done counts, logs and traces one request that has ended; err is nil for a success. It implements gateway's Observer: it
// never blocks and keeps nothing of req.
func (t *Telemetry) Done(req *serval.Request, err *serval.Error) {
	now := time.Now()
	t.requests.observe(req, err, now.Sub(req.Timing.Start))
	if req.Usage.Prompt > 0 && req.Target != nil {
		t.answers.observe(req, err, now)
	}
	t.log.request(req, err, now)
	t.traces.request(req, err, now)
}

// Metrics answers a scrape.
func (t *Telemetry) Metrics() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, Registry: t.registry})
}

// Tracing is the settings of the traces, as clients may read and change them.
func (t *Telemetry) Tracing() *Traces { return t.traces }

// Close sends the traces that wait, for at most five seconds.
func (t *Telemetry) Close() error { return t.traces.close() }
