"""Sequences: what tritonclient's own sequence examples do (simple_http_sequence_sync_infer_client.py,
simple_grpc_sequence_sync_infer_client.py, simple_grpc_sequence_stream_infer_client.py and its aio form), with ids that are
numbers and strings; many sequences at once; what is refused, and what happens when a client vanishes."""

import asyncio
import os
import queue
import urllib.request
import uuid

import numpy as np
import pytest
import tritonclient.grpc as tg
import tritonclient.grpc.aio as tga
import tritonclient.http as th
import tritonclient.http.aio as tha
from tritonclient.utils import InferenceServerException
from triton import tensor

VALUES = [11, 7, 5, 3, 2, 0, 1]


def number(n):
    return np.array([[n]], np.int32)


def parameters(id, i, values):
    return {"sequence_id": id, "sequence_start": i == 0, "sequence_end": i == len(values) - 1}


def example(id, values):
    """What the examples' dyna_sequence model answers: the value, 1 more at the start, the id more at the end."""
    return [v + (i == 0) + (id if i == len(values) - 1 else 0) for i, v in enumerate(values)]


@pytest.mark.parametrize("module", [th, tg], ids=["http", "grpc"])
def test_sync_example(module, http_address, grpc_address):
    with module.InferenceServerClient(http_address if module is th else grpc_address) as c:
        got = {1007: [], 1008: []}
        first, second = [0] + VALUES, [100] + [-v for v in VALUES]
        for i in range(len(first)):  # the two sequences in turn
            for id, values in ((1007, first), (1008, second)):
                result = c.infer("controls", [tensor(module, "INPUT", number(values[i]))], **parameters(id, i, values))
                got[id].append(int(result.as_numpy("OUTPUT")[0, 0]))
        assert got == {1007: example(1007, first), 1008: example(1008, second)}


@pytest.mark.parametrize("module", [th, tg], ids=["http", "grpc"])
def test_string_ids(module, http_address, grpc_address):
    with module.InferenceServerClient(http_address if module is th else grpc_address) as c:
        for id in (str(uuid.uuid4()), "käse", "0x10", "77"):
            for i, v in enumerate(VALUES):
                text = np.array([[str(v)]], np.object_)
                result = c.infer("named", [tensor(module, "INPUT", text)], **parameters(id, i, VALUES))
                assert result.as_numpy("OUTPUT")[0, 0].decode() == id + str(v)
        # A number that is written as one, and as text, is the same sequence.
        one = [tensor(module, "INPUT", number(1))]
        c.infer("accumulate", one, sequence_id=55, sequence_start=True)
        assert int(c.infer("accumulate", one, sequence_id="55", sequence_end=True).as_numpy("OUTPUT")[0, 0]) == 2


def test_stream_example(grpc_address):
    """Both sequences on one stream, nothing waited for."""
    got = queue.Queue()
    sequences = {1000: [0] + VALUES, 1001: [100] + [-v for v in VALUES]}
    with tg.InferenceServerClient(grpc_address) as c:
        c.start_stream(lambda result, error: got.put((result, error)))
        for id, values in sequences.items():
            for i, v in enumerate(values):
                c.async_stream_infer("controls", [tensor(tg, "INPUT", number(v))], request_id=f"{id}_{i}", **parameters(id, i, values))
        answers = {}
        for _ in range(2 * len(VALUES) + 2):
            result, error = got.get(timeout=60)
            assert error is None, error
            answers[result.get_response().id] = int(result.as_numpy("OUTPUT")[0, 0])
    for id, values in sequences.items():
        assert [answers[f"{id}_{i}"] for i in range(len(values))] == example(id, values)


def test_aio_stream_example(grpc_address):
    async def run():
        sequences = {"1002": [0] + VALUES, "1003": [100] + [-v for v in VALUES]}

        async def requests():
            for i in range(len(VALUES) + 1):
                for id, values in sequences.items():
                    yield {"model_name": "accumulate", "inputs": [tensor(tga, "INPUT", number(values[i]))], "request_id": f"{id}_{i}", **parameters(id, i, values)}

        async with tga.InferenceServerClient(grpc_address) as c:
            answers = {}
            async for result, error in c.stream_infer(requests()):
                assert error is None, error
                answers[result.get_response().id] = int(result.as_numpy("OUTPUT")[0, 0])
        for id, values in sequences.items():
            assert [answers[f"{id}_{i}"] for i in range(len(values))] == np.cumsum(values).tolist()

    asyncio.run(run())


def test_async_http(http_address):
    """Requests of many sequences at once; those of one wait for each other, as they must without a stream."""
    with th.InferenceServerClient(http_address, concurrency=16) as c:
        for i, v in enumerate(VALUES):
            asked = [(k, c.async_infer("accumulate", [tensor(th, "INPUT", number(v + k))], **parameters(2000 + k, i, VALUES))) for k in range(40)]
            for k, a in asked:
                assert int(a.get_result().as_numpy("OUTPUT")[0, 0]) == sum(VALUES[: i + 1]) + k * (i + 1)


def test_async_grpc(grpc_address):
    with tg.InferenceServerClient(grpc_address) as c:
        for i, v in enumerate(VALUES):
            got = queue.Queue()
            for k in range(40):
                c.async_infer("accumulate", [tensor(tg, "INPUT", number(v + k))], lambda result, error: got.put((result, error)), request_id=str(k), **parameters(str(3000 + k), i, VALUES))
            for _ in range(40):
                result, error = got.get(timeout=60)
                assert error is None, error
                k = int(result.get_response().id)
                assert int(result.as_numpy("OUTPUT")[0, 0]) == sum(VALUES[: i + 1]) + k * (i + 1)


def test_aio_http_and_grpc(http_address, grpc_address):
    async def one(c, module, id, k):
        for i, v in enumerate(VALUES):
            result = await c.infer("accumulate", [tensor(module, "INPUT", number(v + k))], **parameters(id, i, VALUES))
            assert int(result.as_numpy("OUTPUT")[0, 0]) == sum(VALUES[: i + 1]) + k * (i + 1)

    async def run():
        async with tha.InferenceServerClient(http_address) as h, tga.InferenceServerClient(grpc_address) as g:
            await asyncio.gather(*(one(h, tha, 4000 + k, k) for k in range(50)), *(one(g, tga, f"aio-{k}", k) for k in range(50)))

    asyncio.run(run())


@pytest.mark.parametrize("module", [th, tg], ids=["http", "grpc"])
def test_refused(module, http_address, grpc_address):
    with module.InferenceServerClient(http_address if module is th else grpc_address) as c:

        def ask(model, array=number(1), **kw):
            return int(c.infer(model, [tensor(module, "INPUT", array)], **kw).as_numpy("OUTPUT")[0, 0])

        def refused(words, *args, **kw):
            with pytest.raises(InferenceServerException) as e:
                ask(*args, **kw)
            for w in words:
                assert w in e.value.message(), e.value

        refused(["model 'accumulate'", "non-zero or non-empty sequence_id"], "accumulate")
        refused(["sequence '9'", "model 'accumulate'", "must specify the START flag"], "accumulate", sequence_id=9)
        assert ask("accumulate", sequence_id=9, sequence_start=True) == 1
        assert ask("accumulate", sequence_id=9) == 2
        assert ask("accumulate", sequence_id=9, sequence_start=True) == 1  # a second start begins anew
        assert ask("accumulate", sequence_id=9, sequence_end=True) == 2
        refused(["must specify the START flag"], "accumulate", sequence_id=9, sequence_end=True)  # an end twice
        refused(["'CORRID'", "\"text\" is no UINT64"], "controls", sequence_id="text", sequence_start=True)
        refused(["'INPUT'", "2 rows", "has one"], "accumulate", np.ones((2, 1), np.int32), sequence_id=9, sequence_start=True)
        with pytest.raises(InferenceServerException) as e:  # what the server fills in is not the client's
            inputs = [tensor(module, "INPUT", number(1)), tensor(module, "START", number(1))]
            c.infer("accumulate", inputs, sequence_id=9, sequence_start=True)
        assert "unexpected input 'START'" in e.value.message()


def test_a_failure_inside_a_stream(grpc_address):
    """The stream goes on, and so do the other sequences; the one that failed is told to begin anew."""
    got = queue.Queue()

    def say(id, v, **kw):
        c.async_stream_infer("lookup", [tensor(tg, "x", np.array([[v]], np.int64))], sequence_id=id, **kw)
        result, error = got.get(timeout=60)
        return error.message() if error else float(result.as_numpy("y")[0, 0])

    with tg.InferenceServerClient(grpc_address) as c:
        c.start_stream(lambda result, error: got.put((result, error)))
        assert say(1, 2, sequence_start=True) == 4
        assert say(2, 3, sequence_start=True) == 9
        assert "99" in say(1, 99)
        assert "must specify the START flag" in say(1, 2)
        assert say(2, 3) == 18
        assert say(1, 1, sequence_start=True) == 1


def test_a_client_that_vanishes(grpc_address):
    """The model brief has room for two sequences and lets them go after half a second without a request."""
    first, got = tg.InferenceServerClient(grpc_address), queue.Queue()
    first.start_stream(lambda result, error: got.put(error))
    for id in ("a", "b"):
        first.async_stream_infer("brief", [tensor(tg, "INPUT", number(1))], sequence_id=id, sequence_start=True)
        assert got.get(timeout=60) is None
    first.stop_stream(cancel_requests=False)
    first.close()
    with tg.InferenceServerClient(grpc_address) as c:
        asked = [tensor(tg, "INPUT", number(1))]
        result = c.infer("brief", asked, sequence_id="c", sequence_start=True, client_timeout=60)  # it waits for a place
        assert int(result.as_numpy("OUTPUT")[0, 0]) == 1
        with pytest.raises(InferenceServerException, match="must specify the START flag"):
            c.infer("brief", asked, sequence_id="a")


def test_what_is_shown(http_address, grpc_address):
    with th.InferenceServerClient(http_address) as c:
        assert "sequence" in c.get_server_metadata()["extensions"]
        assert [i["name"] for i in c.get_model_metadata("accumulate")["inputs"]] == ["INPUT"]
        batching = c.get_model_config("accumulate")["sequence_batching"]
        assert batching["state"][0]["input_name"] == "STATE_IN" and batching["control_input"][0]["name"] == "START"
        c.infer("accumulate", [tensor(th, "INPUT", number(1))], sequence_id="shown", sequence_start=True)
        assert c.get_inference_statistics("accumulate")["model_stats"][0]["serval"]["sequences"] >= 1
        metrics = urllib.request.urlopen(f"http://{os.environ['SERVAL_ADMIN']}/metrics").read().decode()
        live = [line for line in metrics.splitlines() if line.startswith('serval_model_sequences{model="accumulate"')]
        assert len(live) == 1 and float(live[0].split()[-1]) >= 1
        c.infer("accumulate", [tensor(th, "INPUT", number(1))], sequence_id="shown", sequence_end=True)
