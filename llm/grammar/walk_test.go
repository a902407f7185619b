package grammar

import (
	"bufio"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"serval"
)

var (
	corpus = flag.String("corpus", "", "a file of JSON Schemas, one a line, to walk through beside the test's own")
	output = flag.String("output", "", "a file for the texts of the corpus's walks, one JSON object a line, for another validator")
)

// schemas are of the kinds that clients send: made by pydantic, zod and by hand, and each keyword by itself and with others.
var schemas = strings.Split(strings.TrimSpace(`
{"type":"object","properties":{"location":{"type":"string","description":"City"},"unit":{"type":"string","enum":["celsius","fahrenheit"]}},"required":["location"]}
{"title":"Person","type":"object","properties":{"name":{"title":"Name","type":"string"},"age":{"title":"Age","type":"integer","minimum":0,"maximum":150},"email":{"anyOf":[{"type":"string","format":"email"},{"type":"null"}],"default":null}},"required":["name","age"],"additionalProperties":false}
{"$defs":{"Address":{"properties":{"street":{"type":"string","minLength":1,"maxLength":40},"zip":{"type":"string","pattern":"^\\d{5}(-\\d{4})?$"}},"required":["street","zip"],"type":"object"}},"type":"object","properties":{"home":{"$ref":"#/$defs/Address"},"work":{"anyOf":[{"$ref":"#/$defs/Address"},{"type":"null"}]},"tags":{"type":"array","items":{"type":"string","maxLength":8},"maxItems":4}},"required":["home","work","tags"]}
{"type":"object","properties":{"steps":{"type":"array","items":{"type":"object","properties":{"explanation":{"type":"string"},"output":{"type":"string"}},"required":["explanation","output"],"additionalProperties":false}},"final_answer":{"type":"string"}},"required":["steps","final_answer"],"additionalProperties":false}
{"type":"object","properties":{"type":{"type":"string","enum":["div","button","header","section","field","form"]},"label":{"type":"string"},"children":{"type":"array","items":{"$ref":"#"}},"attributes":{"type":"array","items":{"type":"object","properties":{"name":{"type":"string"},"value":{"type":"string"}},"required":["name","value"],"additionalProperties":false}}},"required":["type","label","children","attributes"],"additionalProperties":false}
{"$defs":{"n":{"type":"object","properties":{"v":{"type":"number"},"l":{"anyOf":[{"$ref":"#/$defs/n"},{"type":"null"}]},"r":{"anyOf":[{"$ref":"#/$defs/n"},{"type":"null"}]}},"required":["v","l","r"]}},"$ref":"#/$defs/n"}
{"oneOf":[{"type":"object","properties":{"kind":{"const":"circle"},"r":{"type":"number","exclusiveMinimum":0}},"required":["kind","r"]},{"type":"object","properties":{"kind":{"const":"rect"},"w":{"type":"number","minimum":0},"h":{"type":"number","minimum":0}},"required":["kind","w","h"]}]}
{"oneOf":[{"type":"string","maxLength":3},{"type":"string","minLength":4},{"type":"integer"},{"type":"array","items":{"type":"boolean"}}]}
{"oneOf":[{"required":["a"],"properties":{"a":{"type":"integer"}}},{"required":["b"],"properties":{"b":{"type":"string"}}}]}
{"anyOf":[{"type":"string"},{"type":"number"},{"type":"array","items":{"$ref":"#"}}]}
{"allOf":[{"type":"object","properties":{"id":{"type":"integer"}},"required":["id"]},{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}]}
{"allOf":[{"$ref":"#/$defs/base"},{"properties":{"extra":{"type":"boolean"}},"required":["extra"]}],"$defs":{"base":{"type":"object","properties":{"id":{"type":"string","format":"uuid"}},"required":["id"]}}}
{"allOf":[{"minimum":3},{"maximum":9},{"multipleOf":3}],"type":"integer"}
{"allOf":[{"pattern":"^[ab]+$"},{"pattern":"b$"},{"minLength":3},{"maxLength":5}],"type":"string"}
{"allOf":[{"anyOf":[{"required":["a"]},{"required":["b"]}]},{"anyOf":[{"required":["c"]},{"required":["d"]}]}],"type":"object","properties":{"a":{"type":"null"},"b":{"type":"null"},"c":{"type":"null"},"d":{"type":"null"}}}
{"type":"object","properties":{"a":{"type":"integer"}},"additionalProperties":{"type":"boolean"}}
{"type":"object","properties":{"a":{"type":"integer"},"ab":{"type":"integer"},"b\"c":{"type":"integer"},"é":{"type":"integer"}},"additionalProperties":{"type":"string","maxLength":2}}
{"type":"object","additionalProperties":{"type":"array","items":{"type":"integer"}}}
{"type":"object","additionalProperties":{"type":"integer"},"minProperties":1,"maxProperties":3}
{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}},"minProperties":1,"additionalProperties":false}
{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}},"minProperties":2,"maxProperties":2,"additionalProperties":false}
{"type":"object","required":["x","y"],"additionalProperties":{"type":"number"}}
{"type":"object","properties":{"never":false,"a":{"type":"integer"}},"required":["a"]}
{"type":"object","properties":{"a/b":{"type":"integer"},"c~d":{"$ref":"#/properties/a~1b"}},"required":["a/b","c~d"]}
{"type":"object"}
{"type":"object","maxProperties":0}
{"type":"object","properties":{}}
{"type":"object","properties":{"":{"type":"null"}},"additionalProperties":true}
{"type":"array"}
{"type":"array","items":{"type":"string","enum":["x","y"]},"minItems":2,"maxItems":5}
{"type":"array","items":{"type":"array","items":{"type":"integer"},"maxItems":2},"maxItems":3}
{"type":"array","prefixItems":[{"type":"integer"},{"type":"string"},{"type":"boolean"}],"items":false,"minItems":3}
{"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],"minItems":1}
{"type":"array","prefixItems":[{"type":"integer"}],"items":{"type":"null"},"minItems":2,"maxItems":4}
{"type":"array","prefixItems":[{"type":"integer"}],"minItems":3}
{"allOf":[{"prefixItems":[{"type":"integer"}]},{"items":{"minimum":5}}],"type":"array","minItems":2}
{"type":"array","items":false}
{"type":"array","maxItems":1,"uniqueItems":true,"items":{"type":"integer"}}
{"type":"string"}
{"type":"string","minLength":3}
{"type":"string","maxLength":0}
{"type":"string","maxLength":6}
{"type":"string","minLength":2,"maxLength":2}
{"type":"string","pattern":"^[a-z_][a-z0-9_]*$"}
{"type":"string","pattern":"o"}
{"type":"string","pattern":"^(foo|bar)"}
{"type":"string","pattern":"(^a|b$)"}
{"type":"string","pattern":"^\\S+@\\S+\\.\\w{2,}$"}
{"type":"string","pattern":"^[^\"\\\\]{1,4}$"}
{"type":"string","pattern":"^\\p{Lu}\\p{Ll}{1,3}$"}
{"type":"string","pattern":"^\\W\\D\\S$"}
{"type":"string","pattern":"^[\\w.-]{3,10}$","minLength":5}
{"type":"string","pattern":"^.{2,5}$"}
{"type":"string","pattern":"\\d","maxLength":4}
{"type":"string","pattern":"^$"}
{"type":"string","pattern":"^a|b$","maxLength":6}
{"type":"string","format":"date"}
{"type":"string","format":"time"}
{"type":"string","format":"date-time"}
{"type":"string","format":"duration"}
{"type":"string","format":"uuid"}
{"type":"string","format":"email"}
{"type":"string","format":"hostname"}
{"type":"string","format":"ipv4"}
{"type":"string","format":"ipv6"}
{"type":"string","format":"uri"}
{"type":"string","format":"ipv4","maxLength":8}
{"type":"string","format":"date","pattern":"^20"}
{"type":"integer"}
{"type":"integer","minimum":1}
{"type":"integer","minimum":-3,"maximum":17}
{"type":"integer","exclusiveMinimum":0,"exclusiveMaximum":1000}
{"type":"integer","maximum":-10}
{"type":"integer","minimum":-9223372036854775808,"maximum":9223372036854775807}
{"type":"integer","minimum":99999999999999999}
{"type":"integer","multipleOf":5}
{"type":"integer","multipleOf":12,"minimum":-100,"maximum":100}
{"type":"integer","minimum":1.5,"maximum":3.5}
{"type":"integer","format":"int32"}
{"type":"number"}
{"type":"number","minimum":0}
{"type":"number","minimum":0,"maximum":1}
{"type":"number","exclusiveMinimum":0,"exclusiveMaximum":1}
{"type":"number","minimum":-1.5,"maximum":2.25}
{"type":"number","exclusiveMinimum":0.1,"maximum":0.3}
{"type":"number","minimum":1e-7,"maximum":2e-7}
{"type":"number","maximum":-0.001}
{"type":"number","minimum":1e17}
{"type":"number","exclusiveMaximum":100000000000000}
{"type":"number","multipleOf":3,"minimum":0}
{"type":"number","maximum":1e308}
{"minimum":5}
{"type":["string","null"]}
{"type":["integer","boolean","object"],"minimum":3,"properties":{"a":{"type":"null"}}}
{"enum":[1,2.50,"three",null,true,[1,{"a":"b"}],{"k":"v","l":[]}]}
{"const":{"a":[1,2,{"b":"c\n\"d\""}]}}
{"type":"string","enum":["a",1,"bb"],"maxLength":1}
{"enum":["a","b","c"],"anyOf":[{"const":"a"},{"pattern":"c"}]}
{"const":"日本語 🙂"}
{"type":"boolean"}
{"type":"null"}
true
{}
{"$ref":"#/definitions/a","definitions":{"a":{"$ref":"#/definitions/b"},"b":{"type":"array","items":{"$ref":"#/definitions/c"}},"c":{"type":"integer","minimum":0}}}
{"$schema":"https://json-schema.org/draft/2020-12/schema","$id":"https://example.org/tree","type":"object","properties":{"kids":{"type":"array","items":{"$ref":"#"},"maxItems":2}},"required":["kids"],"additionalProperties":false}
{"type":"object","properties":{"a":{"type":"object","properties":{"b":{"type":"object","properties":{"c":{"type":"array","items":{"type":"object","properties":{"d":{"type":"number"}},"required":["d"]}}},"required":["c"]}},"required":["b"]}},"required":["a"]}
`), "\n")

// validate says whether a text is valid, by a validator that has nothing to do with ours.
func validate(t testing.TB, schema string) func(text string) error {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("mem:///schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("mem:///schema.json")
	if err != nil {
		t.Fatalf("%s: %v", schema, err)
	}
	return func(text string) error {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			return err
		}
		return s.Validate(v)
	}
}

// TestSchemaWalks: whatever a model that knows nothing picks, a finished answer is valid.
func TestSchemaWalks(t *testing.T) {
	lex := Index(newWords(1500))
	r := rand.New(rand.NewPCG(7, 8))
	for _, schema := range schemas {
		b := compileOrFail(t, "json_schema", schema).Bind(lex)
		check := validate(t, schema)
		finished := 0
		for round := 0; round < 25 || finished == 0 && round < 300; round++ {
			text, ok := walkRandom(t, b, r, 150)
			if !ok {
				continue
			}
			finished++
			if err := check(text); err != nil {
				t.Errorf("%s\n  %s\n  %v", schema, text, err)
				break
			}
			// The same value without spaces, and with each character in its usual spelling, is allowed as well.
			doc, err := readDocument([]byte(text))
			if err != nil {
				if !strings.Contains(err.Error(), "stands twice") { // names that are free may be the same
					t.Fatal(err)
				}
				continue
			}
			if c := canonical(doc); !fits(b, c) {
				t.Errorf("%s\n  %s is refused, though %s was allowed", schema, c, text)
			}
		}
		if finished == 0 {
			t.Errorf("%s: no walk came to an end", schema)
		}
	}
}

// canonical writes a document without spaces.
func canonical(d *document) string {
	var b strings.Builder
	switch d.kind {
	case 'n':
		b.WriteString("null")
	case 'b':
		b.WriteString(strconv.FormatBool(d.yes))
	case 's':
		b.WriteString(`"` + escape(d.text) + `"`)
	case '0':
		b.WriteString(d.text)
	case '[':
		b.WriteString("[")
		for i, v := range d.list {
			if i > 0 {
				b.WriteString(",")
			}
			b.WriteString(canonical(v))
		}
		b.WriteString("]")
	case '{':
		b.WriteString("{")
		for i, m := range d.members {
			if i > 0 {
				b.WriteString(",")
			}
			b.WriteString(`"` + escape(m.name) + `":` + canonical(m.value))
		}
		b.WriteString("}")
	}
	return b.String()
}

// TestCorpus walks through schemas of a file; those that are refused are counted.
func TestCorpus(t *testing.T) {
	if *corpus == "" {
		t.Skip("no -corpus")
	}
	in, err := os.Open(*corpus)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(*output)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	lex := Index(newWords(1500))
	r := rand.New(rand.NewPCG(9, 10))
	refused, texts := map[string]int{}, 0
	scan := bufio.NewScanner(in)
	scan.Buffer(nil, 1<<24)
	all := 0
	for scan.Scan() {
		all++
		g, err := Compile(serval.Constraint{Kind: "json_schema", Source: scan.Text()})
		if err != nil {
			refused[err.Error()]++
			continue
		}
		b := g.Bind(lex)
		for range 40 {
			if text, ok := walkRandom(t, b, r, 120); ok {
				texts++
				line, err := json.Marshal(map[string]string{"schema": scan.Text(), "text": text})
				if err != nil {
					t.Fatal(err)
				}
				out.Write(append(line, '\n'))
			}
		}
	}
	t.Logf("%d schemas, %d texts", all, texts)
	for why, n := range refused {
		t.Logf("refused %d times: %s", n, why)
	}
}
