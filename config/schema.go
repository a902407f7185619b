package config

import (
	"encoding/json"
	"reflect"
	"time"
)

// Schema is the JSON Schema (draft 2020-12) of the struct that v points to: its keys, what they mean, what they take, and
// v's present values as the defaults. A map[string]any with pointers in it becomes one section for each. title names it.
//
// For a serval.yaml, v is a Default() with Engines filled; for a model.yaml a *serval.ModelSettings.
func Schema(title string, v any) ([]byte, error) {
	c, env := v.(*Config)
	var plugins Plugins
	if env {
		plugins = c.Plugins
	}
	s := schema{env, plugins}.of(reflect.ValueOf(v).Elem(), rule{}, "")
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = title
	return json.MarshalIndent(s, "", "  ")
}

// schema describes types; env says that values may be filled in from the environment.
type schema struct {
	env     bool
	plugins Plugins
}

const (
	durationPattern = `^([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))*$|^0$`
	sizePattern     = `^[0-9]+(\.[0-9]+)? ?(B|[kKMGT]B|[KMGT]iB)$|^0$`
	envPattern      = `\$\{` // where a number or a truth value is filled in from the environment
)

// of describes one value.
func (m schema) of(v reflect.Value, r rule, doc string) map[string]any {
	s := map[string]any{}
	if doc != "" {
		s["description"] = doc
	}
	t := v.Type()
	switch {
	case t == durationType:
		m.unit(s, durationPattern)
		s["default"] = time.Duration(v.Int()).String()
		return s
	case t == sizeType:
		m.unit(s, sizePattern)
		s["default"] = Size(v.Int()).String()
		return s
	case t == pluginType:
		m.plugin(s, r.plugin)
		return s
	case isText(t):
		s["type"] = "string"
		return s
	}
	switch t.Kind() {
	case reflect.Pointer:
		element := v.Elem()
		if v.IsNil() {
			element = reflect.New(t.Elem()).Elem()
		}
		return m.of(element, r, doc)
	case reflect.Struct:
		properties := map[string]any{}
		for _, f := range fieldsOf(t) {
			properties[f.name] = m.of(v.FieldByIndex(f.index), f.rule, f.doc)
		}
		s["type"], s["properties"], s["additionalProperties"] = []string{"object", "null"}, properties, false
	case reflect.Map:
		m.mapping(s, v, r)
	case reflect.Slice:
		s["type"] = []string{"array", "null"}
		s["items"] = without(m.of(reflect.New(t.Elem()).Elem(), r, ""), "default")
		if v.Len() > 0 {
			s["default"] = v.Interface()
		}
	case reflect.String:
		s["type"], s["default"] = "string", v.String()
		if len(r.enum) > 0 {
			if s["enum"] = r.enum; m.env {
				delete(s, "enum")
				s["anyOf"] = []any{map[string]any{"enum": r.enum}, map[string]any{"pattern": envPattern}}
			}
			if v.String() == "" {
				delete(s, "default")
			}
		}
	case reflect.Bool:
		m.plain(s, "boolean")
		s["default"] = v.Bool()
	case reflect.Float32, reflect.Float64:
		m.plain(s, "number")
		s["default"] = v.Float()
		bound(s, r)
	default:
		m.plain(s, "integer")
		s["default"] = v.Interface()
		bound(s, r)
	}
	return s
}

func (m schema) mapping(s map[string]any, v reflect.Value, r rule) {
	s["type"] = []string{"object", "null"}
	sections, ok := v.Interface().(map[string]any)
	if !ok {
		value := without(m.of(reflect.New(v.Type().Elem()).Elem(), r, ""), "default")
		if v.Type().Elem().Kind() == reflect.String { // YAML writes 1 and true without quotes
			value["type"] = []string{"string", "number", "boolean"}
		}
		s["additionalProperties"] = value
		return
	}
	properties := map[string]any{}
	for name, section := range sections {
		if p := reflect.ValueOf(section); p.Kind() == reflect.Pointer && !p.IsNil() {
			properties[name] = m.of(p, rule{}, "")
		}
	}
	s["properties"], s["additionalProperties"] = properties, false
}

// unit is what takes a number with its unit, or 0 without.
func (m schema) unit(s map[string]any, pattern string) {
	if m.env {
		pattern += "|" + envPattern
	}
	s["type"], s["pattern"] = []string{"string", "integer"}, pattern
	s["minimum"], s["maximum"] = 0, 0
}

// plain is what takes a number or a truth value.
func (m schema) plain(s map[string]any, name string) {
	if s["type"] = name; m.env {
		s["type"], s["pattern"] = []string{name, "string"}, envPattern
	}
}

func bound(s map[string]any, r rule) {
	if r.min != "" {
		s["minimum"] = json.Number(r.min)
	}
	if r.max != "" {
		s["maximum"] = json.Number(r.max)
	}
}

func without(s map[string]any, key string) map[string]any {
	delete(s, key)
	return s
}
