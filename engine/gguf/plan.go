package gguf

import (
	"fmt"
	"strconv"
	"strings"

	"serval"
	"serval/engine"
	"serval/engine/gguf/kernel"
)

// plan is what a model will take, worked out from its header before anything is loaded. Sizes are in bytes.
type plan struct {
	shape     *shape
	context   int // most tokens of one sequence
	slots     int
	blocks    int // of the cache
	workers   int
	rows      int // most that are computed at once
	outputs   int // most rows of logits
	weights   int64
	store     kernel.Store // of the cache's numbers
	cellBytes int64
	cache     int64
	compute   int64
	total     int64
	free      int64 // 0: not known
	fits      bool
	advice    []string
}

// Defaults.
const (
	defaultSlots   = 8
	maxSlots       = 512
	defaultContext = 4096 // of a file that does not say
	slotCells      = 2048 // cells for each slot, if that is more than one context
	leastContext   = 512
	piece          = 512 // tokens of prompts that are computed at once
	leastOutputs   = 64  // rows of logits
)

// storeOf is how the options want keys and values kept. The words are engine/llama's, which knows more of them, and more options.
func storeOf(options map[string]string) (kernel.Store, error) {
	for key := range options {
		if key != "kv_type" {
			return 0, serval.Errorf(serval.InvalidArgument, "options.%s: engine gguf has only the option kv_type; use engine: llama", key).At("options." + key)
		}
	}
	word := options["kv_type"]
	if word == "" {
		return kernel.StoreF16, nil
	}
	store, ok := kernel.ParseStore(word)
	if !ok {
		return 0, serval.Errorf(serval.InvalidArgument, "options.kv_type is %q; use f16, bf16 or q8_0, or with engine: llama q4_0", word).At("options.kv_type")
	}
	return store, nil
}

// makePlan works out what the net takes with these settings and so many workers, where free bytes of memory are left (0: not known).
// The error says what of the settings cannot be; that it does not fit is no error.
func makePlan(x *shape, s *serval.ModelSettings, workers int, free int64) (*plan, error) {
	text := serval.TextSettings{}
	if s.Text != nil {
		text = *s.Text
	}
	store, err := storeOf(s.Options)
	if err != nil {
		return nil, err
	}
	p := &plan{shape: x, workers: workers, slots: text.Slots, free: free, store: store, cellBytes: x.cellBytes(store), weights: x.packed}
	if p.slots == 0 {
		p.slots = defaultSlots
	}
	if p.slots > maxSlots {
		return nil, serval.Errorf(serval.InvalidArgument, "text.slots is %d; a model takes at most %d", p.slots, maxSlots).At("text.slots")
	}
	p.rows, p.outputs = piece+p.slots, max(leastOutputs, 2*p.slots)
	p.context = x.trained
	if p.context == 0 {
		p.context = defaultContext
	}
	if text.Context > 0 {
		if x.trained > 0 && text.Context > x.trained {
			p.advice = append(p.advice, fmt.Sprintf("text.context is %d, but the model was trained for %d tokens; %d are used", text.Context, x.trained, x.trained))
		}
		p.context = min(text.Context, p.context)
	}
	if text.Cache > 0 {
		if text.Cache < p.context && text.Context > 0 {
			return nil, serval.Errorf(serval.InvalidArgument, "text.cache is %d, which is less than one sequence of text.context, %d", text.Cache, text.Context).At("text.cache")
		}
		p.context = min(p.context, text.Cache)
		p.cells(min(text.Cache, maxContext))
		return p, nil
	}
	p.cells(max(p.context, p.slots*slotCells))
	if p.fits {
		return p, nil
	}
	// The cache is what can be smaller: first for fewer sequences at once, then for shorter ones.
	p.cells(p.context)
	if p.fits {
		p.advice = append(p.advice, fmt.Sprintf("the cache holds %d tokens, so long requests wait for each other; free more memory for more", p.blocks*block))
		return p, nil
	}
	if text.Context == 0 {
		whole := p.context
		for p.context > leastContext && p.total > p.free/10*9 { // it is taken at the load, and others need some, too
			p.context = max(leastContext, p.context*7/8)
			p.cells(p.context)
		}
		if p.fits {
			p.advice = append(p.advice, fmt.Sprintf("the context is %d tokens, not the %d that the model was trained for, since no more fits the memory", p.context, whole))
		}
	}
	return p, nil
}

// cells sets the size of the cache, and what follows from it.
func (p *plan) cells(n int) {
	x := p.shape
	p.blocks = (n + block - 1) / block
	p.cache = int64(p.blocks) * block * p.cellBytes
	perRow := 4 * int64(3*x.width+2*x.heads*x.head+2*x.kvHeads*x.head+2*x.inner)
	const rest = 16 << 20 // the vocabulary, int8 activations
	p.compute = int64(p.rows)*perRow + 4*int64(p.outputs)*int64(x.vocab) + rest
	p.compute += 4 * int64(p.workers) * int64(x.tile()) * int64(p.seen()+2*x.head)
	p.total = p.weights + p.cache + p.compute
	p.fits = p.free == 0 || p.total <= p.free
}

// seen is the most cells that a row may see, in whole blocks.
func (p *plan) seen() int { return min(p.blocks, blocksFor(p.context)) * block }

// err says that the plan does not fit and what to change; nil where it fits.
func (p *plan) err(model string) error {
	if p.fits {
		return nil
	}
	return serval.Errorf(serval.ResourceExhausted, "model '%s' does not fit: it takes %s (weights %s, key-value cache %s for %d tokens, computing %s) and %s is free; %s",
		model, sizeText(p.total), sizeText(p.weights), sizeText(p.cache), p.blocks*block, sizeText(p.compute), sizeText(p.free), strings.Join(p.changes(), ", or "))
}

// changes are what would make it fit.
func (p *plan) changes() []string {
	var out []string
	if rest := p.total - p.cache; p.free > rest {
		if fit := int((p.free-rest)/p.cellBytes) / block * block; fit >= leastContext {
			out = append(out, fmt.Sprintf("set text.context and text.cache to at most %d", fit))
		}
	}
	if p.store != kernel.StoreQ8 && p.total-p.cache+int64(p.blocks)*block*p.shape.cellBytes(kernel.StoreQ8) <= p.free {
		out = append(out, "set options.kv_type to q8_0, which halves the cache")
	}
	if p.weights > p.free/2 {
		out = append(out, "take a file with fewer bits a weight")
	}
	return append(out, fmt.Sprintf("free %s of memory", sizeText(p.total-p.free)))
}

// Plan says what a model will take; see engine.Planner.
func (e *Engine) Plan(spec engine.Spec) (*engine.Plan, error) {
	f, err := openFile(&spec)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if isBert(f) {
		x, err := bertOf(f)
		if err != nil {
			return nil, err
		}
		p, err := makeBertPlan(x, &spec.Settings, threadsOf(&spec), engine.FreeMemory("/"))
		if err != nil {
			return nil, err
		}
		return p.shown(), nil
	}
	x, err := shapeOf(f)
	if err != nil {
		return nil, err
	}
	p, err := makePlan(x, &spec.Settings, threadsOf(&spec), engine.FreeMemory("/"))
	if err != nil {
		return nil, err
	}
	out := &engine.Plan{File: x.file, Total: p.total, Free: p.free, Fits: p.fits, Context: p.context, Cache: p.blocks * block, Slots: p.slots, Advice: p.advice}
	if !p.fits {
		out.Advice = append(out.Advice, p.changes()...)
	}
	out.Parts = []engine.PlanPart{
		{Name: "weights", Bytes: p.weights, Note: x.arch},
		{Name: "key-value cache", Bytes: p.cache, Note: fmt.Sprintf("%d tokens of %d bytes (%s) in blocks of %d, shared by all sequences", p.blocks*block, p.cellBytes, p.store, block)},
		{Name: "computing", Bytes: p.compute, Note: fmt.Sprintf("%d tokens at once", p.rows)},
	}
	return out, nil
}

func sizeText(n int64) string {
	if n >= 1<<30 {
		return strconv.FormatFloat(float64(n)/(1<<30), 'f', 1, 64) + " GiB"
	}
	return strconv.FormatInt((n+1<<20-1)>>20, 10) + " MiB"
}
