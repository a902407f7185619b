package template

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const maxBits = 16384 // of a whole number

// whole is an int64 if n fits one, else n.
func whole(n *big.Int) any {
	if n.IsInt64() {
		return n.Int64()
	}
	return n
}

func bigOf(v any) *big.Int {
	if n, ok := v.(*big.Int); ok {
		return n
	}
	return big.NewInt(v.(int64))
}

// number is a value as int64, *big.Int or float64, if it is a number; True and False are 1 and 0.
func number(v any) (any, bool) {
	switch v := v.(type) {
	case int64, float64, *big.Int:
		return v, true
	case bool:
		if v {
			return int64(1), true
		}
		return int64(0), true
	}
	return nil, false
}

func floatOf(v any) float64 {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case *big.Int:
		f, _ := new(big.Float).SetInt(v).Float64()
		return f
	}
	return v.(float64)
}

// compareNumbers compares exactly, as Python does; with a NaN the result is 1.
func compareNumbers(a, b any) int {
	x, ok1 := a.(int64)
	y, ok2 := b.(int64)
	if ok1 && ok2 {
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	}
	f, ok1 := a.(float64)
	g, ok2 := b.(float64)
	switch {
	case ok1 && math.IsNaN(f) || ok2 && math.IsNaN(g):
		return 1
	case !ok1 && !ok2:
		return bigOf(a).Cmp(bigOf(b))
	case ok1 && ok2:
		return big.NewFloat(f).Cmp(big.NewFloat(g))
	case ok1:
		return -compareNumbers(b, a)
	case math.IsInf(g, 0):
		return -int(math.Copysign(1, g))
	}
	return new(big.Float).SetInt(bigOf(a)).Cmp(big.NewFloat(g))
}

// arithmetic is a binary operator on two numbers.
func (r *run) arithmetic(op string, a, b any) any {
	_, f1 := a.(float64)
	_, f2 := b.(float64)
	if f1 || f2 || op == "/" {
		return r.floatOp(op, floatOf(a), floatOf(b))
	}
	x, ok1 := a.(int64)
	y, ok2 := b.(int64)
	if ok1 && ok2 {
		switch op {
		case "+":
			if s := x + y; (s > x) == (y > 0) {
				return s
			}
		case "-":
			if s := x - y; (s < x) == (y > 0) {
				return s
			}
		case "*":
			if x == 0 || y == 0 {
				return int64(0)
			}
			if s := x * y; s/y == x && (x != -1 || y != math.MinInt64) && (y != -1 || x != math.MinInt64) {
				return s
			}
		}
	}
	return r.wholeOp(op, bigOf(a), bigOf(b))
}

func (r *run) wholeOp(op string, a, b *big.Int) any {
	n := new(big.Int)
	switch op {
	case "+":
		n.Add(a, b)
	case "-":
		n.Sub(a, b)
	case "*":
		n.Mul(a, b)
	case "//", "%":
		if b.Sign() == 0 {
			r.fail("integer division or modulo by zero")
		}
		m := new(big.Int)
		n.QuoRem(a, b, m)
		if m.Sign() != 0 && m.Sign() != b.Sign() { // Python rounds down
			n.Sub(n, big.NewInt(1))
			m.Add(m, b)
		}
		if op == "%" {
			n = m
		}
	case "**":
		if b.Sign() < 0 {
			return r.floatOp(op, floatOf(whole(a)), floatOf(whole(b)))
		}
		if a.BitLen() <= 1 { // -1, 0 or 1: only whether b is even matters
			odd := new(big.Int).And(b, big.NewInt(1))
			if b.Sign() != 0 && odd.Sign() == 0 {
				odd.SetInt64(2)
			}
			b = odd
		}
		if !b.IsInt64() || b.Int64() > maxBits || int64(a.BitLen())*b.Int64() > maxBits {
			r.fail("the number is too large")
		}
		n.Exp(a, b, nil)
	}
	if n.BitLen() > maxBits {
		r.fail("the number is too large")
	}
	r.step(n.BitLen() / 64)
	return whole(n)
}

func (r *run) floatOp(op string, a, b float64) any {
	switch op {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return a * b
	case "**":
		if a == 0 && b < 0 {
			r.fail("zero to a negative power")
		}
		if a < 0 && b != math.Trunc(b) {
			r.fail("complex numbers are not known to templates")
		}
		return math.Pow(a, b)
	}
	if b == 0 {
		r.fail("division by zero")
	}
	switch op {
	case "/":
		return a / b
	}
	m := math.Mod(a, b)
	if m != 0 && (m < 0) != (b < 0) {
		m += b
	}
	if op == "%" {
		if m == 0 {
			m = math.Copysign(0, b)
		}
		return m
	}
	q := (a - m) / b
	f := math.Floor(q)
	if q-f > 0.5 {
		f++
	}
	if q == 0 {
		return math.Copysign(0, a/b)
	}
	return f
}

// floatText is Python's repr of a float.
func floatText(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case math.IsNaN(f):
		return "nan"
	}
	s := strconv.FormatFloat(f, 'e', -1, 64)
	exp, _ := strconv.Atoi(s[strings.IndexByte(s, 'e')+1:])
	if exp < -4 || exp >= 16 {
		return s
	}
	s = strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// westernDigits writes the digits of other scripts as 0 to 9. In Unicode, each script's stand in a row of ten.
func westernDigits(s string) string {
	if ascii(s) {
		return s
	}
	return strings.Map(func(c rune) rune {
		if c < utf8.RuneSelf || !unicode.IsDigit(c) {
			return c
		}
		n := rune(0)
		for unicode.IsDigit(c-n-1) && n < 9 {
			n++
		}
		return '0' + n
	}, s)
}

// parseInt is Python's int(text, base).
func parseInt(s string, base int64) (any, bool) {
	s = westernDigits(strings.TrimFunc(s, isSpace))
	if len(s) > 4300 || base < 0 || base == 1 || base > 36 {
		return nil, false
	}
	digits := strings.TrimLeft(s, "+-")
	if len(s)-len(digits) > 1 || digits == "" || strings.HasPrefix(digits, "_") || strings.HasSuffix(digits, "_") || strings.Contains(digits, "__") {
		return nil, false
	}
	if len(digits) > 1 && digits[0] == '0' { // a prefix that fits the base
		if want := map[byte]int64{'x': 16, 'o': 8, 'b': 2}[digits[1]|0x20]; want != 0 && (base == want || base == 0) {
			base = want
			digits = strings.TrimPrefix(digits[2:], "_")
		}
	}
	if base == 0 {
		if base = 10; digits[0] == '0' && strings.Trim(digits, "0_") != "" {
			return nil, false
		}
	}
	n, ok := new(big.Int).SetString(strings.ReplaceAll(digits, "_", ""), int(base))
	if !ok || digits == "" || digits[0] == '-' || digits[0] == '+' {
		return nil, false
	}
	if s[0] == '-' {
		n.Neg(n)
	}
	return whole(n), true
}

// parseFloat is Python's float(text).
func parseFloat(s string) (float64, bool) {
	s = westernDigits(strings.TrimFunc(s, isSpace))
	if strings.ContainsAny(s, "xXpP") || strings.HasPrefix(s, "_") || strings.HasSuffix(s, "_") || strings.Contains(s, "__") || len(s) > 4300 {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
	if err != nil && !math.IsInf(f, 0) {
		return 0, false
	}
	return f, true
}

// truncated is Python's int() of a float.
func truncated(f float64) (any, bool) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, false
	}
	if f = math.Trunc(f); math.Abs(f) < 1<<62 {
		return int64(f), true
	}
	n, _ := big.NewFloat(f).Int(nil)
	return whole(n), true
}
