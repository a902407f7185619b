package oip

import (
	"net/http"
	"strings"

	"serval"
	"serval/protocol"
)

// serveIndex lists every version of every model with its state.
func (p *Protocol) serveIndex(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Ready bool `json:"ready"`
	}
	if err := p.readObject(r, &body); err != nil {
		protocol.FailText(w, r, serval.AsError(err))
		return
	}
	type entry struct {
		Name    string       `json:"name"`
		Version string       `json:"version"`
		State   serval.State `json:"state"`
		Reason  string       `json:"reason"`
	}
	list := []entry{}
	for _, info := range p.backend.Models.List() {
		if !body.Ready || info.State == serval.StateReady {
			list = append(list, entry{info.Name, info.Version, info.State, info.Reason})
		}
	}
	p.answer(w, r, http.StatusOK, list)
}

// serveLoad loads a model, or loads it anew. The parameter config is a model configuration as JSON text, which replaces
// the model's settings.
func (p *Protocol) serveLoad(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Parameters map[string]any `json:"parameters"`
	}
	err := p.readObject(r, &body)
	if err == nil {
		var override *serval.ModelSettings
		if override, err = loadSettings(r.PathValue("model"), body.Parameters); err == nil {
			err = p.backend.Control.Load(r.Context(), r.PathValue("model"), override)
		}
	}
	p.done(w, r, err)
}

// loadSettings reads the parameters of a load request: config, and files, which are refused.
func loadSettings(model string, parameters map[string]any) (*serval.ModelSettings, error) {
	var override *serval.ModelSettings
	for name, v := range parameters {
		if strings.HasPrefix(name, "file:") {
			return nil, errFileOverride(name)
		}
		text, ok := v.(string)
		if name != "config" {
			return nil, serval.Errorf(serval.InvalidArgument, "parameter '%s' is not known to load; it takes 'config'", name).At(name)
		}
		if !ok {
			return nil, serval.Errorf(serval.InvalidArgument, "parameter 'config' must be a string that holds the model configuration as JSON").At(name)
		}
		var err error
		if override, err = configOverride(model, text); err != nil {
			return nil, err
		}
	}
	return override, nil
}

// serveUnload drains and unloads a model. Nothing depends on a model here, so unload_dependents changes nothing.
func (p *Protocol) serveUnload(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Parameters struct {
			UnloadDependents bool `json:"unload_dependents"`
		} `json:"parameters"`
	}
	err := p.readObject(r, &body)
	if err == nil {
		err = p.backend.Control.Unload(r.Context(), r.PathValue("model"))
	}
	p.done(w, r, err)
}

// done answers a control request: an empty 200, or the error.
func (p *Protocol) done(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		protocol.FailText(w, r, serval.AsError(err))
		return
	}
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusOK)
}
