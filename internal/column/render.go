package column

import (
	"encoding/binary"
	"encoding/hex"
	"math/big"
	"slices"
	"strconv"
	"time"
)

// Date writes days since 1970-01-01 as 2006-01-02.
func Date(dst, raw []byte) []byte {
	days := int64(int32(binary.LittleEndian.Uint32(raw)))
	return time.Unix(days*86400, 0).UTC().AppendFormat(dst, time.DateOnly)
}

// whole reads a signed number of 4 or 8 bytes.
func whole(raw []byte) int64 {
	if len(raw) == 4 {
		return int64(int32(binary.LittleEndian.Uint32(raw)))
	}
	return int64(binary.LittleEndian.Uint64(raw))
}

// Timestamp writes so many units since 1970, of which second are a second, as 2006-01-02T15:04:05.999999, with a Z where utc
// says that it is a moment and no local time.
func Timestamp(second int64, utc bool) func(dst, raw []byte) []byte {
	layout := "2006-01-02T15:04:05.999999999"
	if utc {
		layout += "Z"
	}
	return func(dst, raw []byte) []byte {
		v := whole(raw)
		s, rest := v/second, v%second
		if rest < 0 {
			s, rest = s-1, rest+second
		}
		return time.Unix(s, rest*(1e9/second)).UTC().AppendFormat(dst, layout)
	}
}

// TimeOfDay writes so many units since midnight as 15:04:05.999999.
func TimeOfDay(second int64) func(dst, raw []byte) []byte {
	return func(dst, raw []byte) []byte {
		v := whole(raw)
		return time.Unix(v/second, v%second*(1e9/second)).UTC().AppendFormat(dst, "15:04:05.999999999")
	}
}

// Decimal writes a number of 4 or 8 bytes with a point before its last scale digits.
func Decimal(scale int) func(dst, raw []byte) []byte {
	return func(dst, raw []byte) []byte {
		return point(dst, strconv.AppendInt(nil, whole(raw), 10), scale)
	}
}

// BigDecimal is Decimal for numbers in two's complement of any length, with the highest byte first or last.
func BigDecimal(scale int, highFirst bool) func(dst, raw []byte) []byte {
	return func(dst, raw []byte) []byte {
		if !highFirst {
			raw = slices.Clone(raw)
			slices.Reverse(raw)
		}
		if len(raw) > 64 { // no decimal that anyone has; its digits would take long
			raw = raw[len(raw)-64:]
		}
		v := new(big.Int).SetBytes(raw)
		if len(raw) > 0 && raw[0] >= 0x80 {
			v.Sub(v, new(big.Int).Lsh(big.NewInt(1), uint(8*len(raw))))
		}
		return point(dst, v.Append(nil, 10), scale)
	}
}

// point appends digits with a decimal point. A scale that is out of bounds is left out.
func point(dst, digits []byte, scale int) []byte {
	if scale <= 0 || scale > 200 {
		dst = append(dst, digits...)
		for range min(max(0, -scale), 200) {
			dst = append(dst, '0')
		}
		return dst
	}
	if digits[0] == '-' {
		dst, digits = append(dst, '-'), digits[1:]
	}
	if n := len(digits) - scale; n > 0 {
		dst = append(dst, digits[:n]...)
		digits = digits[n:]
	} else {
		dst = append(dst, '0')
	}
	dst = append(dst, '.')
	for range scale - len(digits) {
		dst = append(dst, '0')
	}
	return append(dst, digits...)
}

// UUID writes 16 bytes as usual.
func UUID(dst, raw []byte) []byte {
	for i, part := range [][]byte{raw[:4], raw[4:6], raw[6:8], raw[8:10], raw[10:16]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, part)
	}
	return dst
}
