package ollama

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"time"

	"serval"
)

// tag is a model as /api/tags and /api/ps list it.
type tag struct {
	Name       string  `json:"name"`
	Model      string  `json:"model"`
	ModifiedAt string  `json:"modified_at"`
	Size       int64   `json:"size"`
	Digest     string  `json:"digest"`
	Details    details `json:"details"`
	ExpiresAt  string  `json:"expires_at,omitempty"`
	VRAM       *int64  `json:"size_vram,omitempty"`
	Context    int     `json:"context_length,omitempty"`
}

type details struct {
	Parent       string   `json:"parent_model"`
	Format       string   `json:"format"`
	Family       string   `json:"family"`
	Families     []string `json:"families"`
	Parameters   string   `json:"parameter_size"`
	Quantization string   `json:"quantization_level"`
}

func tagOf(info *serval.ModelInfo) tag {
	sum := sha256.Sum256([]byte(info.Path + info.Version))
	return tag{
		Name: info.Name, Model: info.Name, ModifiedAt: info.Loaded.UTC().Format(time.RFC3339Nano), Size: info.Memory, Digest: hex.EncodeToString(sum[:]),
		Details: details{Format: "gguf", Family: info.Engine, Families: []string{info.Engine}},
	}
}

// texts are the models of text that are ready, each once.
func (p *Protocol) texts() []serval.ModelInfo {
	var out []serval.ModelInfo
	for _, info := range p.backend.Models.List() {
		if info.Language != nil && info.State == serval.StateReady && (len(out) == 0 || out[len(out)-1].Name != info.Name) {
			out = append(out, info)
		}
	}
	return out
}

// tags is GET /api/tags.
func (p *Protocol) tags(w http.ResponseWriter, _ *http.Request) error {
	list := []tag{}
	for _, info := range p.texts() {
		list = append(list, tagOf(&info))
	}
	return write(w, map[string]any{"models": list})
}

// ps is GET /api/ps: what is loaded, and here that is all.
func (p *Protocol) ps(w http.ResponseWriter, _ *http.Request) error {
	list := []tag{}
	for _, info := range p.texts() {
		t, none := tagOf(&info), int64(0)
		t.ExpiresAt, t.VRAM, t.Context = "2318-01-01T00:00:00Z", &none, info.Language.Context // it stays
		list = append(list, t)
	}
	return write(w, map[string]any{"models": list})
}

// show is POST /api/show.
func (p *Protocol) show(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Model string `json:"model"`
		Name  string `json:"name"`
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
	info, err := p.backend.Models.Model(ref)
	if err != nil {
		return err
	}
	if info.Language == nil {
		return serval.Errorf(serval.InvalidArgument, "model '%s' is no model of text", info.Name).At("model")
	}
	capabilities := []string{}
	if info.Language.Generate {
		capabilities = append(capabilities, "completion", "tools")
	}
	if info.Language.Embed {
		capabilities = append(capabilities, "embedding")
	}
	t := tagOf(&info)
	return write(w, map[string]any{
		"modelfile": "", "parameters": "", "template": "", "details": t.Details, "modified_at": t.ModifiedAt, "capabilities": capabilities,
		"model_info": map[string]any{"general.architecture": "serval", "serval.context_length": info.Language.Context, "serval.embedding_length": info.Language.Width},
	})
}
