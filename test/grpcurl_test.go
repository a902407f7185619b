package test

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

// grpcurl runs grpcurl, which knows nothing of the service but what reflection tells it.
func grpcurl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), cache(t, "bin", "grpcurl"), append([]string{"-plaintext"}, args...)...).CombinedOutput()
	return string(out), err
}

func TestGrpcurl(t *testing.T) {
	t.Parallel()
	s := serve(t)
	must := func(t *testing.T, want []string, args ...string) string {
		t.Helper()
		out, err := grpcurl(t, args...)
		if err != nil {
			t.Fatalf("grpcurl %v: %v\n%s", args, err, out)
		}
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("grpcurl %v: no %q in\n%s", args, w, out)
			}
		}
		return out
	}
	t.Run("reflection", func(t *testing.T) {
		must(t, []string{"inference.GRPCInferenceService", "grpc.health.v1.Health"}, s.GRPC, "list")
		must(t, []string{"ModelInfer", "ModelStreamInfer", "RepositoryModelLoad", "SystemSharedMemoryRegister", "TraceSetting", "LogSettings"},
			s.GRPC, "list", "inference.GRPCInferenceService")
		must(t, []string{"rpc ModelInfer ( .inference.ModelInferRequest ) returns ( .inference.ModelInferResponse )"}, s.GRPC, "describe", "inference.GRPCInferenceService")
		must(t, []string{"repeated bytes raw_input_contents = 7"}, s.GRPC, "describe", "inference.ModelInferRequest")
	})
	t.Run("health", func(t *testing.T) {
		must(t, []string{`"SERVING"`}, s.GRPC, "grpc.health.v1.Health/Check")
		must(t, []string{`"SERVING"`}, "-d", `{"service":"inference.GRPCInferenceService"}`, s.GRPC, "grpc.health.v1.Health/Check")
		if out, err := grpcurl(t, "-d", `{"service":"nobody"}`, s.GRPC, "grpc.health.v1.Health/Check"); err == nil || !strings.Contains(out, "NotFound") {
			t.Errorf("a service that is not there: %v\n%s", err, out)
		}
	})
	t.Run("infer", func(t *testing.T) {
		out := must(t, nil, "-d", `{"model_name":"labelled","id":"7","inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"contents":{"fp32_contents":[1,2,3,4]}}]}`,
			s.GRPC, "inference.GRPCInferenceService/ModelInfer")
		var answer struct {
			ModelName, ModelVersion, ID string
			Outputs                     []struct{ Name, Datatype string }
			RawOutputContents           [][]byte
		}
		if err := json.Unmarshal([]byte(out), &answer); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		want := "\x00\x00\x80\x3f\x00\x00\x00\x40\x00\x00\x40\x40\x00\x00\x80\x40"
		if answer.ModelName != "labelled" || answer.ModelVersion != "1" || answer.ID != "7" || len(answer.Outputs) != 1 || answer.Outputs[0].Name != "y" ||
			len(answer.RawOutputContents) != 1 || string(answer.RawOutputContents[0]) != want {
			t.Errorf("answered %s", out)
		}
		out, err := grpcurl(t, "-d", `{"model_name":"labelled","inputs":[{"name":"z","datatype":"FP32","shape":[1,4],"contents":{"fp32_contents":[1,2,3,4]}}]}`,
			s.GRPC, "inference.GRPCInferenceService/ModelInfer")
		if err == nil || !strings.Contains(out, "InvalidArgument") || !strings.Contains(out, "'z'") {
			t.Errorf("a wrong name: %v\n%s", err, out)
		}
	})
	t.Run("metadata", func(t *testing.T) {
		must(t, []string{`"onnxruntime_onnx"`, `"FP32"`}, "-d", `{"name":"mlp"}`, s.GRPC, "inference.GRPCInferenceService/ModelMetadata")
		must(t, []string{`"TYPE_FP32"`}, "-d", `{"name":"mlp"}`, s.GRPC, "inference.GRPCInferenceService/ModelConfig")
		must(t, []string{`"READY"`}, s.GRPC, "inference.GRPCInferenceService/RepositoryIndex")
	})
}
