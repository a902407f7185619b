"""Answers, by Hugging Face's tokenizers, what a tokenizer.json makes of texts: one JSON request a line on stdin, one answer a line.

Usage: hf.py tokenizer.json < requests. A request is {"a": text} or {"a": text, "b": text, "special": bool}; the answer has
"ids" without added tokens, "around" with them, "pair" and "types" if there is a b, and "text", which is the ids decoded.
"""

import json
import sys

from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file(sys.argv[1])
tokenizer.no_truncation()
tokenizer.no_padding()
for line in sys.stdin:
    request = json.loads(line)
    tokenizer.encode_special_tokens = not request.get("special", True)
    ids = tokenizer.encode(request["a"], add_special_tokens=False).ids
    answer = {
        "ids": ids,
        "around": tokenizer.encode(request["a"]).ids,
        "text": tokenizer.decode(ids, skip_special_tokens=False),
    }
    if "b" in request:
        pair = tokenizer.encode(request["a"], request["b"])
        answer["pair"], answer["types"] = pair.ids, pair.type_ids
    print(json.dumps(answer), flush=True)
