package oip

import (
	"net/http"
	"strconv"

	"serval"
	"serval/internal/jsontensor"
	"serval/protocol"
)

// keep is the most memory of one buffer that a returned exchange holds on to.
const keep = 1 << 20

// exchange is one REST infer request and its answer, with every buffer that they need. One goroutine owns it between get
// and put; it then serves another request.
type exchange struct {
	call
	p      *Protocol
	scan   jsontensor.Scanner
	body   []byte            // as sent, decompressed; inputs sent as binary data and strings without escapes alias it
	arena  []byte            // data of inputs sent as JSON
	shapes []int64           // of inputs
	names  map[string]string // strings seen before, so that a name costs no memory each time

	out      []byte // the answer
	zipped   []byte // the answer, compressed
	jsonSize int    // bytes of out that are JSON; the rest is binary data; 0 where all is JSON
	sent     bool   // a chunk was encoded into out
	failed   error  // from Send
}

func newExchange(p *Protocol) *exchange {
	return &exchange{p: p, names: map[string]string{}}
}

// put gives x back. Nothing that aliases it may be in use.
func (p *Protocol) put(x *exchange) {
	x.call.reset()
	x.body, x.arena, x.out = fit(x.body), fit(x.arena), fit(x.out)
	x.zipped, x.copied, x.text = fit(x.zipped), fit(x.copied), fit(x.text)
	x.shapes = x.shapes[:0]
	x.jsonSize, x.sent, x.failed = 0, false, nil
	p.pool.Put(x)
}

// fit empties a buffer, or drops it where it has grown too large to keep.
func fit(b []byte) []byte {
	if cap(b) > keep {
		return nil
	}
	return b[:0]
}

// intern is b as a string that does not alias b.
func (x *exchange) intern(b []byte) string {
	if s, ok := x.names[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(s) <= 256 {
		if len(x.names) >= 256 {
			clear(x.names)
		}
		x.names[s] = s
	}
	return s
}

// serveInfer is POST …/infer.
func (p *Protocol) serveInfer(w http.ResponseWriter, r *http.Request) {
	x := p.pool.Get().(*exchange)
	// Not deferred: after a panic the exchange may still be in use below, and is left to the garbage collector.
	if err := x.serve(w, r); err != nil {
		protocol.FailText(w, r, serval.AsError(err))
	}
	p.put(x)
}

func (x *exchange) serve(w http.ResponseWriter, r *http.Request) error {
	p := x.p
	ref, err := modelRef(r.PathValue("model"), r.PathValue("version"))
	if err != nil {
		return err
	}
	x.req.Model = ref
	x.req.Protocol = "oip-rest"
	x.req.Credential = protocol.Credential(r.Header)
	x.req.Trace = protocol.Trace(r.Header)
	if id := r.Header["X-Request-Id"]; len(id) > 0 {
		x.req.ID = id[0]
	}
	jsonSize, err := headerLength(r.Header)
	if err != nil {
		return err
	}
	if x.body, err = p.bodies.Read(x.body, r, p.backend.Config.MaxBody); err != nil {
		return err
	}
	if jsonSize == 0 {
		err = x.decodeRaw()
	} else {
		err = x.decode(jsonSize)
	}
	if err != nil {
		return err
	}
	if err := p.prepare(&x.call); err != nil {
		return err
	}
	err = p.backend.Handler.Handle(r.Context(), &x.req, x)
	if x.req.ID != "" {
		w.Header()["X-Request-Id"] = []string{x.req.ID}
	}
	switch {
	case x.failed != nil:
		return x.failed
	case err != nil:
		return err
	case !x.sent:
		return serval.Errorf(serval.Internal, "model '%s' gave no answer", x.req.Model.Name)
	}
	return x.write(w, r)
}

// Send encodes the answer; see serval.Sink.
func (x *exchange) Send(c *serval.Chunk) error {
	if c.Output == nil {
		return nil
	}
	if x.sent {
		x.failed = serval.Errorf(serval.Unimplemented, "model '%s' answers in several pieces, which REST infer cannot carry; use the gRPC method ModelStreamInfer", x.req.Model.Name)
		return x.failed
	}
	outs, err := x.p.results(&x.call, c.Output)
	if err == nil {
		err = x.encode(outs)
	}
	x.failed, x.sent = err, true
	return err
}

// The values of the content type header; they are never changed.
var (
	jsonType   = []string{"application/json"}
	binaryType = []string{"application/octet-stream"}
)

// write sends the answer in one piece. net/http reads the headers after the handler returned, so they alias nothing of x.
func (x *exchange) write(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h["Content-Type"] = jsonType
	values := make([]string, 2)
	if x.jsonSize > 0 {
		h["Content-Type"] = binaryType
		values[1] = strconv.Itoa(x.jsonSize)
		h["Inference-Header-Content-Length"] = values[1:2:2]
	}
	body := x.out
	if coding := x.coding(r.Header); coding != "" {
		var err error
		if x.zipped, err = x.p.bodies.Compress(x.zipped[:0], body, coding); err != nil {
			return err
		}
		body = x.zipped
		h["Content-Encoding"] = []string{coding}
	}
	values[0] = strconv.Itoa(len(body))
	h["Content-Length"] = values[0:1:1]
	w.Write(body) // an error means that the client has left, which is not ours to report
	return nil
}

// minCompress is the smallest answer that is worth compressing: below, it fits into one packet anyway.
const minCompress = 1024

func (x *exchange) coding(h http.Header) string {
	if len(x.out) < minCompress || x.p.opt.DisableCompression {
		return ""
	}
	return protocol.AcceptedCoding(h)
}
