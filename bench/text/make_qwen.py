"""Writes a GGUF file in the shape of Qwen2.5 with random weights: make_qwen.py VOCABULARY.gguf 0.5B|1.5B Q4_0|Q4_K OUT.gguf. Blocks are drawn as
they stand in the file; their scales are such that weights spread as trained ones do (0.02). Q4_K is laid out as llama-quantize does:
rows that are no multiple of 256 columns are Q5_0, the embedding, which is the output too, is Q6_K or Q8_0. The vocabulary is that of
llama.cpp's own test file."""

import sys

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFReader, GGUFValueType, GGUFWriter

SHAPES = {"0.5B": (896, 24, 14, 2, 4864), "1.5B": (1536, 28, 12, 2, 8960)}  # width, layers, heads, heads of keys, inner
HEAD = {"0.5B": 64, "1.5B": 128}
SPREAD = 0.02
rng = np.random.default_rng(20)


def halves(n, value):
    return np.full((n, 1), value, dtype="<f2").view(np.uint8)


def noise(n, size):
    return rng.integers(0, 256, (n, size), dtype=np.uint8)


def blocks(kind, n):
    """n blocks whose weights have a mean of 0 and a spread of SPREAD."""
    if kind == Type.Q4_0:  # d, 16 bytes of two
        return np.hstack([halves(n, SPREAD / 4.6), noise(n, 16)])
    if kind == Type.Q5_0:  # d, 4 bytes of high bits, 16 of two low ones
        return np.hstack([halves(n, SPREAD / 9.2), noise(n, 20)])
    if kind == Type.Q8_0:  # d, 32 integers
        return np.hstack([halves(n, SPREAD / 74), noise(n, 32)])
    if kind == Type.Q4_K:  # d, dmin, 8 scales and 8 minima of 6 bits, which are 32 here, 128 bytes of two
        scales = np.array([32] * 8 + [0] * 4, dtype=np.uint8)
        scales[:8] |= 2 << 6  # the high bits of the last four of each
        return np.hstack([halves(n, SPREAD / 4.6 / 32), halves(n, 7.5 * SPREAD / 4.6 / 32), np.tile(scales, (n, 1)), noise(n, 128)])
    if kind == Type.Q6_K:  # 128 bytes of low bits, 64 of high ones, 16 scales, d
        return np.hstack([noise(n, 192), np.full((n, 16), 32, dtype=np.uint8), halves(n, SPREAD / 18.5 / 32)])
    raise ValueError(kind)


def main():
    source, name, kind, out = sys.argv[1:5]
    width, layers, heads, keys, inner = SHAPES[name]
    head = HEAD[name]
    words = GGUFReader(source)
    writer = GGUFWriter(out, "qwen2")
    writer.add_name("Qwen2.5 %s, random weights" % name)
    writer.add_block_count(layers)
    writer.add_context_length(32768)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(keys)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    tokens = 0
    for key, field in words.fields.items():
        if not key.startswith("tokenizer.") or key == "tokenizer.chat_template":
            continue
        value = field.contents()
        if field.types[0] == GGUFValueType.ARRAY:
            writer.add_array(key, value)
            tokens = len(value) if key == "tokenizer.ggml.tokens" else tokens
        else:
            writer.add_key_value(key, value, field.types[0])
    writer.add_chat_template(
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )

    def matrix(tensor, rows, columns, wanted):
        if wanted == Type.Q4_K and columns % 256:
            wanted = Type.Q5_0
        if wanted == Type.Q6_K and columns % 256:
            wanted = Type.Q8_0
        elements = 256 if wanted in (Type.Q4_K, Type.Q6_K) else 32
        data = blocks(wanted, rows * columns // elements).reshape(rows, -1)
        writer.add_tensor(tensor, data, raw_dtype=wanted)

    def vector(tensor, size, mean, spread):
        writer.add_tensor(tensor, (mean + spread * rng.standard_normal(size)).astype(np.float32))

    main_type, output = (Type.Q4_0, Type.Q8_0) if kind == "Q4_0" else (Type.Q4_K, Type.Q6_K)
    matrix("token_embd.weight", tokens, width, output)
    vector("output_norm.weight", width, 1, 0.1)
    for layer in range(layers):
        at = "blk.%d." % layer
        vector(at + "attn_norm.weight", width, 1, 0.1)
        vector(at + "ffn_norm.weight", width, 1, 0.1)
        for part, count in (("q", heads), ("k", keys), ("v", keys)):
            matrix(at + "attn_%s.weight" % part, count * head, width, main_type)
            vector(at + "attn_%s.bias" % part, count * head, 0, 0.1)
        matrix(at + "attn_output.weight", width, heads * head, main_type)
        matrix(at + "ffn_gate.weight", inner, width, main_type)
        matrix(at + "ffn_up.weight", inner, width, main_type)
        matrix(at + "ffn_down.weight", width, inner, main_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main()
