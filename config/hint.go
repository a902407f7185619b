package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"serval/internal/spell"
)

// quote shows a value in a message, in one line and cut where it is long.
func quote(s string) string {
	const most = 60
	if len(s) > most {
		cut := most
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		return fmt.Sprintf("%q…", s[:cut])
	}
	return fmt.Sprintf("%q", s)
}

// unknownKey says what to write instead of a key that t does not have.
func unknownKey(key string, known []string, root reflect.Type, path string) string {
	reason := "unknown key " + quote(key)
	if near := spell.Nearest(key, known); near != "" {
		return reason + "; did you mean " + quote(near) + "?"
	}
	if elsewhere := find(root, "", key); elsewhere != "" && elsewhere != join(path, key) {
		return reason + " here; did you mean " + elsewhere + "?"
	}
	if len(known) == 0 {
		return reason + "; no keys are known here"
	}
	known = slices.Sorted(slices.Values(known))
	return reason + "; known here: " + strings.Join(known, ", ")
}

// find looks for a key of that name in the structs inside t, and returns its path.
func find(t reflect.Type, path, key string) string {
	if t == nil || t.Kind() != reflect.Struct {
		return ""
	}
	for _, f := range fieldsOf(t) {
		if f.name == key {
			return join(path, key)
		}
		if found := find(t.FieldByIndex(f.index).Type, join(path, f.name), key); found != "" {
			return found
		}
	}
	return ""
}
