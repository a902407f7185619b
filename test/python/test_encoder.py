"""ONNX encoders with their tokenizer.json, by the field's clients: the vectors of all-MiniLM-L6-v2 are sentence-transformers'
own (minilm/golden.py), whatever they are asked for together with, in the server and in a process of its own."""

import array
import base64
import concurrent.futures
import json
import math
import pathlib

import cohere
import httpx
import openai
import pytest

here = pathlib.Path(__file__).parent / "minilm"
GOLDEN = json.loads((here / "golden.json").read_text())
TEXTS, TOKENS, WIDTH, CONTEXT = GOLDEN["texts"], GOLDEN["tokens"], 384, 256
LONG = len(TEXTS) - 1  # sentence-transformers cut it


def read_golden():
    all = array.array("f", (here / "golden.f32").read_bytes())
    assert len(all) == len(TEXTS) * WIDTH
    return [all[i : i + WIDTH] for i in range(0, len(all), WIDTH)]


VECTORS = read_golden()
FIT = [i for i in range(len(TEXTS)) if TOKENS[i] < CONTEXT]
assert LONG not in FIT and len(FIT) > 20


def off(a, b):
    assert len(a) == len(b)
    return max(abs(x - y) for x, y in zip(a, b))


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b))


@pytest.fixture(scope="module")
def client(http_address):
    return openai.OpenAI(base_url=f"http://{http_address}/v1", api_key="none", max_retries=0, timeout=240)


def vectors(client, texts, model="minilm", **more):
    r = client.embeddings.create(model=model, input=texts, **more)
    assert [d.index for d in r.data] == list(range(len(r.data)))
    return [d.embedding for d in r.data], r.usage


@pytest.mark.parametrize("model", ["minilm", "apart"])
def test_equals_sentence_transformers(client, model):
    got, usage = vectors(client, [TEXTS[i] for i in FIT], model)
    assert usage.prompt_tokens == usage.total_tokens == sum(TOKENS[i] for i in FIT)
    for v, i in zip(got, FIT):
        assert off(v, VECTORS[i]) < 1e-4, TEXTS[i]
        assert abs(cosine(v, v) - 1) < 1e-5


def test_formats_and_sizes(client, http_address):
    (floats,), _ = vectors(client, "hello", encoding_format="float")
    r = httpx.post(f"http://{http_address}/v1/embeddings", json={"model": "minilm", "input": "hello", "encoding_format": "base64"}).json()
    assert off(array.array("f", base64.b64decode(r["data"][0]["embedding"])), floats) < 1e-6
    (short,), _ = vectors(client, "hello", dimensions=64)
    norm = math.sqrt(cosine(floats[:64], floats[:64]))
    assert len(short) == 64 and off(short, [x / norm for x in floats[:64]]) < 1e-5
    with pytest.raises(openai.BadRequestError, match="dimensions"):
        vectors(client, "hello", dimensions=WIDTH + 1)
    tokens = httpx.post(f"http://{http_address}/tokenize", json={"model": "minilm", "prompt": "hello"}).json()
    assert tokens["max_model_len"] == CONTEXT and tokens["tokens"][0] == 101 and tokens["tokens"][-1] == 102
    (same,), _ = vectors(client, [tokens["tokens"]])
    assert off(same, floats) < 1e-6


def test_neighbours_change_nothing(client):
    """Every text alone, and many requests at once in which each stands beside others."""
    alone = [vectors(client, TEXTS[i])[0][0] for i in FIT]

    def together(k):
        order = FIT[k % len(FIT) :] + FIT[: k % len(FIT)]
        got, _ = vectors(client, [TEXTS[i] for i in order[: 1 + k % 9]])
        return max(off(v, alone[FIT.index(i)]) for v, i in zip(got, order))

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert max(pool.map(together, range(120))) < 1e-5


def test_long_texts(client, http_address):
    with pytest.raises(openai.BadRequestError, match=r"input\[1\] has \d+ tokens; .* takes 256, so it is \d+ too long") as e:
        vectors(client, ["fits", TEXTS[LONG]])
    assert e.value.code == "context_length_exceeded"
    r = httpx.post(f"http://{http_address}/api/embed", json={"model": "minilm", "input": [TEXTS[LONG]], "truncate": True}, timeout=60)
    assert r.status_code == 200, r.text
    assert off(r.json()["embeddings"][0], VECTORS[LONG]) < 1e-4


def test_most_texts_of_a_request(client):
    got, usage = vectors(client, [f"{i} {TEXTS[i % 5]}" for i in range(2048)])
    assert len(got) == 2048 and usage.prompt_tokens > 2048 * 4
    for i in (0, 1, 777, 2047):
        assert off(got[i], vectors(client, f"{i} {TEXTS[i % 5]}")[0][0]) < 1e-5
    with pytest.raises(openai.BadRequestError, match="2049 entries; a request takes 2048"):
        vectors(client, ["x"] * 2049)


def test_bad_tokens(client):
    with pytest.raises(openai.BadRequestError, match="has the token 999999"):
        vectors(client, [[101, 999999, 102]])
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="minilm", messages=[{"role": "user", "content": "hello"}])


def test_rerank_by_cosine(http_address):
    query, documents = TEXTS[3], [TEXTS[i] for i in (2, 4, 3, 19)]
    c = cohere.ClientV2(api_key="none", base_url=f"http://{http_address}")
    r = c.rerank(model="minilm", query=query, documents=documents)
    near = {k: (1 + cosine(VECTORS[3], VECTORS[i])) / 2 for k, i in enumerate((2, 4, 3, 19))}
    assert [x.index for x in r.results] == sorted(near, key=near.get, reverse=True) and r.results[0].index == 2
    for x in r.results:
        assert abs(x.relevance_score - near[x.index]) < 1e-4


@pytest.mark.parametrize("model", ["scorer", "scorer-apart"])
def test_rerank_by_a_cross_encoder(http_address, model):
    """A random encoder of pairs of letters; its score for each pair is asked for as tensors of a second copy."""
    query, documents = "abc", ["xyz", "abcabc", "q"]

    def word(text):
        return [5 + ord(text[0]) - ord("a")] + [31 + ord(c) - ord("a") for c in text[1:]]

    scores = []
    for d in documents:
        ids = [2, *word(query), 3, *word(d), 3]
        types = [0] * (len(query) + 2) + [1] * (len(d) + 1)
        inputs = [{"name": n, "datatype": "INT64", "shape": [1, len(ids)], "data": v} for n, v in (("input_ids", ids), ("attention_mask", [1] * len(ids)), ("token_type_ids", types))]
        r = httpx.post(f"http://{http_address}/v2/models/scorer-tensors/infer", json={"inputs": inputs})
        assert r.status_code == 200, r.text
        scores.append(1 / (1 + math.exp(-r.json()["outputs"][0]["data"][0])))
    r = cohere.ClientV2(api_key="none", base_url=f"http://{http_address}").rerank(model=model, query=query, documents=documents)
    assert [x.index for x in r.results] == sorted(range(3), key=lambda i: -scores[i])
    for x in r.results:
        assert abs(x.relevance_score - scores[x.index]) < 1e-5
    r = httpx.post(f"http://{http_address}/v1/embeddings", json={"model": model, "input": "abc"})
    assert r.status_code == 400 and "makes no vectors" in r.json()["error"]["message"]


def test_tensors_are_refused(http_address):
    inputs = [{"name": n, "datatype": "INT64", "shape": [1, 2], "data": [1, 1]} for n in ("input_ids", "attention_mask", "token_type_ids")]
    r = httpx.post(f"http://{http_address}/v2/models/minilm/infer", json={"inputs": inputs})
    assert r.status_code == 400 and "takes text" in r.text
