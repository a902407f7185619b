package config

import (
	"fmt"
	"slices"
	"strings"
)

// maxErrors is how many mistakes are listed; a person mends no more than that in one go.
const maxErrors = 50

// Error is one mistake in a file.
type Error struct {
	File   string
	Line   int // from 1; 0: the value does not come from the file
	Col    int
	Path   string // keys[0].hash; "" for the file as a whole
	Reason string // what is wrong and how to mend it
}

// Error is file:line:col: path: reason.
func (e Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Col)
	}
	if e.Path != "" {
		b.WriteString(": " + e.Path)
	}
	return b.String() + ": " + e.Reason
}

// Errors is every mistake in a file, in the order of the file. Its pointer is the error that this package returns.
type Errors []Error

// Error has one line for each mistake.
func (e *Errors) Error() string {
	lines := make([]string, 0, len(*e))
	for i, one := range *e {
		if i == maxErrors {
			lines = append(lines, fmt.Sprintf("… and %d more", len(*e)-maxErrors))
			break
		}
		lines = append(lines, one.Error())
	}
	return strings.Join(lines, "\n")
}

// orNil sorts the mistakes; without any it is a nil error.
func (e *Errors) orNil() error {
	if len(*e) == 0 {
		return nil
	}
	slices.SortStableFunc(*e, func(a, b Error) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Col - b.Col
	})
	return e
}
