package llama

import (
	"slices"

	"serval/llm/decode"
)

// Where the memory allows, each sequence has a stream of its own in the cache: as many cells as the longest sequence may need.
// Attention then looks at that stream only, while in a cache that all share it walks over the cells of all (a third of the time
// of a step of 16 short sequences of a small model), and every token stands where it would stand if the sequence were the only one.
//
// Streams 0 to slots-1 are computed in, the lowest first: llama.cpp computes neighbours together. The streams above, if there are
// any, are an archive of finished sequences. A beginning is used where it stands, or the whole stream is copied.

// archived says whether a stream is one of the archive.
func (d *decoder) archived(id int32) bool { return int(id) >= d.slots }

// copyTokens is how many tokens of a prompt could be read in the time in which a stream is copied.
func (d *decoder) copyTokens() int {
	if d.pace.PerPrompt() == 0 {
		return worthWaiting
	}
	return int(d.copySeconds() / d.pace.PerPrompt())
}

// copySeconds is about what copying a stream takes.
func (d *decoder) copySeconds() float64 {
	const bytesPerSecond = 4e9
	return float64(int64(d.plan.Stream)*d.plan.KVCell) / bytesPerSecond
}

// beginStream gives s a stream, with what of its beginning is in the cache and worth fetching. It reports false if s had better
// wait.
func (d *decoder) beginStream(s *sequence) bool {
	from, ahead := d.find(s)
	if ahead != nil {
		return false
	}
	worth := max(d.copyTokens(), worthWaiting)
	if from.kept != nil && !d.archived(from.id) && from.n >= worth {
		d.adopt(s, from.kept)
		return true
	}
	k, id, ok := d.pickStream()
	if !ok {
		return false
	}
	own := 0 // of the beginning stands in that stream
	if k != nil && k.adapter == s.adapter && k.salt == s.In.Salt && !s.In.Alone {
		if own = d.usable(decode.Common(k.tokens, s.Tokens), len(k.tokens), s.Cacheable()); !d.alike(s, own, k.prompt) {
			own = 0
		}
	}
	if from.n < own+worth {
		if own > 0 {
			d.adopt(s, k)
			return true
		}
		from.n = 0
	}
	if k != nil {
		d.archive(k, from.kept)
		d.forget(k)
	}
	d.claim(id)
	s.id, s.Done, s.cells = id, from.n, s.cells[:0]
	if from.kept != nil {
		from.kept.used = d.clock
	}
	if from.n > 0 {
		d.lib.seqCp(d.main.mem, from.id, id, -1, -1)
		d.lib.seqRm(d.main.mem, id, int32(from.n), -1)
		s.cells = d.cells.take(s.cells, from.n)
	}
	s.Began()
	return true
}

// adopt lets s go on where a kept sequence stands. What of that is no part of s is archived, if it is long.
func (d *decoder) adopt(s *sequence, k *kept) {
	n := d.usable(decode.Common(k.tokens, s.Tokens), len(k.tokens), s.Cacheable())
	if len(k.tokens)-n > n/2 {
		d.archive(k, nil)
	}
	d.kept = slices.DeleteFunc(d.kept, func(o *kept) bool { return o == k })
	s.id, s.Done = k.id, n
	if n < len(k.tokens) {
		d.lib.seqRm(d.main.mem, k.id, int32(n), -1)
	}
	s.cells = d.cells.drop(k.cells, n)
	s.Began()
}

// pickStream picks where the next sequence is computed: with an archive the lowest stream that is not, else an empty one before
// one with a kept sequence, and of those the one that was used longest ago.
func (d *decoder) pickStream() (*kept, int32, bool) {
	empty, found := int32(0), false
	for _, id := range d.ids {
		if !d.archived(id) && (!found || id < empty) {
			empty, found = id, true
		}
	}
	var best *kept
	for _, k := range d.kept {
		switch {
		case d.archived(k.id):
		case best == nil, d.plan.Archive > 0 && k.id < best.id, d.plan.Archive == 0 && k.used < best.used:
			best = k
		}
	}
	if best == nil || found && (d.plan.Archive == 0 || empty < best.id) {
		return nil, empty, found
	}
	return best, best.id, true
}

// archive copies a kept sequence to the archive, in the place of the one used longest ago (but not of spare), if it would take
// much longer to compute it again.
func (d *decoder) archive(k, spare *kept) {
	const times = 4
	if d.plan.Archive == 0 || len(k.tokens) < times*max(d.copyTokens(), worthWaiting) {
		return
	}
	at := slices.IndexFunc(d.ids, d.archived)
	if at < 0 {
		var oldest *kept
		for _, o := range d.kept {
			if d.archived(o.id) && o != spare && (oldest == nil || o.used < oldest.used) {
				oldest = o
			}
		}
		if oldest == nil || oldest.used > k.used {
			return
		}
		d.forget(oldest)
		at = slices.IndexFunc(d.ids, d.archived)
	}
	id := d.ids[at]
	d.claim(id)
	d.lib.seqCp(d.main.mem, k.id, id, -1, -1)
	d.kept = append(d.kept, &kept{tokens: slices.Clone(k.tokens), prompt: k.prompt, id: id, cells: d.cells.take(nil, len(k.tokens)), adapter: k.adapter, salt: k.salt, used: k.used})
}

// claim takes an id out of the unused ones.
func (d *decoder) claim(id int32) {
	d.ids = slices.DeleteFunc(d.ids, func(o int32) bool { return o == id })
}

// byStream orders the live sequences as llama.cpp wants their rows: by stream.
func (d *decoder) byStream() []*sequence {
	list := slices.Clone(d.live)
	slices.SortStableFunc(list, func(a, b *sequence) int { return int(a.id - b.id) })
	return list
}

// readStreams computes a piece of each prompt, share[i] tokens of reading[i], one after the other: llama.cpp computes as many tokens of
// each stream together, and pieces of one length in one batch were measured to be no faster, while the first waits for the last.
func (d *decoder) readStreams(reading []*sequence, share []int) (computed bool, err error) {
	for i, s := range reading {
		d.layPrompt(s, share[i])
		if d.main.batch.n == 0 {
			continue
		}
		d.fill(s)
		computed = true
		if err := d.compute(d.pace.SawPrompt); err != nil {
			return true, err
		}
		d.clearBatch()
	}
	return computed, nil
}

// fill makes the piece of a prompt as long as the kernel for long prompts wants it, by tokens after its end that are taken out
// again; see pad.
func (d *decoder) fill(s *sequence) {
	b := d.main.batch
	n := tiled - s.rows
	at := s.Done + s.rows
	if n <= 0 || s.short() || s.In.Alone || d.recurrent || !d.pace.cheap() || at+n > d.plan.Stream || len(d.cells.free) < n {
		return
	}
	s.cells = d.cells.take(s.cells, n)
	for i := range n {
		b.add(0, int32(at+i), s.id, false)
	}
}
