package format

import (
	lru "container/list"
	"sync"
	"time"

	"serval"
)

// cache keeps what was made for a key, at most so many of them: the one that was not used for longest goes first. What is
// missing is made once, however many ask for it; an error is kept too, for a while. Safe for concurrent use.
type cache[K comparable, V any] struct {
	most int
	mu   sync.Mutex // guards what follows
	all  map[K]*lru.Element
	used *lru.List // of *entry, the newest in front
}

type entry[K comparable, V any] struct {
	key   K
	ready chan struct{} // closed when what follows is set
	value V
	err   error
	until time.Time // an error's end
}

func newCache[K comparable, V any](most int) *cache[K, V] {
	return &cache[K, V]{most: max(1, most), all: map[K]*lru.Element{}, used: lru.New()}
}

// get returns what is kept for a key, or has it made.
func (c *cache[K, V]) get(key K, make func() (V, error)) (V, error) {
	c.mu.Lock()
	if at, ok := c.all[key]; ok {
		c.used.MoveToFront(at)
		e := at.Value.(*entry[K, V])
		c.mu.Unlock()
		<-e.ready
		if e.err == nil || time.Now().Before(e.until) {
			return e.value, e.err
		}
		c.mu.Lock()
		if now, ok := c.all[key]; ok && now == at { // nobody else has begun anew
			c.used.Remove(at)
			delete(c.all, key)
		}
		c.mu.Unlock()
		return c.get(key, make)
	}
	e := &entry[K, V]{key: key, ready: newReady()}
	c.all[key] = c.used.PushFront(e)
	for c.used.Len() > c.most {
		last := c.used.Back()
		c.used.Remove(last)
		delete(c.all, last.Value.(*entry[K, V]).key)
	}
	c.mu.Unlock()
	e.err = serval.Errorf(serval.Internal, "the schema could not be made ready; the server's log has the cause") // where make panics
	defer close(e.ready)
	e.value, e.err = make()
	e.until = time.Now().Add(lasting(e.err))
	return e.value, e.err
}

func newReady() chan struct{} { return make(chan struct{}) }

// lasting is how long an error is taken for the answer.
func lasting(err error) time.Duration {
	if err != nil && serval.AsError(err).Code == serval.InvalidArgument {
		return unknown
	}
	return again
}
