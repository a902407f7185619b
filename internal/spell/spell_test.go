package spell

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"listen", "limits", "log", "grpc", "max_body"}
	for word, want := range map[string]string{"lisen": "listen", "grcp": "grpc", "Log": "log", "maxbody": "max_body", "frobnicate": "", "x": ""} {
		if got := Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) is %q, want %q", word, got, want)
		}
	}
}
