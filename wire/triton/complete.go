package triton

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"serval"
	"serval/wire/inference"
)

// Complete is the declared configuration of a loaded model as Triton shows it: with what Triton fills in, and what was found
// out at load. It returns nil where nothing is declared.
func Complete(info serval.ModelInfo) *inference.ModelConfig {
	c := &inference.ModelConfig{}
	if len(info.Settings.Declared) == 0 || proto.Unmarshal(info.Settings.Declared, c) != nil {
		return nil
	}
	c.Name = info.Name
	if c.Backend == "" {
		c.Backend = BackendOf(info.Engine)
	}
	if c.Backend == onnxBackend {
		fill(&c.Platform, onnxPlatform)
		fill(&c.DefaultModelFilename, "model.onnx")
	}
	if c.VersionPolicy.GetPolicyChoice() == nil {
		c.VersionPolicy = &inference.ModelVersionPolicy{PolicyChoice: &inference.ModelVersionPolicy_Latest_{
			Latest: &inference.ModelVersionPolicy_Latest{NumVersions: 1}}}
	}
	completeTensors(c, info)
	completeScheduling(c)
	completeInstances(c, info)
	if c.Optimization == nil {
		c.Optimization = &inference.ModelOptimizationPolicy{}
	}
	if c.Optimization.InputPinnedMemory == nil {
		c.Optimization.InputPinnedMemory = &inference.ModelOptimizationPolicy_PinnedMemoryBuffer{Enable: true}
	}
	if c.Optimization.OutputPinnedMemory == nil {
		c.Optimization.OutputPinnedMemory = &inference.ModelOptimizationPolicy_PinnedMemoryBuffer{Enable: true}
	}
	return c
}

// Platform is what Triton's metadata name the platform of a declared configuration; "" where nothing is declared or it names
// none.
func Platform(declared []byte) string {
	c := &inference.ModelConfig{}
	if len(declared) == 0 || proto.Unmarshal(declared, c) != nil {
		return ""
	}
	switch {
	case c.Platform != "":
		return c.Platform
	case c.Backend == onnxBackend:
		return onnxPlatform
	}
	return c.Backend
}

// WhyAlone says why a declared configuration makes requests run one by one; "" where it does not.
func WhyAlone(declared []byte) string {
	c := &inference.ModelConfig{}
	if len(declared) == 0 || proto.Unmarshal(declared, c) != nil {
		return ""
	}
	switch {
	case c.MaxBatchSize > 0 && c.SchedulingChoice == nil && len(c.Input) > 0 && len(c.Output) > 0:
		return "the configuration has no dynamic_batching; with it, requests share batches"
	case c.MaxBatchSize == 0 && (len(c.Input) > 0 || len(c.Output) > 0):
		return "the configuration's max_batch_size is 0"
	}
	return ""
}

func fill(s *string, v string) {
	if *s == "" {
		*s = v
	}
}

// completeTensors fills in max_batch_size and the inputs and outputs that the configuration left to the artefact.
func completeTensors(c *inference.ModelConfig, info serval.ModelInfo) {
	bare := len(c.Input) == 0 && len(c.Output) == 0
	if bare && c.MaxBatchSize == 0 && info.Batching.On {
		c.MaxBatchSize = int32(info.Settings.Batching.Max)
		if c.SchedulingChoice == nil {
			c.SchedulingChoice = &inference.ModelConfig_DynamicBatching{DynamicBatching: &inference.ModelDynamicBatching{}}
		}
	} else if (len(c.Input) == 0 || len(c.Output) == 0) && c.MaxBatchSize > 1 && c.SchedulingChoice == nil {
		c.SchedulingChoice = &inference.ModelConfig_DynamicBatching{DynamicBatching: &inference.ModelDynamicBatching{}}
	}
	if len(c.Input) == 0 {
		for i := range info.Signature.Inputs {
			t := &info.Signature.Inputs[i]
			dims, reshape := shownDims(t, info.Settings.Inputs, c.MaxBatchSize > 0)
			c.Input = append(c.Input, &inference.ModelInput{Name: t.Name, DataType: DataType(t.DType), Dims: dims, Reshape: reshape, Optional: t.Optional})
		}
	}
	if len(c.Output) == 0 {
		for i := range info.Signature.Outputs {
			t := &info.Signature.Outputs[i]
			dims, reshape := shownDims(t, info.Settings.Outputs, c.MaxBatchSize > 0)
			c.Output = append(c.Output, &inference.ModelOutput{Name: t.Name, DataType: DataType(t.DType), Dims: dims, Reshape: reshape})
		}
	}
}

// shownDims are the dims of a tensor, and its reshape if it has one.
func shownDims(t *serval.TensorInfo, declared []serval.TensorSettings, batched bool) ([]int64, *inference.ModelTensorReshape) {
	cut := func(shape []int64) []int64 {
		if batched && len(shape) > 0 {
			shape = shape[1:]
		}
		return slices.Clone(shape)
	}
	var reshape *inference.ModelTensorReshape
	for i := range declared {
		if declared[i].Name == t.Name && declared[i].Reshape != nil {
			reshape = &inference.ModelTensorReshape{Shape: cut(declared[i].Reshape)}
		}
	}
	if t.Shape == nil { // any rank, for which there is no word
		return []int64{-1}, reshape
	}
	dims := cut(t.Shape)
	if len(dims) == 0 {
		dims = []int64{1}
	}
	return dims, reshape
}

// completeScheduling fills in the scheduler's defaults.
func completeScheduling(c *inference.ModelConfig) {
	switch s := c.SchedulingChoice.(type) {
	case *inference.ModelConfig_DynamicBatching:
		if d := s.DynamicBatching; len(d.PreferredBatchSize) == 0 && c.MaxBatchSize > 0 {
			d.PreferredBatchSize = []int32{c.MaxBatchSize}
		}
	case *inference.ModelConfig_SequenceBatching:
		b := s.SequenceBatching
		if b.MaxSequenceIdleMicroseconds == 0 {
			b.MaxSequenceIdleMicroseconds = uint64(defaultIdle.Microseconds())
		}
		if o := b.GetOldest(); o != nil && len(o.PreferredBatchSize) == 0 && c.MaxBatchSize > 0 {
			o.PreferredBatchSize = []int32{c.MaxBatchSize}
		}
	}
}

// completeInstances names the groups and says where they run and how many there are.
func completeInstances(c *inference.ModelConfig, info serval.ModelInfo) {
	if len(c.InstanceGroup) == 0 {
		c.InstanceGroup = []*inference.ModelInstanceGroup{{Name: info.Name}}
	}
	for i, g := range c.InstanceGroup {
		fill(&g.Name, fmt.Sprintf("%s_%d", info.Name, i))
		onCPU := info.Settings.Device == "" || info.Settings.Device == "cpu" || info.Settings.Device == "auto"
		if g.Kind == inference.ModelInstanceGroup_KIND_AUTO || g.Kind == inference.ModelInstanceGroup_KIND_GPU && onCPU {
			g.Kind, g.Gpus = inference.ModelInstanceGroup_KIND_CPU, nil
		}
		if g.Kind == inference.ModelInstanceGroup_KIND_GPU && len(g.Gpus) == 0 {
			g.Gpus = []int32{0}
		}
		if g.Count > 0 {
			continue
		}
		if g.Count = 1; len(c.InstanceGroup) == 1 {
			g.Count = int32(max(info.Settings.Instances, 1))
		}
	}
}

// Fill declares the tensors that a configuration with batches left to the artefact, whose signature is given: as Triton does,
// a row of which the artefact has one value alone is shown to clients as [1].
func Fill(s serval.ModelSettings, sig serval.Signature) serval.ModelSettings {
	if len(s.Declared) == 0 || s.Batching.Request == 0 {
		return s
	}
	if len(s.Inputs) == 0 {
		s.Inputs = fillSide(sig.Inputs)
	}
	if len(s.Outputs) == 0 {
		s.Outputs = fillSide(sig.Outputs)
	}
	return s
}

func fillSide(list []serval.TensorInfo) []serval.TensorSettings {
	out := make([]serval.TensorSettings, 0, len(list))
	for i := range list {
		t := serval.TensorSettings{Name: list[i].Name, Datatype: list[i].DType.String(), Shape: slices.Clone(list[i].Shape), Optional: list[i].Optional}
		if len(t.Shape) == 1 {
			t.Reshape = slices.Clone(t.Shape)
			t.Shape = append(t.Shape, 1)
		}
		out = append(out, t)
	}
	return out
}
