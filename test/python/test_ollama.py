"""The official ollama client, unchanged."""

import json

import ollama
import pytest

MODEL = "chat"


@pytest.fixture(scope="module")
def client(http_address):
    return ollama.Client(host=f"http://{http_address}", timeout=120)


def ask(text):
    return [{"role": "user", "content": text}]


def test_list_show_ps(client):
    assert MODEL in [m.model for m in client.list().models]
    assert "completion" in client.show(MODEL).capabilities
    assert MODEL in [m.model for m in client.ps().models]


def test_chat(client):
    r = client.chat(model=MODEL, messages=ask("Write the word banana."), options={"temperature": 0, "num_predict": 24})
    assert "banana" in r.message.content and r.done and r.done_reason in ("stop", "length")
    assert r.eval_count > 0 and r.prompt_eval_count > 0 and r.total_duration > 0 and r.eval_duration >= 0


def test_stream_equals_whole(client):
    args = dict(model=MODEL + ":latest", messages=ask("Name three colours, with an emoji."), options={"temperature": 0, "num_predict": 32})
    whole = client.chat(**args)
    parts = list(client.chat(stream=True, **args))
    assert "".join(p.message.content for p in parts) == whole.message.content
    assert [p.done for p in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1].done_reason == whole.done_reason and parts[-1].eval_count == whole.eval_count


def test_generate(client):
    r = client.generate(model=MODEL, prompt="1, 2, 3, 4,", raw=True, options={"temperature": 0, "num_predict": 8})
    assert "5" in r.response
    r = client.generate(model=MODEL, prompt="Write the word banana.", system="You are brief.", options={"temperature": 0, "num_predict": 24})
    assert "banana" in r.response
    parts = list(client.generate(model=MODEL, prompt="Say hi.", stream=True, options={"num_predict": 4}))
    assert parts[-1].done


def test_load_only(client):
    assert client.generate(model=MODEL).done_reason == "load"
    assert client.chat(model=MODEL).done


def test_format(client):
    schema = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 150}}, "required": ["age"], "additionalProperties": False}
    r = client.chat(model=MODEL, messages=ask("How old is Ann? JSON."), format=schema, options={"num_predict": 60})
    assert isinstance(json.loads(r.message.content)["age"], int)


def test_tools(client):
    def get_weather(city: str) -> str:
        """The weather of a city"""
        return "sunny"

    r = client.chat(model=MODEL, messages=ask("What is the weather in Paris? Call the tool."), tools=[get_weather], options={"temperature": 0, "num_predict": 80})
    for call in r.message.tool_calls or []:
        assert call.function.name == "get_weather" and isinstance(call.function.arguments, dict)


def test_embed(client):
    r = client.embed(model=MODEL, input=["a cat", "a dog"])
    assert len(r.embeddings) == 2 and abs(sum(x * x for x in r.embeddings[0]) - 1) < 1e-3
    assert len(client.embeddings(model=MODEL, prompt="a cat").embedding) == len(r.embeddings[0])


def test_a_prompt_is_never_cut(client):
    with pytest.raises(ollama.ResponseError) as e:
        client.chat(model=MODEL, messages=ask("word " * 20_000))
    assert e.value.status_code == 400 and "shorten" in e.value.error


def test_errors(client):
    with pytest.raises(ollama.ResponseError) as e:
        client.chat(model="nobody", messages=ask("hi"))
    assert e.value.status_code == 404
    with pytest.raises(ollama.ResponseError) as e:
        client.chat(model=MODEL, messages=[{"role": "user", "content": "what is this?", "images": ["aGVsbG8="]}])
    assert e.value.status_code == 400 and "images" in e.value.error
