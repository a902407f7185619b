package oip

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"serval"
	"serval/wire/inference"
)

// configOverride turns a Triton model configuration, as JSON, into settings: how many versions, copies and rows there are,
// and how requests wait. What describes the model itself is let pass, since the artefact says it; a field that would change
// how it is served and has no counterpart here is refused by name.
func configOverride(text string) (*serval.ModelSettings, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "parameter 'config' is not a JSON object: %v", err).At("config")
	}
	var c inference.ModelConfig
	if err := protojson.Unmarshal([]byte(text), &c); err != nil {
		return nil, serval.Errorf(serval.InvalidArgument, "parameter 'config' is not a model configuration: %v", err).At("config")
	}
	s := &serval.ModelSettings{}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		switch name {
		case "name", "platform", "backend", "runtime", "input", "output", "defaultModelFilename", "default_model_filename",
			"metricTags", "metric_tags", "modelTransactionPolicy", "model_transaction_policy", "optimization":
		case "maxBatchSize", "max_batch_size":
			if s.Batching.Max = int(c.MaxBatchSize); c.MaxBatchSize <= 0 {
				s.Batching = serval.BatchSettings{Mode: "off"}
			}
		case "versionPolicy", "version_policy":
			s.Versions = versionsOf(c.VersionPolicy)
		case "instanceGroup", "instance_group":
			if err := overrideInstances(s, c.InstanceGroup); err != nil {
				return nil, err
			}
		case "dynamicBatching", "dynamic_batching":
			overrideBatching(s, c.GetDynamicBatching())
		case "parameters":
			s.Options = make(map[string]string, len(c.Parameters))
			for k, v := range c.Parameters {
				if !strings.HasPrefix(k, ownPrefix) { // what modelConfig tells beside the engine's options
					s.Options[k] = v.GetStringValue()
				}
			}
		default:
			return nil, serval.Errorf(serval.InvalidArgument, "parameter 'config': this server cannot change '%s'; it takes max_batch_size, version_policy, instance_group, dynamic_batching and parameters", name).At("config." + name)
		}
	}
	return s, nil
}

func versionsOf(p *inference.ModelVersionPolicy) serval.VersionPolicy {
	switch p := p.GetPolicyChoice().(type) {
	case *inference.ModelVersionPolicy_All_:
		return serval.VersionPolicy{All: true}
	case *inference.ModelVersionPolicy_Specific_:
		return serval.VersionPolicy{Specific: p.Specific.GetVersions()}
	case *inference.ModelVersionPolicy_Latest_:
		return serval.VersionPolicy{Latest: int(p.Latest.GetNumVersions())}
	}
	return serval.VersionPolicy{}
}

func overrideInstances(s *serval.ModelSettings, groups []*inference.ModelInstanceGroup) error {
	if len(groups) > 1 || len(groups) == 1 && len(groups[0].Gpus) > 1 {
		return serval.Errorf(serval.InvalidArgument, "parameter 'config': instance_group may have one group, on one device").At("config.instance_group")
	}
	for _, g := range groups {
		s.Instances = int(g.Count)
		switch g.Kind {
		case inference.ModelInstanceGroup_KIND_CPU:
			s.Device = "cpu"
		case inference.ModelInstanceGroup_KIND_GPU:
			s.Device = "cuda"
			for _, n := range g.Gpus {
				s.Device += ":" + strconv.Itoa(int(n))
			}
		}
	}
	return nil
}

func overrideBatching(s *serval.ModelSettings, d *inference.ModelDynamicBatching) {
	for _, n := range d.GetPreferredBatchSize() {
		s.Batching.Preferred = append(s.Batching.Preferred, int(n))
	}
	s.Batching.MaxDelay = microseconds(d.GetMaxQueueDelayMicroseconds())
	s.Queue.PriorityLevels = int(min(d.GetPriorityLevels(), 127))
	if q := d.GetDefaultQueuePolicy(); q != nil {
		s.Queue.Limit = int(q.MaxQueueSize)
		s.Queue.Timeout = microseconds(q.DefaultTimeoutMicroseconds)
	}
}

// microseconds is a duration that Triton counts in microseconds; one longer than a day is a day.
func microseconds(n uint64) time.Duration {
	const day = 24 * time.Hour
	return time.Duration(min(n, uint64(day/time.Microsecond))) * time.Microsecond
}

func errFileOverride(param string) error {
	return serval.Errorf(serval.Unimplemented, "parameter '%s': a model cannot be loaded from the request's own bytes; put the file into the model's folder and load it", param).At(param)
}
