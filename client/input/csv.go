package input

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"serval"
	"serval/client/element"
)

// columns says which columns of the table make up one input, in order.
type columns struct {
	info   *serval.TensorInfo
	at     []int // in the record
	matrix bool  // the columns stand side by side, whatever their number
}

// readCSV reads a table. Each column is the input of its name; or, where a recipe or a model with one matrix input says
// so, the columns are that matrix's. Comma 0 means: ',' or, where the first line has none, ';' or a tab.
func readCSV(data []byte, comma rune, m Model) (*Input, error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	r := csv.NewReader(bytes.NewReader(data))
	if r.Comma = comma; comma == 0 {
		r.Comma = guessComma(data)
	}
	r.ReuseRecord = true
	first, err := r.Read()
	if err == io.EOF {
		return nil, fmt.Errorf("empty; the first line must name the columns")
	} else if err != nil {
		return nil, csvFault(err)
	}
	header := slices.Clone(first)
	for i := range header {
		header[i] = strings.TrimSpace(header[i])
	}
	plan, headless, err := m.plan(header)
	if err != nil {
		return nil, err
	}
	t := table{header: header, plan: plan, data: make([][]byte, len(plan))}
	if headless {
		t.header = numbered(len(header))
		if err := t.add(first, r); err != nil {
			return nil, err
		}
	} else {
		t.extra = extras(header, plan)
	}
	for {
		record, err := r.Read()
		if err == io.EOF {
			break
		} else if err != nil {
			return nil, csvFault(err)
		}
		if err := t.add(record, r); err != nil {
			return nil, err
		}
	}
	return t.input()
}

// table is a CSV file on its way to tensors.
type table struct {
	header []string
	plan   []columns
	data   [][]byte // of each part of the plan
	rows   int64
	extra  []int
	texts  [][]string // of each extra column
}

func (t *table) add(record []string, r *csv.Reader) error {
	for p := range t.plan {
		for _, c := range t.plan[p].at {
			data, err := element.AppendText(t.data[p], t.plan[p].info.DType, record[c])
			if err != nil {
				line, _ := r.FieldPos(c)
				return &fault{place: fmt.Sprintf(", line %d, column '%s'", line, t.header[c]), param: t.header[c], err: err}
			}
			t.data[p] = data
		}
	}
	if t.texts == nil {
		t.texts = make([][]string, len(t.extra))
	}
	for i, c := range t.extra {
		t.texts[i] = append(t.texts[i], strings.Clone(record[c]))
	}
	t.rows++
	return nil
}

func (t *table) input() (*Input, error) {
	if t.rows == 0 {
		return nil, fmt.Errorf("names its columns, but has no rows")
	}
	in := &Input{Tensors: make([]serval.Tensor, 0, len(t.plan))}
	for p, c := range t.plan {
		shape, err := c.shape(t.rows)
		if err != nil {
			return nil, atInput(c.info.Name, err)
		}
		in.Tensors = append(in.Tensors, serval.Tensor{Name: c.info.Name, DType: c.info.DType, Shape: shape, Data: t.data[p]})
	}
	for i, c := range t.extra {
		in.Extra = append(in.Extra, Column{Name: t.header[c], Texts: t.texts[i]})
	}
	return in, nil
}

// shape is that of the input for so many rows.
func (c *columns) shape(rows int64) ([]int64, error) {
	want := c.info.Shape
	if c.matrix {
		return fit([]int64{rows, int64(len(c.at))}, c.info)
	}
	shape := []int64{rows}
	for i := 1; i < len(want); i++ {
		if want[i] > 1 {
			return nil, fmt.Errorf("one column, where the model takes %s a row; give it as .json or .npy", serval.ShapeString(want[1:]))
		}
		shape = append(shape, 1)
	}
	if len(want) > 0 && want[0] >= 0 && want[0] != rows {
		return nil, fmt.Errorf("%d rows, where the model takes exactly %d a request", rows, want[0])
	}
	if want != nil && len(want) == 0 {
		if rows != 1 {
			return nil, fmt.Errorf("%d rows, where the model takes one value a request", rows)
		}
		return []int64{}, nil
	}
	return shape, nil
}

// plan gives each input its columns. Headless means that the first line already holds values.
func (m *Model) plan(header []string) (plan []columns, headless bool, err error) {
	table, err := m.Signature.Columns(header, m.Recipe, nil)
	if err != nil {
		return nil, false, &fault{place: ", line 1", param: serval.AsError(err).Param, err: err}
	}
	for _, c := range table {
		plan = append(plan, columns{info: &m.Signature.Inputs[c.Input], at: c.At, matrix: c.Matrix})
	}
	if byName := m.Recipe != nil && m.Recipe.Input.CSV != nil; byName || len(plan) != 1 || slices.Contains(header, plan[0].info.Name) {
		return plan, false, nil
	}
	return plan, len(m.Signature.Inputs) == 1 && isValues(header, plan[0].info.DType), nil
}

// extras are the named columns that no input takes.
func extras(header []string, plan []columns) []int {
	var extra []int
	for i, name := range header {
		used := name == "" || slices.ContainsFunc(plan, func(c columns) bool { return slices.Contains(c.at, i) })
		if !used {
			extra = append(extra, i)
		}
	}
	return extra
}

// isValues reports whether a first line holds numbers and so is no header. Texts never are values.
func isValues(record []string, d serval.DType) bool {
	if d == serval.Bytes {
		return false
	}
	for _, cell := range record {
		if _, err := element.AppendText(nil, d, cell); err != nil {
			return false
		}
	}
	return true
}

func numbered(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint(i + 1)
	}
	return names
}

func guessComma(data []byte) rune {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	for _, c := range ",;\t" {
		if bytes.ContainsRune(line, c) {
			return c
		}
	}
	return ','
}

func csvFault(err error) error {
	var p *csv.ParseError
	if errors.As(err, &p) {
		if errors.Is(p.Err, csv.ErrFieldCount) {
			err = fmt.Errorf("not as many columns as line 1 has")
		} else {
			err = p.Err
		}
		return &fault{place: fmt.Sprintf(", line %d", p.Line), err: err}
	}
	return err
}
