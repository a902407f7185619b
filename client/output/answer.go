package output

import (
	"fmt"
	"math"
	"sort"
	"strings"
	"time"

	"serval"
	"serval/client/element"
)

// Table is an answer: one row a record, file or class. Cells are bool, int64, uint64, float32, float64, string, or a []any
// of these (nested for more dimensions).
type Table struct {
	Columns []string
	Rows    [][]any
}

// maxSpread is the number of values a row that still become columns of their own.
const maxSpread = 16

// Answer lays out the outputs as the recipe says; nil, or a recipe without an output part, gives a table of all outputs. length
// is that of the sound that they are for, or 0.
func Answer(outputs []serval.Tensor, r *serval.Recipe, length time.Duration) (*Table, error) {
	if r != nil {
		switch o := r.Output; {
		case o.Labels != nil:
			return labels(outputs, o.Labels)
		case o.CTC != nil:
			return readCTC(outputs, o.CTC)
		case o.Segments != nil:
			return segments(outputs, o.Segments, length)
		case o.Table != nil:
			chosen := make([]serval.Tensor, len(o.Table.Outputs))
			for i, name := range o.Table.Outputs {
				t, err := find(outputs, name)
				if err != nil {
					return nil, err
				}
				chosen[i] = *t
			}
			return table(chosen)
		}
	}
	return table(outputs)
}

// Carry puts a column of texts (an id of the user's own file) before the others, where there is one text for each row.
func (t *Table) Carry(name string, texts []string) {
	if len(texts) != len(t.Rows) {
		return
	}
	t.Columns = append([]string{name}, t.Columns...)
	for i := range t.Rows {
		t.Rows[i] = append([]any{texts[i]}, t.Rows[i]...)
	}
}

// Append adds the rows of another answer of the same model, each with a first column that says where it is from.
func (t *Table) Append(column, from string, more *Table) {
	if t.Columns == nil {
		t.Columns = append([]string{column}, more.Columns...)
	}
	for _, row := range more.Rows {
		t.Rows = append(t.Rows, append([]any{from}, row...))
	}
}

func find(outputs []serval.Tensor, name string) (*serval.Tensor, error) {
	have := make([]string, len(outputs))
	for i := range outputs {
		if outputs[i].Name == name {
			return &outputs[i], nil
		}
		have[i] = "'" + outputs[i].Name + "'"
	}
	return nil, serval.Errorf(serval.InvalidArgument, "the recipe reads the output '%s', the answer has %s", name, strings.Join(have, ", ")).At(name)
}

// table puts outputs with the same number of rows side by side. A column a value while they are few, else one nested cell.
func table(outputs []serval.Tensor) (*Table, error) {
	t := &Table{}
	if len(outputs) == 0 {
		return t, nil
	}
	rows, shared := outputs[0].Rows(), true
	for i := range outputs {
		shared = shared && outputs[i].Rows() == rows && rows >= 0
	}
	if !shared { // not a batch: one row with each output whole
		rows = 1
	}
	for i := range outputs {
		if err := t.add(&outputs[i], int(rows), shared); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *Table) add(o *serval.Tensor, rows int, shared bool) error {
	values, err := element.Values(o)
	if err != nil {
		return wrong(o, err)
	}
	if t.Rows == nil {
		t.Rows = make([][]any, rows)
	}
	if !shared {
		t.Columns = append(t.Columns, o.Name)
		t.Rows[0] = append(t.Rows[0], nest(values, o.Shape))
		return nil
	}
	if rows == 0 {
		t.Columns = append(t.Columns, o.Name)
		return nil
	}
	each := len(values) / rows
	flat := len(o.Shape) <= 2
	switch {
	case flat && each == 1:
		t.Columns = append(t.Columns, o.Name)
	case flat && each <= maxSpread && each > 0:
		for c := range each {
			t.Columns = append(t.Columns, columnName(o, c, each))
		}
	default:
		t.Columns = append(t.Columns, o.Name)
		for r := range rows {
			t.Rows[r] = append(t.Rows[r], nest(values[r*each:(r+1)*each], o.Shape[1:]))
		}
		return nil
	}
	for r := range rows {
		t.Rows[r] = append(t.Rows[r], values[r*each:(r+1)*each]...)
	}
	return nil
}

func columnName(o *serval.Tensor, c, of int) string {
	if len(o.Labels) == of {
		return o.Labels[c]
	}
	return fmt.Sprintf("%s[%d]", o.Name, c)
}

// nest folds values into lists of lists.
func nest(values []any, shape []int64) any {
	if len(shape) == 0 && len(values) == 1 {
		return values[0]
	}
	if len(shape) <= 1 {
		return values
	}
	n := int(shape[0])
	lists := make([]any, n)
	for i := range lists {
		each := len(values) / n
		lists[i] = nest(values[i*each:(i+1)*each], shape[1:])
	}
	return lists
}

// labels lists the classes with the highest scores, ties in the classes' order. With several rows, the first column says
// which row.
func labels(outputs []serval.Tensor, r *serval.LabelsOutput) (*Table, error) {
	o, err := find(outputs, r.Output)
	if err != nil {
		return nil, err
	}
	scores, err := element.Floats(o)
	if err != nil {
		return nil, wrong(o, err)
	}
	names := r.Labels
	if names == nil {
		names = o.Labels
	}
	rows, classes := 1, len(scores)
	if len(o.Shape) > 1 {
		rows = int(o.Shape[0])
		classes = len(scores) / max(1, rows)
	}
	if names != nil && len(names) != classes && rows > 0 {
		return nil, wrong(o, fmt.Errorf("%d classes, but %d labels", classes, len(names)))
	}
	t := &Table{Columns: []string{"label", "score"}}
	if rows > 1 {
		t.Columns = append([]string{"row"}, t.Columns...)
	}
	for row := range rows {
		own := scores[row*classes : (row+1)*classes]
		if r.Softmax {
			softmax(own)
		}
		for _, c := range best(own, max(1, r.Top)) {
			label := fmt.Sprint(c)
			if names != nil {
				label = names[c]
			}
			cells := []any{label, float32(own[c])}
			if rows > 1 {
				cells = append([]any{int64(row)}, cells...)
			}
			t.Rows = append(t.Rows, cells)
		}
	}
	return t, nil
}

func best(scores []float64, n int) []int {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { // NaN goes last
		x, y := scores[order[a]], scores[order[b]]
		return x > y || x == x && y != y
	})
	return order[:min(n, len(order))]
}

func softmax(x []float64) {
	top, sum := math.Inf(-1), 0.0
	for _, v := range x {
		top = max(top, v)
	}
	for i, v := range x {
		x[i] = math.Exp(v - top)
		sum += x[i]
	}
	for i := range x {
		x[i] /= sum
	}
}

// readCTC reads a text from each row. The confidence is the mean score of the steps that gave a character.
func readCTC(outputs []serval.Tensor, r *serval.CTCOutput) (*Table, error) {
	o, err := find(outputs, r.Output)
	if err != nil {
		return nil, err
	}
	if len(o.Shape) != 3 {
		return nil, wrong(o, fmt.Errorf("shape %s, where [rows, steps, classes] is needed", serval.ShapeString(o.Shape)))
	}
	if int64(len(r.Dictionary)) != o.Shape[2] {
		return nil, wrong(o, fmt.Errorf("%d classes, but the dictionary has %d entries", o.Shape[2], len(r.Dictionary)))
	}
	scores, err := element.Floats(o)
	if err != nil {
		return nil, wrong(o, err)
	}
	t := &Table{Columns: []string{"text", "confidence"}}
	steps, classes := int(o.Shape[1]), int(o.Shape[2])
	for row := range int(o.Shape[0]) {
		text, confidence := collapse(scores[row*steps*classes:(row+1)*steps*classes], classes, r)
		t.Rows = append(t.Rows, []any{text, float32(confidence)})
	}
	return t, nil
}

func collapse(scores []float64, classes int, r *serval.CTCOutput) (string, float64) {
	var text strings.Builder
	sum, characters, last := 0.0, 0, -1
	for at := 0; at < len(scores); at += classes {
		c := best1(scores[at : at+classes])
		if c != last && c != r.Blank {
			text.WriteString(r.Dictionary[c])
			sum += scores[at+c]
			characters++
		}
		last = c
	}
	if characters == 0 {
		return "", 0
	}
	return text.String(), sum / float64(characters)
}

func best1(scores []float64) int {
	top := 0
	for i, v := range scores {
		if v > scores[top] {
			top = i
		}
	}
	return top
}

func wrong(o *serval.Tensor, err error) error {
	return serval.Errorf(serval.InvalidArgument, "output '%s': %w", o.Name, err).At(o.Name)
}
