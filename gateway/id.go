package gateway

import (
	"crypto/rand"
	"encoding/hex"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"serval"
)

// maxID is the longest id that a client may choose, in bytes.
const maxID = 128

// ids makes request ids: 16 hexadecimal digits that are this process's own and 8 or more that count its requests.
type ids struct {
	prefix [16]byte
	count  atomic.Uint64
}

// start chooses the prefix.
func (d *ids) start() {
	var random [8]byte
	rand.Read(random[:]) // never fails: crypto/rand ends the process rather than return without randomness
	hex.Encode(d.prefix[:], random[:])
}

// next makes an id; the string is its only allocation.
func (d *ids) next() string {
	var b [32]byte
	copy(b[:], d.prefix[:])
	n := d.count.Add(1)
	digits := 8
	for n>>(4*digits) != 0 && digits < 16 {
		digits++
	}
	for i := 16 + digits - 1; i >= 16; i-- {
		b[i] = "0123456789abcdef"[n&15]
		n >>= 4
	}
	return string(b[:16+digits])
}

// checkID refuses a client's id that could not be echoed in a header or logged in one line. Any other text will do, as it
// does for Triton.
func checkID(id string) *serval.Error {
	if len(id) > maxID {
		return serval.Errorf(serval.InvalidArgument, "the request's id has %d bytes; at most %d are taken", len(id), maxID).At("id")
	}
	if !utf8.ValidString(id) {
		return serval.Errorf(serval.InvalidArgument, "the request's id is not UTF-8 text").At("id")
	}
	for _, r := range id {
		if r < ' ' || r > '~' && !unicode.IsPrint(r) {
			return serval.Errorf(serval.InvalidArgument, "the request's id has the unprintable character %U; use printable ones", r).At("id")
		}
	}
	return nil
}
