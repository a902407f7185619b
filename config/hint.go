package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"
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

// nearest is the known word that s was probably meant to be, or "".
func nearest(s string, known []string) string {
	best, least := "", 1+max(1, len(s)/3)
	for _, k := range known {
		if d := distance(strings.ToLower(s), strings.ToLower(k), least); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance counts the letters to insert, delete, change or swap with a neighbour to make b of a. It gives up at limit.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit || len(a) > 64 {
		return limit
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// unknownKey says what to write instead of a key that t does not have.
func unknownKey(key string, known []string, root reflect.Type, path string) string {
	reason := "unknown key " + quote(key)
	if near := nearest(key, known); near != "" {
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
