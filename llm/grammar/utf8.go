package grammar

import "unicode/utf8"

// byteSpan is a range of bytes, both ends included.
type byteSpan struct{ lo, hi byte }

// sequences calls f with byte ranges whose products are the UTF-8 of the set, without surrogates.
func sequences(s set, f func([]byteSpan)) {
	for _, p := range s {
		if p.lo < surrogates.lo {
			split(p.lo, min(p.hi, surrogates.lo-1), f)
		}
		if p.hi > surrogates.hi {
			split(max(p.lo, surrogates.hi+1), min(p.hi, lastRune), f)
		}
	}
}

// split cuts a range where the length of the encoding changes, and where the last bytes do not run through all 64.
func split(lo, hi rune, f func([]byteSpan)) {
	if lo > hi {
		return
	}
	for _, last := range []rune{0x7F, 0x7FF, 0xFFFF} {
		if lo <= last && hi > last {
			split(lo, last, f)
			split(last+1, hi, f)
			return
		}
	}
	if hi > 0x7F {
		for n := 1; n < utf8.RuneLen(lo); n++ {
			low := rune(1)<<(6*n) - 1
			if lo&^low == hi&^low {
				break
			}
			if lo&low != 0 {
				split(lo, lo|low, f)
				split(lo|low+1, hi, f)
				return
			}
			if hi&low != low {
				split(lo, hi&^low-1, f)
				split(hi&^low, hi, f)
				return
			}
		}
	}
	var a, b [utf8.UTFMax]byte
	n := utf8.EncodeRune(a[:], lo)
	utf8.EncodeRune(b[:], hi)
	out := make([]byteSpan, n)
	for i := range out {
		out[i] = byteSpan{a[i], b[i]}
	}
	f(out)
}
