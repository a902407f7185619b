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

// Response is the little that a load generator wants to know of an HTTP/1 response. Begin reads its head, Next its body,
// piece by piece. It is reused from call to call, by one goroutine.
type Response struct {
	Started bool // a byte has arrived
	Status  int
	Close   bool // the connection ends with this response
	Size    int  // bytes that were read of it

	length  int64 // Content-Length; -1: none was given
	chunked bool
	at      place
	left    int64 // bytes until the end of the body or of the chunk
	pending int   // bytes of the piece that Next returned last
}

// place is where Next stands in a body.
type place int

const (
	inBody    place = iota // left bytes follow, or all until the connection ends
	inChunk                // left bytes follow, then the chunk's end
	chunkEnd               // a line end follows, then a chunk
	chunkHead              // a chunk follows
	bodyEnd
)

// IsMalformed says whether the cause of err is a response that is not HTTP/1.
func IsMalformed(err error) bool { return errors.Is(err, errMalformed) }

// Begin takes the head of a response off r. io.EOF means that the connection ended before a byte of it came.
func (p *Response) Begin(r *bufio.Reader) error {
	*p = Response{length: -1}
	if _, err := r.Peek(1); err != nil {
		return err
	}
	p.Started = true
	for p.Status < 200 { // 100 Continue and its like come before the answer
		if err := p.readHead(r); err != nil {
			return unexpected(err)
		}
	}
	switch {
	case p.Status == 204 || p.Status == 304:
		p.at = bodyEnd
	case p.chunked:
		p.at = chunkHead
	default:
		p.left = p.length
		p.Close = p.Close || p.length < 0 // the end of the connection is the end of the body
	}
	return nil
}

// Next returns the next piece of the body as it arrives; it is valid until the next call. io.EOF is the end of the body; the
// connection's end in the midst of it is io.ErrUnexpectedEOF.
func (p *Response) Next(r *bufio.Reader) ([]byte, error) {
	if p.pending > 0 {
		if _, err := r.Discard(p.pending); err != nil { // they are in the buffer
			return nil, err
		}
		p.pending = 0
	}
	for {
		switch p.at {
		case chunkEnd:
			line, err := p.line(r)
			if err != nil {
				return nil, unexpected(err)
			}
			if len(line) != 0 {
				return nil, fmt.Errorf("%w: no line end after a chunk", errMalformed)
			}
			p.at = chunkHead
		case chunkHead:
			if err := p.chunk(r); err != nil {
				return nil, unexpected(err)
			}
		case bodyEnd:
			return nil, io.EOF
		default:
			if p.left == 0 {
				p.at = bodyEnd
				continue
			}
			return p.piece(r)
		}
	}
}

// chunk reads a chunk's head, or the trailers.
func (p *Response) chunk(r *bufio.Reader) error {
	line, err := p.line(r)
	if err != nil {
		return err
	}
	size, ok := parseHex(line)
	if !ok {
		return fmt.Errorf("%w: chunk size %.60q", errMalformed, line)
	}
	if size > 0 {
		p.at, p.left = inChunk, size
		return nil
	}
	for range maxHeaders {
		line, err := p.line(r)
		if err != nil {
			return err
		}
		if len(line) == 0 {
			p.at = bodyEnd
			return nil
		}
	}
	return fmt.Errorf("%w: more than %d trailers", errMalformed, maxHeaders)
}

// piece is what has arrived of the left bytes, at least one.
func (p *Response) piece(r *bufio.Reader) ([]byte, error) {
	if _, err := r.Peek(1); err != nil {
		if errors.Is(err, io.EOF) && p.left < 0 {
			p.at = bodyEnd
			return nil, io.EOF
		}
		return nil, unexpected(err)
	}
	n := r.Buffered()
	if p.left > 0 {
		n = int(min(p.left, int64(n)))
		p.left -= int64(n)
		if p.left == 0 && p.at == inChunk {
			p.at = chunkEnd
		}
	}
	b, err := r.Peek(n)
	p.pending = len(b)
	p.Size += len(b)
	return b, err
}

// read takes one response off r, appends the first keep bytes of its body to start, or a sample of an error's, and returns it.
func (p *Response) read(r *bufio.Reader, start []byte, keep int) ([]byte, error) {
	if err := p.Begin(r); err != nil {
		return start, err
	}
	if p.Status != 200 {
		keep = max(keep, errorSample)
	}
	for {
		b, err := p.Next(r)
		if errors.Is(err, io.EOF) {
			return start, nil
		}
		if err != nil {
			return start, err
		}
		if want := keep - len(start); want > 0 {
			start = append(start, b[:min(want, len(b))]...)
		}
	}
}

func (p *Response) readHead(r *bufio.Reader) error {
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
	p.Status = int(status)
	p.Close = line[7] == '0'
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

func (p *Response) header(line []byte) error {
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		return fmt.Errorf("%w: header %.60q", errMalformed, line)
	}
	name, value := line[:colon], bytes.TrimSpace(line[colon+1:])
	switch len(name) { // only three names matter; their lengths differ
	case len("Connection"):
		if bytes.EqualFold(name, []byte("Connection")) {
			p.Close = p.Close && !bytes.EqualFold(value, []byte("keep-alive")) || bytes.EqualFold(value, []byte("close"))
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

// line reads a line without its end; it is valid until the next read.
func (p *Response) line(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, fmt.Errorf("%w: a line of more than %d bytes", errMalformed, r.Size())
	}
	if err != nil {
		return nil, err
	}
	p.Size += len(line)
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
