package triton

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"serval"
	"serval/wire/inference"
)

// DataType is an element type in a configuration's words.
func DataType(d serval.DType) inference.DataType {
	if d == serval.Bytes {
		return inference.DataType_TYPE_STRING
	}
	return inference.DataType(inference.DataType_value["TYPE_"+d.String()])
}

// dtype is the element type of a configuration; InvalidType for what is none.
func dtype(t inference.DataType) serval.DType {
	if t == inference.DataType_TYPE_STRING {
		return serval.Bytes
	}
	d, _ := serval.ParseDType(strings.TrimPrefix(t.String(), "TYPE_"))
	return d
}

// declared is what inputs and outputs have in common.
type declared interface {
	GetName() string
	GetDataType() inference.DataType
	GetDims() []int64
	GetReshape() *inference.ModelTensorReshape
	GetIsShapeTensor() bool
	GetIsNonLinearFormatIo() bool
}

// tensors reads input and output.
func (r *reader) tensors() {
	names := map[string]bool{}
	for i, in := range r.c.Input {
		at := fmt.Sprintf("input[%d]", i)
		t := r.tensor(at, in, names)
		t.Optional = in.Optional
		if in.Optional && r.batched() {
			r.fail(at+".optional", "input '%s' cannot be optional where max_batch_size is above 0, as at Triton", in.Name)
		}
		if in.AllowRaggedBatch {
			r.fail(at+".allow_ragged_batch", "ragged batches are not built in; set it to false, and requests of different shapes run one by one")
		}
		if in.Format != inference.ModelInput_FORMAT_NONE && len(in.Dims) != 3 {
			r.fail(at+".format", "%v needs 3 dims, there are %d", in.Format, len(in.Dims))
		}
		r.s.Inputs = append(r.s.Inputs, t)
	}
	clear(names)
	for i, out := range r.c.Output {
		at := fmt.Sprintf("output[%d]", i)
		r.s.Outputs = append(r.s.Outputs, r.tensor(at, out, names))
		if out.LabelFilename == "" {
			continue
		}
		if !filepath.IsLocal(out.LabelFilename) {
			r.fail(at+".label_filename", "%q must be a path inside the model's folder", out.LabelFilename)
		}
		if r.s.Labels == nil {
			r.s.Labels = map[string]string{}
		}
		r.s.Labels[out.Name] = out.LabelFilename
	}
}

// tensor reads one declaration. names are those seen before.
func (r *reader) tensor(at string, d declared, names map[string]bool) serval.TensorSettings {
	t := serval.TensorSettings{Name: d.GetName()}
	switch {
	case t.Name == "":
		r.fail(at+".name", "is missing")
	case names[t.Name]:
		r.fail(at+".name", "'%s' is given twice; keep one", t.Name)
	}
	names[t.Name] = true
	if et := dtype(d.GetDataType()); et == serval.InvalidType {
		r.fail(at+".data_type", "of '%s' is missing or unknown", t.Name)
	} else {
		t.Datatype = et.String()
	}
	if len(d.GetDims()) == 0 {
		r.fail(at+".dims", "of '%s' are missing; a scalar is written [ 1 ]", t.Name)
	}
	t.Shape = r.whole(at+".dims", d.GetDims())
	if d.GetReshape() != nil {
		if t.Reshape = r.whole(at+".reshape.shape", d.GetReshape().Shape); !sameSize(t.Shape, t.Reshape) {
			r.fail(at+".reshape", "%s cannot become %s: the sizes between the -1s differ", serval.ShapeString(t.Shape), serval.ShapeString(t.Reshape))
		}
		if len(t.Reshape) == 0 {
			r.fail(at+".reshape.shape", "is empty, which only a model with max_batch_size above 0 can have")
		}
	}
	if d.GetIsShapeTensor() || d.GetIsNonLinearFormatIo() {
		r.fail(at, "'%s' is a shape tensor or has a non-linear format, which only TensorRT has", t.Name)
	}
	return t
}

// whole puts the batch before dims, where there is one.
func (r *reader) whole(at string, dims []int64) []int64 {
	out := make([]int64, 0, len(dims)+1)
	if r.batched() {
		out = append(out, -1)
	}
	for _, d := range dims {
		if d != -1 && d < 1 {
			r.fail(at, "%d must be at least 1, or -1 for what the request chooses", d)
		}
		out = append(out, d)
	}
	return out
}

// sameSize says whether two shapes hold the same number of elements, whatever their -1s are: what stands between those must
// agree.
func sameSize(a, b []int64) bool {
	return slices.Equal(chunks(a), chunks(b))
}

// chunks multiplies the dimensions between the -1s; the products are kept small by what a file of a MiB can hold.
func chunks(shape []int64) []int64 {
	list := []int64{1}
	for _, d := range shape {
		if d < 0 {
			list = append(list, 1)
			continue
		}
		last := &list[len(list)-1]
		if n, ok := serval.Elements([]int64{*last, d}); ok {
			*last = n
		} else {
			*last = -1 // too many to count: equal to nothing that can be
		}
	}
	return list
}
