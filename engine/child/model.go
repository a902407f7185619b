package child

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"serval"
	"serval/engine"
	"serval/wire/worker"
)

// Model is a model in a process of its own, whichever that is at the moment. It is a serval.Handler and safe for concurrent
// use. Engine.Open makes it.
type Model struct {
	name     string // of the engine
	what     string // "model 'm' version 1", for messages
	opt      Options
	log      *slog.Logger
	order    *worker.OpenRequest // as every process is told
	sig      serval.Signature
	settings serval.ModelSettings
	batching serval.Batching
	memory   engine.Memory

	ctx  context.Context // ended by Close
	stop context.CancelFunc
	loop sync.WaitGroup // run

	mu     sync.Mutex    // guards what follows
	now    *process      // that takes calls; nil: none does
	change chan struct{} // closed, and replaced, when now, failed or closed change
	failed error         // why there will be no further process
	closed bool
	told   func(error)       // is told of failed
	warm   []*worker.Request // made when the model was opened
	before serval.Stats      // of processes that ended
	ends   uint64            // of processes
	lost   serval.StatDuration
}

// textModel is a Model of text.
type textModel struct {
	*Model
	language serval.Language
}

// Language implements engine.Language.
func (m *textModel) Language() serval.Language { return m.language }

// Signature is what the model takes and gives.
func (m *Model) Signature() serval.Signature { return m.sig }

// Memory is what the engine told, or else what the process took once it was loaded.
func (m *Model) Memory() engine.Memory { return m.memory }

// Settings are those that the model was opened with, with every default filled in.
func (m *Model) Settings() serval.ModelSettings { return m.settings }

// Batching says whether calls share batches, and why.
func (m *Model) Batching() serval.Batching { return m.batching }

// errSequence is the end of a sequence whose state died.
const errSequence = "%s: its process died (%s), and the state of the request's sequence with it; begin the sequence anew"

// Handle runs a call in the process. One that the end of the process cut off, and of which nothing was sent yet, is run once
// more in the next one.
func (m *Model) Handle(ctx context.Context, req *serval.Request, sink serval.Sink) error {
	began := time.Now()
	for again := false; ; again = true {
		p, err := m.process(ctx, req.Deadline)
		if err != nil {
			if again && !errors.Is(err, serval.ErrRetired) {
				m.lose(began)
			}
			return err
		}
		err = m.call(ctx, p, req, sink)
		var d *death
		if !errors.As(err, &d) {
			return err
		}
		switch {
		case d.chunks > 0:
			err = serval.Errorf(serval.Unavailable, "%s: its process died (%s) in the middle of the answer, which is cut after %d pieces; send the request again", m.what, p.how, d.chunks)
		case p.heavy.Load():
			err = serval.Errorf(serval.Unavailable, "%s: its process was %s, while it worked on this request", m.what, p.how)
		case req.Sequence.ID != "" && !req.Sequence.Start:
			err = serval.Errorf(serval.Unavailable, errSequence, m.what, p.how)
		case again:
			err = serval.Errorf(serval.Unavailable, "%s: its process died twice while it worked on this request (%s)", m.what, p.how)
		default:
			continue
		}
		m.lose(began)
		return err.(*serval.Error).After(time.Second).Named("process_died")
	}
}

// lose counts a call that the process did not live to count.
func (m *Model) lose(began time.Time) {
	m.mu.Lock()
	m.lost.Count++
	m.lost.Total += time.Since(began)
	m.mu.Unlock()
}

// process is the one that takes calls; where there is none, the next is waited for.
func (m *Model) process(ctx context.Context, deadline time.Time) (*process, error) {
	var passed <-chan time.Time // never, without a deadline
	began := time.Now()
	for {
		m.mu.Lock()
		p, failed, closed, change := m.now, m.failed, m.closed, m.change
		m.mu.Unlock()
		switch {
		case closed:
			return nil, serval.ErrRetired
		case failed != nil:
			return nil, failed
		case p != nil && !p.ended(): // else run is about to see it
			return p, nil
		}
		if passed == nil && !deadline.IsZero() {
			t := time.NewTimer(time.Until(deadline))
			defer t.Stop()
			passed = t.C
		}
		select {
		case <-change:
		case <-ctx.Done():
			return nil, serval.AsError(ctx.Err())
		case <-passed:
			return nil, serval.Errorf(serval.DeadlineExceeded, "%s: the deadline passed after %v while its process, which had died, was started again", m.what, time.Since(began).Round(time.Millisecond)).
				Because(context.DeadlineExceeded).After(time.Second)
		}
	}
}

// set changes what process says. m.mu is held.
func (m *Model) set(p *process) {
	m.now = p
	close(m.change)
	m.change = make(chan struct{})
}

// leave takes a process that ended out of service, if it still is in it. Calls that it cut off see to that themselves, so that
// they do not find it again.
func (m *Model) leave(p *process) {
	m.mu.Lock()
	if m.now == p {
		m.set(nil)
	}
	m.mu.Unlock()
}

// run sees to it that there is a process until Close.
func (m *Model) run(p *process) {
	defer m.loop.Done()
	l := lives{pace: m.opt.Pace.filled()}
	for {
		select {
		case <-p.done:
		case <-m.ctx.Done():
			return // Close ends it
		}
		m.leave(p)
		m.bury(p)
		last := fmt.Sprintf("its process died (%s); its last words: %s", p.how, p.words.String())
		if p = m.next(&l, time.Since(p.served), last); p == nil {
			return
		}
		m.mu.Lock()
		m.set(p)
		m.mu.Unlock()
		m.log.Info("the model's process was started again", "pid", p.cmd.Process.Pid)
	}
}

// next starts processes until one serves; nil: there will be none.
func (m *Model) next(l *lives, served time.Duration, last string) *process {
	for {
		pause, again := l.died(served)
		if !again {
			m.fail(last)
			return nil
		}
		m.log.Warn("the model's process died; it is started again", "because", last, "pause", pause.Round(time.Millisecond).String())
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-m.ctx.Done():
			t.Stop()
			return nil
		}
		p, _, err := m.begin(m.ctx)
		if err == nil {
			return p
		}
		if m.ctx.Err() != nil {
			return nil
		}
		served, last = 0, err.Error()
	}
}

// fail gives the model up.
func (m *Model) fail(last string) {
	err := serval.Errorf(serval.Unavailable, "%s is not served any more: its process died %d times, each time soon after it was started; at last %s; mend it, and load the model again",
		m.what, m.opt.Pace.filled().Deaths, last)
	m.log.Error("the model's process keeps dying; it is not started again", "because", last)
	m.mu.Lock()
	m.failed = err
	m.set(nil)
	told := m.told
	m.mu.Unlock()
	if told != nil {
		told(err)
	}
}

// OnFail has f called, once, when the model was given up; at once if it was already. It is for one listener, which must not
// wait for the model's end in f.
func (m *Model) OnFail(f func(error)) {
	m.mu.Lock()
	failed := m.failed
	m.told = f
	m.mu.Unlock()
	if failed != nil {
		f(failed)
	}
}

// maxWarm bounds the bytes of warm-up requests that are kept for the next process; those over it are made once only.
const maxWarm = 16 << 20

// Warm runs a call on every instance, one after another. It is for use before the first Handle, and is done again in each new
// process.
func (m *Model) Warm(ctx context.Context, list []serval.Tensor) error {
	msg := &worker.Request{Input: &worker.Request_Tensors{Tensors: encodeTensors(&serval.Tensors{List: list})}}
	p, err := m.process(ctx, time.Time{})
	if err != nil {
		return err
	}
	if err := m.warmOne(ctx, p, msg); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := proto.Size(msg)
	for _, w := range m.warm {
		if proto.Equal(w, msg) {
			return nil
		}
		kept += proto.Size(w)
	}
	if kept <= maxWarm {
		m.warm = append(m.warm, proto.Clone(msg).(*worker.Request))
	}
	return nil
}

func (m *Model) warmOne(ctx context.Context, p *process, msg *worker.Request) error {
	answer, err := p.client.Warm(ctx, msg)
	switch {
	case err == nil:
		return decodeFailure(answer.Failure)
	case ctx.Err() == nil && lost(err):
		p.gone()
		return fmt.Errorf("its process died of it (%s); its last words: %s", p.how, p.words.String())
	}
	return err
}

// rewarm makes the warm-up requests in a new process.
func (m *Model) rewarm(ctx context.Context, p *process) error {
	m.mu.Lock()
	list := m.warm
	m.mu.Unlock()
	for _, msg := range list {
		if err := m.warmOne(ctx, p, msg); err != nil {
			return fmt.Errorf("warmup: %w", err)
		}
	}
	return nil
}

// Close ends the process and waits until it was reaped. No call is inside.
func (m *Model) Close() error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.stop()
	m.loop.Wait()
	m.mu.Lock()
	p := m.now
	m.set(nil)
	m.mu.Unlock()
	if p == nil {
		return nil
	}
	return p.close()
}
