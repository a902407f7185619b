package vocab

import "strings"

// plainExpression writes line ends as \r and \n, as some files have them and others have the characters themselves.
func plainExpression(s string) string {
	return strings.NewReplacer("\r", `\r`, "\n", `\n`).Replace(s)
}

// The parts that expressions of the field have in common.
const (
	english  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)`
	english2 = `'(?i:[sdmt]|ll|ve|re)`
	blank    = `|\s+(?!\S)|\s+`
	newlines = `|\s*[\r\n]+` + blank
	symbols1 = `| ?[^\s\p{L}\p{N}]+[\r\n]*` + newlines
	uppers   = `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
	lowers   = `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
	before   = `[^\r\n\p{L}\p{N}]?`
	slashes  = `| ?[^\s\p{L}\p{N}]+[\r\n/]*` + newlines
)

// expressions are those that tokenizer.json files are known to have, with the scanners that match them.
func expressions() map[string]rule {
	llama := theirSuffix(words{digits: 3, tail: "\r\n"})
	qwen := theirSuffix(words{digits: 1, tail: "\r\n"})
	any := theirSuffix(words{tail: "\r\n"})
	o200k := words{cased: theirCase.with().match, digits: 3, tail: "\r\n/"}.rule()
	return map[string]rule{
		`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+` + blank:                      gpt2,
		`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)`:                    gpt2,
		`'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+` + blank:                         gpt2,
		english + `|` + before + `\p{L}+|\p{N}{1,3}` + symbols1:                                     llama,
		english2 + `|` + before + `\p{L}+|\p{N}{1,3}` + symbols1:                                    llama,
		english2 + `|` + before + `+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]` + blank: llama,
		english + `|` + before + `\p{L}+|\p{N}` + symbols1:                                          qwen,
		english2 + `|` + before + `+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]` + blank:      qwen,
		english + `|` + before + `\p{L}+|\p{N}+` + symbols1:                                         any,
		english + `|` + before + `[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*` + newlines: theirSuffix(words{letter: letter | mark,
			digits: 1, tail: "\r\n"}),
		before + uppers + `*` + lowers + `+` + english + `?|` + before + uppers + `+` + lowers + `*` + english + `?|\p{N}{1,3}` + slashes: o200k,
		before + uppers + `*` + lowers + `+|` + before + uppers + `+` + lowers + `*|\p{N}` + slashes: words{cased: theirCase.match, digits: 1,
			tail: "\r\n/"}.rule(),
		`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_` + "`" + `{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*` + newlines: deepseek3,
		`[一-龥぀-ゟ゠-ヿ]+`:    only(kanaHan),
		`\p{N}{1,3}`:      groups,
		`\p{N}`:           one(is(number)),
		`\p{N}+`:          runOf(number),
		`[0-9]`:           one(asciiDigit),
		`[0-9][0-9][0-9]`: threeDigits,
		`\s+`:             runOf(space),
		`[^\n]+|[\n]+`:    lineRuns,
	}
}

// theirSuffix is words with the first alternative as Unicode folds case: ſ is an s.
func theirSuffix(w words) rule {
	w.suffix = true
	plain := w.rule()
	return func(x text, i int) int {
		if strings.HasPrefix(x.s[i:], "'ſ") {
			return i + len("'ſ")
		}
		return plain(x, i)
	}
}
