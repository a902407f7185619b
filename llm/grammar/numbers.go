package grammar

import (
	"math/big"
	"strings"
)

const (
	maxMultiple = 1000
	mostDigits  = 20 // before the point
)

// bound is a limit of numbers.
type bound struct {
	value    *big.Rat
	excluded bool
}

// numbers are the numbers between two limits, nil for none, perhaps whole ones only, or multiples. They are written without an
// exponent, and fractions with maxDigits digits in all, so that a reader who rounds to 64 bits finds them between the limits too.
type numbers struct {
	low, high *bound
	whole     bool
	multiple  int64
}

func (n *numbers) raise(b bound) {
	if n.low == nil || b.value.Cmp(n.low.value) > 0 || b.value.Cmp(n.low.value) == 0 && b.excluded {
		n.low = &b
	}
}

func (n *numbers) lower(b bound) {
	if n.high == nil || b.value.Cmp(n.high.value) < 0 || b.value.Cmp(n.high.value) == 0 && b.excluded {
		n.high = &b
	}
}

// decimal is a magnitude's digits before and after the point.
type decimal struct{ whole, part string }

// decimalOf writes a number out; nil where it has too many digits before the point to matter or more after it than 400.
func decimalOf(r *big.Rat) *decimal {
	text := new(big.Rat).Abs(r).FloatString(450)
	whole, part, _ := strings.Cut(text, ".")
	return &decimal{whole, strings.TrimRight(part, "0")}
}

// short says whether a number has no more digits than are generated.
func short(r *big.Rat) bool {
	d := decimalOf(r)
	return len(strings.TrimLeft(d.whole+d.part, "0")) <= maxDigits
}

// expr is their language; false where a limit asks for longer numbers than are generated.
func (n *numbers) expr() (*expr, bool) {
	zero := new(big.Rat)
	lo, hi := n.low, n.high
	if lo != nil && hi != nil {
		if c := lo.value.Cmp(hi.value); c > 0 || c == 0 && (lo.excluded || hi.excluded) {
			return never, true
		}
	}
	var kids []*expr
	if hi == nil || hi.value.Sign() >= 0 { // not negative
		from := &bound{zero, false}
		if lo != nil && lo.value.Sign() >= 0 {
			from = lo
		}
		x, ok := n.magnitude(from, hi)
		if !ok {
			return nil, false
		}
		kids = append(kids, x)
	}
	if lo == nil || lo.value.Sign() < 0 { // negative
		from := &bound{zero, true}
		if hi != nil && hi.value.Sign() < 0 {
			from = hi
		}
		x, ok := n.magnitude(from, lo)
		if !ok {
			return nil, false
		}
		kids = append(kids, seq(text("-"), x))
	}
	return alt(kids...), true
}

// magnitude are the digits between two limits, whose signs do not count.
func (n *numbers) magnitude(low, high *bound) (*expr, bool) {
	d := &digits{n: n, low: decimalOf(low.value), lowOut: low.excluded, ids: map[digitState]int32{}}
	if high != nil {
		if high.value.Sign() == 0 && high.excluded {
			return never, true
		}
		d.high, d.highOut = decimalOf(high.value), high.excluded
	}
	longest := maxDigits
	if len(d.low.whole) >= mostDigits {
		return nil, false
	}
	longest = max(longest, len(d.low.whole)+1)
	if d.high != nil {
		if len(d.high.whole) > mostDigits {
			d.high = nil
		} else {
			longest = len(d.high.whole)
		}
	}
	d.add(digitState{}) // the start
	for length := len(d.low.whole); length <= longest; length++ {
		d.begin(length)
	}
	for len(d.work) > 0 {
		s := d.work[len(d.work)-1]
		d.work = d.work[:len(d.work)-1]
		d.expand(s)
	}
	return &expr{op: opGraph, graph: &d.graph}, true
}

// digitState is where a number is: how many digits before the point are left (or after it, at most), whether it equals a limit
// so far, and its remainder. at counts the digits read, where a limit is still to be compared with or the first digit is next.
type digitState struct {
	used         bool
	point        bool // after the point
	need         bool // a digit must come: just after the point
	left, at     int
	room         int  // for digits after the point; 0 once there
	tight, bound bool // equal so far to the low, the high limit
	rest         int64
}

// digits builds the graph of magnitudes.
type digits struct {
	graph           graph
	n               *numbers
	low, high       *decimal
	lowOut, highOut bool
	ids             map[digitState]int32
	work            []digitState
}

func (d *digits) add(s digitState) int32 {
	if !s.tight && !s.bound && s.at > 0 {
		s.at = 1 // nothing is compared any more
	}
	if id, ok := d.ids[s]; ok {
		return id
	}
	id := int32(len(d.graph.edges))
	d.ids[s] = id
	d.graph.edges = append(d.graph.edges, nil)
	d.graph.final = append(d.graph.final, s.used && d.ends(s))
	if s.used {
		d.work = append(d.work, s)
	}
	return id
}

// begin lets the start go on to numbers of so many digits before the point.
func (d *digits) begin(length int) {
	room := max(0, maxDigits-length)
	if d.n.whole {
		room = 0
	}
	s := digitState{used: true, left: length, room: room, tight: len(d.low.whole) == length, bound: d.high != nil && len(d.high.whole) == length}
	for _, m := range d.next(s) {
		if length == 1 || !m.set.has('0') {
			d.graph.edges[0] = append(d.graph.edges[0], m)
		}
	}
}

func (d *digits) expand(s digitState) {
	id := d.ids[s]
	moves := d.next(s)
	if s.left == 0 && s.room > 0 {
		t := s
		t.point, t.need, t.left, t.room, t.at = true, true, s.room, 0, 0
		moves = append(moves, move{one('.'), d.add(t)})
	}
	d.graph.edges[id] = append(d.graph.edges[id], moves...)
}

func digitAt(text string, i int) byte {
	if i < len(text) {
		return text[i]
	}
	return '0'
}

// next are the moves by a digit.
func (d *digits) next(s digitState) []move {
	if s.left == 0 {
		return nil
	}
	lo, hi := byte('0'), byte('9')
	side := func(x *decimal) byte {
		if s.point {
			return digitAt(x.part, s.at)
		}
		return digitAt(x.whole, s.at)
	}
	if s.tight {
		lo = side(d.low)
	}
	if s.bound {
		hi = side(d.high)
	}
	var out []move
	for c := lo; c <= hi; c++ {
		t := s
		t.left, t.at, t.need = s.left-1, s.at+1, false
		t.tight, t.bound = s.tight && c == lo, s.bound && c == hi
		if d.n.multiple > 1 {
			t.rest = (s.rest*10 + int64(c-'0')) % d.n.multiple
		}
		id := d.add(t)
		if n := len(out); n > 0 && out[n-1].to == id && c != '1' {
			out[n-1].set = set{{out[n-1].set[0].lo, rune(c)}}
			continue
		}
		out = append(out, move{one(rune(c)), id})
	}
	return out
}

// ends says whether the number may end.
func (d *digits) ends(s digitState) bool {
	if s.need || !s.point && s.left > 0 || s.rest != 0 {
		return false
	}
	// What is left of a limit, were it written on, is zeros: then the number is the limit.
	same := func(x *decimal) bool {
		if s.point {
			return len(x.part) <= s.at
		}
		return x.part == ""
	}
	if s.tight && (!same(d.low) || d.lowOut) {
		return false
	}
	return !s.bound || !same(d.high) || !d.highOut
}
