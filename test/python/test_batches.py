"""OpenAI's Files and Batches with the official openai client.

SERVAL_HOOK is the port of 127.0.0.1 to which the server sends its webhooks, SERVAL_SECRET what signs them.
"""

import http.server
import json
import os
import threading
import time

import httpx
import openai
import pytest

ENDS = ("completed", "failed", "expired", "cancelled")
CHAT = "/v1/chat/completions"


def of(address, key):
    return openai.OpenAI(base_url=f"http://{address}/v1", api_key=key, max_retries=0, timeout=120, webhook_secret=os.environ["SERVAL_SECRET"])


@pytest.fixture(scope="module")
def client(http_address):
    return of(http_address, "ann-key")


@pytest.fixture(scope="module")
def other(http_address):
    return of(http_address, "bob-key")


@pytest.fixture(scope="module")
def events():
    """What the webhook was told: pairs of headers and body. The first delivery is refused, so that it comes again."""
    got, refused = [], []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if not refused:
                refused.append(self.headers["webhook-id"])
                self.send_response(503)
            else:
                got.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            pass

    s = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["SERVAL_HOOK"])), Receiver)
    threading.Thread(target=s.serve_forever, daemon=True).start()
    yield got, refused
    s.shutdown()


def line(i, body, url=CHAT, **more):
    return {"custom_id": str(i), "method": "POST", "url": url, "body": body} | more


def chat(i, **more):
    return line(i, {"model": "chat", "messages": [{"role": "system", "content": "You are brief."}, {"role": "user", "content": f"Say {i}."}], "max_tokens": 4, "temperature": 0} | more)


def upload(client, lines, **more):
    text = "\n".join(l if isinstance(l, str) else json.dumps(l) for l in lines)
    return client.files.create(file=("in.jsonl", text.encode()), purpose="batch", **more)


def create(client, lines, endpoint=CHAT, window="24h", **more):
    return client.batches.create(input_file_id=upload(client, lines).id, endpoint=endpoint, completion_window=window, **more)


def wait(client, b, *status):
    for _ in range(2400):
        b = client.batches.retrieve(b.id)
        if b.status in (status or ENDS):
            return b
        time.sleep(0.05)
    raise AssertionError(f"still {b}")


def rows(client, id):
    return [json.loads(l) for l in client.files.content(id).text.splitlines()] if id else []


def test_files(client, other):
    f = client.files.create(file=("a/ü name.txt", b"some bytes"), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600})
    assert (f.bytes, f.filename, f.purpose, f.object, f.status) == (10, "ü name.txt", "user_data", "file", "processed")
    assert f.expires_at - f.created_at in (3599, 3600, 3601)
    assert client.files.retrieve(f.id) == f
    assert client.files.content(f.id).read() == b"some bytes"
    part = client.files.with_raw_response.content(f.id, extra_headers={"Range": "bytes=5-"})
    assert part.status_code == 206 and part.content == b"bytes"
    for call in (other.files.retrieve, other.files.content, other.files.delete):
        with pytest.raises(openai.NotFoundError):
            call(f.id)
    assert f.id not in [x.id for x in other.files.list()]
    ids = [client.files.create(file=("x", b"1"), purpose="user_data").id for _ in range(5)]
    assert [x.id for x in client.files.list(purpose="user_data", limit=2)][:5] == ids[::-1]  # the client turns the pages
    assert [x.id for x in client.files.list(purpose="user_data", order="asc", after=f.id, limit=3)] == ids
    assert client.files.delete(f.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(f.id)


def test_large_file(client):
    """It is larger than a request may be, and goes to the disk as it comes."""
    f = client.files.create(file=("big", b"x" * (9 << 20)), purpose="user_data")
    assert f.bytes == 9 << 20
    with pytest.raises(openai.APIStatusError) as e:
        client.files.create(file=("bigger", b"x" * (17 << 20)), purpose="user_data")
    assert e.value.status_code == 413 and "files.max_size" in str(e.value)


def test_refused_files(client, http_address):
    for more, word in (({"purpose": "nothing"}, "purpose"), ({"purpose": "batch", "expires_after": {"anchor": "created_at", "seconds": 5}}, "3600"),
                       ({"purpose": "batch", "expires_after": {"anchor": "never", "seconds": 3600}}, "created_at")):
        with pytest.raises(openai.BadRequestError, match=word):
            client.files.create(file=("x", b"1"), **more)
    url, key = f"http://{http_address}/v1/files", {"Authorization": "Bearer ann-key"}
    for r in (httpx.post(url, headers=key, json={"file": "x"}), httpx.post(url, headers=key, data={"purpose": "batch"}),
              httpx.post(url, headers=key | {"Content-Type": "multipart/form-data; boundary=b"}, content=b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nhalf')):
        assert r.status_code == 400 and r.json()["error"]["type"] == "invalid_request_error", r.text
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers=key, params={"limit": 0}).status_code == 400


def test_chat(client, other, events):
    lines = [chat(i) for i in range(12)]
    b = create(client, lines, metadata={"job": "nightly"})
    assert b.status == "validating" and b.endpoint == CHAT and b.expires_at - b.created_at in (86399, 86400, 86401)
    for call in (other.batches.retrieve, other.batches.cancel):
        with pytest.raises(openai.NotFoundError):
            call(b.id)
    client.files.delete(b.input_file_id)  # the batch has what it needs
    b = wait(client, b)
    assert b.status == "completed" and b.metadata == {"job": "nightly"} and b.error_file_id is None and b.model == "chat"
    assert (b.request_counts.total, b.request_counts.completed, b.request_counts.failed) == (12, 12, 0)
    assert b.created_at <= b.in_progress_at <= b.finalizing_at <= b.completed_at
    out = rows(client, b.output_file_id)
    assert [r["custom_id"] for r in out] == [l["custom_id"] for l in lines]  # in the order of the input
    assert len({r["id"] for r in out}) == 12
    online = client.chat.completions.create(**lines[3]["body"])
    assert out[3]["response"]["status_code"] == 200 and out[3]["error"] is None
    assert out[3]["response"]["body"]["choices"][0]["message"]["content"] == online.choices[0].message.content
    assert b.usage.output_tokens == sum(r["response"]["body"]["usage"]["completion_tokens"] for r in out)
    assert b.usage.input_tokens == sum(r["response"]["body"]["usage"]["prompt_tokens"] for r in out)
    with pytest.raises(openai.NotFoundError):
        other.files.content(b.output_file_id)
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(b.id)
    told(client, events, b)


def told(client, events, b):
    """The webhook is told of the end, by an event that the client unwraps."""
    got, refused = events
    for _ in range(600):
        for headers, body in got:
            e = client.webhooks.unwrap(body, headers)
            if e.data.id == b.id:
                assert e.type == f"batch.{b.status}" and e.id == headers["webhook-id"] and e.object == "event"
                assert refused == [refused[0]] and refused[0] in [h["webhook-id"] for h, _ in got]
                with pytest.raises(openai.InvalidWebhookSignatureError):
                    client.webhooks.unwrap(body.replace("batch_", "batch-"), headers)
                return
        time.sleep(0.05)
    raise AssertionError(f"no event of {b.id}: {got}")


def test_errors(client):
    """What is wrong with a request is told beside the answers of the others."""
    b = wait(client, create(client, [chat(0), chat(1, max_tokens=-1), line(2, {"model": "chat"}), chat(3)]))
    assert b.status == "completed" and (b.request_counts.completed, b.request_counts.failed) == (2, 2)
    assert [r["custom_id"] for r in rows(client, b.output_file_id)] == ["0", "3"]
    bad = rows(client, b.error_file_id)
    assert [r["custom_id"] for r in bad] == ["1", "2"]
    assert all(r["response"]["status_code"] == 400 and r["response"]["body"]["error"]["message"] for r in bad)


def test_bad_input(client, events):
    big = chat(9, messages=[{"role": "user", "content": "x" * (9 << 20)}])
    b = wait(client, create(client, [chat(1), "{", chat(1), chat(2, stream=True), line(3, {"model": "chat"}, url="/v1/embeddings"), chat(4, model="nobody"), chat(5) | {"method": "GET"}, big]))
    assert b.status == "failed" and b.failed_at and b.output_file_id is None and b.error_file_id is None
    assert [(e.line, e.code, e.param) for e in b.errors.data] == [
        (2, "invalid_json_line", None), (3, "duplicate_custom_id", "custom_id"), (4, "invalid_request", "body.stream"), (5, "invalid_url", "url"),
        (6, "model_not_found", "body.model"), (7, "invalid_method", "method"), (8, "request_too_large", None)]
    assert all(e.message for e in b.errors.data)
    told(client, events, b)
    b = wait(client, create(client, [""]))
    assert b.status == "failed" and b.errors.data[0].code == "empty_file"


def test_refused(client, other):
    f = upload(client, [chat(1)]).id
    other_purpose = client.files.create(file=("x", b"{}"), purpose="user_data").id
    good = {"input_file_id": f, "endpoint": CHAT, "completion_window": "24h"}
    for change, word in (({"endpoint": "/v1/audio/speech"}, "endpoint"), ({"completion_window": "soon"}, "24h"), ({"input_file_id": other_purpose}, "purpose"),
                         ({"metadata": {str(i): "" for i in range(17)}}, "metadata"), ({"metadata": {"a": "x" * 600}}, "metadata"), ({"extra_body": {"webhook_url": "http://x"}}, "webhook_url"),
                         ({"metadata": {"webhook_id": "nobody"}}, "webhook_id"), ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, "3600")):
        with pytest.raises(openai.BadRequestError, match=word):
            client.batches.create(**(good | change))
    for who, change in ((client, {"input_file_id": "file-none"}), (other, {})):
        with pytest.raises(openai.NotFoundError, match="input_file_id"):
            who.batches.create(**(good | change))
    with pytest.raises(openai.NotFoundError):
        client.batches.retrieve("batch_none")


def test_idempotency(client):
    f = upload(client, [chat(1)]).id
    args = {"input_file_id": f, "endpoint": CHAT, "completion_window": "24h", "extra_headers": {"Idempotency-Key": "once"}}
    one, two = client.batches.create(**args), client.batches.create(**args)
    assert one.id == two.id
    with pytest.raises(openai.ConflictError):
        client.batches.create(**(args | {"completion_window": "12h"}))
    wait(client, one)


def test_list(client, other):
    ids = [create(client, [chat(1)]).id for _ in range(5)]
    assert [b.id for b in client.batches.list(limit=2)][:5] == ids[::-1]
    page = client.batches.list(limit=2, after=ids[3])
    assert [b.id for b in page.data] == [ids[2], ids[1]] and page.has_more
    assert not set(ids) & {b.id for b in other.batches.list()}
    for id in ids:
        assert wait(client, client.batches.retrieve(id)).status == "completed"


def long(n):
    return [chat(100 + i, max_tokens=100, ignore_eos=True) for i in range(n)]


def test_cancel(client, events):
    b = create(client, [chat(i) for i in range(6)] + long(60))
    while (b := client.batches.retrieve(b.id)).request_counts.completed < 2:
        assert b.status in ("validating", "in_progress")
        time.sleep(0.02)
    assert client.batches.cancel(b.id).status in ("cancelling", "cancelled")
    b = wait(client, b)
    assert b.status == "cancelled" and b.cancelling_at <= b.cancelled_at
    out, lost = rows(client, b.output_file_id), rows(client, b.error_file_id)
    assert len(out) >= 2 and len(out) + len(lost) == 66 and len({r["custom_id"] for r in out + lost}) == 66
    assert {r["error"]["code"] for r in lost} == {"batch_cancelled"} and all(r["response"] is None for r in lost)
    assert (b.request_counts.completed, b.request_counts.failed) == (len(out), len(lost))
    told(client, events, b)


def test_expiry(client, events):
    b = wait(client, create(client, long(60), window="4s"))
    assert b.status == "expired" and b.expired_at >= b.expires_at - 1
    lost = rows(client, b.error_file_id)
    assert {r["error"]["code"] for r in lost} == {"batch_expired"} and len(lost) + b.request_counts.completed == 60
    told(client, events, b)


def test_other_endpoints(client):
    """Every model, not only those of text."""
    texts = ["a cat", "a kitten", "the stock market"]
    b = wait(client, create(client, [line(i, {"model": "chat", "input": t}, url="/v1/embeddings") for i, t in enumerate(texts)], endpoint="/v1/embeddings"))
    assert b.status == "completed"
    for row, text in zip(rows(client, b.output_file_id), texts):
        online = client.embeddings.create(model="chat", input=text, encoding_format="float").data[0].embedding
        assert row["response"]["body"]["data"][0]["embedding"] == pytest.approx(online, abs=2e-2)
    b = wait(client, create(client, [line(1, {"model": "chat", "input": "Say banana.", "max_output_tokens": 8, "temperature": 0}, url="/v1/responses")], endpoint="/v1/responses"))
    answer = rows(client, b.output_file_id)[0]["response"]["body"]
    assert client.responses.retrieve(answer["id"]).output_text
    b = wait(client, create(client, [line(1, {"model": "chat", "prompt": ["One, two,", "A, B,"], "max_tokens": 3, "temperature": 0}, url="/v1/completions")], endpoint="/v1/completions"))
    assert len(rows(client, b.output_file_id)[0]["response"]["body"]["choices"]) == 2
    path = "/v2/models/sums/infer"
    tensor = lambda i: {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [i, i + 0.5]}]}
    b = wait(client, create(client, [line(i, tensor(i), url=path) for i in range(50)] + [line("bad", {"inputs": []}, url=path)], endpoint=path))
    assert b.status == "completed" and b.request_counts.completed == 50
    out = rows(client, b.output_file_id)
    assert [r["custom_id"] for r in out] == [str(i) for i in range(50)]
    online = httpx.post(str(client.base_url).removesuffix("/v1/") + path, headers={"Authorization": "Bearer ann-key"}, json=tensor(7)).json()
    assert out[7]["response"]["body"]["outputs"] == online["outputs"]
    assert "error" in rows(client, b.error_file_id)[0]["response"]["body"]


def test_group(client, other, events, http_address):
    """inference.net's group call."""
    base, key = f"http://{http_address}/v1/slow/group", {"Authorization": "Bearer ann-key"}
    body = {"requests": [chat(i)["body"] for i in range(3)] + [{"model": "chat"}], "webhook_id": "group"}
    r = httpx.post(base + "/chat/completions", headers=key, json=body)
    assert r.status_code == 200 and r.json()["group_size"] == 4, r.text
    id = r.json()["id"]
    assert wait(client, client.batches.retrieve(id)).status == "completed"
    got = httpx.get(f"{base}/{id}/generations", headers=key).json()
    assert [g["state"] for g in got["generations"]] == ["Success"] * 3 + ["Failed"] and got["generations"][0]["response"]["choices"]
    assert httpx.get(f"{base}/{id}/generations", headers={"Authorization": "Bearer bob-key"}).status_code == 404
    for _ in range(600):
        found = [(h, json.loads(b)) for h, b in events[0] if "x-inference-group-id" in h]
        if found:
            break
        time.sleep(0.05)
    headers, event = found[0]
    assert event["event"] == "slow-group.completed" and event["group_id"] == id and event["webhook_id"] == "group" and len(event["data"]["generations"]) == 4
    for wrong, word in (({"requests": []}, "requests"), ({"requests": [{}] * 51}, "50"), ({"requests": [1]}, "object"), (body | {"webhook_id": "nobody"}, "webhook_id")):
        r = httpx.post(base + "/chat/completions", headers=key, json=wrong)
        assert r.status_code == 400 and word in r.text, r.text
