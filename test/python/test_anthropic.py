"""The official anthropic client, unchanged."""

import json

import anthropic
import pytest

MODEL = "chat"


GREEDY = {"temperature": 0}  # the client has no argument for it any more


@pytest.fixture(scope="module")
def client(http_address):
    return anthropic.Anthropic(base_url=f"http://{http_address}", api_key="none", max_retries=0, timeout=120)


def ask(text):
    return [{"role": "user", "content": text}]


def test_message(client):
    m = client.messages.create(model=MODEL, max_tokens=24, extra_body=GREEDY, messages=ask("Write the word banana."))
    assert m.type == "message" and m.role == "assistant" and "banana" in m.content[0].text
    assert m.stop_reason in ("end_turn", "max_tokens")
    assert m.usage.output_tokens > 0 and m.usage.input_tokens + m.usage.cache_read_input_tokens > 0


def test_stream_equals_whole(client):
    args = dict(model=MODEL, max_tokens=32, extra_body=GREEDY, messages=ask("Name three colours, with an emoji."), system="You are brief.")
    whole = client.messages.create(**args)
    kinds = []
    with client.messages.stream(**args) as s:
        for event in s:
            kinds.append(event.type)
        final = s.get_final_message()
    assert final.content[0].text == whole.content[0].text and final.stop_reason == whole.stop_reason
    assert final.usage.output_tokens == whole.usage.output_tokens
    raw = [k for k in kinds if k.startswith(("message_", "content_block_"))]
    assert raw[0] == "message_start" and raw[1] == "content_block_start" and raw[-2:] == ["message_delta", "message_stop"]


def test_blocks_cache_control_and_prefill(client):
    m = client.messages.create(
        model=MODEL, max_tokens=8, extra_body=GREEDY, stop_sequences=["\n"],
        system=[{"type": "text", "text": "You are brief.", "cache_control": {"type": "ephemeral"}}],
        messages=[{"role": "user", "content": [{"type": "text", "text": "Count to five.", "cache_control": {"type": "ephemeral"}}]}, {"role": "assistant", "content": "1, 2, 3, 4,"}],
    )
    assert "5" in m.content[0].text


def test_stop_sequence(client):
    m = client.messages.create(model=MODEL, max_tokens=60, extra_body=GREEDY, messages=ask("Count from 1 to 20 separated by commas."), stop_sequences=["5"])
    assert m.stop_reason == "stop_sequence" and m.stop_sequence == "5" and "5" not in m.content[0].text


TOOL = {"name": "get_weather", "description": "The weather of a city", "input_schema": {"type": "object", "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}}, "required": ["city"], "additionalProperties": False}}


def test_tools(client):
    args = dict(model=MODEL, max_tokens=120, extra_body=GREEDY, tools=[TOOL], tool_choice={"type": "any", "disable_parallel_tool_use": True}, messages=ask("What is the weather in Paris?"))
    m = client.messages.create(**args)
    use = next(b for b in m.content if b.type == "tool_use")
    assert m.stop_reason == "tool_use" and use.name == "get_weather" and set(use.input) == {"city"}
    with client.messages.stream(**args) as s:
        final = s.get_final_message()
    assert next(b for b in final.content if b.type == "tool_use").input == use.input
    again = client.messages.create(
        model=MODEL, max_tokens=16, extra_body=GREEDY, tools=[TOOL],
        messages=ask("What is the weather in Paris?") + [{"role": "assistant", "content": [use.model_dump(exclude_none=True)]}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}]}],
    )
    assert again.role == "assistant"


def test_count_tokens(client):
    n = client.messages.count_tokens(model=MODEL, messages=ask("Write the word banana.")).input_tokens
    m = client.messages.create(model=MODEL, max_tokens=1, messages=ask("Write the word banana."))
    assert n == m.usage.input_tokens + m.usage.cache_read_input_tokens


def test_models(client):
    assert MODEL in [m.id for m in client.models.list()]


@pytest.mark.parametrize(
    "change, word",
    [({"messages": []}, "message"), ({"max_tokens": 0}, "max_tokens"), ({"messages": [{"role": "wizard", "content": "x"}]}, "wizard"), ({"messages": ask("word " * 20_000)}, "shorten"),
     ({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}}]}]}, "text")],
)
def test_bad_requests(client, change, word):
    with pytest.raises(anthropic.BadRequestError) as e:
        client.messages.create(**(dict(model=MODEL, max_tokens=4, messages=ask("hi")) | change))
    assert word in str(e.value) and e.value.body["error"]["type"] == "invalid_request_error"


def test_unknown_model(client):
    with pytest.raises(anthropic.NotFoundError) as e:
        client.messages.create(model="nobody", max_tokens=4, messages=ask("hi"))
    assert e.value.body["error"]["type"] == "not_found_error"
