package bed

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReplaceSection(t *testing.T) {
	const section, sectionBegin, sectionEnd = "bench/x", "<!-- bench/x: begin -->", "<!-- bench/x: end -->"
	file := filepath.Join(t.TempDir(), "b.md")
	for range 2 {
		if err := os.WriteFile(file, []byte("before\n"+sectionBegin+"\nold\n"+sectionEnd+"\nafter\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := ReplaceSection(file, section, "new\n"); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(file)
		if want := "before\n" + sectionBegin + "\nnew\n" + sectionEnd + "\nafter\n"; err != nil || string(got) != want {
			t.Errorf("%v, %q, want %q", err, got, want)
		}
	}
	if err := os.WriteFile(file, []byte(sectionEnd+sectionBegin), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := ReplaceSection(file, section, "new"); err == nil {
		t.Error("markers in the wrong order were accepted")
	}
}
