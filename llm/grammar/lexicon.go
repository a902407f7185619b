package grammar

import (
	"math/rand/v2"
	"sync"
)

// Vocabulary is what is needed of a model's vocabulary. vocab.Vocabulary has it.
type Vocabulary interface {
	Size() int
	Piece(id int32) []byte // the raw bytes of a normal token, which may be part of a character; the text of a special one
	IsSpecial(id int32) bool
	IsEnd(id int32) bool
}

// Lexicon is a vocabulary prepared for masks; it is itself a Vocabulary. One is made for each model, and kept: it also holds
// the masks that all grammars of the model share. It is safe for concurrent use.
type Lexicon struct {
	Vocabulary
	trie     *trie
	pieces   [][]byte
	ends     []int32
	specials []word // with their text; not in the trie
	words    int    // of 64 bits, in a mask
	seed     uint64

	mu     sync.RWMutex
	locals map[localKey]*local
	size   int
}

// maxLocals is how many bytes of shared masks are kept; then all are made anew.
const maxLocals = 64 << 20

// Index prepares a vocabulary: about 50 ms for 262k tokens.
func Index(v Vocabulary) *Lexicon {
	if l, ok := v.(*Lexicon); ok {
		return l
	}
	n := v.Size()
	l := &Lexicon{Vocabulary: v, pieces: make([][]byte, n), words: (n + 63) / 64, seed: rand.Uint64(), locals: map[localKey]*local{}}
	words := make([]word, 0, n)
	for id := range int32(n) {
		switch piece := v.Piece(id); {
		case v.IsEnd(id):
			l.ends = append(l.ends, id)
		case v.IsSpecial(id):
			if len(piece) > 0 {
				l.specials = append(l.specials, word{piece, id})
			}
		case len(piece) > 0:
			l.pieces[id] = piece
			if len(piece) <= maxPiece {
				words = append(words, word{piece, id})
			}
		}
	}
	l.trie = makeTrie(words)
	return l
}
