package llama

import (
	"fmt"
	"strings"

	"serval"
	"serval/engine"
	"serval/llm/gguf"
)

// Plan is what a model will take, worked out from the header of its file before anything is loaded. Sizes are in bytes.
type Plan struct {
	File         string
	Architecture string
	Context      int // most tokens of one sequence
	Trained      int // and as it was trained; 0: not said
	Slots        int
	Cells        int // tokens in the key-value cache
	Stream       int // of which each sequence has so many for itself; 0: they share all
	Archive      int // streams for finished sequences
	Outputs      int
	Weights      int64
	KV           int64
	KVCell       int64 // of one token
	State        int64 // of recurrent layers
	Compute      int64
	Total        int64
	Free         int64 // 0: not known
	Fits         bool
	// Advice says what to change where it does not fit, or what was made smaller so that it does.
	Advice []string

	ubatch    int
	recurrent bool
}

// Defaults.
const (
	defaultSlots   = 8
	defaultContext = 4096 // of a file that does not say
	slotCells      = 2048 // cells for each slot, if that is more than one context
	leastContext   = 512
	piece          = 512 // tokens that are computed at once
	leastOutputs   = 64  // rows of logits
	cellStep       = 256 // llama.cpp rounds the cache up to it
)

// MakePlan works out what the model in f takes with these settings, where free bytes of memory are left (0: not known). The
// error says what of the settings cannot be; that it does not fit is no error.
func MakePlan(f *gguf.File, s *serval.ModelSettings, free int64) (*Plan, error) {
	text := serval.TextSettings{}
	if s.Text != nil {
		text = *s.Text
	}
	x := factsOf(f)
	kvType, err := kvTypeOf(s.Options)
	if err != nil {
		return nil, err
	}
	p := &Plan{
		File: f.Paths[0], Architecture: x.Architecture, Trained: x.Trained, Slots: text.Slots, Weights: x.Bytes, Free: free, ubatch: piece, recurrent: x.State > 0,
		KVCell: x.KVValues * kvType.block / kvType.values,
	}
	if p.Slots == 0 {
		p.Slots = defaultSlots
	}
	if p.Slots > maxSlots {
		return nil, serval.Errorf(serval.InvalidArgument, "text.slots is %d; a model takes at most %d", p.Slots, maxSlots).At("text.slots")
	}
	p.Outputs = max(leastOutputs, 2*p.Slots)
	p.Context = x.Trained
	if p.Context == 0 {
		p.Context = defaultContext
	}
	if text.Context > 0 {
		if x.Trained > 0 && text.Context > x.Trained {
			p.Advice = append(p.Advice, fmt.Sprintf("text.context is %d, but the model was trained for %d tokens; %d are used", text.Context, x.Trained, x.Trained))
		}
		p.Context = min(text.Context, p.Context)
	}
	if x.Encoder {
		p.KVCell, p.State = 0, 0
		p.Compute = x.compute(p.Context, 0, 1)
		p.sum()
		return p, nil
	}
	p.State = x.State * int64(p.Slots+p.spare())
	streams, err := p.streams(&x, s.Options["kv"], text.Cache)
	if err != nil || streams {
		return p, err
	}
	if text.Cache > 0 {
		if text.Cache < p.Context && text.Context > 0 {
			return nil, serval.Errorf(serval.InvalidArgument, "text.cache is %d, which is less than one sequence of text.context, %d", text.Cache, text.Context).At("text.cache")
		}
		p.Context = min(p.Context, text.Cache)
		p.cache(&x, text.Cache)
		return p, nil
	}
	p.cache(&x, max(p.Context, p.Slots*slotCells))
	if p.Fits {
		return p, nil
	}
	// The cache is what can be smaller: first for fewer sequences at once, then for shorter ones.
	p.cache(&x, p.Context)
	if p.Fits {
		p.Advice = append(p.Advice, fmt.Sprintf("the cache holds %d tokens, so long requests wait for each other; free more memory for more", p.Cells))
		return p, nil
	}
	if text.Context == 0 && p.KVCell > 0 {
		left := free - (p.Total - p.KV)
		if fit := int(left/p.KVCell) / cellStep * cellStep; fit >= leastContext {
			whole := p.Context
			p.Context = min(fit, whole)
			p.cache(&x, p.Context)
			for !p.Fits && p.Context > leastContext {
				p.Context -= cellStep
				p.cache(&x, p.Context)
			}
			if p.Fits {
				p.Advice = append(p.Advice, fmt.Sprintf("the context is %d tokens, not the %d that the model was trained for, since no more fits the memory", p.Context, whole))
			}
		}
	}
	return p, nil
}

// cache sets the size of the key-value cache, and what follows from it.
func (p *Plan) cache(x *facts, cells int) {
	p.Cells = (cells + cellStep - 1) / cellStep * cellStep
	p.KV = int64(p.Cells) * p.KVCell
	width := p.Cells
	if p.Stream > 0 {
		width = p.Stream
	}
	p.Compute = x.compute(min(p.ubatch, p.Cells), width, p.Outputs)
	p.sum()
}

// streamBytes is how much memory a cache in streams may take where the settings do not say how large it is to be, if that is at
// most a third of what is free.
const streamBytes = 2 << 30

// streams plans a cache in which each sequence has as many cells for itself as the longest may need; see streams.go. It reports
// false where they had better share one.
func (p *Plan) streams(x *facts, kv string, cache int) (bool, error) {
	stream := (p.Context + cellStep - 1) / cellStep * cellStep
	for archive := p.Slots; ; archive /= 2 {
		p.Stream, p.Archive = stream, archive
		p.cache(x, stream*(p.Slots+archive))
		switch {
		case kv != "" && kv != "auto" && kv != "streams" && kv != "shared":
			return false, serval.Errorf(serval.InvalidArgument, "options.kv is %q; use streams, shared or auto", kv).At("options.kv")
		case kv == "shared" || p.recurrent:
		case cache > 0 && p.Cells <= max(cache, cellStep):
			return true, nil
		case cache == 0 && archive > 0 && p.KV > streamBytes/2: // rather fewer
		case cache == 0 && p.KV <= streamBytes && (p.Free == 0 || p.Total <= p.Free && p.KV <= p.Free/3):
			return true, nil
		case kv == "streams" && archive == 0:
			return true, nil
		}
		if archive == 0 {
			p.Stream = 0
			return false, nil
		}
	}
}

func (p *Plan) sum() {
	p.Total = p.Weights + p.KV + p.State + p.Compute
	p.Fits = p.Free == 0 || p.Total <= p.Free
}

// spare is how many states of finished sequences a recurrent model keeps.
func (p *Plan) spare() int {
	if !p.recurrent {
		return 0
	}
	return p.Slots
}

// compute is about what llama.cpp takes to compute n tokens over so many cells: activations of the widest layers, the attention
// mask, and logits twice (in the graph, and where they are read).
func (x *facts) compute(n, cells, outputs int) int64 {
	activations := int64(n) * 4 * int64(8*x.Width+3*x.Inner)
	mask := int64(n) * int64(cells) * 6
	logits := 2 * 4 * int64(outputs) * int64(x.Vocab)
	const rest = 32 << 20 // threads, graphs, llama.cpp's own tables
	return activations + mask + logits + rest
}

// Error says that the plan does not fit and what to change; nil where it fits.
func (p *Plan) Error(name string) error {
	if p.Fits {
		return nil
	}
	return serval.Errorf(serval.ResourceExhausted, "model '%s' does not fit: it takes %s (weights %s, key-value cache %s for %d tokens, computing %s) and %s is free; %s",
		name, sizeText(p.Total), sizeText(p.Weights), sizeText(p.KV+p.State), p.Cells, sizeText(p.Compute), sizeText(p.Free), strings.Join(p.changes(), ", or "))
}

// changes are what would make it fit.
func (p *Plan) changes() []string {
	var out []string
	rest := p.Total - p.KV
	if p.KVCell > 0 && p.Free > rest {
		if fit := int((p.Free-rest)/p.KVCell) / cellStep * cellStep; fit >= leastContext {
			out = append(out, fmt.Sprintf("set text.context and text.cache to at most %d", fit))
		}
	}
	if p.KV > 0 && p.Total-p.KV/2 <= p.Free {
		out = append(out, "set options.kv_type to q8_0, which halves the cache")
	}
	if p.Weights > p.Free/2 {
		out = append(out, "take a file with fewer bits a weight (Q4_K_M has about 4.8)")
	}
	return append(out, fmt.Sprintf("free %s of memory", sizeText(p.Total-p.Free)))
}

// maxSlots bounds text.slots: llama.cpp has 256 sequences, and half of them are for what is kept.
const maxSlots = 128

// kvType is how keys and values are stored: the ggml type, and the bytes of a block of so many values.
type kvType struct {
	ggml          int32
	block, values int64
}

func kvTypeOf(options map[string]string) (kvType, error) {
	switch v := options["kv_type"]; v {
	case "", "f16":
		return kvType{typeF16, 2, 1}, nil
	case "bf16":
		return kvType{typeBF16, 2, 1}, nil
	case "q8_0":
		return kvType{typeQ8_0, 34, 32}, nil
	case "q4_0":
		return kvType{typeQ4_0, 18, 32}, nil
	default:
		return kvType{}, serval.Errorf(serval.InvalidArgument, "options.kv_type is %q; use f16, bf16, q8_0 or q4_0", v).At("options.kv_type")
	}
}

// Plan says what a model will take; see engine.Planner. On a device, the memory of this machine does not bound it.
func (e *Engine) Plan(spec engine.Spec) (*engine.Plan, error) {
	path, err := artefactIn(spec.Dir, spec.Settings.File)
	if err != nil {
		return nil, err
	}
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p, err := MakePlan(f, &spec.Settings, freeFor(spec.Device))
	if err != nil {
		return nil, err
	}
	out := &engine.Plan{File: p.File, Total: p.Total, Free: p.Free, Fits: p.Fits, Context: p.Context, Cache: p.Cells, Slots: p.Slots, Advice: p.Advice}
	if !p.Fits {
		out.Advice = append(out.Advice, p.changes()...)
	}
	out.Parts = []engine.PlanPart{{Name: "weights", Bytes: p.Weights, Note: p.Architecture}}
	if p.KV > 0 {
		out.Parts = append(out.Parts, engine.PlanPart{Name: "key-value cache", Bytes: p.KV, Note: p.note()})
	}
	if p.State > 0 {
		out.Parts = append(out.Parts, engine.PlanPart{Name: "recurrent state", Bytes: p.State, Note: fmt.Sprintf("%d sequences", p.Slots+p.spare())})
	}
	out.Parts = append(out.Parts, engine.PlanPart{Name: "computing", Bytes: p.Compute, Note: fmt.Sprintf("%d tokens at once", p.ubatch)})
	return out, nil
}

func (p *Plan) note() string {
	if p.Stream == 0 {
		return fmt.Sprintf("%d tokens of %d bytes, shared by all sequences", p.Cells, p.KVCell)
	}
	return fmt.Sprintf("%d tokens of %d bytes: %d sequences and %d kept ones of %d", p.Cells, p.KVCell, p.Slots, p.Archive, p.Stream)
}

// freeFor is the memory that bounds a model on a device; 0: not known.
func freeFor(d engine.Device) int64 {
	if d.Kind == "cpu" || d.Kind == "" {
		return engine.FreeMemory("/")
	}
	return 0
}
