package server

import (
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
		if from.Len() == 0 {
			return
		}
		both := reflect.MakeMap(into.Type())
		for _, m := range []reflect.Value{into, from} {
			for it := m.MapRange(); it.Next(); {
				both.SetMapIndex(it.Key(), it.Value())
			}
		}
		into.Set(both)
	default:
		if !from.IsZero() {
			into.Set(from)
		}
	}
}
