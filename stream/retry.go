package stream

import (
	"time"

	"serval"
)

// judge decides what becomes of an item whose call failed: a dead letter at once, where the message is wrong as it stands;
// another attempt, up to a number of them where the fault may be the message's, and without end where it is not.
func (r *run) judge(it *item, err error) {
	e := serval.AsError(err)
	o := &r.w.opt
	ours := false // whatever the message was, it would have failed
	switch e.Code {
	case serval.InvalidArgument, serval.TooLarge, serval.Unimplemented:
		r.condemnItem(it, e)
		return
	case serval.NotFound, serval.PermissionDenied, serval.Unauthenticated, serval.ResourceExhausted, serval.Canceled, serval.Conflict:
		ours = true
	case serval.DeadlineExceeded:
		ours = o.Busy != nil && o.Busy() // others' calls went before it the whole time
	case serval.Unavailable:
		// A message that kills its model makes it unavailable too: it counts where others got through in between.
		ours = e.RetryAfter > 0 || r.w.count.passed.Load() == it.passed
	}
	if ours {
		it.attempts--
		if e.Code != serval.Canceled {
			r.ailing.Store(true)
			r.w.trouble("model: " + e.Message)
		}
	} else if it.attempts >= o.Retry.Attempts {
		r.condemnItem(it, e)
		return
	}
	r.again(it, e, max(o.Retry.next(it.wait), min(e.RetryAfter, o.Retry.Max)))
}

// condemnItem makes a dead letter of an item, or what the configuration says where there is no place for one.
func (r *run) condemnItem(it *item, e *serval.Error) {
	switch {
	case r.dead != nil:
		it.failed = e
	case r.w.opt.OnError == "drop":
		it.failed, it.dropped = e, true
		r.w.opt.Log.Warn("stream: message dropped", "stream", r.w.opt.Name, "position", it.msg.Position.String(), "code", e.Code.String(), "error", e.Message)
	default:
		r.w.trouble("message " + it.msg.Position.String() + " cannot be answered (" + e.Message + ") and there is no place for dead letters; configure dead_letter, or on_error: drop")
		it.attempts--
		r.again(it, e, r.w.opt.Retry.Max)
	}
}

func (r *run) again(it *item, e *serval.Error, after time.Duration) {
	it.failed, it.after = e, after
	r.w.count.retried(e.Code, 1)
}
