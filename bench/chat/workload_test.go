package chat

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func TestLengths(t *testing.T) {
	for _, text := range []string{"60", "20-200", "lognormal:60,0.8", "lognormal:600,0.5,2000", "1", "7-7"} {
		l, err := ParseLengths(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if again, err := ParseLengths(l.String()); err != nil || again != l {
			t.Errorf("%s is shown as %s", text, l)
		}
		random := rand.New(rand.NewPCG(1, 2))
		var logs, n float64
		least, most := math.MaxInt, 0
		for range 5000 {
			x := l.draw(random)
			least, most, logs, n = min(least, x), max(most, x), logs+math.Log(float64(x)), n+1
		}
		if least < l.Least || most > l.Most {
			t.Errorf("%s drew %d to %d", text, least, most)
		}
		if text == "20-200" && (least != 20 || most != 200) {
			t.Errorf("20-200 drew %d to %d only", least, most)
		}
		if median := math.Exp(logs / n); l.Sigma > 0 && math.Abs(median/l.Median-1) > 0.1 {
			t.Errorf("%s has the median %.1f", text, median)
		}
	}
	for _, text := range []string{"", "0", "-1", "9-3", "x", "1-x", "2000000", "lognormal:60", "lognormal:0,1", "lognormal:60,0", "lognormal:60,9", "lognormal:60,NaN", "lognormal:NaN,1",
		"lognormal:60,1,0", "lognormal:60,1,2,3", "lognormal:60,-1"} {
		if l, err := ParseLengths(text); err == nil {
			t.Errorf("%q was read as %v", text, l)
		}
	}
	if _, err := ParsePart("4:lognormal:60,0.8/32-64"); err != nil {
		t.Error(err)
	}
	for _, text := range []string{"", "60/32", "0:60/32", "-1:60/32", "x:60/32", "1:60", "1:/32", "1:60/0", "Inf:60/32"} {
		if p, err := ParsePart(text); err == nil {
			t.Errorf("%q was read as %+v", text, p)
		}
	}
}

func TestSLO(t *testing.T) {
	s, err := ParseSLO("ttft=500ms, tpot=50ms,gap=1s,e2e=1m")
	if err != nil || s != (SLO{500 * time.Millisecond, 50 * time.Millisecond, time.Second, time.Minute}) {
		t.Errorf("%+v, %v", s, err)
	}
	if s.String() != "ttft=500ms,itl=50ms,gap=1s,e2e=1m0s" {
		t.Error(s)
	}
	for _, text := range []string{"ttft", "ttft=5", "ttft=-1s", "speed=1s", "ttft=1s;itl=1s", ","} {
		if s, err := ParseSLO(text); err == nil || !strings.Contains(err.Error(), "slo") {
			t.Errorf("%q was read as %+v (%v)", text, s, err)
		}
	}
	at := time.Unix(1000, 0)
	good := Call{Due: at, First: at.Add(400 * time.Millisecond), Last: at.Add(600 * time.Millisecond), End: at.Add(time.Second), OutputTokens: 5, Deltas: 2, Gaps: []time.Duration{200 * time.Millisecond}}
	for name, change := range map[string]func(*Call){
		"ttft": func(c *Call) { c.Due = at.Add(-time.Second) }, "itl": func(c *Call) { c.OutputTokens = 4 }, "gap": func(c *Call) { c.Gaps = []time.Duration{2 * time.Second} },
		"e2e": func(c *Call) { c.End = at.Add(2 * time.Minute) }, "no token": func(c *Call) { c.First = time.Time{} },
	} {
		c := good
		if !s.met(&c) {
			t.Fatalf("%+v is not good", c)
		}
		if change(&c); s.met(&c) {
			t.Errorf("%s: %+v is good", name, c)
		}
	}
}

func TestReadPrompts(t *testing.T) {
	list, err := ReadPrompts(strings.NewReader("{\"prompt\":\"a \\u00e9\",\"max_tokens\":5}\n\n {\"messages\":[{\"role\":\"user\", \"content\":\"b\"}],\"temperature\":1}\r\n"))
	if err != nil || len(list) != 2 || list[0].MaxTokens != 5 || string(list[0].text) != `"a é"` || string(list[1].messages) != `[{"role":"user","content":"b"}]` {
		t.Errorf("%+v, %v", list, err)
	}
	for in, want := range map[string]string{
		"": "no prompts", "x\n": "line 1", "{\"prompt\":\"a\"}\n{}\n": "line 2", "{\"prompt\":\"a\",\"messages\":[1]}": "leave one out", "{\"prompt\":\"a\",\"max_tokens\":-1}": "max_tokens",
		"{\"prompt\":[1]}": "line 1", "{\"messages\":[]}": "neither", `{"prompt":"` + strings.Repeat("x", maxLine) + `"}`: "16 MB",
	} {
		if _, err := ReadPrompts(strings.NewReader(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", in, err, want)
		}
	}
}

func FuzzReadPrompts(f *testing.F) {
	f.Add("{\"prompt\":\"a\",\"max_tokens\":5}\n{\"messages\":[{\"role\":\"user\",\"content\":\"b\"}]}")
	f.Fuzz(func(t *testing.T, in string) {
		list, err := ReadPrompts(strings.NewReader(in))
		if (err == nil) != (len(list) > 0) {
			t.Fatalf("%d prompts, %v", len(list), err)
		}
		w, err := Workload{Prompts: list}.withDefaults(Chat)
		for i := range list {
			if body := w.start(Chat, uint64(i), nil).ask([]byte(`{"a":1`), nil); err != nil || !json.Valid(append(body, '}')) {
				t.Fatalf("%s, %v", body, err)
			}
		}
	})
}

func TestConversationsAreTheSeeds(t *testing.T) {
	w, err := Workload{Shared: 20, Turns: 3, Seed: 5, Mix: []Part{{3, Fixed(5), Fixed(7)}, {1, Fixed(50), Fixed(70)}}}.withDefaults(Chat)
	if err != nil {
		t.Fatal(err)
	}
	shared := w.shared()
	seen := map[string]bool{}
	long := 0
	for index := range uint64(400) {
		a, b := w.start(Chat, index, shared), w.start(Chat, index, shared)
		for turn := range w.Turns {
			first, second := string(a.ask(nil, shared)), string(b.ask(nil, shared))
			if first != second || seen[first] || a.limit != b.limit {
				t.Fatalf("conversation %d, turn %d:\n%s\n%s", index, turn, first, second)
			}
			seen[first] = true
			var body struct {
				Messages []struct{ Role, Content string }
			}
			if err := json.Unmarshal([]byte("{"+first[1:]+"}"), &body); err != nil || len(body.Messages) != 2+2*turn || body.Messages[0].Content != string(shared) {
				t.Fatalf("%v: %s", err, first)
			}
			words := len(strings.Fields(body.Messages[1+2*turn].Content))
			if (words != 5 || a.limit != 7) && (words != 50 || a.limit != 70) {
				t.Fatalf("%d words, %d tokens", words, a.limit)
			}
			if turn == 0 && words == 50 {
				long++
			}
			a.answer(`say \"x\"`)
			b.answer(`say \"x\"`)
		}
	}
	if long < 70 || long > 130 {
		t.Errorf("%d of 400 conversations are of the kind with a quarter", long)
	}
}
