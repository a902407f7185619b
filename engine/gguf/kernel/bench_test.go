package kernel

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"serval/llm/gguf"
)

// The linear layers of SmolLM2-135M, as roof.c has them: groups of matrices that take the same activations.
var layer = [][][2]int{{{576, 576}, {192, 576}, {192, 576}}, {{576, 576}}, {{1536, 576}, {1536, 576}}, {{576, 1536}}}

const layers, vocabulary = 30, 49152

// linear is a pass of the model's linear layers.
type linear struct {
	arena  *Arena
	groups [][]*Matrix
	acts   map[int]*Acts // by columns
	y      []float32

	group   []*Matrix // under way
	workers int
	piece   func(worker, piece int)
}

func newLinear(b *testing.B, o Ops, t gguf.Type, width int) *linear {
	rng := rand.New(rand.NewPCG(1, 2))
	l := &linear{arena: NewArena(o), acts: map[int]*Acts{width: NewActs(o), 1536: NewActs(o)}, y: make([]float32, 64*vocabulary)}
	l.piece = l.multiply
	b.Cleanup(func() { l.arena.Close() })
	add := func(shapes [][2]int) {
		var g []*Matrix
		for _, s := range shapes {
			if s[1] == 576 {
				s[1] = width
			}
			n, bytes := t.Block()
			data := make([]byte, int64(s[0]*s[1])/n*bytes)
			for i := 0; i+8 <= len(data); i += 8 {
				for j, v := 0, rng.Uint64()&0x33ff33ff33ff33ff; j < 8; j++ { // no f16 scale is infinite
					data[i+j] = byte(v >> (8 * j))
				}
			}
			m, err := l.arena.Pack(t, s[0], s[1], data)
			if err != nil {
				b.Fatal(err)
			}
			g = append(g, m)
		}
		l.groups = append(l.groups, g)
	}
	for range layers {
		for _, g := range layer {
			add(g)
		}
	}
	add([][2]int{{vocabulary, 576}})
	return l
}

// pass runs one job for each group.
func (l *linear) pass(team *Team) {
	for _, l.group = range l.groups {
		x := l.acts[l.group[0].Cols]
		pieces := 0
		for _, m := range l.group {
			grain := m.Split(x.Tokens(), team.Size())
			pieces += (m.Tiles() + grain - 1) / grain
		}
		l.workers = team.Size()
		team.Run(pieces, l.piece)
	}
}

func (l *linear) multiply(_, i int) {
	for _, m := range l.group {
		x := l.acts[m.Cols]
		grain := m.Split(x.Tokens(), l.workers)
		if n := (m.Tiles() + grain - 1) / grain; i >= n {
			i -= n
			continue
		}
		m.Mul(l.y, vocabulary, x, i*grain, min((i+1)*grain, m.Tiles()))
		return
	}
}

// BenchmarkPass is what a forward pass of SmolLM2-135M spends in its linear layers, two threads: the same work as roof.c.
func BenchmarkPass(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4 * runtime.NumCPU()))
	for _, c := range []struct {
		t     gguf.Type
		width int // 576, or for the types named K, which 256 columns share a block of, 768
	}{
		{gguf.Q4_1, 576}, {gguf.Q4_0, 576}, {gguf.Q5_0, 576}, {gguf.Q5_1, 576}, {gguf.Q8_0, 576},
		{gguf.F16, 576},
		{gguf.Q4_1, 768}, {gguf.Q4K, 768}, {gguf.Q5K, 768}, {gguf.Q6K, 768},
	} {
		benchPass(b, fmt.Sprintf("%s/%d", c.t, c.width), Best(), c.t, c.width, 1, 4, 8, 16, 32, 64)
	}
}

func benchPass(b *testing.B, name string, o Ops, t gguf.Type, width int, sizes ...int) {
	l := newLinear(b, o, t, width)
	team := NewTeam(2)
	for _, tokens := range sizes {
		for cols, a := range l.acts {
			a.Quantize(floats(rand.New(rand.NewPCG(1, 1)), tokens*cols), tokens, cols)
		}
		b.Run(fmt.Sprintf("%s/%d", name, tokens), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l.pass(team)
			}
			b.ReportMetric(float64(tokens)*float64(b.N)/b.Elapsed().Seconds(), "tok/s")
			b.ReportMetric(float64(l.arena.Used())*float64(b.N)/b.Elapsed().Seconds()/1e9, "GB/s")
		})
	}
	team.Close()
	l.arena.Close()
}

// BenchmarkSets is the pass of BenchmarkPass on each instruction set of this machine, but plain Go.
func BenchmarkSets(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4 * runtime.NumCPU()))
	for _, t := range []gguf.Type{gguf.Q4_1, gguf.Q4_0, gguf.Q5_0, gguf.Q8_0, gguf.F16} {
		for _, o := range sets()[1:] {
			benchPass(b, fmt.Sprintf("%s/%s", t, o), o, t, 576, 1, 16)
		}
	}
}

// BenchmarkNeighbour is how late another goroutine wakes while passes run back to back, without and with spare Ps: what a
// network goroutine would see.
func BenchmarkNeighbour(b *testing.B) {
	l := newLinear(b, Best(), gguf.Q4_1, 576)
	for cols, a := range l.acts {
		a.Quantize(floats(rand.New(rand.NewPCG(1, 1)), 16*cols), 16, cols)
	}
	for _, procs := range []int{2, 4 * runtime.NumCPU()} {
		b.Run(fmt.Sprintf("procs=%d", procs), func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			team := NewTeam(2)
			defer team.Close()
			stop, late := make(chan struct{}), make(chan []time.Duration)
			go func() {
				var d []time.Duration
				for {
					select {
					case <-stop:
						late <- d
						return
					default:
					}
					start := time.Now()
					time.Sleep(time.Millisecond)
					d = append(d, time.Since(start)-time.Millisecond)
				}
			}()
			for b.Loop() {
				l.pass(team)
			}
			close(stop)
			d := <-late
			slices.Sort(d)
			b.ReportMetric(float64(d[len(d)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(d[len(d)*99/100].Microseconds()), "p99-µs")
		})
	}
}

// BenchmarkRoof runs the reference program, so that both figures come from one run; skipped where gcc or the file is missing.
func BenchmarkRoof(b *testing.B) {
	source, err := filepath.Abs("../../../../shared/reference/roof.c")
	if err != nil {
		b.Fatal(err)
	}
	bin := filepath.Join(b.TempDir(), "roof")
	if out, err := exec.Command("gcc", "-O3", "-march=native", "-pthread", source, "-o", bin).CombinedOutput(); err != nil {
		b.Skipf("gcc: %v %s", err, out)
	}
	out, err := exec.Command(bin).Output()
	if err != nil {
		b.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(\d+) tokens: .* (\d+) tok/s`).FindAllStringSubmatch(string(out), -1) {
		v, _ := strconv.ParseFloat(m[2], 64)
		b.ReportMetric(v, "tok/s@"+m[1])
	}
}

// BenchmarkFillRow is two threads that round neighbouring rows, as those of a batch of running sequences are.
func BenchmarkFillRow(b *testing.B) {
	const cols = 1536
	acts, x := NewActs(Best()), make([]float32, cols)
	for i := range x {
		x[i] = float32(i%37) - 18
	}
	acts.floats = false
	for _, rows := range []int{16, 128} {
		for threads := range 2 {
			b.Run(fmt.Sprintf("%d/%d", rows, threads+1), func(b *testing.B) {
				acts.Resize(rows, cols)
				team := NewTeam(threads + 1)
				defer team.Close()
				for b.Loop() {
					team.Run(rows/2, func(_, i int) {
						acts.FillRow(x, 2*i)
						acts.FillRow(x, 2*i+1)
					})
				}
				b.ReportMetric(b.Elapsed().Seconds()*1e9*float64(threads+1)/float64(b.N*rows*cols/block), "thread-ns/block")
			})
		}
	}
}
