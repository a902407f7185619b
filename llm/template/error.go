package template

import "fmt"

// Error says what is wrong with a template or with what it was given, and where in the template.
type Error struct {
	Line, Column int // from 1; the column counts bytes
	Message      string
	Raised       bool // the template itself refused, by raise_exception
	pos          int
}

// Error is the place and the message.
func (e *Error) Error() string {
	return fmt.Sprintf("line %d:%d: %s", e.Line, e.Column, e.Message)
}

// place fills in line and column of an offset in the source.
func (e *Error) place(source string) {
	e.Line, e.Column = 1, 1
	for i := 0; i < e.pos && i < len(source); i++ {
		e.Column++
		if source[i] == '\n' {
			e.Line++
			e.Column = 1
		}
	}
}

// fault leaves the package's inside with an error; caught returns it.
func fault(pos int, format string, args ...any) {
	panic(&Error{pos: pos, Message: fmt.Sprintf(format, args...)})
}

// caught is deferred where the package is entered.
func caught(source string, err *error) {
	switch r := recover().(type) {
	case nil:
	case *Error:
		r.place(source)
		*err = r
	default:
		panic(r)
	}
}
