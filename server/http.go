package server

import (
	"encoding/json"
	"net/http"
	"strings"

	"serval/gateway"
	"serval/protocol"
)

// mount puts the routes of all protocols on one mux, each behind the check that its Access asks for.
func (s *Server) mount(protocols []protocol.Protocol) http.Handler {
	mux := http.NewServeMux()
	for _, p := range protocols {
		for _, r := range p.Routes() {
			mux.HandleFunc(r.Pattern, s.guard(r))
		}
	}
	mux.HandleFunc("/", notFound(mux))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.draining.Load() {
			w.Header().Set("Connection", "close") // the client opens its next connection elsewhere
		}
		mux.ServeHTTP(w, r)
	})
}

// guard checks what the chain does not: Infer routes carry their credential to the gateway themselves.
func (s *Server) guard(r protocol.Route) http.HandlerFunc {
	need, checked := accessOf(r.Access)
	if !checked {
		return r.Serve
	}
	return func(w http.ResponseWriter, req *http.Request) {
		if err := s.gate.Authorize(protocol.Credential(req.Header), need); err != nil {
			r.Fail(w, req, err)
			return
		}
		r.Serve(w, req)
	}
}

// notFound answers a path that no protocol has, or not with that method. Every dialect mounted so far writes errors as
// {"error": text}.
func notFound(mux *http.ServeMux) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path
		if len(path) > 200 {
			path = path[:200] + "…"
		}
		what, status := "no route "+r.Method+" "+path+"; the Open Inference Protocol is under /v2, KServe's under /v1/models", http.StatusNotFound
		if allowed := methodsOf(mux, r); allowed != "" {
			w.Header().Set("Allow", allowed)
			what, status = path+" does not take "+r.Method+", but "+allowed, http.StatusMethodNotAllowed
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": strings.ToValidUTF8(what, "?")})
	}
}

// methodsOf lists the methods that the path of r takes.
func methodsOf(mux *http.ServeMux, r *http.Request) string {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		other := *r // the mux only reads it
		other.Method = method
		if _, pattern := mux.Handler(&other); pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	return strings.Join(allowed, ", ")
}

// accessOf is what a route needs of a key; false where the server itself checks nothing.
func accessOf(a protocol.Access) (gateway.Access, bool) {
	switch a {
	case protocol.Read:
		return gateway.Read, true
	case protocol.Control:
		return gateway.Control, true
	}
	return 0, false
}
