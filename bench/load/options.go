package load

import (
	"fmt"
	"net"
	"strings"
	"time"

	"serval"
)

// Arrivals says how an open loop spaces its requests.
type Arrivals string

// The spacings of an open loop.
const (
	Constant Arrivals = "constant" // the same gap between any two
	Poisson  Arrivals = "poisson"  // independent arrivals: gaps are exponential
)

// Options describe one run. Addr and Payload are required, and one of Duration and Count; the zero value of every other
// field means its default.
type Options struct {
	Addr    string            // host:port of the listener that speaks the payload's protocol
	Payload Payload           // what is sent, again and again; see Body
	More    []Payload         // other requests of the same format, for any models, which each caller sends in turns with Payload
	Headers map[string]string // sent with every request: HTTP headers, or gRPC metadata (in lower case)

	Concurrency int           // callers, each with at most one request in flight; default 1, in an open loop 256
	Duration    time.Duration // how long to measure; a call in flight at the end of a closed loop is not counted
	Count       int64         // requests to measure, instead of or as well as Duration: whichever is reached first
	WarmUp      time.Duration // load of the same kind before it, not measured

	Rate     float64  // requests a second of an open loop; 0: closed loop
	Arrivals Arrivals // spacing of an open loop; default Constant
	Seed     uint64   // of Poisson arrivals

	Timeout     time.Duration // of one request; default 30 s
	Connections int           // gRPC only: connections that the callers share; default one for 16 callers
	Expect      []byte        // a response whose body does not start with these bytes is an error; empty: any body

	// Progress is called about once a second, never at the same time as itself, while the run goes on.
	Progress func(Progress)
}

// payloads are all that is sent.
func (o *Options) payloads() []Payload { return append([]Payload{o.Payload}, o.More...) }

// Progress is where a run stands.
type Progress struct {
	WarmUp   bool
	Elapsed  time.Duration // since the measurement began, or, while WarmUp, since the run began
	Requests uint64        // answered since the measurement began
	Errors   uint64
}

// withDefaults checks o and fills its defaults in.
func (o Options) withDefaults() (Options, error) {
	bad := func(param, format string, args ...any) (Options, error) {
		return o, serval.Errorf(serval.InvalidArgument, "%s: %s", param, fmt.Sprintf(format, args...)).At(param)
	}
	if strings.Contains(o.Addr, "://") {
		return bad("addr", "%q: want host:port without a scheme", o.Addr)
	}
	if _, _, err := net.SplitHostPort(o.Addr); err != nil {
		return bad("addr", "%q: want host:port", o.Addr)
	}
	if o.Payload.Format < JSON || o.Payload.Format > Proto || o.Payload.Model == "" {
		return bad("payload", "empty; make one with load.Body")
	}
	for i := range o.More {
		if m := &o.More[i]; m.Format != o.Payload.Format || m.Model == "" {
			return bad("more", "request %d: %s for model '%s', the first is %s for '%s'; make all with load.Body in one format", i, m.Format, m.Model, o.Payload.Format, o.Payload.Model)
		}
	}
	if o.Duration < 0 || o.Count < 0 || (o.Duration == 0 && o.Count == 0) {
		return bad("duration", "set a duration or a count of requests above 0")
	}
	if o.Concurrency < 0 || o.Connections < 0 || o.WarmUp < 0 || o.Timeout < 0 {
		return bad("concurrency", "concurrency, connections, warm-up and timeout must not be negative")
	}
	if !(o.Rate >= 0 && o.Rate <= 1e9) {
		return bad("rate", "%v: want 0 (closed loop) to 1e9 requests a second", o.Rate)
	}
	switch o.Arrivals {
	case "":
		o.Arrivals = Constant
	case Constant, Poisson:
	default:
		return bad("arrivals", "%q: want constant or poisson", o.Arrivals)
	}
	for name, value := range o.Headers {
		if name == "" || strings.ContainsAny(name, " :\r\n") || strings.ContainsAny(value, "\r\n") {
			return bad("headers", "%q: %q is not a header", name, value)
		}
	}
	if o.Concurrency == 0 {
		o.Concurrency = 1
		if o.Rate > 0 {
			o.Concurrency = 256
		}
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Connections == 0 {
		o.Connections = (o.Concurrency + 15) / 16
	}
	o.Connections = min(o.Connections, o.Concurrency)
	return o, nil
}
