package jsonl

import (
	"strings"
	"testing"

	"serval/internal/column/columntest"
)

// FuzzSplit cuts any text.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{"{\"a\":1}\n\n{\"a\":2}\n \n{\"a\":\n", "\xef\xbb\xbf{}\n{\"a\":true}\nx\n" + strings.Repeat("{\"a\":3}\r\n\r\n", 50)} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, n uint8) {
		columntest.Split(t, Format{}, &text{data}, map[string]string{"max_record": "300"}, int(n)+1)
	})
}

func TestSplit(t *testing.T) {
	data := strings.Repeat("{\"a\":1}\n\n{\"a\":[2]}\n", 500)
	if parts := columntest.Split(t, Format{}, &text{[]byte(data)}, nil, 7); parts != 7 {
		t.Errorf("%d parts", parts)
	}
}
