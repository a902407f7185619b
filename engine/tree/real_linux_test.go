package tree

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"

	"serval"
	"serval/engine"
)

// cpuTime is what the process has used, in nanoseconds.
func cpuTime(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkRealModels measures calls of one row and of 512 rows, of other rows each time. cpu-ns/call is
// the CPU time of the process, which other work on the machine does not add to.
func BenchmarkRealModels(b *testing.B) {
	eachReal(b, func(r real) {
		m := r.load(b, nil)
		for _, rows := range []int{1, 512} {
			var inputs [][]serval.Tensor
			for lo := 0; lo+rows <= min(r.meta.Rows, 8192); lo += rows {
				inputs = append(inputs, r.want.call(r.x, lo, lo+rows, m.Signature()).Inputs)
			}
			b.Run(fmt.Sprintf("%s/%d", filepath.Base(r.dir), rows), func(b *testing.B) {
				b.ReportAllocs()
				calls := []*engine.Call{{}}
				c, start := calls[0], cpuTime(b)
				for i := 0; b.Loop(); i++ {
					c.Inputs, c.Rows = append(c.Inputs[:0], inputs[i%len(inputs)]...), int64(rows)
					if err := m.Execute(b.Context(), calls); err != nil || c.Err != nil {
						b.Fatal(err, c.Err)
					}
					c.Reset()
				}
				b.ReportMetric(float64(cpuTime(b)-start)/float64(b.N), "cpu-ns/call")
			})
		}
	})
}
