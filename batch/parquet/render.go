package parquet

import (
	"encoding/binary"
	"strconv"
	"time"
)

// renderInt96 writes Impala's timestamps: nanoseconds of the day, then the Julian day. They have no time zone.
func renderInt96(dst, raw []byte) []byte {
	ns := int64(binary.LittleEndian.Uint64(raw))
	day := int64(binary.LittleEndian.Uint32(raw[8:])) - julianOfUnix
	return time.Unix(day*secondsOfDay, ns).UTC().AppendFormat(dst, "2006-01-02T15:04:05.999999999")
}

// renderInterval writes months, days and milliseconds as an ISO 8601 duration.
func renderInterval(dst, raw []byte) []byte {
	le := binary.LittleEndian
	dst = strconv.AppendUint(append(dst, 'P'), uint64(le.Uint32(raw)), 10)
	dst = strconv.AppendUint(append(dst, 'M'), uint64(le.Uint32(raw[4:])), 10)
	ms := uint64(le.Uint32(raw[8:]))
	dst = strconv.AppendUint(append(dst, "DT"...), ms/1000, 10)
	dst = append(dst, '.', byte('0'+ms/100%10), byte('0'+ms/10%10), byte('0'+ms%10))
	return append(dst, 'S')
}
