package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"serval/internal/column"
)

// Encodings.
const (
	encPlain       = 0
	encPlainDict   = 2
	encRLE         = 3
	encBitPacked   = 4
	encDelta       = 5
	encDeltaLength = 6
	encDeltaBytes  = 7
	encDict        = 8
	encByteSplit   = 9
)

var errShort = errors.New("a page that ends too early")

// hybrid decodes n numbers of width bits in runs and packed groups of eight, and returns what is behind them.
func hybrid[T byte | uint32](dst []T, src []byte, width int) (rest []byte, err error) {
	for len(dst) > 0 {
		h, k := binary.Uvarint(src)
		if k <= 0 {
			return nil, errShort
		}
		src = src[k:]
		if h&1 == 0 { // a run of one value
			size := (width + 7) / 8
			if len(src) < size {
				return nil, errShort
			}
			v := T(0)
			for i := range size {
				v |= T(src[i]) << (8 * i)
			}
			src = src[size:]
			n := int(min(h>>1, uint64(len(dst))))
			if n == 0 {
				return nil, errors.New("a page with an empty run")
			}
			run := dst[:n]
			for i := range run {
				run[i] = v
			}
			dst = dst[n:]
			continue
		}
		groups := h >> 1
		if groups == 0 {
			return nil, errors.New("a page with an empty run")
		}
		n := len(dst)
		if groups < uint64(n+7)/8 {
			n = int(groups) * 8
		}
		if need := (n*width + 7) / 8; len(src) < need {
			return nil, errShort
		}
		unpack(dst[:n], src, width)
		dst = dst[n:]
		src = src[min(groups*uint64(width), uint64(len(src))):] // the last group may be cut off
	}
	return src, nil
}

// unpack reads numbers of width bits, at most 32, that follow each other from the lowest bit on. src holds them all.
func unpack[T byte | uint32](dst []T, src []byte, width int) {
	mask := uint64(1)<<width - 1
	i, bit := 0, 0
	for ; i < len(dst) && bit>>3+8 <= len(src); i++ {
		dst[i] = T(binary.LittleEndian.Uint64(src[bit>>3:]) >> (bit & 7) & mask)
		bit += width
	}
	var last [16]byte
	for ; i < len(dst); i++ {
		clear(last[:])
		copy(last[:8], src[min(bit>>3, len(src)):])
		dst[i] = T(binary.LittleEndian.Uint64(last[:]) >> (bit & 7) & mask)
		bit += width
	}
}

// deltas decodes DELTA_BINARY_PACKED, at most most numbers, and returns what is behind them. The numbers wrap around at 64 bits.
func deltas(dst []int64, src []byte, most int) (_ []int64, rest []byte, err error) {
	var head [4]uint64
	for i := range head {
		v, k := binary.Uvarint(src)
		if k <= 0 {
			return nil, nil, errShort
		}
		head[i], src = v, src[k:]
	}
	block, minis, count := head[0], head[1], head[2]
	if block == 0 || block > 1<<20 || minis == 0 || block%minis != 0 || block/minis%8 != 0 || count > uint64(most) {
		return nil, nil, fmt.Errorf("a page of %d deltas, %d a block, where there are %d values", count, block, most)
	}
	if count == 0 {
		return dst, src, nil
	}
	value := int64(head[3]>>1) ^ -int64(head[3]&1)
	dst = append(dst, value)
	left, each := int(count)-1, int(block/minis)
	for left > 0 {
		least, k := binary.Uvarint(src)
		if k <= 0 || len(src)-k < int(minis) {
			return nil, nil, errShort
		}
		smallest := int64(least>>1) ^ -int64(least&1)
		widths := src[k : k+int(minis)]
		src = src[k+int(minis):]
		for _, w := range widths {
			if left == 0 {
				break
			}
			size := each * int(w) / 8
			if w > 64 || len(src) < size {
				return nil, nil, errShort
			}
			n := min(left, each)
			for i := range n {
				value += smallest + int64(bitsAt(src[:size], i*int(w), int(w)))
				dst = append(dst, value)
			}
			src, left = src[size:], left-n
		}
	}
	return dst, src, nil
}

// bitsAt reads width bits, at most 64, from a bit on.
func bitsAt(src []byte, at, width int) uint64 {
	if width == 0 {
		return 0
	}
	var b [16]byte
	copy(b[:9], src[at>>3:])
	low, high := binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])
	v := low >> (at & 7)
	if at&7 != 0 {
		v |= high << (64 - at&7)
	}
	if width == 64 {
		return v
	}
	return v & (1<<width - 1)
}

// values decodes n values of a page, other than those of a dictionary, into raw.
func (c *cursor) values(raw *column.Raw, src []byte, encoding, n int) error {
	raw.Gap = 0
	size := c.leaf.size()
	switch encoding {
	case encPlain:
		return c.plain(raw, src, n)
	case encRLE:
		if c.leaf.phys != physBool || len(src) < 4 {
			break
		}
		var err error
		if c.bytes, err = c.budget.grow(c.bytes, n); err != nil {
			return err
		}
		raw.Data = c.bytes
		_, err = hybrid(raw.Data, src[4:], 1)
		return err
	case encDelta:
		if c.leaf.phys != physInt32 && c.leaf.phys != physInt64 {
			break
		}
		var err error
		if c.bytes, err = c.budget.grow(c.bytes, n*size); err != nil {
			return err
		}
		if c.ints, _, err = deltas(c.ints[:0], src, n); err != nil {
			return err
		}
		if len(c.ints) != n {
			return errShort
		}
		raw.Data = c.bytes
		for i, v := range c.ints {
			if size == 4 {
				binary.LittleEndian.PutUint32(raw.Data[4*i:], uint32(v))
			} else {
				binary.LittleEndian.PutUint64(raw.Data[8*i:], uint64(v))
			}
		}
		return nil
	case encDeltaLength, encDeltaBytes:
		if c.leaf.phys == physBytes || c.leaf.phys == physFixed && encoding == encDeltaBytes {
			return c.deltaTexts(raw, src, encoding, n)
		}
	case encByteSplit:
		if size == 0 || c.leaf.phys == physBool {
			break
		}
		if len(src) < n*size {
			return errShort
		}
		var err error
		if c.bytes, err = c.budget.grow(c.bytes, n*size); err != nil {
			return err
		}
		raw.Data = c.bytes
		for k := range size {
			for i, b := range src[k*n : (k+1)*n] {
				raw.Data[i*size+k] = b
			}
		}
		return nil
	}
	return fmt.Errorf("values of encoding %d, which is not read for this type", encoding)
}

// size of a value in a page, in bytes; 0: of any length.
func (l *leaf) size() int {
	switch l.phys {
	case physBool:
		return 1
	case physInt32, physFloat:
		return 4
	case physInt64, physDouble:
		return 8
	case physInt96:
		return 12
	case physFixed:
		return l.width
	}
	return 0
}

// plain takes values as they lie in the page.
func (c *cursor) plain(raw *column.Raw, src []byte, n int) (err error) {
	switch size := c.leaf.size(); {
	case c.leaf.phys == physBool:
		if len(src) < (n+7)/8 {
			return errShort
		}
		if c.bytes, err = c.budget.grow(c.bytes, n); err != nil {
			return err
		}
		raw.Data = c.bytes
		unpack(raw.Data, src, 1)
	case size > 0:
		if n > len(src)/size {
			return errShort
		}
		raw.Data = src[:n*size]
	default:
		if n > len(src)/4 {
			return errShort
		}
		if err := c.budget.offsets(&c.offs, n+1); err != nil {
			return err
		}
		raw.Data, raw.Gap = src, 4
		at := 0
		c.offs[0] = 0
		for i := range n {
			if len(src)-at < 4 {
				return errShort
			}
			size := binary.LittleEndian.Uint32(src[at:])
			if uint64(size) > uint64(len(src)-at-4) {
				return errShort
			}
			at += 4 + int(size)
			c.offs[i+1] = uint32(at)
		}
		raw.Off = c.offs
	}
	return nil
}

// deltaTexts decodes texts whose lengths, or what they share with the one before, are deltas.
func (c *cursor) deltaTexts(raw *column.Raw, src []byte, encoding, n int) (err error) {
	var shared []int64
	if encoding == encDeltaBytes {
		if c.ints, src, err = deltas(c.ints[:0], src, n); err != nil {
			return err
		}
		shared = append(shared, c.ints...)
	}
	if c.ints, src, err = deltas(c.ints[:0], src, n); err != nil {
		return err
	}
	if len(c.ints) != n || shared != nil && len(shared) != n {
		return errShort
	}
	if err := c.budget.offsets(&c.offs, n+1); err != nil {
		return err
	}
	c.offs[0] = 0
	total, before := int64(0), int64(0)
	for i, size := range c.ints {
		whole := size
		if shared != nil {
			if shared[i] < 0 || shared[i] > before {
				return errors.New("a text that shares more than there is")
			}
			whole += shared[i]
		}
		if size < 0 || size > int64(len(src)) || whole < 0 || c.leaf.width > 0 && whole != int64(c.leaf.width) && c.leaf.phys == physFixed {
			return errShort
		}
		if total += whole; total > maxPage {
			return fmt.Errorf("texts of more than %d bytes in a page", maxPage)
		}
		c.offs[i+1], before = uint32(total), whole
	}
	if c.bytes, err = c.budget.grow(c.bytes, int(total)); err != nil {
		return err
	}
	out := c.bytes
	for i, size := range c.ints {
		if int64(len(src)) < size {
			return errShort
		}
		own := out[c.offs[i]:c.offs[i+1]]
		if shared != nil && i > 0 {
			copy(own, out[c.offs[i-1]:c.offs[i-1]+uint32(shared[i])])
			copy(own[shared[i]:], src[:size])
		} else {
			copy(own, src[:size])
		}
		src = src[size:]
	}
	raw.Data, raw.Off = out, c.offs
	return nil
}

// levelWidth is how many bits a level takes.
func levelWidth(most int) int { return bits.Len(uint(most)) }
