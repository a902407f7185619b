package telemetry

import (
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

// requests is the histogram of the requests. The series are looked up in a map that is copied when one is added: reading
// it takes no lock and no allocation.
type requests struct {
	histogram *prometheus.HistogramVec
	most      int // series
	known     atomic.Pointer[map[series]prometheus.Observer]
	mu        sync.Mutex // held to add a series
}

func newRequests(most int) *requests {
	r := &requests{most: most, histogram: prometheus.NewHistogramVec(prometheus.HistogramOpts{
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
		o = r.add(s)
	}
	o.Observe(took.Seconds())
}

func (r *requests) add(s series) prometheus.Observer {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := *r.known.Load()
	if o, ok := old[s]; ok {
		return o
	}
	if len(old) >= r.most {
		return r.histogram.WithLabelValues("other", "", s.protocol, codeName(s.code))
	}
	o := r.histogram.WithLabelValues(label(s.model), label(s.version), label(s.protocol), codeName(s.code))
	// The key is kept, and a request's strings may be parts of its buffer.
	s.model, s.version, s.protocol = strings.Clone(s.model), strings.Clone(s.version), strings.Clone(s.protocol)
	made := make(map[series]prometheus.Observer, len(old)+1)
	for k, v := range old {
		made[k] = v
	}
	made[s] = o
	r.known.Store(&made)
	return o
}

func codeName(code int16) string {
	if code == succeeded {
		return codeOK
	}
	return serval.Code(code).String()
}
