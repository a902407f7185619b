package telemetry

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"serval"
)

// maxSeries bounds the label sets of the request histogram; what comes after is counted under the model "other".
const maxSeries = 4096

// series is one label set.
type series struct {
	model, version, protocol string
	code                     int16 // a serval.Code, or succeeded
}

const succeeded = -1

// requests is the histogram of the requests. The series are looked up in a map that never changes: reading it takes no lock
// and no allocation. Those that come are kept apart under a lock until they were missed as often as a map of all costs to make,
// so that the thousandth costs no more than the first.
type requests struct {
	histogram *prometheus.HistogramVec
	most      int // series
	known     atomic.Pointer[map[series]prometheus.Observer]

	mu     sync.Mutex // guards what follows
	fresh  map[series]prometheus.Observer
	misses int // of known, since it was made
}

func newRequests(most int) *requests {
	r := &requests{most: most, fresh: map[series]prometheus.Observer{}, histogram: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    nameRequestDuration,
		Help:    "Time from a request's arrival at the chain to the end of its answer.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	}, []string{labelModel, labelVersion, labelProtocol, labelCode})}
	r.known.Store(&map[series]prometheus.Observer{})
	return r
}

// observe counts one request. A model that was not found has no label: its name is whatever the caller wrote.
func (r *requests) observe(req *serval.Request, err *serval.Error, took time.Duration) {
	s := series{protocol: req.Protocol, code: succeeded}
	if err != nil {
		s.code = int16(err.Code)
	}
	if req.Target != nil {
		s.model, s.version = req.Model.Name, req.Model.Version
	}
	o, ok := (*r.known.Load())[s]
	if !ok {
		o = r.missed(s)
	}
	o.Observe(took.Seconds())
}

// missed finds or adds a series that is not known yet.
func (r *requests) missed(s series) prometheus.Observer {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := *r.known.Load()
	if o, ok := known[s]; ok {
		return o
	}
	o, ok := r.fresh[s]
	if !ok {
		if len(known)+len(r.fresh) >= r.most {
			return r.histogram.WithLabelValues("other", "", s.protocol, codeName(s.code))
		}
		o = r.histogram.WithLabelValues(label(s.model), label(s.version), label(s.protocol), codeName(s.code))
		// The key is kept, and a request's strings may be parts of its buffer.
		s.model, s.version, s.protocol = strings.Clone(s.model), strings.Clone(s.version), strings.Clone(s.protocol)
		r.fresh[s] = o
	}
	if r.misses++; 4*r.misses >= len(known)+len(r.fresh) {
		all := make(map[series]prometheus.Observer, len(known)+len(r.fresh))
		maps.Copy(all, known)
		maps.Copy(all, r.fresh)
		r.known.Store(&all)
		clear(r.fresh)
		r.misses = 0
	}
	return o
}

func codeName(code int16) string {
	if code == succeeded {
		return codeOK
	}
	return serval.Code(code).String()
}
