package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"serval"
)

// Access says what the holder of a key may do.
type Access interface {
	// May identifies a caller: own is whose jobs it makes, scope whose it sees, "" all. change says that the call changes
	// something.
	May(credential string, change bool) (own, scope string, err *serval.Error)
}

// API is an http.Handler for everything below /api/v1. Safe for concurrent use.
type API struct {
	mux     *http.ServeMux
	access  Access
	routes  []route
	version string
}

// route is one operation.
type route struct {
	method, path string // path as http.ServeMux has it
	id           string // for OpenAPI
	says         string // what it does
	query        []param
	in           any // nil: no body. Else a value of the body's type, or a document
	out          any // a value of the answer's type; nil: none; file{}: bytes; lines: one value after the other
	status       int // of a success; 0: 200
	change       bool
	serve        func(*call) (any, error)
}

// param is a parameter of the query.
type param struct{ name, says string }

// file is the out of a route that gives bytes.
type file struct{}

// call is one request.
type call struct {
	*http.Request
	w      http.ResponseWriter
	own    string // whose jobs it makes
	tenant string // whose jobs it is about; "": all
}

// Options are what the API shows.
type Options struct {
	Version string
	Access  Access
	Jobs    Jobs
	Streams Streams // nil: there is nothing about streams
}

// New makes the API.
func New(o Options) *API {
	a := &API{mux: http.NewServeMux(), access: o.Access, version: o.Version}
	a.routes = append(a.routes, (&jobs{o.Jobs}).routes()...)
	if o.Streams != nil {
		a.routes = append(a.routes, (&streams{o.Streams}).routes()...)
	}
	a.routes = append(a.routes, route{method: "GET", path: "/api/v1/openapi.json", id: "openapi", says: "this API as an OpenAPI document", out: map[string]any{},
		serve: func(*call) (any, error) { return a.OpenAPI(), nil }})
	for i := range a.routes {
		r := &a.routes[i]
		a.mux.HandleFunc(r.method+" "+r.path, a.handler(r))
	}
	a.mux.HandleFunc("/api/v1/", a.nothing)
	return a
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

func (a *API) handler(r *route) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		own, scope, refused := a.access.May(credential(req.Header), r.change)
		if refused != nil {
			Fail(w, refused)
			return
		}
		out, err := r.serve(&call{Request: req, w: w, own: own, tenant: scope})
		switch {
		case errors.Is(err, errSent):
		case err != nil:
			Fail(w, serval.AsError(err))
		case r.out == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			status := r.status
			if c, ok := out.(created); ok {
				if out = c.value; !c.fresh {
					status = http.StatusOK
				}
			}
			write(w, max(status, http.StatusOK), out)
		}
	}
}

// errSent says that a route has answered by itself.
var errSent = errors.New("sent")

// created is what a route gives that makes something; what was there already answers with 200.
type created struct {
	value any
	fresh bool
}

// nothing answers a path that there is not, or not with that method.
func (a *API) nothing(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
		other := *r
		other.Method = method
		if _, pattern := a.mux.Handler(&other); pattern != "/api/v1/" && method != r.Method {
			allowed = append(allowed, method)
		}
	}
	e := serval.Errorf(serval.NotFound, "there is no %s %.200s; GET /api/v1/openapi.json lists what there is", r.Method, r.URL.Path)
	if len(allowed) > 0 {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		e.Message = r.URL.Path + " does not take " + r.Method + ", but " + strings.Join(allowed, ", ")
		write(w, http.StatusMethodNotAllowed, Error{Error: detail(e)})
		return
	}
	Fail(w, e)
}

// Error is how every refusal is written.
type Error struct {
	Error Detail `json:"error"`
}

// Detail says what is wrong.
type Detail struct {
	Message string `json:"message" doc:"what is wrong and how to mend it"`
	Code    string `json:"code" doc:"its class: invalid_argument, not_found, conflict, …"`
	Param   string `json:"param,omitempty" doc:"the field at fault"`
	Reason  string `json:"reason,omitempty" doc:"a word that programs tell it by"`
}

func detail(e *serval.Error) Detail {
	return Detail{Message: strings.ToValidUTF8(e.Message, "?"), Code: e.Code.String(), Param: e.Param, Reason: e.Reason}
}

// Fail writes an error.
func Fail(w http.ResponseWriter, e *serval.Error) {
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int(e.RetryAfter.Seconds()+0.999))))
	}
	if e.Code == serval.Unauthenticated {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	write(w, e.Code.HTTPStatus(), Error{Error: detail(e)})
}

func write(w http.ResponseWriter, status int, v any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		status, b = http.StatusInternalServerError, bytes.Buffer{}
		b.WriteString(`{"error":{"message":"the answer cannot be written as JSON","code":"internal"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // a client that left
}

// maxBody bounds a request.
const maxBody = 1 << 20

// text reads a request's body as it is.
func (c *call) text() ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(c.Body, maxBody+1))
	if err != nil {
		return nil, serval.Errorf(serval.Canceled, "the body could not be read: %w", err)
	}
	if len(raw) > maxBody {
		return nil, serval.Errorf(serval.TooLarge, "the body has more than %d bytes", maxBody)
	}
	return raw, nil
}

// body reads a request's body, strictly.
func (c *call) body(into any) error {
	if t := c.Header.Get("Content-Type"); t != "" && !strings.HasPrefix(t, "application/json") {
		return serval.Errorf(serval.InvalidArgument, "the body must be application/json, not %.100q", t)
	}
	raw, err := c.text()
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return serval.Errorf(serval.InvalidArgument, "the body cannot be read: %v", err)
	}
	if d.More() {
		return serval.Errorf(serval.InvalidArgument, "there is more behind the body's JSON object")
	}
	return nil
}

// yes reads a parameter of the query that is true or false; false where it is not given.
func (c *call) yes(name string) (bool, error) {
	text := c.URL.Query().Get(name)
	if text == "" {
		return false, nil
	}
	on, err := strconv.ParseBool(text)
	if err != nil {
		return false, serval.Errorf(serval.InvalidArgument, "%s must be true or false, not %.50q", name, text).At(name)
	}
	return on, nil
}

// number reads a parameter of the query; 0 where it is not given.
func (c *call) number(name string) (int64, error) {
	text := c.URL.Query().Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, serval.Errorf(serval.InvalidArgument, "%s must be a whole number, not %.50q", name, text).At(name)
	}
	return n, nil
}

// credential reads the caller's key, as protocol.Credential does.
func credential(h http.Header) string {
	const bearer = "bearer "
	if a := h.Get("Authorization"); len(a) > len(bearer) && strings.EqualFold(a[:len(bearer)], bearer) {
		return a[len(bearer):]
	}
	if k := h.Get("X-Api-Key"); k != "" {
		return k
	}
	return h.Get("Api-Key")
}
