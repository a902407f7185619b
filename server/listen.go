package server

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"serval/config"
)

// port is a TCP listener that can be closed without resetting the connections that clients have made and nobody accepted yet,
// which is what closing a listener does to them. Its connections have patience.
type port struct {
	net.Listener
	tcp      *net.TCPListener // below Listener
	patience time.Duration
	last     atomic.Bool
	ended    chan struct{} // closed when Serve returned
}

func openPort(addr string, limits config.Limits) (*port, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &port{
		Listener: limitConnections(l, limits.MaxConnections), tcp: l.(*net.TCPListener), patience: limits.BodyTimeout, ended: make(chan struct{}),
	}, nil
}

// lastCall is how long a closing port still accepts. No client need connect in that time: the answers on the connections
// that there are do not yet say "close".
const lastCall = 20 * time.Millisecond

// finish accepts what waits and closes the port. It returns when Serve has, or after a moment where max_connections keeps
// Accept from accepting.
func (p *port) finish() {
	p.last.Store(true)
	_ = p.tcp.SetDeadline(time.Now().Add(lastCall)) // it fails where the port is closed already
	select {
	case <-p.ended:
	case <-time.After(10 * lastCall):
	}
}

// Accept implements net.Listener.
func (p *port) Accept() (net.Conn, error) {
	c, err := p.Listener.Accept()
	if err != nil && p.last.Load() {
		_ = p.Listener.Close()
		return nil, net.ErrClosed
	}
	if err != nil {
		return nil, err
	}
	return withPatience(c, p.patience), nil
}

// limitConnections lets at most n connections of l be open at a time; the rest wait in the kernel's backlog. 0: no limit.
func limitConnections(l net.Listener, n int) net.Listener {
	if n <= 0 {
		return l
	}
	return &limited{Listener: l, slots: make(chan struct{}, n), closed: make(chan struct{})}
}

type limited struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: c, slots: l.slots}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	slots chan struct{}
	once  sync.Once
}

// CloseWrite: see patient.CloseWrite.
func (c *limitedConn) CloseWrite() error { return closeWrite(c.Conn) }

func (c *limitedConn) Close() error {
	c.once.Do(func() { <-c.slots })
	return c.Conn.Close()
}
