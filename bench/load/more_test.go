package load

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"serval"
)

func TestRequestsAreSentInTurns(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	addr := web(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		seen[string(body)]++
	})
	var all []Payload
	for v := range byte(2) {
		p, err := Body(JSON, serval.Ref{Name: "m"}, []serval.Tensor{tensor("x", serval.Bool, []int64{1}, v)})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	all = append(all, payload(t, JSON))
	r, err := Run(context.Background(), Options{Addr: addr, Payload: all[0], More: all[1:], Concurrency: 1, Count: 300})
	if err != nil || r.Errors != 0 {
		t.Fatal(r, err)
	}
	if seen[string(all[0].Bytes)] != 100 || seen[string(all[1].Bytes)] != 200 { // the third is the second again
		t.Errorf("%v", seen)
	}
	other := payload(t, Proto)
	if _, err := Run(context.Background(), Options{Addr: addr, Payload: all[0], More: []Payload{other}, Count: 1}); err == nil || !strings.Contains(err.Error(), "more: request 0") {
		t.Errorf("a request of another format was accepted: %v", err)
	}
}
