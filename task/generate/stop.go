package generate

import "strings"

// findStop looks for the first stop text. It returns where it begins and which it is; or, where there is none, "" and where
// the end of text begins that may become one.
func findStop(text string, stops []string) (at int, stop string) {
	at = len(text)
	for _, s := range stops {
		if i := strings.Index(text, s); i >= 0 && (i < at || i == at && len(s) > len(stop)) {
			at, stop = i, s
		}
	}
	if stop != "" {
		return at, stop
	}
	for _, s := range stops {
		for n := min(len(s)-1, len(text)); n > 0; n-- {
			if strings.HasSuffix(text, s[:n]) {
				at = min(at, len(text)-n)
				break
			}
		}
	}
	return at, ""
}
