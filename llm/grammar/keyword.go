package grammar

import (
	"math/big"
	"strings"
)

// types is a set of JSON types.
type types uint8

const (
	typeNull types = 1 << iota
	typeBoolean
	typeString
	typeInteger
	typeNumber // integers among them
	typeArray
	typeObject
	typeAny = typeNull | typeBoolean | typeString | typeNumber | typeArray | typeObject
)

var typeNames = map[string]types{"null": typeNull, "boolean": typeBoolean, "string": typeString, "integer": typeInteger,
	"number": typeNumber, "array": typeArray, "object": typeObject}

// keyword is what is known of a keyword: the kind of its value, and the types that it speaks of.
type keyword struct {
	kind byte // 's' string, 'b' boolean, 'i' count, '0' number, '{' schemas by name, '[' list of schemas, 'S' schema, 'L' strings, 'V' values, 'T' types; 0: anything
	of   types
}

var keywords = map[string]keyword{
	"$ref": {kind: 's'}, "allOf": {kind: '['}, "anyOf": {kind: '['}, "oneOf": {kind: '['}, "type": {kind: 'T'}, "enum": {kind: 'V'}, "const": {},
	"nullable":   {kind: 'b'},
	"properties": {'{', typeObject}, "required": {'L', typeObject}, "additionalProperties": {'S', typeObject}, "unevaluatedProperties": {'S', typeObject},
	"minProperties": {'i', typeObject}, "maxProperties": {'i', typeObject},
	"items": {0, typeArray}, "prefixItems": {'[', typeArray}, "additionalItems": {'S', typeArray}, "minItems": {'i', typeArray}, "maxItems": {'i', typeArray},
	"uniqueItems": {'b', typeArray},
	"minLength":   {'i', typeString}, "maxLength": {'i', typeString}, "pattern": {'s', typeString}, "format": {'s', 0},
	"minimum": {'0', typeNumber}, "maximum": {'0', typeNumber}, "exclusiveMinimum": {0, typeNumber}, "exclusiveMaximum": {0, typeNumber}, "multipleOf": {'0', typeNumber},
}

// annotations say nothing about what is valid. Definitions are read when something refers to them.
var annotations = map[string]bool{"$schema": true, "$comment": true, "$defs": true, "definitions": true, "$anchor": true, "title": true, "description": true,
	"default": true, "examples": true, "example": true, "deprecated": true, "readOnly": true, "writeOnly": true, "contentEncoding": true,
	"contentMediaType": true, "contentSchema": true, "discriminator": true, "externalDocs": true, "xml": true, "propertyOrdering": true,
	"enumNames": true, "markdownDescription": true}

// hints say what to do instead of keywords that cannot be held to.
var hints = map[string]string{
	"not":                   "say what is allowed instead",
	"if":                    "use anyOf with a const in each branch",
	"uniqueItems":           "leave it out, or set maxItems to 1",
	"contains":              "use prefixItems, or items with anyOf",
	"patternProperties":     "use properties and additionalProperties",
	"propertyNames":         "use properties, or additionalProperties without it",
	"dependentRequired":     "use anyOf with required in its branches",
	"dependentSchemas":      "use anyOf",
	"dependencies":          "use anyOf",
	"unevaluatedItems":      "use items",
	"unevaluatedProperties": "use additionalProperties",
	"$dynamicRef":           "use $ref",
	"$recursiveRef":         "use $ref",
}

// check refuses keywords that are not known, and values of the wrong kind.
func (s *schemaMaker) check(e element) error {
	for _, m := range e.doc.members {
		at := child(e.at, m.name)
		k, ok := keywords[m.name]
		if !ok {
			if annotations[m.name] || strings.HasPrefix(m.name, "x-") || m.name == "$id" && e.at == "#" {
				continue
			}
			if h, ok := hints[m.name]; ok {
				return s.fault(at, "the keyword %s is not supported; %s", m.name, h)
			}
			return s.fault(at, "the keyword %s is not supported", m.name)
		}
		if problem := k.check(m.value); problem != "" {
			return s.fault(at, "%s must be %s", m.name, problem)
		}
	}
	if u := e.doc.get("unevaluatedProperties"); u != nil {
		plain := u.kind == 'b'
		for _, other := range []string{"$ref", "allOf", "anyOf", "oneOf"} {
			plain = plain && e.doc.get(other) == nil
		}
		if !plain {
			return s.fault(child(e.at, "unevaluatedProperties"), "unevaluatedProperties is supported only as true or false, without $ref, allOf, anyOf and oneOf beside it")
		}
	}
	if u := e.doc.get("multipleOf"); u != nil {
		if _, err := s.multiple(e); err != nil {
			return err
		}
	}
	if f := e.doc.get("format"); f != nil && !ignoredFormats[f.text] && formats[f.text] == "" {
		return s.fault(child(e.at, "format"), "the format %q is not supported; there are %s", f.text, formatNames())
	}
	return nil
}

// check says what a value must be, or nothing.
func (k keyword) check(d *document) string {
	each := func(kind string) bool {
		for _, v := range d.list {
			if !strings.ContainsRune(kind, rune(v.kind)) {
				return false
			}
		}
		return true
	}
	switch k.kind {
	case 's':
		if d.kind != 's' {
			return "a string"
		}
	case 'b':
		if d.kind != 'b' {
			return "true or false"
		}
	case 'i':
		if _, ok := count(d); !ok {
			return "a whole number between 0 and 1000000000"
		}
	case '0':
		if _, ok := d.rational(); !ok {
			return "a number, with an exponent up to 400"
		}
	case '{':
		if d.kind != '{' {
			return "an object of schemas"
		}
	case '[':
		if d.kind != '[' || len(d.list) == 0 || !each("{b") {
			return "a list of schemas, with one at least"
		}
	case 'S':
		if d.kind != '{' && d.kind != 'b' {
			return "a schema"
		}
	case 'L':
		if d.kind != '[' || !each("s") {
			return "a list of strings"
		}
	case 'V':
		if d.kind != '[' || len(d.list) == 0 {
			return "a list of values, with one at least"
		}
	case 'T':
		if _, ok := typesOf(d); !ok {
			return "null, boolean, string, integer, number, array or object, or a list of these"
		}
	}
	return ""
}

const mostCount = 1_000_000_000

// count is a whole number as lengths are given.
func count(d *document) (int, bool) {
	r, ok := d.rational()
	if !ok || !r.IsInt() || r.Sign() < 0 || r.Cmp(big.NewRat(mostCount, 1)) > 0 {
		return 0, false
	}
	return int(r.Num().Int64()), true
}

func typesOf(d *document) (types, bool) {
	if d.kind == 's' {
		t, ok := typeNames[d.text]
		return t, ok
	}
	var out types
	for _, v := range d.list {
		t, ok := typeNames[v.text]
		if !ok || v.kind != 's' {
			return 0, false
		}
		out |= t
	}
	return out, d.kind == '[' && len(d.list) > 0
}

// both is the intersection of two sets of types.
func (t types) both(u types) types {
	out := t & u
	if t&typeInteger != 0 && u&typeNumber != 0 || u&typeInteger != 0 && t&typeNumber != 0 {
		out |= typeInteger
	}
	if out&typeNumber != 0 {
		out &^= typeInteger
	}
	return out
}

// stated are the types that a schema's own keywords allow, and whether it has the keyword type.
func stated(d *document) (types, bool) {
	t := d.get("type")
	if t == nil {
		return typeAny, false
	}
	out, _ := typesOf(t)
	if n := d.get("nullable"); n != nil && n.yes {
		out |= typeNull
	}
	return out, true
}
