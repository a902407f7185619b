package protocol

import (
	"io"
	"sync"

	"github.com/klauspost/compress/zlib"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // registers itself
)

// RegisterCodings makes the process's gRPC understand gzip, which grpc-go has, and deflate, which it has not and the
// field's clients offer. Call it before a server is made; it may be called again.
func RegisterCodings() { registerDeflate() }

// gRPC keeps its codings for the whole process and allows no change while calls are under way.
var registerDeflate = sync.OnceFunc(func() { encoding.RegisterCompressor(&deflate{}) })

// deflate is gRPC's coding of that name: zlib's format, as in HTTP. It keeps compressors and decompressors for reuse.
type deflate struct{ readers, writers sync.Pool }

// Name is "deflate".
func (*deflate) Name() string { return "deflate" }

// Compress implements encoding.Compressor.
func (d *deflate) Compress(w io.Writer) (io.WriteCloser, error) {
	z, _ := d.writers.Get().(*deflateWriter)
	if z == nil {
		inner, err := zlib.NewWriterLevel(w, zlib.BestSpeed)
		if err != nil {
			return nil, err
		}
		return &deflateWriter{inner, &d.writers}, nil
	}
	z.Reset(w)
	return z, nil
}

// deflateWriter goes back to its pool when it is closed.
type deflateWriter struct {
	*zlib.Writer
	pool *sync.Pool
}

// Close ends the message.
func (w *deflateWriter) Close() error {
	defer w.pool.Put(w)
	return w.Writer.Close()
}

// Decompress implements encoding.Compressor. gRPC itself bounds what it reads.
func (d *deflate) Decompress(r io.Reader) (io.Reader, error) {
	z, _ := d.readers.Get().(*deflateReader)
	if z == nil {
		inner, err := zlib.NewReader(r)
		if err != nil {
			return nil, err
		}
		return &deflateReader{inner, &d.readers}, nil
	}
	if err := z.Reader.(zlib.Resetter).Reset(r, nil); err != nil {
		d.readers.Put(z)
		return nil, err
	}
	return z, nil
}

// deflateReader goes back to its pool at the end of its message.
type deflateReader struct {
	io.Reader
	pool *sync.Pool
}

// Read reads on, and gives r back at the end.
func (r *deflateReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err == io.EOF {
		r.pool.Put(r)
	}
	return n, err
}
