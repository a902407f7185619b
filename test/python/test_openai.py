"""The official openai client, unchanged, against a small chat model (SmolLM2-135M-Instruct)."""

import base64
import json
import math
import struct
import threading
import time

import httpx
import openai
import pytest

MODEL = "chat"


@pytest.fixture(scope="module")
def client(http_address):
    return openai.OpenAI(base_url=f"http://{http_address}/v1", api_key="none", max_retries=0, timeout=120)


def ask(text):
    return [{"role": "user", "content": text}]


def test_models(client):
    listed = {m.id: m for m in client.models.list()}
    assert MODEL in listed and listed[MODEL].object == "model"
    assert client.models.retrieve(MODEL).id == MODEL


def test_chat(client):
    r = client.chat.completions.create(model=MODEL, messages=ask("Write the word banana."), temperature=0, max_tokens=24)
    assert "banana" in r.choices[0].message.content
    assert r.choices[0].finish_reason in ("stop", "length")
    assert r.usage.total_tokens == r.usage.prompt_tokens + r.usage.completion_tokens
    assert 0 < r.usage.completion_tokens <= 24
    assert r.id.startswith("chatcmpl-") and r.object == "chat.completion"


def test_stream_equals_whole(client):
    args = dict(model=MODEL, messages=ask("Name three colours of the rainbow, with an emoji."), temperature=0, max_tokens=40)
    whole = client.chat.completions.create(**args)
    chunks = list(client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **args))
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    finishes = [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason]
    assert finishes == [whole.choices[0].finish_reason]
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens


def test_prefix_cache_is_reported(client):
    system = {"role": "system", "content": "You are a clerk who files letters. " * 40}
    first = client.chat.completions.create(model=MODEL, messages=[system] + ask("Say A."), temperature=0, max_tokens=4)
    second = client.chat.completions.create(model=MODEL, messages=[system] + ask("Say B."), temperature=0, max_tokens=4)
    assert second.usage.prompt_tokens_details.cached_tokens > 0.9 * first.usage.prompt_tokens


def test_max_tokens_is_length(client):
    r = client.chat.completions.create(model=MODEL, messages=ask("Write a long story."), temperature=0, max_completion_tokens=5)
    assert r.choices[0].finish_reason == "length" and r.usage.completion_tokens == 5


def test_stop(client):
    r = client.completions.create(model=MODEL, prompt="1, 2, 3, 4, 5,", temperature=0, max_tokens=40, stop=[" 9"])
    assert " 9" not in r.choices[0].text and "8" in r.choices[0].text
    assert r.choices[0].finish_reason == "stop"


def test_n_and_seed(client):
    args = dict(model=MODEL, messages=ask("Say something surprising."), temperature=1.0, n=3, seed=7, max_tokens=16)
    a = [c.message.content for c in client.chat.completions.create(**args).choices]
    b = [c.message.content for c in client.chat.completions.create(**args).choices]
    assert a == b
    assert len(set(a)) > 1
    streamed = ["", "", ""]
    for chunk in client.chat.completions.create(stream=True, **args):
        for c in chunk.choices:
            streamed[c.index] += c.delta.content or ""
    assert streamed == a


def test_logprobs(client):
    r = client.chat.completions.create(
        model=MODEL, messages=ask("Write the word banana."), temperature=0, max_tokens=6, logprobs=True, top_logprobs=3
    )
    content = r.choices[0].logprobs.content
    assert "".join(t.token for t in content) == r.choices[0].message.content
    for t in content:
        assert t.logprob <= 0 and len(t.top_logprobs) == 3
        assert t.top_logprobs[0].logprob == pytest.approx(t.logprob, abs=1e-5)  # greedy takes the likeliest
        assert sum(math.exp(x.logprob) for x in t.top_logprobs) <= 1 + 1e-4


def test_echo_and_loglikelihood(client):
    """What lm-eval's loglikelihood asks: no answer, the prompt's own log-probabilities, tokens as the prompt."""
    r = client.completions.create(model=MODEL, prompt="The capital of France is Paris", max_tokens=0, echo=True, logprobs=1)
    lp = r.choices[0].logprobs
    assert "".join(lp.tokens) == "The capital of France is Paris" == r.choices[0].text
    assert lp.token_logprobs[0] is None and all(x <= 0 for x in lp.token_logprobs[1:])
    assert lp.text_offset[0] == 0 and lp.text_offset[1] == len(lp.tokens[0])
    other = client.completions.create(model=MODEL, prompt="The capital of France is Banana", max_tokens=0, echo=True, logprobs=1)
    assert sum(lp.token_logprobs[1:]) > sum(other.choices[0].logprobs.token_logprobs[1:])
    both = client.completions.create(model=MODEL, prompt=[[504, 3575, 282], [504, 3575]], max_tokens=1, echo=True, logprobs=1, temperature=0)
    assert [len(c.logprobs.tokens) for c in both.choices] == [4, 3]


def test_logit_bias(client):
    r = client.chat.completions.create(model=MODEL, messages=ask("Say hello."), temperature=0, max_tokens=8, logit_bias={"28": 100})
    assert len(set(r.choices[0].message.content)) == 1


def test_json_schema(client):
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}, "population": {"type": "integer", "minimum": 0, "maximum": 99999999}, "tags": {"type": "array", "items": {"enum": ["big", "old"]}, "maxItems": 2}},
        "required": ["city", "population", "tags"],
        "additionalProperties": False,
    }
    for seed in range(3):
        r = client.chat.completions.create(
            model=MODEL, messages=ask("Describe Paris as JSON."), temperature=1, seed=seed, max_tokens=200,
            response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": True}},
        )
        assert r.choices[0].finish_reason == "stop"
        v = json.loads(r.choices[0].message.content)
        assert set(v) == {"city", "population", "tags"} and isinstance(v["population"], int) and len(v["city"]) <= 20


def test_json_object(client):
    r = client.chat.completions.create(
        model=MODEL, messages=ask("Give a JSON object with a key a."), temperature=0, max_tokens=120, response_format={"type": "json_object"}
    )
    if r.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(r.choices[0].message.content), dict)


def test_choice_and_regex(client):
    r = client.chat.completions.create(model=MODEL, messages=ask("Is the sky blue?"), extra_body={"guided_choice": ["yes", "no"]}, max_tokens=8)
    assert r.choices[0].message.content in ("yes", "no")
    r = client.chat.completions.create(model=MODEL, messages=ask("A date please."), extra_body={"structured_outputs": {"regex": r"\d{4}-\d{2}-\d{2}"}}, max_tokens=30)
    assert len(r.choices[0].message.content) == 10


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}}, "required": ["city"], "additionalProperties": False},
    },
}


def test_tool_required(client):
    args = dict(model=MODEL, messages=ask("What is the weather in Paris?"), tools=[WEATHER], tool_choice="required", parallel_tool_calls=False, temperature=0, max_tokens=100)
    r = client.chat.completions.create(**args)
    call = r.choices[0].message.tool_calls[0]
    assert r.choices[0].finish_reason == "tool_calls" and call.function.name == "get_weather" and call.id
    assert set(json.loads(call.function.arguments)) == {"city"}
    arguments, names, ids = "", [], []
    for chunk in client.chat.completions.create(stream=True, **args):
        for c in chunk.choices:
            for t in c.delta.tool_calls or []:
                arguments += t.function.arguments or ""
                names += [t.function.name] if t.function.name else []
                ids += [t.id] if t.id else []
    assert arguments == call.function.arguments and names == ["get_weather"] and len(ids) == 1


def test_tool_conversation(client):
    r = client.chat.completions.create(
        model=MODEL, temperature=0, max_tokens=40, tools=[WEATHER],
        messages=ask("What is the weather in Paris?")
        + [{"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}]}, {"role": "tool", "tool_call_id": "c1", "content": "sunny, 21 degrees"}],
    )
    assert r.choices[0].message.content is not None


def test_embeddings(client):
    r = client.embeddings.create(model=MODEL, input=["a cat", "a kitten", "the stock market"], encoding_format="float")
    v = [d.embedding for d in r.data]
    assert [d.index for d in r.data] == [0, 1, 2] and all(abs(sum(x * x for x in e) - 1) < 1e-3 for e in v)
    dot = lambda a, b: sum(x * y for x, y in zip(a, b))
    assert dot(v[0], v[1]) > dot(v[0], v[2])
    raw = client.embeddings.with_raw_response.create(model=MODEL, input="a cat", encoding_format="base64")
    packed = json.loads(raw.text)["data"][0]["embedding"]
    decoded = struct.unpack(f"<{len(v[0])}f", base64.b64decode(packed))
    assert max(abs(a - b) for a, b in zip(decoded, v[0])) < 1e-3
    assert len(client.embeddings.create(model=MODEL, input="a cat").data[0].embedding) == len(v[0])
    short = client.embeddings.create(model=MODEL, input="a cat", dimensions=64).data[0].embedding
    assert len(short) == 64 and abs(sum(x * x for x in short) - 1) < 1e-3


@pytest.mark.parametrize(
    "change, param, word",
    [
        ({"messages": []}, "messages", "empty"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages", "wizard"),
        ({"max_tokens": -1}, "max_tokens", "negative"),
        ({"n": 100}, "n", "16"),
        ({"temperature": -1}, "temperature", "between"),
        ({"top_p": 2}, "top_p", "between"),
        ({"logit_bias": {str(i): 1 for i in range(100_000)}}, "logit_bias", "too many"),
        ({"logit_bias": {"99999999": 1}}, "logit_bias", "99999999"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "objekt"}}}}, None, "#/type"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, "response_format", "schema"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]}, "messages", "text only"),
        ({"tool_choice": "required"}, "tool_choice", "no tools"),
    ],
)
def test_bad_requests(client, change, param, word):
    args = dict(model=MODEL, messages=ask("hi"), max_tokens=4) | change
    with pytest.raises(openai.BadRequestError) as e:
        client.chat.completions.create(**args)
    assert word in str(e.value)
    if param:
        assert e.value.param == param


def test_unknown_model(client):
    with pytest.raises(openai.NotFoundError) as e:
        client.chat.completions.create(model="chta", messages=ask("hi"))
    assert "chat" in str(e.value) and e.value.code == "model_not_found"


def test_too_long(client):
    with pytest.raises(openai.BadRequestError) as e:
        client.chat.completions.create(model=MODEL, messages=ask("word " * 20_000))
    assert e.value.code == "context_length_exceeded" and "shorten it by at least" in str(e.value)
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=MODEL, messages=ask("x" * (1 << 20)))


def test_bad_utf8_and_json(http_address):
    url = f"http://{http_address}/v1/chat/completions"
    r = httpx.post(url, content=b'{"model":"chat","messages":[{"role":"user","content":"\xff"}]}')
    assert r.status_code == 400 and "UTF-8" in r.json()["error"]["message"]
    r = httpx.post(url, content=b'{"model":')
    assert r.status_code == 400 and r.json()["error"]["type"] == "invalid_request_error"
    r = httpx.post(url, json={"model": MODEL, "messages": "hello"})
    assert r.status_code == 400 and "messages" in r.json()["error"]["message"]


def test_concurrent(client):
    """Answers do not depend on what else is in the batch."""
    prompts = [f"Count to {i}." for i in range(2, 10)]
    alone = [client.chat.completions.create(model=MODEL, messages=ask(p), temperature=0, max_tokens=16).usage.prompt_tokens for p in prompts]
    out = [None] * len(prompts)

    def run(i):
        out[i] = client.chat.completions.create(model=MODEL, messages=ask(prompts[i]), temperature=0, max_tokens=16)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(prompts))]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert [o.usage.prompt_tokens for o in out] == alone and all(o.usage.completion_tokens > 0 for o in out)


def test_disconnect_frees_the_slot(client, http_address):
    """Clients that leave long answers do not keep others waiting."""
    streams = [client.chat.completions.create(model=MODEL, messages=ask("Write a very long story."), max_tokens=1500, stream=True, temperature=1, extra_body={"ignore_eos": True}) for _ in range(8)]
    for s in streams:
        next(iter(s))
        s.close()
    start = time.time()
    client.chat.completions.create(model=MODEL, messages=ask("hi"), max_tokens=2)
    assert time.time() - start < 30


def test_timeout(client):
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.5).chat.completions.create(model=MODEL, messages=ask("Write a very long story."), max_tokens=1500, extra_body={"ignore_eos": True})


@pytest.mark.anyio
async def test_async(http_address):
    async with openai.AsyncOpenAI(base_url=f"http://{http_address}/v1", api_key="none") as c:
        r = await c.chat.completions.create(model=MODEL, messages=ask("hi"), max_tokens=3)
        assert r.choices[0].message.content is not None


@pytest.fixture
def anyio_backend():
    return "asyncio"
