//go:build hurt

package hurt

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serval/internal/testkit"
)

// TestMemory makes 3,000 requests (with the race detector 240) of all kinds that a language model takes, good and bad, eight at a time. What the server and
// the model's process hold in RAM after the first quarter, which fills caches and buffers, is what they hold at the end, but
// for build.growth: 24 MiB each, with the race detector 96 MiB. The engine is the one that takes the model unasked, with the race detector
// engine/llama.
func TestMemory(t *testing.T) {
	both(t, func(t *testing.T, b build) {
		models := t.TempDir()
		if err := os.MkdirAll(filepath.Join(models, "chat", "1"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(testkit.GGUF(t, "smollm2.gguf"), filepath.Join(models, "chat", "1", "model.gguf")); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(models, "chat", "model.yaml"), []byte(pick(b, "isolation: process", "engine: llama")+"\nthreads: 1\ntext: {context: 256, slots: 4}\n"))
		s := start(t, b, setup{models: models, config: "log: {access: false}\n"})
		c := client(t, 2*time.Minute)
		kinds := textKinds()
		var next, answered, refused atomic.Int64
		one := func(i int64) {
			kind := kinds[i%int64(len(kinds))]
			a, err := post(c, s.URL(kind.path), kind.body())
			switch {
			case err != nil || a.status != kind.status:
				t.Errorf("%s: %v %v", kind.path, a, err)
			case a.status == 200:
				answered.Add(1)
			default:
				refused.Add(1)
			}
		}
		for i := range int64(len(kinds)) {
			one(i)
		}
		files, routines := descriptors(t, s), goroutines(t, s)
		requests := pick(b, int64(3000), 240) // with the race detector, each takes five times as long
		pid := pidOf(s.Cmd.Process.Pid, "chat:1")
		var server, process []int64
		var mu sync.Mutex
		var work sync.WaitGroup
		for range 8 {
			work.Go(func() {
				for i := next.Add(1); i <= requests; i = next.Add(1) {
					one(i)
					if i%(requests/40) == 0 {
						mu.Lock()
						server, process = append(server, ownOf(t, s.Cmd.Process.Pid)), append(process, ownOf(t, pid))
						mu.Unlock()
					}
				}
			})
		}
		work.Wait()
		t.Logf("%d answered, %d refused", answered.Load(), refused.Load())
		flat(t, "memory of the server", server, b.growth)
		flat(t, "memory of the model's process", process, b.growth)
		if now := pidOf(s.Cmd.Process.Pid, "chat:1"); now != pid {
			t.Errorf("the model's process was %d, is %d", pid, now)
		}
		c.CloseIdleConnections()
		settles(t, s, 20*time.Second, files, routines)
	})
}

// ownOf is a process's own resident memory in bytes: without mapped files, which the kernel takes back as it likes.
func ownOf(t *testing.T, pid int) int64 {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	var size, resident, shared int64
	if _, err := fmt.Sscan(string(raw), &size, &resident, &shared); err != nil {
		t.Fatal(err)
	}
	return (resident - shared) * int64(os.Getpagesize())
}

// textKind is a kind of request, and the status of its answer.
type textKind struct {
	path   string
	status int
	body   func() string
}

func textKinds() []textKind {
	words := func(most int) string { return strings.Repeat("word ", rand.IntN(most)) + fmt.Sprint(rand.IntN(1000)) }
	chat := func(status int, most int, more string) textKind {
		return textKind{"/v1/chat/completions", status, func() string {
			return fmt.Sprintf(`{"model":"chat","messages":[{"role":"user","content":%q}],%s}`, words(most), more)
		}}
	}
	return []textKind{
		chat(200, 12, `"max_tokens":4,"stream":true`),
		chat(200, 6, `"max_tokens":2,"n":2,"temperature":1`),
		chat(200, 6, `"max_tokens":40,"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"object","properties":{"a":{"enum":["x","y"]}},"required":["a"],"additionalProperties":false}}}`),
		chat(400, 6, `"max_tokens":4,"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"objekt"}}}`),
		chat(400, 6, `"max_tokens":-1`),
		{"/v1/chat/completions", 400, func() string {
			return `{"model":"chat","messages":[{"role":"user","content":"` + strings.Repeat("far too long ", 10_000) + `"}]}`
		}},
		{"/v1/completions", 200, func() string {
			return fmt.Sprintf(`{"model":"chat","prompt":%q,"max_tokens":1,"echo":true,"logprobs":2}`, words(8))
		}},
		{"/v1/embeddings", 200, func() string { return fmt.Sprintf(`{"model":"chat","input":[%q,%q]}`, words(6), words(6)) }},
		{"/v1/responses", 200, func() string { return fmt.Sprintf(`{"model":"chat","input":%q,"max_output_tokens":2}`, words(6)) }},
		{"/v1/messages", 200, func() string {
			return fmt.Sprintf(`{"model":"chat","max_tokens":2,"messages":[{"role":"user","content":%q}]}`, words(6))
		}},
		{"/tokenize", 200, func() string { return fmt.Sprintf(`{"model":"chat","prompt":%q}`, words(200)) }},
	}
}
