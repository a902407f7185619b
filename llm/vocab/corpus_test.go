package vocab

import (
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// samples are texts in many scripts, with what tokenizers are known to stumble over.
var samples = strings.Split(hidden(`

Hello, world!
 Hello  world   with    spaces     
	tab	and		two tabs
The quick brown fox jumps over the lazy dog. It's they'll we're I've he'd I'm can't DON'T WE'LL I'M 'S 'ſ ’s
I saw 3 cats, 42 dogs, 123 birds, 1234 fish, 12345678901234567890 ants; 3.14159, 1,000,000.00 and ١٢٣ ४५६ ⅷ ² ½
func main() { for i := 0; i < 10; i++ { fmt.Println("x[%d] = 0x%02X\\n", i, buf[i]) } } // done
    def __init__(self, *args, **kwargs):        self.a_b = a->b; if (x!=y && z||w) {return -1;}
https://example.com/path?q=1&r=%20#frag user.name+tag@host.co.uk C:\Windows\System32 /usr/local/lib
{"role": "user", "content": "hi\u00e9"} <tag attr='v'/> [INST] <<SYS>> ### \r\n --- *** ___ $$x^2$$ ~~~
Łódź Žluťoučký kůň úpěl ďábelské ódy. Ünïcödé naïve café résumé Straße ﬁﬂ ǅ İstanbul ıi ẞ
café é ệ ñ Ą̊ a̐éö̲ ͏ combining ̀́̂ alone
Привет, как дела? Съешь ещё этих мягких французских булок, да выпей чаю.
Καλημέρα κόσμε, Ὀδυσσεύς ΑΒΓ αβγ ς
你好，世界！今天天气怎么样？我有3个苹果。龘㐀𠀀𪜀𫝀豈繁體字「引號」　全角　空格
こんにちは世界。カタカナとひらがな、漢字ｶﾅ。ー々〆 ゛゜
안녕하세요 세계! 한국어 텍스트 각 힣 ㄱㅏ ᄀ
مرحبا بالعالم، كيف حالك؟ ٣٫١٤ السَّلَامُ عَلَيْكُمْ {200F}RTL{200E}
שלום עולם! מה שלומך? שָׁלוֹם
नमस्ते दुनिया, आप कैसे हैं? क्ष त्र ज्ञ हिन्दी में १२३।
สวัสดีชาวโลก ภาษาไทยไม่มีวรรค ๑๒๓ ကမ္ဘာ ខ្មែរ ລາວ བོད་
ગુજરાતી தமிழ் తెలుగు ಕನ್ನಡ മലയാളം বাংলা ਪੰਜਾਬੀ සිංහල አማርኛ ᏣᎳᎩ ᐃᓄᒃᑎᑐᑦ 𐐀𐐨 𝔘𝔫𝔦
😀 😃😄 👩{200D}👩{200D}👧{200D}👦 🏳️{200D}🌈 🇩🇪🇫🇷 👍🏽 1️⃣ ❤️ ☺ ™ © ® ♥ 🫠 𝕏 🤷🏽{200D}♀️
€ £ ¥ ₿ $5 §1 ¶ • … – — ‘single’ “double” «guillemets» „low“ ‚x‘ ¿Qué? ¡Ay!
∀x∈ℝ: ⌈x⌉ = −⌊−x⌋, α ∧ ¬β = ¬(¬α ∨ β), ∑∏∫√∞≠≤≥ ←↑→↓ ─│┌┐ █▓▒░ ▁▂▃ ▁leading▁ and ▁▁ two
a b c d   e {200B} zero{200B}width{2060}joiner{FEFF}bom soft{AD}hyphen   line para
<|endoftext|><|im_start|>user\nhi<|im_end|> <s> </s> <unk> <pad> <bos> <eos> [CLS] [SEP] [MASK] <0x0A> <mask>
<start_of_turn>user hello<end_of_turn> <|eot_id|> <|begin_of_text|> <|end|> <｜begin▁of▁sentence｜> <unused5> <h1> </h1>
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
================================================================================ !!!!!!!!!! ........ ------- ########
camelCaseWord HTTPServer XMLHttpRequest iPhone15Pro McDonald's ABCdefGHI aB Ab aBC ÀÉÎõü ÉCOLE'S école'S
x y  z   w    v     u      t       s        r         q          p
Cửa Việt Nguyễn Đặng Türkçe ğüşiöç IĞDIR Ελληνικά ΐ ΰ ﷺ ﷽ ① Ⅳ ㊗ ㌀ Å Å ½ ﬀ ｆｕｌｌ　ｗｉｄｔｈ
�� replacement � and      object ￼ private    noncharacter {FDD0} {FFFE} tags {E0041}{E0062}
abc1def2 3ghi 45jkl678 mn9,0.1-2+3=4*5/6 a1b2c3 1a2b 12ab34 ab12 1.2.3.4 2024-01-31T12:34:56Z
`), "\n")

// hidden puts characters that editors do not show in place of their numbers: {200D}.
func hidden(s string) string {
	return regexp.MustCompile(`\{[0-9A-F]{2,6}\}`).ReplaceAllStringFunc(s, func(m string) string {
		n, err := strconv.ParseUint(m[1:len(m)-1], 16, 32)
		if err != nil {
			panic(err)
		}
		return string(rune(n))
	})
}

// blanks are runs of white space, which lines cannot hold.
var blankSamples = []string{"\n", "\n\n", "\n\n\n", "\r\n", "\r\n\r\n x", " \n", "\n ", "\t\n\t\n", "a\nb", "a\n\nb", "a \n b", "a\n \nb", "a\r\nb\r\n",
	"   \n   \n   ", "x   ", "   x", "\t", "\t\t\t", " \t \t ", "x\t y", "x \ty", "a\vb\fc", "a\u0085b", "a\u00a0\u00a0b", "a\u2003 \u2003b", "a\u2028b\u2029c",
	"a\u3000b", "\u3000\u3000", "a\x00b", "\x01\x02\x1b[0m\x7f", "\x1c\x1d\x1e\x1f", strings.Repeat(" ", 100), strings.Repeat("\n", 100), strings.Repeat(" \n", 40),
	strings.Repeat("\t", 40) + "x", "a" + strings.Repeat(" ", 33) + "b", "'", "''", "' s", "'s", " 's", "x's's", "\n's", "1's", "'re're", "'r", "'l", "'ll", "'V", "'Ve",
	strings.Repeat("1", 50), strings.Repeat("12 ", 20), "a_b__c", "_", "/", "//", "a/b", "!/\n/", "!\r\n\n/", "?\n", "? \n", "a!\n\nb", " !\n", "\ufffd", "ſ", "'ſ", "K", "İ"}

// alphabet are the characters that random texts are made of, by kind.
var alphabet = []string{"abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789", " ", " ", "\n", "\t", "\r\n", ".,;:!?-_'\"()[]{}<>/\\|@#$%^&*+=~`",
	"éèêëàâäôöûüçñßæøåœ", "абвгдежзиклмнопрстуфхцчшщъыьэюя", "αβγδεζηθικλμνξοπρστυφχψωΆ", "你我他的是不了在人有这上大来和中国地到说", "あいうえおかきくけこアイウエオー", "가나다라마바사한국어",
	"ابتثجحخدذرزسشصضطظعغفقكلمنهوي", "אבגדהוזחטיכלמנסעפצקרשת", "अआइईउऊएऐओऔकखगघचछजझटठ", "\u0300\u0301\u0308\u0327\u064b\u064e\u05b0\u093e\u094d", "😀👩🏽❤🇩🇪🤷",
	"\u200d\ufe0f\u200b\u200e\u00ad\ufeff", "²³½①Ⅳ٣५๓", "€£¥∑√≠←→█▁", "\u00a0\u2003\u3000\u2028\u0085", "ǅǈʰªºˇ々", "𐐀𝔘𠀀𪜀", "\x00\x01\x1f\x7f", "ſKİıẞﬁ"}

// randomText is a text of random characters, n or a few more, mostly of one kind for a few characters.
func randomText(r *rand.Rand, n int) string {
	var b strings.Builder
	for b.Len() < n {
		if r.IntN(12) == 0 {
			c := rune(r.IntN(0x30000))
			if r.IntN(2) == 0 {
				c = rune(r.IntN(0x3100))
			}
			if utf8.ValidRune(c) {
				b.WriteRune(c)
			}
			continue
		}
		kind := []rune(alphabet[r.IntN(len(alphabet))])
		for range 1 + r.IntN(1+r.IntN(8)) {
			b.WriteRune(kind[r.IntN(len(kind))])
		}
	}
	return b.String()
}

// corpus is the samples and so many random texts, some with names of tokens among them.
func corpus(n int, names []string) []string {
	out := append([]string{strings.Join(samples, "\n")}, samples...)
	out = append(out, blankSamples...)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		s := randomText(r, 1+r.IntN(60))
		if len(names) > 0 && i%3 == 0 {
			for range 1 + r.IntN(4) {
				s += names[r.IntN(len(names))]
				if r.IntN(2) == 0 {
					s += randomText(r, r.IntN(8))
				}
			}
		}
		out = append(out, s)
	}
	return out
}
