package config

import (
	"encoding"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"serval/internal/spell"
)

// scalar reads one plain value into v.
func (d *decoder) scalar(n *yaml.Node, path string, v reflect.Value, r rule) {
	if n.Kind != yaml.ScalarNode {
		d.fail(n, path, "must be %s, not %s", expected(v.Type(), r), describe(n))
		return
	}
	shown := n // messages show what the file says and never what the environment put in its place: it may be a secret
	if d.env != nil && strings.Contains(n.Value, "${") {
		text, problem := interpolate(n.Value, d.env)
		if problem != "" {
			d.fail(n, path, "%s", problem)
			return
		}
		filled := *n
		filled.Value, filled.Tag = text, ""
		n = &filled
	}
	wrong := func(hint string) {
		d.fail(shown, path, "must be %s, not %s%s", expected(v.Type(), r), describe(shown), hint)
	}
	plain := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
	unquote := ""
	if !plain {
		unquote = "; remove the quotes"
	}
	switch {
	case v.Type() == durationType:
		d.duration(n, shown, path, v)
	case v.Type() == sizeType:
		size, err := ParseSize(n.Value)
		if err != nil {
			if shown != n {
				wrong("")
			} else {
				d.fail(n, path, "%v", err)
			}
			return
		}
		v.SetInt(int64(size))
	case v.CanAddr() && isText(v.Type()):
		if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.Value)); err != nil {
			d.fail(shown, path, "%v", err)
		}
	case v.Kind() == reflect.String:
		v.SetString(n.Value)
		if len(r.enum) > 0 && !slices.Contains(r.enum, n.Value) {
			hint := ""
			if near := spell.Nearest(n.Value, r.enum); near != "" {
				hint = "; did you mean " + quote(near) + "?"
			}
			wrong(hint)
		}
	case v.Kind() == reflect.Bool:
		if !plain || n.Value != "true" && n.Value != "false" {
			wrong(unquote)
			return
		}
		v.SetBool(n.Value == "true")
	case v.CanInt() || v.CanUint():
		if !plain {
			wrong(unquote)
		} else if !setInteger(v, n.Value, r) {
			wrong("")
		}
	case v.CanFloat():
		f, err := strconv.ParseFloat(n.Value, 64)
		if !plain || err != nil || math.IsNaN(f) || math.IsInf(f, 0) || strings.ContainsAny(n.Value, "_xX") || !within(f, r) {
			wrong(unquote)
			return
		}
		v.SetFloat(f)
	default:
		d.fail(n, path, "the type %s cannot be configured (this is a bug)", v.Type())
	}
}

func (d *decoder) duration(n, shown *yaml.Node, path string, v reflect.Value) {
	t, err := time.ParseDuration(n.Value)
	switch {
	case err == nil && t >= 0:
		v.SetInt(int64(t))
	case err == nil:
		d.fail(shown, path, "must not be negative, is %s", quote(shown.Value))
	case n == shown && isNumber(n.Value):
		d.fail(n, path, "needs a unit: write %sms, %ss or %sm (ns, us, ms, s, m, h)", n.Value, n.Value, n.Value)
	default:
		d.fail(shown, path, "must be a duration such as 500ms or 30s, not %s", describe(shown))
	}
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// setInteger reads a decimal number that v can hold and r allows.
func setInteger(v reflect.Value, text string, r rule) bool {
	if v.CanUint() {
		u, err := strconv.ParseUint(text, 10, v.Type().Bits())
		if err != nil || !within(float64(u), r) {
			return false
		}
		v.SetUint(u)
		return true
	}
	i, err := strconv.ParseInt(text, 10, v.Type().Bits())
	if err != nil || !within(float64(i), r) {
		return false
	}
	v.SetInt(i)
	return true
}

// within says whether f keeps r's bounds; a bound that is no number is none.
func within(f float64, r rule) bool {
	if low, err := strconv.ParseFloat(r.min, 64); err == nil && f < low {
		return false
	}
	high, err := strconv.ParseFloat(r.max, 64)
	return err != nil || f <= high
}

// expected says what a type and its rule take, for "must be …".
func expected(t reflect.Type, r rule) string {
	bounds := ""
	switch {
	case r.min != "" && r.max != "":
		bounds = " from " + r.min + " to " + r.max
	case r.min != "":
		bounds = ", at least " + r.min
	case r.max != "":
		bounds = ", at most " + r.max
	}
	switch {
	case len(r.enum) > 0:
		return "one of " + strings.Join(r.enum, ", ")
	case t == durationType:
		return "a duration such as 500ms or 30s"
	case t == sizeType:
		return "a size such as 64MiB"
	case t.Kind() == reflect.String || isText(t):
		return "text"
	case t.Kind() == reflect.Bool:
		return "true or false"
	}
	switch t.Kind() {
	case reflect.Float32, reflect.Float64:
		return "a number" + bounds
	}
	return "an integer" + bounds
}
