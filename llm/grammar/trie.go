package grammar

import (
	"bytes"
	"slices"
)

// trie holds byte strings with tokens, flat in the order of a walk that goes down first: a branch is skipped by a jump.
type trie struct {
	nodes  []node
	tokens []int32
}

// node stands for the bytes on the way to it.
type node struct {
	end            int32 // of its branch
	token0, token1 int32 // the tokens that end here
	b              byte
	depth          uint8 // 1 for a first byte
}

// word is a byte string and its token.
type word struct {
	bytes []byte
	token int32
}

// maxPiece is the length of the longest token that is offered, in bytes: longer ones, long runs of spaces as a rule, can be
// spelled with shorter ones. It bounds how far ahead two states must agree to have the same mask.
const maxPiece = 48

// makeTrie builds the trie of words, which it sorts. Words are 1 to maxPiece bytes long.
func makeTrie(words []word) *trie {
	slices.SortFunc(words, func(a, b word) int {
		if c := bytes.Compare(a.bytes, b.bytes); c != 0 {
			return c
		}
		return int(a.token - b.token)
	})
	t := &trie{}
	var path []int32 // the open nodes
	var last []byte
	for _, w := range words {
		same := 0
		for same < len(last) && same < len(w.bytes) && last[same] == w.bytes[same] {
			same++
		}
		for len(path) > same {
			t.nodes[path[len(path)-1]].end = int32(len(t.nodes))
			path = path[:len(path)-1]
		}
		for d := same; d < len(w.bytes); d++ {
			path = append(path, int32(len(t.nodes)))
			n := int32(len(t.tokens))
			t.nodes = append(t.nodes, node{b: w.bytes[d], depth: uint8(d + 1), token0: n, token1: n})
		}
		// Words come in order, so the tokens of a node stand together.
		t.tokens = append(t.tokens, w.token)
		t.nodes[path[len(path)-1]].token1 = int32(len(t.tokens))
		last = w.bytes
	}
	for _, p := range path {
		t.nodes[p].end = int32(len(t.nodes))
	}
	return t
}
