package server

import (
	"net/http"
	"net/http/pprof"

	"serval/config"
	"serval/telemetry"
)

// OpenLog opens the log that the configuration describes. Server.Stop does not close it: the caller has the last word.
func OpenLog(l config.Log) (*telemetry.Log, error) {
	return telemetry.OpenLog(telemetry.LogOptions{Level: l.Level, Format: l.Format, Access: l.Access, File: l.File})
}

// watchOptions is telemetry's part of the configuration.
func (s *Server) watchOptions(opt Options) telemetry.Options {
	t := opt.Config.Traces
	return telemetry.Options{
		Version: opt.Version, Models: s.models, Log: opt.Log,
		InFlight: func() int64 { return s.gate.InFlight() },
		Traces:   telemetry.TraceOptions{Endpoint: t.Endpoint, Protocol: t.Protocol, Sample: t.Sample, Headers: t.Headers, Insecure: t.Insecure},
	}
}

// adminRoutes are metrics, profiles and the control API, for the loopback listener.
func (s *Server) adminRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.watch.Metrics())
	mux.Handle("/api/v1/", s.control())
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	local := onLoopback(s.cfg.Admin)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if local && !localHost(r.Host) {
			refuse(w, http.StatusForbidden, "the host name of this request is not this machine's; call it as 127.0.0.1 or localhost")
			return
		}
		mux.ServeHTTP(w, r)
	})
}
