package kernel

import (
	"errors"
	"unsafe"
)

// chunk is what an arena asks of the system at once, at least: a multiple of a huge page.
const chunk = 32 << 20

// Arena is memory for matrices: anonymous, on huge pages where the system has them, apart from Go's heap. One goroutine packs;
// after that its matrices may be read by many. Memory is zero at first, and a page costs nothing before it is used.
type Arena struct {
	ops    Ops
	chunks [][]byte // as mapped
	free   []byte   // rest of the last chunk
	used   int64

	waiting []*Matrix      // that have no memory yet
	before  func()         // of Close; nil: nothing
	adopted []func() error // free what is not the arena's own

	ints, floats bool // whether it has matrices whose activations are rounded, and such whose are not
}

// NewArena makes an empty arena for an instruction set.
func NewArena(o Ops) *Arena { return &Arena{ops: o} }

// Used is how many bytes the matrices take.
func (a *Arena) Used() int64 { return a.used }

// Acts makes empty activations for matrices that the arena has by now.
func (a *Arena) Acts() *Acts { return &Acts{ops: a.ops, ints: a.ints, floats: a.floats} }

// room is what n bytes take: the next begin at a cache line.
func room(n int) int { return (n + 63) &^ 63 }

// take hands out n bytes, aligned to 64.
func (a *Arena) take(n int) ([]byte, error) {
	room := room(n)
	if room > len(a.free) {
		size := max(chunk, (room+(2<<20)-1)&^(2<<20-1))
		usable, whole, err := mapMemory(size)
		if err != nil {
			return nil, err
		}
		a.chunks, a.free = append(a.chunks, whole), usable
	}
	p := a.free[:n:n]
	a.free, a.used = a.free[room:], a.used+int64(room)
	return p, nil
}

// size is what a matrix takes.
func (m *Matrix) size() int { return m.Tiles() * m.form.tile(m.Cols/block) }

// Waiting is how many bytes the matrices take that Room has made and that have no memory yet.
func (a *Arena) Waiting() int64 {
	n := 0
	for _, m := range a.waiting {
		n += room(m.size())
	}
	return int64(n)
}

// Alloc gives them memory, zero, in one piece, which it returns: one behind the other, each at a cache line.
func (a *Arena) Alloc() ([]byte, error) {
	data, err := a.take(int(a.Waiting()))
	if err != nil {
		return nil, err
	}
	a.spread(data)
	return data, nil
}

// Adopt gives them memory that was filled before as Alloc gave it: Waiting bytes, which Close frees.
func (a *Arena) Adopt(data []byte, free func() error) {
	a.used += int64(len(data))
	a.adopted = append(a.adopted, free)
	a.spread(data)
}

// BeforeClose has Close call f first: of somebody who reads the memory beside those who compute.
func (a *Arena) BeforeClose(f func()) { a.before = f }

func (a *Arena) spread(data []byte) {
	for _, m := range a.waiting {
		n := m.size()
		m.data, data = data[:n:n], data[room(n):]
	}
	a.waiting = nil
}

// Close gives the memory back. No matrix of the arena may be in use.
func (a *Arena) Close() error {
	if a.before != nil {
		a.before()
	}
	var errs []error
	for _, c := range a.chunks {
		errs = append(errs, unmapMemory(c))
	}
	for _, free := range a.adopted {
		errs = append(errs, free())
	}
	a.before, a.adopted, a.waiting = nil, nil, nil
	a.chunks, a.free, a.used, a.ints, a.floats = nil, nil, 0, false, false
	return errors.Join(errs...)
}

// Halves is memory for n 16-bit floats, zero, as an arena's: apart from Go's heap, whose collector would else wait until the heap had
// grown by as much again. free gives it back.
func Halves(n int) (data []uint16, free func() error, err error) { return outside[uint16](n) }

// Floats is Halves of 32 bits.
func Floats(n int) (data []float32, free func() error, err error) { return outside[float32](n) }

func outside[T uint16 | float32](n int) (data []T, free func() error, err error) {
	usable, whole, err := mapMemory(max(n*int(unsafe.Sizeof(*new(T))), 4))
	if err != nil {
		return nil, nil, err
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&usable[0])), n), func() error { return unmapMemory(whole) }, nil
}

// Touch makes the system give the memory of Halves that was not used yet, the team's threads at once: zeroing it takes a GB a tenth of
// a second.
func Touch(team *Team, data []uint16) {
	if len(data) == 0 {
		return
	}
	all := unsafe.Slice((*byte)(unsafe.Pointer(&data[0])), 2*len(data))
	const piece = 16 << 20
	team.Run((len(all)+piece-1)/piece, func(_, i int) { touchMemory(all[i*piece : min((i+1)*piece, len(all))]) })
}
