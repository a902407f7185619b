package kserve

import (
	"net/http"
	"strings"

	"google.golang.org/grpc"

	"serval"
	"serval/protocol"
)

// Protocol is KServe's v1. It is safe for concurrent use.
type Protocol struct {
	backend protocol.Backend
	bodies  protocol.Bodies
}

var _ protocol.Protocol = (*Protocol)(nil)

// New makes the protocol. The Backend's Handler and Models must be set.
func New(backend protocol.Backend) *Protocol { return &Protocol{backend: backend} }

// Name is "kserve".
func (p *Protocol) Name() string { return "kserve" }

// Register does nothing: the protocol has no gRPC side.
func (p *Protocol) Register(grpc.ServiceRegistrar) {}

// Routes are the REST routes but those that other dialects share: package catalogue has them. A model's name may hold '/' and ':', so the path behind /v1/models/ is taken apart here.
func (p *Protocol) Routes() []protocol.Route {
	route := func(access protocol.Access, pattern string, serve http.HandlerFunc) protocol.Route {
		return protocol.Route{Pattern: pattern, Access: access, Serve: serve, Fail: protocol.FailText}
	}
	return []protocol.Route{
		route(protocol.Infer, "POST /v1/models/{call...}", p.serveCall),
	}
}

func (p *Protocol) info(name string) (serval.ModelInfo, error) {
	ref, err := serval.ParseRef(name)
	if err != nil {
		return serval.ModelInfo{}, err
	}
	return p.backend.Models.Model(ref)
}

// serveCall is POST /v1/models/{model}:{verb}.
func (p *Protocol) serveCall(w http.ResponseWriter, r *http.Request) {
	path := r.PathValue("call")
	model, verb := path, ""
	if i := strings.LastIndexByte(path, ':'); i >= 0 {
		model, verb = path[:i], path[i+1:]
	}
	var err error
	switch verb {
	case "predict":
		err = p.predict(w, r, model)
	case "explain":
		var info serval.ModelInfo
		if info, err = p.info(model); err == nil {
			err = serval.Errorf(serval.Unimplemented, "model '%s' has no explainer: this server does not explain predictions yet; call :predict", info.Name)
		}
	default:
		err = serval.Errorf(serval.NotFound, "there is no POST /v1/models/%s; call /v1/models/MODEL:predict", path)
	}
	if err != nil {
		protocol.FailText(w, r, serval.AsError(err))
	}
}
