package oip

import (
	"net/http"

	"serval"
	"serval/protocol"
)

func (p *Protocol) serveTrace(w http.ResponseWriter, r *http.Request) {
	p.serveSettings(w, r, p.backend.Tracing, "trace settings cannot be changed here: the server traces as its configuration says (telemetry.traces)")
}

func (p *Protocol) serveLogging(w http.ResponseWriter, r *http.Request) {
	p.serveSettings(w, r, p.backend.Logging, "log settings cannot be changed here: the server logs as its configuration says")
}

// serveSettings reads or changes settings, for a model where the path names one.
func (p *Protocol) serveSettings(w http.ResponseWriter, r *http.Request, s protocol.Settings, none string) {
	if s == nil {
		protocol.FailText(w, r, serval.Errorf(serval.Unimplemented, "%s", none))
		return
	}
	model := r.PathValue("model")
	if model != "" {
		if _, err := p.info(r); err != nil {
			protocol.FailText(w, r, serval.AsError(err))
			return
		}
	}
	if r.Method != http.MethodPost {
		p.answer(w, r, http.StatusOK, s.Get(model))
		return
	}
	values := map[string]any{}
	err := p.readObject(r, &values)
	if err == nil {
		values, err = s.Set(model, values)
	}
	if err != nil {
		protocol.FailText(w, r, serval.AsError(err))
		return
	}
	p.answer(w, r, http.StatusOK, values)
}

// serveRegions lists the registered regions, or the one that the path names.
func (p *Protocol) serveRegions(w http.ResponseWriter, r *http.Request) {
	list, err := p.shm.status(r.PathValue("region"))
	if err != nil {
		protocol.FailText(w, r, serval.AsError(err))
		return
	}
	p.answer(w, r, http.StatusOK, list)
}

func (p *Protocol) serveRegister(w http.ResponseWriter, r *http.Request) {
	if p.opt.DisableSharedMemory {
		protocol.FailText(w, r, serval.Errorf(serval.Unimplemented, "shared memory is switched off on this server; send the tensors in the request"))
		return
	}
	var body struct {
		Key    string `json:"key"`
		Offset uint64 `json:"offset"`
		Size   uint64 `json:"byte_size"`
	}
	err := p.readObject(r, &body)
	if err == nil {
		err = p.shm.register(r.PathValue("region"), body.Key, body.Offset, body.Size)
	}
	p.done(w, r, err)
}

func (p *Protocol) serveUnregister(w http.ResponseWriter, r *http.Request) {
	p.shm.unregister(r.PathValue("region"))
	p.done(w, r, nil)
}

// serveCuda refuses CUDA shared memory. Clients ask for the status, and unregister everything, before they use anything
// else, so with nothing registered both are true and done.
func (p *Protocol) serveCuda(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.PathValue("region") == "" && r.Method == http.MethodGet:
		p.answer(w, r, http.StatusOK, []regionStatus{})
	case r.PathValue("region") == "":
		p.done(w, r, nil)
	default:
		protocol.FailText(w, r, serval.Errorf(serval.Unimplemented, "CUDA shared memory is not built in; send the tensors in the request, or through system shared memory"))
	}
}
