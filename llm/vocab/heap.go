package vocab

// link is a symbol in a list of symbols that are being merged. A symbol that was merged into the one before it has n 0.
type link struct {
	prev, next int32 // -1 at the ends
	from, n    int32 // its bytes in the text
	id         int32 // what it is: a token, or a symbol that is none
}

// merge is a pair of neighbours that may become one.
type merge struct {
	rank  int64 // lower goes first
	left  int32 // its first symbol; of equal ranks the leftmost goes first
	right int32
	size  int32 // of both, in bytes: else the pair is out of date
	id    int32 // what they become
}

func (m merge) before(o merge) bool { return m.rank < o.rank || m.rank == o.rank && m.left < o.left }

// queue is a binary heap of merges. container/heap would box each of them.
type queue []merge

func (q *queue) push(m merge) {
	h := append(*q, m)
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !m.before(h[up]) {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = m
	*q = h
}

func (q *queue) pop() merge {
	h := *q
	top, last := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	for i := 0; len(h) > 0; {
		down := 2*i + 1
		if down >= len(h) {
			h[i] = last
			break
		}
		if down+1 < len(h) && h[down+1].before(h[down]) {
			down++
		}
		if !h[down].before(last) {
			h[i] = last
			break
		}
		h[i] = h[down]
		i = down
	}
	*q = h
	return top
}

// scratch is what merging a word needs; one for each call of Encode, from a pool.
type scratch struct {
	links []link
	queue queue
}

// bounded says whether the scratch may go back to the pool: one that a huge text has made large may not.
func (s *scratch) bounded() bool { return cap(s.links) <= 1<<16 && cap(s.queue) <= 1<<16 }

// merge merges neighbours, best first, until none is left that may be. may gives the merge of two neighbours; ok is false if
// there is none.
func (s *scratch) merge(may func(a, b *link) (rank int64, id int32, ok bool)) {
	s.queue = s.queue[:0]
	try := func(l, r int32) {
		if l < 0 || r < 0 {
			return
		}
		a, b := &s.links[l], &s.links[r]
		if rank, id, ok := may(a, b); ok {
			s.queue.push(merge{rank: rank, left: l, right: r, size: a.n + b.n, id: id})
		}
	}
	for i := 1; i < len(s.links); i++ {
		try(int32(i-1), int32(i))
	}
	for len(s.queue) > 0 {
		m := s.queue.pop()
		a, b := &s.links[m.left], &s.links[m.right]
		if a.n == 0 || b.n == 0 || a.n+b.n != m.size {
			continue
		}
		a.n, a.id, a.next = m.size, m.id, b.next
		b.n = 0
		if b.next >= 0 {
			s.links[b.next].prev = m.left
		}
		try(a.prev, m.left)
		try(m.left, a.next)
	}
}
