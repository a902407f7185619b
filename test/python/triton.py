"""tritonclient's ways to ask, behind one function each, and what the tests compare."""

import asyncio
import base64
import json
import pathlib

import ml_dtypes
import numpy as np
import tritonclient.grpc as tg
import tritonclient.grpc.aio as tga
import tritonclient.http as th
import tritonclient.http.aio as tha
from tritonclient.utils import np_to_triton_dtype

BF16 = np.dtype(ml_dtypes.bfloat16)


def datatype(array):
    return "BF16" if array.dtype == BF16 else np_to_triton_dtype(array.dtype)


def tensor(module, name, array, **kw):
    t = module.InferInput(name, list(array.shape), datatype(array))
    t.set_data_from_numpy(array, **kw)
    return t


def tensors(module, inputs, **kw):
    return [tensor(module, name, a, **kw) for name, a in inputs.items()]


def outputs_of(result):
    r = result.get_response()
    list_ = r["outputs"] if isinstance(r, dict) else r.outputs
    return {(o["name"] if isinstance(o, dict) else o.name): o for o in list_}


def arrays(result):
    return {name: result.as_numpy(name) for name in outputs_of(result)}


def http_binary(addresses, model, inputs, **kw):
    with th.InferenceServerClient(addresses[0]) as c:
        return arrays(c.infer(model, tensors(th, inputs, binary_data=True), **kw))


def http_json(addresses, model, inputs, names=None):
    """All data as JSON, both ways. Outputs come as JSON only where they are asked for by name."""
    with th.InferenceServerClient(addresses[0]) as c:
        names = names or [o["name"] for o in c.get_model_metadata(model)["outputs"]]
        wanted = [th.InferRequestedOutput(n, binary_data=False) for n in names]
        result = c.infer(model, tensors(th, inputs, binary_data=False), outputs=wanted)
        assert all("data" in o for o in outputs_of(result).values()), "an output came as binary data"
        return arrays(result)


def http_gzip(addresses, model, inputs):
    return http_binary(addresses, model, inputs, request_compression_algorithm="gzip", response_compression_algorithm="gzip")


def http_deflate(addresses, model, inputs):
    return http_binary(addresses, model, inputs, request_compression_algorithm="deflate", response_compression_algorithm="deflate")


def http_async(addresses, model, inputs):
    with th.InferenceServerClient(addresses[0], concurrency=4) as c:
        asked = [c.async_infer(model, tensors(th, inputs)) for _ in range(4)]
        return [arrays(a.get_result()) for a in asked][-1]


def http_aio(addresses, model, inputs):
    async def ask():
        async with tha.InferenceServerClient(addresses[0]) as c:
            results = await asyncio.gather(*(c.infer(model, tensors(tha, inputs)) for _ in range(4)))
            return arrays(results[-1])

    return asyncio.run(ask())


def grpc(addresses, model, inputs, **kw):
    with tg.InferenceServerClient(addresses[1]) as c:
        return arrays(c.infer(model, tensors(tg, inputs), **kw))


def grpc_gzip(addresses, model, inputs):
    return grpc(addresses, model, inputs, compression_algorithm="gzip")


def grpc_deflate(addresses, model, inputs):
    return grpc(addresses, model, inputs, compression_algorithm="deflate")


def grpc_async(addresses, model, inputs):
    import queue

    got = queue.Queue()
    with tg.InferenceServerClient(addresses[1]) as c:
        c.async_infer(model, tensors(tg, inputs), lambda result, error: got.put((result, error)))
        result, error = got.get(timeout=60)
        if error:
            raise error
        return arrays(result)


def grpc_aio(addresses, model, inputs):
    async def ask():
        async with tga.InferenceServerClient(addresses[1]) as c:
            results = await asyncio.gather(*(c.infer(model, tensors(tga, inputs)) for _ in range(4)))
            return arrays(results[-1])

    return asyncio.run(ask())


def grpc_stream(addresses, model, inputs):
    import queue

    got = queue.Queue()
    with tg.InferenceServerClient(addresses[1]) as c:
        c.start_stream(lambda result, error: got.put((result, error)))
        c.async_stream_infer(model, tensors(tg, inputs))
        result, error = got.get(timeout=60)
        if error:
            raise error
        return arrays(result)


BINARY = [http_binary, http_gzip, http_deflate, http_async, http_aio, grpc, grpc_gzip, grpc_deflate, grpc_async, grpc_aio, grpc_stream]
ALL = BINARY + [http_json]


def trees(fixture):
    """The rows of a fixture of engine/tree and what its library answers for them, by output."""
    w = json.loads((pathlib.Path(__file__).parents[2] / "engine" / "tree" / "testdata" / (fixture + ".want")).read_text())

    def array(a):
        return np.frombuffer(base64.b64decode(a["data"]), np.dtype("<" + a["dtype"])).reshape(w["rows"], a["columns"])

    return array(w["x"]), {name: array(a) for name, a in w["outputs"].items()}


def text(array):
    """An array of strings as a list, whichever of str, bytes and object it holds."""
    return [x.decode() if isinstance(x, bytes) else str(x) for x in np.asarray(array).reshape(-1).tolist()]


def same(got, want, exact=False):
    """Whether two dicts of arrays are equal: names, types, shapes, values. Floats may differ in the last bits, since rows
    that share a batch take another way through the arithmetic; NaN equals NaN."""
    assert got.keys() == want.keys(), (got.keys(), want.keys())
    for name, w in want.items():
        g, w = got[name], np.asarray(w)
        assert g is not None and list(g.shape) == list(w.shape), (name, g, w.shape)
        if w.dtype == object or w.dtype.kind in "US":
            assert text(g) == text(w), name
            continue
        if w.dtype == BF16:
            g, w = g.astype(np.float32), w.astype(np.float32)
        assert g.dtype == w.dtype, (name, g.dtype, w.dtype)
        if w.dtype.kind == "f" and not exact:
            np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(g, w, err_msg=name)
