package tree

// set is what a split over categories asks.
type set struct {
	bits  []uint32
	in    bool // the categories of the set go left; else right
	right bool // a missing one goes right
}

func (s *split) isSet() bool { return s.test == inSet || s.test == notInSet }

func (s *split) asSet() set {
	return set{bits: s.set, in: s.test == inSet, right: s.absent == nanRight}
}

// goesRight decides for a category, or one of the codes that are none.
func (s *set) goesRight(code int64) bool {
	if code == codeMissing {
		return s.right
	}
	found := code >= 0 && code>>5 < int64(len(s.bits)) && s.bits[code>>5]>>(code&31)&1 != 0
	return found != s.in
}

// setTable holds the sets of a forest: as bits where nodes are narrow, else as they are.
type setTable struct {
	bits []uint32
	room map[int]int64 // how many keys a code view has, by its number; nil: codes are keys as they are
	free int64         // the next bit
	list []set
}

// setExtent is what is known of the sets of one view before they are laid out.
type setExtent struct {
	count      int64
	categories int64 // of the largest
}

// maxBits bounds the bits of all sets that are laid out: 16 MB.
const maxBits = 1 << 27

// fitBits makes room for the sets as bits; it reports false if they are too large.
func (t *setTable) fitBits(x extent) bool {
	if len(x.sets) == 0 {
		return true
	}
	total, most := int64(0), int64(0)
	room := map[int]int64{}
	for view, e := range x.sets {
		n := e.categories + firstCode + 1
		if e.count > maxBits/n {
			return false
		}
		room[view] = n
		most = max(most, n)
		if total += e.count * n; total > maxBits {
			return false
		}
	}
	t.room = room
	t.free = most // the bound of a set is above all its keys
	t.bits = make([]uint32, (total+most)/32+1)
	return true
}

// ask lays a set out and returns its bound.
func (t *setTable) ask(s set, view int) int32 {
	bound := t.free
	for key := range t.room[view] {
		if s.goesRight(key - firstCode) {
			t.bits[(bound+key)/32] |= 1 << ((bound + key) % 32)
		}
	}
	t.free += t.room[view]
	return int32(bound)
}

// keep holds a set as it is and returns its number.
func (t *setTable) keep(s set) uint32 {
	t.list = append(t.list, s)
	return uint32(len(t.list) - 1)
}

func (t *setTable) bytes() int64 {
	n := int64(len(t.bits)) * 4
	for i := range t.list {
		n += int64(len(t.list[i].bits)) * 4
	}
	return n
}
