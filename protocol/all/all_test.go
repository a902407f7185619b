package all

import (
	"net/http"
	"testing"

	"serval/protocol"
)

// TestRoutes: no two protocols claim the same path, and every route can say what went wrong.
func TestRoutes(t *testing.T) {
	mux := http.NewServeMux() // panics where two patterns collide
	names := map[string]bool{}
	for _, p := range New(protocol.Backend{}) {
		if names[p.Name()] {
			t.Errorf("two protocols are called %q", p.Name())
		}
		names[p.Name()] = true
		for _, r := range p.Routes() {
			mux.HandleFunc(r.Pattern, r.Serve)
			if r.Fail == nil {
				t.Errorf("%s: %s has no Fail", p.Name(), r.Pattern)
			}
		}
	}
}
