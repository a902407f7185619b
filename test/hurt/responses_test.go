//go:build hurt

package hurt

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"serval/internal/testkit"
)

// TestResponses kills the server itself, again and again, while responses are taken in and answered in the background. Each
// whose id a client has read is there after the next start and is answered; what was answered before stays as it was, byte
// for byte; what was cancelled or deleted stays so; a conversation can be gone on from.
func TestResponses(t *testing.T) {
	both(t, func(t *testing.T, b build) {
		k := keeper{t: t, b: b, models: t.TempDir(), data: t.TempDir(), accepted: map[string]string{}, ended: map[string]string{}}
		k.c = client(t, 2*time.Minute)
		for _, name := range []string{"chat", "gone"} {
			if err := os.MkdirAll(filepath.Join(k.models, name, "1"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(testkit.GGUF(t, "smollm2.gguf"), filepath.Join(k.models, name, "1", "model.gguf")); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(k.models, name, "model.yaml"), []byte("threads: 1\ntext: {context: 1024, slots: 4}\n"))
		}
		k.start()
		first := k.must(k.send(`"input":"My name is Bob.","max_output_tokens":8`))
		cancelled := k.must(k.send(`"input":"Tell a story.","max_output_tokens":900,"background":true`))
		deleted := k.must(k.send(`"input":"Tell a story.","max_output_tokens":8`))
		if a, err := post(k.c, k.s.URL("/v1/responses/"+cancelled.ID+"/cancel"), ""); err != nil || a.status != http.StatusOK {
			t.Fatalf("%v %v", a, err)
		}
		if err := k.remove(deleted.ID); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			k.killUnderLoad(first.ID)
			k.start()
		}

		// Of a model that is there no more, what waits ends with the reason.
		var lost []string
		for range 3 {
			lost = append(lost, k.must(k.sendTo("gone", `"input":"Tell a story.","max_output_tokens":4,"background":true`)).ID)
		}
		k.kill()
		if err := os.RemoveAll(filepath.Join(k.models, "gone")); err != nil {
			t.Fatal(err)
		}
		k.start()
		k.settle()
		failed := 0
		for _, id := range lost {
			eventually(t, time.Minute, id+" ends", func() bool { got, _ := k.get(id); return !got.open() })
			if got, _ := k.get(id); got.Status == "failed" && got.Error != nil && strings.Contains(got.Error.Message, "'gone'") {
				failed++
			} else if !got.answered() {
				t.Errorf("%+v of a model that was removed", got)
			}
		}
		if failed == 0 {
			t.Error("none failed for want of its model")
		}

		if got, _ := k.get(cancelled.ID); got.Status != "cancelled" {
			t.Errorf("cancelled, then %+v", got)
		}
		if a, err := get(k.c, k.s.URL("/v1/responses/"+deleted.ID)); err != nil || a.status != http.StatusNotFound {
			t.Errorf("deleted, then %v %v", a, err)
		}
		for _, id := range []string{first.ID, k.interrupted} {
			before, _ := k.get(id)
			after, err := k.send(`"input":"What is my name?","max_output_tokens":4,"previous_response_id":"` + id + `"`)
			if err != nil || !after.answered() || after.Usage.Input <= before.Usage.Input+before.Usage.Output {
				t.Errorf("after %+v: %+v %v", before, after, err)
			}
		}
		t.Logf("%d accepted, %d of them interrupted", len(k.accepted), k.cut)
		k.s.Term()
		ends(t, k.s, 30*time.Second, 0)
	})
}

// reply is what is looked at of a response.
type reply struct {
	ID, Status string
	Output     []struct{ Content []struct{ Text string } }
	Usage      struct {
		Input  int `json:"input_tokens"`
		Output int `json:"output_tokens"`
	}
	Error *struct{ Message string }
}

func (r reply) open() bool { return r.Status == "queued" || r.Status == "in_progress" }

// answered says whether it has a text; one that was cut by max_output_tokens is incomplete.
func (r reply) answered() bool {
	return (r.Status == "completed" || r.Status == "incomplete") && len(r.Output) == 1 && len(r.Output[0].Content) == 1 && r.Output[0].Content[0].Text != "" && r.Usage.Output > 0
}

// keeper remembers what a server must not forget.
type keeper struct {
	t            *testing.T
	b            build
	models, data string
	c            *http.Client
	s            *testkit.Server
	accepted     map[string]string // what was asked, by the id that was acknowledged
	ended        map[string]string // the bytes of those that had an answer when they were looked at, by id
	interrupted  string            // one that was being answered when its server was killed
	kills, cut   int
}

func (k *keeper) start() {
	k.t.Helper()
	k.s = start(k.t, k.b, setup{models: k.models, data: k.data, config: "log: {access: false}\n"})
}

// kill ends the server, whose children must end with it.
func (k *keeper) kill() {
	k.t.Helper()
	pids := children(k.s.Cmd.Process.Pid)
	k.s.Kill()
	k.c.CloseIdleConnections()
	eventually(k.t, 20*time.Second, "the models' processes end", func() bool {
		return !slices.ContainsFunc(pids, func(pid int) bool { _, err := os.Stat(fmt.Sprintf("/proc/%d/cmdline", pid)); return err == nil })
	})
}

func (k *keeper) send(fields string) (reply, error) { return k.sendTo("chat", fields) }

func (k *keeper) sendTo(model, fields string) (reply, error) {
	a, err := post(k.c, k.s.URL("/v1/responses"), `{"model":"`+model+`",`+fields+`}`)
	if err != nil {
		return reply{}, err
	}
	var r reply
	if err := json.Unmarshal(a.body, &r); err != nil || a.status != http.StatusOK {
		return r, fmt.Errorf("%v (%w)", a, err)
	}
	return r, nil
}

func (k *keeper) must(r reply, err error) reply {
	k.t.Helper()
	if err != nil {
		k.t.Fatal(err)
	}
	return r
}

// get reads a response, with its bytes.
func (k *keeper) get(id string) (reply, string) {
	k.t.Helper()
	a, err := get(k.c, k.s.URL("/v1/responses/"+id))
	var r reply
	if err != nil || a.status != http.StatusOK || json.Unmarshal(a.body, &r) != nil {
		k.t.Fatalf("%s (%s): %v %v", id, k.accepted[id], a, err)
	}
	return r, string(a.body)
}

func (k *keeper) remove(id string) error {
	req, err := http.NewRequest(http.MethodDelete, k.s.URL("/v1/responses/"+id), nil)
	if err != nil {
		return err
	}
	if a, err := exchange(k.c, req); err != nil || a.status != http.StatusOK {
		return fmt.Errorf("%v %w", a, err)
	}
	return nil
}

// killUnderLoad kills the server while responses come in, after some of those had an answer and while some are being answered.
func (k *keeper) killUnderLoad(before string) {
	k.t.Helper()
	var mu sync.Mutex
	taken := map[string]string{}
	gone, hurry := make(chan struct{}), make(chan struct{})
	go func() { // ends with the server
		defer close(gone)
		for i := 0; ; i++ {
			text := fmt.Sprintf("Tell a story of the number %d.", i)
			fields := fmt.Sprintf(`"input":%q,"max_output_tokens":16,"background":true`, text)
			if i%3 == 0 {
				fields += `,"previous_response_id":"` + before + `"`
			}
			r, err := k.send(fields)
			if err != nil {
				return
			}
			mu.Lock()
			taken[r.ID] = text
			mu.Unlock()
			select {
			case <-hurry:
			case <-time.After(150 * time.Millisecond):
			}
		}
	}()
	accept := func() {
		mu.Lock()
		defer mu.Unlock()
		maps.Copy(k.accepted, taken)
	}
	eventually(k.t, time.Minute, "six are answered", func() bool { // the first in line are those of the kill before
		accept()
		for id := range k.accepted {
			if _, ok := k.ended[id]; ok {
				continue
			}
			if got, raw := k.get(id); !got.open() {
				k.ended[id] = raw
			}
		}
		return len(k.ended) >= 6*(k.kills+1)
	})
	close(hurry) // so that the kill falls upon a request, and more come than are answered
	running := 0
	eventually(k.t, time.Minute, "one is being answered", func() bool {
		accept()
		for id := range k.accepted {
			if _, ok := k.ended[id]; ok {
				continue
			}
			if got, _ := k.get(id); got.Status == "in_progress" {
				running++
				k.interrupted = id
				break
			}
		}
		return running > 0
	})
	k.kill()
	k.kills++
	<-gone
	accept()
	if k.cut += running; running == 0 {
		k.t.Error("none was being answered when the server was killed")
	}
}

// settle waits until all that was accepted has an answer, and compares with what there was before.
func (k *keeper) settle() {
	k.t.Helper()
	for id, text := range k.accepted {
		var got reply
		var raw string
		if !eventually(k.t, 2*time.Minute, id+" is answered", func() bool { got, raw = k.get(id); return !got.open() }) {
			return
		}
		if !got.answered() {
			k.t.Errorf("%s: %s", text, raw)
		}
		if was, ok := k.ended[id]; ok && was != raw {
			k.t.Errorf("the answer was\n%s\nand is\n%s", was, raw)
		}
		if a, err := get(k.c, k.s.URL("/v1/responses/"+id+"/input_items")); err != nil || a.status != http.StatusOK || contains(a.body, text) != nil {
			k.t.Errorf("%s: its input is %v %v", text, a, err)
		}
	}
}
