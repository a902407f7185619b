package parquet

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"

	"serval"
	"serval/batch"
)

// packer makes column chunks. One goroutine uses it.
type packer struct {
	codec  int
	zstd   *zstd.Encoder
	gzip   *gzip.Writer
	out    []byte
	page   []byte
	packed []byte
	levels []byte
	index  map[string]uint32
	ids    []uint32 // of values that are in no page yet
	all    []uint32 // what ids is part of
}

// packed is a column chunk.
type packed struct {
	bytes  []byte // of the packer, until its next chunk
	size   int64  // before packing
	data   int64  // where the first page of data begins
	dict   bool
	values int64
	nulls  int64
}

const (
	pageRows     = 20_000
	pageBytes    = 1 << 20
	maxDistinct  = 4096 // values of a dictionary
	maxDictBytes = 1 << 20
)

// chunk packs all rows of a column.
func (k *packer) chunk(v *batch.Vector, rows int) (packed, error) {
	k.out = k.out[:0]
	c := packed{}
	each := 1
	if v.Shape != nil {
		n, _ := serval.Elements(v.Shape)
		each = int(n)
	}
	data := v.Data
	if c.dict = v.DType == serval.Bytes && each > 0 && k.distinct(v, rows, each); c.dict {
		if err := k.dictionary(&c); err != nil {
			return c, err
		}
	}
	c.data = int64(len(k.out))
	for from := 0; from < rows; {
		var to int
		switch size := v.DType.Size() * each; {
		case c.dict:
			to = min(rows, from+pageRows)
			k.indices(&c, v, from, to, each)
		case v.Null == nil && size > 0 && plainIsSame(v.DType):
			to = min(rows, from+pageRows, from+max(1, pageBytes/size))
			k.page = append(k.page[:0], data[from*size:to*size]...)
		default:
			to, data = k.plain(&c, v, data, from, rows, each)
		}
		if err := k.flush(&c, v, from, to, each); err != nil {
			return c, err
		}
		from = to
	}
	c.bytes = k.out
	return c, nil
}

// indices makes the page of rows as places in the dictionary, which k.ids begins with.
func (k *packer) indices(c *packed, v *batch.Vector, from, to, each int) {
	n := 0
	for row := from; row < to; row++ {
		if v.Null == nil || !v.Null[row] {
			n += each
		} else {
			c.nulls++
		}
	}
	width := bits.Len(uint(max(1, len(k.index)) - 1))
	k.page = appendPacked(append(k.page[:0], byte(width)), k.ids[:n], width)
	k.ids = k.ids[n:]
}

// plain makes a page of values as they are, one row at a time, and returns where it ends and the data behind it.
func (k *packer) plain(c *packed, v *batch.Vector, data []byte, from, rows, each int) (to int, rest []byte) {
	k.page = k.page[:0]
	values := 0
	for to = from; to < rows && to-from < pageRows && len(k.page) < pageBytes; to++ {
		size := span(v, data, each)
		if v.Null == nil || !v.Null[to] {
			k.page = appendPlain(k.page, v.DType, data[:size], values)
			values += each
		} else {
			c.nulls++
		}
		data = data[size:]
	}
	return to, data
}

// span is the size of the row that data begins with.
func span(v *batch.Vector, data []byte, each int) int {
	if size := v.DType.Size(); size > 0 {
		return size * each
	}
	n := 0
	for range each {
		n += 4 + int(binary.LittleEndian.Uint32(data[n:]))
	}
	return n
}

// distinct fills the index and the ids of the values that are there; false if they are too many to be worth it.
func (k *packer) distinct(v *batch.Vector, rows, each int) bool {
	if k.index == nil {
		k.index = map[string]uint32{}
	}
	clear(k.index)
	k.ids = k.all[:0]
	rest, size := v.Data, 0
	for row := range rows {
		for range each {
			var e []byte
			e, rest, _ = serval.NextBytes(rest)
			if v.Null != nil && v.Null[row] {
				continue
			}
			id, ok := k.index[string(e)]
			if !ok {
				id = uint32(len(k.index))
				size += len(e)
				if len(k.index) >= maxDistinct || size > maxDictBytes {
					clear(k.index)
					return false
				}
				k.index[string(e)] = id
			}
			k.ids = append(k.ids, id)
		}
		if row == 2*maxDistinct && len(k.index) > maxDistinct/2 {
			clear(k.index)
			return false
		}
	}
	k.all = k.ids
	return len(k.index) > 0
}

// dictionary writes its page.
func (k *packer) dictionary(c *packed) error {
	words := make([]string, len(k.index))
	for w, id := range k.index {
		words[id] = w
	}
	k.page = k.page[:0]
	for _, w := range words {
		k.page = serval.AppendString(k.page, w)
	}
	body, err := k.compress(k.page)
	if err != nil {
		return err
	}
	var e encoder
	e.begin()
	e.i32(1, pageDict)
	e.i32(2, int32(len(k.page)))
	e.i32(3, int32(len(body)))
	e.structure(7)
	e.i32(1, int32(len(words)))
	e.i32(2, encPlain)
	e.end()
	e.end()
	k.out = append(append(k.out, e.b...), body...)
	c.size += int64(len(e.b) + len(k.page))
	return nil
}

// flush writes the page of the rows from from to to, whose values are in k.page.
func (k *packer) flush(c *packed, v *batch.Vector, from, to, each int) error {
	values := k.page
	reps, defs := k.levelsOf(v, from, to, each)
	var body []byte
	if v.Shape != nil {
		body = appendLevels(body, reps, 1)
		body = appendLevels(body, defs, 2)
	} else {
		body = appendLevels(body, defs, 1)
	}
	body = append(body, values...)
	packed, err := k.compress(body)
	if err != nil {
		return err
	}
	encoding := encPlain
	if c.dict {
		encoding = encDict
	}
	var e encoder
	e.begin()
	e.i32(1, pageData)
	e.i32(2, int32(len(body)))
	e.i32(3, int32(len(packed)))
	e.structure(5)
	e.i32(1, int32(len(defs)))
	e.i32(2, int32(encoding))
	e.i32(3, encRLE)
	e.i32(4, encRLE)
	e.end()
	e.end()
	k.out = append(append(k.out, e.b...), packed...)
	c.size += int64(len(e.b) + len(body))
	c.values += int64(len(defs))
	return nil
}

// levelsOf are the repetition and definition levels of rows.
func (k *packer) levelsOf(v *batch.Vector, from, to, each int) (reps, defs []byte) {
	k.levels = k.levels[:0]
	if v.Shape == nil {
		for row := from; row < to; row++ {
			k.levels = append(k.levels, 1-boolByte(v.Null != nil && v.Null[row]))
		}
		return nil, k.levels
	}
	for row := from; row < to; row++ {
		switch {
		case v.Null != nil && v.Null[row]:
			reps, k.levels = append(reps, 0), append(k.levels, 0)
		case each == 0:
			reps, k.levels = append(reps, 0), append(k.levels, 1)
		default:
			for i := range each {
				reps, k.levels = append(reps, boolByte(i > 0)), append(k.levels, 2)
			}
		}
	}
	return reps, k.levels
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// appendLevels appends levels of width bits with their length in front: one run where all are the same, else packed.
func appendLevels(dst, levels []byte, width int) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	same := true
	for _, l := range levels {
		same = same && l == levels[0]
	}
	if same && len(levels) > 0 {
		dst = binary.AppendUvarint(dst, uint64(len(levels))<<1)
		dst = append(dst, levels[0])
	} else {
		dst = appendPacked(dst, levels, width)
	}
	binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

// appendPacked appends numbers of width bits in one run of groups of eight.
func appendPacked[T byte | uint32](dst []byte, numbers []T, width int) []byte {
	if len(numbers) == 0 {
		return dst
	}
	dst = binary.AppendUvarint(dst, uint64((len(numbers)+7)/8)<<1|1)
	acc, have := uint64(0), 0
	for i := range (len(numbers) + 7) / 8 * 8 {
		if i < len(numbers) {
			acc |= uint64(numbers[i]) << have
		}
		for have += width; have >= 8; have -= 8 {
			dst = append(dst, byte(acc))
			acc >>= 8
		}
	}
	return dst
}

// compress packs a page; what it returns is good until the next call.
func (k *packer) compress(page []byte) ([]byte, error) {
	switch k.codec {
	case codecSnappy:
		k.packed = snappy.Encode(k.packed[:cap(k.packed)], page)
	case codecGzip:
		var b bytes.Buffer
		if k.gzip == nil {
			k.gzip = gzip.NewWriter(&b)
		}
		k.gzip.Reset(&b)
		if _, err := k.gzip.Write(page); err != nil {
			return nil, err
		}
		if err := k.gzip.Close(); err != nil {
			return nil, err
		}
		k.packed = b.Bytes()
	case codecZstd:
		if k.zstd == nil {
			var err error
			if k.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<20)); err != nil {
				return nil, err
			}
		}
		k.packed = k.zstd.EncodeAll(page, k.packed[:0])
	default:
		return page, nil
	}
	return k.packed, nil
}
