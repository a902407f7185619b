package convert

import (
	"bytes"
	"fmt"
	"slices"

	"serval/llm/gguf"
	"serval/llm/vocab"
)

// samples are texts in which tokenizers differ: white space, numbers, scripts, code, contractions, and what is in no vocabulary.
func samples() []string {
	return []string{
		"Hello, world! How are you today? I'm fine, they're not; we'll see, he'd've known. I'VE SEEN IT.",
		"  two spaces, a tab\tand\n\nnew lines\r\n\r\n   and trailing ones   \n \n\t\t x",
		"In 1969 there were 4 nodes, in 1989 over 100000; 3.14159, 1,234,567.89 and 0x1F, 10^-3, ½ and ²³.",
		"def f(x):\n    if x <= 0:\n        return [y**2 for y in range(10)]  # squares\n\treturn {'a': \"b\"}\n",
		"Größe Übung Straße naïve café, Ærøskøbing; ÀÉÎÕÜ; l'été d'Ève, ¿qué tal? ¡olé!",
		"Съешь же ещё этих мягких французских булок; Ελληνικά κείμενα; עברית ועוד; العربية لغة جميلة",
		"我能吞下玻璃而不伤身体。機械学習のモデルを変換する。カタカナ、ひらがな、한국어 문장입니다.",
		"हिन्दी में एक वाक्य। ไทยภาษาไทย កាន់តែពិសេស 🙂👍🏽👩‍👩‍👧‍👦 🇩🇪 ✅ ∀x∈ℝ: ⌈x⌉ = −⌊−x⌋ → ∞",
		"https://example.com/a?b=c&d=%20#e user@example.org C:\\path\\file.txt `code` **bold** <tag attr='v'/> ------====....!!!!????",
		"a", " ", "\n", "AbCdEfGhI camelCaseWord snake_case_word kebab-case-word SHOUTING 'quoted' \"double\" ``ticks''",
	}
}

// check compares the tokens that the file's vocabulary makes of samples with those of the folder's own tokenizer.json, where this
// module can read it.
func check(f *gguf.File, x *texts) error {
	ours, err := vocab.FromGGUF(f)
	if err != nil {
		return wrong("tokenizer.json", "tokenizer.json", "what it was converted to cannot be read: %w", err)
	}
	if x.json == nil || bytes.Contains(x.read.Normalizer.raw, []byte(`"Precompiled"`)) { // which llm/vocab does not do
		return nil
	}
	theirs, err := vocab.FromJSON(x.json, x.raw)
	if err != nil {
		return wrong("tokenizer.json", "tokenizer.json", "%w", err)
	}
	for _, text := range samples() {
		for _, around := range []bool{false, true} {
			if around && x.read.PostProcessor.Type == "" {
				continue // what transformers' class puts around a text is not in the file
			}
			o := vocab.Options{Around: around}
			a, b := ours.Encode(nil, text, o), theirs.Encode(nil, text, o)
			if at := differ(a, b); at >= 0 {
				return wrong("tokenizer.json", "tokenizer.json",
					"GGUF has no place for all that this tokenizer does: of %.60q, from token %d on, %s should become %s but would become %s",
					text, at, spell(theirs, b, at), name(b, at), name(a, at))
			}
		}
	}
	return nil
}

// differ is the first place where two lists differ; -1: nowhere.
func differ(a, b []int32) int {
	if slices.Equal(a, b) {
		return -1
	}
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// name shows some tokens from a place on.
func name(ids []int32, at int) string { return fmt.Sprint(ids[at:min(at+4, len(ids))]) }

func spell(v *vocab.Vocabulary, ids []int32, at int) string {
	return fmt.Sprintf("%q", v.Decode(ids[at:min(at+4, len(ids))], true))
}
