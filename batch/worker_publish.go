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
	"syscall"

	"serval"
)

// staged is the Target of a piece: a file in the job's folder that carries the lease's fence in its name, so that a worker that
// has lost the piece cannot touch what counts. Only its Finish says which file that is.
type staged struct {
	dir  string
	name string // the same for every worker, as a checkpoint is of it
	turn *Turn
}

func (s *staged) Name() string                         { return s.name }
func (s *staged) Path() string                         { return "" }
func (s *staged) Exists(context.Context) (bool, error) { return false, nil }
func (s *staged) held() string                         { return fmt.Sprintf("%d.%s", s.turn.Fence, s.name) }

// Publish renames the finished file.
func (s *staged) Publish(ctx context.Context, path, suffix string) error {
	if err := s.turn.Mine(ctx); err != nil {
		return err
	}
	if err := os.Rename(path, filepath.Join(s.dir, s.held()+suffix)); err != nil {
		return err
	}
	return syncFolder(s.dir)
}

func (s *staged) Remove(_ context.Context, suffix string) error {
	return remove(filepath.Join(s.dir, s.held()+suffix))
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
	for i := range pieces {
		var p dataOutput
		if err := json.Unmarshal(pieces[i].Output, &p); err != nil {
			return failed(err)
		}
		r.Rows, r.Bad = r.Rows+p.Rows, r.Bad+p.Bad
		r.Usage.Add(p.Usage)
		if err := d.deliver(ctx, s, t, &p, &r); err != nil {
			return failed(err)
		}
	}
	if err := os.RemoveAll(filepath.Join(d.folder(t.Job.ID), "work")); err != nil {
		return failed(err)
	}
	t.Log("done: %d rows, %d bad", r.Rows, r.Bad)
	return Outcome{Output: jsonOf(r)}
}

// deliver publishes one piece's files, or lists them where the server keeps them.
func (d *Data) deliver(ctx context.Context, s *DataSpec, t *Turn, p *dataOutput, r *DataResult) error {
	dir := d.folder(t.Job.ID)
	var target Target
	if s.Output != "" {
		location := s.Output
		if s.Split {
			if err := os.MkdirAll(s.Output, 0o755); err != nil {
				return err
			}
			location = filepath.Join(s.Output, p.Name)
		}
		var err error
		if target, err = d.o.Locator.Target(ctx, location); err != nil {
			return err
		}
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
		held := filepath.Join(dir, p.Held+suffix)
		info, err := os.Stat(held)
		f := DataFile{Name: p.Name + suffix, Errors: suffix != ""}
		switch {
		case err == nil && target == nil:
			f.Held = p.Held + suffix
		case err == nil:
			err = hand(ctx, target, held, suffix)
		case errors.Is(err, fs.ErrNotExist) && target != nil: // published before a kill
			info, err = os.Stat(target.Path() + suffix)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return serval.Errorf(serval.InvalidArgument, "%s is not in this server's %s: servers that share a store must share batch.dir, too", p.Held+suffix, dir)
		} else if err != nil {
			return err
		}
		f.Size = info.Size()
		r.Files = append(r.Files, f)
	}
	return nil
}

// hand publishes a file, by a copy where the target is on another disk.
func hand(ctx context.Context, target Target, path, suffix string) error {
	err := target.Publish(ctx, path, suffix)
	if !errors.Is(err, syscall.EXDEV) {
		return err
	}
	near := filepath.Join(filepath.Dir(target.Path()), ".serval-"+filepath.Base(path))
	if err := copyWhole(path, near); err != nil {
		return errors.Join(err, remove(near))
	}
	if err := target.Publish(ctx, near, suffix); err != nil {
		return err
	}
	return remove(path)
}

func copyWhole(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}
