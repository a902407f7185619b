package requests

import (
	"context"
	"sync"
	"time"
)

// A piece of a batch has a place among few (files.batches). One whose model answers nothing, or whose tenant has used up what it may ask,
// gives it up for a while: else a few batches of a model that is away would keep all others waiting until they expire. Its requests
// wait in the journal's gaps; no attempt counts.

// slice is how long a piece keeps its place whose requests wait for their tenant's rate.
const slice = time.Minute

// left says whether requests of a model are for another turn.
func (w *shift) left(model string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.gone[model] && w.last[model].IsZero() && w.away.rests(model, w.o.Rest) { // another batch has just found it so
		w.gone[model] = true
	}
	return w.paced || w.gone[model]
}

// answered notes that a model is there.
func (w *shift) answered(model string) {
	w.mu.Lock()
	w.last[model] = time.Now()
	w.mu.Unlock()
	w.away.back(model)
}

// leave says whether a request that was just refused is left: nothing was answered by its model for so long. One that was left before
// is only tried: many batches of it would else hold the places in turns.
func (w *shift) leave(model string, since time.Time, a *Answer) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if last := w.last[model]; last.After(since) {
		since = last
	}
	if w.gone[model] {
		return true
	}
	if time.Since(since) < w.o.Linger && !(w.last[model].IsZero() && w.away.known(model)) {
		return false
	}
	w.gone[model] = true
	w.away.leave(model)
	if w.away.tell("left " + w.b.ID + " " + model) {
		w.t.Log("'%s' answers nothing (%d: %.300s); its requests are asked again in %v, and others have the place meanwhile, until it does", model, a.Status, a.Body, w.o.Rest)
	}
	return true
}

// mayAsk waits until the tenant may ask one more; false: ctx has ended, or the request is for another turn.
func (w *shift) mayAsk(ctx context.Context, model string) bool {
	for w.o.Pace != nil {
		wait := w.o.Pace(w.b.Tenant)
		if wait <= 0 {
			return true
		}
		if time.Since(w.began) > slice {
			w.mu.Lock()
			w.paced = true
			w.mu.Unlock()
		}
		if w.left(model) || !sleep(ctx, wait) {
			return false
		}
	}
	return true
}

// absences are models that were not there when they were asked, and what the logs were told; they outlive a turn at a piece. Safe for
// concurrent use.
type absences struct {
	mu    sync.Mutex
	asked map[string]span
	gone  map[string]time.Time // when it was last left
	told  map[string]time.Time
}

// span is the first and the last time in a row.
type span struct{ first, last time.Time }

const (
	mostAbsent = 10000            // names that are remembered
	tellEvery  = 10 * time.Minute // the same thing
)

// since is for how long a model has been missing, which is noted. Of one that nobody asked for in a while it begins anew.
func (a *absences) since(model string, patience time.Duration) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.asked) > mostAbsent {
		clear(a.asked)
	}
	if a.asked == nil {
		a.asked = map[string]span{}
	}
	now := time.Now()
	s := a.asked[model]
	if now.Sub(s.last) > max(patience, time.Minute) {
		s.first = now
	}
	s.last = now
	a.asked[model] = s
	return now.Sub(s.first)
}

// back forgets that a model was missing.
func (a *absences) back(model string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.asked, model)
	delete(a.gone, model)
}

// leave notes that a model answers nothing.
func (a *absences) leave(model string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.gone) > mostAbsent {
		clear(a.gone)
	}
	if a.gone == nil {
		a.gone = map[string]time.Time{}
	}
	a.gone[model] = time.Now()
}

// known says whether a model was left, and has answered nothing since.
func (a *absences) known(model string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.gone[model].IsZero()
}

// rests says whether a model was left so lately that it is not tried yet.
func (a *absences) rests(model string, rest time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, ok := a.gone[model]
	return ok && time.Since(t) < rest/2
}

// tell says whether it is time to say something again.
func (a *absences) tell(what string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.told) > mostAbsent {
		clear(a.told)
	}
	if a.told == nil {
		a.told = map[string]time.Time{}
	}
	if t, ok := a.told[what]; ok && time.Since(t) < tellEvery {
		return false
	}
	a.told[what] = time.Now()
	return true
}
