package grammar

import (
	"fmt"
	"strings"
	"testing"
)

// An enumeration is tried against itself in a time that grows with its values, not with their square: 20,000 took a quarter of a minute.
// What is equal counts as the same, however it is written.
func TestLargeEnum(t *testing.T) {
	lex := newWords(3000)
	for form, also := range map[string]string{`"y%d"`: `"\u0079%d"`, `%d.5`: `%d.50e0`, `[%d,{"a":null}]`: `[%d.0, {"a": null}]`, `{"b":%d,"a":true}`: `{"a": true, "b": %de0}`} {
		var list []string
		for i := range 20_000 {
			list = append(list, fmt.Sprintf(form, i))
		}
		schema := fmt.Sprintf(`{"enum": [%s], "allOf": [{"enum": [%s, "other"]}]}`, strings.Join(list, ","), fmt.Sprintf(also, 7))
		b := compileOrFail(t, "json_schema", schema).Bind(lex)
		if text := fmt.Sprintf(form, 7); !fits(b, text) {
			t.Errorf("%s is not taken", text)
		}
		if text := fmt.Sprintf(form, 8); fits(b, text) {
			t.Errorf("%s is taken", text)
		}
	}
}
