package protocol

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"os"
	"strings"
	"sync"

	"serval"
)

// atOnce is the most that is allocated for a body on the word of its Content-Length alone.
const atOnce = 1 << 20

// Bodies reads requests' bodies and compresses answers; it keeps compressors and decompressors for reuse. The zero value is
// ready. Safe for concurrent use.
type Bodies struct {
	gzipReaders, zlibReaders, gzipWriters, zlibWriters sync.Pool
}

// Read reads the body into dst, decompressed as Content-Encoding says, and returns what dst has become. A body beyond limit
// bytes (0: none) is a TooLarge error before more than that was kept. Memory grows as the bytes come: a Content-Length
// alone gets a mebibyte at most.
func (b *Bodies) Read(dst []byte, r *http.Request, limit int64) ([]byte, error) {
	if limit <= 0 {
		limit = math.MaxInt64 - 1
	}
	if r.ContentLength > limit {
		return dst, tooLarge(limit)
	}
	if values := r.Header["Content-Encoding"]; len(values) > 0 {
		coding := strings.ToLower(strings.TrimSpace(strings.Join(values, ",")))
		if coding != "" && coding != "identity" {
			return b.decompress(dst, r.Body, coding, limit)
		}
	}
	if n := r.ContentLength; n >= 0 && n <= atOnce {
		if int64(cap(dst)) < n {
			dst = make([]byte, n, max(n+n/4, 1024))
		}
		dst = dst[:n]
		_, err := io.ReadFull(r.Body, dst)
		return dst, bodyError(err)
	}
	return readAll(dst, r.Body, limit)
}

// readAll reads to the end, and grows dst only as the bytes come.
func readAll(dst []byte, src io.Reader, limit int64) ([]byte, error) {
	dst = dst[:0]
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := src.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if int64(len(dst)) > limit {
			return dst, tooLarge(limit)
		}
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst, bodyError(err)
		}
	}
}

func tooLarge(limit int64) error {
	return serval.Errorf(serval.TooLarge, "the request's body is larger than the limit of %d bytes (after decompression); send fewer rows at a time, or raise the limit in the server's configuration", limit)
}

// bodyError says what went wrong while the body was read.
func bodyError(err error) error {
	var tooBig *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &tooBig):
		return tooLarge(tooBig.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return serval.Errorf(serval.DeadlineExceeded, "the request's body did not arrive in time").Because(err)
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return serval.Errorf(serval.InvalidArgument, "the request's body is shorter than its Content-Length").Because(err)
	}
	return serval.Errorf(serval.InvalidArgument, "the request's body cannot be read; send it again").Because(err)
}
