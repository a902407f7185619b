package api

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// OpenAPI is the API as an OpenAPI 3.1 document, made of the routes' own types.
func (a *API) OpenAPI() map[string]any {
	s := &schemas{named: map[string]any{}}
	paths := map[string]any{}
	failure := answer("it did not work", "application/json", s.of(reflect.TypeFor[Error]()))
	for i := range a.routes {
		r := &a.routes[i]
		item, _ := paths[r.path].(map[string]any)
		if item == nil {
			item = map[string]any{}
			paths[r.path] = item
		}
		op := map[string]any{"operationId": r.id, "summary": r.says, "security": []any{map[string]any{}, map[string]any{"key": []any{}}}}
		var params []any
		for part := range strings.SplitSeq(r.path, "/") {
			if name, ok := strings.CutPrefix(part, "{"); ok {
				params = append(params, parameter(strings.TrimSuffix(name, "}"), "path", ""))
			}
		}
		for _, q := range r.query {
			params = append(params, parameter(q.name, "query", q.says))
		}
		if params != nil {
			op["parameters"] = params
		}
		if r.in != nil {
			op["requestBody"] = map[string]any{"required": true, "content": s.body(r.in)}
		}
		responses := map[string]any{"default": failure}
		switch out := r.out.(type) {
		case nil:
			responses["204"] = map[string]any{"description": "done"}
		case file:
			responses["200"] = answer("the file", "application/octet-stream", map[string]any{"type": "string", "format": "binary"})
		case lines:
			responses["200"] = answer("one JSON object after the other, each with a line's end behind it; the last one has 'error' where it did not go well", ndjson, s.of(reflect.TypeOf(out.each)))
		default:
			responses[strconv.Itoa(max(r.status, 200))] = answer("done", "application/json", s.of(reflect.TypeOf(r.out)))
			if r.status == 201 {
				responses["200"] = answer("it was there already", "application/json", s.of(reflect.TypeOf(r.out)))
			}
		}
		op["responses"] = responses
		item[strings.ToLower(r.method)] = op
	}
	return map[string]any{
		"openapi": "3.1.0", "info": map[string]any{"title": "Serval's control API", "version": a.version}, "paths": paths,
		"components": map[string]any{"schemas": s.named, "securitySchemes": map[string]any{"key": map[string]any{"type": "http", "scheme": "bearer"}}},
	}
}

// body describes what a request holds.
func (s *schemas) body(in any) map[string]any {
	d, ok := in.(document)
	if !ok {
		return map[string]any{"application/json": map[string]any{"schema": s.of(reflect.TypeOf(in))}}
	}
	s.named[d.name] = d.schema()
	schema := map[string]any{"schema": d.wrap(map[string]any{"$ref": "#/components/schemas/" + d.name})}
	return map[string]any{"application/yaml": schema, "application/json": schema}
}

func answer(says, media string, schema any) map[string]any {
	return map[string]any{"description": says, "content": map[string]any{media: map[string]any{"schema": schema}}}
}

func parameter(name, in, says string) map[string]any {
	p := map[string]any{"name": name, "in": in, "required": in == "path", "schema": map[string]any{"type": "string"}}
	if says != "" {
		p["description"] = says
	}
	return p
}

// schemas describes Go types as JSON Schema; structs are named.
type schemas struct{ named map[string]any }

func (s *schemas) of(t reflect.Type) map[string]any {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[[]byte]():
		return map[string]any{"type": "string", "contentEncoding": "base64"}
	case t == reflect.TypeFor[json.RawMessage]():
		return map[string]any{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.Struct:
		if _, known := s.named[t.Name()]; !known {
			s.named[t.Name()] = nil // a type that has itself in it ends here
			s.named[t.Name()] = s.object(t)
		}
		return map[string]any{"$ref": "#/components/schemas/" + t.Name()}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": s.of(t.Elem())}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Interface:
		return map[string]any{}
	}
	return map[string]any{"type": "integer"}
}

func (s *schemas) object(t reflect.Type) map[string]any {
	properties, required := map[string]any{}, []string{}
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || f.Anonymous && name == "" || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		p := s.of(f.Type)
		if doc := f.Tag.Get("doc"); doc != "" {
			p["description"] = doc
		}
		if enum := f.Tag.Get("enum"); enum != "" {
			p["enum"] = strings.Split(enum, ",")
		}
		properties[name] = p
		if !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero") {
			required = append(required, name)
		}
	}
	o := map[string]any{"type": "object", "properties": properties}
	if len(required) > 0 {
		o["required"] = required
	}
	return o
}
