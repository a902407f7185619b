package schedule

import (
	"context"
	"fmt"

	"serval"
	"serval/engine"
)

// Copies opens a model's instances without a queue, to be measured alone: as many as spec.Settings.Instances, each with
// spec.Settings.Threads. calls makes up a batch of that many one-row calls; batches says whether the engine may be given
// more than one. The caller closes the copies, the first one last.
func Copies(ctx context.Context, eng engine.Engine, spec engine.Spec) (copies []engine.Batcher, calls func(rows int, seed uint64) []*engine.Call, batches bool, err error) {
	s := withDefaults(spec.Settings)
	spec.Settings, spec.Threads = s, max(s.Threads, 1)
	eng = fit(eng, s)
	m, err := eng.Open(ctx, spec)
	if err != nil {
		return nil, nil, false, err
	}
	first, ok := m.(engine.Batcher)
	if !ok {
		_ = m.Close()
		return nil, nil, false, fmt.Errorf("the model does not take batches of tensors; there is nothing to measure by batch size")
	}
	found := probe(ctx, first, s)
	if copies, err = share(ctx, eng, spec, first, max(s.Instances, 1)); err != nil {
		return nil, nil, false, err
	}
	from := sampler{sig: first.Signature(), leads: found.leads, dims: s.Dims}
	calls = func(rows int, seed uint64) []*engine.Call {
		list := make([]*engine.Call, rows)
		for i := range list {
			list[i] = from.row(seed*1000 + uint64(i))
		}
		return list
	}
	return copies, calls, found.batching.On, nil
}

// Samples makes up requests for a signature: rows where its inputs lead with a dimension that the request chooses, else one
// row. dims are the sizes of other dynamic dimensions by their symbols.
func Samples(sig serval.Signature, dims map[string]int64) func(rows int, seed uint64) []serval.Tensor {
	_, leads, _ := sharesLeading(sig)
	from := sampler{sig: sig, leads: leads, dims: dims}
	return func(rows int, seed uint64) []serval.Tensor {
		list := from.row(seed * 1000).Inputs
		for i := 1; leads && i < rows; i++ {
			for j, more := range from.row(seed*1000 + uint64(i)).Inputs {
				list[j].Data = append(list[j].Data, more.Data...)
				list[j].Shape[0]++
			}
		}
		return list
	}
}

// Layers says where the time of a batch of made-up rows goes inside a model, by its layers. dir is a folder for the engine's
// profile.
func Layers(ctx context.Context, eng engine.Engine, spec engine.Spec, rows int, dir string) ([]engine.Layer, error) {
	spec.Profile, spec.Settings.Instances = dir, 1
	copies, calls, batches, err := Copies(ctx, eng, spec)
	if err != nil {
		return nil, err
	}
	defer copies[0].Close() // after it was read
	if !batches {
		rows = 1
	}
	batch := calls(max(rows, 1), 1)
	for range profileRuns {
		if err := protect(ctx, copies[0], batch); err != nil {
			return nil, err
		}
		for _, c := range batch {
			if c.Err != nil {
				return nil, c.Err
			}
		}
	}
	inner := copies[0]
	if f, ok := inner.(*fitted); ok {
		inner = f.Batcher
	}
	p, ok := inner.(engine.Profiled)
	if !ok {
		return nil, serval.Errorf(serval.Unimplemented, "engine %s does not tell where the time goes inside a model", eng.Name())
	}
	return p.Layers()
}

// profileRuns is how often a batch is run for a profile; the probe at load has warmed the model.
const profileRuns = 50
