package oip

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"serval"
	"serval/wire/inference"
	"serval/wire/triton"
)

// modelConfig says in Triton's words how a model is served. Where requests share batches, max_batch_size is set and dims
// leave the batch dimension out, as Triton's clients expect; otherwise dims are whole.
func modelConfig(info serval.ModelInfo) *inference.ModelConfig {
	s := &info.Settings
	if c := triton.Complete(info); c != nil { // as it was declared
		if c.Parameters == nil {
			c.Parameters = map[string]*inference.ModelParameter{}
		}
		showOwn(c, info)
		return c
	}
	batched := info.Batching.On && leadsWithBatch(info.Signature.Inputs) && leadsWithBatch(info.Signature.Outputs)
	c := &inference.ModelConfig{
		Name:                   info.Name,
		Platform:               info.Platform,
		Backend:                triton.BackendOf(info.Engine),
		VersionPolicy:          versionPolicy(s.Versions),
		InstanceGroup:          []*inference.ModelInstanceGroup{instanceGroup(info)},
		ModelTransactionPolicy: &inference.ModelTransactionPolicy{},
	}
	for _, t := range info.Signature.Inputs {
		dims, reshape := configDims(t.Shape, batched)
		c.Input = append(c.Input, &inference.ModelInput{Name: t.Name, DataType: triton.DataType(t.DType), Dims: dims, Reshape: reshape, Optional: t.Optional})
	}
	for _, t := range info.Signature.Outputs {
		dims, reshape := configDims(t.Shape, batched)
		c.Output = append(c.Output, &inference.ModelOutput{Name: t.Name, DataType: triton.DataType(t.DType), Dims: dims, Reshape: reshape, LabelFilename: s.Labels[t.Name]})
	}
	if batched {
		c.MaxBatchSize = int32(s.Batching.Max)
	}
	switch {
	case s.Sequence != nil:
		c.SchedulingChoice = &inference.ModelConfig_SequenceBatching{SequenceBatching: sequenceBatching(s.Sequence)}
	case batched:
		c.SchedulingChoice = &inference.ModelConfig_DynamicBatching{DynamicBatching: dynamicBatching(s)}
	}
	c.Parameters = make(map[string]*inference.ModelParameter, len(s.Options)+4)
	for name, v := range s.Options {
		c.Parameters[name] = &inference.ModelParameter{StringValue: v}
	}
	showOwn(c, info)
	return c
}

// showOwn adds what Triton's configuration has no field for.
func showOwn(c *inference.ModelConfig, info serval.ModelInfo) {
	for name, v := range ownParameters(info) {
		c.Parameters[name] = &inference.ModelParameter{StringValue: v}
	}
}

// ownPrefix begins the names of ownParameters.
const ownPrefix = triton.OwnPrefix

// ownParameters are what Triton's configuration has no field for.
func ownParameters(info serval.ModelInfo) map[string]string {
	own := map[string]string{
		ownPrefix + "batching": "off: " + info.Batching.Reason,
		ownPrefix + "memory":   strconv.FormatInt(info.Memory, 10),
		ownPrefix + "threads":  strconv.Itoa(info.Settings.Threads),
	}
	if info.Batching.On {
		own[ownPrefix+"batching"] = "on: " + info.Batching.Reason
	}
	if wait := info.Settings.Queue.MaxWait; wait > 0 {
		own[triton.MaxWait] = wait.String()
	}
	if notes := info.Settings.Notes; len(notes) > 0 {
		own[ownPrefix+"notes"] = strings.Join(notes, "\n")
	}
	if r := info.Settings.Recipe; r != nil {
		if raw, err := json.Marshal(r); err == nil { // plain data: it cannot fail
			own[serval.RecipeParameter] = string(raw)
		}
	}
	return own
}

// leadsWithBatch says whether every tensor's first dimension is the request's to choose.
func leadsWithBatch(list []serval.TensorInfo) bool {
	for i := range list {
		if len(list[i].Shape) == 0 || list[i].Shape[0] != -1 {
			return false
		}
	}
	return len(list) > 0
}

// configDims are a tensor's dimensions in a configuration, which has no word for a scalar or for "any rank", and writes a row
// of one value as [1] that is reshaped to [].
func configDims(shape []int64, batched bool) ([]int64, *inference.ModelTensorReshape) {
	switch {
	case shape == nil:
		return []int64{-1}, nil
	case batched:
		if shape = shape[1:]; len(shape) == 0 {
			return []int64{1}, &inference.ModelTensorReshape{}
		}
	case len(shape) == 0:
		return []int64{1}, nil
	}
	return slices.Clone(shape), nil
}

func versionPolicy(p serval.VersionPolicy) *inference.ModelVersionPolicy {
	switch {
	case p.All:
		return &inference.ModelVersionPolicy{PolicyChoice: &inference.ModelVersionPolicy_All_{All: &inference.ModelVersionPolicy_All{}}}
	case len(p.Specific) > 0:
		return &inference.ModelVersionPolicy{PolicyChoice: &inference.ModelVersionPolicy_Specific_{
			Specific: &inference.ModelVersionPolicy_Specific{Versions: slices.Clone(p.Specific)}}}
	}
	return &inference.ModelVersionPolicy{PolicyChoice: &inference.ModelVersionPolicy_Latest_{
		Latest: &inference.ModelVersionPolicy_Latest{NumVersions: uint32(max(p.Latest, 1))}}}
}

// instanceGroup describes the copies that compute. The device is read as model.yaml writes it: "cpu", "cuda", "cuda:1".
func instanceGroup(info serval.ModelInfo) *inference.ModelInstanceGroup {
	g := &inference.ModelInstanceGroup{
		Name: info.Name + "_0", Kind: inference.ModelInstanceGroup_KIND_CPU, Count: int32(max(info.Settings.Instances, 1)),
	}
	if gpu, ok := gpuOf(info.Settings.Device); ok {
		g.Kind = inference.ModelInstanceGroup_KIND_GPU
		g.Gpus = []int32{gpu}
	}
	return g
}

func dynamicBatching(s *serval.ModelSettings) *inference.ModelDynamicBatching {
	d := &inference.ModelDynamicBatching{
		MaxQueueDelayMicroseconds: micros(s.Batching.MaxDelay),
		PriorityLevels:            uint64(max(s.Queue.PriorityLevels, 0)),
		DefaultQueuePolicy: &inference.ModelQueuePolicy{
			TimeoutAction:              inference.ModelQueuePolicy_REJECT,
			DefaultTimeoutMicroseconds: micros(s.Queue.Timeout),
			AllowTimeoutOverride:       true,
			MaxQueueSize:               uint32(max(s.Queue.Limit, 0)),
		},
	}
	for _, n := range s.Batching.Preferred {
		d.PreferredBatchSize = append(d.PreferredBatchSize, int32(n))
	}
	if d.PriorityLevels > 0 { // the middle one, the less urgent of two; see schedule
		d.DefaultPriorityLevel = d.PriorityLevels/2 + 1
	}
	return d
}

func micros(d time.Duration) uint64 { return uint64(max(d, 0) / time.Microsecond) }

// modelStatistics says in Triton's words what happened to a version of a model: times in nanoseconds, the last inference in
// milliseconds since 1970.
func modelStatistics(info serval.ModelInfo, s serval.Stats) *inference.ModelStatistics {
	m := &inference.ModelStatistics{
		Name: info.Name, Version: info.Version,
		InferenceCount: s.Inferences, ExecutionCount: s.Executions,
		InferenceStats: &inference.InferStatistics{
			Success: statDuration(s.Success), Fail: statDuration(s.Fail), Queue: statDuration(s.Queue),
			ComputeInput: statDuration(s.Input), ComputeInfer: statDuration(s.Compute), ComputeOutput: statDuration(s.Output),
			CacheHit: &inference.StatisticDuration{}, CacheMiss: &inference.StatisticDuration{},
		},
	}
	if !s.LastInference.IsZero() {
		m.LastInference = uint64(s.LastInference.UnixMilli())
	}
	for _, b := range s.Batches {
		m.BatchStats = append(m.BatchStats, &inference.InferBatchStatistics{
			BatchSize:    uint64(b.Size),
			ComputeInput: statDuration(b.Input), ComputeInfer: statDuration(b.Compute), ComputeOutput: statDuration(b.Output),
		})
	}
	if info.Memory > 0 {
		m.MemoryUsage = []*inference.MemoryUsage{memoryUsage(info)}
	}
	return m
}

func memoryUsage(info serval.ModelInfo) *inference.MemoryUsage {
	u := &inference.MemoryUsage{Type: "CPU", ByteSize: uint64(info.Memory)}
	if gpu, ok := gpuOf(info.Settings.Device); ok {
		u.Type, u.Id = "GPU", int64(gpu)
	}
	return u
}

func statDuration(d serval.StatDuration) *inference.StatisticDuration {
	return &inference.StatisticDuration{Count: d.Count, Ns: uint64(d.Total)}
}

// gpuOf is the number of the GPU that a device setting names; it reports false for what is not one ("cpu", "auto").
func gpuOf(device string) (int32, bool) {
	kind, number, _ := strings.Cut(device, ":")
	switch kind {
	case "cuda", "tensorrt", "rocm", "migraphx", "vulkan":
		n, _ := strconv.ParseInt(number, 10, 32)
		return int32(n), true
	}
	return 0, false
}

// serverName is the name in the server's metadata.
const serverName = "serval"

// extensions are the protocol's extensions that this server has, in both wires' metadata.
func (p *Protocol) extensions() []string {
	list := []string{"classification", "sequence", "model_repository", "schedule_policy", "model_configuration", "binary_tensor_data", "parameters", "statistics"}
	if !p.opt.DisableSharedMemory {
		list = append(list, "system_shared_memory")
	}
	if p.backend.Tracing != nil {
		list = append(list, "trace")
	}
	if p.backend.Logging != nil {
		list = append(list, "logging")
	}
	return list
}
