"""Cohere's client (rerank), Hugging Face's InferenceClient, and the routes of TGI, TEI, vLLM and llama-server."""

import json

import cohere
import httpx
import pytest
from huggingface_hub import InferenceClient

MODEL = "chat"
DOCUMENTS = ["The stock market fell today.", "Cats are small animals that people keep at home.", "A recipe for bread."]


def test_cohere_rerank(http_address):
    for client in (cohere.ClientV2(api_key="none", base_url=f"http://{http_address}"), cohere.Client(api_key="none", base_url=f"http://{http_address}")):
        r = client.rerank(model=MODEL, query="Which pets do people have?", documents=DOCUMENTS, top_n=2)
        assert len(r.results) == 2 and r.results[0].relevance_score >= r.results[1].relevance_score
        assert all(0 <= x.relevance_score <= 1 and 0 <= x.index < 3 for x in r.results)


def test_cohere_cuts_documents(http_address):
    """By that API's contract, and where it says so: never silently."""
    client = cohere.ClientV2(api_key="none", base_url=f"http://{http_address}")
    long = DOCUMENTS + ["Cats are pets. " + "word " * 500]
    r = client.rerank(model=MODEL, query="Which pets do people have?", documents=long, max_tokens_per_doc=100)
    assert len(r.results) == 4 and len(r.meta.warnings) == 1 and "documents[3]" in r.meta.warnings[0] and "100 tokens" in r.meta.warnings[0]
    short = client.rerank(model=MODEL, query="Which pets do people have?", documents=long[:3] + [long[3][: len("Cats are pets. ") + 5 * 120]], max_tokens_per_doc=100)
    assert [x.relevance_score for x in r.results] == pytest.approx([x.relevance_score for x in short.results], abs=1e-3)
    assert client.rerank(model=MODEL, query="pets", documents=DOCUMENTS).meta.warnings is None
    for most, documents, status, words in (
        (0, DOCUMENTS, 400, "max_tokens_per_doc is 0"),
        (None, ["word " * 3000], 400, "documents[0] has"),  # no more than 4096 tokens, and more than the model takes
        (None, ["word " * 5000], 400, "documents[0] has 4096 tokens"),
    ):
        body = {"model": MODEL, "query": "pets", "documents": documents} | ({} if most is None else {"max_tokens_per_doc": most})
        r = httpx.post(f"http://{http_address}/v2/rerank", json=body, timeout=60)
        assert r.status_code == status and words in r.json()["message"], r.text


def test_tei_and_jina_rerank(http_address):
    r = httpx.post(f"http://{http_address}/rerank", json={"query": "pets", "texts": DOCUMENTS, "return_text": True}, timeout=60)
    assert r.status_code == 200 and sorted(x["index"] for x in r.json()) == [0, 1, 2] and r.json()[0]["text"] in DOCUMENTS
    r = httpx.post(f"http://{http_address}/v1/rerank", json={"model": MODEL, "query": "pets", "documents": [{"text": d} for d in DOCUMENTS], "return_documents": True}, timeout=60)
    assert r.json()["results"][0]["document"]["text"] in DOCUMENTS and r.json()["usage"]["total_tokens"] > 0
    r = httpx.post(f"http://{http_address}/v2/rerank", json={"model": MODEL, "query": "", "documents": DOCUMENTS})
    assert r.status_code == 400 and "query" in r.json()["message"]


def test_huggingface_client(http_address):
    c = InferenceClient(base_url=f"http://{http_address}/v1", api_key="none", timeout=120)
    r = c.chat_completion([{"role": "user", "content": "Write the word banana."}], model=MODEL, max_tokens=24, temperature=0)
    assert "banana" in r.choices[0].message.content
    text = "".join(x.choices[0].delta.content or "" for x in c.chat_completion([{"role": "user", "content": "Write the word banana."}], model=MODEL, max_tokens=24, temperature=0, stream=True) if x.choices)
    assert text == r.choices[0].message.content
    c = InferenceClient(model=f"http://{http_address}/generate", timeout=120)
    r = c.text_generation("1, 2, 3, 4,", max_new_tokens=8, details=True)
    assert "5" in r.generated_text and r.details.generated_tokens == len(r.details.tokens) or r.details.finish_reason == "eos_token"


def test_tgi_stream(http_address):
    whole = httpx.post(f"http://{http_address}/generate", json={"inputs": "1, 2, 3, 4,", "parameters": {"max_new_tokens": 6}}, timeout=60).json()["generated_text"]
    events = []
    with httpx.stream("POST", f"http://{http_address}/generate_stream", json={"inputs": "1, 2, 3, 4,", "parameters": {"max_new_tokens": 6}}, timeout=60) as r:
        for line in r.iter_lines():
            if line.startswith("data:"):
                assert not line.startswith("data: ")
                events.append(json.loads(line[5:]))
    assert events[-1]["generated_text"] == whole and events[-1]["details"]["finish_reason"] == "length"
    assert "".join(e["token"]["text"] for e in events) == whole and [e["index"] for e in events] == list(range(1, len(events) + 1))
    assert httpx.get(f"http://{http_address}/info").json()["model_id"] == MODEL
    r = httpx.post(f"http://{http_address}/generate", json={"inputs": "x", "parameters": {"typical_p": 0.5}})
    assert r.status_code == 422 and r.json()["error_type"] == "validation"


def test_tgi_prefill(http_address):
    def ask(**parameters):
        r = httpx.post(f"http://{http_address}/generate", json={"inputs": "1, 2, 3, 4,", "parameters": {"max_new_tokens": 3, **parameters}}, timeout=60)
        assert r.status_code == 200, r.text
        return r.json()

    plain = ask()["generated_text"]
    told = ask(decoder_input_details=True)
    assert told["generated_text"] == plain and len(told["details"]["tokens"]) == 3
    prefill = told["details"]["prefill"]
    assert "".join(t["text"] for t in prefill) == "1, 2, 3, 4," and prefill[0]["logprob"] is None and all(t["logprob"] < 0 for t in prefill[1:])
    assert told["details"]["input_length"] == len(prefill)
    full = ask(return_full_text=True, details=True)
    assert full["generated_text"] == "1, 2, 3, 4," + plain and full["details"]["prefill"] == []
    assert ask(return_full_text=True, decoder_input_details=True)["details"]["prefill"] == prefill
    r = httpx.post(f"http://{http_address}/generate_stream", json={"inputs": "x", "parameters": {"decoder_input_details": True}})
    assert r.status_code == 422 and "decoder_input_details" in r.json()["error"]


def test_tokenize(http_address):
    url = f"http://{http_address}"
    r = httpx.post(f"{url}/tokenize", json={"model": MODEL, "prompt": "Hello world", "return_token_strs": True}).json()
    assert r["count"] == len(r["tokens"]) == len(r["token_strs"]) > 0 and r["max_model_len"] > 0
    assert httpx.post(f"{url}/detokenize", json={"model": MODEL, "tokens": r["tokens"]}).json()["prompt"] == "Hello world"
    chat = httpx.post(f"{url}/tokenize", json={"model": MODEL, "messages": [{"role": "user", "content": "Hello world"}]}).json()
    assert chat["count"] > r["count"]
    assert httpx.post(f"{url}/tokenize", json={"content": "Hello world"}).json()["tokens"] == r["tokens"]
    spans = httpx.post(f"{url}/tokenize", json={"inputs": "Hello world"}).json()
    assert [s["id"] for s in spans] == r["tokens"] and spans[-1]["stop"] == len("Hello world")
    assert httpx.get(f"{url}/tokenizer_info").json()["model"] == MODEL
    assert httpx.get(f"{url}/health").status_code == 200 and "version" in httpx.get(f"{url}/version").json()


def test_oip_generate(http_address):
    url = f"http://{http_address}/v2/models/{MODEL}"
    body = {"text_input": "1, 2, 3, 4,", "max_tokens": 8, "temperature": 0}
    whole = httpx.post(f"{url}/generate", json={"text_input": body["text_input"], "parameters": {"max_tokens": 8, "temperature": 0, "exclude_input_in_output": True}}, timeout=60).json()
    assert "5" in whole["text_output"] and whole["model_name"] == MODEL and whole["model_version"] == "1"
    def stream(**more):
        with httpx.stream("POST", f"{url}/generate_stream", json=body | more, timeout=60) as r:
            assert r.headers["content-type"].startswith("text/event-stream")
            return [json.loads(line[6:])["text_output"] for line in r.iter_lines() if line.startswith("data: ")]

    # As Triton's own backends do: what is not streamed repeats the prompt unless it is told not to.
    repeated = body["text_input"] + whole["text_output"]
    assert httpx.post(f"{url}/generate", json=body, timeout=60).json()["text_output"] == repeated
    assert httpx.post(f"{url}/generate", json=body | {"parameters": {"exclude_input_in_output": False, "stream": False}}, timeout=60).json()["text_output"] == repeated
    pieces = stream()
    assert len(pieces) > 2 and "".join(pieces) == whole["text_output"] == "".join(stream(stream=True, exclude_input_in_output=True))
    assert stream(stream=False) == [repeated] and stream(stream=False, exclude_input_in_output=True) == [whole["text_output"]]
    for path, more, word in (("generate", {"stream": True}, "generate_stream"), ("generate_stream", {"exclude_input_in_output": False}, "exclude_input_in_output")):
        r = httpx.post(f"{url}/{path}", json=body | more)
        assert r.status_code == 400 and word in r.json()["error"]
    assert "text_input" in httpx.post(f"{url}/generate", json={}).json()["error"]
    assert httpx.get(url).json()["name"] == MODEL
