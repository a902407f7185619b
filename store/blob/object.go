package blob

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"serval"
)

const (
	mostFailures = 6 // in a row, without a byte between
	firstPause   = 200 * time.Millisecond
	longestPause = 10 * time.Second
	stall        = time.Minute // without a byte is a failure

	smallRead  = 256 << 10 // reads below it are made as large as this
	aheadRead  = 4 << 20   // of what follows an earlier read
	mostKept   = 64 << 20  // bytes that are kept of what was read ahead
	streamRead = 1 << 20
	streamKept = 8 // pieces of streamRead that a stream reads ahead
)

// remote is a batch.Object that lies elsewhere. fetch opens so many bytes from an offset on, or all that follow (-1), of exactly
// the version that was located; its error is an errChanged if there is another now.
type remote struct {
	name    string
	size    int64
	version string
	ranges  bool
	fetch   func(ctx context.Context, off, n int64) (io.ReadCloser, error)

	mu   sync.Mutex
	kept []piece // least recently used first
	sum  int
}

// piece is what was read, from off on.
type piece struct {
	off  int64
	data []byte
}

func changed(name string) error {
	return serval.Errorf(serval.Conflict, "%s was changed while it was read; begin again with --restart", name).At("input")
}

// Name is the location without secrets.
func (r *remote) Name() string { return r.name }

// Size in bytes; -1: not known.
func (r *remote) Size() int64 { return r.size }

// Version is the ETag, or what the store has in its place.
func (r *remote) Version() string { return r.version }

// At reads anywhere, where the server can; nil: it cannot.
func (r *remote) At() io.ReaderAt {
	if !r.ranges || r.size < 0 {
		return nil
	}
	return r
}

// again tries until it works, fails for good, or fails too often. try says whether it got any further.
func (r *remote) again(ctx context.Context, try func() (bool, error)) error {
	for failures := 0; ; {
		further, err := try()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if further {
			failures = 0
		}
		if e := (*serval.Error)(nil); errors.As(err, &e) {
			return err
		}
		if failures++; failures >= mostFailures {
			return serval.Errorf(serval.Unavailable, "%s: %w; given up after %d attempts", r.name, err, failures).At("input")
		}
		d := min(firstPause<<(failures-1), longestPause)
		select {
		case <-time.After(d/2 + rand.N(d/2+1)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ReadAt reads exactly, through what was read ahead.
func (r *remote) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > r.size {
		return 0, io.EOF
	}
	end := io.EOF
	if int64(len(p)) <= r.size-off {
		end = nil
	} else {
		p = p[:r.size-off]
	}
	done := 0
	for done < len(p) {
		if n := r.known(p[done:], off+int64(done)); n > 0 {
			done += n
			continue
		}
		if err := r.read(p[done:], off+int64(done)); err != nil {
			return done, err
		}
		done = len(p)
	}
	return done, end
}

// known copies what is kept from off on.
func (r *remote) known(p []byte, off int64) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, k := range r.kept {
		if off >= k.off && off < k.off+int64(len(k.data)) {
			copy(r.kept[i:], r.kept[i+1:])
			r.kept[len(r.kept)-1] = k
			return copy(p, k.data[off-k.off:])
		}
	}
	return 0
}

// read reads p from the store; a short read, or one that follows another, gets more than it needs, which is kept.
func (r *remote) read(p []byte, off int64) error {
	n := int64(len(p))
	if n < smallRead {
		n = smallRead
	} else if r.follows(off) && n < aheadRead {
		n = aheadRead
	}
	n = min(n, r.size-off)
	buf := p
	if n > int64(len(p)) {
		buf = make([]byte, n)
	}
	if err := r.fill(context.Background(), buf, off); err != nil {
		return err
	}
	if n > int64(len(p)) {
		copy(p, buf)
		r.keep(piece{off, buf})
	} else {
		r.keep(piece{off + n, nil}) // remembers where the next one would begin
	}
	return nil
}

// follows says whether an earlier read ended at off.
func (r *remote) follows(off int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.kept {
		if k.off+int64(len(k.data)) == off {
			return true
		}
	}
	return false
}

func (r *remote) keep(k piece) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = append(r.kept, k)
	r.sum += len(k.data)
	for r.sum > mostKept || len(r.kept) > 1024 {
		r.sum -= len(r.kept[0].data)
		r.kept = append(r.kept[:0], r.kept[1:]...)
	}
}

// fill reads buf from off on, on a new connection where one drops.
func (r *remote) fill(ctx context.Context, buf []byte, off int64) error {
	done := 0
	return r.again(ctx, func() (bool, error) {
		before := done
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		body, err := r.fetch(ctx, off+int64(done), int64(len(buf)-done))
		if err != nil {
			return false, err
		}
		defer body.Close()
		watch := time.AfterFunc(stall, cancel)
		defer watch.Stop()
		for done < len(buf) {
			n, err := body.Read(buf[done:])
			done += n
			watch.Reset(stall)
			if err != nil && done < len(buf) {
				return done > before, dropped(err)
			}
		}
		return true, nil
	})
}

// dropped is a connection that ended before it should.
func dropped(err error) error {
	if err == io.EOF || errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled) {
		return errors.New("the connection dropped")
	}
	return err
}

// Open reads from an offset on, ahead of the caller by some pieces at most.
func (r *remote) Open(ctx context.Context, offset int64) (io.ReadCloser, error) {
	if offset > 0 && !r.ranges {
		return nil, serval.Errorf(serval.InvalidArgument, "%s: its server cannot go on at a place in the middle; download it first", r.name).At("input")
	}
	if r.size >= 0 && offset > r.size {
		return nil, serval.Errorf(serval.InvalidArgument, "%s has %d bytes; there is nothing at %d", r.name, r.size, offset).At("input")
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &stream{cancel: cancel, pieces: make(chan []byte, streamKept), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		defer close(s.pieces)
		s.err = r.pump(ctx, offset, s.pieces)
	}()
	return s, nil
}

// pump sends the object's pieces from off on.
func (r *remote) pump(ctx context.Context, off int64, to chan<- []byte) error {
	at := off
	return r.again(ctx, func() (bool, error) {
		before := at
		if r.size >= 0 && at >= r.size {
			return true, nil
		}
		if at > off && !r.ranges {
			return false, serval.Errorf(serval.Unavailable, "%s: the connection dropped after %d bytes, and its server cannot go on from there; download it first", r.name, at).At("input")
		}
		once, cancel := context.WithCancel(ctx)
		defer cancel()
		body, err := r.fetch(once, at, -1)
		if err != nil {
			return false, err
		}
		defer body.Close()
		watch := time.AfterFunc(stall, cancel)
		defer watch.Stop()
		for {
			buf := make([]byte, streamRead)
			watch.Reset(stall)
			n, err := io.ReadFull(body, buf)
			watch.Stop()
			if n > 0 {
				select {
				case to <- buf[:n]:
				case <-ctx.Done():
					return true, ctx.Err()
				}
				at += int64(n)
			}
			switch {
			case err == nil:
			case (err == io.EOF || err == io.ErrUnexpectedEOF) && (r.size < 0 || at >= r.size):
				return true, nil
			default:
				if err == io.ErrUnexpectedEOF {
					err = io.EOF
				}
				return at > before, dropped(err)
			}
		}
	})
}

// stream is an object that is read in order. One goroutine uses it; the one that reads ahead ends with Close.
type stream struct {
	cancel context.CancelFunc
	pieces chan []byte
	done   chan struct{}
	err    error // of the pump, once done
	rest   []byte
}

func (s *stream) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		piece, ok := <-s.pieces
		if !ok {
			if s.err != nil {
				return 0, s.err
			}
			return 0, io.EOF
		}
		s.rest = piece
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *stream) Close() error {
	s.cancel()
	for range s.pieces { // so that the pump ends
	}
	<-s.done
	return nil
}
