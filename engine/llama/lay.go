package llama

import "errors"

// errFull cannot come, since one sequence alone always fits; see check.
var errFull = errors.New("llama: the key-value cache has no room for a single sequence")

// layRunning puts the batch of the running sequences together: the token that each picked last, and guesses at what follows.
func (d *decoder) layRunning() error {
	d.clearBatch()
	running := 0
	for _, s := range d.live {
		if s.adapter == d.turn && s.running() && !s.Waits() {
			running++
		}
	}
	d.running = running
	d.guess()
	list := d.live
	if d.plan.Stream > 0 {
		list = d.byStream()
	}
	for _, s := range list {
		if s.adapter != d.turn || !s.running() || s.Waits() || d.main.batch.room() == 0 {
			continue
		}
		if d.roomFor(s, 1) {
			d.addRows(s, 1)
		} else if s.id >= 0 {
			return errFull
		}
	}
	return nil
}

func (d *decoder) clearBatch() {
	if d.padded {
		d.lib.seqRm(d.main.mem, d.nobody, -1, -1)
		d.padded = false
	}
	d.main.batch.reset()
	d.batched = d.batched[:0]
}

// start gives places in the cache to sequences that have none. One that is to be alone finds an empty cache.
func (d *decoder) start() {
	if d.live[0].In.Alone && d.live[0].id < 0 && d.plan.Stream == 0 {
		d.clearCache()
	}
	for i, s := range d.live {
		if s.id >= 0 || s.Waits() {
			continue
		}
		if s.Made() > 0 && i > 0 { // it lost its place; not before all of it fits
			if len(s.Tokens)+ahead > d.idle() {
				return
			}
		}
		d.begin(s)
	}
}

// chooseAdapter picks whose turn it is: adapters that have something to compute take turns. It reports false if nobody has.
func (d *decoder) chooseAdapter() bool {
	if len(d.adapters) == 0 {
		d.turn = nil
		for _, s := range d.live {
			if s.id >= 0 && !s.Waits() {
				return true
			}
		}
		return false
	}
	at, found := -1, false
	var list []*adapter
	for _, s := range d.live {
		if s.id < 0 || s.Waits() {
			continue
		}
		found = true
		known := false
		for _, a := range list {
			known = known || a == s.adapter
		}
		if !known {
			list = append(list, s.adapter)
		}
	}
	for i, a := range list {
		if a == d.turn {
			at = i
		}
	}
	if found {
		d.turn = list[(at+1)%len(list)]
	}
	return found
}

// roomFor sees to it that n cells are free for s: kept sequences make room, then the sequence that came last, which is computed
// again later. It reports false if that is s itself. Sequences must be asked for in the order in which they came, so that none
// that has rows in the batch loses its place.
func (d *decoder) roomFor(s *sequence, n int) bool {
	for !d.makeRoom(n) {
		last := d.lastPlaced()
		if last == nil {
			return false
		}
		if last == s && d.placed() == 1 {
			return false
		}
		d.release(last)
		if last == s {
			return false
		}
	}
	return true
}

func (d *decoder) lastPlaced() *sequence {
	for i := len(d.live) - 1; i >= 0; i-- {
		if d.live[i].id >= 0 {
			return d.live[i]
		}
	}
	return nil
}

func (d *decoder) placed() (n int) {
	for _, s := range d.live {
		if s.id >= 0 {
			n++
		}
	}
	return n
}

// guess sets what may follow the next tokens of the running sequences, as far as there is room that nobody needs.
func (d *decoder) guess() {
	if d.plan.Stream > 0 && d.running > 1 { // of streams, llama.cpp computes as many tokens of each together
		return
	}
	most := min(d.plan.Outputs, d.main.batch.room(), len(d.cells.free)) - d.running
	for _, s := range d.live {
		if s.adapter == d.turn && s.running() && !s.Waits() {
			d.guesses.Offer(s.Answer, most)
		}
	}
	d.guesses.Choose(&d.pace.Pace, d.running, most)
}

// addRows adds the next n tokens of s, and its guesses at what follows them. The caller has made room.
func (d *decoder) addRows(s *sequence, n int) {
	b := d.main.batch
	s.row, s.rows = b.n, n
	s.cells = d.cells.take(s.cells, n+len(s.Guesses))
	for i := s.Done; i < s.Done+n; i++ {
		b.add(s.Tokens[i], int32(i), s.id, s.Wants(i))
	}
	for i, g := range s.Guesses {
		b.add(g, int32(s.Done+n+i), s.id, true)
	}
	d.batched = append(d.batched, s)
}

// tiled is from how many rows on llama.cpp computes attention on CPUs by another kernel, which rounds in another way (32 bits where the
// other has 16; see docs/decisions/0007-llama.md). So that an answer does not depend on who else is there, running sequences and
// short prompts are computed in batches of fewer rows, and long prompts in pieces of at least as many.
const tiled = 64

// alonePiece is the piece in which the prompt of a call that is to be repeatable is read, whatever the clock says.
const alonePiece = 256

func (s *sequence) short() bool { return s.Prompt < tiled }

// readPrompts computes a piece of the prompts that are read: in one batch, short ones or pieces of long ones, whichever came first;
// or, where each has its stream, one after the other. The first gets half of the piece or more, the shortest the rest, so that they
// pass a long one and the long one gets on. It reports whether there was something to compute.
func (d *decoder) readPrompts() (computed bool, err error) {
	d.clearBatch()
	streams := d.plan.Stream > 0
	var reading []*sequence
	for _, s := range d.live {
		if s.id >= 0 && s.adapter == d.turn && !s.Waits() && !s.running() && (streams || len(reading) == 0 || s.short() == reading[0].short()) {
			reading = append(reading, s)
		}
	}
	if len(reading) == 0 {
		return false, nil
	}
	budget := d.pace.piece(d.running, d.main.batch.room(), d.chunk)
	switch {
	case reading[0].In.Alone:
		budget = min(alonePiece, d.main.batch.room())
	case reading[0].short() && !streams:
		budget = tiled - 1
	}
	share := d.divide(reading, budget)
	if streams {
		return d.readStreams(reading, share)
	}
	for i, s := range reading {
		d.layPrompt(s, share[i])
	}
	if d.main.batch.n == 0 {
		return false, nil
	}
	if !reading[0].short() && !reading[0].In.Alone && !d.recurrent {
		d.pad()
	}
	err = d.compute(d.pace.SawPrompt)
	d.clearBatch()
	return true, err
}

// pad fills a batch up to the kernel for long prompts with tokens of no sequence, where a beginning that was in the cache left few
// to be computed: they would be rounded otherwise than without the cache. Where tokens are dear, it is left.
func (d *decoder) pad() {
	b := d.main.batch
	n := tiled - b.n
	if b.n == 0 || n <= 0 || len(b.tokens) < tiled || !d.pace.cheap() || !d.makeRoom(n) {
		return
	}
	for i := range n {
		b.add(0, int32(i), d.nobody, false)
	}
	d.padded = true
}

// divide shares a budget of tokens; see readPrompts.
func (d *decoder) divide(reading []*sequence, budget int) []int {
	share := make([]int, len(reading))
	give := func(i, n int) {
		n = min(n, reading[i].Left()-share[i], budget)
		share[i] += n
		budget -= n
	}
	give(0, (budget+1)/2)
	for range reading {
		at := -1 // the shortest that has nothing yet
		for i, s := range reading {
			if i > 0 && share[i] == 0 && (at < 0 || s.Left() < reading[at].Left()) {
				at = i
			}
		}
		if at < 0 || reading[at].Left() > budget {
			break
		}
		give(at, budget)
	}
	for i, s := range reading {
		if i > 0 && !s.short() && s.Left()-share[i] > budget && share[i]+budget < tiled {
			continue // too short a piece for its kernel; the first may have it
		}
		give(i, budget)
	}
	if total := reading[0].Left() - share[0]; total > 0 && total < tiled && !reading[0].short() {
		share[0] += min(total, d.main.batch.room()-sum(share)) // a rest would be too short for a piece of its own
	}
	return share
}

func sum(list []int) (n int) {
	for _, v := range list {
		n += v
	}
	return n
}

// layPrompt adds a piece of a prompt. Where the log-probabilities of its tokens are asked for, the logits of each row are
// needed, which bounds it.
func (d *decoder) layPrompt(s *sequence, n int) {
	if n <= 0 || s.id < 0 {
		return
	}
	b := d.main.batch
	if s.short() {
		n = min(n, tiled-1)
	}
	if s.Echoes(s.Done + 1) {
		n = min(n, d.plan.Outputs-b.wanted)
	}
	if s.Left() == n && b.wanted >= d.plan.Outputs {
		n-- // no room for the logits of its last token
	}
	if n <= 0 {
		return
	}
	if !d.makeRoom(n) {
		// Others lose their place for it only where nothing else can be computed: what has rows in the batch must keep its.
		if n = min(n, len(d.cells.free)); n == 0 && (b.n > 0 || !d.roomFor(s, 1)) {
			return
		}
		n = max(n, 1)
	}
	d.addRows(s, n)
}
