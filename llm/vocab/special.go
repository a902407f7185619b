package vocab

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"
)

// named is a token whose text is found in a text before anything else is.
type named struct {
	text   string
	id     int32
	always bool // also when names of special tokens are text: tokens that users added
	lstrip bool // takes the white space before it
	rstrip bool // takes the white space after it
	word   bool // only where no letter, digit or _ stands beside it
}

// finder finds named tokens in text. The longest go first, wherever they stand, as in llama.cpp; or the leftmost first and of
// those the longest, as in Hugging Face's tokenizers.
type finder struct {
	leftmost bool
	names    []named
	trie     *trie // its values are indices of names
	lengths  []int // of names, from long to short
}

func newFinder(names []named, leftmost bool) *finder {
	f := &finder{leftmost: leftmost, names: names}
	texts, values := make([]string, len(names)), make([]int32, len(names))
	for i := range names {
		texts[i], values[i] = names[i].text, int32(i)
		if n := len(texts[i]); n > 0 && !slices.Contains(f.lengths, n) {
			f.lengths = append(f.lengths, n)
		}
	}
	slices.SortFunc(f.lengths, func(a, b int) int { return cmp.Compare(b, a) })
	f.trie = newTrie(texts, values)
	return f
}

// found is a named token in a text: what it takes of it, and its id.
type found struct {
	from, to int
	id       int32
}

// find lists the names in s, in order.
func (f *finder) find(s string, special bool) []found {
	switch {
	case len(f.lengths) == 0:
		return nil
	case f.leftmost:
		return f.findLeftmost(s, special)
	}
	return f.findLongest(s, special)
}

// may tells whether the name may be taken from bytes i to end of s.
func (n *named) may(s string, i, end int, special bool) bool {
	return (special || n.always) && (!n.word || alone(s, i, end))
}

// findLeftmost passes over the text of a name that may not be taken there, as an automaton that finds all names does.
func (f *finder) findLeftmost(s string, special bool) []found {
	var out []found
	last := 0 // the end of what is taken
	for i := 0; i < len(s); {
		var best *named
		for node, j := f.trie.root[s[i]], i+1; node != 0; j++ {
			if v := f.trie.nodes[node].value; v >= 0 {
				best = &f.names[v]
			}
			if j == len(s) {
				break
			}
			node = f.trie.step(node, s[j])
		}
		if best == nil {
			i++
			continue
		}
		from, to := i, i+len(best.text)
		i = to
		if !best.may(s, from, to, special) {
			continue
		}
		if best.lstrip {
			from = max(last, stripLeft(s, from))
		}
		if best.rstrip {
			to = stripRight(s, to)
		}
		out = append(out, found{from, to, best.id})
		last = to
		i = max(i, to)
	}
	return out
}

// start is a byte at which names begin: a bit for each of their lengths, of which those after the 64th share the last bit.
type start struct {
	at   int
	bits uint64
}

// starts lists where names begin that may be taken.
func (f *finder) starts(s string, special bool) []start {
	var out []start
	for i := range len(s) {
		bits := uint64(0)
		for node, j := f.trie.root[s[i]], i+1; node != 0; j++ {
			if v := f.trie.nodes[node].value; v >= 0 && f.names[v].may(s, i, j, special) {
				k, _ := slices.BinarySearchFunc(f.lengths, j-i, func(a, b int) int { return cmp.Compare(b, a) })
				bits |= 1 << min(k, 63)
			}
			if j == len(s) {
				break
			}
			node = f.trie.step(node, s[j])
		}
		if bits != 0 {
			out = append(out, start{i, bits})
		}
	}
	return out
}

func (f *finder) findLongest(s string, special bool) []found {
	starts := f.starts(s, special)
	all := uint64(0)
	for _, t := range starts {
		all |= t.bits
	}
	var out []found // sorted by place
	for l, length := range f.lengths {
		if all>>min(l, 63)&1 == 0 {
			continue
		}
		more := f.longest(s, starts, out, l, length)
		if len(more) > 0 {
			out = append(out, more...)
			slices.SortFunc(out, func(a, b found) int { return cmp.Compare(a.from, b.from) })
		}
	}
	return out
}

// longest takes the names of one length where nothing was taken yet.
func (f *finder) longest(s string, starts []start, taken []found, l, length int) []found {
	var more []found
	k, last := 0, 0 // the first of taken that ends after the start; the end of the last of more
	for _, t := range starts {
		i := t.at
		if i < last || t.bits>>min(l, 63)&1 == 0 {
			continue
		}
		for k < len(taken) && taken[k].to <= i {
			k++
		}
		if k < len(taken) && taken[k].from < i+length {
			continue
		}
		n := f.exactly(s, i, length)
		if n == nil {
			continue
		}
		from, to := i, i+length
		left, right := last, len(s)
		if k > 0 {
			left = max(left, taken[k-1].to)
		}
		if k < len(taken) {
			right = taken[k].from
		}
		for n.lstrip && from > left && asciiSpace(s[from-1]) {
			from--
		}
		for n.rstrip && to < right && asciiSpace(s[to]) {
			to++
		}
		more = append(more, found{from, to, n.id})
		last = to
	}
	return more
}

// exactly is the name of so many bytes at byte i; nil when there is none.
func (f *finder) exactly(s string, i, length int) *named {
	if i+length > len(s) {
		return nil
	}
	node := int32(0)
	for j := i; j < i+length; j++ {
		if node = f.trie.step(node, s[j]); node == 0 {
			return nil
		}
	}
	if v := f.trie.nodes[node].value; v >= 0 {
		return &f.names[v]
	}
	return nil
}

// asciiSpace is C's isspace.
func asciiSpace(b byte) bool { return b == ' ' || '\t' <= b && b <= '\r' }

// stripLeft is where the white space that ends at byte i begins.
func stripLeft(s string, i int) int {
	return len(strings.TrimRightFunc(s[:i], whiteSpace))
}

// stripRight is where the white space that begins at byte i ends.
func stripRight(s string, i int) int {
	return len(s) - len(strings.TrimLeftFunc(s[i:], whiteSpace))
}

func whiteSpace(r rune) bool { return classes().of(r)&space != 0 }

// alone tells whether no character of a word stands before byte from or at byte to.
func alone(s string, from, to int) bool {
	word := func(r rune, n int) bool { return n > 0 && isWord(r, classes16().of(r)) }
	return !word(utf8.DecodeLastRuneInString(s[:from])) && !word(utf8.DecodeRuneInString(s[to:]))
}

// pieces calls each for the parts of s: text before, between and after names, and names, whose text is empty.
func (f *finder) pieces(s string, special bool, each func(part string, id int32)) {
	done := 0
	for _, n := range f.find(s, special) {
		if n.from > done {
			each(s[done:n.from], noToken)
		}
		each("", n.id)
		done = n.to
	}
	if done < len(s) {
		each(s[done:], noToken)
	}
}
