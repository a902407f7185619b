package vocab

import (
	"hash/maphash"
	"sync/atomic"
)

// The bounds of a cache of words: at most 16,384 words of at most 64 bytes.
const (
	cacheSlots  = 1 << 14
	cachedBytes = 64
)

// cache remembers the tokens of words. A word has one slot, and takes it from the word that had it. It is safe for concurrent
// use, and takes no lock.
type cache struct {
	seed  maphash.Seed
	slots []atomic.Pointer[cached]
}

type cached struct {
	word string
	ids  []int32
}

func newCache() *cache {
	return &cache{seed: maphash.MakeSeed(), slots: make([]atomic.Pointer[cached], cacheSlots)}
}

// slot is the word's place; nil for one that is too long to keep.
func (c *cache) slot(word string) *atomic.Pointer[cached] {
	if len(word) > cachedBytes {
		return nil
	}
	return &c.slots[maphash.String(c.seed, word)%cacheSlots]
}

// through appends the word's tokens, which make appends when they are not known.
func (c *cache) through(dst []int32, word string, make func([]int32, string) []int32) []int32 {
	slot := c.slot(word)
	if slot == nil {
		return make(dst, word)
	}
	if e := slot.Load(); e != nil && e.word == word {
		return append(dst, e.ids...)
	}
	from := len(dst)
	dst = make(dst, word)
	// The word is copied: it is a part of a text that may be large.
	slot.Store(&cached{word: string([]byte(word)), ids: append([]int32(nil), dst[from:]...)})
	return dst
}
