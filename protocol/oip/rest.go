package oip

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"serval"
	"serval/protocol"
)

// Routes are the REST routes: Triton's, with KServe's list of models.
func (p *Protocol) Routes() []protocol.Route {
	var routes []protocol.Route
	add := func(access protocol.Access, method string, serve http.HandlerFunc, paths ...string) {
		for _, path := range paths {
			routes = append(routes, protocol.Route{Pattern: method + " " + path, Access: access, Serve: serve, Fail: protocol.FailText})
		}
	}
	// model gives a path with and without a version.
	model := func(tail string) []string {
		return []string{"/v2/models/{model}" + tail, "/v2/models/{model}/versions/{version}" + tail}
	}
	add(protocol.Public, "GET", p.serveLive, "/v2/health/live")
	add(protocol.Public, "GET", p.serveReady, "/v2/health/ready")

	add(protocol.Infer, "POST", p.serveInfer, model("/infer")...)
	add(protocol.Infer, "POST", func(w http.ResponseWriter, r *http.Request) { p.serveGenerate(w, r, false) }, model("/generate")...)
	add(protocol.Infer, "POST", func(w http.ResponseWriter, r *http.Request) { p.serveGenerate(w, r, true) }, model("/generate_stream")...)

	add(protocol.Read, "GET", p.serveMetadata, "/v2")
	add(protocol.Read, "GET", p.serveModels, "/v2/models")
	add(protocol.Read, "GET", p.serveModel, model("")...)
	add(protocol.Read, "GET", p.serveModelReady, model("/ready")...)
	add(protocol.Read, "GET", p.serveConfig, model("/config")...)
	add(protocol.Read, "GET", p.serveStatistics, "/v2/models/stats")
	add(protocol.Read, "GET", p.serveStatistics, model("/stats")...)

	add(protocol.Read, "POST", p.serveIndex, "/v2/repository/index", "/v2/repository/{repository}/index")
	add(protocol.Control, "POST", p.serveLoad, "/v2/repository/models/{model}/load", "/v2/repository/{repository}/models/{model}/load")
	add(protocol.Control, "POST", p.serveUnload, "/v2/repository/models/{model}/unload", "/v2/repository/{repository}/models/{model}/unload")

	add(protocol.Read, "GET", p.serveRegions, "/v2/systemsharedmemory/status", "/v2/systemsharedmemory/region/{region}/status")
	add(protocol.Control, "POST", p.serveRegister, "/v2/systemsharedmemory/region/{region}/register")
	add(protocol.Control, "POST", p.serveUnregister, "/v2/systemsharedmemory/unregister", "/v2/systemsharedmemory/region/{region}/unregister")
	add(protocol.Read, "GET", p.serveCuda, "/v2/cudasharedmemory/status", "/v2/cudasharedmemory/region/{region}/status")
	add(protocol.Control, "POST", p.serveCuda, "/v2/cudasharedmemory/unregister", "/v2/cudasharedmemory/region/{region}/unregister",
		"/v2/cudasharedmemory/region/{region}/register")

	add(protocol.Read, "GET", p.serveTrace, "/v2/trace/setting", "/v2/models/{model}/trace/setting")
	add(protocol.Control, "POST", p.serveTrace, "/v2/trace/setting", "/v2/models/{model}/trace/setting")
	add(protocol.Read, "GET", p.serveLogging, "/v2/logging")
	add(protocol.Control, "POST", p.serveLogging, "/v2/logging")
	return routes
}

// answer writes v as JSON.
func (p *Protocol) answer(w http.ResponseWriter, r *http.Request, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		protocol.FailText(w, r, serval.AsError(err))
		return
	}
	protocol.WriteJSON(w, status, body)
}

// controlBody is the most that the body of a control request may have; an infer request has the server's own limit.
const controlBody = 4 << 20

// readObject reads a control request's JSON object into v, strictly; an empty body leaves v as it is.
func (p *Protocol) readObject(r *http.Request, v any) error {
	body, err := p.bodies.Read(nil, r, controlBody)
	if err != nil {
		return err
	}
	if len(strings.TrimSpace(string(body))) == 0 {
		return nil
	}
	if err := json.Unmarshal(body, v); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) && wrong.Field != "" {
			return serval.Errorf(serval.InvalidArgument, "the request's %q must not be a %s", wrong.Field, wrong.Value).At(wrong.Field)
		}
		return serval.Errorf(serval.InvalidArgument, "the request's body is not the JSON object that is expected: %v", err)
	}
	return nil
}
