package convert

import (
	"encoding/json"
	"fmt"
	"strings"
)

// The parts that expressions of the field have in common.
const (
	english = `(?i:'s|'t|'re|'ve|'m|'ll|'d)`
	symbols = `| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	slashes = `| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	before  = `[^\r\n\p{L}\p{N}]?`
	uppers  = `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
	lowers  = `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
)

// ways are the ways to cut text into words that GGUF has a name for (tokenizer.ggml.pre), each as describe puts it. whole is the
// model's ignore_merges: a word that is a token is that token.
func ways() []struct {
	steps string
	whole bool
	name  string
} {
	const bytes = " ByteLevel"
	cased := before + uppers + `*` + lowers + `+|` + before + uppers + `+` + lowers + `*|\p{N}` + slashes
	split := func(s string) string { return "Split(" + s + ")" }
	return []struct {
		steps string
		whole bool
		name  string
	}{
		{"ByteLevel(words)", false, "gpt-2"},
		{"Digits ByteLevel(words)", false, "smollm"},
		{split(english+`|`+before+`\p{L}+|\p{N}{1,3}`+symbols) + bytes, true, "llama-bpe"},
		{split(english+`|`+before+`\p{L}+|\p{N}{1,3}`+symbols) + bytes, false, "smaug-bpe"},
		{split(english+`|`+before+`\p{L}+|\p{N}`+symbols) + bytes, false, "qwen2"},
		{split(cased) + bytes, true, "tekken"},
		{split(cased) + bytes, false, "tekken"}, // its merges make all of its tokens
		{split(`\p{N}{1,3}`) + " " + split(`[一-龥぀-ゟ゠-ヿ]+`) + " " +
			split("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+") + bytes,
			false, "deepseek-v3"},
	}
}

// preOf is GGUF's name for a way to cut text into words.
func preOf(cut []step, whole bool) (string, error) {
	said, err := describe(cut)
	if err != nil {
		return "", err
	}
	for _, w := range ways() {
		if w.steps == said && w.whole == whole {
			return w.name, nil
		}
	}
	return "", fmt.Errorf("GGUF has no name for this way to cut text into words, or this version does not know it (ignore_merges %v): %.400s", whole, said)
}

// describe writes the steps as ways has them.
func describe(cut []step) (string, error) {
	var out []string
	for i := range cut {
		var s struct {
			Individual bool  `json:"individual_digits"`
			Prefix     *bool `json:"add_prefix_space"`
			Regex      *bool `json:"use_regex"`
			Pattern    struct{ Regex, String string }
			Behavior   string
			Invert     bool
		}
		if err := cut[i].read(&s); err != nil {
			return "", err
		}
		switch said := cut[i].Type; {
		case said == "Digits" && s.Individual:
			out = append(out, said)
		case said == "ByteLevel" && (s.Prefix == nil || *s.Prefix):
			return "", fmt.Errorf("ByteLevel puts a space before each text (add_prefix_space), which has no place in GGUF")
		case said == "ByteLevel" && (s.Regex == nil || *s.Regex):
			out = append(out, "ByteLevel(words)")
		case said == "ByteLevel":
			out = append(out, said)
		case said == "Split" && s.Pattern.Regex != "" && (s.Behavior == "Isolated" && !s.Invert || s.Behavior == "Removed" && s.Invert):
			out = append(out, "Split("+strings.NewReplacer("\r", `\r`, "\n", `\n`).Replace(s.Pattern.Regex)+")")
		default:
			var settings json.RawMessage = cut[i].raw
			out = append(out, fmt.Sprintf("%.200s", settings))
		}
	}
	return strings.Join(out, " "), nil
}
