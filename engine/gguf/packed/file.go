package packed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A file is a header, then from byte 2 MB on the data, so that huge pages can be mapped. The header, little endian: "SERVPACK", the version
// and the number of sums (4 bytes each), the key (32), the data's size (8), the header's own sum over all but itself (4, at byte
// 56), then one sum for each 16 MB of data. Sums are CRC-32C.
const (
	magic   = "SERVPACK"
	version = 1
	begin   = 2 << 20 // of the data
	piece   = 16 << 20
	fixed   = 60 // bytes before the sums of the data

	maxSize = (begin - fixed) / 4 * piece
)

// errOther says that a file is not what it should be.
var errOther = errors.New("packed: the file is damaged or of another version")

func sums() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func pieces(size int64) int { return int((size + piece - 1) / piece) }

// part is the i-th piece of the data.
func part(data []byte, i int) []byte { return data[i*piece : min((i+1)*piece, len(data))] }

// encodeHeader makes a header; list are the sums of the data.
func encodeHeader(key Key, size int64, list []uint32) []byte {
	b := make([]byte, fixed, fixed+4*len(list))
	copy(b, magic)
	le := binary.LittleEndian
	le.PutUint32(b[8:], version)
	le.PutUint32(b[12:], uint32(len(list)))
	copy(b[16:], key[:])
	le.PutUint64(b[48:], uint64(size))
	for _, s := range list {
		b = le.AppendUint32(b, s)
	}
	le.PutUint32(b[56:], headerSum(b))
	return b
}

func headerSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:56], sums()), sums(), b[60:])
}

// decodeHeader reads the header of a file of so many bytes, which must be of key and size, and returns the sums of its data.
func decodeHeader(r io.ReaderAt, whole int64, key Key, size int64) ([]uint32, error) {
	n := pieces(size)
	b := make([]byte, fixed+4*n) // size is the caller's, not the file's
	if whole != begin+size {
		return nil, fmt.Errorf("%w: it has %d bytes, not %d", errOther, whole, begin+size)
	}
	if _, err := r.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("%w: %w", errOther, err)
	}
	le := binary.LittleEndian
	if string(b[:8]) != magic || le.Uint32(b[8:]) != version || Key(b[16:48]) != key || le.Uint64(b[48:]) != uint64(size) ||
		le.Uint32(b[12:]) != uint32(n) || le.Uint32(b[56:]) != headerSum(b) {
		return nil, fmt.Errorf("%w: its header is another", errOther)
	}
	list := make([]uint32, n)
	for i := range list {
		list[i] = le.Uint32(b[fixed+4*i:])
	}
	return list, nil
}
