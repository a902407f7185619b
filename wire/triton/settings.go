package triton

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"serval"
	"serval/wire/inference"
)

// Settings reads what a configuration asks for. source begins the lines of its error, of which there is one for each field
// that cannot be honoured: "config.pbtxt: backend: …". Fields that change nothing by their nature (docs/triton.md lists them)
// are let pass; others that have no effect are told in the settings' Notes.
func Settings(c *inference.ModelConfig, source string) (serval.ModelSettings, error) {
	r := &reader{c: c, source: source}
	declared, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil {
		return serval.ModelSettings{}, serval.Errorf(serval.InvalidArgument, "%s: %w", source, err)
	}
	r.s.Declared = declared
	r.backend()
	r.batching()
	r.tensors()
	r.scheduling()
	r.instances()
	r.accelerators()
	r.versions()
	r.warmup()
	r.parameters()
	r.operations()
	r.others()
	if len(r.errs) > 0 {
		return serval.ModelSettings{}, serval.Errorf(serval.InvalidArgument, "%s", strings.Join(r.errs, "\n"))
	}
	return r.s, nil
}

// reader goes through a configuration once and collects all mistakes.
type reader struct {
	c      *inference.ModelConfig
	source string
	s      serval.ModelSettings
	errs   []string
}

// fail refuses a field.
func (r *reader) fail(field, format string, args ...any) {
	r.errs = append(r.errs, fmt.Sprintf("%s: %s: %s", r.source, field, fmt.Sprintf(format, args...)))
}

// note keeps what the operator should know of a field that has no effect.
func (r *reader) note(field, format string, args ...any) {
	r.s.Notes = append(r.s.Notes, field+": "+fmt.Sprintf(format, args...))
}

// batched says whether tensors have a batch dimension that dims leave out.
func (r *reader) batched() bool { return r.c.MaxBatchSize > 0 }

// complete says whether the configuration names the model's inputs and outputs. Where it does not, Triton takes them, and
// whether there are batches, from the artefact; so does Serval.
func (r *reader) complete() bool { return len(r.c.Input) > 0 && len(r.c.Output) > 0 }

// batching reads max_batch_size: with it, requests bring up to that many rows; without, dims are whole and requests run one
// by one.
func (r *reader) batching() {
	switch n := r.c.MaxBatchSize; {
	case n < 0:
		r.fail("max_batch_size", "must not be negative, is %d", n)
	case n > 0:
		r.s.Batching.Request = int(n)
		r.s.Batching.Max = int(n)
	case len(r.c.Input) > 0 || len(r.c.Output) > 0:
		r.s.Batching.Mode = "off"
	}
}

// scheduling reads the choice of a scheduler.
func (r *reader) scheduling() {
	switch {
	case r.c.GetSequenceBatching() != nil:
		r.sequence(r.c.GetSequenceBatching())
	case r.c.GetDynamicBatching() != nil:
		r.dynamic(r.c.GetDynamicBatching())
	case r.c.GetEnsembleScheduling() != nil:
		r.fail("ensemble_scheduling", "pipelines come with a later version; the models of its steps (%s) are served on their own", strings.Join(steps(r.c.GetEnsembleScheduling()), ", "))
	case r.batched() && r.complete(): // as Triton's default scheduler
		r.s.Batching.Mode = "off"
		r.queue(nil)
	case r.batched(): // Triton adds dynamic_batching where it fills in the tensors
		r.dynamic(&inference.ModelDynamicBatching{})
	default:
		r.queue(nil)
	}
}

func steps(e *inference.ModelEnsembling) []string {
	var names []string
	for _, s := range e.Step {
		if !slices.Contains(names, s.ModelName) {
			names = append(names, s.ModelName)
		}
	}
	return names
}

// versions reads which version folders are served.
func (r *reader) versions() {
	switch p := r.c.VersionPolicy.GetPolicyChoice().(type) {
	case *inference.ModelVersionPolicy_All_:
		r.s.Versions.All = true
	case *inference.ModelVersionPolicy_Specific_:
		if r.s.Versions.Specific = slices.Clone(p.Specific.GetVersions()); len(r.s.Versions.Specific) == 0 {
			r.fail("version_policy.specific", "names no version; list some, or use latest or all")
		}
		for _, v := range r.s.Versions.Specific {
			if v < 1 {
				r.fail("version_policy.specific", "%d is not the number of a version folder", v)
			}
		}
	case *inference.ModelVersionPolicy_Latest_:
		n := p.Latest.GetNumVersions()
		if n == 0 || n > 1<<20 {
			r.fail("version_policy.latest.num_versions", "must be 1 to %d, is %d", 1<<20, n)
		}
		r.s.Versions.Latest = int(n)
	}
}

// others reads the fields that are refused unless they are off, and those that only tune what Serval does not have.
func (r *reader) others() {
	if r.c.ResponseCache.GetEnable() {
		r.fail("response_cache", "answers are not cached by this version; set enable: false or remove the section")
	}
	if r.c.ModelTransactionPolicy.GetDecoupled() {
		r.fail("model_transaction_policy.decoupled", "the engines for this model give one answer to each request; set it to false or remove the section")
	}
	for _, a := range r.c.ModelRepositoryAgents.GetAgents() {
		r.fail("model_repository_agents", "agent %q is not built in; remove the section, or check the files before they are copied here", a.Name)
	}
	for i := range r.c.BatchInput {
		r.fail(fmt.Sprintf("batch_input[%d]", i), "ragged batches are not built in; a model that needs them cannot be served by this version")
	}
	for i := range r.c.BatchOutput {
		r.fail(fmt.Sprintf("batch_output[%d]", i), "ragged batches are not built in; a model that needs them cannot be served by this version")
	}
	if len(r.c.MetricTags) > 0 {
		r.note("metric_tags", "are shown, but Serval's metrics do not carry them")
	}
	if len(r.c.ModelMetrics.GetMetricControl()) > 0 {
		r.note("model_metrics", "Serval's metrics have their own buckets")
	}
}

// microseconds is a duration that Triton counts in microseconds; one longer than a day is a day.
func microseconds(n uint64) time.Duration {
	const day = 24 * time.Hour
	return time.Duration(min(n, uint64(day/time.Microsecond))) * time.Microsecond
}
