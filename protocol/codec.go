package protocol

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"

	"serval"
)

// decompress reads src into dst: gzip, or deflate in zlib's format, as the field's clients send it.
func (b *Bodies) decompress(dst []byte, src io.Reader, coding string, limit int64) ([]byte, error) {
	var in io.Reader
	var err error
	switch coding {
	case "gzip", "x-gzip":
		g, _ := b.gzipReaders.Get().(*gzip.Reader)
		if g == nil {
			g = new(gzip.Reader)
		}
		defer b.gzipReaders.Put(g)
		in, err = g, g.Reset(src)
	case "deflate":
		if f := b.zlibReaders.Get(); f != nil {
			in, err = f.(io.Reader), f.(zlib.Resetter).Reset(src, nil)
			defer b.zlibReaders.Put(f)
		} else if f, e := zlib.NewReader(src); e != nil {
			err = e
		} else {
			in = f
			defer b.zlibReaders.Put(f)
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

// Compress appends src to dst in a coding that AcceptedCoding gave.
func (b *Bodies) Compress(dst, src []byte, coding string) ([]byte, error) {
	buf := bytes.NewBuffer(dst)
	var w io.WriteCloser
	if coding == "gzip" {
		g, _ := b.gzipWriters.Get().(*gzip.Writer)
		if g == nil {
			g, _ = gzip.NewWriterLevel(nil, gzip.BestSpeed)
		}
		defer b.gzipWriters.Put(g)
		g.Reset(buf)
		w = g
	} else {
		f, _ := b.zlibWriters.Get().(*zlib.Writer)
		if f == nil {
			f, _ = zlib.NewWriterLevel(nil, zlib.BestSpeed)
		}
		defer b.zlibWriters.Put(f)
		f.Reset(buf)
		w = f
	}
	if _, err := w.Write(src); err != nil {
		return dst, err
	}
	err := w.Close()
	return buf.Bytes(), err
}

// AcceptedCoding is the coding that Accept-Encoding asks for: "gzip", "deflate" (in zlib's format), or "" for none.
func AcceptedCoding(h http.Header) string {
	best, bestQ := "", 0.0
	for _, value := range h["Accept-Encoding"] {
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
