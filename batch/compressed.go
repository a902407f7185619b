package batch

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// plain is the Object behind its compression, by the name's ending (.gz, .zst); any other as it is. name is without that ending.
func plain(o Object) (_ Object, name string) {
	name = o.Name()
	switch ext := strings.ToLower(filepath.Ext(name)); ext {
	case ".gz", ".zst":
		return &compressed{Object: o, zstd: ext == ".zst"}, name[:len(name)-len(ext)]
	}
	return o, name
}

// compressed is read in order only; an offset in it is reached by reading up to it.
type compressed struct {
	Object
	zstd bool
	read atomic.Int64 // bytes of the compressed object
}

func (c *compressed) Size() int64     { return -1 }
func (c *compressed) At() io.ReaderAt { return nil }

// Progress is in bytes of the compressed object.
func (c *compressed) Progress() (done, of int64) { return c.read.Load(), max(0, c.Object.Size()) }

func (c *compressed) Open(ctx context.Context, offset int64) (io.ReadCloser, error) {
	from, err := c.Object.Open(ctx, 0)
	if err != nil {
		return nil, err
	}
	c.read.Store(0)
	d := &decompressor{from: from}
	counted := &counting{from, &c.read}
	if c.zstd {
		var z *zstd.Decoder
		if z, err = zstd.NewReader(counted, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20)); err == nil {
			d.Reader, d.end = z, z.Close
		}
	} else {
		var z *gzip.Reader
		if z, err = gzip.NewReader(counted); err == nil {
			d.Reader, d.end = z, func() { _ = z.Close() }
		}
	}
	if err == nil && offset > 0 {
		_, err = io.CopyN(io.Discard, d, offset)
	}
	if err != nil {
		_ = d.Close()
		return nil, fmt.Errorf("%s cannot be decompressed: %w", c.Name(), err)
	}
	return d, nil
}

type decompressor struct {
	io.Reader
	from io.Closer
	end  func()
}

func (d *decompressor) Close() error {
	if d.end != nil {
		d.end()
	}
	return d.from.Close()
}

type counting struct {
	io.Reader
	n *atomic.Int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}
