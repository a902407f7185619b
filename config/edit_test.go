package config

import (
	"strings"
	"testing"
)

func TestSetModelKeepsTheRest(t *testing.T) {
	cases := []struct{ name, in, want, err string }{
		{"no file", "", "instances: 2\nbatching:\n  max: 8\n", ""},
		{"comments stay", "# ours\nthreads: 4 # why\nbatching: {mode: on, max: 3}\n", "# ours\nthreads: 4 # why\nbatching: {mode: on, max: 8}\ninstances: 2\n", ""},
		{"a section is added", "threads: 1\n", "threads: 1\ninstances: 2\nbatching:\n  max: 8\n", ""},
		{"not a mapping", "- a\n", "", "must be a mapping"},
		{"the result is checked", "batching: {preferred: [16]}\n", "", "preferred[0]: 16 is more than the largest batch, which is 8"},
	}
	for _, c := range cases {
		got, err := SetModel([]byte(c.in), "model.yaml", []Setting{{"instances", 2}, {"batching.max", 8}})
		switch {
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: %v, want %s", c.name, err, c.err)
		case c.err == "" && (err != nil || string(got) != c.want):
			t.Errorf("%s: %v\n%s\nwant\n%s", c.name, err, got, c.want)
		}
	}
}
