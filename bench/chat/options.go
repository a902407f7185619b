package chat

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"serval"
	"serval/bench/load"
)

// API is which of the server's APIs is driven.
type API string

// The APIs.
const (
	Chat        API = "chat"        // POST /v1/chat/completions
	Completions API = "completions" // POST /v1/completions
	Embeddings  API = "embeddings"  // POST /v1/embeddings
)

// Options describe one run. URL and Model are required, and one of Duration and Count; the zero value of every other field
// means its default.
type Options struct {
	URL     string // of the server, as in http://127.0.0.1:8080 or https://host/prefix/v1; paths are appended to it
	Model   string
	API     API                        // default Chat
	Key     string                     // sent as a bearer token
	Headers map[string]string          // sent with every request
	Fields  map[string]json.RawMessage // set in the body of every request, over what would stand there; null leaves a field out

	Workload  Workload
	StopEarly bool // an answer may end before its max_tokens; else ignore_eos is sent, so that all have their full length
	Retry     bool // what is lost as ClosedKept is sent once more, as OpenAI's own clients do, and only counted in Result.Retried
	NoUsage   bool // the server cannot tell the usage of a stream: output tokens are counted as deltas

	Concurrency int           // callers, each with at most one request in flight; default 1, in an open loop 256
	Duration    time.Duration // how long to measure; a call in flight at the end of a closed loop is given up and not counted
	Count       int64         // requests to measure, instead of or as well as Duration: whichever is reached first
	WarmUp      time.Duration // load of the same kind before it, not measured

	Rate     float64       // conversations (of one request each, if Workload.Turns is 1) a second of an open loop; 0: closed loop
	Arrivals load.Arrivals // spacing of an open loop; default Constant
	Timeout  time.Duration // of one request; default 5 minutes
	SLO      SLO           // what Result.Good counts by

	// Progress is called about once a second, never at the same time as itself, while the run goes on.
	Progress func(load.Progress)
	// Each is told of every measured request as it ends, by one goroutine at a time. The Call is the callee's to keep.
	Each func(Call)
}

// own are the fields that the workload sets.
var own = []string{"model", "messages", "prompt", "input", "stream"}

// withDefaults checks o and fills its defaults in.
func (o Options) withDefaults() (Options, error) {
	bad := func(param, format string, args ...any) (Options, error) {
		return o, serval.Errorf(serval.InvalidArgument, "%s: %s", param, fmt.Sprintf(format, args...)).At(param)
	}
	switch o.API {
	case "":
		o.API = Chat
	case Chat, Completions, Embeddings:
	default:
		return bad("api", "%q: want chat, completions or embeddings", o.API)
	}
	if o.Model == "" {
		return bad("model", "no name")
	}
	if o.Duration < 0 || o.Count < 0 || (o.Duration == 0 && o.Count == 0) {
		return bad("duration", "set a duration or a count of requests above 0")
	}
	if o.Concurrency < 0 || o.Concurrency > 1<<16 {
		return bad("concurrency", "%d: want 1 to %d callers", o.Concurrency, 1<<16)
	}
	if o.WarmUp < 0 || o.Timeout < 0 {
		return bad("timeout", "timeout and warm-up must not be negative")
	}
	if !(o.Rate >= 0 && o.Rate <= 1e6) {
		return bad("rate", "%v: want 0 (closed loop) to 1e6 a second", o.Rate)
	}
	switch o.Arrivals {
	case "":
		o.Arrivals = load.Constant
	case load.Constant, load.Poisson:
	default:
		return bad("arrivals", "%q: want constant or poisson", o.Arrivals)
	}
	for name, value := range o.Headers {
		if name == "" || strings.ContainsAny(name, " :\r\n") || strings.ContainsAny(value, "\r\n") {
			return bad("headers", "%q: %q is not a header", name, value)
		}
	}
	if strings.ContainsAny(o.Key, "\r\n") {
		return bad("key", "it has a line end")
	}
	for name, value := range o.Fields {
		if slices.Contains(own, name) {
			return bad("fields", "%s is set by the workload", name)
		}
		if !json.Valid(value) {
			return bad("fields", "%s: %.60q is not JSON; a text stands in quotes", name, value)
		}
	}
	var err error
	if o.Workload, err = o.Workload.withDefaults(o.API); err != nil {
		return o, err
	}
	if o.Concurrency == 0 {
		o.Concurrency = 1
		if o.Rate > 0 {
			o.Concurrency = 256
		}
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Minute
	}
	return o, nil
}
