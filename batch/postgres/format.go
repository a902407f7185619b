package postgres

import (
	"context"

	"serval"
	"serval/batch"
)

// Format is how rows come from a Source, and wait in a file to be put into a table. It is safe for concurrent use.
type Format struct{}

// Name is postgres.
func (Format) Name() string { return "postgres" }

// Extensions are none that anybody uses: what a job waits to put into a table is no file for others.
func (Format) Extensions() []string { return []string{".pgcopy"} }

// Open asks for a Source's columns. Its options are key, table and query, as in a location.
func (Format) Open(ctx context.Context, o batch.Object, given map[string]string) (batch.Reader, error) {
	s, ok := o.(*Source)
	if !ok {
		return nil, serval.Errorf(serval.InvalidArgument, "%s is no PostgreSQL database; write postgres://user@host/database?table=name", o.Name()).At("input")
	}
	p := *s.place
	for name, value := range given {
		if s.fixed && (name == "table" || name == "query") {
			return nil, serval.Errorf(serval.InvalidArgument, "option %q: here the location names it, as in postgres://name?table=rows", name).At(name)
		}
		switch name {
		case "key":
			p.key = value
		case "table":
			p.table = value
		case "query":
			p.query = value
		default:
			return nil, serval.Errorf(serval.InvalidArgument, "reading postgres has no option %q; there are key, table, query", name).At(name)
		}
	}
	return open(ctx, &p)
}

// Create writes rows to a file, to be put into a table. There are no options.
func (Format) Create(path string, from batch.Mark, given map[string]string) (batch.Writer, error) {
	for name := range given {
		return nil, serval.Errorf(serval.InvalidArgument, "writing postgres has no option %q, and no other; the table and its key are named in the location", name).At(name)
	}
	return create(path, from)
}
