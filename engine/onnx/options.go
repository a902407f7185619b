package onnx

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"serval"
	"serval/engine"
)

// Options are the operator's settings of the engine; the zero value is the default. A model's own settings stand under
// options: in its model.yaml (see modelOptions).
type Options struct {
	CustomOps         bool   `yaml:"custom_ops" doc:"let a model's options name a library of custom operators in its folder; it is native code that runs with the server's rights"`
	DisableArena      bool   `yaml:"disable_arena" doc:"give every temporary tensor back to the system at once: less memory, slower"`
	GraphOptimization string `yaml:"graph_optimization" doc:"how much ONNX Runtime rewrites graphs: all (default), layout, extended, basic, off"`
}

// The names that may stand under options: in a model.yaml, besides ONNX Runtime's own session settings.
const (
	optionArena          = "arena"              // on, off
	optionMemoryPattern  = "memory_pattern"     // on, off
	optionGraph          = "graph_optimization" // as Options.GraphOptimization
	optionCustomOps      = "custom_ops"         // a library in the model's folder
	optionProviderPrefix = "provider."          // a setting of the execution provider: provider.trt_fp16_enable
)

var graphLevels = map[string]uintptr{"": 99, "all": 99, "layout": 3, "extended": 2, "basic": 1, "off": 0}

// sessionSettings are the session settings of ONNX Runtime that a model may set: those that neither read nor write files
// nor undo what the scheduler decides (threads, spinning across instances is the user's own choice).
var sessionSettings = []string{
	"optimization.constant_folding_max_output_size_in_bytes",
	"optimization.disable_specified_optimizers",
	"optimization.enable_cast_chain_elimination",
	"optimization.enable_gelu_approximation",
	"session.allow_released_opsets_only",
	"session.disable_aot_function_inlining",
	"session.disable_cpu_ep_fallback",
	"session.disable_double_qdq_remover",
	"session.disable_prepacking",
	"session.disable_qdq_constant_folding",
	"session.disable_quant_qdq",
	"session.dynamic_block_base",
	"session.enable_dq_matmulnbits_fusion",
	"session.enable_quant_qdq_cleanup",
	"session.force_spinning_stop",
	"session.graph_optimizations_loop_level",
	"session.intra_op.allow_spinning",
	"session.qdq_matmulnbits_accuracy_level",
	"session.qdq_matmulnbits_block_size",
	"session.qdqisint8allowed",
	"session.set_denormal_as_zero",
	"session.strict_shape_type_inference",
	"session.use_device_allocator_for_initializers",
	"session.x64quantprecision",
}

// plan is how a session will be made.
type plan struct {
	threads   int
	arena     bool
	pattern   bool
	level     uintptr
	customOps string            // path, "" for none
	config    map[string]string // ONNX Runtime's session settings
	provider  map[string]string
	device    engine.Device
	profile   string // prefix of the profile's path, "" for none
}

// Knows says whether a model's options may hold that name.
func (e *Engine) Knows(option string) bool {
	switch option {
	case optionArena, optionMemoryPattern, optionGraph, optionCustomOps:
		return true
	}
	return strings.HasPrefix(option, optionProviderPrefix) || slices.Contains(sessionSettings, option)
}

// makePlan merges the operator's options and the model's.
func makePlan(o Options, spec engine.Spec) (plan, error) {
	p := plan{
		threads: max(spec.Threads, 1), arena: !o.DisableArena, pattern: true, device: spec.Device,
		config:   map[string]string{"session.intra_op.allow_spinning": "0", "session.inter_op.allow_spinning": "0", "session.use_device_allocator_for_initializers": "1"},
		provider: map[string]string{},
	}
	if spec.Profile != "" {
		p.profile = filepath.Join(spec.Profile, "onnx")
	}
	var ok bool
	if p.level, ok = graphLevels[o.GraphOptimization]; !ok {
		return plan{}, badOption("engines.onnx.graph_optimization", o.GraphOptimization, "all, layout, extended, basic or off")
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Settings.Options)) {
		v := spec.Settings.Options[name]
		at := "options." + name
		var err error
		switch {
		case name == optionArena:
			p.arena, err = onOff(at, v)
		case name == optionMemoryPattern:
			p.pattern, err = onOff(at, v)
		case name == optionGraph:
			if p.level, ok = graphLevels[v]; !ok {
				err = badOption(at, v, "all, layout, extended, basic or off")
			}
		case name == optionCustomOps:
			p.customOps, err = customOps(o, spec.Dir, v)
		case strings.HasPrefix(name, optionProviderPrefix):
			p.provider[strings.TrimPrefix(name, optionProviderPrefix)] = v
		case slices.Contains(sessionSettings, name):
			p.config[name] = v
		default:
			err = serval.Errorf(serval.InvalidArgument, "model '%s': the onnx engine has no option %q; it knows %s, %s, %s, %s, %s… and of ONNX Runtime's session settings: %s",
				spec.Name, name, optionArena, optionMemoryPattern, optionGraph, optionCustomOps, optionProviderPrefix, strings.Join(sessionSettings, ", ")).At(at)
		}
		if err != nil {
			return plan{}, err
		}
		if strings.ContainsRune(v, 0) {
			return plan{}, badOption(at, v, "text without a NUL")
		}
	}
	return p, nil
}

// customOps is the path of the operators' library, if the operator allows one and it stands in the model's folder.
func customOps(o Options, dir, name string) (string, error) {
	const at = "options." + optionCustomOps
	if !o.CustomOps {
		return "", serval.Errorf(serval.PermissionDenied, "the model wants the custom operators of %q, which are off: they are native code; set engines.onnx.custom_ops: true in serval.yaml to allow them", name).At(at)
	}
	if _, err := confined(dir, name); err != nil {
		return "", serval.Errorf(serval.InvalidArgument, "the library of custom operators %q %w", name, err).At(at)
	}
	return filepath.Join(dir, name), nil
}

func onOff(at, v string) (bool, error) {
	switch v {
	case "on", "true", "1":
		return true, nil
	case "off", "false", "0":
		return false, nil
	}
	return false, badOption(at, v, "on or off")
}

func badOption(at, v, want string) error {
	return serval.Errorf(serval.InvalidArgument, "%s is %q; it must be %s", at, v, want).At(at)
}

// options makes the OrtSessionOptions of a plan; the caller releases them.
func (l *library) options(p plan) (options uintptr, err error) {
	if err := l.call(fnCreateSessionOptions, uintptr(unsafe.Pointer(&options))); err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			l.release(fnReleaseSessionOptions, options)
		}
	}()
	const sequential, fatal = 0, 4
	prefix := cString(p.profile)
	steps := []struct {
		f    function
		args []uintptr
		on   bool
	}{
		{fnSetSessionExecutionMode, []uintptr{options, sequential}, true},
		{fnSetIntraOpNumThreads, []uintptr{options, uintptr(p.threads)}, true},
		{fnSetInterOpNumThreads, []uintptr{options, 1}, true},
		{fnSetSessionGraphOptimizationLevel, []uintptr{options, p.level}, true},
		{fnSetSessionLogSeverityLevel, []uintptr{options, fatal}, true},
		{fnDisableCpuMemArena, []uintptr{options}, !p.arena},
		{fnDisableMemPattern, []uintptr{options}, !p.pattern},
		{fnEnableProfiling, []uintptr{options, uintptr(unsafe.Pointer(&prefix[0]))}, p.profile != ""},
	}
	for _, s := range steps {
		if !s.on {
			continue
		}
		if err := l.call(s.f, s.args...); err != nil {
			return 0, fmt.Errorf("session options: %w", err)
		}
	}
	for name, v := range p.config {
		key, text := cString(name), cString(v)
		if err := l.call(fnAddSessionConfigEntry, options, uintptr(unsafe.Pointer(&key[0])), uintptr(unsafe.Pointer(&text[0]))); err != nil {
			return 0, badOption("options."+name, v, "what ONNX Runtime allows: "+err.Error())
		}
	}
	if p.customOps != "" {
		path := cString(p.customOps)
		if err := l.call(fnRegisterCustomOpsLibraryV2, options, uintptr(unsafe.Pointer(&path[0]))); err != nil {
			return 0, serval.Errorf(serval.InvalidArgument, "the library of custom operators: %w", err).At("options." + optionCustomOps)
		}
	}
	return options, l.useDevice(options, p)
}
