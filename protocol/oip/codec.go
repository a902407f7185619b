package oip

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"

	"serval"
)

// minCompress is the smallest answer that is worth compressing: below, it fits into one packet anyway.
const minCompress = 1024

// codecs keeps compressors and decompressors for reuse. Safe for concurrent use.
type codecs struct {
	gzipReaders, zlibReaders, gzipWriters, zlibWriters sync.Pool
}

// readAll decompresses src into dst: gzip, or deflate in zlib's format, as the field's clients send it.
func (z *codecs) readAll(dst []byte, src io.Reader, coding string, limit int64) ([]byte, error) {
	var in io.Reader
	var err error
	switch coding {
	case "gzip", "x-gzip":
		g, _ := z.gzipReaders.Get().(*gzip.Reader)
		if g == nil {
			g = new(gzip.Reader)
		}
		defer z.gzipReaders.Put(g)
		in, err = g, g.Reset(src)
	case "deflate":
		if f := z.zlibReaders.Get(); f != nil {
			in, err = f.(io.Reader), f.(zlib.Resetter).Reset(src, nil)
			defer z.zlibReaders.Put(f)
		} else if f, e := zlib.NewReader(src); e != nil {
			err = e
		} else {
			in = f
			defer z.zlibReaders.Put(f)
		}
	default:
		return dst, serval.Errorf(serval.InvalidArgument, "Content-Encoding %q is not understood; send gzip, deflate or none", coding)
	}
	if err == nil {
		dst, err = readAll(dst, in, limit)
	}
	var known *serval.Error
	if err == nil || errors.As(err, &known) && known.Code == serval.TooLarge {
		return dst, err
	}
	return dst, serval.Errorf(serval.InvalidArgument, "the request's body is not valid %s, which its Content-Encoding names", coding).Because(err)
}

// compress appends src, compressed, to dst.
func (z *codecs) compress(dst, src []byte, coding string) ([]byte, error) {
	buf := bytes.NewBuffer(dst)
	var w io.WriteCloser
	if coding == "gzip" {
		g, _ := z.gzipWriters.Get().(*gzip.Writer)
		if g == nil {
			g, _ = gzip.NewWriterLevel(nil, gzip.BestSpeed)
		}
		defer z.gzipWriters.Put(g)
		g.Reset(buf)
		w = g
	} else {
		f, _ := z.zlibWriters.Get().(*zlib.Writer)
		if f == nil {
			f, _ = zlib.NewWriterLevel(nil, zlib.BestSpeed)
		}
		defer z.zlibWriters.Put(f)
		f.Reset(buf)
		w = f
	}
	if _, err := w.Write(src); err != nil {
		return dst, err
	}
	err := w.Close()
	return buf.Bytes(), err
}

// acceptedCoding is the coding to answer size bytes in: "gzip", "deflate", or "" for none.
func (p *Protocol) acceptedCoding(h http.Header, size int) string {
	values := h["Accept-Encoding"]
	if len(values) == 0 || size < minCompress || p.opt.DisableCompression {
		return ""
	}
	best, bestQ := "", 0.0
	for _, value := range values {
		for item := range strings.SplitSeq(value, ",") {
			coding, parameter, _ := strings.Cut(item, ";")
			coding = strings.ToLower(strings.TrimSpace(coding))
			q := 1.0
			if weight, ok := strings.CutPrefix(strings.TrimSpace(parameter), "q="); ok {
				q, _ = strconv.ParseFloat(weight, 64)
			}
			if q > bestQ && (coding == "gzip" || coding == "deflate") {
				best, bestQ = coding, q
			}
		}
	}
	return best
}
