package template

import (
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"sort"
	"strconv"
	"strings"
)

// Dict is a dict for Render, in the order in which its keys were first set. The zero Dict is empty. It must not be changed while
// a Render uses it.
type Dict struct {
	keys, values []any
	index        map[any]int // by key as hashed; nil while there are few
}

// few is how many keys are looked through one by one.
const few = 8

// NewDict makes a Dict of keys and values in turn. It panics if their number is odd or a key is not a string.
func NewDict(pairs ...any) *Dict {
	d := &Dict{}
	for i := 0; i < len(pairs); i += 2 {
		d.Set(pairs[i].(string), pairs[i+1])
	}
	return d
}

// Set sets a key to a value, of any type that Render takes. A key that is there keeps its place.
func (d *Dict) Set(key string, value any) { d.set(key, key, value) }

// Len is the number of keys.
func (d *Dict) Len() int { return len(d.keys) }

// set sets a key whose hash is known.
func (d *Dict) set(hash, key, value any) {
	if i, ok := d.find(hash); ok {
		d.values[i] = value
		return
	}
	d.keys = append(d.keys, key)
	d.values = append(d.values, value)
	if d.index == nil && len(d.keys) > few {
		d.index = make(map[any]int, 2*few)
		for i, k := range d.keys {
			h, _ := hash1(k)
			d.index[h] = i
		}
	}
	if d.index != nil {
		d.index[hash] = len(d.keys) - 1
	}
}

func (d *Dict) find(hash any) (int, bool) {
	if d.index != nil {
		i, ok := d.index[hash]
		return i, ok
	}
	for i, k := range d.keys {
		if h, _ := hash1(k); h == hash {
			return i, true
		}
	}
	return 0, false
}

func (d *Dict) at(hash any) (any, bool) {
	if i, ok := d.find(hash); ok {
		return d.values[i], true
	}
	return nil, false
}

// get looks a string up.
func (d *Dict) get(key string) (any, bool) { return d.at(key) }

type (
	bigKey   string
	tupleKey string
	noneKey  struct{}
)

// hash1 maps a key to a Go value that is equal to another's if, and only if, Python takes the keys for equal. ok is false for
// what cannot be a key.
func hash1(k any) (hash any, ok bool) {
	switch k := k.(type) {
	case string, int64:
		return k, true
	case nil:
		return noneKey{}, true
	case bool:
		if k {
			return int64(1), true
		}
		return int64(0), true
	case float64:
		if i := int64(k); k >= -1<<63 && k < 1<<63 && float64(i) == k {
			return i, true
		}
		return k, true
	case *big.Int:
		return bigKey(k.String()), true
	case markup:
		return string(k), true
	case *list:
		if !k.tuple {
			return nil, false
		}
		return hashTuple(k)
	case *Dict, *view:
		return nil, false
	}
	return k, true // pointers
}

// hashTuple writes the hashes of a tuple's items one after the other. Tuples inside tuples are few; run.key bounds them.
func hashTuple(k *list) (any, bool) {
	var b strings.Builder
	for _, item := range k.items {
		h, ok := hash1(item)
		if !ok {
			return nil, false
		}
		s := fmt.Sprintf("%T:%v", h, h)
		fmt.Fprintf(&b, "%d:%s", len(s), s)
	}
	return tupleKey(b.String()), true
}

// key is the hash of a key; it fails for what cannot be one.
func (r *run) key(k any) any {
	if l, ok := k.(*list); ok && l.tuple {
		r.weigh(l)
	}
	h, ok := hash1(k)
	if !ok {
		r.fail("unhashable type: '%s'", typeName(k))
	}
	return h
}

// weigh charges for a tuple's hash before it is made.
func (r *run) weigh(l *list) {
	r.enter()
	defer r.leave()
	for _, item := range l.items {
		r.alloc(32)
		switch item := item.(type) {
		case *list:
			r.weigh(item)
		case string:
			r.alloc(len(item))
		}
	}
}

const maxDepth = 500 // of values inside each other

// convert makes a value of what Go code gave. JSON keeps the order of its keys; a Go map's keys are sorted.
func convert(v any, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("values are nested more than %d deep", maxDepth)
	}
	switch v := v.(type) {
	case nil, bool, int64, float64:
		return v, nil
	case string:
		return strings.ToValidUTF8(v, "\uFFFD"), nil
	case []byte:
		return strings.ToValidUTF8(string(v), "\uFFFD"), nil
	case int:
		return int64(v), nil
	case json.Number:
		return jsonNumber(string(v))
	case json.RawMessage:
		return parseJSON(v)
	case *Dict:
		made := &Dict{}
		for i, k := range v.keys {
			c, err := convert(v.values[i], depth+1)
			if err != nil {
				return nil, fmt.Errorf("%v: %w", k, err)
			}
			made.Set(strings.ToValidUTF8(k.(string), "\uFFFD"), c)
		}
		return made, nil
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		made := &Dict{}
		for _, k := range keys {
			c, err := convert(v[k], depth+1)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", k, err)
			}
			made.Set(strings.ToValidUTF8(k, "\uFFFD"), c)
		}
		return made, nil
	case []any:
		made := &list{items: make([]any, len(v))}
		for i := range v {
			c, err := convert(v[i], depth+1)
			if err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
			made.items[i] = c
		}
		return made, nil
	}
	return convertOther(v, depth)
}

// convertOther is for the types that are rare: other numbers, strings and slices.
func convertOther(v any, depth int) (any, error) {
	switch x := reflect.ValueOf(v); x.Kind() {
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Int:
		return x.Int(), nil
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		return whole(new(big.Int).SetUint64(x.Uint())), nil
	case reflect.Float32, reflect.Float64:
		return x.Float(), nil
	case reflect.Bool:
		return x.Bool(), nil
	case reflect.String:
		return convert(x.String(), depth)
	case reflect.Slice, reflect.Array:
		items := make([]any, x.Len())
		for i := range items {
			items[i] = x.Index(i).Interface()
		}
		return convert(items, depth)
	case reflect.Map:
		if x.Type().Key().Kind() == reflect.String {
			m := make(map[string]any, x.Len())
			for it := x.MapRange(); it.Next(); {
				m[it.Key().String()] = it.Value().Interface()
			}
			return convert(m, depth)
		}
	}
	return nil, fmt.Errorf("a template cannot take a value of Go type %T", v)
}

// parseJSON makes a value of JSON text, as Python's json.loads does.
func parseJSON(raw []byte) (any, error) {
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	v, err := decodeJSON(d, 0)
	if err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if d.More() {
		return nil, fmt.Errorf("not JSON: something follows the value")
	}
	return v, nil
}

func decodeJSON(d *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested more than %d deep", maxDepth)
	}
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Number:
		return jsonNumber(string(t))
	case json.Delim:
		if t == '[' {
			made := &list{}
			for d.More() {
				v, err := decodeJSON(d, depth+1)
				if err != nil {
					return nil, err
				}
				made.items = append(made.items, v)
			}
			_, err := d.Token()
			return made, err
		}
		made := &Dict{}
		for d.More() {
			k, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := decodeJSON(d, depth+1)
			if err != nil {
				return nil, err
			}
			made.Set(k.(string), v)
		}
		_, err := d.Token()
		return made, err
	}
	return t, nil // nil, bool, string
}

func jsonNumber(s string) (any, error) {
	if !strings.ContainsAny(s, ".eE") {
		if i, err := strconv.ParseInt(s, 10, 64); err == nil && s != "-0" {
			return i, nil
		}
		if n, ok := new(big.Int).SetString(s, 10); ok && len(s) <= 4300 { // Python's own limit
			return whole(n), nil
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && f == 0 {
		return nil, fmt.Errorf("'%s' is not a number", s)
	}
	return f, nil
}
