//go:build unix

package chat

import (
	"net"
	"syscall"
)

// hasEnded says whether the peer has closed a connection on which nothing is expected, as servers do with those that are
// idle for long. A request would only find out when it is lost. With TLS it is not known.
func hasEnded(conn net.Conn) bool {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return true
	}
	ended := false
	err = raw.Read(func(fd uintptr) bool {
		var one [1]byte
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		ended = err != syscall.EAGAIN // its end, an error, or bytes that answer nothing
		return true
	})
	return err != nil || ended
}
