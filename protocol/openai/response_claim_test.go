package openai

import (
	"context"
	"sync"
	"testing"
	"time"

	"serval/protocol"
)

// sharing is a memory that several servers share.
type sharing struct {
	memory
	claimed sync.Map // id → worker
}

func (s *sharing) ClaimResponse(ctx context.Context, tenant, id, worker string, lease time.Duration) (bool, error) {
	r, err := s.Response(ctx, tenant, id)
	if err != nil || !r.Open {
		return false, nil
	}
	if lease == 0 {
		return s.claimed.CompareAndDelete(id, worker), nil
	}
	has, _ := s.claimed.LoadOrStore(id, worker)
	return has == worker, nil
}

// TestBackgroundShared: two servers that find the same open responses answer each once, and one that stops lets go of what it has.
func TestBackgroundShared(t *testing.T) {
	store := &sharing{memory: memory{rows: map[string]protocol.Response{}}}
	a, b := &answers{may: make(chan struct{})}, &answers{may: make(chan struct{})}
	p, h := serve(t, a, store)
	q, _ := serve(t, b, store)
	var ids []string
	for range 6 {
		_, v := call(t, h, "k", "POST", "/v1/responses", `{"model":"chat","input":"one","background":true}`)
		ids = append(ids, v["id"].(string))
	}
	stop := work(t, p)
	until(t, "one server is full", func() bool { return a.count() == width })
	work(t, q)
	until(t, "all are under way", func() bool { return a.count()+b.count() == len(ids) })
	time.Sleep(50 * time.Millisecond)
	if n := a.count() + b.count(); n != len(ids) {
		t.Errorf("asked %d times about %d responses", n, len(ids))
	}
	stop()
	close(b.may)
	until(t, "the other server ends all", func() bool {
		for _, id := range ids {
			if _, v := call(t, h, "k", "GET", "/v1/responses/"+id, ""); v["status"] != "completed" {
				return false
			}
		}
		return true
	})
	if n := b.count(); n != len(ids) {
		t.Errorf("the other server was asked %d times", n)
	}
}
