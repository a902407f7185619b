package llama

import (
	"runtime"
	"slices"

	"serval"
	"serval/engine"
	"serval/llm/decode"
	"serval/llm/sample"
)

// newDecoder makes the contexts over loaded weights and computes once, so that the first request finds the weights in memory.
func newDecoder(w *weights, plan *Plan, spec *engine.Spec) (*decoder, error) {
	text := serval.TextSettings{}
	if spec.Settings.Text != nil {
		text = *spec.Settings.Text
	}
	d := &decoder{
		weights: w, plan: plan, encoders: map[string]*encoder{}, slots: plan.Slots, window: plan.Context, chunk: text.Chunk, threads: threadsOf(spec),
		pace: pace{patience: patience}, answers: decode.Model{Name: w.name, Words: w.words, Context: plan.Context, Pooling: w.facts.ownPooling(), Argmax: sample.Argmax},
	}
	if w.lib.isDiffusion(w.model) || w.lib.hasEncoder(w.model) && w.lib.hasDecoder(w.model) {
		return nil, serval.Errorf(serval.Unimplemented, "%s: models of architecture %s are not served: only those that make a text token by token, or vectors", plan.File, plan.Architecture)
	}
	root := spec.Root
	if root == "" {
		root = spec.Dir
	}
	if err := w.loadAdapters(root, text.Adapters); err != nil {
		return nil, err
	}
	if w.facts.Encoder {
		return d, nil
	}
	if w.recurrent && plan.Stream > 0 { // the header did not tell
		plan.Stream, plan.Archive, plan.recurrent = 0, 0, true
		plan.cache(&w.facts, max(plan.Context, plan.Slots*slotCells))
	}
	p := w.lib.contextDefaults()
	kv, err := kvTypeOf(spec.Settings.Options)
	if err != nil {
		return nil, err
	}
	p.TypeK, p.TypeV = kv.ggml, kv.ggml
	p.Ctx, p.Batch, p.Ubatch = uint32(plan.Cells), uint32(min(plan.ubatch, plan.Cells)), uint32(plan.ubatch)
	p.OutputsMax, p.OutputsMaxPerSeq = uint32(plan.Outputs), 1
	p.Unified, p.SWAFull = true, true
	// A recurrent model has a state for each sequence; of others only the rows of logits depend on this number.
	p.SeqMax = uint32(plan.Slots + plan.spare())
	if plan.Stream > 0 {
		p.Unified, p.SeqMax = false, uint32(plan.Slots+plan.Archive)
	}
	switch v := spec.Settings.Options["flash_attention"]; v {
	case "", "auto":
	case "on":
		p.FlashAttention = 1
	case "off":
		p.FlashAttention = 0
	default:
		return nil, serval.Errorf(serval.InvalidArgument, "options.flash_attention is %q; use on, off or auto", v).At("options.flash_attention")
	}
	if d.main, err = w.newSession(p, d.threads); err != nil {
		return nil, err
	}
	d.cells = newCells(plan.Cells)
	d.marks = make([]bool, plan.Cells)
	d.freshIDs()
	if err := d.warm(); err != nil {
		d.main.close()
		return nil, err
	}
	return d, nil
}

// warm computes one token and forgets it. It does so on a thread that ends then, not on its caller's: a library that computes with
// OpenMP keeps a team of threads for each thread that ever called it, and as soon as there are more of them than processors it has
// them all sleep and wake between the parts of a step, which cost two thirds of the tokens of one sequence.
func (d *decoder) warm() error {
	token, ok := d.words.BOS()
	if !ok {
		token = 0
	}
	d.main.batch.reset()
	d.main.batch.add(token, 0, 0, true)
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		failed <- d.main.decode()
	}()
	if err := <-failed; err != nil {
		return err
	}
	d.clearCache()
	return nil
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

// threadsOf is what the settings say, or every core.
func threadsOf(spec *engine.Spec) int {
	if spec.Settings.Threads == 0 && spec.Cores > 0 {
		return spec.Cores
	}
	return max(spec.Threads, 1)
}
