package schedule

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"serval"
	"serval/engine"
)

// probed is what running a model once at load found out.
type probed struct {
	batching serval.Batching
	leads    bool          // inputs lead with a dimension that the request chooses: the rows
	row      time.Duration // of one row, warm; 0 if it could not be run
}

// probe warms a model and decides whether rows of different requests may share a batch: the inputs and outputs must share
// the leading symbolic dimension, and rows run together must equal the same rows run alone.
func probe(ctx context.Context, m engine.Batcher, s serval.ModelSettings) probed {
	sig, mode := m.Signature(), s.Batching.Mode
	if r, ok := m.(*ragged); ok {
		return r.probe(ctx, mode)
	}
	shared, leads, why := sharesLeading(sig)
	p := probed{leads: leads, batching: serval.Batching{Reason: why}}
	from := sampler{sig: sig, leads: leads, dims: s.Dims}
	rows := []*engine.Call{from.row(1), from.row(2), from.row(3)}
	for _, c := range rows {
		if err := runProbe(ctx, m, c); err != nil {
			p.batching.Reason = fmt.Sprintf("the model did not run on made-up inputs, so rows together could not be compared with rows alone: %v", err)
			return decide(p, mode)
		}
	}
	p.row = timeRow(ctx, m, from)
	if shared {
		if err := compareRows(ctx, m, rows, from); err != nil {
			p.batching.Reason = err.Error()
		} else {
			p.batching = serval.Batching{On: true, Reason: "inputs and outputs share their leading dimension, and rows together equal rows alone"}
		}
	}
	return decide(p, mode)
}

// decide lets model.yaml's batching.mode overrule the probe.
func decide(p probed, mode string) probed {
	switch {
	case mode == "off":
		p.batching = serval.Batching{Reason: "batching.mode is off"}
	case mode == "on" && !p.batching.On && p.leads:
		p.batching = serval.Batching{On: true, Reason: "batching.mode is on, against the probe: " + p.batching.Reason}
	case mode == "on" && !p.batching.On:
		p.batching.Reason = "batching.mode is on, but the inputs have no leading dimension to batch along: " + p.batching.Reason
	}
	return p
}

// sharesLeading says whether all inputs and outputs lead with the same symbolic dimension; leads, whether the inputs at
// least lead with a dynamic one.
func sharesLeading(sig serval.Signature) (shared, leads bool, why string) {
	if len(sig.Inputs) == 0 {
		return false, false, "the model has no inputs"
	}
	name, named := "", ""
	check := func(kind string, t *serval.TensorInfo) (bool, string) {
		if len(t.Shape) == 0 {
			return false, fmt.Sprintf("%s '%s' has no leading dimension", kind, t.Name)
		}
		if t.Shape[0] != -1 {
			return false, fmt.Sprintf("%s '%s' has the fixed leading dimension %d", kind, t.Name, t.Shape[0])
		}
		symbol := ""
		if len(t.Symbols) > 0 {
			symbol = t.Symbols[0]
		}
		if symbol == "" { // an unnamed dimension may be any: the probe decides
			return true, ""
		}
		if name != "" && symbol != name {
			return false, fmt.Sprintf("%s '%s' leads with dimension %q, but '%s' with %q; if they are the same, set batching.mode: on", kind, t.Name, symbol, named, name)
		}
		name, named = symbol, t.Name
		return true, ""
	}
	leads = true
	for i := range sig.Inputs {
		if len(sig.Inputs[i].Shape) == 0 || sig.Inputs[i].Shape[0] != -1 {
			leads = false
		}
	}
	for i := range sig.Inputs {
		if ok, why := check("input", &sig.Inputs[i]); !ok {
			return false, leads, why
		}
	}
	for i := range sig.Outputs {
		if ok, why := check("output", &sig.Outputs[i]); !ok {
			return false, leads, why
		}
	}
	return true, leads, ""
}

// checkDims refuses a size for a dimension that the model does not have.
func checkDims(sig serval.Signature, dims map[string]int64) error {
	var have []string
	for i := range sig.Inputs {
		for j, symbol := range sig.Inputs[i].Symbols {
			if symbol != "" && sig.Inputs[i].Shape[j] < 0 && !slices.Contains(have, symbol) {
				have = append(have, symbol)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(dims)) {
		if !slices.Contains(have, name) {
			return fmt.Errorf("dims.%s: no input has a dynamic dimension of that name; those that have names are: %s", name, strings.Join(have, ", "))
		}
		if n := dims[name]; n < 1 || n > maxProbe {
			return fmt.Errorf("dims.%s: %d; use a size from 1 to %d", name, n, maxProbe)
		}
	}
	return nil
}

// runProbe runs one made-up call.
func runProbe(ctx context.Context, m engine.Batcher, c *engine.Call) error {
	if err := protect(ctx, m, []*engine.Call{c}); err != nil && !c.Answered() {
		return err
	}
	return c.Err
}

// timeRow is the best of a few runs: warm, and not disturbed by others.
func timeRow(ctx context.Context, m engine.Batcher, from sampler) time.Duration {
	best := time.Duration(math.MaxInt64)
	for i, begun := 0, time.Now(); i < 5 && (i < 2 || time.Since(begun) < 200*time.Millisecond); i++ {
		c := from.row(uint64(10 + i))
		start := time.Now()
		if runProbe(ctx, m, c) != nil {
			return 0
		}
		best = min(best, time.Since(start))
		c.Reset()
	}
	return best
}

// compareRows runs the rows together and compares with the answers that they got alone.
func compareRows(ctx context.Context, m engine.Batcher, alone []*engine.Call, from sampler) error {
	together := make([]*engine.Call, len(alone))
	for i := range alone {
		together[i] = from.row(uint64(i + 1))
	}
	if err := protect(ctx, m, together); err != nil {
		return fmt.Errorf("rows together failed where rows alone did not: %w", err)
	}
	for i := range alone {
		if together[i].Err != nil {
			return fmt.Errorf("rows together failed where rows alone did not: %w", together[i].Err)
		}
		for j := range alone[i].Outputs {
			if err := closeTo(&alone[i].Outputs[j], &together[i].Outputs[j]); err != nil {
				return fmt.Errorf("rows together differ from rows alone: %w", err)
			}
		}
	}
	for i := range alone {
		alone[i].Reset()
		together[i].Reset()
	}
	return nil
}

// closeTo compares two outputs: floats to 1e-3 relative (halves to 1e-2) and to the tensor's own scale, since other kernels for
// other sizes round differently; everything else exactly.
func closeTo(a, b *serval.Tensor) error {
	if serval.ShapeString(a.Shape) != serval.ShapeString(b.Shape) || len(a.Data) != len(b.Data) {
		return fmt.Errorf("output '%s' has shape %s alone and %s together", a.Name, serval.ShapeString(a.Shape), serval.ShapeString(b.Shape))
	}
	x, y := floats(a), floats(b)
	if x == nil {
		if string(a.Data) != string(b.Data) {
			return fmt.Errorf("output '%s' differs", a.Name)
		}
		return nil
	}
	relative := 1e-3
	if a.DType.Size() == 2 {
		relative = 1e-2
	}
	scale := 0.0
	for _, v := range x {
		if v = math.Abs(v); v > scale && !math.IsInf(v, 0) {
			scale = v
		}
	}
	for i := range x {
		same := x[i] == y[i] || math.IsNaN(x[i]) && math.IsNaN(y[i])
		near := !math.IsInf(x[i], 0) && math.Abs(x[i]-y[i]) <= relative*math.Abs(x[i])+relative/10*scale
		if !same && !near {
			return fmt.Errorf("output '%s' is %g alone and %g together", a.Name, x[i], y[i])
		}
	}
	return nil
}

// maxProbe bounds the elements of one made-up input.
const maxProbe = 64 << 20

// sampler makes up inputs for a signature.
type sampler struct {
	sig   serval.Signature
	leads bool             // inputs lead with the rows
	dims  map[string]int64 // sizes of dimensions by their symbols
}

// row makes one row of inputs from a seed: small numbers, since some are indices.
func (s *sampler) row(seed uint64) *engine.Call {
	r := rand.New(rand.NewPCG(seed, 42))
	c := &engine.Call{Rows: 1}
	for i := range s.sig.Inputs {
		info := &s.sig.Inputs[i]
		t := serval.Tensor{Name: info.Name, DType: info.DType, Shape: make([]int64, len(info.Shape))}
		for j, d := range info.Shape {
			switch {
			case d >= 0:
				t.Shape[j] = d
			case j == 0 && s.leads:
				t.Shape[j] = 1
			default:
				t.Shape[j] = s.dim(info, j)
			}
		}
		n, ok := serval.Elements(t.Shape)
		if !ok || n > maxProbe {
			n = 0
		}
		t.Data = sampleData(r, info.DType, int(n))
		c.Inputs = append(c.Inputs, t)
	}
	return c
}

// dim is what model.yaml says, else large enough for the strides of image models where it looks like an image, else small.
func (s *sampler) dim(info *serval.TensorInfo, j int) int64 {
	if j < len(info.Symbols) {
		if n := s.dims[info.Symbols[j]]; n > 0 && info.Symbols[j] != "" {
			return n
		}
	}
	if len(info.Shape) == 4 && j >= 2 {
		return 64
	}
	return 8
}

func sampleData(r *rand.Rand, d serval.DType, n int) []byte {
	if d == serval.Bytes {
		var out []byte
		for range n {
			out = serval.AppendString(out, string(rune('a'+r.IntN(3))))
		}
		return out
	}
	out := make([]byte, 0, n*d.Size())
	for range n {
		out = appendSample(out, r, d)
	}
	return out
}

func appendSample(out []byte, r *rand.Rand, d serval.DType) []byte {
	f := r.Float32()
	switch d {
	case serval.FP32:
		return binary.LittleEndian.AppendUint32(out, math.Float32bits(f))
	case serval.FP64:
		return binary.LittleEndian.AppendUint64(out, math.Float64bits(float64(f)))
	case serval.BF16:
		return binary.LittleEndian.AppendUint16(out, uint16(math.Float32bits(f)>>16))
	case serval.FP16:
		return binary.LittleEndian.AppendUint16(out, 0x3800|uint16(r.IntN(1024))) // in [0.5, 1)
	}
	v := make([]byte, d.Size())
	v[0] = byte(r.IntN(2))
	return append(out, v...)
}
