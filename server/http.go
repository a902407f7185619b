package server

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"

	"serval"
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
		if why := s.foreign(r); why != "" {
			refuse(w, http.StatusForbidden, why)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// foreign says why a request is none of this server's clients': a web page that a browser shows may reach a server on its
// own machine, by a request across sites or by a name that it makes point here. Where keys are asked for, no page has one.
func (s *Server) foreign(r *http.Request) string {
	if len(s.cfg.Keys) > 0 {
		return ""
	}
	if err := s.crossOrigin.Check(r); err != nil {
		return "this request comes from a web page of another site; configure keys to let browsers in"
	}
	if s.loopback && !localHost(r.Host) {
		return "the host name of this request is not this machine's; call it as 127.0.0.1 or localhost, or configure keys"
	}
	return ""
}

// localHost says whether a Host header names this machine.
func localHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if host == "localhost" || host == "" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// refuse answers with {"error": text}, the dialect of every protocol mounted so far.
func refuse(w http.ResponseWriter, status int, why string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": strings.ToValidUTF8(why, "?")})
}

// guard checks the key before the protocol reads anything; who may call a route of the chain, the chain checks once more.
func (s *Server) guard(r protocol.Route) http.HandlerFunc {
	need, checked := accessOf(r.Access)
	return func(w http.ResponseWriter, req *http.Request) {
		defer s.caught(w, req, r.Fail)
		if !checked {
			r.Serve(w, req)
			return
		}
		if err := s.gate.Authorize(protocol.Credential(req.Header), need); err != nil {
			r.Fail(w, req, err)
			return
		}
		r.Serve(w, req)
	}
}

// caught turns a panic of a protocol into an error of its dialect; the stack is in the log. An answer that was begun can only
// be cut.
func (s *Server) caught(w http.ResponseWriter, req *http.Request, fail protocol.Fail) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v)
	}
	s.log.Error("a protocol panicked", "path", req.URL.Path, "panic", v, "stack", string(debug.Stack()))
	defer func() {
		if recover() != nil {
			panic(http.ErrAbortHandler)
		}
	}()
	fail(w, req, serval.Errorf(serval.Internal, "internal error; the server's log has the cause"))
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
		refuse(w, status, what)
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
	case protocol.Infer:
		return gateway.Infer, true
	case protocol.Read:
		return gateway.Read, true
	case protocol.Control:
		return gateway.Control, true
	}
	return 0, false
}
