package llama

import (
	"runtime"

	"serval"
	"serval/engine"
	"serval/llm/decode"
)

// decoder is a loaded model, an engine.Decoder and an engine.Language. Its methods are called by one goroutine, but for
// Signature, Memory and Language.
//
// One cache of keys and values, counted in cells (a cell is a token of a sequence), is shared by the sequences that are
// computed (live, in the order in which they came) and by those that are only kept for their beginnings.
type decoder struct {
	*weights
	plan     *Plan
	main     *session // makes text; nil for a model that makes vectors only
	encoders map[string]*encoder
	slots    int
	window   int // most tokens of a sequence
	chunk    int // most prompt tokens between two steps of running sequences; 0: by the clock
	threads  int

	live    []*sequence
	kept    []*kept
	ids     []int32 // unused sequence ids
	cells   *cells
	marks   []bool // scratch of idle
	clock   uint64 // steps
	turn    *adapter
	loras   loras
	jobs    []*decode.Texts
	pace    pace
	answers decode.Model
	guesses decode.Guesses

	batched []*sequence // that have rows in the batch
	running int         // sequences that have a next token to be computed
	nobody  int32       // the sequence of tokens that only fill a batch; see pad
	padded  bool        // it has some in the cache
}

// Signature is empty: it takes text.
func (d *decoder) Signature() serval.Signature { return serval.Signature{} }

// Memory is what the plan said.
func (d *decoder) Memory() engine.Memory {
	return engine.Memory{Bytes: d.plan.Total, Estimated: true}
}

// Language says what it can do.
func (d *decoder) Language() serval.Language {
	f := d.facts
	names := make([]string, 0, len(d.adapters))
	for name := range d.adapters {
		names = append(names, name)
	}
	return serval.Language{
		File: d.plan.File, Context: d.window, Slots: d.slots, Generate: !f.Encoder, Embed: f.Pooling != "rank", Rank: f.Pooling == "rank",
		Width: d.width, Pooling: f.ownPooling(), Adapters: sorted(names),
	}
}

// ownPooling is how a model makes one vector of its tokens' where nobody says.
func (f *facts) ownPooling() string {
	switch {
	case f.Pooling != "":
		return f.Pooling
	case f.Encoder:
		return "mean"
	}
	return "last" // the only token of a causal model that has seen the whole text
}

// clearCache forgets everything, also where the next token will stand in the cache.
func (d *decoder) clearCache() {
	for _, s := range d.live {
		s.id, s.Done, s.cells = -1, 0, nil
	}
	d.kept = nil
	d.padded = false
	d.lib.memClear(d.main.mem, false)
	d.cells.reset()
	d.freshIDs()
}

func (d *decoder) freshIDs() {
	d.ids = d.ids[:0]
	d.nobody = int32(d.sequences())
	for id := d.sequences() - 1; id >= 0; id-- {
		d.ids = append(d.ids, int32(id))
	}
}

// sequences is how many sequences the cache may hold, kept ones among them.
func (d *decoder) sequences() int {
	if d.plan.Stream > 0 {
		return d.slots + d.plan.Archive
	}
	if d.recurrent {
		return d.slots + d.plan.spare()
	}
	return min(int(d.lib.maxSequences())-1, d.slots+128)
}

// Close frees all.
func (d *decoder) Close() error {
	for _, s := range d.live {
		s.Fail(serval.ErrRetired)
	}
	for _, j := range d.jobs {
		j.Fail(serval.ErrRetired)
	}
	d.live, d.kept, d.jobs = nil, nil, nil
	for _, e := range d.encoders {
		e.session.close()
	}
	d.main.close()
	d.weights.close()
	d.lib.giveBack()
	runtime.GC()
	return nil
}
