package grammar

import (
	"strings"
	"testing"

	"serval"
)

func TestSchemaTexts(t *testing.T) {
	lex := Index(newWords(600))
	for _, c := range []struct {
		schema  string
		yes, no []string
	}{
		{`true`, []string{`1`, `{"a":[]}`, `"x"`, `null`}, []string{``, `x`}},
		{`{"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer"}},"required":["name"],"additionalProperties":false}`,
			[]string{`{"name":"x"}`, `{"name": "x", "age": 3}`, "{\n \"name\": \"x\",\n \"age\": -1\n}"},
			[]string{`{}`, `{"age":3}`, `{"age":3,"name":"x"}`, `{"name":"x","b":1}`, `{"name":"x","age":1.5}`, `{"name":"x",}`}},
		{`{"properties":{"a":{"type":"null"},"b":{"type":"null"},"c":{"type":"null"}}}`,
			[]string{`{}`, `{"a":null}`, `{"b":null}`, `{"c":null}`, `{"a":null,"c":null}`, `{"a":null,"b":null,"c":null}`, `{"b":null,"c":null}`},
			[]string{`{"c":null,"a":null}`, `{,"a":null}`, `{"a":null,"a":null}`, `[]`}},
		{`{"properties":{"a":{},"b":{},"c":{},"d":{}},"required":["c"]}`,
			[]string{`{"c":1}`, `{"a":1,"c":1}`, `{"b":1,"c":1,"d":1}`, `{"a":1,"b":1,"c":1}`}, []string{`{"a":1}`, `{"a":1,"b":1,"d":1}`}},
		{`{"type":"object","properties":{"ab":{"type":"integer"},"a":{"type":"integer"}},"additionalProperties":{"type":"string"}}`,
			[]string{`{"ab":1,"b":"x"}`, `{"abc":"x"}`, `{"":"x"}`, `{"é":"x"}`, `{"a\"":"y"}`},
			[]string{`{"a":"x"}`, `{"\u0061":"x"}`, `{"b":"x","ab":1}`, `{"ab":"1"}`}},
		{`{"type":["integer","null"]}`, []string{`1`, `-20`, `null`, `0`}, []string{`01`, `1.0`, `"1"`, `-`}},
		{`{"type":"integer","minimum":-5,"maximum":120}`, []string{`-5`, `0`, `120`, `99`, `-1`}, []string{`-6`, `121`, `1000`, `-0`, `1.0`}},
		{`{"type":"integer","exclusiveMinimum":9,"exclusiveMaximum":12}`, []string{`10`, `11`}, []string{`9`, `12`}},
		{`{"type":"integer","multipleOf":7,"minimum":10}`, []string{`14`, `70`, `700`}, []string{`7`, `15`, `-14`}},
		{`{"type":"number","minimum":0,"maximum":1}`, []string{`0`, `0.5`, `1`, `1.0`, `0.00`}, []string{`1.01`, `-0.1`, `2`, `1e0`}},
		{`{"type":"number","exclusiveMinimum":0.25}`, []string{`0.26`, `0.2501`, `1`, `123456`}, []string{`0.25`, `0.250`, `0.2`, `0`, `-1`}},
		{`{"type":"number","minimum":-2.5,"maximum":-1.25}`, []string{`-2.5`, `-1.25`, `-2`}, []string{`-2.51`, `-1.2`, `-1`, `0`, `1.5`}},
		{`{"enum":["a",1,null,{"x":[1,2]}]}`, []string{`"a"`, `1`, `null`, `{"x":[1,2]}`, `{"x": [1, 2]}`}, []string{`"b"`, `{}`}},
		{`{"type":"string","enum":["a",1]}`, []string{`"a"`}, []string{`1`}},
		{`{"const":"a\"\n/é"}`, []string{`"a\"\n/é"`}, []string{`"a"`}},
		{`{"type":"string","minLength":2,"maxLength":3}`, []string{`"ab"`, `"é\"🙂"`}, []string{`"a"`, `"abcd"`, `"a`}},
		{`{"type":"string","pattern":"^[A-Z]{2}\\d+$"}`, []string{`"AB1"`}, []string{`"AB"`, `"xAB1"`}},
		{`{"type":"string","pattern":"b+"}`, []string{`"b"`, `"abba\n"`}, []string{`"a"`, `""`}},
		{`{"type":"string","pattern":"^a*$","minLength":2,"maxLength":4}`, []string{`"aa"`, `"aaaa"`}, []string{`"a"`, `"aaaaa"`, `"ab"`}},
		{`{"type":"string","format":"date"}`, []string{`"2024-02-29"`, `"1999-12-31"`}, []string{`"2023-02-29"`, `"2024-13-01"`, `"2024-04-31"`, `"1900-02-29"`}},
		{`{"type":"string","format":"date-time"}`, []string{`"2024-02-29T12:00:00Z"`, `"2024-01-01T23:59:59.5+02:00"`}, []string{`"2024-02-29"`, `"2024-02-29T24:00:00Z"`}},
		{`{"type":"string","format":"uuid"}`, []string{`"123e4567-e89b-12d3-a456-426614174000"`}, []string{`"123"`}},
		{`{"type":"string","format":"ipv6"}`, []string{`"::"`, `"::1"`, `"1:2:3:4:5:6:7:8"`, `"fe80::1:2"`}, []string{`"1::2::3"`, `"1:2:3:4:5:6:7:8:9"`}},
		{`{"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3}`, []string{`[1]`, `[1, 2,3]`}, []string{`[]`, `[1,2,3,4]`, `["a"]`, `[1,]`}},
		{`{"type":"array","prefixItems":[{"type":"string"},{"type":"integer"}],"items":false,"minItems":1}`, []string{`["a"]`, `["a",1]`}, []string{`[]`, `[1]`, `["a",1,2]`}},
		{`{"type":"array","prefixItems":[{"type":"string"}],"items":{"type":"integer"}}`, []string{`[]`, `["a"]`, `["a",1,2]`}, []string{`[1]`, `["a","b"]`}},
		{`{"anyOf":[{"type":"integer"},{"type":"object","properties":{"a":{}},"required":["a"]}]}`, []string{`1`, `{"a":[]}`}, []string{`{}`, `"x"`}},
		{`{"oneOf":[{"properties":{"kind":{"const":"a"},"x":{"type":"integer"}},"required":["kind","x"]},{"properties":{"kind":{"const":"b"}},"required":["kind"]}]}`,
			[]string{`{"kind":"a","x":1}`, `{"kind":"b"}`}, []string{`{"kind":"a"}`, `{"kind":"c"}`}},
		{`{"oneOf":[{"type":"integer","maximum":3},{"type":"integer","minimum":4},{"type":"string"}]}`, []string{`3`, `4`, `"x"`}, []string{`null`}},
		{`{"allOf":[{"type":"object","properties":{"a":{"type":"integer"}}},{"properties":{"a":{"maximum":3},"b":{"type":"string"}},"required":["a"]}]}`,
			[]string{`{"a":1}`, `{"a":3,"b":"x"}`}, []string{`{}`, `{"a":4}`, `{"b":"x"}`}},
		{`{"properties":{"a":{"type":"integer"}},"required":["a"],"anyOf":[{"properties":{"b":{"const":1}},"required":["b"]},{"properties":{"c":{"const":2}},"required":["c"]}]}`,
			[]string{`{"a":1,"b":1}`, `{"a":1,"c":2}`}, []string{`{"a":1}`, `{"b":1}`}},
		{`{"$defs":{"node":{"type":"object","properties":{"v":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}},"required":["v","next"]}},"$ref":"#/$defs/node"}`,
			[]string{`{"v":1,"next":null}`, `{"v":1,"next":{"v":2,"next":null}}`}, []string{`{"v":1}`, `{"v":1,"next":{}}`}},
		{`{"type":"object","properties":{"children":{"type":"array","items":{"$ref":"#"}}},"required":["children"]}`,
			[]string{`{"children":[]}`, `{"children":[{"children":[]},{"children":[]}]}`}, []string{`{}`, `{"children":[1]}`}},
		{`{"type":"string","nullable":true}`, []string{`null`, `"a"`}, []string{`1`}},
		{`{"type":"object","additionalProperties":{"type":"integer"},"minProperties":1,"maxProperties":2}`, []string{`{"a":1}`, `{"a":1,"b":2}`}, []string{`{}`, `{"a":1,"b":2,"c":3}`, `{"a":"x"}`}},
		{`{"type":"object","required":["x"]}`, []string{`{"x":1}`, `{"x":{}}`}, []string{`{}`}},
		{`{"properties":{"a":{"type":"integer"},"b":false}}`, []string{`{}`, `{"a":1}`}, []string{`{"b":1}`}},
		{`{"properties":{"a":{},"b":{}},"minProperties":1}`, []string{`{"a":1}`, `{"b":1}`, `{"a":1,"b":1}`}, []string{`{}`}},
	} {
		b := compileOrFail(t, "json_schema", c.schema).Bind(lex)
		for _, s := range c.yes {
			if !fits(b, s) {
				t.Errorf("%s\n  refuses %s", c.schema, s)
			}
		}
		for _, s := range c.no {
			if fits(b, s) {
				t.Errorf("%s\n  takes %s", c.schema, s)
			}
		}
	}
}

// TestRefused: what cannot be held to is refused, with its place.
func TestRefused(t *testing.T) {
	for _, c := range []struct{ kind, source, want string }{
		{"json_schema", `{"properties":{"a":{"not":{}}}}`, "#/properties/a/not: the keyword not is not supported"},
		{"json_schema", `{"type":"strin"}`, "#/type: type must be"},
		{"json_schema", `{"properties":{"a":{"maxlength":3}}}`, "#/properties/a/maxlength: the keyword maxlength is not supported"},
		{"json_schema", `{"items":{"$ref":"#/$defs/x"}}`, `#/items/$ref: the reference "#/$defs/x" leads nowhere`},
		{"json_schema", `{"$ref":"https://example.org/s.json"}`, "#/$ref: the reference"},
		{"json_schema", `{"$ref":"#"}`, "#: this schema refers to itself"},
		{"json_schema", `{"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]}`, "no text fits"},
		{"json_schema", `{"type":"string","pattern":"(?=a)b"}`, "#/pattern: character 1: look-around"},
		{"json_schema", `{"type":"string","pattern":"(a)\\1"}`, "#/pattern: character 4: back-references"},
		{"json_schema", `{"type":"string","format":"iri"}`, `#/format: the format "iri" is not supported`},
		{"json_schema", `{"type":"array","uniqueItems":true}`, "#/uniqueItems: the keyword uniqueItems is not supported"},
		{"json_schema", `{"oneOf":[{"type":"integer"},{"type":"number"}]}`, "#/oneOf: the branches 0 and 1 may both hold"},
		{"json_schema", `{"allOf":[{"type":"integer"},{"type":"string"}]}`, "no value fits"},
		{"json_schema", `{"properties":{"a":{"minimum":3,"maximum":2}},"required":["a"]}`, "#/properties/a: no value fits"},
		{"json_schema", `{"type":"number","multipleOf":0.1}`, "#/multipleOf: multipleOf is supported for whole numbers"},
		{"json_schema", `{"type":"string","maxLength":1000000}`, "too large"},
		{"json_schema", `{"type":"object",`, "not JSON"},
		{"json_schema", `[]`, "#: a schema must be an object"},
		{"json_schema", strings.Repeat(`{"items":`, 300) + `true` + strings.Repeat(`}`, 300), "nested deeper than"},
		{"json_schema", `{"properties":{"a":{"patternProperties":{"x":{}}}}}`, "#/properties/a/patternProperties"},
		{"regex", `a(b`, "character 2: the group that begins here is not closed"},
		{"regex", `a**`, "character 3: two quantifiers"},
		{"regex", `x\b`, "character 2: word boundaries"},
		{"regex", `a^b`, "character 2: the anchor ^"},
		{"regex", `[z-a]`, "character 2: this range runs backwards"},
		{"regex", `é[`, "character 2: the class"},
		{"regex", `(a{1,1000}){1,1000}`, "too large"},
		{"choice", `[]`, "there are no choices"},
		{"choice", `["a",1]`, "must be a JSON array of strings"},
		{"gbnf", "root ::= x\n", "line 1, column 10: the rule x is not defined"},
		{"gbnf", "start ::= \"x\"\n", "no rule named root"},
		{"gbnf", "root ::= root \"x\" | \"y\"\n", "left recursion: root begins with itself"},
		{"gbnf", "root ::= a\na ::= b? c\nb ::= \"x\"\nc ::= a \"y\" | \"z\"\n", "left recursion"},
		{"gbnf", "root ::= \"a\n", "line 1, column 10: the text that begins here is not closed"},
		{"gbnf", "root ::= [a-", "line 1, column 10: the class"},
		{"gbnf", "root ::= (\"a\"", "line 1, column 14: the group"},
		{"gbnf", "root ::= \"a\"\nroot ::= \"b\"", "line 2, column 1: the rule root is defined a second time"},
		{"gbnf", "root ::= \"a\"{1,1000000}", "more than 300000 repetitions"},
		{"gbnf", "root ::= ((\"a\"{1,3000}){1,3000})", "too large"},
		{"gbnf", "root ::= \"\\q\"", "this escape is not known"},
		{"gbnf", "root ::= <think>", "terms of tokens"},
		{"gbnf", "root ::= \"x\" a\na ::= \"y\" a\n", "no text fits: every way through it needs"},
		{"gbnf", "root ::= %json_schema {\"not\":{}}", "line 1, column 23, #/not"},
		{"gbnf", "root ::= %nothing", "%nothing is not known"},
		{"gbnf", "root ::= \"\xff\"", "not valid UTF-8"},
		{"xml", "", "the kind of constraint 'xml' is not known"},
	} {
		_, err := Compile(serval.Constraint{Kind: c.kind, Source: c.source, Param: "response_format"})
		e, ok := err.(*serval.Error)
		if !ok || e.Code != serval.InvalidArgument || e.Param != "response_format" {
			t.Errorf("%s %.80s: %#v", c.kind, c.source, err)
			continue
		}
		if !strings.Contains(e.Message, c.want) {
			t.Errorf("%s %.80s\n  says %s\n  not  %s", c.kind, c.source, e.Message, c.want)
		}
	}
}
