package triton

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"serval"
	"serval/wire/inference"
)

// warmupFolder is where the files of warm-up inputs stand, below a model's folder.
const warmupFolder = "warmup"

// warmup reads model_warmup. A sample of batch_size 0 is skipped, as at Triton.
func (r *reader) warmup() {
	for i, w := range r.c.ModelWarmup {
		at := fmt.Sprintf("model_warmup[%d]", i)
		if w.BatchSize == 0 {
			r.note(at, "'%s' has batch_size 0, so it is not run", w.Name)
			continue
		}
		if int64(w.BatchSize) > int64(max(r.c.MaxBatchSize, 1)) {
			r.fail(at+".batch_size", "%d is more than max_batch_size, which is %d", w.BatchSize, r.c.MaxBatchSize)
			continue
		}
		out := serval.WarmupSettings{Name: w.Name, Rows: int(w.BatchSize), Count: int(w.Count), Inputs: map[string]serval.WarmupInput{}}
		if w.Count > 1<<20 {
			r.fail(at+".count", "is %d; at most %d", w.Count, 1<<20)
		}
		for _, name := range slices.Sorted(maps.Keys(w.Inputs)) {
			out.Inputs[name] = r.warmupInput(at+".inputs."+name, name, w.Inputs[name])
		}
		r.s.Warmup = append(r.s.Warmup, out)
	}
}

func (r *reader) warmupInput(at, name string, in *inference.ModelWarmup_Input) serval.WarmupInput {
	var out serval.WarmupInput
	if d := dtype(in.DataType); d == serval.InvalidType {
		r.fail(at+".data_type", "is missing or unknown")
	} else {
		out.Datatype = d.String()
	}
	if r.batched() {
		out.Shape = append(out.Shape, 1)
	}
	for _, d := range in.Dims {
		if d < 0 {
			r.fail(at+".dims", "%v: a warm-up needs every size; write a number for %d", in.Dims, d)
			return out
		}
		out.Shape = append(out.Shape, d)
	}
	switch data := in.InputDataType.(type) {
	case *inference.ModelWarmup_Input_ZeroData:
		out.Data = "zero"
	case *inference.ModelWarmup_Input_RandomData:
		out.Data = "random"
	case *inference.ModelWarmup_Input_InputDataFile:
		if out.Data, out.File = "file", filepath.Join(warmupFolder, data.InputDataFile); !filepath.IsLocal(data.InputDataFile) {
			r.fail(at+".input_data_file", "%q must be a path inside the folder %s", data.InputDataFile, warmupFolder)
		}
	default:
		r.fail(at, "says no data for '%s'; set zero_data, random_data or input_data_file", name)
	}
	return out
}
