package serval

import (
	"slices"
	"strings"
)

// InputColumns says which columns of a table make up one input of a model.
type InputColumns struct {
	Input  int   // in the signature
	At     []int // in the table, in the input's order
	Matrix bool  // the columns stand side by side, whatever their number
}

// Columns gives each input of a model its columns of a table: those that mapped has for it; else those that the recipe names;
// else, of a model whose only input is a matrix and bears no column's name, all; else the one of the input's name. Optional inputs may have none.
// It fails with InvalidArgument, at the column or the input at fault.
func (s *Signature) Columns(header []string, r *Recipe, mapped map[string][]string) ([]InputColumns, error) {
	for i, name := range header {
		if name != "" && slices.Index(header, name) != i {
			return nil, Errorf(InvalidArgument, "two columns are named '%s'", name).At(name)
		}
	}
	for name := range mapped {
		if s.Input(name) < 0 {
			return nil, Errorf(InvalidArgument, "the model has no input '%s'; its inputs are %s", name, s.inputNames()).At(name)
		}
	}
	var plan []InputColumns
	for i := range s.Inputs {
		c, err := s.columnsOf(i, header, r, mapped)
		if err != nil {
			return nil, err
		}
		if c.At != nil {
			plan = append(plan, c)
		}
	}
	if r != nil && r.Input.CSV != nil && s.Input(r.Input.CSV.Input) < 0 {
		return nil, Errorf(InvalidArgument, "the model has no input '%s'; its inputs are %s", r.Input.CSV.Input, s.inputNames()).At(r.Input.CSV.Input)
	}
	return plan, nil
}

func (s *Signature) columnsOf(input int, header []string, r *Recipe, mapped map[string][]string) (InputColumns, error) {
	info := &s.Inputs[input]
	c := InputColumns{Input: input}
	names, ok := mapped[info.Name]
	byRecipe := !ok && r != nil && r.Input.CSV != nil
	if byRecipe {
		if r.Input.CSV.Input != info.Name {
			return c, nil // what the recipe leaves out, the model has a default for; else it says so itself
		}
		names, ok = r.Input.CSV.Columns, true
	}
	if ok {
		c.Matrix = len(names) != 1 || byRecipe
		for _, name := range names {
			at := slices.Index(header, name)
			switch {
			case at < 0 && byRecipe:
				return c, Errorf(InvalidArgument, "no column '%s'; the model's recipe needs the columns '%s'", name, strings.Join(names, "', '")).At(name)
			case at < 0:
				return c, Errorf(InvalidArgument, "no column '%s', which is mapped to the input '%s'; there are %s", name, info.Name, nameList(header)).At(name)
			}
			c.At = append(c.At, at)
		}
		return c, nil
	}
	at := slices.Index(header, info.Name)
	if at < 0 && len(s.Inputs) == 1 && (len(info.Shape) == 2 || len(header) == 1) {
		c.Matrix = len(info.Shape) == 2
		if n := info.Shape; c.Matrix && n[1] >= 0 && n[1] != int64(len(header)) {
			return c, Errorf(InvalidArgument, "%d columns, where the input '%s' takes %d", len(header), info.Name, n[1]).At(info.Name)
		}
		for i := range header {
			c.At = append(c.At, i)
		}
		return c, nil
	}
	if at < 0 && !info.Optional {
		return c, Errorf(InvalidArgument, "no column '%s'; the model's inputs are %s", info.Name, s.inputNames()).At(info.Name)
	}
	if at >= 0 {
		c.At = []int{at}
	}
	return c, nil
}

func (s *Signature) inputNames() string {
	names := make([]string, len(s.Inputs))
	for i := range s.Inputs {
		names[i] = s.Inputs[i].Name
	}
	return nameList(names)
}

// nameList writes names for a message: 'a', 'b', …
func nameList(names []string) string {
	const most = 30
	var b strings.Builder
	for i, name := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		if i == most {
			b.WriteString("…")
			break
		}
		b.WriteString("'" + name + "'")
	}
	return b.String()
}
