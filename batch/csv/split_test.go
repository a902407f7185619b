package csv

import (
	"strings"
	"testing"

	"serval/internal/column/columntest"
)

// FuzzSplit cuts any text: quotes that go over lines, wrong ones, empty lines and lines that are too long among it.
func FuzzSplit(f *testing.F) {
	long := strings.Repeat("\"x\ny\",1\n\n", 40) + "\"open,2\n" + strings.Repeat("7,8\r\n\r\n", 20) + strings.Repeat("z", 400) + "\n9,9"
	for _, s := range []string{"a\n0", "a,b\n1,2\n3,4\n\n\n", "a,b\n\"1\n\n\",2\n\"\"\"\n\",\n3,\"4\n", "a\n\r\n\r\r\n1\n", "a,b\n" + long, "\xef\xbb\xbfa\n1\n2\n3"} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, n uint8) {
		columntest.Split(t, Format{}, &text{"x.csv", data}, map[string]string{"header": "yes", "delimiter": ",", "max_record": "300"}, int(n)+1)
	})
}

func TestSplit(t *testing.T) {
	data := "a,b\n" + strings.Repeat("\"x\n,y\",1\n2,3\n\n", 500)
	if parts := columntest.Split(t, Format{}, &text{"x.csv", []byte(data)}, nil, 7); parts != 7 {
		t.Errorf("%d parts", parts)
	}
}
