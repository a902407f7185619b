package column

import (
	"encoding/binary"
	"errors"
)

var errLZ4 = errors.New("its LZ4 data is broken")

// LZ4 unpacks one block into dst from at on, and returns where it ends; a block may refer to what is before at. Source: the LZ4
// block format description, lz4.org.
func LZ4(dst []byte, at int, src []byte) (end int, err error) {
	length := func(n int) (int, bool) {
		if n < 15 {
			return n, true
		}
		for len(src) > 0 && n <= len(dst) {
			b := src[0]
			src = src[1:]
			if n += int(b); b < 255 {
				return n, true
			}
		}
		return 0, false
	}
	for len(src) > 0 {
		token := int(src[0])
		src = src[1:]
		n, ok := length(token >> 4)
		if !ok || n > len(src) || n > len(dst)-at {
			return at, errLZ4
		}
		at += copy(dst[at:], src[:n])
		if src = src[n:]; len(src) == 0 {
			break
		}
		if len(src) < 2 {
			return at, errLZ4
		}
		back := int(binary.LittleEndian.Uint16(src))
		src = src[2:]
		if n, ok = length(token & 15); !ok || back == 0 || back > at || n+4 > len(dst)-at {
			return at, errLZ4
		}
		for n += 4; n > 0; {
			k := copy(dst[at:at+n], dst[at-back:at])
			at, n = at+k, n-k
		}
	}
	return at, nil
}

// LZ4Frame unpacks a frame into exactly dst. Its checksums are not looked at. Source: the LZ4 frame format description.
func LZ4Frame(dst, src []byte) error {
	if len(src) < 7 || binary.LittleEndian.Uint32(src) != 0x184d2204 {
		return errLZ4
	}
	flags := src[4]
	head := 7
	if flags&8 != 0 {
		head += 8 // the content's size
	}
	if flags&1 != 0 {
		head += 4 // a dictionary's id
	}
	if flags>>6 != 1 || len(src) < head {
		return errLZ4
	}
	src = src[head:]
	at := 0
	for {
		if len(src) < 4 {
			return errLZ4
		}
		size := binary.LittleEndian.Uint32(src)
		src = src[4:]
		if size == 0 {
			break
		}
		stored := size>>31 != 0
		size &= 1<<31 - 1
		if uint64(size) > uint64(len(src)) {
			return errLZ4
		}
		var err error
		if stored {
			if int(size) > len(dst)-at {
				return errLZ4
			}
			at += copy(dst[at:], src[:size])
		} else if at, err = LZ4(dst, at, src[:size]); err != nil {
			return err
		}
		if src = src[size:]; flags&16 != 0 {
			if len(src) < 4 {
				return errLZ4
			}
			src = src[4:]
		}
	}
	if at != len(dst) {
		return errLZ4
	}
	return nil
}
