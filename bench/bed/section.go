package bed

import (
	"fmt"
	"os"
	"strings"
)

// ReplaceSection puts text between the markers of a section in a Markdown file, <!-- section: begin --> and <!-- section: end -->.
func ReplaceSection(file, section, text string) error {
	sectionBegin, sectionEnd := "<!-- "+section+": begin -->", "<!-- "+section+": end -->"
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(data), sectionBegin)
	_, after, ended := strings.Cut(rest, sectionEnd)
	if !ok || !ended {
		return fmt.Errorf("%s: the markers %q and %q are missing", file, sectionBegin, sectionEnd)
	}
	return os.WriteFile(file, []byte(before+sectionBegin+"\n"+text+sectionEnd+after), 0o644)
}
