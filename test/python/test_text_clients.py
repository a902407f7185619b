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
    whole = httpx.post(f"{url}/generate", json={"text_input": "1, 2, 3, 4,", "parameters": {"max_tokens": 8, "temperature": 0}}, timeout=60).json()
    assert "5" in whole["text_output"] and whole["model_name"] == MODEL and whole["model_version"] == "1"
    text = ""
    with httpx.stream("POST", f"{url}/generate_stream", json={"text_input": "1, 2, 3, 4,", "max_tokens": 8, "temperature": 0}, timeout=60) as r:
        assert r.headers["content-type"].startswith("text/event-stream")
        for line in r.iter_lines():
            if line.startswith("data: "):
                text += json.loads(line[6:])["text_output"]
    assert text == whole["text_output"]
    assert "text_input" in httpx.post(f"{url}/generate", json={}).json()["error"]
    assert httpx.get(url).json()["name"] == MODEL
