package parquet

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"serval"
)

// Codecs.
const (
	codecNone   = 0
	codecSnappy = 1
	codecGzip   = 2
	codecZstd   = 6
	codecLZ4    = 7
)

var codecNames = []string{"UNCOMPRESSED", "SNAPPY", "GZIP", "LZO", "BROTLI", "LZ4 (Hadoop's)", "ZSTD", "LZ4_RAW"}

const (
	maxPage   = 256 << 20 // bytes of a page, both packed and not
	maxValues = 1 << 26   // of a page
	maxMemory = 1 << 30   // of all columns that are read
)

// budget is what the buffers of a reader may take in all.
type budget struct{ left int64 }

// grow makes a buffer n bytes long; what was in it is lost.
func (b *budget) grow(buf []byte, n int) ([]byte, error) {
	if cap(buf) >= n {
		return buf[:n], nil
	}
	room := n + n/8
	if err := b.take(int64(room - cap(buf))); err != nil {
		return buf, err
	}
	return make([]byte, n, room), nil
}

func (b *budget) offsets(buf *[]uint32, n int) error {
	if cap(*buf) < n {
		room := n + n/8
		if err := b.take(4 * int64(room-cap(*buf))); err != nil {
			return err
		}
		*buf = make([]uint32, n, room)
	}
	*buf = (*buf)[:n]
	return nil
}

func (b *budget) take(n int64) error {
	if b.left -= n; b.left < 0 {
		return fmt.Errorf("its pages take more than %d MiB of memory; write smaller pages, or read fewer columns", maxMemory>>20)
	}
	return nil
}

// checkCodec says whether pages can be unpacked.
func checkCodec(codec int) error {
	switch codec {
	case codecNone, codecSnappy, codecGzip, codecZstd, codecLZ4:
		return nil
	}
	name := fmt.Sprintf("codec %d", codec)
	if codec >= 0 && codec < len(codecNames) {
		name = codecNames[codec]
	}
	return serval.Errorf(serval.Unimplemented, "its pages are packed with %s, which is not read; write the file with zstd, snappy, gzip or none", name)
}

// unpackPage unpacks a page into a buffer of exactly its size.
func (c *cursor) unpackPage(dst, src []byte) error {
	most := map[int]int{codecSnappy: 64, codecGzip: 1100, codecLZ4: 260}[c.codec] // times smaller it may be, by the codec
	if most > 0 && len(dst) > most*(len(src)+16) {
		return errors.New("a page that says it is larger than its codec can make it")
	}
	switch c.codec {
	case codecSnappy:
		n, err := snappy.DecodedLen(src)
		if err != nil || n != len(dst) {
			return errors.New("a page whose packed size is wrong")
		}
		_, err = snappy.Decode(dst, src)
		return err
	case codecGzip:
		z, err := gzip.NewReader(bytes.NewReader(src))
		if err != nil {
			return err
		}
		_, err = io.ReadFull(z, dst)
		return err
	case codecZstd:
		if c.file.zstd == nil {
			var err error
			if c.file.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPage), zstd.WithDecodeAllCapLimit(true)); err != nil {
				return err
			}
		}
		out, err := c.file.zstd.DecodeAll(src, dst[:0:len(dst)])
		if err == nil && len(out) != len(dst) {
			err = errors.New("a page whose packed size is wrong")
		}
		return err
	case codecLZ4:
		n, err := lz4.UncompressBlock(src, dst)
		if err == nil && n != len(dst) {
			err = errors.New("a page whose packed size is wrong")
		}
		return err
	}
	return errors.New("a page of an unknown codec")
}
