package reply

import (
	"encoding/json"
	"strings"
	"testing"
)

// FuzzParser feeds anything to a parser of each form: nothing panics, what is no call is not lost, pieces make no difference, and
// the arguments of a finished call in tags are JSON.
func FuzzParser(f *testing.F) {
	var styles []Style
	for _, c := range templates {
		s, err := Detect(c.source)
		if err != nil {
			f.Fatal(err)
		}
		styles = append(styles, s.Reasoning("<think>", "</think>"))
		f.Add(written1(f, c.source, "get_weather", bern, "ping", "{}"), uint8(3))
	}
	styles = append(styles, Style{calls: &format{kind: harmony}}, hermesStyle())
	f.Add("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary to=functions.ping<|message|>{}<|call|>", uint8(5))
	f.Add("<think>a</think>b", uint8(1))
	tools := someTools(f)
	f.Fuzz(func(t *testing.T, text string, size uint8) {
		for i, s := range styles {
			whole := parse(t, New(s, tools), text, 0)
			parts := parse(t, New(s, tools), text, int(size%16)+1)
			if len(whole.Calls) != len(parts.Calls) {
				t.Errorf("form %d (%s): %q has %+v, in pieces %+v", i, s.Format(), text, whole, parts)
			}
			if len(whole.Calls) == 0 && whole.Text+whole.Reasoning == "" && len(text) > 200 && s.calls.kind != harmony {
				t.Errorf("form %d (%s): %q is lost", i, s.Format(), text)
			}
			for _, c := range whole.Calls {
				if s.calls.kind == tagged && strings.HasSuffix(c.Arguments, "}") && !json.Valid([]byte(c.Arguments)) {
					t.Errorf("form %d: %q makes the arguments %q", i, text, c.Arguments)
				}
			}
		}
	})
}
