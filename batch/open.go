package batch

import (
	"context"
	"errors"
	"os"

	"serval"
)

// open finds out where an earlier run stopped, or begins anew.
func (r *run) open(ctx context.Context) error {
	now := identityOf(r.o, r.in[0].Name(), r.out.Name())
	r.point = checkpoint{Serval: checkpointForm, Job: now, Rows: r.o.Job.Rows, Kept: r.o.Kept}
	r.asked = r.o.Asked
	r.layout = layout{flat: isFlat(r.out), sig: &r.o.Model.Signature}
	if len(r.o.Job.Want) == 0 {
		r.layout.recipe = r.o.Model.Settings.Recipe
	}
	if pipe, ok := r.o.Target.(*Pipe); ok {
		return r.openPipe(pipe)
	}
	var err error
	if r.files, err = placesOf(r.o); err != nil {
		return err
	}
	if r.unlock, err = lock(r.files.lock); err != nil {
		return err
	}
	if err := r.resume(ctx, &now); err != nil {
		r.unlock()
		return err
	}
	return nil
}

func isFlat(f Format) bool {
	flat, ok := f.(Flat)
	return ok && flat.Flat()
}

// resume takes an earlier run's checkpoint over, if there is one that fits.
func (r *run) resume(ctx context.Context, now *identity) error {
	var old *checkpoint
	if !r.o.Restart && r.resumes {
		var err error
		if old, err = readCheckpoint(r.files.checkpoint); err != nil {
			return err
		}
	}
	if old != nil {
		if why := old.Job.differs(now); why != "" {
			return serval.Errorf(serval.Conflict, "%s holds %d finished rows of another job: %s; use --restart to begin anew", r.files.checkpoint, old.Count.Rows, why).At("restart")
		}
		if old.Writer == nil && !old.Complete { // nothing was written yet
			old = nil
		}
	}
	if old == nil {
		return r.begin(ctx)
	}
	r.point, r.begun = *old, old.Count
	if old.Complete {
		return nil
	}
	var err error
	if r.writer, err = r.out.Create(r.files.part, old.Writer, r.o.Job.OutputOptions); err != nil {
		return r.restartHint(err)
	}
	if r.side.f, err = OpenAppend(r.files.errors, old.Errors); err != nil {
		return errors.Join(r.restartHint(err), r.writer.Abandon())
	}
	return nil
}

func (r *run) restartHint(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return serval.Errorf(serval.Conflict, "%w: the checkpoint %s is there, and what it is of is not; use --restart to begin anew", err, r.files.checkpoint).At("restart")
	}
	return err
}

// begin makes new files.
func (r *run) begin(ctx context.Context) error {
	if !r.o.Restart {
		if there, err := r.o.Target.Exists(ctx); err != nil {
			return err
		} else if there {
			return serval.Errorf(serval.Conflict, "%s exists; use --restart to replace it", r.o.Target.Name()).At("output")
		}
	}
	if err := remove(r.files.checkpoint, r.files.part, r.files.errors); err != nil {
		return err
	}
	if r.resumes { // before there are files that a later run could not explain
		if err := r.point.save0(r.files.checkpoint); err != nil {
			return err
		}
	}
	var err error
	if r.writer, err = r.out.Create(r.files.part, nil, r.o.Job.OutputOptions); err != nil {
		return err
	}
	if r.side.f, err = OpenAppend(r.files.errors, -1); err != nil {
		return errors.Join(err, r.writer.Abandon())
	}
	return nil
}

// save0 saves the checkpoint of a job of which nothing is done.
func (c *checkpoint) save0(path string) error {
	first := *c
	first.Rows = max(1, first.Rows)
	return first.save(path)
}

func (r *run) openPipe(pipe *Pipe) error {
	s, ok := r.out.(Streamer)
	if !ok {
		return serval.Errorf(serval.InvalidArgument, "%s cannot be written to %s, as it is not written from its beginning to its end; use csv or jsonl", r.out.Name(), pipe.Name()).At("output")
	}
	var err error
	if r.writer, err = s.Stream(pipe.To, r.o.Job.OutputOptions); err == nil && pipe.Errors != nil {
		r.side.f = AppendTo(pipe.Errors)
	}
	return err
}
