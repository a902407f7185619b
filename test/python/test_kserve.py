"""KServe's own SDK: InferenceRESTClient in both protocols, InferenceGRPCClient."""

import asyncio
import csv

import grpc
import httpx
import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig

# The venv has no ONNX Runtime: what is asked for is known, or the ways are compared with one another.
X = np.random.default_rng(5).normal(size=(3, 30)).astype(np.float32)


def run(call):
    return asyncio.run(call)


@pytest.fixture(scope="module")
def base(http_address):
    return "http://" + http_address


def v2():
    return InferenceRESTClient(RESTConfig(protocol="v2"))


def v1():
    return InferenceRESTClient(RESTConfig(protocol="v1"))


def request(model, inputs, binary=True, **kw):
    made = []
    for name, (datatype, a) in inputs.items():
        i = InferInput(name, list(a.shape), datatype)
        i.set_data_from_numpy(a, binary_data=binary)
        made.append(i)
    return InferRequest(model_name=model, infer_inputs=made, **kw)


def arrays(response):
    return {o.name: o.as_numpy() for o in response.outputs}


def test_rest_health(base):
    async def ask():
        async with v2() as c:
            assert await c.is_server_ready(base) is True
            assert await c.is_server_live(base) is True
            assert await c.is_model_ready(base, "mlp") is True
            assert await c.is_model_ready(base, "none") is False
        async with v1() as c:
            assert await c.is_server_live(base) is True
            assert await c.is_model_ready(base, "mlp") is True
            with pytest.raises(httpx.HTTPStatusError, match="none"):
                await c.is_model_ready(base, "none")

    run(ask())


def test_grpc_health(grpc_address):
    async def ask():
        async with InferenceGRPCClient(grpc_address) as c:
            assert await c.is_server_ready() and await c.is_server_live() and await c.is_model_ready("mlp")
            assert not await c.is_model_ready("none")

    run(ask())


async def rest(base, req):
    async with v2() as c:
        return arrays(await c.infer(base, req, model_name=req.model_name))


async def rpc(address, req):
    async with InferenceGRPCClient(address) as c:
        return arrays(await c.infer(req))


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_the_ways_agree(base, grpc_address, rows):
    x = {"x": ("FP32", X[:rows])}
    got = [
        run(rest(base, request("mlp", x))),
        run(rest(base, request("mlp", x, binary=False))),
        run(rest(base, request("mlp", x, parameters={"binary_data_output": True}))),
        run(rpc(grpc_address, request("mlp", x))),
        run(rpc(grpc_address, request("mlp", x, binary=False))),
    ]
    for g in got:
        assert g["y"].shape == (rows, 1) and g["y"].dtype == np.float32
        np.testing.assert_allclose(g["y"], got[0]["y"], rtol=1e-5)


def test_not_finite(base, grpc_address):
    x = X.copy()
    x[0, 0], x[1, 0] = np.nan, np.inf
    for got in (run(rest(base, request("mlp", {"x": ("FP32", x)}, parameters={"binary_data_output": True}))), run(rpc(grpc_address, request("mlp", {"x": ("FP32", x)})))):
        assert np.isnan(got["y"][0]).all() and np.isfinite(got["y"][2]).all()


TYPES = {
    "BOOL": np.array([[True, False, True]]), "FP16": np.array([[-1.5, 0.1, 65504]], np.float16), "FP32": np.array([[-1.5, 0.1, 3e38]], np.float32),
    "FP64": np.array([[-1.5, 0.1, 1e308]]), "BYTES": np.array([["", "käse 🧀", "日本語"]], object),
    **{f"{s}{b}": np.array([[0, 7, np.iinfo(f"{s.lower()}{b}").max]], f"{s.lower()}{b}") for s in ("INT", "UINT") for b in (8, 16, 32, 64)},
}


def test_types(base, grpc_address):
    """BF16 is not a type of the SDK: it goes as its raw bytes would. So the model that takes all types is asked in halves."""
    bf16 = InferInput("in_BF16", [1, 3], "BF16")
    bf16._raw_data, bf16.parameters = b"\xc0\x3f\x00\x00\x80\x3f", {"binary_data_size": 6}
    r = request("types", {f"in_{t}": (t, a) for t, a in TYPES.items()})
    r.inputs.append(bf16)
    from kserve import InferOutput  # noqa: F401
    from kserve.protocol.infer_type import RequestedOutput

    r.request_outputs = [RequestedOutput(f"out_{t}", {"binary_data": True}) for t in TYPES]
    for got in (run(rest(base, r)), run(rpc(grpc_address, r))):
        for t, a in TYPES.items():
            g = got[f"out_{t}"]
            if t == "BYTES":
                assert [[s.decode() if isinstance(s, bytes) else s for s in row] for row in g.tolist()] == a.tolist()
            else:
                np.testing.assert_array_equal(g, a, err_msg=t)


def applicants(models):
    return list(csv.DictReader(open(models / "credit" / "applicants.csv", encoding="utf-8")))


def test_v1_rows(base, models):
    """Protocol v1 takes rows as objects, and answers rows."""

    async def ask():
        async with v2() as c:
            meta = (await c._client.get(base + "/v2/models/credit")).json()
        rows = [{i["name"]: r[i["name"]] if i["datatype"] == "BYTES" else float(r[i["name"]]) for i in meta["inputs"]} for r in applicants(models)]
        async with v1() as c:
            return await c.infer(base, {"instances": rows}, model_name="credit")

    got = run(ask())["predictions"]
    flat = [r["risk"] if isinstance(r["risk"], str) else r["risk"][0] for r in got]
    assert flat == ["good", "bad", "good", "good", "bad"]


def test_v1_agrees_with_v2(base):
    async def ask(data):
        async with v1() as c:
            return (await c.infer(base, data, model_name="mlp"))["predictions"]

    want = run(rest(base, request("mlp", {"x": ("FP32", X)})))["y"]
    np.testing.assert_allclose(np.array(run(ask({"instances": X.tolist()})), np.float32), want, rtol=1e-5)
    np.testing.assert_allclose(np.array(run(ask({"instances": [{"x": row} for row in X.tolist()]})), np.float32), want, rtol=1e-5)
    np.testing.assert_allclose(np.array(run(ask({"inputs": {"x": X.tolist()}})), np.float32), want, rtol=1e-5)


def test_mistakes(base, grpc_address):
    async def v1_ask(data, model="mlp"):
        async with v1() as c:
            return await c.infer(base, data, model_name=model)

    async def explain():
        async with v1() as c:
            return await c.explain(base, "mlp", {"instances": [[0] * 30]})

    for call, what in (
        (v1_ask({"instances": [[1, 2, 3]]}), "'x'"),
        (v1_ask({"instances": [["a"] * 30]}), "'x'"),
        (v1_ask({}), "instances"),
        (v1_ask({"instances": [[0] * 30]}, "none"), "none"),
        (explain(), "explain"),
        (rest(base, request("mlp", {"z": ("FP32", X)})), "'z'"),
        (rest(base, request("mlp", {"x": ("FP64", X.astype(np.float64))})), "'x'"),
    ):
        with pytest.raises(httpx.HTTPStatusError) as e:
            run(call)
        assert what in str(e.value) and e.value.response.status_code in (400, 404, 501), e.value
    with pytest.raises(grpc.RpcError, match="'z'"):
        run(rpc(grpc_address, request("mlp", {"z": ("FP32", X)})))
