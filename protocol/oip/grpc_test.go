package oip

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"serval"
	"serval/protocol"
	"serval/wire/inference"
)

// Every method says who may call it, and no more than health is open.
func TestAccess(t *testing.T) {
	p := New(protocol.Backend{}, Options{})
	defer p.shm.close()
	want := map[string]protocol.Access{
		"ServerLive": protocol.Public, "ServerReady": protocol.Public,
		"ModelInfer": protocol.Infer, "ModelStreamInfer": protocol.Infer,
		"ModelReady": protocol.Read, "ServerMetadata": protocol.Read, "ModelMetadata": protocol.Read, "ModelConfig": protocol.Read,
		"ModelStatistics": protocol.Read, "RepositoryIndex": protocol.Read, "SystemSharedMemoryStatus": protocol.Read,
		"CudaSharedMemoryStatus": protocol.Read,
		"RepositoryModelLoad":    protocol.Control, "RepositoryModelUnload": protocol.Control, "SystemSharedMemoryRegister": protocol.Control,
		"SystemSharedMemoryUnregister": protocol.Control, "CudaSharedMemoryRegister": protocol.Control,
		"CudaSharedMemoryUnregister": protocol.Control, "TraceSetting": protocol.Control, "LogSettings": protocol.Control,
	}
	desc := inference.GRPCInferenceService_ServiceDesc
	if n := len(desc.Methods) + len(desc.Streams); n != 20 || n != len(want) {
		t.Errorf("%d methods, %d known here", n, len(want))
	}
	for name, access := range want {
		if got := p.Access("/inference.GRPCInferenceService/" + name); got != access {
			t.Errorf("%s: %d, want %d", name, got, access)
		}
	}
	if p.Access("/inference.GRPCInferenceService/Later") != protocol.Control || p.Access("/grpc.health.v1.Health/Check") != protocol.Public {
		t.Error("an unknown method of ours must be guarded, another's left alone")
	}
}

// Loading and unloading understand KServe's messages, which have the model in field 1, and answer its fields.
func TestRepositoryDialects(t *testing.T) {
	f := startGRPC(t, echo)
	ctx := t.Context()
	loaded, err := f.client.RepositoryModelLoad(ctx, &inference.RepositoryModelLoadRequest{RepositoryName: "kserve"})
	if err != nil || loaded.ModelName != "kserve" || !loaded.IsLoaded {
		t.Errorf("%v, %v", loaded, err)
	}
	unloaded, err := f.client.RepositoryModelUnload(ctx, &inference.RepositoryModelUnloadRequest{ModelName: "triton"})
	if err != nil || unloaded.ModelName != "triton" || !unloaded.IsUnloaded {
		t.Errorf("%v, %v", unloaded, err)
	}
	if got := strings.Join(f.control.done, ", "); got != "load kserve, unload triton" {
		t.Errorf("control did %s", got)
	}
	for _, r := range []*inference.RepositoryModelLoadRequest{
		{}, {RepositoryName: "r", ModelName: "m"},
		{ModelName: "m", Parameters: map[string]*inference.ModelRepositoryParameter{"config": {}}},
		{ModelName: "m", Parameters: map[string]*inference.ModelRepositoryParameter{"other": {}}},
	} {
		if _, err := f.client.RepositoryModelLoad(ctx, r); err == nil {
			t.Errorf("%v was taken", r)
		}
	}
	index, err := f.client.RepositoryIndex(ctx, &inference.RepositoryIndexRequest{Ready: true})
	if err != nil || len(index.Models) != 1 || index.Models[0].State != "READY" {
		t.Errorf("%v, %v", index, err)
	}
}

func TestSharedMemoryInfer(t *testing.T) {
	f := startGRPC(t, echo)
	ctx := t.Context()
	f.shm.folder = t.TempDir()
	path := filepath.Join(f.shm.folder, "region")
	if err := os.WriteFile(path, append(floats(1, 2), make([]byte, 8)...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.client.SystemSharedMemoryRegister(ctx, &inference.SystemSharedMemoryRegisterRequest{Name: "r", Key: "/region", ByteSize: 16}); err != nil {
		t.Fatal(err)
	}
	r := echoRequest(nil, 2)
	r.RawInputContents = nil
	r.Inputs[0].Parameters = shmParams("r", 0, 8)
	r.Outputs = []*inference.ModelInferRequest_InferRequestedOutputTensor{{Name: "x", Parameters: shmParams("r", 8, 8)}}
	got, err := f.client.ModelInfer(ctx, r)
	if err != nil || len(got.RawOutputContents) != 1 || len(got.RawOutputContents[0]) != 0 {
		t.Fatalf("%v, %v", got, err)
	}
	if data, _ := os.ReadFile(path); string(data) != string(floats(1, 2, 1, 2)) {
		t.Errorf("the region holds %v", data)
	}
	r.Inputs[0].Contents = &inference.InferTensorContents{Fp32Contents: []float32{1, 2}}
	if _, err := f.client.ModelInfer(ctx, r); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "both contents and a shared_memory_region") {
		t.Errorf("both: %v", err)
	}
	if _, err := f.client.CudaSharedMemoryRegister(ctx, &inference.CudaSharedMemoryRegisterRequest{Name: "c"}); status.Code(err) != codes.Unimplemented {
		t.Errorf("cuda: %v", err)
	}
}

func TestModelConfig(t *testing.T) {
	got := modelConfig(grpcModels{}.info())
	var want inference.ModelConfig
	if err := prototext.Unmarshal([]byte(`
		name: "echo" platform: "fake_echo" backend: "fake" max_batch_size: 64
		version_policy { latest { num_versions: 1 } }
		input { name: "x" data_type: TYPE_FP32 dims: 4 }
		output { name: "x" data_type: TYPE_FP32 dims: 4 }
		instance_group { name: "echo_0" kind: KIND_CPU count: 2 }
		dynamic_batching {
			preferred_batch_size: 8 max_queue_delay_microseconds: 1000 priority_levels: 2 default_priority_level: 2
			default_queue_policy { default_timeout_microseconds: 30000000 allow_timeout_override: true max_queue_size: 1024 }
		}
		parameters { key: "serval_batching" value { string_value: "on: " } }
		parameters { key: "serval_memory" value { string_value: "1000" } }
		parameters { key: "serval_threads" value { string_value: "0" } }
		model_transaction_policy {}`), &want); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got, &want) {
		t.Errorf("config is\n%s\nwant\n%s", prototext.Format(got), prototext.Format(&want))
	}
}

func TestModelConfigOfSequences(t *testing.T) {
	info := grpcModels{}.info()
	info.Settings.Sequence = &serval.SequenceSettings{
		MaxSequences: 1024, IdleTimeout: 5 * time.Second,
		Controls: []serval.SequenceControl{{Input: "START", Kind: "start"}, {Input: "CORRID", Kind: "id"}},
		States:   []serval.SequenceState{{Input: "h", Output: "h_next", Shape: []int64{1, 8}}},
	}
	got := modelConfig(info).GetSequenceBatching()
	var want inference.ModelSequenceBatching
	if err := prototext.Unmarshal([]byte(`
		max_sequence_idle_microseconds: 5000000
		oldest { max_candidate_sequences: 1024 preserve_ordering: true }
		control_input { name: "START" control { kind: CONTROL_SEQUENCE_START fp32_false_true: [0, 1] } }
		control_input { name: "CORRID" control { kind: CONTROL_SEQUENCE_CORRID } }
		state { input_name: "h" output_name: "h_next" dims: [1, 8] }`), &want); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got, &want) {
		t.Errorf("config is\n%s\nwant\n%s", prototext.Format(got), prototext.Format(&want))
	}
}

// A model that shares no batches shows whole shapes.
func TestModelConfigUnbatched(t *testing.T) {
	info := grpcModels{}.info()
	info.Batching.On = false
	info.Settings.Device = "cuda:1"
	info.Settings.Versions = serval.VersionPolicy{Specific: []int64{2, 3}}
	info.Settings.Options = map[string]string{"k": "v"}
	info.Signature.Inputs = []serval.TensorInfo{{Name: "s", DType: serval.Bytes, Shape: []int64{}}, {Name: "any", DType: serval.BF16}}
	got := modelConfig(info)
	if got.MaxBatchSize != 0 || got.GetDynamicBatching() != nil || got.Input[0].DataType != inference.DataType_TYPE_STRING ||
		got.Input[0].Dims[0] != 1 || got.Input[1].Dims[0] != -1 || got.Input[1].DataType != inference.DataType_TYPE_BF16 ||
		len(got.Output[0].Dims) != 2 || got.InstanceGroup[0].Gpus[0] != 1 || got.Parameters["k"].StringValue != "v" ||
		len(got.VersionPolicy.GetSpecific().Versions) != 2 {
		t.Errorf("config is\n%s", prototext.Format(got))
	}
}

func TestModelStatistics(t *testing.T) {
	stats, err := grpcModels{}.Stats(serval.Ref{})
	if err != nil {
		t.Fatal(err)
	}
	got := modelStatistics(grpcModels{}.info(), stats)
	var want inference.ModelStatistics
	if err := prototext.Unmarshal([]byte(`
		name: "echo" version: "3" last_inference: 1234567 inference_count: 5 execution_count: 2
		inference_stats {
			success { count: 2 ns: 300 } fail {} queue { count: 2 ns: 300 } compute_input {} compute_infer {} compute_output {}
			cache_hit {} cache_miss {}
		}
		batch_stats { batch_size: 3 compute_input {} compute_infer { count: 2 ns: 300 } compute_output {} }
		memory_usage { type: "CPU" byte_size: 1000 }`), &want); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got, &want) {
		t.Errorf("statistics are\n%s\nwant\n%s", prototext.Format(got), prototext.Format(&want))
	}
}

// Inputs in shared memory are held to the limit of a request together, not one by one.
func TestSharedMemoryLimit(t *testing.T) {
	f := startGRPC(t, echo)
	f.shm.folder = t.TempDir()
	const size = 40 << 20 // of 64 MiB
	path := filepath.Join(f.shm.folder, "region")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	if err := f.shm.register("r", "region", 0, size); err != nil {
		t.Fatal(err)
	}
	r := &inference.ModelInferRequest{ModelName: "echo"}
	for _, name := range []string{"a", "b"} {
		r.Inputs = append(r.Inputs, &inference.ModelInferRequest_InferInputTensor{
			Name: name, Datatype: "UINT8", Shape: []int64{size}, Parameters: shmParams("r", 0, size)})
	}
	if _, err := f.client.ModelInfer(t.Context(), r); err == nil || !strings.Contains(err.Error(), "input 'b': shared_memory_byte_size is 41943040, 83886080 with the inputs before it") {
		t.Errorf("two inputs of 40 MiB each: %v", err)
	}
}
