package batch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"serval"
)

// maxParts bounds what a job is cut into.
const maxParts = 10000

// cut makes about s.Parts pieces of the objects, in their order: small ones come together, large ones are cut where their format
// says, and what cannot be cut is a piece.
func (p *dataPlan) cut(ctx context.Context, m *serval.ModelInfo, s *DataSpec, inputs []input, name string) error {
	first, err := p.settle(ctx, m, &s.Job, &inputs[0])
	if err != nil {
		return err
	}
	all := 0.0
	for i := range inputs {
		all += float64(max(0, inputs[i].Size()))
	}
	each := all / float64(s.Parts)
	add := func(piece dataPiece, weight float64) {
		n := len(p.pieces) + 1
		piece.Name, piece.Part, piece.Whole, piece.Kept, piece.Asked = fmt.Sprintf("part-%05d%s", n, endingOf(name)), n, name, first.Kept, first.Asked
		p.pieces = append(p.pieces, Piece{Spec: jsonOf(piece), Weight: weight})
	}
	begin, waiting := 0, 0.0 // of whole objects that wait for others
	flush := func(to int) {
		if begin < to {
			piece, weight := p.piece(inputs[begin:to], "")
			add(piece, weight)
		}
		begin, waiting = to, 0
	}
	for i := range inputs {
		size := float64(max(0, inputs[i].Size()))
		parts := 1
		if each > 0 {
			parts = int(size/each + 0.5)
		}
		if parts > 1 {
			ranges, err := ranges(ctx, s, &inputs[i], parts)
			if err != nil {
				return err
			}
			if len(ranges) > 1 {
				flush(i)
				for _, r := range ranges {
					piece, _ := p.piece(inputs[i:i+1], "")
					piece.From, piece.Rows, piece.Version = r.From, r.Rows, inputs[i].Version()
					add(piece, size*r.part)
				}
				begin = i + 1
				continue
			}
		}
		if waiting += size; waiting >= each || s.Split {
			flush(i + 1)
		}
	}
	flush(len(inputs))
	if len(p.pieces) == 1 && !s.Split { // then it is none
		p.pieces = nil
		p.add(inputs, name)
	}
	return nil
}

// settle finds what a job's first object settles for the others.
func (p *dataPlan) settle(ctx context.Context, m *serval.ModelInfo, job *Job, in *input) (dataPiece, error) {
	o, _ := plain(in.Object)
	r, err := in.format.Open(ctx, o, job.InputOptions)
	if err != nil {
		return dataPiece{}, err
	}
	defer r.Close()
	var own *plan
	if m.Language != nil {
		own, _, err = planText(m, job, r.Columns())
	} else {
		own, err = planTensors(m, job, r.Columns())
	}
	if err != nil {
		return dataPiece{}, err
	}
	return dataPiece{Kept: append([]Column{}, own.selected[own.pass:]...), Asked: append([]string{}, own.texts...)}, nil
}

// rowRange is some rows of an object.
type rowRange struct {
	From Mark
	Rows int64
	part float64 // of the object
}

// ranges cuts an object; one range, or none: it stays whole.
func ranges(ctx context.Context, s *DataSpec, in *input, n int) ([]rowRange, error) {
	o, _ := plain(in.Object)
	if o.At() == nil || o.Version() == "" { // it can only be read in order, or nobody would know that it was changed
		return nil, nil
	}
	r, err := in.format.Open(ctx, o, s.InputOptions)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	splitter, ok := r.(Splitter)
	if !ok {
		return nil, nil
	}
	cuts, rows, err := splitter.Split(ctx, n)
	if err != nil {
		return nil, err
	}
	var out []rowRange
	at := Cut{}
	for _, c := range append(cuts, Cut{Rows: rows}) {
		if c.Rows > at.Rows {
			out = append(out, rowRange{at.Mark, c.Rows - at.Rows, float64(c.Rows-at.Rows) / float64(rows)})
		}
		at = c
	}
	return out, nil
}

// joinedNote is the name of the note that the parts were put together; it holds a dataOutput.
const joinedNote = "joined.json"

// join puts the parts together, on the shelf. Done again after a kill, it begins anew, or finds that it was done.
func (d *Data) join(ctx context.Context, s *DataSpec, t *Turn, parts []dataOutput, r *DataResult) (*dataOutput, error) {
	if done, err := d.joined(ctx, t.Job.ID); done != nil || err != nil {
		return done, err
	}
	limit, err := parseTolerance(s.MaxErrors)
	if err != nil {
		return nil, err
	}
	if limit.exceeded(r.Bad, r.Rows, true) {
		return nil, serval.Errorf(serval.InvalidArgument, "%d of %d rows are bad, over the limit of %s; the last one for: %s", r.Bad, r.Rows, s.MaxErrors, lastReason(parts)).At("max_errors")
	}
	if r.Bad == r.Rows && r.Rows > 0 {
		return nil, serval.Errorf(serval.InvalidArgument, "each of the %d rows is bad, the last one for: %s", r.Rows, lastReason(parts)).At("input")
	}
	out := dataOutput{Rows: r.Rows, Bad: r.Bad, Usage: r.Usage, Errors: r.Bad > 0, Name: parts[0].Whole}
	format, err := pick(d.o.Formats, s.OutputFormat, out.Name, "output_format")
	if err != nil {
		return nil, err
	}
	out.Held = fmt.Sprintf("%d.%s", t.Fence, out.Name)
	work := filepath.Join(d.folder(t.Job.ID), "work")
	if err := os.MkdirAll(work, 0o700); err != nil {
		return nil, err
	}
	var files, bad []string
	for i := range parts {
		if parts[i].Columns != nil && out.Columns == nil {
			out.Columns = parts[i].Columns
		}
		if err := d.bring(ctx, t.Job.ID, parts[i].Held, work, &files); err != nil {
			return nil, err
		}
		if parts[i].Errors {
			if err := d.bring(ctx, t.Job.ID, parts[i].Held+ErrorsSuffix, work, &bad); err != nil {
				return nil, err
			}
		}
	}
	path := filepath.Join(work, "joined-"+out.Name)
	if err := joinedFile(ctx, format, path, files, out.Columns, s.OutputOptions); err != nil {
		return nil, err
	}
	if out.Errors {
		if err := JoinFiles(ctx, path+ErrorsSuffix, bad, func(int, Object) (int64, error) { return 0, nil }); err != nil {
			return nil, err
		}
	}
	return &out, d.shelve(ctx, t, &out, path)
}

// joined is what an earlier turn has put together; nil: nothing.
func (d *Data) joined(ctx context.Context, job string) (*dataOutput, error) {
	f, err := d.shelf.open(ctx, job, joinedNote)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, 4<<20))
	out := &dataOutput{}
	if err == nil {
		err = json.Unmarshal(raw, out)
	}
	return out, err
}

// bring makes a file of the shelf one of this machine.
func (d *Data) bring(ctx context.Context, job, name, work string, to *[]string) error {
	path, err := d.shelf.fetch(ctx, job, name, work)
	if errors.Is(err, fs.ErrNotExist) {
		return serval.Errorf(serval.InvalidArgument, "%s is not in this server's batch.dir: servers that share a store must share batch.dir, too", name)
	}
	*to = append(*to, path)
	return err
}

// shelve puts what was joined on the shelf, and then the note of it.
func (d *Data) shelve(ctx context.Context, t *Turn, out *dataOutput, path string) error {
	if err := t.Mine(ctx); err != nil {
		return err
	}
	job := t.Job.ID
	if out.Errors {
		if err := d.shelf.put(ctx, job, out.Held+ErrorsSuffix, path+ErrorsSuffix); err != nil {
			return err
		}
	}
	if err := d.shelf.put(ctx, job, out.Held, path); err != nil {
		return err
	}
	var err error
	if out.Size, out.ErrorsSize, err = d.sizes(ctx, job, out); err != nil {
		return err
	}
	note := filepath.Join(filepath.Dir(path), joinedNote)
	if err := writeWhole(note, jsonOf(out)); err != nil {
		return err
	}
	return d.shelf.put(ctx, job, joinedNote, note)
}

func lastReason(parts []dataOutput) string {
	for i := len(parts) - 1; i >= 0; i-- {
		if parts[i].Why != "" {
			return parts[i].Why
		}
	}
	return "see the job's log"
}

// dropParts removes what is in the whole now, with what attempts that were lost have left of it.
func (d *Data) dropParts(ctx context.Context, job, whole string) error {
	names, err := d.shelf.list(ctx, job)
	for i := 0; err == nil && i < len(names); i++ {
		if _, name, _ := strings.Cut(names[i], "."); !strings.HasPrefix(names[i], whole) && (strings.HasPrefix(name, "part-") || strings.HasPrefix(names[i], "part-")) {
			err = d.shelf.drop(ctx, job, names[i])
		}
	}
	return err
}
