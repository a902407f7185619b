package triton

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"serval/wire/inference"
)

// OwnPrefix begins the names of the parameters that Serval shows beside a model's own.
const OwnPrefix = "serval_"

// parameters reads those that Triton's backends know. The others are the user's own: they are kept and shown, and given to
// the engine only if it has an option of that name (see Parameters).
func (r *reader) parameters() {
	switch r.s.Engine {
	case treeEngine:
		r.tree()
		return
	case onnxEngine, "":
	default:
		return
	}
	for _, name := range slices.Sorted(maps.Keys(r.c.Parameters)) {
		r.onnxParameter(name, r.c.Parameters[name].GetStringValue())
	}
	switch level := r.c.Optimization.GetGraph().GetLevel(); level {
	case 0:
	case -1:
		r.option("graph_optimization", "basic")
	case 1:
		r.option("graph_optimization", "extended")
	case 2:
		r.option("graph_optimization", "off")
	default:
		r.note("optimization.graph.level", "%d is none of -1, 0, 1 and 2, so the graph is optimised as by default", level)
	}
}

// onnxParameter translates one of the onnxruntime backend's.
func (r *reader) onnxParameter(name, v string) {
	switch name {
	case "intra_op_thread_count":
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 || n > maxCopies {
			r.fail("parameters."+name, "%q must be a number of threads, 0 for as many as fit", v)
			return
		}
		r.s.Threads = n
	case "execution_mode":
		if v == "1" {
			r.note("parameters."+name, "operators run one after another here; more instances or threads use the cores")
		}
	case "enable_mem_arena":
		r.onOff("arena", name, v)
	case "enable_mem_pattern":
		r.onOff("memory_pattern", name, v)
	case "session.use_device_allocator_for_initializers":
		r.option(name, v)
	case "cudnn_conv_algo_search":
		r.provider("cudnn_conv_algo_search", name, v, "EXHAUSTIVE", "HEURISTIC", "DEFAULT")
	case "arena_extend_strategy":
		r.provider("arena_extend_strategy", name, v, "kNextPowerOfTwo", "kSameAsRequested")
	case "gpu_mem_limit", "do_copy_in_default_stream":
		if r.onGPU() {
			r.option("provider."+name, v)
		}
	}
}

func (r *reader) onOff(option, name, v string) {
	switch strings.ToLower(v) {
	case "1", "true":
		r.option(option, "on")
	case "0", "false":
		r.option(option, "off")
	default:
		r.fail("parameters."+name, "%q must be 0 or 1", v)
	}
}

// provider sets an option of the GPU's execution provider whose values Triton numbers.
func (r *reader) provider(option, name, v string, words ...string) {
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 || n >= len(words) {
		r.fail("parameters."+name, "%q must be 0 to %d", v, len(words)-1)
		return
	}
	if r.onGPU() { // as at Triton, it is for instances on a GPU
		r.option("provider."+option, words[n])
	}
}

// operations reads the libraries of custom operators.
func (r *reader) operations() {
	list := r.c.ModelOperations.GetOpLibraryFilename()
	switch {
	case len(list) == 0:
	case len(list) > 1:
		r.fail("model_operations.op_library_filename", "names %d libraries; one can be loaded: link them together", len(list))
	case r.s.Engine != "" && r.s.Engine != onnxEngine:
		r.fail("model_operations.op_library_filename", "only onnxruntime has custom operators")
	default:
		r.option("custom_ops", list[0])
	}
}

// Parameters are the parameters of a declared configuration (serval.ModelSettings.Declared) that are not Serval's own; nil
// where nothing is declared.
func Parameters(declared []byte) map[string]string {
	var c inference.ModelConfig
	if len(declared) == 0 || proto.Unmarshal(declared, &c) != nil {
		return nil
	}
	out := map[string]string{}
	for name, v := range c.Parameters {
		if !strings.HasPrefix(name, OwnPrefix) {
			out[name] = v.GetStringValue()
		}
	}
	return out
}
