package template

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// spec is how a value is laid out: [[fill]align][sign][#][0][width][,][.precision][type], of format and, in its own
// spelling, of the operator %.
type spec struct {
	fill      string
	align     byte // '<', '>', '^', '='; 0: by type
	sign      byte // '+', ' ' or 0
	alternate bool
	zero      bool
	width     int
	group     string
	precision int // -1: none
	verb      byte
}

// parseSpec reads a format specification.
func (r *run) parseSpec(s string) spec {
	f := spec{fill: " ", precision: -1}
	if n := runeLen(s); s != "" && len(s) > n && strings.IndexByte("<>^=", s[n]) >= 0 {
		f.fill, f.align = s[:n], s[n]
		s = s[n+1:]
	} else if s != "" && strings.IndexByte("<>^=", s[0]) >= 0 {
		f.align = s[0]
		s = s[1:]
	}
	take := func(set string) byte {
		if s != "" && strings.IndexByte(set, s[0]) >= 0 {
			c := s[0]
			s = s[1:]
			return c
		}
		return 0
	}
	number := func() (int, bool) {
		n := 0
		for n < len(s) && decimal(s[n]) {
			n++
		}
		v, err := strconv.Atoi(s[:n])
		s = s[n:]
		if n > 0 && (err != nil || v > maxAlloc) {
			r.fail("too many digits in a format")
		}
		return v, n > 0
	}
	if c := take("+- "); c != '-' {
		f.sign = c
	}
	f.alternate = take("#") != 0
	if take("0") != 0 {
		f.zero = true
	}
	f.width, _ = number()
	if c := take(",_"); c != 0 {
		f.group = string(c)
	}
	if take(".") != 0 {
		ok := false
		if f.precision, ok = number(); !ok {
			r.fail("Format specifier missing precision")
		}
	}
	f.verb = take("bcdeEfFgGnosxX%")
	if s != "" {
		r.fail("Invalid format specifier '%s'", s)
	}
	return f
}

// lay lays out a value by a specification.
func (r *run) lay(v any, f spec) string {
	n, isNumber := number(v)
	if _, isBool := v.(bool); isBool && f.verb == 0 {
		isNumber = false
	}
	if !isNumber || f.verb == 's' {
		if f.verb != 0 && f.verb != 's' || f.align == '=' {
			r.fail("Unknown format code '%c' for object of type '%s'", f.verb, typeName(v))
		}
		s := r.str(v)
		if f.precision >= 0 {
			s = cut(s, 0, f.precision)
		}
		side := map[byte]byte{0: 'l', '<': 'l', '>': 'r', '^': '^'}[f.align]
		if f.zero && f.align == 0 {
			f.fill = "0"
		}
		return r.fill(s, f.width, f.fill, side)
	}
	digits, negative := r.digits(n, f)
	sign := ""
	switch {
	case negative:
		sign = "-"
	case f.sign != 0:
		sign = string(f.sign)
	}
	if f.zero && f.align == 0 {
		f.fill, f.align = "0", '='
	}
	if f.align == '=' {
		return sign + r.fill(digits, f.width-len(sign), f.fill, 'r')
	}
	return r.fill(sign+digits, f.width, f.fill, map[byte]byte{0: 'r', '<': 'l', '>': 'r', '^': '^'}[f.align])
}

// digits are those of a number without its sign.
func (r *run) digits(n any, f spec) (digits string, negative bool) {
	if f.precision > 1000 {
		r.fail("the precision is too large")
	}
	_, isFloat := n.(float64)
	switch f.verb {
	case 'b', 'd', 'o', 'x', 'X', 'c', 'n', 0:
		if isFloat && f.verb != 0 && f.verb != 'n' {
			r.fail("Unknown format code '%c' for object of type 'float'", f.verb)
		}
		if !isFloat {
			return r.wholeDigits(bigOf(n), f)
		}
	}
	x := floatOf(n)
	negative = math.Signbit(x) && !math.IsNaN(x)
	x = math.Abs(x)
	precision := f.precision
	if precision < 0 {
		precision = 6
	}
	switch {
	case math.IsInf(x, 0) || math.IsNaN(x):
		digits = floatText(x)
		if f.verb == 'E' || f.verb == 'F' || f.verb == 'G' {
			digits = strings.ToUpper(digits)
		}
	case f.verb == 0 && f.precision < 0:
		digits = floatText(x)
	case f.verb == 'f' || f.verb == 'F':
		digits = strconv.FormatFloat(x, 'f', precision, 64)
	case f.verb == '%':
		digits = strconv.FormatFloat(x*100, 'f', precision, 64) + "%"
	case f.verb == 'e' || f.verb == 'E':
		digits = strconv.FormatFloat(x, f.verb, precision, 64)
	default:
		digits = general(x, max(precision, 1), f.verb == 'G')
		if f.verb == 0 && !strings.ContainsAny(digits, ".e") {
			digits += ".0"
		}
	}
	return grouped(digits, f.group, 3), negative
}

// general is C's %g.
func general(x float64, precision int, big bool) string {
	e := strconv.FormatFloat(x, 'e', precision-1, 64)
	at := strings.IndexByte(e, 'e')
	exp, _ := strconv.Atoi(e[at+1:])
	trim := func(s string) string {
		if strings.Contains(s, ".") {
			s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
		}
		return s
	}
	if exp >= -4 && exp < precision {
		return trim(strconv.FormatFloat(x, 'f', precision-1-exp, 64))
	}
	s := trim(e[:at]) + e[at:]
	if big {
		s = strings.ToUpper(s)
	}
	return s
}

func (r *run) wholeDigits(n *big.Int, f spec) (string, bool) {
	abs := new(big.Int).Abs(n)
	prefix, every := "", 3
	base := 10
	switch f.verb {
	case 'b':
		prefix, base, every = "0b", 2, 4
	case 'o':
		prefix, base, every = "0o", 8, 4
	case 'x', 'X':
		prefix, base, every = "0"+string(f.verb), 16, 4
	case 'c':
		if !n.IsInt64() || n.Int64() < 0 || n.Int64() > utf8.MaxRune {
			r.fail("%%c arg not in range(0x110000)")
		}
		return string(rune(n.Int64())), false
	}
	if f.precision >= 0 {
		r.fail("Precision not allowed in integer format specifier")
	}
	digits := grouped(abs.Text(base), f.group, every)
	if f.verb == 'X' {
		digits = strings.ToUpper(digits)
	}
	if f.alternate {
		digits = prefix + digits
	}
	return digits, n.Sign() < 0
}

// grouped puts a separator between groups of digits before the point.
func grouped(digits, sep string, every int) string {
	if sep == "" {
		return digits
	}
	end := 0
	for end < len(digits) && (decimal(digits[end]) || digits[end]|0x20 >= 'a' && digits[end]|0x20 <= 'f' && every == 4) {
		end++
	}
	var b strings.Builder
	for i := range end {
		if i > 0 && (end-i)%every == 0 {
			b.WriteString(sep)
		}
		b.WriteByte(digits[i])
	}
	return b.String() + digits[end:]
}

// printf is Python's operator % of a string.
func (r *run) printf(s string, with, of any) string {
	values := []any{with}
	table, _ := with.(*Dict)
	if l, ok := with.(*list); ok && l.tuple {
		values = l.items
	}
	at := 0
	take := func() any {
		if at >= len(values) {
			r.fail("not enough arguments for format string")
		}
		at++
		return values[at-1]
	}
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		s = r.conversion(&b, s[i+1:], of, table, take)
		r.alloc(16 + len(s)/64)
	}
	if at < len(values) && table == nil && !(at == 0 && isEmptyList(with)) {
		r.fail("not all arguments converted during string formatting")
	}
	r.alloc(b.Len())
	return b.String()
}

func isEmptyList(v any) bool {
	l, ok := v.(*list)
	return ok && len(l.items) == 0
}

// conversion writes what one % stands for and gives the rest of the format.
func (r *run) conversion(b *strings.Builder, s string, of any, table *Dict, take func() any) string {
	f := spec{fill: " ", precision: -1, align: '>'}
	var named any
	if strings.HasPrefix(s, "(") {
		end := strings.IndexByte(s, ')')
		if end < 0 || table == nil {
			r.fail("format requires a mapping")
		}
		v, ok := table.get(s[1:end])
		if !ok {
			r.fail("the format names '%s', which is not there", s[1:end])
		}
		named, s = v, s[end+1:]
		take = func() any { return named }
	}
	left := false
flags:
	for ; s != ""; s = s[1:] {
		switch s[0] {
		case '-':
			left = true
		case '+':
			f.sign = '+'
		case ' ':
			if f.sign == 0 {
				f.sign = ' '
			}
		case '#':
			f.alternate = true
		case '0':
			f.zero = true
		default:
			break flags
		}
	}
	number := func() int {
		if strings.HasPrefix(s, "*") {
			s = s[1:]
			return r.int(take(), "*")
		}
		n := 0
		for ; s != "" && decimal(s[0]); s = s[1:] {
			n = min(n*10+int(s[0]-'0'), maxAlloc+1)
		}
		return n
	}
	if f.width = number(); f.width < 0 {
		left, f.width = true, -f.width
	}
	if strings.HasPrefix(s, ".") {
		s = s[1:]
		f.precision = number()
	}
	if s == "" {
		r.fail("incomplete format")
	}
	f.verb = s[0]
	s = s[1:]
	if left {
		f.align, f.zero = '<', false
	}
	if f.verb == '%' {
		b.WriteByte('%')
		return s
	}
	b.WriteString(r.convertOne(f, take(), of))
	return s
}

func (r *run) convertOne(f spec, v, of any) string {
	switch f.verb {
	case 's', 'r', 'a':
		var out any = v
		if f.verb != 's' {
			out = string(r.repr(nil, v))
		} else if _, ok := of.(markup); ok {
			out = r.escape(v)
		}
		f.verb, f.zero = 's', false
		return r.lay(r.str(out), f)
	case 'c':
		if s, ok := text(v); ok {
			if runeCount(s) != 1 {
				r.fail("%%c requires int or char")
			}
			f.verb = 's'
			return r.lay(s, f)
		}
	case 'd', 'i', 'u', 'x', 'X', 'o', 'e', 'E', 'f', 'F', 'g', 'G':
	default:
		r.fail("unsupported format character '%c'", f.verb)
	}
	n, ok := number(r.used(v))
	if !ok {
		r.fail("%%%c format: a number is required, not %s", f.verb, typeName(v))
	}
	if strings.IndexByte("diu", f.verb) >= 0 {
		f.verb = 'd'
		if x, isFloat := n.(float64); isFloat {
			if n, ok = truncated(x); !ok {
				r.fail("cannot convert float to integer")
			}
		}
	}
	zeros := 0
	if strings.IndexByte("dxXo", f.verb) >= 0 && f.precision >= 0 {
		zeros, f.precision = f.precision, -1
		if digits, _ := r.digits(n, spec{verb: f.verb, precision: -1}); len(digits) < zeros {
			r.alloc(zeros)
			digits = strings.Repeat("0", zeros-len(digits)) + digits
			sign := ""
			if compareNumbers(n, int64(0)) < 0 {
				sign = "-"
			}
			return r.lay(sign+digits, spec{fill: " ", align: f.align, width: f.width, precision: -1, verb: 's'})
		}
	}
	if f.zero && f.align == '>' {
		f.fill, f.align = "0", '='
	}
	return r.lay(n, f)
}

// format is str.format.
func (r *run) format(s string, of any, a *args) string {
	auto := 0
	out := r.formatIn(s, of, a, &auto, 0)
	r.alloc(len(out))
	return out
}

func (r *run) formatIn(s string, of any, a *args, auto *int, depth int) string {
	if depth > 2 {
		r.fail("Max string recursion exceeded")
	}
	var b strings.Builder
	for s != "" {
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			break
		}
		b.WriteString(s[:i])
		c := s[i]
		s = s[i+1:]
		switch {
		case s != "" && s[0] == c:
			b.WriteByte(c)
			s = s[1:]
		case c == '}':
			r.fail("Single '}' encountered in format string")
		default:
			end, open := 0, 1
			for ; end < len(s) && open > 0; end++ {
				switch s[end] {
				case '{':
					open++
				case '}':
					open--
				}
			}
			if open > 0 {
				r.fail("expected '}' before end of string")
			}
			b.WriteString(r.field(s[:end-1], of, a, auto, depth))
			s = s[end:]
		}
		r.alloc(16 + len(s)/64)
	}
	b.WriteString(s)
	return b.String()
}

// field is what one pair of braces stands for: [name][.attr|[item]]*[!conversion][:specification].
func (r *run) field(f string, of any, a *args, auto *int, depth int) string {
	name, layout, hasLayout := strings.Cut(f, ":")
	conversion := byte(0)
	if i := strings.LastIndexByte(name, '!'); i >= 0 && i+2 == len(name) {
		conversion = name[i+1]
		name = name[:i]
	}
	first, rest := name, ""
	if i := strings.IndexAny(name, ".["); i >= 0 {
		first, rest = name[:i], name[i:]
	}
	v := r.argument(first, a, auto)
	for rest != "" {
		end := strings.IndexAny(rest[1:], ".[") + 1
		if end == 0 {
			end = len(rest)
		}
		part := rest[1:end]
		if rest[0] == '.' {
			v = r.attr(v, part)
		} else {
			part = strings.TrimSuffix(part, "]")
			var key any = part
			if n, err := strconv.ParseInt(part, 10, 64); err == nil {
				key = n
			}
			v = r.item(v, key)
		}
		rest = rest[end:]
	}
	switch conversion {
	case 'r', 'a':
		v = string(r.repr(nil, v))
	case 's':
		v = r.str(v)
	}
	if hasLayout {
		layout = r.formatIn(layout, "", a, auto, depth+1)
	}
	if _, ok := of.(markup); ok {
		v = r.escape(v)
	}
	return r.lay(v, r.parseSpec(layout))
}

// manual, or more, is the count of automatic fields once one was numbered by hand.
const manual = math.MinInt32

// argument is what a field names: a number, a keyword, or nothing, which is the next one.
func (r *run) argument(name string, a *args, auto *int) any {
	i, err := strconv.Atoi(name)
	if name == "" {
		i, err = *auto, nil
		*auto++
	}
	if err == nil {
		if name == "" && i < 0 || name != "" && *auto > 0 {
			r.fail("automatic and manual numbering of fields cannot be mixed")
		}
		if name != "" {
			*auto = manual
		}
		if i < 0 || i >= len(a.pos) {
			r.fail("Replacement index %d out of range for positional args tuple", i)
		}
		return a.pos[i]
	}
	for j, n := range a.names {
		if n == name {
			return a.values[j]
		}
	}
	r.fail("the format names '%s', which is not there", name)
	return nil
}
