package grammar

import (
	"container/list"
	"sync"

	"serval"
)

// maxCached bounds the automata that a Cache keeps, in states of about 200 bytes.
const maxCached = 500_000

// Cache keeps the grammars that a model was asked for last, since clients ask for the same ones again and again. It is safe
// for concurrent use.
type Cache struct {
	lex *Lexicon

	mu     sync.Mutex
	byKey  map[serval.Constraint]*list.Element
	recent list.List // of *cached, the last used first
	states int
}

type cached struct {
	key   serval.Constraint
	bound *Bound
}

// NewCache makes an empty cache for a vocabulary.
func NewCache(l *Lexicon) *Cache {
	return &Cache{lex: l, byKey: map[serval.Constraint]*list.Element{}}
}

// Bind is Compile and Bind. Two callers who ask for the same new grammar at the same time may both make it.
func (c *Cache) Bind(constraint serval.Constraint) (*Bound, error) {
	key := constraint
	key.Param = ""
	c.mu.Lock()
	if e, ok := c.byKey[key]; ok {
		c.recent.MoveToFront(e)
		c.mu.Unlock()
		return e.Value.(*cached).bound, nil
	}
	c.mu.Unlock()
	g, err := Compile(constraint)
	if err != nil {
		return nil, err
	}
	b := g.Bind(c.lex)
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byKey[key]; ok {
		return e.Value.(*cached).bound, nil
	}
	c.byKey[key] = c.recent.PushFront(&cached{key, b})
	c.states += b.cost(key)
	for c.states > maxCached && c.recent.Len() > 1 {
		old := c.recent.Remove(c.recent.Back()).(*cached)
		delete(c.byKey, old.key)
		c.states -= old.bound.cost(old.key)
	}
	return b, nil
}

// cost is what a grammar takes of the cache's room.
func (b *Bound) cost(key serval.Constraint) int {
	return len(b.net.states) + len(b.net.edges)/8 + len(key.Source)/100 + 100
}
