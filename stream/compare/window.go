package compare

// window keeps values by key, the newest so many of them. It never holds more than most keys.
type window[K comparable, V any] struct {
	most int
	all  map[K]slot[V]
	ring []K // in the order in which they came; keys that were taken stand there still
	next int // where the next one goes
	turn uint64
}

type slot[V any] struct {
	value V
	turn  uint64 // when it was put
}

func newWindow[K comparable, V any](most int) *window[K, V] {
	return &window[K, V]{most: most, all: map[K]slot[V]{}}
}

// put keeps a value; it says which one was given up for it, if one was.
func (w *window[K, V]) put(key K, v V) (old V, given bool) {
	w.turn++
	if len(w.ring) < w.most {
		w.ring = append(w.ring, key)
	} else {
		at := w.next % w.most
		was := w.ring[at]
		// The slot of that key may be a newer one, put again after it was taken.
		if s, ok := w.all[was]; ok && s.turn+uint64(w.most) <= w.turn {
			old, given = s.value, true
			delete(w.all, was)
		}
		w.ring[at] = key
	}
	w.next++
	w.all[key] = slot[V]{v, w.turn}
	return old, given
}

// take gives a value away.
func (w *window[K, V]) take(key K) (V, bool) {
	s, ok := w.all[key]
	if ok {
		delete(w.all, key)
	}
	return s.value, ok
}

func (w *window[K, V]) has(key K) bool {
	_, ok := w.all[key]
	return ok
}
