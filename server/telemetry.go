package server

import (
	"net/http"
	"net/http/pprof"

	"serval"
	"serval/config"
	"serval/protocol"
	"serval/registry"
)

// telemetrySet is what watches the requests.
type telemetrySet struct{}

func newTelemetry(cfg *config.Config, models *registry.Registry, opt Options) (*telemetrySet, error) {
	return &telemetrySet{}, nil
}

func (t *telemetrySet) Done(req *serval.Request, err *serval.Error) {}
func (t *telemetrySet) logging() protocol.Settings                  { return nil }
func (t *telemetrySet) tracing() protocol.Settings                  { return nil }
func (t *telemetrySet) close()                                      {}

// adminRoutes are profiles and metrics, for the loopback listener.
func (s *Server) adminRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
