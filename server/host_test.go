package server

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"serval"
	"serval/engine"
	"serval/engine/child"
	"serval/engine/fake"
)

// apart is an engine that wants processes of its own.
type apart struct{ engine.Engine }

func (apart) Isolated() {}

func TestWhatIsIsolated(t *testing.T) {
	own, none := &isolation{exe: "/proc/self/exe", log: slog.New(slog.DiscardHandler)}, (*isolation)(nil)
	for _, c := range []struct {
		name     string
		by       *isolation
		eng      engine.Engine
		settings serval.ModelSettings
		want     bool
		refusal  string
	}{
		{"by default not", own, fake.New(), serval.ModelSettings{}, false, ""},
		{"as it is told", own, fake.New(), serval.ModelSettings{Isolation: "process", Memory: "1GiB"}, true, ""},
		{"as its engine needs it", own, apart{fake.New()}, serval.ModelSettings{Memory: "64MiB"}, true, ""},
		{"as it is told, though its engine needs it", own, apart{fake.New()}, serval.ModelSettings{Isolation: "none"}, false, ""},
		{"where there are no processes", none, apart{fake.New()}, serval.ModelSettings{Isolation: "process", Memory: "1GiB"}, false, ""},
		{"where this program is not known", &isolation{}, apart{fake.New()}, serval.ModelSettings{}, false, ""},
		{"a limit without a process", own, fake.New(), serval.ModelSettings{Memory: "1GiB"}, false, "add isolation: process"},
		{"no size", own, fake.New(), serval.ModelSettings{Isolation: "process", Memory: "much"}, false, "memory: must be a size such as 64MiB"},
	} {
		eng, is, err := c.by.wrap(c.eng, &c.settings)
		switch {
		case c.refusal != "":
			if err == nil || !strings.Contains(err.Error(), c.refusal) {
				t.Errorf("%s: %v", c.name, err)
			}
		case err != nil || is != c.want || (eng != c.eng) != c.want || eng.Name() != "fake":
			t.Errorf("%s: %v %v %v", c.name, eng, is, err)
		}
	}
}

// An engine of the same program is found in the host by its name.
func TestHostOpens(t *testing.T) {
	_, err := openHosted(context.Background(), child.Order{Engine: "nothing"}, nil)
	if err == nil || !strings.Contains(err.Error(), `"nothing" is not built in`) {
		t.Error(err)
	}
	if _, err = openHosted(context.Background(), child.Order{Engine: "fake", Cores: 1}, nil); err == nil || !strings.Contains(err.Error(), "model.fake") {
		t.Error(err)
	}
}
