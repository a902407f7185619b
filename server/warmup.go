package server

import (
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"

	"serval"
)

// warmer is what runs a call on every instance of a model.
type warmer interface {
	Warm(ctx context.Context, inputs []serval.Tensor) error
}

// warming is a warmer as a handler.
type warming struct{ warmer }

func (w warming) Handle(ctx context.Context, req *serval.Request, _ serval.Sink) error {
	return w.Warm(ctx, req.Input.(*serval.Tensors).List)
}

// maxWarm bounds the bytes of one made-up input.
const maxWarm = 1 << 30

// warm runs the made-up requests of the settings by handle, which checks them as it does a client's.
func warm(ctx context.Context, s *serval.ModelSettings, sig serval.Signature, folder fs.FS, handle serval.Handler) error {
	for i := range s.Warmup {
		w := &s.Warmup[i]
		in, err := made(w, s.Sequence, sig, folder)
		if err != nil {
			return fmt.Errorf("warmup '%s': %w", w.Name, err)
		}
		for range max(w.Count, 1) {
			req := &serval.Request{Input: in, Sequence: serval.Sequence{ID: "1", Start: true, End: true}}
			if err := handle.Handle(ctx, req, serval.SinkFunc(func(*serval.Chunk) error { return nil })); err != nil {
				return fmt.Errorf("warmup '%s' failed: %w", w.Name, err)
			}
		}
	}
	return nil
}

// made makes the inputs of one request. Those that are filled in for clients are left out, as clients leave them.
func made(w *serval.WarmupSettings, q *serval.SequenceSettings, sig serval.Signature, folder fs.FS) (*serval.Tensors, error) {
	out := &serval.Tensors{}
	for i, name := range slices.Sorted(maps.Keys(w.Inputs)) {
		if q != nil && filledIn(q, name) {
			continue
		}
		in := w.Inputs[name]
		t := serval.Tensor{Name: name, Shape: slices.Clone(in.Shape)}
		if at := sig.Input(name); at >= 0 {
			t.DType = sig.Inputs[at].DType
		}
		if in.Datatype != "" {
			t.DType, _ = serval.ParseDType(in.Datatype)
		}
		row, err := rowOf(&t, &in, uint64(i), folder)
		if err != nil {
			return nil, fmt.Errorf("input '%s': %w", name, err)
		}
		rows := max(w.Rows, 1)
		if len(row) > 0 && rows > maxWarm/len(row) {
			return nil, fmt.Errorf("input '%s': %d rows of %d bytes are more than %d bytes", name, rows, len(row), maxWarm)
		}
		for range rows {
			t.Data = append(t.Data, row...)
		}
		if len(t.Shape) > 0 && rows > 1 {
			t.Shape[0] *= int64(rows)
		}
		out.List = append(out.List, t)
	}
	return out, nil
}

func filledIn(q *serval.SequenceSettings, name string) bool {
	return slices.ContainsFunc(q.Controls, func(c serval.SequenceControl) bool { return c.Input == name }) ||
		slices.ContainsFunc(q.States, func(s serval.SequenceState) bool { return s.Input == name })
}

// rowOf is the data of one row.
func rowOf(t *serval.Tensor, in *serval.WarmupInput, seed uint64, folder fs.FS) ([]byte, error) {
	n, ok := serval.Elements(t.Shape)
	size := int64(max(t.DType.Size(), 4)) // an empty string takes 4 bytes
	if !ok || n > maxWarm/size {
		return nil, fmt.Errorf("shape %s is more than %d bytes", serval.ShapeString(t.Shape), maxWarm)
	}
	switch in.Data {
	case "file":
		raw, err := fs.ReadFile(folder, filepath.ToSlash(in.File))
		if err != nil {
			return nil, err
		}
		if t.DType == serval.Bytes {
			return raw, nil
		}
		if int64(len(raw)) < n*int64(t.DType.Size()) {
			return nil, fmt.Errorf("%s has %d bytes, shape %s of %s takes %d", in.File, len(raw), serval.ShapeString(t.Shape), t.DType, n*int64(t.DType.Size()))
		}
		return raw[:n*int64(t.DType.Size())], nil
	case "random":
		if t.DType != serval.Bytes {
			return randomData(t.DType, int(n), seed), nil
		}
	}
	if t.DType == serval.Bytes {
		return make([]byte, 4*n), nil
	}
	return make([]byte, n*int64(t.DType.Size())), nil
}

// randomData makes numbers from 0 to 1: some inputs are indices, and few models go wrong with such.
func randomData(d serval.DType, n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	out := make([]byte, 0, n*d.Size())
	for range n {
		f := r.Float32()
		switch d {
		case serval.FP32:
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(f))
		case serval.FP64:
			out = binary.LittleEndian.AppendUint64(out, math.Float64bits(float64(f)))
		case serval.BF16:
			out = binary.LittleEndian.AppendUint16(out, uint16(math.Float32bits(f)>>16))
		case serval.FP16:
			out = binary.LittleEndian.AppendUint16(out, 0x3800|uint16(r.IntN(1024))) // in [0.5, 1)
		default:
			v := make([]byte, d.Size())
			v[0] = byte(r.IntN(2))
			out = append(out, v...)
		}
	}
	return out
}
