package triton

import (
	"fmt"
	"strconv"

	"serval/wire/inference"
)

// maxCopies is how many instances, and threads of each, a model may have.
const maxCopies = 1024

// instances reads instance_group: how many copies there are, and where. A model runs on one device here.
func (r *reader) instances() {
	count, devices, counted := 0, map[string]bool{}, len(r.c.InstanceGroup) > 1
	for i, g := range r.c.InstanceGroup {
		at := fmt.Sprintf("instance_group[%d]", i)
		if g.Passive {
			r.note(at, "is passive: such instances take no requests, so they are not made")
			continue
		}
		switch {
		case g.Count < 0 || g.Count > maxCopies:
			r.fail(at+".count", "must be 0 to %d, is %d", maxCopies, g.Count)
		case g.Count > 0:
			count, counted = count+int(g.Count), true
		default:
			count++
		}
		device := ""
		switch g.Kind {
		case inference.ModelInstanceGroup_KIND_CPU:
			device = "cpu"
			if len(g.Gpus) > 0 {
				r.fail(at+".gpus", "%v do not go with KIND_CPU", g.Gpus)
			}
		case inference.ModelInstanceGroup_KIND_GPU:
			device = "cuda"
			fallthrough
		case inference.ModelInstanceGroup_KIND_AUTO:
			if len(g.Gpus) > 1 {
				r.fail(at+".gpus", "a model runs on one device here, and these are %v; name one, and run a server for each of the others", g.Gpus)
			} else if len(g.Gpus) == 1 && device != "" && g.Gpus[0] > 0 {
				device += ":" + strconv.Itoa(int(g.Gpus[0]))
			}
		case inference.ModelInstanceGroup_KIND_MODEL: // the engine chooses
		default:
			r.fail(at+".kind", "%d is not known", g.Kind)
		}
		devices[device] = true
		r.groupExtras(at, g)
	}
	if len(devices) > 1 {
		r.fail("instance_group", "has groups on different devices; a model runs on one here: keep the groups of one kind")
		return
	}
	for d := range devices {
		r.s.Device = d
	}
	if counted {
		r.s.Instances = count
	}
}

func (r *reader) groupExtras(at string, g *inference.ModelInstanceGroup) {
	if len(g.Profile) > 0 {
		r.fail(at+".profile", "optimization profiles are TensorRT's; remove it")
	}
	if len(g.SecondaryDevices) > 0 {
		r.note(at+".secondary_devices", "are TensorRT's")
	}
	if g.HostPolicy != "" {
		r.note(at+".host_policy", "%q: pin the server's process instead (numactl, taskset, cpuset)", g.HostPolicy)
	}
	if l := g.RateLimiter; len(l.GetResources()) > 0 || l.GetPriority() > 0 {
		r.note(at+".rate_limiter", "has no effect, as at a Triton that is not started with --rate-limit=execution_count; bound the model with instance_group.count")
	}
}

// onGPU says whether the instances run on one.
func (r *reader) onGPU() bool {
	for _, g := range r.c.InstanceGroup {
		if g.Kind == inference.ModelInstanceGroup_KIND_GPU && !g.Passive {
			return true
		}
	}
	return false
}

// Names of the settings that Triton's onnxruntime backend takes for TensorRT, and those of ONNX Runtime's provider. Others
// have the same name in both.
var tensorRTNames = map[string]string{
	"max_workspace_size_bytes":          "trt_max_workspace_size",
	"int8_calibration_table_name":       "trt_int8_calibration_table_name",
	"int8_use_native_calibration_table": "trt_int8_use_native_calibration_table",
}

// accelerators reads optimization.execution_accelerators, which picks ONNX Runtime's execution provider.
func (r *reader) accelerators() {
	e := r.c.Optimization.GetExecutionAccelerators()
	for i, a := range e.GetCpuExecutionAccelerator() {
		at := fmt.Sprintf("optimization.execution_accelerators.cpu_execution_accelerator[%d]", i)
		switch {
		case r.s.Engine != "" && r.s.Engine != onnxEngine || a.Name != "openvino":
			r.fail(at+".name", "%q is not known; onnxruntime has openvino", a.Name)
		case !r.onGPU():
			r.s.Device = "openvino"
			for k, v := range a.Parameters {
				r.option("provider."+k, v)
			}
		}
	}
	for i, a := range e.GetGpuExecutionAccelerator() {
		at := fmt.Sprintf("optimization.execution_accelerators.gpu_execution_accelerator[%d]", i)
		if r.s.Engine != "" && r.s.Engine != onnxEngine || a.Name != "tensorrt" && a.Name != "cuda" {
			r.fail(at+".name", "%q is not known; onnxruntime has tensorrt and cuda", a.Name)
			continue
		}
		if !r.onGPU() { // as at Triton, they are for instances on a GPU
			continue
		}
		if a.Name == "cuda" {
			for k, v := range a.Parameters {
				r.option("provider."+k, v)
			}
			continue
		}
		r.tensorRT(at, a.Parameters)
	}
}

func (r *reader) tensorRT(at string, parameters map[string]string) {
	r.s.Device = "tensorrt" + r.s.Device[len("cuda"):]
	for k, v := range parameters {
		if k != "precision_mode" {
			if name, ok := tensorRTNames[k]; ok {
				k = name
			}
			r.option("provider."+k, v)
			continue
		}
		switch v {
		case "FP32":
		case "FP16":
			r.option("provider.trt_fp16_enable", "1")
		case "BF16":
			r.option("provider.trt_bf16_enable", "1")
		case "INT8":
			r.option("provider.trt_int8_enable", "1")
		default:
			r.fail(at+".parameters.precision_mode", "%q must be FP32, FP16, BF16 or INT8", v)
		}
	}
}

// option sets an option of the engine.
func (r *reader) option(name, value string) {
	if r.s.Options == nil {
		r.s.Options = map[string]string{}
	}
	r.s.Options[name] = value
}
