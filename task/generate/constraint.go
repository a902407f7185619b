package generate

import (
	"container/list"
	"sync"

	"serval"
	"serval/llm/grammar"
)

// checked remembers constraints that compile: a client sends the same schema with each request, and compiling it takes
// longer than all else that task does. Safe for concurrent use.
type checked struct {
	mu    sync.Mutex
	known map[serval.Constraint]*list.Element
	order list.List // the one used last is at the front; of serval.Constraint
}

// maxChecked and maxKept bound what is remembered: constraints, and the bytes of each one's source.
const (
	maxChecked = 256
	maxKept    = 64 << 10
)

// check refuses what cannot be held to.
func (k *checked) check(c serval.Constraint) error {
	key := c
	key.Param = ""
	k.mu.Lock()
	if e := k.known[key]; e != nil {
		k.order.MoveToFront(e)
		k.mu.Unlock()
		return nil
	}
	k.mu.Unlock()
	if _, err := grammar.Compile(c); err != nil {
		return err
	}
	if len(c.Source) > maxKept {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known == nil {
		k.known = map[serval.Constraint]*list.Element{}
	}
	if k.known[key] != nil {
		return nil
	}
	if len(k.known) == maxChecked {
		last := k.order.Back()
		delete(k.known, last.Value.(serval.Constraint))
		k.order.Remove(last)
	}
	k.known[key] = k.order.PushFront(key)
	return nil
}
