package vocab

import (
	"encoding/binary"
	"os"
	"slices"
	"testing"
)

func TestExh(t *testing.T) {
	v := loadJSON(t, "/root/.cache/serval-dev/tokjson/minilm/tokenizer.json")
	b, _ := os.ReadFile("/tmp/tk/exh.bin")
	n := 0
	for len(b) > 0 {
		c := binary.LittleEndian.Uint32(b)
		k := binary.LittleEndian.Uint32(b[4:])
		b = b[8:]
		var w []int32
		for range k {
			w = append(w, int32(binary.LittleEndian.Uint32(b)))
			b = b[4:]
		}
		g := v.Encode(nil, "a"+string(rune(c))+"b", Options{})
		if !slices.Equal(g, w) {
			n++
			if n < 60 || n%300 == 0 {
				t.Errorf("%X got %q want %q", c, spell(v, g), spell(v, w))
			}
		}
	}
	t.Log(n)
}
