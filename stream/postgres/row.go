package postgres

import (
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"serval"
	"serval/internal/jsontensor"
	"serval/stream"
)

// origin is where a column's value is: a word that begins with $, or a path into the message's JSON.
type origin struct {
	word   string
	header string // of $header.NAME
	path   []string
}

const originHelp = "write a member of the result such as score or outputs.0.data.0, or $key, $value, $topic, $partition, $offset, $id, $time, $headers or $header.NAME"

func parseOrigin(text string) (origin, error) {
	name, isHeader := strings.CutPrefix(text, "$header.")
	switch {
	case text == "" || isHeader && name == "":
	case isHeader:
		return origin{word: "$header", header: name}, nil
	case text[0] != '$':
		return origin{path: strings.Split(text, ".")}, nil
	default:
		switch text {
		case "$key", "$value", "$topic", "$partition", "$offset", "$id", "$time", "$headers":
			return origin{word: text}, nil
		}
	}
	return origin{}, bad("columns", "names %q; %s", text, originHelp)
}

// answer is the member of a result that holds the model's outputs.
const answer = "prediction"

// usual is where a column's value is when nothing else was said.
func usual(column string) origin {
	switch column {
	case "_key", "_topic", "_partition", "_offset", "_id", "_time", "_headers":
		return origin{word: "$" + column[1:]}
	}
	return origin{path: []string{column}}
}

// value is a column's in one row. It is left to the table's default where found is false.
type value struct {
	text  string
	null  bool
	found bool
}

// of finds the column's value in a message. usual: the member may lie inside prediction too.
func (c *column) of(m *stream.Message, anywhere bool, scan *jsontensor.Scanner) (value, error) {
	p := &m.Position
	whole := func(s string) (value, error) { return value{text: s, found: true}, nil }
	switch c.from.word {
	case "$key":
		if m.Key == nil {
			return value{null: true, found: true}, nil
		}
		return whole(c.bytes(m.Key))
	case "$value":
		return whole(c.bytes(m.Value))
	case "$topic":
		return whole(p.Topic)
	case "$partition":
		return value{text: strconv.Itoa(int(p.Partition)), null: p.ID != "", found: true}, nil
	case "$offset":
		return value{text: strconv.FormatInt(p.Offset, 10), null: p.ID != "", found: true}, nil
	case "$id":
		return value{text: p.ID, null: p.ID == "", found: true}, nil
	case "$time":
		return value{text: m.Time.UTC().Format(time.RFC3339Nano), null: m.Time.IsZero(), found: true}, nil
	case "$headers":
		return whole(headers(m))
	case "$header":
		h, ok := m.Header(c.from.header)
		return value{text: c.bytes(h), null: !ok, found: true}, nil
	}
	raw, ok, err := find(scan, m.Value, c.from.path)
	if err == nil && !ok && anywhere {
		raw, ok, err = find(scan, m.Value, []string{answer, c.from.path[0]})
	}
	if err != nil || !ok {
		return value{}, err
	}
	return c.json(raw, scan)
}

// bytes is what PostgreSQL reads as the column's value.
func (c *column) bytes(b []byte) string {
	if c.kind == "bytea" {
		return `\x` + hex.EncodeToString(b)
	}
	return string(b)
}

// json is the text of a JSON value as the column reads it.
func (c *column) json(raw []byte, scan *jsontensor.Scanner) (value, error) {
	switch {
	case string(raw) == "null":
		return value{null: true, found: true}, nil
	case c.kind == "json" || c.kind == "jsonb":
		return value{text: string(raw), found: true}, nil
	case raw[0] == '"':
		scan.Reset(raw)
		text, err := scan.String()
		if c.kind == "bytea" && !strings.HasPrefix(string(text), `\x`) {
			return value{text: c.bytes(text), found: true}, err
		}
		return value{text: string(text), found: true}, err
	case raw[0] == '[' && c.array:
		text, err := arrayText(nil, scan, raw)
		return value{text: string(text), found: true}, err
	}
	return value{text: string(raw), found: true}, nil
}

// find walks a path of members and places; the value it leads to is as it stands in the text.
func find(s *jsontensor.Scanner, text []byte, path []string) (raw []byte, ok bool, err error) {
	s.Reset(text)
	for _, name := range path {
		if ok, err = step(s, name); !ok || err != nil {
			return nil, false, err
		}
	}
	s.Peek()
	at := s.Pos()
	if err := s.Skip(); err != nil {
		return nil, false, err
	}
	return s.Text(at), true, nil
}

// step goes to a member of an object, or to a place in a list.
func step(s *jsontensor.Scanner, name string) (ok bool, err error) {
	opening := s.Peek()
	closing := byte('}')
	want := -1
	switch opening {
	case '{':
	case '[':
		closing = ']'
		if want, err = strconv.Atoi(name); err != nil || want < 0 {
			return false, nil
		}
	default:
		return false, nil
	}
	if err := s.Enter(opening, "the result"); err != nil {
		return false, err
	}
	for n := 0; ; n++ {
		more, err := s.More(n == 0, closing)
		if err != nil || !more {
			return false, err
		}
		here := n == want
		if opening == '{' {
			key, err := s.Key()
			if err != nil {
				return false, err
			}
			here = string(key) == name
		}
		if here {
			return true, nil
		}
		if err := s.Skip(); err != nil {
			return false, err
		}
	}
}

// arrayText is a JSON list as an array of PostgreSQL: {1,NULL,"a",{2}}.
func arrayText(dst []byte, s *jsontensor.Scanner, raw []byte) ([]byte, error) {
	s.Reset(raw)
	dst, err := appendArray(dst, s, 0)
	if err == nil {
		err = s.End()
	}
	return dst, err
}

// mostDimensions are PostgreSQL's.
const mostDimensions = 6

func appendArray(dst []byte, s *jsontensor.Scanner, depth int) ([]byte, error) {
	if depth == mostDimensions {
		return dst, serval.Errorf(serval.InvalidArgument, "a list of more than %d dimensions", mostDimensions)
	}
	if err := s.Enter('[', "the list"); err != nil {
		return dst, err
	}
	dst = append(dst, '{')
	for first := true; ; first = false {
		more, err := s.More(first, ']')
		if err != nil {
			return dst, err
		}
		if !more {
			return append(dst, '}'), nil
		}
		if !first {
			dst = append(dst, ',')
		}
		switch c := s.Peek(); c {
		case '[':
			if dst, err = appendArray(dst, s, depth+1); err != nil {
				return dst, err
			}
			continue
		case '"':
			text, err := s.String()
			if err != nil {
				return dst, err
			}
			dst = appendQuoted(dst, text)
			continue
		}
		at := s.Pos()
		if err := s.Skip(); err != nil {
			return dst, err
		}
		if item := s.Text(at); string(item) == "null" {
			dst = append(dst, "NULL"...)
		} else {
			dst = appendQuoted(dst, item)
		}
	}
}

func appendQuoted(dst, text []byte) []byte {
	dst = append(dst, '"')
	for _, c := range text {
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}

// headers is an object of the headers; of those of one name the first counts.
func headers(m *stream.Message) string {
	dst := []byte{'{'}
	seen := map[string]bool{}
	for i := range m.Headers {
		h := &m.Headers[i]
		if seen[h.Key] {
			continue
		}
		seen[h.Key] = true
		if len(dst) > 1 {
			dst = append(dst, ',')
		}
		dst = jsontensor.AppendString(dst, h.Key)
		dst = jsontensor.AppendString(append(dst, ':'), h.Value)
	}
	return string(append(dst, '}'))
}
