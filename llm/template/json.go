package template

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// dumper writes JSON as Python's json.dumps does.
type dumper struct {
	run       *run
	out       []byte
	ascii     bool
	sortKeys  bool
	pretty    bool
	indent    string
	item, key string // separators
}

// dumps is the filter tojson, with transformers' options.
func dumps(r *run, v any, a *args) any {
	o := r.bind(a, "tojson", 0, "ensure_ascii", "indent", "separators", "sort_keys")
	d := &dumper{run: r, ascii: given(o[0]) && truth(o[0]), sortKeys: given(o[3]) && truth(o[3]), item: ", ", key: ": "}
	if given(o[1]) && o[1] != nil {
		d.pretty = true
		d.item = ","
		if s, ok := text(o[1]); ok {
			d.indent = s
		} else if n := r.int(o[1], "indent"); n > 0 {
			r.alloc(n)
			d.indent = strings.Repeat(" ", n)
		}
	}
	if given(o[2]) && o[2] != nil {
		pair := r.collect(o[2])
		if len(pair) != 2 {
			r.fail("tojson: separators must be two strings")
		}
		d.item, d.key = r.str(pair[0]), r.str(pair[1])
	}
	d.write(v, 0)
	return string(d.out)
}

func (d *dumper) line(depth int) {
	if !d.pretty {
		return
	}
	d.out = append(d.out, '\n')
	for range depth {
		d.run.alloc(len(d.indent))
		d.out = append(d.out, d.indent...)
	}
}

func (d *dumper) write(v any, depth int) {
	r := d.run
	start := len(d.out)
	r.step(1)
	r.enter()
	defer r.leave()
	switch v := v.(type) {
	case nil:
		d.out = append(d.out, "null"...)
	case bool:
		d.out = strconv.AppendBool(d.out, v)
	case int64:
		d.out = strconv.AppendInt(d.out, v, 10)
	case *big.Int:
		d.out = v.Append(d.out, 10)
	case float64:
		d.out = append(d.out, jsonFloat(v)...)
	case string:
		d.quote(v)
	case markup:
		d.quote(string(v))
	case *list:
		d.list(v, depth)
		return
	case *Dict:
		d.dict(v, depth)
		return
	default:
		r.fail("Object of type %s is not JSON serializable", typeName(r.used(v)))
	}
	r.alloc(len(d.out) - start)
}

func jsonFloat(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	case math.IsNaN(f):
		return "NaN"
	}
	return floatText(f)
}

func (d *dumper) list(v *list, depth int) {
	d.out = append(d.out, '[')
	for i, item := range v.items {
		if i > 0 {
			d.out = append(d.out, d.item...)
		}
		d.line(depth + 1)
		d.write(item, depth+1)
	}
	if len(v.items) > 0 {
		d.line(depth)
	}
	d.out = append(d.out, ']')
}

func (d *dumper) dict(v *Dict, depth int) {
	r := d.run
	keys, values := v.keys, v.values
	if d.sortKeys {
		keys, values = r.sorted(keys, keys, false), r.sorted(values, keys, false)
	}
	d.out = append(d.out, '{')
	for i, k := range keys {
		if i > 0 {
			d.out = append(d.out, d.item...)
		}
		d.line(depth + 1)
		switch k := k.(type) {
		case string:
			d.quote(k)
		case markup:
			d.quote(string(k))
		case nil, bool, int64, *big.Int, float64:
			d.out = append(d.out, '"')
			d.write(k, depth)
			d.out = append(d.out, '"')
		default:
			r.fail("keys must be str, int, float, bool or None, not %s", typeName(k))
		}
		d.out = append(d.out, d.key...)
		d.write(values[i], depth+1)
	}
	if len(keys) > 0 {
		d.line(depth)
	}
	d.out = append(d.out, '}')
}

const hexDigits = "0123456789abcdef"

func (d *dumper) quote(s string) {
	d.run.alloc(len(s))
	b := append(d.out, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && (!d.ascii || c < 0x7f) {
			i++
			continue
		}
		b = append(b, s[from:i]...)
		n := 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		case '\f':
			b = append(b, `\f`...)
		case '\b':
			b = append(b, `\b`...)
		default:
			var rn rune
			rn, n = utf8.DecodeRuneInString(s[i:])
			if rn >= 0x10000 {
				rn -= 0x10000
				b = fmt.Appendf(b, `\u%04x\u%04x`, 0xd800+rn>>10, 0xdc00+rn&0x3ff)
			} else {
				b = append(b, '\\', 'u', hexDigits[rn>>12&15], hexDigits[rn>>8&15], hexDigits[rn>>4&15], hexDigits[rn&15])
			}
		}
		i += n
		from = i
	}
	d.out = append(append(b, s[from:]...), '"')
}
