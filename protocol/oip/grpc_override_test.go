package oip

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"serval"
)

func TestConfigOverride(t *testing.T) {
	got, err := configOverride(`{"name":"m","backend":"onnxruntime","input":[{"name":"x","data_type":"TYPE_FP32","dims":[4]}],
		"max_batch_size":"16","version_policy":{"specific":{"versions":[2,"5"]}},
		"instance_group":[{"count":3,"kind":"KIND_GPU","gpus":[1]}],
		"dynamic_batching":{"preferred_batch_size":[4,8],"max_queue_delay_microseconds":100,"default_queue_policy":{"max_queue_size":9}},
		"parameters":{"threads":{"string_value":"2"},"serval_memory":{"string_value":"1"}}}`)
	if err != nil {
		t.Fatal(err)
	}
	want := &serval.ModelSettings{
		Versions: serval.VersionPolicy{Specific: []int64{2, 5}}, Instances: 3, Device: "cuda:1",
		Batching: serval.BatchSettings{Max: 16, Preferred: []int{4, 8}, MaxDelay: 100 * time.Microsecond},
		Queue:    serval.QueueSettings{Limit: 9}, Options: map[string]string{"threads": "2"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("settings %+v, want %+v", got, want)
	}
	if got, err := configOverride(`{"max_batch_size":0}`); err != nil || got.Batching.Mode != "off" {
		t.Errorf("settings %+v, %v", got, err)
	}
	for text, want := range map[string]string{
		``:                              "not a JSON object",
		`[]`:                            "not a JSON object",
		`{"max_batch_size":"many"}`:     "not a model configuration",
		`{"nonsense":1}`:                "not a model configuration",
		`{"sequence_batching":{}}`:      "cannot change 'sequence_batching'",
		`{"instance_group":[{},{}]}`:    "one group",
		`{"ensemble_scheduling":{}}`:    "cannot change 'ensemble_scheduling'",
		strings.Repeat(`{"a":`, 100000): "not a JSON object",
	} {
		if _, err := configOverride(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want %q", text, err, want)
		}
	}
}

func FuzzConfigOverride(f *testing.F) {
	f.Add(`{"max_batch_size":16,"instance_group":[{"count":1,"kind":"KIND_CPU"}]}`)
	f.Add(`{"dynamic_batching":{"max_queue_delay_microseconds":"18446744073709551615"}}`)
	f.Add(`{"version_policy":{"all":{}},"parameters":{"a":null}}`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := configOverride(withoutEmpty(text))
		if (s == nil) == (err == nil) {
			t.Fatalf("%v, %v", s, err)
		}
		if err != nil && serval.AsError(err).Code != serval.InvalidArgument {
			t.Fatal(err)
		}
	})
}
