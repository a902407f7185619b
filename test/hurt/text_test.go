//go:build hurt

package hurt

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"serval/internal/testkit"
)

// TestText: more chats than a language model has slots. Nobody is lost or starved, whoever is refused is told how long to
// wait, clients that leave free their slots, and a model's process that is killed takes only its own streams
// with it. The one is computed by the engine that takes it unasked, in a process of its own, the other by llama.cpp.
func TestText(t *testing.T) {
	both(t, func(t *testing.T, b build) {
		models := t.TempDir()
		for _, name := range []string{"chat", "other"} {
			if err := os.MkdirAll(filepath.Join(models, name, "1"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(testkit.GGUF(t, "smollm2.gguf"), filepath.Join(models, name, "1", "model.gguf")); err != nil {
				t.Fatal(err)
			}
		}
		write(t, filepath.Join(models, "chat", "model.yaml"), []byte("isolation: process\nthreads: 1\ntext: {context: 1024, slots: 8}\nqueue: {limit: 100}\n"))
		write(t, filepath.Join(models, "other", "model.yaml"), []byte("engine: llama\nthreads: 1\ntext: {context: 512, slots: 2}\n"))
		s := start(t, b, setup{models: models, config: "log: {access: false}\n"})
		c := client(t, 5*time.Minute)
		if _, err := chatOnce(c, s, "chat", 8, 4); err != nil {
			t.Fatal(err)
		}
		files, routines := descriptors(t, s), goroutines(t, s)

		length := pick(b, 40*time.Second, 15*time.Second)
		textOverload(t, s, c, length)
		textRefusals(t, s, c)
		textLeavers(t, s, c)
		textKill(t, s, c)
		c.CloseIdleConnections()
		settles(t, s, 20*time.Second, files, routines)
	})
}

// said is what came of a streamed chat.
type said struct {
	pieces int
	finish string
	done   bool
}

// chatOnce streams a chat of about that many words.
func chatOnce(c *http.Client, s *testkit.Server, model string, words, tokens int) (said, error) {
	prompt := strings.Repeat("word ", words)
	body := fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":%q}],"max_tokens":%d,"stream":true,"ignore_eos":true}`, model, prompt+fmt.Sprint(rand.IntN(1000)), tokens)
	res, err := c.Post(s.URL("/v1/chat/completions"), "application/json", strings.NewReader(body))
	if err != nil {
		return said{}, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		var refusal struct {
			Error struct {
				Message string `json:"message"`
			} `json:"error"`
		}
		_ = json.NewDecoder(res.Body).Decode(&refusal)
		return said{}, &refused503{status: res.StatusCode, after: res.Header.Get("Retry-After"), message: refusal.Error.Message}
	}
	return readChat(res)
}

// refused503 is an answer other than 200.
type refused503 struct {
	status         int
	after, message string
}

func (r *refused503) Error() string {
	return fmt.Sprintf("%d, retry after %q: %s", r.status, r.after, r.message)
}

func readChat(res *http.Response) (said, error) {
	var out said
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if data == "[DONE]" {
			out.done = true
			continue
		}
		var chunk struct {
			Choices []struct {
				Finish *string `json:"finish_reason"`
			} `json:"choices"`
			Error *struct {
				Message string `json:"message"`
			} `json:"error"`
		}
		if err := json.Unmarshal([]byte(data), &chunk); err != nil {
			return out, fmt.Errorf("%q: %w", data, err)
		}
		if chunk.Error != nil {
			return out, fmt.Errorf("in the stream: %s", chunk.Error.Message)
		}
		out.pieces++
		for _, choice := range chunk.Choices {
			if choice.Finish != nil {
				out.finish = *choice.Finish
			}
		}
	}
	return out, lines.Err()
}

// textOverload has 64 clients at 8 slots, with prompts and answers of all lengths. All of them fit into the queue.
func textOverload(t *testing.T, s *testkit.Server, c *http.Client, length time.Duration) {
	const clients = 64
	var each [clients]atomic.Int64
	var wait sync.WaitGroup
	end := time.Now().Add(length)
	for i := range clients {
		wait.Go(func() {
			for first := true; first || time.Now().Before(end); first = false {
				got, err := chatOnce(c, s, "chat", rand.IntN(150), 1+rand.IntN(24))
				if err != nil || got.finish != "length" || !got.done {
					t.Errorf("client %d: %+v %v", i, got, err)
					return
				}
				each[i].Add(1)
			}
		})
	}
	wait.Wait()
	least, all := each[0].Load(), int64(0)
	for i := range each {
		least, all = min(least, each[i].Load()), all+each[i].Load()
	}
	t.Logf("%d answers, the client with the fewest had %d", all, least)
	if least == 0 || least < all/clients/4 {
		t.Errorf("a client had %d of %d answers: it was starved", least, all)
	}
}

// textRefusals fills the queue beyond its limit.
func textRefusals(t *testing.T, s *testkit.Server, c *http.Client) {
	var refusals, answers atomic.Int64
	var wait sync.WaitGroup
	for range 160 {
		wait.Go(func() {
			got, err := chatOnce(c, s, "chat", 4, 4)
			no, ok := err.(*refused503)
			switch {
			case err == nil && got.done:
				answers.Add(1)
			case ok && no.status == http.StatusServiceUnavailable && no.after != "" && no.after != "0" && strings.Contains(no.message, "queue.limit"):
				refusals.Add(1)
			default:
				t.Errorf("%+v %v", got, err)
			}
		})
	}
	wait.Wait()
	t.Logf("%d answers, %d refusals", answers.Load(), refusals.Load())
	if answers.Load() < 100 || answers.Load()+refusals.Load() != 160 {
		t.Errorf("%d answers and %d refusals of 160", answers.Load(), refusals.Load())
	}
}

// textLeavers has clients go away after their first piece; the slots must be free at once.
func textLeavers(t *testing.T, s *testkit.Server, c *http.Client) {
	var wait sync.WaitGroup
	for range 24 {
		wait.Go(func() {
			res, err := c.Post(s.URL("/v1/chat/completions"), "application/json", strings.NewReader(`{"model":"chat","messages":[{"role":"user","content":"Tell a story."}],"max_tokens":900,"stream":true,"ignore_eos":true}`))
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = bufio.NewReader(res.Body).ReadString('\n')
			_ = res.Body.Close()
		})
	}
	wait.Wait()
	eventually(t, 20*time.Second, "no sequence is left", func() bool { return count(t, s, `vllm:num_requests_running{model_name="chat"`) == 0 })
}

// textKill kills the process of a model that streams. Its streams end with an error that says so, its queue is served by the
// next process, and the other model never notices.
func textKill(t *testing.T, s *testkit.Server, c *http.Client) {
	var cut, whole, others atomic.Int64
	var wait sync.WaitGroup
	for range 12 {
		wait.Go(func() {
			switch got, err := chatOnce(c, s, "chat", 4, 200); {
			case err == nil && got.done && got.finish == "length":
				whole.Add(1)
			case err != nil && strings.Contains(err.Error(), "process"):
				cut.Add(1)
			default:
				t.Errorf("%+v %v", got, err)
			}
		})
	}
	for range 2 {
		wait.Go(func() {
			for range 3 {
				if got, err := chatOnce(c, s, "other", 4, 8); err != nil || !got.done {
					t.Errorf("the other model: %+v %v", got, err)
				}
				others.Add(1)
			}
		})
	}
	eventually(t, 60*time.Second, "streams run", func() bool { return count(t, s, `vllm:num_requests_running{model_name="chat"`) > 0 })
	time.Sleep(time.Second)
	if err := syscall.Kill(pidOf(s.Cmd.Process.Pid, "chat:1"), syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	wait.Wait()
	t.Logf("%d streams cut, %d whole, %d of the other model", cut.Load(), whole.Load(), others.Load())
	if whole.Load() == 0 || cut.Load() == 0 || others.Load() != 6 {
		t.Errorf("%d streams cut, %d whole, %d of the other model's 6", cut.Load(), whole.Load(), others.Load())
	}
}
