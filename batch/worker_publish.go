package batch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"serval"
)

// staged is the Target of a piece: a file on the shelf that carries the lease's fence in its name, so that a worker that has lost
// the piece cannot touch what counts. Only its Finish says which file that is.
type staged struct {
	shelf shelf
	name  string // the same for every worker, as a checkpoint is of it
	turn  *Turn
}

func (s *staged) Name() string                         { return s.name }
func (s *staged) Path() string                         { return "" }
func (s *staged) Exists(context.Context) (bool, error) { return false, nil }
func (s *staged) held() string                         { return fmt.Sprintf("%d.%s", s.turn.Fence, s.name) }

// Publish puts the finished file there.
func (s *staged) Publish(ctx context.Context, path, suffix string) error {
	if err := s.turn.Mine(ctx); err != nil {
		return err
	}
	return s.shelf.put(ctx, s.turn.Job.ID, s.held()+suffix, path)
}

func (s *staged) Remove(ctx context.Context, suffix string) error {
	return s.shelf.drop(ctx, s.turn.Job.ID, s.held()+suffix)
}

// writeWhole replaces a file whole and brings it to the disk.
func writeWhole(path string, data []byte) error {
	f, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	return err
}

// close brings the pieces' files to where they were asked for, and says what there is. Done again after a kill, it finds what is
// there already.
func (d *Data) close(ctx context.Context, s *DataSpec, t *Turn) Outcome {
	pieces, err := d.o.Queue.Pieces(ctx, t.Job.ID, Work)
	if err != nil {
		return failed(err)
	}
	r := DataResult{Output: s.Output}
	outputs := make([]dataOutput, len(pieces))
	for i := range pieces {
		p := &outputs[i]
		if err := json.Unmarshal(pieces[i].Output, p); err != nil {
			return failed(err)
		}
		r.Rows, r.Bad = r.Rows+p.Rows, r.Bad+p.Bad
		r.Usage.Add(p.Usage)
	}
	joins := !s.Split && len(outputs) > 1
	if joins {
		whole, err := d.join(ctx, s, t, outputs, &r)
		if err != nil {
			return failed(err)
		}
		outputs = []dataOutput{*whole}
	}
	for i := range outputs {
		if err := d.deliver(ctx, s, t, &outputs[i], &r); err != nil {
			return failed(err)
		}
	}
	if err := os.RemoveAll(filepath.Join(d.folder(t.Job.ID), "work")); err != nil {
		return failed(err)
	}
	if joins {
		if err := d.dropParts(ctx, t.Job.ID, outputs[0].Held); err != nil {
			return failed(err)
		}
	}
	t.Log("done: %d rows, %d bad", r.Rows, r.Bad)
	return Outcome{Output: jsonOf(r)}
}

// deliver publishes one piece's files, or lists them where the server keeps them.
func (d *Data) deliver(ctx context.Context, s *DataSpec, t *Turn, p *dataOutput, r *DataResult) error {
	target, err := d.target(ctx, s, t, p)
	if err != nil {
		return err
	}
	suffixes := []string{""}
	if p.Errors {
		suffixes = []string{ErrorsSuffix, ""} // the output last: who sees it sees all
	} else if target != nil {
		if err := target.Remove(ctx, ErrorsSuffix); err != nil {
			return err
		}
	}
	for _, suffix := range suffixes {
		f := DataFile{Name: p.Name + suffix, Errors: suffix != "", Size: p.Size}
		if f.Errors {
			f.Size = p.ErrorsSize
		}
		if target == nil {
			f.Held = p.Held + suffix
		} else if err := d.hand(ctx, t, target, p.Held, suffix); err != nil {
			return err
		}
		r.Files = append(r.Files, f)
	}
	return nil
}

// target is where a piece's output goes; nil: it stays on the shelf.
func (d *Data) target(ctx context.Context, s *DataSpec, t *Turn, p *dataOutput) (Target, error) {
	if s.Output == "" {
		return nil, nil
	}
	places, location := d.o.Places(t.Job.Tenant), s.Output
	if err := may(places, location); err != nil {
		return nil, err
	}
	if s.Split {
		if !strings.Contains(location, "://") {
			if err := os.MkdirAll(location, 0o755); err != nil {
				return nil, err
			}
		}
		location = below(location, p.Name)
	}
	return places.Target(ctx, location)
}

// published is the name of a note that a file was handed out: it is on the shelf no more.
const published = ".published"

// hand publishes a file of the shelf. After a kill it does so again, which does no harm, or finds that it was done.
func (d *Data) hand(ctx context.Context, t *Turn, target Target, held, suffix string) error {
	job, name := t.Job.ID, held+suffix
	work := filepath.Join(d.folder(job), "work")
	path, err := d.shelf.fetch(ctx, job, name, work)
	if errors.Is(err, fs.ErrNotExist) {
		if d.handed(ctx, target, job, name, suffix) {
			return nil
		}
		return serval.Errorf(serval.InvalidArgument, "%s is not in this server's batch.dir: servers that share a store must share batch.dir, too", name)
	} else if err != nil {
		return err
	}
	if err := t.Mine(ctx); err != nil {
		return err
	}
	if err := publish(ctx, target, path, suffix); err != nil {
		return err
	}
	if d.local && target.Path() != "" {
		return remove(path)
	}
	note := filepath.Join(work, name+published)
	if err := errors.Join(os.MkdirAll(work, 0o700), writeWhole(note, nil)); err != nil {
		return err
	}
	if err := d.shelf.put(ctx, job, name+published, note); err != nil {
		return err
	}
	return errors.Join(d.shelf.drop(ctx, job, name), remove(path))
}

// handed says whether a file was published before.
func (d *Data) handed(ctx context.Context, target Target, job, name, suffix string) bool {
	if d.local && target.Path() != "" {
		_, err := os.Stat(target.Path() + suffix)
		return err == nil
	}
	_, err := d.shelf.size(ctx, job, name+published)
	return err == nil
}

// publish publishes a file, by a copy where the target is on another disk.
func publish(ctx context.Context, target Target, path, suffix string) error {
	err := target.Publish(ctx, path, suffix)
	if !errors.Is(err, syscall.EXDEV) {
		return err
	}
	near := filepath.Join(filepath.Dir(target.Path()), ".serval-"+filepath.Base(path))
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := writeTo(near, in); err != nil {
		return errors.Join(err, remove(near))
	}
	return target.Publish(ctx, near, suffix)
}
