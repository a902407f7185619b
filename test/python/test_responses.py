"""The Responses API with the official openai client."""

import json
import time

import openai
import pytest

MODEL = "chat"


@pytest.fixture(scope="module")
def client(http_address):
    return openai.OpenAI(base_url=f"http://{http_address}/v1", api_key="none", max_retries=0, timeout=120)


def test_response(client):
    r = client.responses.create(model=MODEL, input="Write the word banana.", temperature=0, max_output_tokens=24)
    assert r.status in ("completed", "incomplete") and "banana" in r.output_text
    assert r.usage.total_tokens == r.usage.input_tokens + r.usage.output_tokens
    again = client.responses.retrieve(r.id)
    assert again.output_text == r.output_text and again.status == r.status
    items = client.responses.input_items.list(r.id)
    assert items.data[0].content[0].text == "Write the word banana."


def test_previous(client):
    first = client.responses.create(model=MODEL, input="My name is Bob.", instructions="You are brief.", temperature=0, max_output_tokens=16)
    second = client.responses.create(model=MODEL, input="What is my name?", previous_response_id=first.id, temperature=0, max_output_tokens=24)
    assert second.usage.input_tokens > first.usage.input_tokens + 4
    assert second.previous_response_id == first.id
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model=MODEL, input="x", previous_response_id="resp_none")


def test_stream(client):
    args = dict(model=MODEL, input="Name three colours, with an emoji.", temperature=0, max_output_tokens=32)
    whole = client.responses.create(**args)
    events = list(client.responses.create(stream=True, **args))
    assert [e.sequence_number for e in events] == list(range(len(events)))
    kinds = [e.type for e in events]
    assert kinds[:4] == ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"]
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == whole.output_text
    assert events[-1].type in ("response.completed", "response.incomplete") and events[-1].response.output_text == whole.output_text
    assert client.responses.retrieve(events[-1].response.id).status == events[-1].response.status
    short = args | {"input": "Write the word banana.", "max_output_tokens": 100}
    with client.responses.stream(**short) as s:
        final = s.get_final_response()
    assert final.status == "completed" and "banana" in final.output_text


def test_tools_and_schema(client):
    tool = {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}}, "required": ["city"], "additionalProperties": False}, "strict": True}
    r = client.responses.create(model=MODEL, input="Weather in Paris?", tools=[tool], tool_choice="required", parallel_tool_calls=False, temperature=0, max_output_tokens=100)
    call = next(o for o in r.output if o.type == "function_call")
    assert call.name == "get_weather" and set(json.loads(call.arguments)) == {"city"}
    r2 = client.responses.create(model=MODEL, previous_response_id=r.id, input=[{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}], tools=[tool], max_output_tokens=16)
    assert r2.status in ("completed", "incomplete")
    schema = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 150}}, "required": ["age"], "additionalProperties": False}
    r = client.responses.create(model=MODEL, input="How old is Ann?", text={"format": {"type": "json_schema", "name": "a", "schema": schema, "strict": True}}, max_output_tokens=60)
    assert set(json.loads(r.output_text)) == {"age"}


def test_background(client):
    r = client.responses.create(model=MODEL, input="Count to ten.", background=True, temperature=0, max_output_tokens=40)
    assert r.status == "queued"
    for _ in range(600):
        r = client.responses.retrieve(r.id)
        if r.status not in ("queued", "in_progress"):
            break
        time.sleep(0.1)
    assert r.status in ("completed", "incomplete") and r.output_text
    long = client.responses.create(model=MODEL, input="Write a very long story.", background=True, max_output_tokens=1500)
    assert client.responses.cancel(long.id).status == "cancelled"
    time.sleep(0.5)
    assert client.responses.retrieve(long.id).status == "cancelled"


def test_delete_and_no_store(client):
    r = client.responses.create(model=MODEL, input="hi", max_output_tokens=2)
    client.responses.delete(r.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(r.id)
    r = client.responses.create(model=MODEL, input="hi", max_output_tokens=2, store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(r.id)


def test_bad(client):
    for change, word in [({"input": []}, "empty"), ({"truncation": "auto"}, "cut"), ({"tools": [{"type": "web_search"}]}, "function"), ({"input": [{"type": "item_reference", "id": "x"}]}, "item_reference")]:
        with pytest.raises(openai.BadRequestError) as e:
            client.responses.create(**(dict(model=MODEL, input="hi") | change))
        assert word in str(e.value)
