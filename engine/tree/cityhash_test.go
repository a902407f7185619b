package tree

import (
	"encoding/json"
	"os"
	"testing"
)

func TestCategoryHash(t *testing.T) {
	raw, err := os.ReadFile("testdata/hashes.json")
	if err != nil {
		t.Fatal(err)
	}
	var table map[string]uint32
	if err := json.Unmarshal(raw, &table); err != nil {
		t.Fatal(err)
	}
	lengths := map[int]bool{}
	for text, want := range table {
		lengths[len(text)] = true
		if got := uint32(categoryHash([]byte(text))); got != want {
			t.Errorf("%q (%d bytes): %d, want %d", text, len(text), got, want)
		}
	}
	for _, n := range []int{0, 1, 3, 4, 8, 16, 17, 32, 33, 64, 65, 200} {
		if !lengths[n] {
			t.Errorf("no text of %d bytes", n)
		}
	}
}
