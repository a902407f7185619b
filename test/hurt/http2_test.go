//go:build hurt

package hurt

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"
)

// Frames of HTTP/2 (RFC 9113 §6).
const (
	frameSettings = 4
	framePing     = 6
	frameGoAway   = 7
)

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// http2 is a bare HTTP/2 connection, for what no client library does.
type http2 struct {
	net.Conn
	t testing.TB
}

// openHTTP2 connects and has the settings exchanged.
func openHTTP2(t testing.TB, addr string) http2 {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	h := http2{c, t}
	if _, err := c.Write([]byte(preface)); err != nil {
		t.Fatal(err)
	}
	h.send(frameSettings, 0, 0, nil)
	for {
		kind, _, err := h.frame()
		if err != nil {
			t.Fatal(err)
		}
		if kind == frameSettings {
			break
		}
	}
	h.send(frameSettings, 1, 0, nil) // acknowledged
	return h
}

// send writes a frame; an error means that the server has closed, which reading finds out.
func (h http2) send(kind, flags byte, stream uint32, payload []byte) {
	n := len(payload)
	b := append([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}, binary.BigEndian.AppendUint32(nil, stream)...)
	_, _ = h.Write(append(b, payload...))
}

// frame reads the next one.
func (h http2) frame() (kind byte, payload []byte, err error) {
	if err := h.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return 0, nil, err
	}
	var head [9]byte
	if _, err := io.ReadFull(h, head[:]); err != nil {
		return 0, nil, err
	}
	payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	_, err = io.ReadFull(h, payload)
	return head[3], payload, err
}
