package llama

import "serval/llm/decode"

// usable is how many of n common tokens can be taken over from something with done tokens in the cache: a recurrent state
// cannot be cut, so it must be a whole one.
func (d *decoder) usable(n, done, most int) int {
	n = min(n, most)
	if !d.recurrent {
		return min(n, done)
	}
	if done > n {
		return 0
	}
	return done
}

// alike says whether n tokens that begin another sequence, whose prompt had so many, were computed as those of s would be. Those of a
// short prompt are rounded in another way than those of a long one (see tiled), and at most so many are worth computing again. What
// was answered is computed token by token, and taken as it is: a conversation goes on from there.
func (d *decoder) alike(s *sequence, n, prompt int) bool {
	return s.short() == (prompt < tiled) || n > prompt || !d.pace.cheap()
}

// source is where a sequence's beginning stands in the cache.
type source struct {
	id    int32
	cells []int32
	n     int
	kept  *kept // nil: a live sequence
}

// find looks for the longest beginning of s in the cache. ahead is an earlier sequence which will have more of it soon, so
// that s had better wait; nil if there is none.
func (d *decoder) find(s *sequence) (best source, ahead *sequence) {
	most, promised := s.Cacheable(), 0
	if most == 0 || s.In.Alone {
		return best, nil
	}
	for _, k := range d.kept {
		if k.adapter != s.adapter || k.salt != s.In.Salt {
			continue
		}
		if n := d.usable(decode.Common(k.tokens, s.Tokens), len(k.tokens), most); n > best.n && d.alike(s, n, k.prompt) {
			best = source{k.id, k.cells, n, k}
		}
	}
	before := true
	for _, o := range d.live {
		if o == s {
			before = false
			continue
		}
		if o.adapter != s.adapter || o.In.Salt != s.In.Salt || o.In.Alone {
			continue
		}
		n := decode.Common(o.Tokens, s.Tokens)
		if !d.alike(s, n, o.Prompt) {
			continue
		}
		if o.id >= 0 {
			if n := d.usable(n, o.Done, most); n > best.n {
				best = source{o.id, o.cells, n, nil}
			}
		}
		if n = min(n, most); before && !d.recurrent && !o.Waits() && n > o.Done && n > promised {
			promised, ahead = n, o
		}
	}
	worth := worthWaiting
	if d.plan.Stream > 0 {
		worth = max(worth, d.copyTokens())
	}
	if promised < best.n+worth {
		ahead = nil
	}
	return best, ahead
}

// worthWaiting is how many tokens more an earlier sequence must promise for a later one to wait for it.
const worthWaiting = 16

// begin gives s a place in the cache, with what of its beginning is there already. It reports false if it had better wait.
func (d *decoder) begin(s *sequence) bool {
	if d.plan.Stream > 0 {
		return d.beginStream(s)
	}
	from, ahead := d.find(s)
	if ahead != nil {
		return false
	}
	if from.kept != nil {
		from.kept.used = d.clock
	}
	id, ok := d.freeID(from.kept)
	if !ok {
		return false
	}
	s.id, s.Done = id, from.n
	if from.n > 0 {
		end := int32(from.n)
		if d.recurrent {
			end = -1
		}
		d.lib.seqCp(d.main.mem, from.id, id, 0, end)
		s.cells = d.cells.share(s.cells[:0], from.cells[:from.n])
	}
	s.Began()
	return true
}

// freeID finds an unused sequence id; the kept sequence that was used longest ago makes room, but not spare.
func (d *decoder) freeID(spare *kept) (int32, bool) {
	if len(d.ids) == 0 {
		oldest := d.oldest(spare)
		if oldest == nil {
			return 0, false
		}
		d.forget(oldest)
	}
	id := d.ids[len(d.ids)-1]
	d.ids = d.ids[:len(d.ids)-1]
	return id, true
}

func (d *decoder) oldest(spare *kept) (oldest *kept) {
	for _, k := range d.kept {
		if k != spare && (oldest == nil || k.used < oldest.used) {
			oldest = k
		}
	}
	return oldest
}

// keep leaves a sequence that ends in the cache for those that begin like it.
func (d *decoder) keep(s *sequence) {
	if s.id < 0 {
		return
	}
	if s.Done == 0 || s.In.Alone {
		d.release(s)
		return
	}
	k := &kept{tokens: s.Tokens[:s.Done], prompt: s.Prompt, id: s.id, cells: s.cells, adapter: s.adapter, salt: s.In.Salt, used: d.clock}
	s.id, s.cells, s.Done = -1, nil, 0
	// What it begins with is needed no more on its own.
	for i := len(d.kept) - 1; i >= 0; i-- {
		o := d.kept[i]
		if o.adapter == k.adapter && o.salt == k.salt && len(o.tokens) <= len(k.tokens) && !d.recurrent && (o.prompt < tiled) == (k.prompt < tiled) && decode.Common(o.tokens, k.tokens) == len(o.tokens) {
			d.forget(o)
		}
	}
	d.kept = append(d.kept, k)
}

// release takes a sequence's place in the cache away.
func (d *decoder) release(s *sequence) {
	if s.id < 0 {
		return
	}
	d.lib.seqRm(d.main.mem, s.id, -1, -1)
	d.ids = append(d.ids, s.id)
	s.cells = d.cells.drop(s.cells, 0)
	s.id, s.Done = -1, 0
}

// forget takes a kept sequence out of the cache.
func (d *decoder) forget(k *kept) {
	d.lib.seqRm(d.main.mem, k.id, -1, -1)
	d.ids = append(d.ids, k.id)
	d.cells.drop(k.cells, 0)
	for i := range d.kept {
		if d.kept[i] == k {
			d.kept = append(d.kept[:i], d.kept[i+1:]...)
			return
		}
	}
}

// trimStep is how many tokens at least are cut off a kept sequence when cells are needed: its end is worth least.
const trimStep = 256

// makeRoom frees cells until n are free, of kept sequences only; it reports whether there are.
func (d *decoder) makeRoom(n int) bool {
	for len(d.cells.free) < n {
		k := d.oldest(nil)
		if k == nil {
			return false
		}
		cut := max(n-len(d.cells.free), trimStep)
		if d.recurrent || cut >= len(k.tokens) {
			d.forget(k)
			continue
		}
		end := len(k.tokens) - cut
		d.lib.seqRm(d.main.mem, k.id, int32(end), -1)
		k.cells = d.cells.drop(k.cells, end)
		k.tokens = k.tokens[:end]
	}
	return true
}

// idle is how many cells are free, or would be without the kept sequences.
func (d *decoder) idle() int {
	n := d.cells.size()
	seen := d.marks
	clear(seen)
	for _, s := range d.live {
		for _, c := range s.cells {
			if !seen[c] {
				seen[c] = true
				n--
			}
		}
	}
	return n
}
