package batch

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"serval/internal/jsontensor"
)

// sideFile is where bad rows go: a line of JSON each, in the order of the input.
type sideFile struct{ f *AppendFile }

// write appends a flight's bad rows.
func (s *sideFile) write(object string, bad []Bad) error {
	buf := s.f.Buffer()
	for _, b := range bad {
		buf = append(buf, `{"object":`...)
		buf = jsontensor.AppendString(buf, object)
		buf = append(buf, `,"row":`...)
		buf = strconv.AppendInt(buf, b.Row, 10)
		if b.Column != "" {
			buf = append(buf, `,"column":`...)
			buf = jsontensor.AppendString(buf, b.Column)
		}
		buf = append(buf, `,"reason":`...)
		buf = jsontensor.AppendString(buf, strings.ToValidUTF8(b.Reason, "�"))
		if raw := b.Raw; utf8.Valid(raw) && len(raw) > 0 {
			buf = append(buf, `,"raw":`...)
			buf = jsontensor.AppendString(buf, raw)
		} else if len(raw) > 0 {
			text, _ := json.Marshal(raw) // base64
			buf = append(buf, `,"raw_base64":`...)
			buf = append(buf, text...)
		}
		buf = append(buf, "}\n"...)
	}
	return s.f.Took(buf)
}

// tolerance is how many bad rows a job bears: a number, a part of the rows, or any.
type tolerance struct {
	given string
	most  int64   // -1: not by number
	part  float64 // -1: not by part
}

// fewRows are those after which a part of them is judged, before the end.
const fewRows = 10000

func parseTolerance(s string) (tolerance, error) {
	t := tolerance{given: s, most: -1, part: -1}
	if s == "" {
		return t, nil
	}
	if number, ok := strings.CutSuffix(s, "%"); ok {
		v, err := strconv.ParseFloat(number, 64)
		if err != nil || !(v >= 0 && v <= 100) {
			return t, fmt.Errorf("%q: write 100, or 1%% of the rows", s)
		}
		t.part = v / 100
		return t, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return t, fmt.Errorf("%q: write 100, or 1%% of the rows", s)
	}
	t.most = n
	return t, nil
}

// exceeded says whether so many bad rows are too many; whole says that there are no more rows.
func (t *tolerance) exceeded(bad, rows int64, whole bool) bool {
	switch {
	case t.most >= 0:
		return bad > t.most
	case t.part >= 0:
		return (whole || rows >= fewRows) && float64(bad) > t.part*float64(rows)
	}
	return false
}
