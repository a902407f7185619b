package oip

import (
	"net/http"

	"serval"
	"serval/protocol"
)

// serveLive says that the process answers. Triton's clients look at the status, KServe's at the body.
func (p *Protocol) serveLive(w http.ResponseWriter, r *http.Request) {
	p.answer(w, r, http.StatusOK, map[string]bool{"live": true})
}

func (p *Protocol) serveReady(w http.ResponseWriter, r *http.Request) {
	ready := p.backend.Models.Ready() && (p.backend.Draining == nil || !p.backend.Draining())
	status := http.StatusOK
	if !ready {
		status = http.StatusServiceUnavailable
	}
	p.answer(w, r, status, map[string]bool{"ready": ready})
}

func (p *Protocol) serveMetadata(w http.ResponseWriter, r *http.Request) {
	p.answer(w, r, http.StatusOK, struct {
		Name       string   `json:"name"`
		Version    string   `json:"version"`
		Extensions []string `json:"extensions"`
	}{serverName, p.backend.Version, p.extensions()})
}

// serveModels is KServe's list: the names of the models.
func (p *Protocol) serveModels(w http.ResponseWriter, r *http.Request) {
	names := []string{}
	for _, info := range p.backend.Models.List() {
		if len(names) == 0 || names[len(names)-1] != info.Name {
			names = append(names, info.Name)
		}
	}
	p.answer(w, r, http.StatusOK, map[string][]string{"models": names})
}

// info is the model that the path names.
func (p *Protocol) info(r *http.Request) (serval.ModelInfo, error) {
	ref, err := modelRef(r.PathValue("model"), r.PathValue("version"))
	if err != nil {
		return serval.ModelInfo{}, err
	}
	return p.backend.Models.Model(ref)
}

type tensorMeta struct {
	Name     string  `json:"name"`
	Datatype string  `json:"datatype"`
	Shape    []int64 `json:"shape"`
}

func tensorMetas(list []serval.TensorInfo) []tensorMeta {
	out := make([]tensorMeta, len(list))
	for i := range list {
		shape := list[i].Shape
		if shape == nil { // any rank: the protocol has no word for it
			shape = []int64{-1}
		}
		out[i] = tensorMeta{list[i].Name, list[i].DType.String(), shape}
	}
	return out
}

func (p *Protocol) serveModel(w http.ResponseWriter, r *http.Request) {
	info, err := p.info(r)
	if err != nil {
		protocol.FailText(w, r, serval.AsError(err))
		return
	}
	versions := info.Versions
	if versions == nil {
		versions = []string{}
	}
	p.answer(w, r, http.StatusOK, struct {
		Name     string       `json:"name"`
		Versions []string     `json:"versions"`
		Platform string       `json:"platform"`
		Inputs   []tensorMeta `json:"inputs"`
		Outputs  []tensorMeta `json:"outputs"`
	}{info.Name, versions, info.Platform, tensorMetas(info.Signature.Inputs), tensorMetas(info.Signature.Outputs)})
}

// serveModelReady answers 200 or 503, as KServe does; Triton's clients take anything but 200 as not ready.
func (p *Protocol) serveModelReady(w http.ResponseWriter, r *http.Request) {
	info, err := p.info(r)
	if err != nil {
		protocol.FailText(w, r, serval.AsError(err))
		return
	}
	status := http.StatusOK
	if info.State != serval.StateReady {
		status = http.StatusServiceUnavailable
	}
	p.answer(w, r, status, struct {
		Name  string `json:"name"`
		Ready bool   `json:"ready"`
	}{info.Name, status == http.StatusOK})
}
