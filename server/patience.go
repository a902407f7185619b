package server

import (
	"net"
	"sync/atomic"
	"time"
)

// patient closes a connection on which the client takes nothing of its answers any more: net/http and grpc-go would wait
// for it forever, each with a goroutine and the answer in memory. Safe for concurrent use, as a net.Conn is.
type patient struct {
	net.Conn
	limit time.Duration // for each piece of what is written
	made  time.Time     // by the monotonic clock: the wall clock may go back, and the deadline that is set does not go with it
	until atomic.Int64  // the write deadline that is set, in nanoseconds since then; 0: none
}

// piece is how much a client must take within the limit.
const piece = 1 << 20

func withPatience(c net.Conn, limit time.Duration) net.Conn {
	if limit <= 0 {
		return c
	}
	return &patient{Conn: c, limit: limit, made: time.Now()}
}

// Write implements net.Conn. Setting a deadline costs as much as a small answer's write, so it is moved only when a quarter
// of it has passed.
func (p *patient) Write(b []byte) (n int, err error) {
	for {
		now := time.Since(p.made)
		if p.until.Load() < int64(now+p.limit/4*3) {
			end := now + p.limit
			if err := p.Conn.SetWriteDeadline(p.made.Add(end)); err != nil {
				return n, err
			}
			p.until.Store(int64(end))
		}
		m, err := p.Conn.Write(b[:min(len(b), piece)])
		n += m
		b = b[m:]
		if err != nil || len(b) == 0 {
			return n, err
		}
	}
}

// CloseWrite is what net/http asks for, so that a client that still sends a body reads the answer that refuses it.
func (p *patient) CloseWrite() error { return closeWrite(p.Conn) }

func closeWrite(c net.Conn) error {
	if c, ok := c.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// SetDeadline implements net.Conn: whoever sets one of his own takes ours away with it.
func (p *patient) SetDeadline(t time.Time) error {
	p.until.Store(0)
	return p.Conn.SetDeadline(t)
}

// SetWriteDeadline implements net.Conn; see SetDeadline.
func (p *patient) SetWriteDeadline(t time.Time) error {
	p.until.Store(0)
	return p.Conn.SetWriteDeadline(t)
}
