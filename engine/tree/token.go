package tree

import (
	"fmt"
	"math"
	"strconv"
)

// kind is what a token of a document is.
type kind uint8

const (
	endKind kind = iota // the document is over
	objectBegin
	objectEnd
	arrayBegin
	arrayEnd
	keyKind
	textKind
	numberKind
	boolKind
	nullKind
)

var kindNames = [...]string{"the end of the file", "an object", "the end of an object", "an array", "the end of an array", "a key", "text", "a number", "true or false", "null"}

func (k kind) String() string { return kindNames[k] }

// token is one piece of a document. text is good until the lexer's next token, and forever where the lexer says so.
type token struct {
	kind kind
	num  float64 // of numbers; 0 or 1 for booleans
	text []byte  // of keys and text
}

// lexer splits a document into tokens: every object and array is well formed, or an error comes instead. It allocates
// nothing by what a document declares.
type lexer interface {
	next() (token, error)
	offset() int // of what comes next
}

// maxNesting bounds how deep a document's objects and arrays may lie in each other. The deepest real ones are CatBoost's
// asymmetric trees, whose nodes are objects in objects.
const maxNesting = 1000

// document reads a lexer's tokens by a schema. Its errors name the place: the keys and indices that lead to it.
type document struct {
	lexer
	tok  token
	path []step
}

// step is one key, or one index where key is nil.
type step struct {
	key   []byte
	index int
}

func newDocument(l lexer) (*document, error) {
	d := &document{lexer: l}
	return d, d.advance()
}

// advance moves on to the next token.
func (d *document) advance() error {
	t, err := d.next()
	if err != nil {
		return d.errorf("%w", err)
	}
	d.tok = t
	return nil
}

// errorf makes an error that says where in the document it is.
func (d *document) errorf(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	if len(d.path) == 0 {
		return fmt.Errorf("byte %d: %w", d.offset(), err)
	}
	return fmt.Errorf("%s (before byte %d): %w", d.where(), d.offset(), err)
}

// where writes the path as in learner.trees[3].left_children[7].
func (d *document) where() string {
	var b []byte
	for _, s := range d.path {
		switch {
		case s.key == nil:
			b = append(strconv.AppendInt(append(b, '['), int64(s.index), 10), ']')
		case len(b) > 0:
			b = append(append(b, '.'), s.key...)
		default:
			b = append(b, s.key...)
		}
	}
	return string(b)
}

// expect fails unless the token at hand is of this kind.
func (d *document) expect(k kind) error {
	if d.tok.kind != k {
		return d.errorf("is %s, not %s", d.tok.kind, k)
	}
	return nil
}

// object calls member for each key; member reads exactly one value.
func (d *document) object(member func(key string) error) error {
	if err := d.expect(objectBegin); err != nil {
		return err
	}
	if err := d.advance(); err != nil {
		return err
	}
	d.path = append(d.path, step{})
	at := len(d.path) - 1
	for d.tok.kind == keyKind {
		key := d.tok.text
		d.path[at].key = key
		if err := d.advance(); err != nil {
			return err
		}
		if err := member(string(key)); err != nil {
			return err
		}
	}
	d.path = d.path[:at]
	return d.advance() // the lexer gives nothing but keys and the end of the object
}

// array calls element for each index; element reads exactly one value.
func (d *document) array(element func(i int) error) error {
	if err := d.expect(arrayBegin); err != nil {
		return err
	}
	if err := d.advance(); err != nil {
		return err
	}
	d.path = append(d.path, step{})
	at := len(d.path) - 1
	for i := 0; d.tok.kind != arrayEnd; i++ {
		d.path[at].index = i
		if err := element(i); err != nil {
			return err
		}
	}
	d.path = d.path[:at]
	return d.advance()
}

// skip passes over one value.
func (d *document) skip() error {
	for depth := 0; ; {
		switch d.tok.kind {
		case objectBegin, arrayBegin:
			depth++
		case objectEnd, arrayEnd:
			depth--
		case endKind:
			return d.errorf("the file ends before a value does")
		}
		key := d.tok.kind == keyKind
		if err := d.advance(); err != nil {
			return err
		}
		if depth == 0 && !key {
			return nil
		}
	}
}

// text reads a string.
func (d *document) text() (string, error) {
	if err := d.expect(textKind); err != nil {
		return "", err
	}
	s := string(d.tok.text)
	return s, d.advance()
}

// number reads a number; text that holds one counts too, since XGBoost writes its parameters so.
func (d *document) number() (float64, error) {
	v := d.tok.num
	switch d.tok.kind {
	case numberKind, boolKind:
	case textKind:
		n := 0
		if v, n = parseNumber(d.tok.text); n != len(d.tok.text) {
			return 0, d.errorf("is %q, not a number", clip(d.tok.text))
		}
	default:
		return 0, d.errorf("is %s, not a number", d.tok.kind)
	}
	return v, d.advance()
}

// integer reads a whole number between lo and hi.
func (d *document) integer(lo, hi int64) (int64, error) {
	v := d.tok.num
	if d.tok.kind != numberKind && d.tok.kind != boolKind {
		if d.tok.kind != textKind {
			return 0, d.errorf("is %s, not a whole number", d.tok.kind)
		}
		n := 0
		if v, n = parseNumber(d.tok.text); n != len(d.tok.text) {
			return 0, d.errorf("is %q, not a whole number", clip(d.tok.text))
		}
	}
	if v != math.Trunc(v) || v < float64(lo) || v > float64(hi) { // NaN is not equal to itself
		return 0, d.errorf("is %v; it must be a whole number from %d to %d", v, lo, hi)
	}
	return int64(v), d.advance()
}

// each calls put for every number of an array.
func (d *document) each(put func(v float64) error) error {
	return d.array(func(int) error {
		if d.tok.kind != numberKind && d.tok.kind != boolKind {
			return d.errorf("is %s, not a number", d.tok.kind)
		}
		if err := put(d.tok.num); err != nil {
			return d.errorf("%w", err)
		}
		return d.advance()
	})
}

// float32s appends an array of numbers to dst.
func (d *document) float32s(dst []float32) ([]float32, error) {
	err := d.each(func(v float64) error {
		dst = append(dst, float32(v))
		return nil
	})
	return dst, err
}

// float64s appends an array of numbers to dst.
func (d *document) float64s(dst []float64) ([]float64, error) {
	err := d.each(func(v float64) error {
		dst = append(dst, v)
		return nil
	})
	return dst, err
}

// int32s appends an array of whole numbers to dst.
func (d *document) int32s(dst []int32) ([]int32, error) {
	err := d.each(func(v float64) error {
		if v != math.Trunc(v) || v < math.MinInt32 || v > math.MaxInt32 {
			return fmt.Errorf("is %v; it must be a whole number of 32 bits", v)
		}
		dst = append(dst, int32(v))
		return nil
	})
	return dst, err
}

// clip shortens what goes into an error message.
func clip[T []byte | string](s T) string {
	const most = 60
	if len(s) > most {
		return string(s[:most]) + "…"
	}
	return string(s)
}
