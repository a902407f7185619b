package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile is the largest file that is read, in bytes.
const maxFile = 1 << 20

// Lookup finds an environment variable, as os.LookupEnv does.
type Lookup func(name string) (string, bool)

// Decode reads YAML (and so JSON) into the struct that into points to, whose present values are the defaults. Every key
// must be a field's yaml tag. A map[string]any whose values the caller set to pointers is a set of named sections, each
// read into its own struct. The error is an *Errors; into is then half filled and must not be used.
func Decode(data []byte, file string, into any) error {
	d := &decoder{file: file}
	d.document(data, into)
	return d.errs.orNil()
}

// position of a value in the file.
type position struct{ line, col int }

// decoder walks a YAML document and a Go value side by side.
type decoder struct {
	file    string
	env     Lookup // nil: ${…} is plain text
	plugins Plugins
	root    reflect.Type
	errs    Errors
	at      map[string]position // where the value of each path stands
	bad     map[string]bool     // paths whose value could not be read
}

// fail notes that the value of path could not be read.
func (d *decoder) fail(n *yaml.Node, path, format string, args ...any) {
	if d.bad == nil {
		d.bad = map[string]bool{}
	}
	d.bad[path] = true
	d.failKey(n, path, format, args...)
}

// failKey notes a mistake in a key of the section at path; the section's other keys are read.
func (d *decoder) failKey(n *yaml.Node, path, format string, args ...any) {
	d.errs = append(d.errs, Error{File: d.file, Line: max(1, n.Line), Col: max(1, n.Column), Path: path, Reason: fmt.Sprintf(format, args...)})
}

func (d *decoder) document(data []byte, into any) {
	v := reflect.ValueOf(into)
	top := &yaml.Node{Line: 1, Column: 1}
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		d.fail(top, "", "cannot decode into %T; it must be a pointer to a struct (this is a bug)", into)
		return
	}
	d.root = v.Elem().Type()
	d.at = map[string]position{"": {1, 1}}
	if len(data) > maxFile {
		d.fail(top, "", "the file has %d bytes; at most %d are read", len(data), maxFile)
		return
	}
	doc, err := parse(data)
	if err != nil {
		d.syntax(data, err)
		return
	}
	if doc == nil { // nothing but comments
		return
	}
	d.value(doc.Content[0], "", v.Elem(), rule{})
}

// parse reads the one document of the data; nil if there is none.
func parse(data []byte) (doc *yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil { // the parser's own bugs must not end a server that is told to load a model
			err = fmt.Errorf("the YAML parser failed: %v", p)
		}
	}()
	in := yaml.NewDecoder(bytes.NewReader(data))
	doc = new(yaml.Node)
	if err := in.Decode(doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var second yaml.Node
	if err := in.Decode(&second); err == nil {
		return nil, fmt.Errorf("yaml: line %d: a second document starts here; a file has one", second.Line)
	} else if !errors.Is(err, io.EOF) {
		return nil, err
	}
	return doc, nil
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(?s:(.*))$`)

// syntax notes an error of the YAML parser, which knows lines only.
func (d *decoder) syntax(data []byte, err error) {
	line, reason := 1, err.Error()
	if m := yamlLine.FindStringSubmatch(reason); m != nil {
		reason = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
	}
	for i, text := range strings.Split(string(data), "\n") {
		if i >= line-1 && i <= line && strings.HasPrefix(strings.TrimLeft(text, " "), "\t") {
			line, reason = i+1, "this line is indented with a tab; YAML takes spaces only"
			break
		}
	}
	d.fail(&yaml.Node{Line: line, Column: 1}, "", "not valid YAML: %s", reason)
}

// value reads one node into v.
func (d *decoder) value(n *yaml.Node, path string, v reflect.Value, r rule) {
	d.at[path] = position{n.Line, n.Column}
	switch {
	case n.Kind == yaml.AliasNode:
		d.fail(n, path, "aliases (*%s) are not taken here; write the value out", n.Value)
		return
	case n.Style&yaml.TaggedStyle != 0:
		d.fail(n, path, "tags (%s) are not taken here; write the plain value", n.Tag)
		return
	case v.Type() == pluginType:
		d.plugin(n, path, v, r.plugin)
		return
	case v.Kind() == reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.value(n, path, v.Elem(), r)
		return
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		switch v.Kind() {
		case reflect.Struct, reflect.Map, reflect.Slice: // a section whose lines are all comments
		default:
			d.fail(n, path, "has no value; write one, or remove the line")
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, path, v)
	case reflect.Map:
		d.mapping(n, path, v, r)
	case reflect.Slice:
		d.list(n, path, v, r)
	default:
		d.scalar(n, path, v, r)
	}
}

// pairs calls each for every key of a mapping, once, and notes keys that are no text or given twice.
func (d *decoder) pairs(n *yaml.Node, path string, each func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, "must be a section of 'key: value' lines, not %s", describe(n))
		return
	}
	first := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode:
			d.failKey(key, path, "a key must be plain text, not %s", describe(key))
		case key.ShortTag() == "!!merge":
			d.failKey(key, path, "merge keys (<<) are not taken here; write the keys out")
		case first[key.Value] != 0:
			d.failKey(key, join(path, key.Value), "is given twice; it stands in line %d already", first[key.Value])
		default:
			first[key.Value] = key.Line
			each(key, value)
		}
	}
}

func (d *decoder) structure(n *yaml.Node, path string, v reflect.Value) {
	fields := fieldsOf(v.Type())
	d.pairs(n, path, func(key, value *yaml.Node) {
		for _, f := range fields {
			if f.name == key.Value {
				d.value(value, join(path, key.Value), v.FieldByIndex(f.index), f.rule)
				return
			}
		}
		d.failKey(key, path, "%s", unknownKey(key.Value, namesOf(fields), d.root, path))
	})
}

func (d *decoder) mapping(n *yaml.Node, path string, v reflect.Value, r rule) {
	if sections, ok := v.Interface().(map[string]any); ok {
		d.sections(n, path, sections)
		return
	}
	t := v.Type()
	if t.Key().Kind() != reflect.String {
		d.fail(n, path, "the type %s cannot be configured (this is a bug)", t)
		return
	}
	made := reflect.MakeMap(t)
	d.pairs(n, path, func(key, value *yaml.Node) {
		element := reflect.New(t.Elem()).Elem()
		d.value(value, join(path, key.Value), element, r)
		made.SetMapIndex(reflect.ValueOf(key.Value).Convert(t.Key()), element)
	})
	v.Set(made)
}

// sections reads each key into the pointer that the caller put under it.
func (d *decoder) sections(n *yaml.Node, path string, sections map[string]any) {
	known := make([]string, 0, len(sections))
	for name := range sections {
		known = append(known, name)
	}
	d.pairs(n, path, func(key, value *yaml.Node) {
		into := reflect.ValueOf(sections[key.Value])
		if into.Kind() != reflect.Pointer || into.IsNil() {
			d.failKey(key, path, "%s", unknownKey(key.Value, known, nil, path))
			return
		}
		d.value(value, join(path, key.Value), into.Elem(), rule{})
	})
}

func (d *decoder) list(n *yaml.Node, path string, v reflect.Value, r rule) {
	if n.Kind != yaml.SequenceNode {
		hint := ""
		if n.Kind == yaml.ScalarNode {
			hint = "; write [" + n.Value + "]"
		}
		d.fail(n, path, "must be a list, not %s%s", describe(n), hint)
		return
	}
	made := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, element := range n.Content {
		d.value(element, fmt.Sprintf("%s[%d]", path, i), made.Index(i), r)
	}
	v.Set(made)
}

// describe says what stands at a node, for "must be …, not …".
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a section of keys"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	if n.ShortTag() == "!!str" {
		return "the text " + quote(n.Value)
	}
	return n.Value
}
