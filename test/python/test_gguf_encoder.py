"""all-MiniLM-L6-v2 as GGUF files, by the field's clients: the vectors of 32-bit weights are sentence-transformers' own
(minilm/golden.py) to 1e-5, those of 16-bit weights and llama.cpp's to 1e-3, and the pooling is what the file says."""

import array
import json
import math
import pathlib

import cohere
import httpx
import openai
import pytest

here = pathlib.Path(__file__).parent / "minilm"
GOLDEN = json.loads((here / "golden.json").read_text())
TEXTS, TOKENS, WIDTH = GOLDEN["texts"], GOLDEN["tokens"], 384
ALL = array.array("f", (here / "golden.f32").read_bytes())
VECTORS = [ALL[i : i + WIDTH] for i in range(0, len(ALL), WIDTH)]
# sentence-transformers cut what has 256 tokens, and its tokenizer gives up words of more than 100 letters, which
# llama.cpp's does not.
FIT = [i for i in range(len(TEXTS)) if TOKENS[i] < 256 and max(map(len, TEXTS[i].split()), default=0) <= 100]
assert len(FIT) > 20


def off(a, b):
    assert len(a) == len(b)
    return max(abs(x - y) for x, y in zip(a, b))


def unit(v):
    norm = math.sqrt(sum(x * x for x in v))
    return [x / norm for x in v]


@pytest.fixture(scope="module")
def client(http_address):
    return openai.OpenAI(base_url=f"http://{http_address}/v1", api_key="none", max_retries=0, timeout=240)


@pytest.mark.parametrize("model, most", [("f32", 1e-5), ("apart", 1e-5), ("f16", 1e-3), ("peer", 1e-3)])
def test_equals_sentence_transformers(client, model, most):
    """All texts of a request, and each alone."""
    r = client.embeddings.create(model=model, input=[TEXTS[i] for i in FIT])
    assert r.usage.prompt_tokens == sum(TOKENS[i] for i in FIT)
    for d, i in zip(r.data, FIT):
        assert off(d.embedding, VECTORS[i]) < most, TEXTS[i]
        alone = client.embeddings.create(model=model, input=TEXTS[i])
        assert off(alone.data[0].embedding, VECTORS[i]) < most and alone.usage.prompt_tokens == TOKENS[i], TEXTS[i]
        assert model == "peer" or alone.data[0].embedding == d.embedding, TEXTS[i]


@pytest.mark.parametrize("model, platform", [("f32", "serval_gguf"), ("cls", "serval_gguf"), ("apart", "serval_gguf"), ("peer", "llamacpp_gguf")])
def test_who_computes(http_address, model, platform):
    assert httpx.get(f"http://{http_address}/v2/models/{model}").json()["platform"] == platform


def test_pooling_is_the_files(client, http_address):
    """The same file, but for its pooling: the first token's vector, as ONNX Runtime computes it."""
    text = TEXTS[FIT[3]]
    ids = httpx.post(f"http://{http_address}/tokenize", json={"model": "cls", "prompt": text}).json()["tokens"]
    inputs = [{"name": n, "datatype": "INT64", "shape": [1, len(ids)], "data": v} for n, v in (("input_ids", ids), ("attention_mask", [1] * len(ids)), ("token_type_ids", [0] * len(ids)))]
    states = httpx.post(f"http://{http_address}/v2/models/tensors/infer", json={"inputs": inputs}, timeout=60).json()["outputs"][0]["data"]
    assert len(states) == len(ids) * WIDTH
    got = client.embeddings.create(model="cls", input=text).data[0].embedding
    assert off(got, unit(states[:WIDTH])) < 1e-3
    mean = client.embeddings.create(model="f32", input=text).data[0].embedding
    assert off(got, mean) > 1e-2 and off(mean, unit([sum(states[i::WIDTH]) for i in range(WIDTH)])) < 1e-3


def test_the_rest(client, http_address):
    long = "word " * 600
    with pytest.raises(openai.BadRequestError, match=r"input\[1\] has 602 tokens; .* takes 512, so it is 90 too long"):
        client.embeddings.create(model="f32", input=["fits", long])
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="f32", messages=[{"role": "user", "content": "hello"}])
    short = client.embeddings.create(model="f32", input=TEXTS[FIT[0]], dimensions=64).data[0].embedding
    assert off(short, unit(VECTORS[FIT[0]][:64])) < 1e-3
    query, documents = TEXTS[3], [TEXTS[i] for i in (2, 4, 3, 19)]
    r = cohere.ClientV2(api_key="none", base_url=f"http://{http_address}").rerank(model="f32", query=query, documents=documents)
    near = [(1 + sum(x * y for x, y in zip(VECTORS[3], VECTORS[i]))) / 2 for i in (2, 4, 3, 19)]
    assert [x.index for x in r.results] == sorted(range(4), key=lambda k: -near[k]) and r.results[0].index == 2
    assert all(abs(x.relevance_score - near[x.index]) < 1e-3 for x in r.results)
