//go:build !linux

package kernel

import (
	"sync"
	"sync/atomic"
)

// parking lets goroutines sleep until a word changes.
type parking struct {
	mu   sync.Mutex
	cond *sync.Cond
}

func (p *parking) init() { p.cond = sync.NewCond(&p.mu) }

func (p *parking) wait(word *atomic.Uint32, v uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if word.Load() == v { // wake takes the lock after the word has changed
		p.cond.Wait()
	}
}

func (p *parking) wake(*atomic.Uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cond.Broadcast()
}
