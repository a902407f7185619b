package vocab

import (
	"strings"
	"unicode/utf8"
)

// preset is what a tokenizer.ggml.pre stands for in llama.cpp.
type preset struct {
	split   splitter
	raw     bool // merges work on characters, not on GPT-2's bytes, and bytes are tokens named <0xXX>
	escape  bool // spaces are written as ▁
	whole   bool // a word that is a token is that token, whatever the merges would make of it (ignore_merges)
	newline bool // words of line feeds only are looked up first, as with whole (Gemma 4)
	bos     bool // a BOS token is added if the file does not say otherwise
	sep     bool // the same for SEP, between the texts of a pair
	noBOS   bool // no token is BOS if the file names none
}

// presetNames lists, for each preset, the names that files have for it.
var presetNames = []struct {
	names string
	make  func() preset
}{
	{"default", func() preset {
		return preset{split: splitter{only(falconPunct(false)), gpt2, runOf(number), threeDigits}}
	}},
	{"llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano", func() preset {
		return preset{split: splitter{llama3.rule()}, whole: true, bos: true}
	}},
	{"dbrx smaug-bpe chatglm-bpe", func() preset { return preset{split: splitter{llama3.rule()}} }},
	{"glm4 glm5", func() preset { return preset{split: splitter{llama3.rule()}, whole: true, noBOS: true} }},
	{"gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert mpt olmo jais trillion exaone4 granite-docling",
		func() preset { return preset{split: splitter{gpt2}} }},
	{"jina-v1-en jina-v2-code roberta-bpe", func() preset { return preset{split: splitter{gpt2}, sep: true} }},
	{"starcoder refact command-r smollm codeshell exaone minerva-7b mellum2", func() preset {
		return preset{split: splitter{one(is(number)), gpt2}}
	}},
	{"qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2 bailingmoe bailingmoe2 llada-moe", func() preset {
		return preset{split: splitter{qwen2.rule()}}
	}},
	{"qwen35", func() preset {
		return preset{split: splitter{words{suffix: true, letter: letter | mark, digits: 1, tail: "\r\n"}.rule()}}
	}},
	{"seed-coder", func() preset { return preset{split: splitter{words{suffix: true, digits: 1}.rule()}} }},
	{"ufakzeka", func() preset { return preset{split: splitter{words{digits: 1, tail: "\r\n"}.rule()}} }},
	{"minicpm5", func() preset {
		return preset{split: splitter{groups, words{suffix: true, tail: "\r\n"}.rule()}, whole: true}
	}},
	{"laguna", func() preset { return preset{split: splitter{lineRuns, qwen2.rule()}} }},
	{"jais-2", func() preset {
		return preset{split: splitter{words{suffix: true, digits: 3, tail: "\r\n", blank: halvingBlanks}.rule()}}
	}},
	{"exaone-moe", func() preset { return preset{split: splitter{exaoneMoE}} }},
	{"falcon", func() preset { return preset{split: splitter{only(falconPunct(true)), gpt2, threeDigits}} }},
	{"deepseek-llm", func() preset {
		return preset{split: splitter{one(isLine), spaced(deepseekLetter), spaced(deepseekPunct), trailing, only(deepseekHan), runOf(number)}}
	}},
	{"deepseek-coder", func() preset {
		return preset{split: splitter{one(isLine), spaced(is(letter)), spaced(is(punct)), only(deepseekHan), one(is(number))}}
	}},
	{"deepseek-v3 hunyuan-dense joyai-llm hy_v4", func() preset { return preset{split: splitter{groups, only(kanaHan), deepseek3}} }},
	{"spark2_5", func() preset {
		return preset{split: splitter{groups, only(kanaHan), spark, one(is(number))}}
	}},
	{"afmoe", func() preset { return preset{split: splitter{textAndGroups, only(asian), deepseek3}} }},
	{"youtu", func() preset {
		return preset{split: splitter{youtu, words{cased: marked.with().match, digits: 1, tail: "\r\n/"}.rule()}, whole: true}
	}},
	{"tiny_aya cohere2moe", func() preset {
		return preset{split: splitter{textAndGroups, words{cased: marked.with().match, digits: 3, tail: "\r\n/"}.rule()}}
	}},
	{"tekken", func() preset {
		return preset{split: splitter{words{cased: asciiCase(letter).match, digits: 1, tail: "\r\n/"}.rule()}, whole: true, bos: true}
	}},
	{"gpt-4o llama4 kanana2 talkie minimax-m2", func() preset {
		return preset{split: splitter{words{cased: asciiCase(letter).with().match, digits: 3, tail: "\r\n/"}.rule()}}
	}},
	{"granite-embed-multi-97m", func() preset {
		return preset{split: splitter{words{cased: asciiCase(letter | mark).with().match, digits: 3, tail: "\r\n/"}.rule()}, whole: true}
	}},
	{"superbpe", func() preset { return preset{split: splitter{runOf(number), groupsFromRight(asciiDigit)}} }},
	{"poro-chat bloom gpt3-finnish", func() preset { return preset{split: splitter{bloom}} }},
	{"viking", func() preset { return preset{split: splitter{bloom, one(is(number))}} }},
	{"chameleon", func() preset {
		return preset{split: splitter{sentinel, image, indent, one(is(number)), one(asciiPunct), gpt2}, bos: true}
	}},
	{"kimi-k2", func() preset { return preset{split: splitter{kimi.rule()}} }},
	{"gemma4 granite-embed-multi-311m", func() preset {
		return preset{split: splitter{lineRuns}, raw: true, escape: true, newline: true, bos: true}
	}},
	{"sarvam-moe", func() preset { return preset{split: splitter{lineRuns}, raw: true, escape: true} }},
}

// presetOf finds a preset by the name that a file has for it.
func presetOf(name string) (preset, bool) {
	for _, p := range presetNames {
		for _, n := range strings.Fields(p.names) {
			if n == name {
				made := p.make()
				made.noBOS = made.noBOS || name == "chatglm-bpe"
				return made, true
			}
		}
	}
	return preset{}, false
}

var (
	llama3 = words{suffix: true, digits: 3, tail: "\r\n"}
	qwen2  = words{suffix: true, digits: 1, tail: "\r\n"}

	// marked is a cased word whose letters llama.cpp takes all for one class, with marks.
	marked = cased{
		upper: func(_ rune, c class) bool { return c&(letter|mark) != 0 },
		lower: func(_ rune, c class) bool { return c&(letter|mark) != 0 },
	}
)

// runOf matches one or more characters with the property.
func runOf(of class) rule { return func(x text, i int) int { return x.run(i, of) } }

// groups matches \p{N}{1,3}.
func groups(x text, i int) int { return digits(x, i, 3) }

func isLine(r rune, _ class) bool { return r == '\r' || r == '\n' }

func asciiDigit(r rune, _ class) bool { return '0' <= r && r <= '9' }

// threeDigits matches [0-9][0-9][0-9].
func threeDigits(x text, i int) int {
	if i+3 > len(x.s) {
		return i
	}
	for _, b := range []byte(x.s[i : i+3]) {
		if b < '0' || b > '9' {
			return i
		}
	}
	return i + 3
}

// groupsFromRight cuts a run of digits into groups of three, counted from its end: 1|234|567. The rule matches one group. Asked
// inside a run, it takes what is left for whole groups, as it is when a splitter asks: so a run is counted once.
func groupsFromRight(in func(rune, class) bool) rule {
	return func(x text, i int) int {
		if r, size := utf8.DecodeLastRuneInString(x.s[:i]); size > 0 && in(r, x.t.of(r)) {
			return x.three(i, 3, in)
		}
		count := 0
		for j := i; ; count++ {
			r, n, c := x.at(j)
			if n == 0 || !in(r, c) {
				break
			}
			j += n
		}
		if count == 0 {
			return i
		}
		return x.three(i, (count+2)%3+1, in)
	}
}

// textAndGroups is llama.cpp's way to do that for AFMoE and Tiny Aya: the text before a run stays with its first group.
func textAndGroups(x text, i int) int {
	group := groupsFromRight(is(number))
	j := x.other(i, number)
	if j == i {
		return group(x, j)
	}
	return i + group(text{x.s[i:], x.t}, j-i)
}

// three is the end of up to most characters of the set.
func (x text) three(i, most int, in func(rune, class) bool) int {
	for ; most > 0; most-- {
		r, n, c := x.at(i)
		if n == 0 || !in(r, c) {
			break
		}
		i += n
	}
	return i
}

// lineRuns matches [^\n]+|[\n]+.
func lineRuns(x text, i int) int {
	if i >= len(x.s) {
		return i
	}
	if x.s[i] != '\n' {
		if n := strings.IndexByte(x.s[i:], '\n'); n >= 0 {
			return i + n
		}
		return len(x.s)
	}
	return tail(x, i, "\n")
}

// trailing matches \s+$.
func trailing(x text, i int) int {
	if end := x.run(i, space); end == len(x.s) {
		return end
	}
	return i
}

// halvingBlanks matches \s{512}(?!\S)|\s{256}(?!\S)|…|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}.
func halvingBlanks(x text, i int) int {
	var ends [514]int // of the first n blanks
	n := 0
	for ends[0] = i; n < 513; n++ {
		_, size, c := x.at(ends[n])
		if c&space == 0 {
			break
		}
		ends[n+1] = ends[n] + size
	}
	atEnd := ends[n] == len(x.s)
	for _, k := range []int{512, 256, 128, 64, 32, 16, 8, 4, 2, 1} {
		if n > k || n == k && (atEnd || k == 1) {
			return ends[k]
		}
	}
	return i
}

// falconPunct is [\p{P}\$\+<=>\^~\|], with ` if back is set.
func falconPunct(back bool) func(rune, class) bool {
	return func(r rune, c class) bool {
		return c&punct != 0 || r < utf8.RuneSelf && strings.IndexByte("$+<=>^~|", byte(r)) >= 0 || back && r == '`'
	}
}

// asciiPunct is [\p{P}!-/:-@\[-`{-~].
func asciiPunct(r rune, c class) bool {
	return c&punct != 0 || '!' <= r && r <= '/' || ':' <= r && r <= '@' || '[' <= r && r <= '`' || '{' <= r && r <= '~'
}

// bloom matches " ?[^(\s|.,!?…。，、।۔،)]+", whose parentheses and bar are characters of the set.
func bloom(x text, i int) int {
	word := func(r rune, c class) bool {
		return c&space == 0 && !strings.ContainsRune("(|.,!?…。，、।۔،)", r)
	}
	j := afterSpace(x, i)
	if end := only(word)(x, j); end > j {
		return end
	}
	return i
}

// deepseek3 is the last of DeepSeek-V3's expressions:
//
//	[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
func deepseek3(x text, i int) int { return deepseekWord(x, i, false) }

// spark is Spark 2.5's, which has lines one by one:
//
//	…| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+
func spark(x text, i int) int { return deepseekWord(x, i, true) }

func deepseekWord(x text, i int, single bool) int {
	r, n, c := x.at(i)
	if n == 0 {
		return i
	}
	if r < utf8.RuneSelf && c&(punct|symbol) != 0 {
		j := i + n
		for j < len(x.s) && 'a' <= x.s[j]|0x20 && x.s[j]|0x20 <= 'z' {
			j++
		}
		if j > i+n {
			return j
		}
	}
	if c&(letter|mark) != 0 {
		return x.run(i, letter|mark)
	}
	if c&(punct|symbol) == 0 && r != '\r' && r != '\n' {
		if end := x.run(i+n, letter|mark); end > i+n {
			return end
		}
	}
	j := afterSpace(x, i)
	if end := x.run(j, punct|symbol); end > j {
		if single {
			return end
		}
		return tail(x, end, "\r\n")
	}
	if single {
		if r == '\r' || r == '\n' {
			return i + n
		}
		return blanks(x, i)
	}
	if end := lines(x, i); end > i {
		return end
	}
	return blanks(x, i)
}

// exaoneMoE is llama3 with words that go on over spaces between single letters:
//
//	…|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+
func exaoneMoE(x text, i int) int {
	if end := suffix(x, i, true); end > i {
		return end
	}
	word := func(i int) int {
		end := i
		for {
			_, n, c := x.at(i)
			if c&letter == 0 {
				return end
			}
			i = x.run(i+n, mark)
			end = i
			if j := afterSpace(x, i); j > i {
				if _, _, c := x.at(j); c&letter != 0 {
					i = j
				}
			}
		}
	}
	r, n, c := x.at(i)
	if c&(letter|number) == 0 && r != '\r' && r != '\n' {
		if end := word(i + n); end > i+n {
			return end
		}
	}
	if end := word(i); end > i {
		return end
	}
	if c&number != 0 {
		return i + n
	}
	j := afterSpace(x, i)
	if end := x.other(j, space|letter|number); end > j {
		if end < len(x.s) && strings.IndexByte("\r\n/", x.s[end]) >= 0 {
			end++
		}
		return end
	}
	if end := lines(x, i); end > i {
		return end
	}
	return blanks(x, i)
}

// kimi is Kimi K2's, as llama.cpp has it: Chinese characters by themselves, words of other letters with an English suffix.
var kimi = words{digits: 3, tail: "\r\n", cased: func(x text, i int) int {
	han := func(r rune, _ class) bool { return isHan(r) }
	word := func(r rune, c class) bool { return c&letter != 0 && !isHan(r) }
	if end := only(han)(x, i); end > i {
		return end
	}
	j := i
	if r, n, c := x.at(i); c&(letter|number) == 0 && r != '\r' && r != '\n' {
		j += n
	}
	if end := only(word)(x, j); end > j {
		return suffix(x, end, true)
	}
	return i
}}

// sentinel matches <sentinel:[0-9]+>.
func sentinel(x text, i int) int {
	const name = "<sentinel:"
	if !strings.HasPrefix(x.s[i:], name) {
		return i
	}
	j := tail(x, i+len(name), "0123456789")
	if j > i+len(name) && j < len(x.s) && x.s[j] == '>' {
		return j + 1
	}
	return i
}

// image matches (IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z.
func image(x text, i int) int {
	const name = "IMGIMG"
	if !strings.HasPrefix(x.s[i:], name) {
		return i
	}
	from := i + len(name)
	j := tail(x, from, "ABCDEFGHI")
	if n := j - from; n >= 1 && n <= 4 && j < len(x.s) && x.s[j] == 'Z' {
		return j + 1
	}
	return i
}

// indent matches [\t\n]|    |  .
func indent(x text, i int) int {
	for _, s := range []string{"\t", "\n", "    ", "  "} {
		if strings.HasPrefix(x.s[i:], s) {
			return i + len(s)
		}
	}
	return i
}
