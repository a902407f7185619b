package batch

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"serval"
)

// dataPlan is what a job comes to.
type dataPlan struct {
	model   string
	objects int
	pieces  []Piece
}

// input is an object of a job and where it was found.
type input struct {
	Object
	at     string // the location, where the name is none
	format Format
}

// plan finds the model's version and the objects; with cut it also cuts them, which may take long.
func (d *Data) plan(ctx context.Context, places Locator, s *DataSpec, cut bool) (*dataPlan, error) {
	ref, err := serval.ParseRef(s.Model)
	if err != nil {
		return nil, err
	}
	m, err := d.o.Model(ref)
	if err != nil {
		return nil, err
	}
	inputs, err := d.inputs(ctx, places, s)
	if err != nil {
		return nil, err
	}
	name, err := d.outputName(ctx, places, s, inputs[0].format)
	if err != nil {
		return nil, err
	}
	p := &dataPlan{model: serval.Ref{Name: m.Name, Version: m.Version}.String(), objects: len(inputs)}
	if s.Parts > 1 && cut {
		if err := p.cut(ctx, &m, s, inputs, name); err != nil {
			return nil, err
		}
	} else if s.Split {
		for i := range inputs {
			p.add(inputs[i:i+1], fmt.Sprintf("part-%05d%s", i+1, endingOf(name)))
		}
	} else {
		p.add(inputs, name)
	}
	p.weigh(inputs)
	return p, d.free(ctx, places, s)
}

// inputs finds the objects, and their formats.
func (d *Data) inputs(ctx context.Context, places Locator, s *DataSpec) ([]input, error) {
	var all []input
	for _, location := range s.Input {
		found, err := places.Locate(ctx, location)
		if err != nil {
			return nil, err
		}
		for _, o := range found {
			_, name := plain(o)
			in := input{Object: o}
			if in.format, err = pick(d.o.Formats, formatOf(s.InputFormat, o), name, "input_format"); err != nil {
				return nil, err
			}
			if len(found) == 1 && o.Name() != location {
				in.at = location
			}
			all = append(all, in)
		}
	}
	return all, nil
}

// add makes a piece of some objects.
func (p *dataPlan) add(inputs []input, name string) {
	piece, weight := p.piece(inputs, name)
	p.pieces = append(p.pieces, Piece{Spec: jsonOf(piece), Weight: weight})
}

func (p *dataPlan) piece(inputs []input, name string) (piece dataPiece, weight float64) {
	piece = dataPiece{Model: p.model, Name: name, At: make([]string, len(inputs))}
	found := false
	for i := range inputs {
		piece.Input = append(piece.Input, inputs[i].Name())
		piece.At[i] = inputs[i].at
		found = found || inputs[i].at != ""
		weight += float64(max(0, inputs[i].Size()))
	}
	if !found {
		piece.At = nil
	}
	return piece, weight
}

// weigh takes the pieces' weights away where not all sizes are known.
func (p *dataPlan) weigh(inputs []input) {
	for i := range inputs {
		if inputs[i].Size() > 0 {
			continue
		}
		for k := range p.pieces {
			p.pieces[k].Weight = 0
		}
		return
	}
}

func jsonOf(v any) json.RawMessage {
	raw, _ := json.Marshal(v) // plain data
	return raw
}

// outputName is what a result is called within the job, with the ending of its format.
func (d *Data) outputName(ctx context.Context, places Locator, s *DataSpec, in Format) (string, error) {
	given, name := s.OutputFormat, ""
	if s.Output != "" && !s.Split {
		target, err := places.Target(ctx, s.Output)
		if err != nil {
			return "", err
		}
		if own := formatOf("", target); own == "" {
			name = strings.Map(func(c rune) rune {
				if strings.ContainsRune(`*?[]\`, c) { // it may wait in an object store, where they stand for others
					return '_'
				}
				return c
			}, baseOf(s.Output))
			_, err := pick(d.o.Formats, given, s.Output, "output_format")
			return name, err
		} else if given != "" && given != own {
			return "", serval.Errorf(serval.InvalidArgument, "output_format %q: %s takes %s only", given, target.Name(), own).At("output_format")
		} else {
			given = own
		}
	}
	out := in
	if given != "" {
		var err error
		if out, err = pick(d.o.Formats, given, "", "output_format"); err != nil {
			return "", err
		}
	} else if in.Name() == "postgres" {
		return "", serval.Errorf(serval.InvalidArgument, "rows of a database have no format of files; give the output's with output_format").At("output_format")
	}
	return "result" + out.Extensions()[0], nil
}

// baseOf is the last part of a path or a location.
func baseOf(location string) string {
	if strings.Contains(location, "://") {
		return path.Base(location)
	}
	return filepath.Base(location)
}

// below is a file of a folder, wherever that is.
func below(location, name string) string {
	if strings.Contains(location, "://") {
		return strings.TrimSuffix(location, "/") + "/" + name
	}
	return filepath.Join(location, name)
}

func endingOf(name string) string {
	if i := strings.IndexByte(name, '.'); i >= 0 {
		return name[i:]
	}
	return ""
}

// may asks whether a job may write somewhere.
func may(places Locator, location string) error {
	if g, ok := places.(Guard); ok {
		return g.May(location, true)
	}
	return nil
}

// free checks that the output may be written, and that nothing is there that it would replace.
func (d *Data) free(ctx context.Context, places Locator, s *DataSpec) error {
	if s.Output == "" {
		return nil
	}
	if err := may(places, s.Output); err != nil {
		return err
	}
	if s.Split {
		return d.freeFolder(ctx, places, s)
	}
	target, err := places.Target(ctx, s.Output)
	if err != nil || s.Restart {
		return err
	}
	there, err := target.Exists(ctx)
	if err == nil && there {
		err = serval.Errorf(serval.Conflict, "%s exists; use restart to replace it", s.Output).At("restart")
	}
	return err
}

// freeFolder checks the folder that a job with Split writes to.
func (d *Data) freeFolder(ctx context.Context, places Locator, s *DataSpec) error {
	remote := strings.Contains(s.Output, "://")
	switch {
	case remote && !InBucket(s.Output):
		return serval.Errorf(serval.InvalidArgument, "%s: with split the output is a folder, s3://bucket/prefix, gs:// or azblob://", s.Output).At("output")
	case s.Restart:
		return nil
	}
	folder := s.Output
	if remote {
		folder = below(folder, "")
	}
	list, err := places.Locate(ctx, folder)
	if err != nil && serval.AsError(err).Code == serval.NotFound {
		return nil
	}
	if err == nil && len(list) > 0 {
		err = serval.Errorf(serval.Conflict, "%s is not empty; use restart to replace what is in it", s.Output).At("restart")
	}
	return err
}
