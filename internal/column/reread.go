package column

import (
	"context"
	"errors"
	"slices"

	"serval/batch"
)

// Reread adds rows of a complete file to p, from a place on.
func Reread(f batch.Format, path string, from batch.Mark, rows int, p *Pending) error {
	objects, err := batch.Files{}.Locate(context.Background(), path)
	if err != nil {
		return err
	}
	r, err := f.Open(context.Background(), objects[0], nil)
	if err != nil {
		return err
	}
	defer r.Close()
	var columns []batch.Column
	for _, c := range p.Columns {
		columns = append(columns, batch.Column{Name: c.Name, Type: c.DType, Shape: slices.Clone(c.Shape)})
	}
	if err := r.Select(columns, from); err != nil {
		return err
	}
	var b batch.Block
	for p.Rows < rows {
		if err := r.Read(context.Background(), &b, rows-p.Rows); err != nil {
			return err
		}
		if len(b.Bad) > 0 {
			return errors.New(b.Bad[0].Reason)
		}
		if err := p.Add(b.Vectors, b.Rows, func() error { return errors.New("there are more rows than a group has") }); err != nil {
			return err
		}
	}
	return nil
}
