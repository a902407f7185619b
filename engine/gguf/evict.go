package gguf

// evictor orders the blocks that are kept by what losing them would cost: that of the lowest worth goes first. It is GreedyDual-Size (Cao and
// Irani, "Cost-Aware WWW Proxy Caching Algorithms", 1997) with the number of uses as a factor (Cherkasova, "Improving WWW Proxies Performance
// with Greedy-Dual-Size-Frequency Caching Policy", 1998): when a block is let go its worth becomes the clock + uses × cost, and the clock is
// the worth of the block that was evicted last. So what is dear to compute or often used outlasts a flood of what is used once, and nothing
// does for ever. All blocks are of one size; the cost is that of computing a block's tokens again, which grows with their position.
//
// A block is worth no less than any that follows it, and of equals the one let go first goes first: so of a chain the end goes before the
// beginning, and none is left that cannot be found. Worths are whole numbers: the same calls evict the same blocks.
type evictor struct {
	costs
	clock uint64
	given uint64   // places in the order of letting go
	worth []uint64 // of a block that has a name, when it was last let go or copied from
	turn  []uint64 // its place then
	uses  []uint32 // by different sequences
	begin []int32  // position of its first token
	heap  []int32  // the kept blocks, the first to go at the top
	at    []int32  // a block's index in heap; -1: it is not kept
}

// costs are what a token costs: fixed, and for each position before it, in any unit. With zeros age alone decides.
type costs struct{ token, position uint64 }

// mostUses bounds the factor, so that a block that everybody used once does not stay for as many evictions as it had users.
const mostUses = 64

func newEvictor(blocks int, c costs) evictor {
	e := evictor{
		costs: c, worth: make([]uint64, blocks), turn: make([]uint64, blocks), uses: make([]uint32, blocks), begin: make([]int32, blocks),
		heap: make([]int32, 0, blocks), at: make([]int32, blocks),
	}
	for i := range e.at {
		e.at[i] = -1
	}
	return e
}

// born begins the count of a block that gets a name.
func (e *evictor) born(b int32, begin int) { e.worth[b], e.uses[b], e.begin[b] = 0, 1, int32(begin) }

// used counts a use.
func (e *evictor) used(b int32) { e.uses[b] = min(e.uses[b]+1, mostUses) }

// price gives a named block of so many tokens its worth, which is at least that of what follows it, and returns it.
func (e *evictor) price(b, tokens int32, least uint64) uint64 {
	cost := uint64(tokens) * (e.token + e.position*uint64(e.begin[b]+tokens/2))
	e.worth[b] = max(e.worth[b], least, e.clock+uint64(e.uses[b])*cost)
	return e.worth[b]
}

// before says whether a goes before b.
func (e *evictor) before(a, b int32) bool {
	if e.worth[a] != e.worth[b] {
		return e.worth[a] < e.worth[b]
	}
	return e.turn[a] < e.turn[b]
}

// link keeps a block, unlink ends that, whatever the reason.
func (e *evictor) link(b int32) {
	e.given++
	e.turn[b], e.at[b] = e.given, int32(len(e.heap))
	e.heap = append(e.heap, b)
	e.up(e.at[b])
}

func (e *evictor) unlink(b int32) {
	i, last := e.at[b], int32(len(e.heap)-1)
	moved := e.heap[last]
	e.heap, e.at[b] = e.heap[:last], -1
	if i == last {
		return
	}
	e.heap[i], e.at[moved] = moved, i
	e.up(i)
	e.down(e.at[moved])
}

// evict unlinks the block that is worth least. There is one.
func (e *evictor) evict() int32 {
	b := e.heap[0]
	e.clock = max(e.clock, e.worth[b])
	e.unlink(b)
	return b
}

func (e *evictor) up(i int32) {
	for i > 0 && e.before(e.heap[i], e.heap[(i-1)/2]) {
		e.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (e *evictor) down(i int32) {
	for n := int32(len(e.heap)); ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < n; c++ {
			if e.before(e.heap[c], e.heap[least]) {
				least = c
			}
		}
		if least == i {
			return
		}
		e.swap(i, least)
		i = least
	}
}

func (e *evictor) swap(i, j int32) {
	e.heap[i], e.heap[j] = e.heap[j], e.heap[i]
	e.at[e.heap[i]], e.at[e.heap[j]] = i, j
}

// costs are those of a token in this net, in tenths of a product of int8 for each value of its heads: what its layers multiply, and what
// attention does for each position. Attention's products are of floats and take 3.6 times as long (measured with SmolLM2: attention takes as
// long as the layers at the position 843, by this sum at 853). That local layers see fewer positions is left out.
func (x *shape) costs() costs {
	all, keys := x.heads*x.head, x.kvHeads*x.head
	return costs{token: uint64(10 * x.width * (2*all + 2*keys + 3*x.inner) / all), position: 72}
}
