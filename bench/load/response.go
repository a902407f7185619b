package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// errMalformed is the cause where a response is not HTTP/1.
var errMalformed = errors.New("malformed HTTP response")

const (
	errorSample = 512 // bytes of a body that are kept where the status is not 200
	maxHeaders  = 256
)

// response is the little that the generator wants to know of an HTTP/1 response. It is reused from call to call.
type response struct {
	started bool // a byte has arrived
	status  int
	close   bool   // the connection ends with this response
	size    int    // bytes of the whole response
	start   []byte // of the body
	keep    int    // length of start that is wanted
	length  int64  // Content-Length; -1: none was given
	chunked bool
}

// read takes one response off r and keeps the first keep bytes of its body, or a sample of an error's.
func (p *response) read(r *bufio.Reader, keep int) error {
	*p = response{start: p.start[:0], keep: keep, length: -1}
	if _, err := r.Peek(1); err != nil {
		return err
	}
	p.started = true
	for p.status < 200 { // 100 Continue and its like come before the answer
		if err := p.readHead(r); err != nil {
			return unexpected(err)
		}
	}
	if p.status != 200 {
		p.keep = max(keep, errorSample)
	}
	return unexpected(p.readBody(r))
}

func (p *response) readHead(r *bufio.Reader) error {
	line, err := p.line(r)
	if err != nil {
		return err
	}
	// HTTP/1.1 200 OK
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) || line[8] != ' ' || (len(line) > 12 && line[12] != ' ') {
		return fmt.Errorf("%w: status line %.60q", errMalformed, line)
	}
	status, ok := parseDecimal(line[9:12])
	if !ok || status < 100 {
		return fmt.Errorf("%w: status line %.60q", errMalformed, line)
	}
	p.status = int(status)
	p.close = line[7] == '0'
	for range maxHeaders {
		line, err := p.line(r)
		if err != nil {
			return err
		}
		if len(line) == 0 {
			return nil
		}
		if err := p.header(line); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: more than %d headers", errMalformed, maxHeaders)
}

func (p *response) header(line []byte) error {
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		return fmt.Errorf("%w: header %.60q", errMalformed, line)
	}
	name, value := line[:colon], bytes.TrimSpace(line[colon+1:])
	switch len(name) { // only three names matter; their lengths differ
	case len("Connection"):
		if bytes.EqualFold(name, []byte("Connection")) {
			p.close = p.close && !bytes.EqualFold(value, []byte("keep-alive")) || bytes.EqualFold(value, []byte("close"))
		}
	case len("Content-Length"):
		if bytes.EqualFold(name, []byte("Content-Length")) {
			n, ok := parseDecimal(value)
			if !ok {
				return fmt.Errorf("%w: Content-Length %.60q", errMalformed, value)
			}
			p.length = n
		}
	case len("Transfer-Encoding"):
		if bytes.EqualFold(name, []byte("Transfer-Encoding")) {
			p.chunked = bytes.EqualFold(value, []byte("chunked"))
		}
	}
	return nil
}

func (p *response) readBody(r *bufio.Reader) error {
	switch {
	case p.status == 204 || p.status == 304:
		return nil
	case p.chunked:
		return p.readChunks(r)
	case p.length >= 0:
		return p.take(r, p.length)
	}
	p.close = true // the end of the connection is the end of the body
	for {
		if _, err := r.Peek(1); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := p.take(r, int64(r.Buffered())); err != nil {
			return err
		}
	}
}

func (p *response) readChunks(r *bufio.Reader) error {
	for {
		line, err := p.line(r)
		if err != nil {
			return err
		}
		size, ok := parseHex(line)
		if !ok {
			return fmt.Errorf("%w: chunk size %.60q", errMalformed, line)
		}
		if size == 0 {
			break
		}
		if err := p.take(r, size); err != nil {
			return err
		}
		if line, err = p.line(r); err != nil {
			return err
		}
		if len(line) != 0 {
			return fmt.Errorf("%w: no line end after a chunk", errMalformed)
		}
	}
	for range maxHeaders { // trailers
		line, err := p.line(r)
		if err != nil || len(line) == 0 {
			return err
		}
	}
	return fmt.Errorf("%w: more than %d trailers", errMalformed, maxHeaders)
}

// take reads n bytes of the body, keeping what is wanted of its start.
func (p *response) take(r *bufio.Reader, n int64) error {
	for n > 0 {
		if r.Buffered() == 0 {
			if _, err := r.Peek(1); err != nil {
				return err
			}
		}
		piece, err := r.Peek(int(min(n, int64(r.Buffered()))))
		if err != nil {
			return err
		}
		if want := p.keep - len(p.start); want > 0 {
			p.start = append(p.start, piece[:min(want, len(piece))]...)
		}
		if _, err := r.Discard(len(piece)); err != nil {
			return err
		}
		n -= int64(len(piece))
		p.size += len(piece)
	}
	return nil
}

// line reads a line without its end; it is valid until the next read.
func (p *response) line(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, fmt.Errorf("%w: a line of more than %d bytes", errMalformed, r.Size())
	}
	if err != nil {
		return nil, err
	}
	p.size += len(line)
	return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
}

// unexpected turns the end of a connection in the middle of a response into its own error.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func parseDecimal(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// parseHex reads a chunk's size, which extensions may follow.
func parseHex(b []byte) (int64, bool) {
	var n int64
	digits := 0
	for _, c := range b {
		var d byte
		switch {
		case c >= '0' && c <= '9':
			d = c - '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			d = c | 0x20 - 'a' + 10
		case c == ';' || c == ' ' || c == '\t':
			return n, digits > 0
		default:
			return 0, false
		}
		if digits++; digits > 15 {
			return 0, false
		}
		n = n<<4 | int64(d)
	}
	return n, digits > 0
}
