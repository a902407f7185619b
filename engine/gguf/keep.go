package gguf

import (
	"context"
	"fmt"
	"sync"

	"serval"
	"serval/engine/gguf/kernel"
	"serval/engine/gguf/packed"
	"serval/llm/gguf"
)

// source is a model's file, and where its weights are kept as the kernels want them.
type source struct {
	*gguf.File
	kept *packed.Store // nil: nowhere
}

// pack gives the matrices their weights: those that were kept, mapped; else it reads and packs them, and has them kept for the next time.
func (l *loader) pack(ctx context.Context, team *kernel.Team) {
	if l.err != nil {
		return
	}
	var id packed.Identity
	keep := l.kept != nil && l.kept.Keeps(l.arena.Waiting())
	if keep {
		var err error
		id, err = l.kept.Identify(l.f.Parts())
		keep = err == nil
	}
	key := id.Key(fmt.Appendf(l.what, "layout %d", kernel.Layout))
	if keep && l.adopt(key, team) {
		return
	}
	data, err := l.arena.Alloc()
	if err != nil {
		l.err = serval.Errorf(serval.ResourceExhausted, "%s: %w", l.f.Paths[0], err)
		return
	}
	l.fill(ctx, team)
	if l.err == nil && keep && id.Settled() {
		l.keep(id, key, data)
	}
}

// adopt takes the weights that were kept, false if there are none that are good. Where the system maps them by small pages they are copied:
// the kernels are slower with these.
func (l *loader) adopt(key packed.Key, team *kernel.Team) bool {
	m, err := l.kept.Open(key, l.arena.Waiting(), func(n int, f func(i int)) { team.Run(n, func(_, i int) { f(i) }) })
	if err != nil {
		return false
	}
	if m.Huge() {
		l.arena.Adopt(m.Data(), m.Close)
		l.mapped = m
		return true
	}
	defer m.Close()
	data, err := l.arena.Alloc()
	if err != nil {
		return false
	}
	const step = 4 << 20
	lost := make([]error, team.Size())
	team.Run((len(data)+step-1)/step, func(worker, i int) {
		from, to := i*step, min((i+1)*step, len(data))
		if err := m.Guard(func() { copy(data[from:to], m.Data()[from:to]) }); err != nil {
			lost[worker] = err
		}
	})
	for _, err := range lost {
		if err != nil {
			l.err = serval.Errorf(serval.Internal, "%s: %w", l.f.Paths[0], err)
		}
	}
	return true
}

// keep has later write the packed weights beside all else; closing the arena stops that and waits. What becomes of it is nobody's concern:
// weights that were not kept are packed again.
func (l *loader) keep(id packed.Identity, key packed.Key, data []byte) {
	parts, kept := l.f.Parts(), l.kept
	ctx, stop := context.WithCancel(context.Background())
	var writing sync.WaitGroup
	l.later = func() {
		writing.Go(func() {
			if again, err := kept.Identify(parts); err == nil && again == id { // else they were changed while they were packed
				_ = kept.Write(ctx, key, data)
			}
		})
	}
	l.arena.BeforeClose(func() { stop(); writing.Wait() })
}

// run computes the batch.
func (n *net) run() error { return n.passed(n.file, n.pass()) }
