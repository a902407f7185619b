"""Drives a Serval test server, whose model "echo" answers its inputs, with NVIDIA's own tritonclient.

Called by TestTritonClient with the server's address and the name of a model whose answers have several parts.
"""

import asyncio
import queue
import sys

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

address = sys.argv[1]
client = triton.InferenceServerClient(address)


def tensor(name, array, datatype=None, **kw):
    t = triton.InferInput(name, list(array.shape), datatype or np_to_triton_dtype(array.dtype))
    t.set_data_from_numpy(array, **kw)
    return t


def refused(what, call, *args, **kw):
    try:
        call(*args, **kw)
    except InferenceServerException as e:
        assert what in str(e), f"{what!r} is not in {e}"
        return e
    raise AssertionError(f"{what!r} was not refused")


def check_metadata():
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("echo") and client.is_model_ready("echo", "3")
    assert not client.is_model_ready("none")
    assert "statistics" in client.get_server_metadata().extensions
    m = client.get_model_metadata("echo", as_json=True)
    assert m["inputs"] == [{"name": "x", "datatype": "FP32", "shape": ["-1", "4"]}], m
    c = client.get_model_config("echo").config
    assert c.max_batch_size == 64 and list(c.input[0].dims) == [4], c
    s = client.get_inference_statistics("echo").model_stats[0]
    assert s.inference_count == 5 and s.batch_stats[0].batch_size == 3, s
    assert len(client.get_inference_statistics().model_stats) == 1
    assert [(m.name, m.state) for m in client.get_model_repository_index().models] == [("broken", "UNAVAILABLE"), ("echo", "READY")]
    refused("there is echo", client.get_model_metadata, "none")


def check_control():
    client.load_model("echo")
    client.load_model("echo", config='{"max_batch_size": 8}')
    client.unload_model("echo")
    refused("request's own bytes", client.load_model, "echo", config="{}", files={"file:1/model.onnx": b"x"})
    assert client.update_log_settings({"log_info": False}, as_json=True)["settings"]["log_info"] == {"bool_param": False}
    assert client.get_log_settings(as_json=True)["settings"]["log_info"] == {"bool_param": False}
    t = client.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"], "trace_rate": "5"}, as_json=True)["settings"]
    assert t["trace_level"]["value"] == ["TIMESTAMPS"] and t["trace_rate"]["value"] == ["5"], t
    refused("no setting", client.update_log_settings, {"nonsense": True})


arrays = {
    t: np.array([[0, 1, 2, 3]]).astype(t)
    for t in (bool, "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
}
arrays["special"] = np.array([[np.nan, np.inf, -np.inf, -0.0]], dtype="float32")
arrays["text"] = np.array([["é", "", "日本", "x" * 1000]], dtype=object)
arrays["empty"] = np.zeros((0, 4), dtype="float32")
arrays["large"] = np.arange(400_000, dtype="float32").reshape(1000, 400)


def same(got, want):
    if want.dtype == object:
        got = np.char.decode(got.astype(bytes), "utf-8") if got.size else got
        return np.array_equal(got, want.astype(str))
    return got.dtype == want.dtype and np.array_equal(got, want, equal_nan=want.dtype.kind == "f")


def check_infer():
    inputs = [tensor(str(name), a) for name, a in arrays.items()]
    for compression in (None, "gzip"):
        r = client.infer("echo", inputs, request_id="7", compression_algorithm=compression)
        assert r.get_response().id == "7" and r.get_response().model_version == "3"
        for name, a in arrays.items():
            assert same(r.as_numpy(str(name)), a), name
    r = client.infer("echo", inputs[:2], outputs=[triton.InferRequestedOutput("uint8")], priority=1, timeout=60_000_000, sequence_id="s", sequence_start=True)
    assert len(r.get_response().outputs) == 1
    r = client.infer("echo", [tensor("x", np.array([[0.5, 2, 1]], "float32"))], outputs=[triton.InferRequestedOutput("x", class_count=2)])
    assert r.as_numpy("x").tolist() == [[b"2.000000:1", b"1.000000:2"]]
    refused("there is echo", client.infer, "none", inputs)
    refused("no output 'y'", client.infer, "echo", inputs, outputs=[triton.InferRequestedOutput("y")])
    got = queue.Queue()
    for _ in range(50):
        client.async_infer("echo", inputs, lambda result, error: got.put((result, error)))
    for _ in range(50):
        result, error = got.get(timeout=30)
        assert error is None and same(result.as_numpy("text"), arrays["text"]), error


def check_shared_memory():
    a = np.arange(16, dtype="float32").reshape(2, 8)
    size = a.nbytes
    region = shm.create_shared_memory_region("in", "/serval_triton_test", 2 * size)
    try:
        shm.set_shared_memory_region(region, [a])
        client.register_system_shared_memory("in", "/serval_triton_test", 2 * size)
        refused("already in manager", client.register_system_shared_memory, "in", "/serval_triton_test", 2 * size)
        assert client.get_system_shared_memory_status().regions["in"].byte_size == 2 * size
        x = triton.InferInput("x", [2, 8], "FP32")
        x.set_shared_memory("in", size)
        y = triton.InferRequestedOutput("x")
        y.set_shared_memory("in", size, offset=size)
        r = client.infer("echo", [x], outputs=[y])
        assert np.array_equal(shm.get_contents_as_numpy(region, np.float32, [2, 8], offset=size), a)
        assert r.get_output("x").shape == [2, 8]
        x.set_shared_memory("in", size, offset=2 * size)
        refused("Invalid offset + byte size", client.infer, "echo", [x])
        client.unregister_system_shared_memory()
        refused("Unable to find shared memory region: 'in'", client.infer, "echo", [x])
        assert len(client.get_cuda_shared_memory_status().regions) == 0
        refused("CUDA shared memory is not supported", client.register_cuda_shared_memory, "c", b"aGFuZGxl", 0, 1)
        client.unregister_cuda_shared_memory()
    finally:
        shm.destroy_shared_memory_region(region)


def check_stream():
    got = queue.Queue()
    client.start_stream(lambda result, error: got.put((result, error)))
    for i in range(100):
        client.async_stream_infer("echo", [tensor("x", np.array([i], "int32"))], request_id=str(i))
    for i in range(100):
        result, error = got.get(timeout=30)
        assert error is None and result.as_numpy("x")[0] == i and result.get_response().id == str(i)
        assert result.get_response().parameters["triton_final_response"].bool_param
    client.async_stream_infer("none", [tensor("x", np.array([1], "int32"))])
    result, error = got.get(timeout=30)
    assert result is None and "there is echo" in str(error)
    client.async_stream_infer(sys.argv[2], [tensor("x", np.array([3], "uint8"))], enable_empty_final_response=True)
    parts = [got.get(timeout=30) for _ in range(3)]
    assert [r.get_response().parameters["triton_final_response"].bool_param for r, e in parts] == [False, False, True]
    client.stop_stream()


async def check_aio():
    async with triton_aio.InferenceServerClient(address) as c:
        assert await c.is_server_live()
        x = tensor("x", arrays["large"])
        for r in await asyncio.gather(*(c.infer("echo", [x]) for _ in range(20))):
            assert same(r.as_numpy("x"), arrays["large"])

        async def requests():
            for i in range(10):
                yield {"model_name": "echo", "inputs": [tensor("x", np.array([i], "int32"))]}

        i = 0
        async for result, error in c.stream_infer(requests()):
            assert error is None and result.as_numpy("x")[0] == i
            i += 1
        assert i == 10


check_metadata()
check_control()
check_infer()
check_shared_memory()
check_stream()
asyncio.run(check_aio())
client.close()
print("ok")
