"""Writes what convert_test.go compares with: for each architecture a folder with the small files of a tiny model (its config and
its tokenizer), and a golden file that says what llama.cpp's own converter makes of it and what transformers computes with it.

    make.py LLAMA_CPP [CASE...]

LLAMA_CPP is a source tree of llama.cpp (convert_hf_to_gguf.py, v0.5.0). Needs torch, transformers, sentencepiece, PyYAML and tqdm.
The weights are not stored: they are a function of the tensor's name, which internal/testkit/tiny.go has too. A case's folder in the tests is
what is written here and the weights; the converter sees the same folder, but with tokenizer.model where there is one, so that the
scores that are made of a tokenizer.json are compared with SentencePiece's own.
"""

import hashlib
import json
import pathlib
import shutil
import struct
import sys
import tempfile

import numpy as np
import sentencepiece
import tokenizers
import torch
import transformers
from safetensors.torch import save_file
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).parent

TEXT = """The quick brown fox jumps over the lazy dog, and the dog does not mind it at all.
Serval serves every kind of model behind the protocols that clients already speak.
A model is converted once, and every byte of it is held against what another program makes of it.
In 1969 there were 4 nodes; in 1977 there were 111, and in 1989 more than 100000 of them.
Wenn hinter Fliegen Fliegen fliegen, fliegen Fliegen Fliegen hinterher. Größe, Übung, Straße, Äpfel.
Le cœur a ses raisons que la raison ne connaît point; on le sait en mille choses.
Съешь же ещё этих мягких французских булок, да выпей чаю. Широкая электрификация южных губерний.
我能吞下玻璃而不伤身体。今天天气很好，我们去公园散步吧。機械学習のモデルを変換する。
def convert(folder, out):\n    for name, tensor in sorted(folder.items()):\n        out.write(name, tensor)\n    return out
I've been told he's there, we'll see; they're sure that it isn't what you'd like. You've seen 3.14159 and 2.71828.
Text to text, token to token, tensor to tensor: nothing is lost, nothing is added, nothing is rounded that need not be rounded.
"""
LINES = [line.replace("\\n", "\n") for line in TEXT.splitlines()] * 4


# -- weights, as in internal/testkit/tiny.go

def weights(name, shape, dtype, centre):
    h = 14695981039346656037
    for b in name.encode():
        h = (h ^ b) * 1099511628211 % 2**64
    n = int(np.prod(shape))
    with np.errstate(over="ignore"):
        z = np.arange(n, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(h)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    if dtype == torch.float32:
        v = ((z >> np.uint64(40)).astype(np.int64) - 2**23).astype(np.float32) * np.float32(2.0**-23)
    else:
        v = ((z >> np.uint64(59)).astype(np.int64) - 16).astype(np.float32) * np.float32(2.0**-4)
    v = v * np.float32(0.25)
    if centre:
        v = np.float32(1) + v
    return torch.from_numpy(v.reshape(shape)).to(dtype)


# -- tokenizers

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def byte_pairs(size, cut, specials, begin=None, nfc=False, ignore_merges=False, plain=()):
    t = tokenizers.Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if cut == "digits":
        t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    else:
        t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(cut), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    if nfc:
        t.normalizer = normalizers.NFC()
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(LINES, trainers.BpeTrainer(vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    t.add_special_tokens(specials)
    t.add_tokens(list(plain))
    if begin:
        one = processors.TemplateProcessing(single=f"{begin} $A", pair=f"{begin} $A {begin} $B:1", special_tokens=[(begin, t.token_to_id(begin))])
        t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), one])
    return t


def sentences(folder, kind, size, **more):
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(line.replace("\n", " ") for line in LINES))
    plain = dict(remove_extra_whitespaces=False, normalization_rule_name="identity", minloglevel=2, character_coverage=0.98, num_threads=1)
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(folder / "tokenizer"), model_type=kind, vocab_size=size, byte_fallback=kind == "bpe", **(plain | more))
    corpus.unlink()
    (folder / "tokenizer.vocab").unlink()


def llama_fast(folder, gemma):
    """tokenizer.json as the field's files of these models are, of folder/tokenizer.model."""
    sp = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    pieces = [(sp.id_to_piece(i), sp.get_score(i)) for i in range(sp.get_piece_size())]
    vocab = {p: i for i, (p, _) in enumerate(pieces)}
    merges = []
    for piece, score in pieces:
        local = [(piece[:i], piece[i:]) for i in range(1, len(piece)) if piece[:i] in vocab and piece[i:] in vocab]
        local.sort(key=lambda ab: (vocab[ab[0]], vocab[ab[1]]))
        merges += [(a, b, score) for a, b in local]
    merges.sort(key=lambda m: m[2], reverse=True)
    t = tokenizers.Tokenizer(models.BPE(vocab, [(a, b) for a, b, _ in merges], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if gemma:
        t.normalizer = normalizers.Replace(" ", "▁")
        t.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
        t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    else:
        t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    control = [tokenizers.AddedToken(sp.id_to_piece(i), normalized=False, special=True) for i in range(sp.get_piece_size()) if sp.is_control(i) or sp.is_unknown(i)]
    t.add_special_tokens(control)
    bos = sp.id_to_piece(sp.bos_id())
    t.post_processor = processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos} $B:1", special_tokens=[(bos, sp.bos_id())])
    return t


def word_pieces(size):
    t = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer(lowercase=True)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece()
    t.train_from_iterator(LINES, trainers.WordPieceTrainer(vocab_size=size, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False))
    cls, sep = t.token_to_id("[CLS]"), t.token_to_id("[SEP]")
    t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", cls), ("[SEP]", sep)])
    return t


def unigram(size, charsmap):
    t = tokenizers.Tokenizer(models.Unigram())
    t.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap), normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "▁")])
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    t.decoder = decoders.Metaspace(prepend_scheme="always")
    t.train_from_iterator(LINES, trainers.UnigramTrainer(vocab_size=size, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False))
    return t


def decoder_of(t):
    return {str(i): {"content": a.content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": a.special}
            for i, a in sorted(t.get_added_tokens_decoder().items())}


def settle(folder, t, config):
    raw = json.loads(t.to_str())
    (folder / "tokenizer.json").write_text(json.dumps(raw, ensure_ascii=False, separators=(",", ":")) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(config, ensure_ascii=False, indent=1) + "\n")


CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
DECODER = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=32, max_position_embeddings=512)


def llama(folder):
    t = byte_pairs(360, LLAMA3, ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"], begin="<|begin_of_text|>", ignore_merges=True)
    settle(folder, t, {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>",
                       "chat_template": "{{ bos_token }}" + CHATML, "model_max_length": 512})
    (folder / "generation_config.json").write_text(json.dumps({"bos_token_id": 360, "eos_token_id": [361, 362], "temperature": 0.6, "top_k": 20, "top_p": 0.95,
                                                                      "repetition_penalty": 1.05}) + "\n")
    config = transformers.LlamaConfig(**{**DECODER, "max_position_embeddings": 4096}, vocab_size=363, rms_norm_eps=1e-5, tie_word_embeddings=False, bos_token_id=360, eos_token_id=[361, 362],
        rope_parameters={"rope_type": "llama3", "rope_theta": 20000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64})
    return config, transformers.LlamaForCausalLM, torch.float32, "llama-bpe"


def smollm(folder):
    t = byte_pairs(350, "digits", ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], plain=["<think>"])
    settle(folder, t, {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "unk_token": "<|endoftext|>", "pad_token": "<|im_end|>",
                       "add_prefix_space": False, "model_max_length": 512})
    (folder / "chat_template.jinja").write_text(CHATML)
    # More rows than the tokenizer has tokens, as many models have, and the config in the words of transformers 4.
    config = transformers.LlamaConfig(**DECODER, vocab_size=384, rms_norm_eps=1e-5, tie_word_embeddings=True, bos_token_id=351, eos_token_id=352,
        rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 100000.0})
    return config, transformers.LlamaForCausalLM, torch.bfloat16, "smollm"


def mistral(folder):
    sentences(folder, "bpe", 400)
    t = llama_fast(folder, gemma=False)
    settle(folder, t, {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True, "add_eos_token": False,
                       "added_tokens_decoder": decoder_of(t),
                       "chat_template": "{{ bos_token }}{% for m in messages %}[INST] {{ m.content }} [/INST]{% endfor %}"})
    config = transformers.MistralConfig(**DECODER, vocab_size=400, rms_norm_eps=1e-5, sliding_window=None, tie_word_embeddings=False, bos_token_id=1, eos_token_id=2,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0})
    return config, transformers.MistralForCausalLM, torch.float16, None


def qwen2(folder):
    t = byte_pairs(356, QWEN2, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], nfc=True)
    settle(folder, t, {"tokenizer_class": "Qwen2Tokenizer", "bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "unk_token": None, "add_bos_token": False,
                       "chat_template": CHATML})
    sizes = {k: v for k, v in DECODER.items() if k != "head_dim"} | {"num_attention_heads": 2, "num_key_value_heads": 1}
    config = transformers.Qwen2Config(**sizes, vocab_size=359, rms_norm_eps=1e-6, tie_word_embeddings=True, use_sliding_window=False, bos_token_id=356, eos_token_id=358,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0})
    return config, transformers.Qwen2ForCausalLM, torch.bfloat16, "qwen2"


def qwen3(folder):
    t = byte_pairs(356, QWEN2, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], nfc=True)
    settle(folder, t, {"tokenizer_class": "Qwen2Tokenizer", "bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "unk_token": None, "add_bos_token": False,
                       "chat_template": [{"name": "default", "template": CHATML}, {"name": "tool_use", "template": CHATML + "{# tools #}"}]})
    config = transformers.Qwen3Config(**DECODER, vocab_size=359, rms_norm_eps=1e-6, tie_word_embeddings=False, bos_token_id=356, eos_token_id=358,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0})
    return config, transformers.Qwen3ForCausalLM, torch.float32, "qwen2"


GEMMA = dict(hidden_size=64, intermediate_size=96, num_attention_heads=2, num_key_value_heads=1, head_dim=32, vocab_size=404, max_position_embeddings=512, rms_norm_eps=1e-6,
             hidden_activation="gelu_pytorch_tanh", query_pre_attn_scalar=32, sliding_window=8, bos_token_id=2, eos_token_id=1, pad_token_id=0)


def gemma_tokens(folder):
    sentences(folder, "bpe", 400, pad_id=0, eos_id=1, bos_id=2, unk_id=3, pad_piece="<pad>", bos_piece="<bos>", eos_piece="<eos>", add_dummy_prefix=False,
              control_symbols=["<start_of_turn>", "<end_of_turn>"], user_defined_symbols=["<unused0>", "\n\n", "▁▁"])
    t = llama_fast(folder, gemma=True)
    t.add_tokens([tokenizers.AddedToken(s, normalized=False) for s in ("<unused0>", "\n\n", "▁▁")])
    config = {"tokenizer_class": "GemmaTokenizer", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>", "add_bos_token": True, "add_eos_token": False,
              "chat_template": "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m.role }}\n{{ m.content }}<end_of_turn>\n{% endfor %}"}
    config["added_tokens_decoder"] = decoder_of(t)
    settle(folder, t, config)


def gemma2(folder):
    gemma_tokens(folder)
    config = transformers.Gemma2Config(**GEMMA, num_hidden_layers=3, attn_logit_softcapping=50.0, final_logit_softcapping=30.0, rope_parameters={"rope_type": "default", "rope_theta": 10000.0})
    return config, transformers.Gemma2ForCausalLM, torch.float32, None


def gemma3(folder):
    gemma_tokens(folder)
    config = transformers.Gemma3TextConfig(**GEMMA, num_hidden_layers=7, rope_parameters={
        "full_attention": {"rope_type": "default", "rope_theta": 1000000.0}, "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}})
    return config, transformers.Gemma3ForCausalLM, torch.bfloat16, None


def bert(folder):
    settle(folder, word_pieces(300), {"tokenizer_class": "BertTokenizer", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "pad_token": "[PAD]", "mask_token": "[MASK]",
                                      "do_lower_case": True, "model_max_length": 128})
    (folder / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                                                     {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]) + "\n")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 64, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}) + "\n")
    config = transformers.BertConfig(vocab_size=300, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=128, pad_token_id=0)
    return config, transformers.BertModel, torch.float32, "bert-bge"


def pieces(folder):
    """tokenizer.model and nothing else."""
    sentences(folder, "bpe", 400)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
        "add_bos_token": True, "add_eos_token": False, "added_tokens_decoder": {str(i): {"content": c, "special": True} for i, c in enumerate(["<unk>", "<s>", "</s>"])}}) + "\n")
    config = transformers.LlamaConfig(**{**DECODER, "num_hidden_layers": 1}, vocab_size=406, rms_norm_eps=1e-5, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0})
    return config, transformers.LlamaForCausalLM, torch.float32, None


CASES = dict(llama=llama, smollm=smollm, mistral=mistral, qwen2=qwen2, qwen3=qwen3, gemma2=gemma2, gemma3=gemma3, bert=bert, pieces=pieces)
OLD = {"smollm", "mistral"}  # whose config.json is written as transformers 4 wrote it


def old_words(raw):
    rope = raw.pop("rope_parameters")
    raw["rope_theta"] = rope.pop("rope_theta")
    raw["rope_scaling"] = None if rope == {"rope_type": "default"} else {"type": rope.pop("rope_type"), **rope}
    raw["torch_dtype"] = raw.pop("dtype")
    return raw


# -- the reference

def convert(root, folder, out, kind, pre):
    sys.path.insert(0, str(root))
    sys.path.insert(1, str(root / "gguf-py"))
    import conversion
    import conversion.base as base
    import gguf

    conversion.load_all_models()
    if pre:
        base.TextModel.get_vocab_base_pre = lambda self, tokenizer: pre
    hparams = base.ModelBase.load_hparams(folder, False)
    model = conversion.get_model_class(conversion.get_model_architecture(hparams, conversion.ModelType.TEXT))
    with torch.inference_mode():
        model(folder, {"F32": gguf.LlamaFileType.ALL_F32, "F16": gguf.LlamaFileType.MOSTLY_F16, "BF16": gguf.LlamaFileType.MOSTLY_BF16}[kind], out).write()


def digest(raw):
    return hashlib.sha256(raw).hexdigest()[:32]


def describe(root, path):
    import gguf
    r = gguf.GGUFReader(path)
    keys = {}
    for name, field in r.fields.items():
        if name.startswith("GGUF."):
            continue
        value = field.contents()
        if name in ("tokenizer.ggml.tokens", "tokenizer.ggml.merges"):
            value = digest("\n".join(value).encode())
        elif name in ("tokenizer.ggml.scores",):
            value = digest(b"".join(struct.pack("<f", x) for x in value))
        keys[name] = [" ".join(t.name.lower() for t in field.types), value]
    tensors = {t.name: [t.tensor_type.name, [int(n) for n in t.shape], digest(bytes(t.data.tobytes()))] for t in r.tensors}
    return keys, tensors


def unigrams():
    """A tokenizer.json and a tokenizer.model of Unigram, and what their own libraries make of texts; llama.cpp's converter takes neither for a decoder."""
    folder = HERE / "unigram"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    rules = folder / "rules.tsv"  # a normalizer as SentencePiece's own, but small: line ends and tabs are spaces, and ﬁ is two letters
    rules.write_text("9\t20\nA\t20\nD\t20\nFB01\t66 69\n")
    sentences(folder, "unigram", 210, remove_extra_whitespaces=True, normalization_rule_name="", normalization_rule_tsv=str(rules))
    rules.unlink()
    proto = sentencepiece_model_pb2.ModelProto.FromString((folder / "tokenizer.model").read_bytes())
    t = unigram(390, proto.normalizer_spec.precompiled_charsmap)
    settle(folder, t, {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"})
    sp = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    texts = LINES[:11] + ["", " ", "a", "an unseen ☃ is here", "two  spaces ", "a ﬁsh"]
    golden = {"json": [[x, t.encode(x, add_special_tokens=False).ids] for x in texts], "model": [[x, sp.encode(x)] for x in texts]}
    (folder / "golden.json").write_text(json.dumps(golden, ensure_ascii=False, separators=(",", ":")) + "\n")


def main(root, cases):
    if not cases or "unigram" in cases:
        unigrams()
    for case in [c for c in cases or CASES if c != "unigram"]:
        torch.manual_seed(0)
        folder = HERE / case
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        config, model_class, dtype, pre = CASES[case](folder)
        config._attn_implementation = "eager"
        with tempfile.TemporaryDirectory() as scratch:
            scratch = pathlib.Path(scratch) / case
            model = model_class(config).to(dtype)
            gemma = "gemma" in case
            state = {}
            for name, t in model.state_dict().items():
                if name == "lm_head.weight" and config.tie_word_embeddings or name.endswith("position_ids"):
                    continue
                state[name] = weights(name, tuple(t.shape), dtype, "norm" in name.lower() and name.endswith("weight") and not gemma)
            missing = model.load_state_dict(state, strict=False)
            assert not missing.unexpected_keys and all(m in ("lm_head.weight",) or "position_ids" in m for m in missing.missing_keys), missing
            if getattr(config, "tie_word_embeddings", False) and case != "bert":
                model.tie_weights()
            model.config.save_pretrained(folder)
            raw = json.loads((folder / "config.json").read_text())
            raw["architectures"], raw["dtype"] = [model_class.__name__], str(dtype).removeprefix("torch.")
            if case in OLD:
                raw = old_words(raw)
            (folder / "config.json").write_text(json.dumps(raw, indent=1) + "\n")
            shutil.copytree(folder, scratch)
            save_file(state, scratch / "model.safetensors", metadata={"format": "pt"})

            golden = {"source": {n: [str(t.dtype).removeprefix("torch."), list(t.shape), digest(t.contiguous().view(torch.uint8).numpy().tobytes())] for n, t in state.items()},
                      "gemma": gemma, "files": {}}
            for kind in ("F32", "F16", "BF16"):
                out = scratch / f"{kind}.gguf"
                convert(root, scratch, out, kind, pre)
                golden["keys"], golden["files"][kind] = describe(root, out)
                golden["keys"] = {k: v for k, v in golden["keys"].items() if not k.startswith("general.") or k == "general.architecture" or k.startswith("general.sampling.")}
            tokens = [(7 * i * i + 3 * i + 5) % config.vocab_size for i in range(20)]
            golden["tokens"] = tokens
            with torch.inference_mode():
                out = model.float().eval()(torch.tensor([tokens]))
            if case == "bert":
                golden["first"] = [round(x, 6) for x in torch.nn.functional.normalize(out.last_hidden_state[0, 0], dim=0).tolist()]
            else:
                last = torch.log_softmax(out.logits[0, -1], dim=0)
                golden["next"] = [int(last.argmax()), round(float(last.max()), 5)]
                golden["logits"] = [[round(x, 5) for x in row[:: config.vocab_size // 16].tolist()] for row in out.logits[0]]
        if case != "pieces":
            (folder / "tokenizer.model").unlink(missing_ok=True)
        (folder / "golden.json").write_text(json.dumps(golden, ensure_ascii=False, separators=(",", ":")) + "\n")
        print(case, "done", file=sys.stderr)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), sys.argv[2:])
