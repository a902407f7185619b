package grammar

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"serval"
	"serval/llm/gguf"
	"serval/llm/vocab"
)

var ggufs = flag.String("gguf", "", "GGUF files, with commas between, whose vocabularies benchmarks use beside made-up ones")

func vocabularies(b *testing.B) map[string]Vocabulary {
	out := map[string]Vocabulary{"words-49k": newWords(49152), "words-262k": newWords(262144)}
	for _, path := range strings.Split(*ggufs, ",") {
		if path == "" {
			continue
		}
		f, err := gguf.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		v, err := vocab.FromGGUF(f)
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
		out[fmt.Sprintf("%s-%dk", path[strings.LastIndexByte(path, '/')+1:], v.Size()/1000)] = v
	}
	return out
}

const benchSchema = `{"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer","minimum":0,"maximum":150},` +
	`"email":{"type":"string","pattern":"^[a-z.]+@[a-z]+\\.com$"},"bio":{"type":"string","maxLength":400},"kind":{"enum":["person","company","robot"]},` +
	`"address":{"type":"object","properties":{"street":{"type":"string"},"zip":{"type":"string","pattern":"^\\d{5}$"},"since":{"type":"string","format":"date"}},"required":["street","zip"]},` +
	`"tags":{"type":"array","items":{"type":"string"}},"scores":{"type":"array","items":{"type":"number"}}},"required":["name","age","email","address"]}`

const benchText = `{"name": "Ada Lovelace of London", "age": 36, "email": "ada.lovelace@example.com", "bio": "She wrote the first program, for a machine that was never built, and it had a bug.", ` +
	`"kind": "person", "address": {"street": "St James's Square \"12\"", "zip": "12345", "since": "1835-02-28"}, "tags": ["mathematics", "poetry", "日本語"], "scores": [1.5, 22, 0.125]}`

// tokens cuts a text into the longest tokens that the grammar allows.
func tokens(b *testing.B, s *State, text string) []int32 {
	s = s.Clone()
	var out []int32
	for at := 0; at < len(text); {
		best := int32(-1)
		for id, p := range s.b.lex.pieces {
			if len(p) > 0 && len(p) <= maxPiece && strings.HasPrefix(text[at:], string(p)) && (best < 0 || len(p) > len(s.b.lex.pieces[best])) && s.Clone().Accept(int32(id)) {
				best = int32(id)
			}
		}
		if best < 0 {
			b.Fatalf("no token fits at %q", text[at:])
		}
		s.Accept(best)
		out = append(out, best)
		at += len(s.b.lex.pieces[best])
	}
	return out
}

// BenchmarkMask measures each step's mask and Accept: of the first answer with a vocabulary and a schema, and of later ones.
func BenchmarkMask(b *testing.B) {
	cases := []struct{ name, kind, source, text string }{
		{"schema", "json_schema", benchSchema, benchText},
		{"object", "json_object", "", benchText},
		{"regex", "regex", `[A-Z][a-z]+( [a-z]+){3,20}\.`, "Once upon a time there was a model that never went astray."},
	}
	for name, v := range vocabularies(b) {
		begun := time.Now()
		lex := Index(v)
		index := time.Since(begun)
		for _, c := range cases {
			b.Run(name+"/"+c.name, func(b *testing.B) {
				g, err := Compile(serval.Constraint{Kind: c.kind, Source: c.source})
				if err != nil {
					b.Fatal(err)
				}
				ids := tokens(b, g.Bind(lex).Start(), c.text)
				bits := make([]uint64, lex.words)
				clear(lex.locals)
				var cold, warm []time.Duration
				run := func(into *[]time.Duration) {
					s := g.Bind(lex).Start()
					for _, id := range ids {
						begun := time.Now()
						s.Mask(bits)
						if !s.Accept(id) {
							b.Fatal("refused")
						}
						*into = append(*into, time.Since(begun))
					}
				}
				run(&cold)
				b.ResetTimer()
				for range b.N {
					run(&warm)
				}
				b.StopTimer()
				report := func(name string, list []time.Duration) {
					slices.Sort(list)
					b.ReportMetric(float64(list[len(list)/2].Nanoseconds())/1e3, name+"-p50-µs")
					b.ReportMetric(float64(list[len(list)*99/100].Nanoseconds())/1e3, name+"-p99-µs")
				}
				report("first", cold)
				report("later", warm)
				b.ReportMetric(float64(index.Milliseconds()), "index-ms")
			})
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	lex := Index(newWords(1000))
	for name, source := range map[string]string{"typical": benchSchema, "long": `{"type":"string","maxLength":10000}`,
		"wide": `{"properties":{` + strings.Repeat(`"a":{"type":"string"},`, 1) + `"b":{"type":"integer","minimum":-1000000,"maximum":1000000}}}`} {
		b.Run(name, func(b *testing.B) {
			states := 0
			for range b.N {
				g := compileOrFail(b, "json_schema", source)
				g.Bind(lex)
				states = len(g.net.states)
			}
			b.ReportMetric(float64(states), "states")
		})
	}
}
