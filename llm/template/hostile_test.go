package template

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// TestHostile renders templates that try to take all time or memory.
func TestHostile(t *testing.T) {
	deep := strings.Repeat("[", 100000) + strings.Repeat("]", 100000)
	for name, source := range map[string]string{
		"endless loops":        `{% for a in range(100000) %}{% for b in range(100000) %}{% for c in range(100000) %}{% endfor %}{% endfor %}{% endfor %}`,
		"large range":          `{% for a in range(10 ** 15) %}{% endfor %}`,
		"repeated text":        `{{ 'x' * 10 ** 12 }}`,
		"repeated list":        `{{ [1] * 10 ** 12 }}`,
		"doubled text":         `{% set ns = namespace(s='x') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}`,
		"doubled list":         `{% set ns = namespace(s=[1]) %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}`,
		"doubled by reference": `{% set ns = namespace(s=[1]) %}{% for i in range(100) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}`,
		"tojson of it":         `{% set ns = namespace(s=[1]) %}{% for i in range(100) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s|tojson }}`,
		"equality of it":       `{% set ns = namespace(s=[1], t=[1]) %}{% for i in range(100) %}{% set ns.s = [ns.s, ns.s] %}{% set ns.t = [ns.t, ns.t] %}{% endfor %}{{ ns.s == ns.t }}`,
		"key of it":            `{% set ns = namespace(s=(1,)) %}{% for i in range(100) %}{% set ns.s = (ns.s, ns.s) %}{% endfor %}{{ {ns.s: 1} }}`,
		"deep value":           `{% set ns = namespace(s=[]) %}{% for i in range(100000) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s }}`,
		"deep json":            `{% set ns = namespace(s=[]) %}{% for i in range(100000) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s|tojson }}`,
		"recursive macro":      `{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}`,
		"two macros":           `{% macro f(n) %}{{ f(n + 1) }}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}`,
		"recursive loop":       `{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}`,
		"output":               `{% for i in range(100000) %}` + strings.Repeat("x", 10000) + `{% endfor %}`,
		"large power":          `{{ 10 ** 100000000 }}`,
		"grown number":         `{% set ns = namespace(n=3) %}{% for i in range(100) %}{% set ns.n = ns.n * ns.n %}{% endfor %}`,
		"wide format":          `{{ '%1000000000d' % 1 }}`,
		"wide specification":   `{{ '{:>1000000000}'.format(1) }}`,
		"precision":            `{{ '%.1000000000f' % 1.5 }}`,
		"nested fields":        `{{ '{:{:{:{}}}}'.format(1, 2, 3, 4) }}`,
		"wide centre":          `{{ 'a'|center(10 ** 10) }}`,
		"wide indent":          `{{ 'a\nb'|indent(10 ** 10) }}`,
		"json indent":          `{{ [[[[[1]]]]]|tojson(indent=10 ** 9) }}`,
		"replaced":             `{{ ('x' * 1000000)|replace('x', 'y' * 1000000) }}`,
		"replaced nothing":     `{{ ('x' * 1000000)|replace('', 'y' * 1000000) }}`,
		"joined":               `{{ range(100000)|join('x' * 100000) }}`,
		"batch fill":           `{{ [1]|batch(10 ** 12, 'x')|list }}`,
		"many slices":          `{{ [1]|slice(10 ** 12)|list }}`,
		"nested brackets":      `{{ ` + deep + ` }}`,
		"nested parentheses":   `{{ ` + strings.Repeat("(", 100000) + `1` + strings.Repeat(")", 100000) + ` }}`,
		"nested ifs":           strings.Repeat("{% if 1 %}", 100000) + strings.Repeat("{% endif %}", 100000),
		"long sum":             `{{ ` + strings.Repeat("1+", 100000) + `1 }}`,
		"many nots":            `{{ ` + strings.Repeat("not ", 100000) + `1 }}`,
		"many minuses":         `{{ ` + strings.Repeat("-", 100000) + `1 }}`,
		"many filters":         `{{ 1` + strings.Repeat("|string", 100000) + ` }}`,
		"many attributes":      `{{ x` + strings.Repeat(".y", 100000) + ` }}`,
		"nested targets":       `{% set ` + strings.Repeat("(", 100000) + `x` + strings.Repeat(")", 100000) + ` = 1 %}`,
		"searching":            `{% set a = 'a' * 1000000 %}{% for i in range(100000) %}{{ a.find('b') }}{% endfor %}`,
		"stripping":            `{% set a = ' ' * 1000000 %}{% for i in range(100000) %}{{ a.strip() }}{% endfor %}`,
		"cutting":              `{% set a = 'é' * 1000000 %}{% for i in range(100000) %}{{ a[999999] }}{% endfor %}`,
		"too large":            strings.Repeat("x", maxSource+1),
	} {
		tpl, err := Parse(source)
		if err == nil {
			_, err = tpl.Render(map[string]any{"x": map[string]any{}})
		}
		var e *Error
		if !errors.As(err, &e) || e.Line < 1 || e.Column < 1 {
			t.Errorf("%s: want an error with a place, got %v", name, err)
		}
	}
}

// TestRaised says where and that the template itself refused.
func TestRaised(t *testing.T) {
	tpl, err := Parse("{% for m in messages %}\n  {{ raise_exception('no ' ~ m.role) }}\n{% endfor %}")
	if err != nil {
		t.Fatal(err)
	}
	_, err = tpl.Render(map[string]any{"messages": []any{map[string]any{"role": "aliens"}}})
	var e *Error
	if !errors.As(err, &e) || !e.Raised || e.Message != "no aliens" || e.Line != 2 || e.Column != 21 {
		t.Errorf("got %#v", err)
	}
	if _, err := Parse("a\nb {{ 1 | nope }}"); err == nil || err.Error() != "line 2:10: there is no filter 'nope'" {
		t.Errorf("got %v", err)
	}
	tpl, _ = Parse("{{ x }}")
	if _, err := tpl.Render(map[string]any{"x": struct{}{}}); err == nil || !strings.Contains(err.Error(), "variable x: a template cannot take a value of Go type struct {}") {
		t.Errorf("got %v", err)
	}
}

// TestVariables keeps the order of keys, and takes all that Go code may have.
func TestVariables(t *testing.T) {
	tpl, err := Parse("{% for k, v in x.items() %}{{ k }}={{ v }};{% endfor %}")
	if err != nil {
		t.Fatal(err)
	}
	type word string
	for _, c := range []struct {
		x    any
		want string
	}{
		{json.RawMessage(`{"z": 1, "a": {"y": 2, "b": 18446744073709551616}, "z": 3}`), "z=3;a={'y': 2, 'b': 18446744073709551616};"},
		{NewDict("z", 1, "a", []string{"p", "q"}, "m", json.Number("1.50")), "z=1;a=['p', 'q'];m=1.5;"},
		{map[string]any{"b": uint8(1), "a": float32(0.5), "c": word("w"), "d": []map[string]any{{"k": nil}}, "e": uint64(1 << 63)},
			"a=0.5;b=1;c=w;d=[{'k': None}];e=9223372036854775808;"},
		{NewDict("bad", "a\xffb"), "bad=a\uFFFDb;"},
	} {
		out, err := tpl.Render(map[string]any{"x": c.x})
		if err != nil || out != c.want {
			t.Errorf("%v: got %q, %v", c.x, out, err)
		}
	}
	if _, err := tpl.Render(map[string]any{"x": json.RawMessage(strings.Repeat("[", 9000))}); err == nil {
		t.Error("JSON that is nested 9,000 deep was taken")
	}
}

// TestManyKeys makes dicts that are large enough for an index.
func TestManyKeys(t *testing.T) {
	d := &Dict{}
	for i := range 100 {
		d.Set(strings.Repeat("k", i), i)
	}
	d.Set("kk", "two")
	if v, _ := d.get("kk"); d.Len() != 100 || v != "two" {
		t.Errorf("%d keys, kk is %v", d.Len(), v)
	}
}
