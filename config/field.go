package config

import (
	"reflect"
	"strings"
	"time"
)

// field is what a struct's tags say of one key.
type field struct {
	name  string
	doc   string
	rule  rule
	index []int
}

// rule bounds a scalar, or every scalar of a list or map.
type rule struct {
	enum     []string
	min, max string // in decimal; "" is no bound
	plugin   string // the kind of a Plugin
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[Size]()
)

// fieldsOf lists the fields of a struct type that have a yaml tag, also those of embedded structs. A field without the tag
// is not configuration.
func fieldsOf(t reflect.Type) []field {
	var list []field
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if !f.IsExported() || name == "" || name == "-" {
			continue
		}
		r := rule{min: f.Tag.Get("min"), max: f.Tag.Get("max"), plugin: f.Tag.Get("plugin")}
		if e := f.Tag.Get("enum"); e != "" {
			r.enum = strings.Split(e, ",")
		}
		list = append(list, field{name: name, doc: f.Tag.Get("doc"), rule: r, index: f.Index})
	}
	return list
}

func namesOf(fields []field) []string {
	names := make([]string, len(fields))
	for i := range fields {
		names[i] = fields[i].name
	}
	return names
}

// join adds a key to a path, in quotes where it would be misread without them.
func join(path, key string) string {
	for _, c := range key {
		if c != '_' && c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			key = quote(key)
			break
		}
	}
	if key == "" {
		key = `""`
	}
	if path == "" {
		return key
	}
	return path + "." + key
}
