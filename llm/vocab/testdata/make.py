"""Trains the small tokenizers of testdata/small by Hugging Face's tokenizers: one for each part of a tokenizer.json that
models in use have, and for each way that parts have to work. Run it in a venv with tokenizers, then `go test -update` writes what
the library makes of the test's texts.
"""

import pathlib
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers as n, pre_tokenizers as p, processors, trainers

here = pathlib.Path(__file__).parent
words = """the quick brown fox jumps over the lazy dog it's they're we'll don't hello world spaces tabs 3 cats 42 dogs 123 birds
1234 fish 3.14 for int i = 0; i < 10; i++ return x != y && z || w https://example.com/path?q=1 user.name+tag@host café naïve
résumé Straße İstanbul Привет как дела ещё этих мягких Καλημέρα κόσμε 你好 世界 今天 天气 怎么样 こんにちは カタカナ 안녕하세요 세계
مرحبا بالعالم שלום עולם नमस्ते दुनिया สวัสดี ﬁ ½ ① Å"""
corpus = [" ".join(words.split()[i : i + 5]) for i in range(40)] * 3 + words.splitlines()
special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]"]


def save(name, model, trainer, normalizer=None, pre=None, post=None, decoder=None, added=()):
    t = Tokenizer(model)
    if normalizer:
        t.normalizer = normalizer
    if pre:
        t.pre_tokenizer = pre
    t.train_from_iterator(corpus, trainer)
    if post:
        t.post_processor = post(t)
    if decoder:
        t.decoder = decoder
    t.add_tokens(list(added))
    t.save(str(here / "small" / f"{name}.json"), pretty=False)


def bpe(size=400, **more):
    return trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False, **more)


def level(**more):
    return bpe(initial_alphabet=p.ByteLevel.alphabet(), **more)


def template(t):
    c, s = t.token_to_id("[CLS]"), t.token_to_id("[SEP]")
    return processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP]:1 $B:2 [SEP]:3", [("[CLS]", c), ("[SEP]", s)])


def bert(t):
    return processors.BertProcessing(("[SEP]", t.token_to_id("[SEP]")), ("[CLS]", t.token_to_id("[CLS]")))


def roberta(t):
    return processors.RobertaProcessing(("[SEP]", t.token_to_id("[SEP]")), ("[CLS]", t.token_to_id("[CLS]")))


piece = trainers.WordPieceTrainer(vocab_size=450, special_tokens=special, show_progress=False)
(here / "small").mkdir(exist_ok=True)
save("bert-cased", models.WordPiece(unk_token="[UNK]"), piece, n.BertNormalizer(lowercase=False), p.BertPreTokenizer(), bert,
     decoders.WordPiece())
save("bert-plain", models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=6), piece,
     n.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False), p.BertPreTokenizer(), template)
save("wordpiece-normal", models.WordPiece(unk_token="[UNK]"), piece,
     n.Sequence([n.NFKD(), n.StripAccents(), n.Lowercase(), n.Strip(), n.Replace("``", '"')]), p.Whitespace(), template)
save("bpe-suffix", models.BPE(unk_token="[UNK]", end_of_word_suffix="</w>"), bpe(end_of_word_suffix="</w>"), n.NFC(),
     p.Sequence([p.WhitespaceSplit(), p.Punctuation("isolated")]), roberta, decoders.BPEDecoder())
save("bpe-prefix", models.BPE(unk_token="[UNK]", continuing_subword_prefix="##", fuse_unk=True),
     bpe(continuing_subword_prefix="##"), n.NFD(), p.Whitespace())
save("roberta", models.BPE(), level(), None, p.ByteLevel(add_prefix_space=True), roberta, decoders.ByteLevel(),
     [AddedToken("<mask>", lstrip=True, special=True), AddedToken("<x>", rstrip=True, normalized=False), AddedToken("word", single_word=True)])
save("starcoder", models.BPE(), level(), n.NFKC(), p.Sequence([p.Digits(individual_digits=True), p.ByteLevel(add_prefix_space=False)]), None,
     decoders.ByteLevel())
save("digits", models.BPE(), level(), n.Lowercase(), p.Sequence([p.Digits(), p.CharDelimiterSplit(";"), p.ByteLevel(False, use_regex=False)]),
     None, decoders.ByteLevel(), [AddedToken("ABC", normalized=True), AddedToken("<A>", normalized=False, special=True)])
save("llama", models.BPE(unk_token="[UNK]", byte_fallback=True, fuse_unk=True),
     trainers.BpeTrainer(vocab_size=600, special_tokens=special + [f"<0x{i:02X}>" for i in range(256)], show_progress=False),
     n.Sequence([n.Prepend("▁"), n.Replace(" ", "▁")]), None, template,
     decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]))
unigram = trainers.UnigramTrainer(vocab_size=300, special_tokens=special, unk_token="[UNK]", show_progress=False)
save("unigram", models.Unigram(), unigram, n.Sequence([n.NFKC(), n.Replace(Regex(" {2,}"), " ")]), p.Metaspace(), template, decoders.Metaspace())
save("unigram-first", models.Unigram(), unigram, None, p.Sequence([p.Punctuation("merged_with_previous"), p.Metaspace(prepend_scheme="first")]),
     None, decoders.Metaspace(prepend_scheme="first"))
save("unigram-whole", models.Unigram(), unigram, n.NFC(), p.Metaspace(prepend_scheme="never", split=False), None,
     decoders.Metaspace(prepend_scheme="never"))
for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
    for name, pattern, invert in (("space", " ", False), ("blank", Regex(r"\s+"), False), ("digit", Regex(r"\p{N}"), True)):
        save(f"split-{behavior}-{name}", models.BPE(), level(size=280), None,
             p.Sequence([p.Split(pattern, behavior, invert), p.ByteLevel(False, use_regex=False)]), None, decoders.ByteLevel())
