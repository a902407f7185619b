package child

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"serval"
	"serval/engine"
	"serval/wire/worker"
)

// Order is what a host is to load.
type Order struct {
	Engine string
	Told   map[string][]byte // the engines' options, by name: JSON
	Spec   engine.Spec
	Cores  int
}

// Hosted is a loaded model as the host runs it.
type Hosted struct {
	Loaded    Loaded
	Signature serval.Signature
	Language  *serval.Language // nil: the model takes tensors
	Memory    engine.Memory
	Settings  serval.ModelSettings
	Streams   bool // answers may have many chunks
}

// Loaded is what runs the calls, queue and all; schedule's.
type Loaded interface {
	serval.Handler
	Batching() serval.Batching
	Stats() serval.Stats
	Close() error
}

// Opener loads the model of a host.
type Opener func(context.Context, Order) (*Hosted, error)

// Serve is the host: it answers its server on conn until in ends, and then returns at once, whatever goes on; the process
// must end then.
func Serve(in io.Reader, conn net.Conn, open Opener) error {
	s := grpc.NewServer(grpc.ForceServerCodecV2(codec{}), grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
		grpc.InitialWindowSize(streamWindow), grpc.InitialConnWindowSize(connWindow))
	worker.RegisterWorkerServer(s, &host{open: open, calls: map[*hostCall]struct{}{}})
	ended := make(chan error, 1)
	l := &single{conn: make(chan net.Conn, 1), addr: conn.LocalAddr(), closed: make(chan struct{})}
	l.conn <- conn
	go func() { ended <- s.Serve(l) }() // until the process ends
	gone := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, in) // its end, or an error, is all that it says
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case err := <-ended:
		return err
	}
}

// single is a listener of one connection.
type single struct {
	conn   chan net.Conn
	addr   net.Addr
	once   sync.Once
	closed chan struct{}
}

func (l *single) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *single) Addr() net.Addr { return l.addr }

func (l *single) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// host serves one model to one server.
type host struct {
	worker.UnimplementedWorkerServer
	open Opener

	mu     sync.Mutex
	asked  bool
	hosted *Hosted // nil: not open
	calls  map[*hostCall]struct{}
}

// Open loads the model.
func (h *host) Open(ctx context.Context, r *worker.OpenRequest) (*worker.OpenAnswer, error) {
	h.mu.Lock()
	twice := h.asked
	h.asked = true
	h.mu.Unlock()
	if twice {
		return nil, status.Error(codes.FailedPrecondition, "a host opens one model")
	}
	hosted, answer, err := h.load(ctx, r)
	if err != nil {
		return &worker.OpenAnswer{Failure: encodeFailure(err)}, nil
	}
	h.mu.Lock()
	h.hosted = hosted
	h.mu.Unlock()
	return answer, nil
}

func (h *host) load(ctx context.Context, r *worker.OpenRequest) (_ *Hosted, _ *worker.OpenAnswer, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("loading it panicked: %v", p)
		}
	}()
	order := Order{Engine: r.Engine, Told: r.Options, Cores: int(r.Cores), Spec: engine.Spec{Name: r.Name, Version: r.Version, Dir: r.Dir, Root: r.Root}}
	if err := json.Unmarshal(r.Settings, &order.Spec.Settings); err != nil {
		return nil, nil, err
	}
	if order.Spec.Device, err = engine.ParseDevice(r.Device); err != nil {
		return nil, nil, err
	}
	hosted, err := h.open(ctx, order)
	if err != nil {
		return nil, nil, err
	}
	b := hosted.Loaded.Batching()
	a := &worker.OpenAnswer{Batching: b.On, Reason: b.Reason, Memory: hosted.Memory.Bytes, Estimated: hosted.Memory.Estimated, Streams: hosted.Streams}
	var errs [3]error
	a.Signature, errs[0] = json.Marshal(hosted.Signature)
	a.Settings, errs[1] = json.Marshal(hosted.Settings)
	if hosted.Language != nil {
		a.Language, errs[2] = json.Marshal(hosted.Language)
	}
	return hosted, a, errors.Join(errs[:]...)
}

// model is the loaded one; an error before there is one.
func (h *host) model() (*Hosted, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hosted == nil {
		return nil, status.Error(codes.FailedPrecondition, "no model is open")
	}
	return h.hosted, nil
}

// Warm runs a call on every instance.
func (h *host) Warm(ctx context.Context, r *worker.Request) (*worker.WarmAnswer, error) {
	m, err := h.model()
	if err != nil {
		return nil, err
	}
	w, ok := m.Loaded.(interface {
		Warm(ctx context.Context, inputs []serval.Tensor) error
	})
	if !ok {
		return &worker.WarmAnswer{Failure: encodeFailure(errors.New("the model answers in steps, which cannot be warmed; remove the section"))}, nil
	}
	t, err := decodeTensors(r.GetTensors())
	if err == nil {
		err = w.Warm(ctx, t.List)
	}
	return &worker.WarmAnswer{Failure: encodeFailure(err)}, nil
}

// Health answers at once.
func (h *host) Health(context.Context, *worker.HealthRequest) (*worker.HealthAnswer, error) {
	now, a := time.Now(), &worker.HealthAnswer{}
	h.mu.Lock()
	for c := range h.calls {
		switch {
		case c.ctx.Err() == nil:
		case c.left.IsZero():
			c.left = now
		default:
			a.Abandoned = max(a.Abandoned, int64(now.Sub(c.left)))
		}
	}
	m := h.hosted
	h.mu.Unlock()
	var err error
	if m != nil {
		a.Stats, err = json.Marshal(m.Loaded.Stats())
	}
	return a, err
}

// Stats is what the model did in this process.
func (h *host) Stats(context.Context, *worker.StatsRequest) (*worker.StatsAnswer, error) {
	m, err := h.model()
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(m.Loaded.Stats())
	return &worker.StatsAnswer{Stats: raw}, err
}

// Close frees the model, once.
func (h *host) Close(context.Context, *worker.CloseRequest) (*worker.CloseAnswer, error) {
	h.mu.Lock()
	m := h.hosted
	h.hosted = nil
	h.mu.Unlock()
	if m == nil {
		return &worker.CloseAnswer{}, nil
	}
	return &worker.CloseAnswer{Failure: encodeFailure(m.Loaded.Close())}, nil
}

// hostCall is a call in the host, and the sink of its answer.
type hostCall struct {
	ctx    context.Context
	stream grpc.BidiStreamingServer[worker.Ask, worker.Answer]
	left   time.Time // when it was first seen that nobody waits for it; host.mu guards it
	held   []byte    // the chunk that may be the last, until what follows is known

	window bool
	news   chan struct{} // has room for one; told when what follows changed
	mu     sync.Mutex    // guards what follows
	credit int64
	enough bool
}

// Handle runs a call.
func (h *host) Handle(stream grpc.BidiStreamingServer[worker.Ask, worker.Answer]) error {
	ask, err := stream.Recv()
	if err != nil {
		return err
	}
	m, err := h.model()
	if err != nil {
		return err
	}
	r := ask.GetRequest()
	if r == nil {
		return status.Error(codes.InvalidArgument, "a call begins with its request")
	}
	req, err := decodeRequest(r, time.Now())
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	c := &hostCall{ctx: stream.Context(), stream: stream}
	if r.Window > 0 {
		c.window, c.credit, c.news = true, r.Window, make(chan struct{}, 1)
		go c.listen() // gRPC ends it when Handle returns
	}
	h.mu.Lock()
	h.calls[c] = struct{}{}
	h.mu.Unlock()
	err = handle(c.ctx, m.Loaded, req, c)
	h.mu.Lock()
	delete(h.calls, c)
	h.mu.Unlock()
	if errors.Is(err, serval.ErrEnough) {
		err = nil
	}
	last, err := proto.Marshal(&worker.Answer{End: &worker.End{Failure: encodeFailure(err), Timing: encodeTiming(&req.Timing)}})
	if err != nil {
		return err
	}
	return stream.SendMsg(frame(append(c.held, last...))) // two messages in a row are one that has the fields of both
}

// handle turns a panic into an error: it is one call's.
func handle(ctx context.Context, h serval.Handler, req *serval.Request, sink serval.Sink) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the call panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return h.Handle(ctx, req, sink)
}

// listen takes in how far the reader is.
func (c *hostCall) listen() {
	for {
		ask, err := c.stream.Recv()
		if err != nil {
			return
		}
		control := ask.GetControl()
		c.mu.Lock()
		c.credit += max(0, control.GetCredit())
		c.enough = c.enough || control.GetEnough()
		c.mu.Unlock()
		select {
		case c.news <- struct{}{}:
		default:
		}
	}
}

// Send waits until the reader has room. The last chunk goes along with the end of the call.
func (c *hostCall) Send(chunk *serval.Chunk) error {
	if len(c.held) > 0 {
		if err := c.stream.SendMsg(frame(c.held)); err != nil {
			return err
		}
		c.held = nil
	}
	if c.window {
		if err := c.await(); err != nil {
			return err
		}
	}
	m, err := encodeChunk(chunk)
	if err != nil {
		return err
	}
	answer := &worker.Answer{Chunk: m}
	if n := proto.Size(answer); n > maxMessage-64<<10 {
		return serval.Errorf(serval.TooLarge, "the answer has %s; from a model in a process of its own at most 2 GiB pass; say isolation: none", size(int64(n)))
	}
	b, err := proto.Marshal(answer)
	if err != nil {
		return err
	}
	if chunk.Finish != serval.More {
		c.held = b
		return nil
	}
	return c.stream.SendMsg(frame(b))
}

// await takes one chunk off the credit.
func (c *hostCall) await() error {
	for {
		c.mu.Lock()
		enough, ok := c.enough, c.credit > 0
		if ok {
			c.credit--
		}
		c.mu.Unlock()
		switch {
		case enough:
			return serval.ErrEnough
		case ok:
			return nil
		}
		select {
		case <-c.news:
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
	}
}
