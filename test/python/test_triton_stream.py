"""ModelStreamInfer: order, several answers to one request, errors inside the stream, cancelling; sync and aio."""

import asyncio
import queue

import numpy as np
import pytest
import tritonclient.grpc as tg
import tritonclient.grpc.aio as tga
from triton import tensor


def row(i):
    return np.full((1, 30), i / 100, np.float32)


@pytest.fixture
def client(grpc_address):
    with tg.InferenceServerClient(grpc_address) as c:
        yield c


def test_order(client, reference):
    got = queue.Queue()
    client.start_stream(lambda result, error: got.put((result, error)))
    for i in range(200):
        client.async_stream_infer("mlp", [tensor(tg, "x", row(i))], request_id=str(i))
    want = reference("mlp", {"x": np.concatenate([row(i) for i in range(200)])})["y"]
    for i in range(200):
        result, error = got.get(timeout=60)
        assert error is None and result.get_response().id == str(i)
        np.testing.assert_allclose(result.as_numpy("y"), want[i : i + 1], rtol=1e-5)
        assert result.get_response().parameters["triton_final_response"].bool_param
    client.stop_stream()


def test_many_answers(client):
    got = queue.Queue()
    client.start_stream(lambda result, error: got.put((result, error)))
    client.async_stream_infer("counter", [tensor(tg, "x", np.array([1], np.int32))], enable_empty_final_response=True)
    steps, final = [], False
    while not final:
        result, error = got.get(timeout=60)
        assert error is None, error
        final = result.get_response().parameters["triton_final_response"].bool_param
        if result.get_response().outputs:
            steps.append(int(result.as_numpy("step")[0]))
    assert len(steps) == 3 and steps == sorted(steps)
    client.stop_stream()


def test_an_error_does_not_end_the_stream(client):
    got = queue.Queue()
    client.start_stream(lambda result, error: got.put((result, error)))
    client.async_stream_infer("mlp", [tensor(tg, "z", row(1))])
    result, error = got.get(timeout=60)
    assert result is None and "'z'" in error.message()
    client.async_stream_infer("mlp", [tensor(tg, "x", row(1))])
    result, error = got.get(timeout=60)
    assert error is None and result.as_numpy("y").shape == (1, 1)
    client.stop_stream()


def test_cancel(client):
    got = queue.Queue()
    client.start_stream(lambda result, error: got.put((result, error)))
    for _ in range(20):
        client.async_stream_infer("slow", [tensor(tg, "x", np.zeros((1, 4), np.float32))])
    client.stop_stream(cancel_requests=True)
    assert client.is_server_ready()


def test_aio(grpc_address):
    async def run():
        async with tga.InferenceServerClient(grpc_address) as c:

            async def requests():
                for i in range(50):
                    yield {"model_name": "mlp", "inputs": [tensor(tga, "x", row(i))], "request_id": str(i)}

            ids = []
            async for result, error in c.stream_infer(requests()):
                assert error is None
                ids.append(result.get_response().id)
            assert ids == [str(i) for i in range(50)]

    asyncio.run(run())
