"""Drives a Serval test server, whose models answer their inputs, with NVIDIA's own tritonclient over HTTP.

Called by TestTritonHTTPClient with the server's address.
"""

import sys

import numpy as np
import tritonclient.http as triton
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

client = triton.InferenceServerClient(sys.argv[1], concurrency=4)


def tensor(name, array, binary=True):
    t = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    return t.set_data_from_numpy(array, binary_data=binary)


def refused(what, call, *args, **kw):
    try:
        call(*args, **kw)
    except InferenceServerException as e:
        assert what in str(e), f"{what!r} is not in {e}"
        return
    raise AssertionError(f"not refused: {what}")


assert client.is_server_live() and client.is_server_ready()
assert client.is_model_ready("m") and client.is_model_ready("m", "2") and not client.is_model_ready("torn")
assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
assert client.get_model_metadata("m")["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
config = client.get_model_config("m")
assert config["max_batch_size"] == 64 and config["input"][0]["dims"] == [2], config
stats = client.get_inference_statistics("m", "1")["model_stats"][0]
assert stats["inference_count"] == 5 and stats["inference_stats"]["success"] == {"count": 3, "ns": 1000000}, stats
assert len(client.get_inference_statistics()["model_stats"]) == 4
assert {"name": "m", "version": "2", "state": "READY", "reason": ""} in client.get_model_repository_index()
import json

config["max_batch_size"] = 8
client.load_model("m", config=json.dumps(config))  # what was read can be changed and sent back
client.unload_model("m")
refused("cannot be changed here", client.get_log_settings)
refused("no model 'nope'", client.get_model_metadata, "nope")

arrays = [
    np.array([[1.5, -2.25], [np.nan, np.inf]], np.float32),
    np.array([[-np.inf, 0.1]], np.float64),
    np.arange(-3, 3, dtype=np.int64).reshape(2, 3),
    np.array([2**64 - 1, 0], np.uint64),
    np.array([[True], [False]]),
    np.array(["é", "", "a\0b", '"\\'], np.object_),
    np.zeros((0, 4), np.float32),
    np.zeros((1000, 16), np.float32),
]
for array in arrays:
    bare = array.dtype.kind == "f" and not np.isfinite(array).all()  # tritonclient writes NaN and Infinity as bare words
    if bare:
        refused("JSON does not have", client.infer, "m", [tensor("x", array, False)])
    for binary_in in (True,) if bare else (True, False):
        for binary_out in (True, False):
            for coding in (None, "gzip", "deflate"):
                r = client.infer("m", [tensor("x", array, binary_in)], outputs=[triton.InferRequestedOutput("x", binary_data=binary_out)],
                                 request_id="id-1", request_compression_algorithm=coding, response_compression_algorithm=coding)
                got = r.as_numpy("x")
                if array.dtype == np.object_:
                    text = [e.decode() if isinstance(e, bytes) else e for e in got]
                    assert text == list(array), (array, got)
                else:
                    assert got.dtype == array.dtype and got.shape == array.shape, (array, got)
                    assert np.array_equal(got, array, equal_nan=array.dtype.kind == "f"), (array, got)
                assert r.get_response()["id"] == "id-1"

half = np.array([[1, 2.5]], np.float16)
assert np.array_equal(client.infer("m", [tensor("x", half)]).as_numpy("x"), half)
refused("binary data", client.infer, "m", [tensor("x", half)], outputs=[triton.InferRequestedOutput("x", binary_data=False)])
refused("binary data", client.infer, "m", [tensor("x", half, False)])

top = client.infer("m", [tensor("x", np.array([[0.1, 0.9]], np.float32))], outputs=[triton.InferRequestedOutput("x", class_count=1)],
                   priority=1, timeout=10_000_000, sequence_id=7, sequence_start=True, parameters={"mine": "x"})
assert top.as_numpy("x").tolist() == [[b"0.900000:1:yes"]], top.as_numpy("x")

pending = [client.async_infer("m", [tensor("x", np.full((1, 2), i, np.float32))]) for i in range(20)]
for i, p in enumerate(pending):
    assert p.get_result().as_numpy("x")[0, 0] == i

region = shm.create_shared_memory_region("region", "/serval_rest_test", 64)
try:
    data = np.arange(8, dtype=np.float32).reshape(4, 2)
    shm.set_shared_memory_region(region, [data])
    client.unregister_system_shared_memory()
    client.unregister_cuda_shared_memory()
    client.register_system_shared_memory("region", "/serval_rest_test", 64)
    assert client.get_system_shared_memory_status()[0]["byte_size"] == 64
    t = triton.InferInput("x", [4, 2], "FP32")
    t.set_shared_memory("region", 32)
    o = triton.InferRequestedOutput("x")
    o.set_shared_memory("region", 32, offset=32)
    client.infer("m", [t], outputs=[o])
    assert np.array_equal(shm.get_contents_as_numpy(region, np.float32, [4, 2], offset=32), data)
    client.unregister_system_shared_memory("region")
    refused("Unable to find", client.infer, "m", [t])
finally:
    shm.destroy_shared_memory_region(region)
print("ok")
