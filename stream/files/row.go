package files

import (
	"bytes"
	"strconv"

	"serval"
	"serval/internal/jsontensor"
	"serval/stream"
)

// kind is what a value is.
type kind uint8

const (
	nothing kind = iota // null, or not there
	boolean
	integer
	float
	vector // numbers, always as many
	structure
	text // strings; and whatever comes where a column had different kinds
)

// typeNames are the kinds that a configuration may name.
var typeNames = map[string]kind{"bool": boolean, "int": integer, "float": float, "text": text, "json": structure}

// metadata are the columns that say where a row comes from.
var metadata = [...]string{"_key", "_topic", "_partition", "_offset", "_id", "_time", "_headers"}

const (
	mostColumns = 1000 // further fields are together in the column _rest
	mostNumbers = 4096 // of a list that is kept as one
	restColumn  = "_rest"
	valueColumn = "value" // of messages that are no JSON object
	answer      = "prediction"
)

// column is one of the file.
type column struct {
	name string
	kind kind
	size int // of a vector
	row  int // last that had a value
	cell int // which one of that row
}

// schema is the columns that were seen. They stay for the life of a target, and their kinds only widen, so that its files differ
// as little as can be.
type schema struct {
	fixed   bool
	columns []column
	index   map[string]int
	rows    int
	scan    jsontensor.Scanner
}

// cell is a value of a row as it stands in the message.
type cell struct {
	column int
	kind   kind
	size   int
	raw    []byte // JSON, or with plain the text itself
	plain  bool
}

// row is a message to be written.
type row struct {
	m     *stream.Message
	cells []cell
}

func newSchema(columns map[string]string) *schema {
	s := &schema{index: map[string]int{}, fixed: len(columns) > 0}
	for _, name := range sortedKeys(columns) {
		s.index[name] = len(s.columns)
		s.columns = append(s.columns, column{name: name, kind: typeNames[columns[name]]})
	}
	return s
}

// take takes a value apart. An error says that it does not fit the columns that were configured.
func (s *schema) take(m *stream.Message) ([]cell, error) {
	s.rows++
	cells, ok := s.object(m.Value)
	if !ok { // no object, or no JSON
		s.rows++
		cells = s.whole(m.Value)
	}
	for i := range cells {
		if err := s.settle(&cells[i]); err != nil {
			return nil, err
		}
	}
	return cells, nil
}

// object takes a JSON object's members; those inside of "prediction" are columns of their own.
func (s *schema) object(value []byte) (cells []cell, ok bool) {
	sc := &s.scan
	sc.Reset(value)
	if sc.Peek() != '{' {
		return nil, false
	}
	cells = make([]cell, 0, len(s.columns))
	var rest []byte
	if !s.members(sc, "", &cells, &rest) || sc.End() != nil {
		return nil, false
	}
	if rest != nil {
		s.put(restColumn, cell{kind: structure, raw: append(rest, '}')}, &cells)
	}
	return cells, true
}

func (s *schema) members(sc *jsontensor.Scanner, inside string, cells *[]cell, rest *[]byte) bool {
	if sc.Enter('{', "the value") != nil {
		return false
	}
	for first := true; ; first = false {
		more, err := sc.More(first, '}')
		if err != nil || !more {
			return err == nil
		}
		key, err := sc.Key()
		if err != nil {
			return false
		}
		at, known := s.index[string(key)]
		if inside != "" && known && s.columns[at].row == s.rows || !known && reserved(string(key)) {
			key = append([]byte("predicted_"), key...) // a field that is passed through has the name, or one of ours
			at, known = s.index[string(key)]
		}
		if inside == "" && string(key) == answer && sc.Peek() == '{' && !known {
			if !s.members(sc, answer, cells, rest) {
				return false
			}
			continue
		}
		name := ""
		if !known {
			name = string(key) // the next value may have its place
		}
		c, ok := look(sc)
		switch {
		case !ok:
			return false
		case known:
			s.fill(at, c, cells)
		case s.fixed:
		case len(s.columns) < mostColumns:
			s.put(name, c, cells)
		default:
			opening := byte(',')
			if *rest == nil {
				opening = '{'
			}
			*rest = append(append(jsontensor.AppendString(append(*rest, opening), name), ':'), c.raw...)
		}
	}
}

// reserved says whether a name is one of the metadata's.
func reserved(name string) bool {
	if name == "" || name[0] != '_' {
		return false
	}
	for _, m := range metadata {
		if name == m {
			return true
		}
	}
	return name == restColumn
}

// whole is the only cell of a value that is no object.
func (s *schema) whole(value []byte) []cell {
	sc := &s.scan
	sc.Reset(value)
	c, ok := look(sc)
	if !ok || sc.End() != nil {
		c = cell{kind: text, raw: value, plain: true}
	}
	var cells []cell
	if at, known := s.index[valueColumn]; known {
		s.fill(at, c, &cells)
	} else if !s.fixed {
		s.put(valueColumn, c, &cells)
	}
	return cells
}

// put adds a column, if it is a new one, and its value.
func (s *schema) put(name string, c cell, cells *[]cell) {
	at, known := s.index[name]
	if !known {
		at = len(s.columns)
		s.index[name] = at
		s.columns = append(s.columns, column{name: name})
	}
	s.fill(at, c, cells)
}

// fill sets a column's value in this row; of a member that comes twice the last one counts.
func (s *schema) fill(at int, c cell, cells *[]cell) {
	c.column = at
	if col := &s.columns[at]; col.row == s.rows {
		(*cells)[col.cell] = c
	} else {
		col.row, col.cell = s.rows, len(*cells)
		*cells = append(*cells, c)
	}
}

// settle widens the column's kind, or refuses what does not fit a configured one.
func (s *schema) settle(c *cell) error {
	col := &s.columns[c.column]
	if !s.fixed {
		col.kind, col.size = widen(col.kind, c.kind, col.size, c.size)
		return nil
	}
	fits := c.kind == nothing || c.kind == col.kind || col.kind == text || col.kind == structure && !c.plain ||
		col.kind == float && c.kind == integer
	if !fits {
		shown := c.raw[:min(len(c.raw), 60)]
		return serval.Errorf(serval.InvalidArgument, "files: the value %s does not fit column '%s' of type %s", shown, col.name, col.kind).At(col.name)
	}
	return nil
}

// String is the kind's name in a configuration.
func (k kind) String() string {
	for name, kind := range typeNames {
		if kind == k {
			return name
		}
	}
	return "list"
}

func widen(a, b kind, sizeA, sizeB int) (kind, int) {
	switch {
	case b == nothing || a == b && sizeA == sizeB:
		return a, sizeA
	case a == nothing:
		return b, sizeB
	case a == integer && b == float, a == float && b == integer:
		return float, 0
	case (a == vector || a == structure) && (b == vector || b == structure):
		return structure, 0
	}
	return text, 0
}

// look takes the next value and says what it is.
func look(sc *jsontensor.Scanner) (cell, bool) {
	first := sc.Peek()
	at := sc.Pos()
	c := cell{}
	switch first {
	case 'n':
	case 't', 'f':
		c.kind = boolean
	case '"':
		c.kind = text
	case '{':
		c.kind = structure
	case '[':
		if n := numbers(sc); n > 0 {
			c.kind, c.size = vector, n
			c.raw = sc.Text(at)
			return c, true
		}
		sc.Seek(at)
		c.kind = structure
	default:
		raw, err := sc.Number()
		c.raw, c.kind = raw, numberKind(raw)
		return c, err == nil
	}
	if sc.Skip() != nil {
		return c, false
	}
	c.raw = sc.Text(at)
	return c, true
}

// numberKind says which column a number fits.
func numberKind(raw []byte) kind {
	if !bytes.ContainsAny(raw, ".eE") {
		if _, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
			return integer
		}
	}
	if _, err := strconv.ParseFloat(string(raw), 64); err == nil {
		return float
	}
	return text
}

// numbers takes a list of numbers and returns how many they are; 0: it is another list.
func numbers(sc *jsontensor.Scanner) int {
	if sc.Enter('[', "a list") != nil {
		return 0
	}
	for n := 0; ; n++ {
		more, err := sc.More(n == 0, ']')
		if err != nil || n > mostNumbers {
			return 0
		}
		if !more {
			return n
		}
		if raw, err := sc.Number(); err != nil || numberKind(raw) == text {
			return 0
		}
	}
}
