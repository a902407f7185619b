//go:build hurt

package hurt

import (
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestChild: the process of an isolated model is killed again and again under load. Its calls are answered, or end with an
// error that says so; calls to another model never notice; nothing is left over.
func TestChild(t *testing.T) {
	both(t, func(t *testing.T, b build) {
		models := t.TempDir()
		bad := fake(t, models, "bad", "2ms", "isolation: process\n")
		good := fake(t, models, "good", "2ms", "isolation: process\n")
		near := fake(t, models, "near", "2ms", "") // in the server
		s := start(t, b, setup{models: models, config: "log: {access: false}\n"})
		c := client(t, 60*time.Second)
		for _, m := range []model{bad, good, near} {
			healthy(t, s, m)
		}
		files, routines := descriptors(t, s), goroutines(t, s)
		mine := func() int { return pidOf(s.Cmd.Process.Pid, "bad:1") }
		other := pidOf(s.Cmd.Process.Pid, "good:1")

		var answered, died, neighbours atomic.Int64
		var calls sync.WaitGroup
		quit := make(chan struct{})
		load := func(m model, each func(answer, error)) {
			for range 8 {
				calls.Go(func() {
					for {
						select {
						case <-quit:
							return
						default:
						}
						each(post(c, s.URL(m.path()), m.json()))
					}
				})
			}
		}
		load(bad, func(a answer, err error) {
			switch {
			case err == nil && a.status == http.StatusOK:
				answered.Add(1)
			case err == nil && a.status == http.StatusServiceUnavailable && strings.Contains(string(a.body), "its process died twice") && a.header.Get("Retry-After") != "":
				died.Add(1)
			default:
				t.Errorf("bad: %v %v", a, err)
			}
		})
		for _, m := range []model{good, near} {
			load(m, func(a answer, err error) {
				if err != nil || a.status != http.StatusOK {
					t.Errorf("%s: %v %v", m.name, a, err)
				}
				neighbours.Add(1)
			})
		}
		const kills = 4 // a fifth in a row would be the last
		for n := range kills {
			before := answered.Load()
			if !eventually(t, 60*time.Second, "the model answers", func() bool { return answered.Load() > before+20 }) {
				break
			}
			time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond)
			pid := mine()
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Errorf("kill %d: %v", n, err)
			}
			eventually(t, 60*time.Second, "another process", func() bool { now := mine(); return now != 0 && now != pid })
		}
		last := answered.Load()
		eventually(t, 60*time.Second, "the model answers at last", func() bool { return answered.Load() > last+20 })
		close(quit)
		calls.Wait()
		t.Logf("answered %d, died %d, neighbours %d", answered.Load(), died.Load(), neighbours.Load())
		if now := pidOf(s.Cmd.Process.Pid, "good:1"); now != other {
			t.Errorf("the neighbour's process was %d, is %d", other, now)
		}
		if n := count(t, s, `serval_model_process_restarts_total{model="bad"`); n != kills {
			t.Errorf("%v restarts, want %d", n, kills)
		}
		if died.Load() > 0 { // each call is tried again, and no two kills hit one
			t.Errorf("%d calls were not answered", died.Load())
		}
		for _, m := range []model{bad, good, near} {
			healthy(t, s, m)
		}
		c.CloseIdleConnections()
		settles(t, s, 20*time.Second, files, routines)
		if n := len(children(s.Cmd.Process.Pid)); n != 2 {
			t.Errorf("%d children, want 2", n)
		}
		s.Term()
		ends(t, s, 30*time.Second, 0)
	})
}

// pidOf is the child of a server that hosts a model; 0: there is none.
func pidOf(server int, what string) int {
	for _, pid := range children(server) {
		raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
		if err == nil && strings.HasSuffix(strings.TrimRight(string(raw), "\x00"), "\x00"+what) {
			return pid
		}
	}
	return 0
}
