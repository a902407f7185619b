package oip

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"serval"
)

func TestConfigOverride(t *testing.T) {
	got, err := configOverride("m", `{"name":"m","backend":"onnxruntime","input":[{"name":"x","data_type":"TYPE_FP32","dims":[4]}],
		"max_batch_size":"16","version_policy":{"specific":{"versions":[2,"5"]}},
		"instance_group":[{"count":3,"kind":"KIND_GPU","gpus":[1]}],
		"dynamic_batching":{"preferred_batch_size":[4,8],"max_queue_delay_microseconds":100,"default_queue_policy":{"max_queue_size":9}},
		"parameters":{"threads":{"string_value":"2"},"serval_max_wait":{"string_value":"3s"}}}`)
	if err != nil {
		t.Fatal(err)
	}
	want := &serval.ModelSettings{
		Engine: "onnx", Versions: serval.VersionPolicy{Specific: []int64{2, 5}}, Instances: 3, Device: "cuda:1",
		Inputs:   []serval.TensorSettings{{Name: "x", Datatype: "FP32", Shape: []int64{-1, 4}}},
		Batching: serval.BatchSettings{Mode: "on", Max: 16, Request: 16, Preferred: []int{4, 8}, MaxDelay: 100 * time.Microsecond},
		Queue:    serval.QueueSettings{Limit: 9, MaxWait: 3 * time.Second, PriorityLevels: 1, OnTimeout: "reject", ClientTimeout: "ignore"},
		Declared: got.Declared,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("settings %+v, want %+v", got, want)
	}
	for text, want := range map[string]string{
		`[]`:                         "not a JSON object",
		`{"nonsense":1}`:             "not a model configuration",
		`{"name":"other"}`:           `name: is "other"`,
		`{"backend":"python"}`:       "parameter 'config': backend: backend python: engine not built in",
		`{"ensemble_scheduling":{}}`: "ensemble_scheduling: pipelines come with a later version",
		`{"max_batch_size":-1}`:      "max_batch_size: must not be negative",
	} {
		if _, err := configOverride("m", text); err == nil || !strings.Contains(err.Error(), want) || serval.AsError(err).Param != "config" {
			t.Errorf("%.40s: %v, want %q", text, err, want)
		}
	}
}

// A configuration that was read can be changed and sent back.
func TestConfigOverrideOfItsOwn(t *testing.T) {
	info := grpcModels{}.info()
	info.Settings.Queue.MaxWait = 2 * time.Second
	text := string(appendMessage(nil, modelConfig(info).ProtoReflect()))
	got, err := configOverride("echo", text)
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if got.Engine != info.Engine || got.Instances != 2 || got.Batching.Max != 64 || got.Queue.MaxWait != 2*time.Second ||
		got.Queue.PriorityLevels != 2 || got.Queue.Priorities[0].Limit != 1024 || got.Queue.Priorities[1].Timeout != 30*time.Second ||
		got.Queue.Priorities[0].ClientTimeout != "honour" || len(got.Notes) != 0 {
		t.Errorf("settings %+v", got)
	}
	info.Settings.Declared = got.Declared
	if again := string(appendMessage(nil, modelConfig(info).ProtoReflect())); strings.Count(again, `"name":"echo"`) != 1 || !strings.Contains(again, `"backend":"fake"`) {
		t.Errorf("the configuration is now %s", again)
	}
}

func FuzzConfigOverride(f *testing.F) {
	f.Add(`{"max_batch_size":16,"instance_group":[{"count":1,"kind":"KIND_CPU"}]}`)
	f.Add(`{"dynamic_batching":{"max_queue_delay_microseconds":"18446744073709551615"}}`)
	f.Add(`{"version_policy":{"all":{}},"parameters":{"a":null}}`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := configOverride("m", text)
		if (s == nil) == (err == nil) {
			t.Fatalf("%v, %v", s, err)
		}
		if err != nil && serval.AsError(err).Code != serval.InvalidArgument {
			t.Fatal(err)
		}
	})
}
