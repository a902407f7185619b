package triton

import (
	"path/filepath"
	"slices"
	"strings"
)

// Triton's backends that Serval serves, and by which engine.
const (
	onnxBackend = "onnxruntime"
	treeBackend = "fil"
	onnxEngine  = "onnx"
	treeEngine  = "tree"
)

// onnxPlatform is the platform of the onnxruntime backend.
const onnxPlatform = "onnxruntime_onnx"

// backends are the platforms and default file names of the backends that Triton itself knows.
var backends = []struct {
	name      string
	platforms []string
	files     []string
	later     string // why it is refused: what serves such models, or will
}{
	{onnxBackend, []string{onnxPlatform}, []string{"model.onnx"}, ""},
	{treeBackend, nil, nil, ""},
	{"tensorrt", []string{"tensorrt_plan"}, []string{"model.plan"}, "serve the ONNX file that the plan was made from, with device: tensorrt"},
	{"tensorflow", []string{"tensorflow_savedmodel", "tensorflow_graphdef"}, []string{"model.savedmodel", "model.graphdef"}, "the openvino engine of a later version reads such models; until then convert it to ONNX"},
	{"openvino", nil, []string{"model.xml"}, "the openvino engine comes with a later version; until then convert it to ONNX"},
	{"pytorch", []string{"pytorch_libtorch", "torch_aoti"}, []string{"model.pt", "model.pt2"}, "the python engine of a later version loads TorchScript; until then export it to ONNX"},
	{"python", nil, []string{"model.py"}, "the python engine comes with a later version"},
	{"vllm", nil, nil, "language models come with a later version"},
	{"tensorrtllm", nil, nil, "language models come with a later version"},
	{"dali", nil, nil, "there are no plans for it: do that step in the client or in the model"},
}

// EngineOf is the engine that serves a backend's models, or the backend's own name: Serval's engines can be named, too.
func EngineOf(backend string) string {
	switch backend {
	case onnxBackend:
		return onnxEngine
	case treeBackend:
		return treeEngine
	}
	return backend
}

// BackendOf is what Triton calls the backend of an engine's models; an engine that is none of Triton's keeps its name.
func BackendOf(engine string) string {
	switch engine {
	case onnxEngine:
		return onnxBackend
	case treeEngine:
		return treeBackend
	}
	return engine
}

// backend reads platform, backend, runtime and the file's name.
func (r *reader) backend() {
	c := r.c
	if c.Platform == "ensemble" || c.GetEnsembleScheduling() != nil {
		if c.GetEnsembleScheduling() == nil {
			r.fail("platform", "is ensemble, but there is no ensemble_scheduling")
		}
		return // scheduling refuses it
	}
	name, field := c.Backend, "backend"
	if name == "" {
		if name = backendOfPlatform(c.Platform); name == "" && c.Platform != "" {
			r.fail("platform", "%q is not known; name the backend instead: %s", c.Platform, served())
			return
		}
		field = "platform"
	}
	if name == "" {
		name, field = backendOfFile(c.DefaultModelFilename), "default_model_filename"
	}
	for _, b := range backends {
		if b.name != name {
			continue
		}
		if c.Platform != "" && !slices.Contains(b.platforms, c.Platform) && len(b.platforms) > 0 {
			r.fail("platform", "%q does not go with backend %q; remove one of the two", c.Platform, name)
		}
		if b.later != "" {
			r.fail(field, "backend %s: engine not built in; served are %s; %s", name, served(), b.later)
			return
		}
	}
	r.s.Engine = EngineOf(name)
	if c.Runtime != "" && c.Runtime != "libtriton_"+name+".so" {
		r.fail("runtime", "%q: a backend's runtime cannot be chosen here; remove it", c.Runtime)
	}
	if len(c.CcModelFilenames) > 0 {
		r.note("cc_model_filenames", "the same file is loaded on every GPU: default_model_filename, or the one that is there")
	}
	if f := c.DefaultModelFilename; f != "" {
		if !filepath.IsLocal(f) {
			r.fail("default_model_filename", "%q must be a path inside the version folder", f)
		}
		r.s.File = f
	}
}

func backendOfPlatform(platform string) string {
	for _, b := range backends {
		if slices.Contains(b.platforms, platform) {
			return b.name
		}
	}
	return ""
}

func backendOfFile(file string) string {
	for _, b := range backends {
		if file != "" && slices.Contains(b.files, file) {
			return b.name
		}
	}
	if strings.EqualFold(filepath.Ext(file), ".onnx") {
		return onnxBackend
	}
	return ""
}

func served() string {
	return onnxBackend + " (engine " + onnxEngine + ") and " + treeBackend + " (engine " + treeEngine + ")"
}
