package output

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"serval"
)

// Formats are the names that Write takes.
func Formats() []string { return []string{"table", "json", "csv"} }

// Write writes a table in one of the Formats: "table" for people (numbers to six digits, long cells cut), "json" (a list of
// one object a row; NaN and infinities as strings) or "csv" (values in full, lists as JSON).
func Write(w io.Writer, format string, t *Table) error {
	switch format {
	case "table":
		return writeAligned(w, t)
	case "json":
		return writeJSON(w, t)
	case "csv":
		return writeCSV(w, t)
	}
	return serval.Errorf(serval.InvalidArgument, "output format %q is not known; use %s", format, strings.Join(Formats(), ", ")).At("output")
}

const maxCell = 72 // characters of a cell that a person is shown

func writeAligned(w io.Writer, t *Table) error {
	cells := make([][]string, 0, len(t.Rows)+1)
	cells = append(cells, t.Columns)
	right := make([]bool, len(t.Columns)) // numbers stand to the right
	for _, row := range t.Rows {
		line := make([]string, len(row))
		for i, v := range row {
			line[i] = clip(plain(text(v, 6)))
			switch v.(type) {
			case int64, uint64, float32, float64:
				right[i] = true
			}
		}
		cells = append(cells, line)
	}
	width := make([]int, len(t.Columns))
	for _, line := range cells {
		for i, c := range line {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	b := bufio.NewWriter(w)
	for _, line := range cells {
		var out strings.Builder
		for i, c := range line {
			if i > 0 {
				out.WriteString("  ")
			}
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if right[i] {
				out.WriteString(pad + c)
			} else {
				out.WriteString(c + pad)
			}
		}
		b.WriteString(strings.TrimRight(out.String(), " ") + "\n")
	}
	return b.Flush()
}

func writeCSV(w io.Writer, t *Table) error {
	c := csv.NewWriter(w)
	if err := c.Write(t.Columns); err != nil {
		return err
	}
	line := make([]string, len(t.Columns))
	for _, row := range t.Rows {
		for i, v := range row {
			line[i] = text(v, -1)
		}
		if err := c.Write(line); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// writeJSON keeps the columns' order, which a map would lose.
func writeJSON(w io.Writer, t *Table) error {
	b := bufio.NewWriter(w)
	b.WriteString("[")
	for r, row := range t.Rows {
		if r > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n  {")
		for i, v := range row {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(quote(t.Columns[i]) + ": " + toJSON(v))
		}
		b.WriteByte('}')
	}
	if len(t.Rows) > 0 {
		b.WriteByte('\n')
	}
	b.WriteString("]\n")
	return b.Flush()
}

// text writes a cell; digits of a float, or -1 for as many as tell it apart.
func text(v any, digits int) string {
	switch v := v.(type) {
	case string:
		return v
	case float32:
		return strconv.FormatFloat(float64(v), 'g', digits, 32)
	case float64:
		return strconv.FormatFloat(v, 'g', digits, 64)
	}
	return toJSON(v)
}

func toJSON(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case uint64:
		return strconv.FormatUint(v, 10)
	case float32:
		return number(float64(v), 32)
	case float64:
		return number(v, 64)
	case string:
		return quote(v)
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = toJSON(v[i])
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return "null"
}

func number(f float64, bits int) string {
	switch {
	case f != f:
		return `"NaN"`
	case math.IsInf(f, 1):
		return `"Infinity"`
	case math.IsInf(f, -1):
		return `"-Infinity"`
	}
	return strconv.FormatFloat(f, 'g', -1, bits)
}

func quote(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return `""`
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// plain keeps a model's text from moving a terminal's cursor or its lines.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return '·'
		}
		return r
	}, s)
}

func clip(s string) string {
	if utf8.RuneCountInString(s) <= maxCell {
		return s
	}
	return string([]rune(s)[:maxCell-1]) + "…"
}
