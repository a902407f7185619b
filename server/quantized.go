package server

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"serval/llm/gguf"
	"serval/llm/quantize"
)

// quantized sums up what a job did.
func quantized(f *gguf.File, job *quantize.Job, in string, q *Quantization) *Quantized {
	file, bytes, count := job.Size()
	r := &Quantized{Out: ModelFile{Path: q.Out, Type: q.Recipe.Name, Bytes: file, Bits: 8 * float64(bytes) / float64(count)}}
	r.In = ModelFile{Path: in, Type: mainType(f)}
	var before int64
	for _, size := range f.Sizes {
		r.In.Bytes += size
	}
	types, instead := map[string]*TypeCount{}, map[StandIn]int{}
	for i := range job.Choices {
		c := &job.Choices[i]
		before += f.Tensors[i].Size
		elements, size := c.To.Block()
		t := types[c.To.String()]
		if t == nil {
			t = &TypeCount{Type: c.To.String()}
			types[t.Type] = t
		}
		t.Tensors, t.Bytes = t.Tensors+1, t.Bytes+f.Tensors[i].Elements()/elements*size
		if c.Wanted != c.To {
			instead[StandIn{Wanted: c.Wanted.String(), Got: c.To.String(), Width: c.Shape[0]}]++
		}
		r.Choices = append(r.Choices, TensorChoice{c.Name, c.Shape, c.From.String(), c.To.String()})
	}
	r.In.Bits = 8 * float64(before) / float64(count)
	for t := range maps.Values(types) {
		r.Types = append(r.Types, *t)
	}
	slices.SortFunc(r.Types, func(a, b TypeCount) int { return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Type, b.Type)) })
	for s, n := range instead {
		s.Tensors = n
		r.Instead = append(r.Instead, s)
	}
	slices.SortFunc(r.Instead, func(a, b StandIn) int {
		return cmp.Or(cmp.Compare(a.Wanted, b.Wanted), cmp.Compare(a.Got, b.Got), cmp.Compare(a.Width, b.Width))
	})
	return r
}

// mainType is what a file says that it is, where its layers are quantised, else the type that most bytes of its layers have:
// embeddings and what makes logits are often of a better one.
func mainType(f *gguf.File) string {
	size := map[gguf.Type]int64{}
	for i := range f.Tensors {
		t := &f.Tensors[i]
		if !strings.HasPrefix(t.Name, "blk.") {
			continue
		}
		size[t.Type] += t.Size
	}
	most := f.Tensors[0].Type // quantize.Plan refuses a file without any
	for t, n := range size {
		if n > size[most] || n == size[most] && t < most && n > 0 {
			most = t
		}
	}
	if elements, bytes := most.Block(); elements > 1 && bytes > 0 {
		return cmp.Or(quantize.TypeName(f), most.String())
	}
	return most.String()
}
