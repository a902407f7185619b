package server

import (
	"maps"
	"reflect"

	"serval"
)

// merge lays one model's settings over another's: every field that over sets wins, maps are united.
func merge(under, over serval.ModelSettings) serval.ModelSettings {
	mergeValue(reflect.ValueOf(&under).Elem(), reflect.ValueOf(over))
	return under
}

func mergeValue(into, from reflect.Value) {
	switch into.Kind() {
	case reflect.Struct:
		if _, policy := from.Interface().(serval.VersionPolicy); policy {
			if !from.IsZero() { // one policy replaces another whole
				into.Set(from)
			}
			return
		}
		for i := range into.NumField() {
			mergeValue(into.Field(i), from.Field(i))
		}
	case reflect.Map:
		if a, ok := into.Interface().(map[string]string); ok && len(a) > 0 {
			both := maps.Clone(a)
			maps.Copy(both, from.Interface().(map[string]string))
			into.Set(reflect.ValueOf(both))
			return
		}
		fallthrough
	default:
		if !from.IsZero() {
			into.Set(from)
		}
	}
}
