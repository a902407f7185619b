"""Health, metadata, configuration, statistics, parameters, versions, classification; errors as tritonclient shows them."""

import numpy as np
import pytest
import tritonclient.grpc as tg
import tritonclient.http as th
from tritonclient.utils import InferenceServerException
from triton import same, tensor

X = np.arange(60, dtype=np.float32).reshape(2, 30)


@pytest.fixture(params=["http", "grpc"])
def client(request, http_address, grpc_address):
    """A client and its module; as_json makes the gRPC one's answers look like the other's."""
    module, address = (th, http_address) if request.param == "http" else (tg, grpc_address)
    options = {"concurrency": 10} if request.param == "http" else {}
    with module.InferenceServerClient(address, **options) as c:
        c.module = module
        c.json = {} if request.param == "http" else {"as_json": True}
        yield c


def refused(what, call, *args, **kw):
    with pytest.raises(InferenceServerException) as e:
        call(*args, **kw)
    for w in [what] if isinstance(what, str) else what:
        assert w in e.value.message(), e.value


def test_health(client):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("mlp") and client.is_model_ready("mlp", "1")
    assert not client.is_model_ready("mlp", "9")
    assert not client.is_model_ready("none")


def test_server_metadata(client):
    m = client.get_server_metadata(**client.json)
    assert m["name"] == "serval" and m["version"]
    assert {"classification", "binary_tensor_data", "model_repository", "statistics", "system_shared_memory"} <= set(m["extensions"])


def ints(shape):
    return [int(n) for n in shape]


def test_model_metadata(client):
    m = client.get_model_metadata("mlp", **client.json)
    assert (m["name"], m["versions"], m["platform"]) == ("mlp", ["1"], "onnxruntime_onnx")
    (x,), (y,) = m["inputs"], m["outputs"]
    assert (x["name"], x["datatype"], ints(x["shape"])) == ("x", "FP32", [-1, 30])
    assert (y["name"], y["datatype"], ints(y["shape"])) == ("y", "FP32", [-1, 1])
    assert client.get_model_metadata("versions", **client.json)["versions"] == ["1", "2", "3"]
    refused(["none"], client.get_model_metadata, "none")
    refused(["versions", "9"], client.get_model_metadata, "versions", "9")


def test_config(client):
    c = client.get_model_config("mlp", **client.json)
    c = c.get("config", c)
    assert c["name"] == "mlp" and c["platform"] == "onnxruntime_onnx" and int(c["max_batch_size"]) == 64
    assert c["input"][0]["data_type"] == "TYPE_FP32" and ints(c["input"][0]["dims"]) == [30]
    assert "dynamic_batching" in c and c["instance_group"][0]["kind"] == "KIND_CPU"


def test_statistics(client):
    def count():
        s = client.get_inference_statistics("external", **client.json)["model_stats"][0]
        return int(s.get("inference_count", 0)), int(s.get("execution_count", 0)), s

    rows, runs, _ = count()
    x = np.zeros((3, 4), np.float32)
    client.infer("external", [tensor(client.module, "x", x)])
    rows2, runs2, s = count()
    assert (rows2 - rows, runs2 - runs) == (3, 1)
    st = s["inference_stats"]
    assert int(st["success"]["count"]) >= 1 and int(st["success"]["ns"]) >= int(st["compute_infer"]["ns"]) > 0
    assert any(int(b["batch_size"]) == 3 for b in s["batch_stats"]) and int(s["last_inference"]) > 1_600_000_000_000
    assert len(client.get_inference_statistics(**client.json)["model_stats"]) > 10


def test_parameters(client):
    """Those of the protocol and the client's own are taken; an id comes back."""
    r = client.infer("mlp", [tensor(client.module, "x", X)], request_id="größe-1", priority=1, timeout=30_000_000, sequence_id=7,
                     sequence_start=True, sequence_end=True, parameters={"mine": "ü", "n": 3, "flag": True})
    response = r.get_response()
    assert (response["id"] if isinstance(response, dict) else response.id) == "größe-1"


def test_deadline(client):
    """The timeout counts in microseconds in the server. The model takes 200 ms a request, so behind others 20 ms are too few."""
    m = client.module
    x = [tensor(m, "x", np.zeros((1, 4), np.float32))]
    before = []
    for _ in range(4):
        if m is th:
            before.append(client.async_infer("slow", x))
        else:
            before.append(client.async_infer("slow", x, lambda result, error: None))
    refused("deadline", lambda: [client.infer("slow", x, timeout=20_000) for _ in range(4)])
    for asked in before if m is th else []:
        asked.get_result()


def test_outputs(client):
    m = client.module
    inputs = [tensor(m, "x", np.ones((2, 2), np.float32))]
    r = client.infer("optional", inputs, outputs=[m.InferRequestedOutput("constant")])
    assert r.as_numpy("y") is None and r.as_numpy("constant").tolist() == [3, 4]
    r = client.infer("optional", inputs, outputs=[m.InferRequestedOutput("constant"), m.InferRequestedOutput("y")])
    same({n: r.as_numpy(n) for n in ("y", "constant")}, {"y": np.array([[11, 21]] * 2, np.float32), "constant": np.array([3, 4])})
    refused(["'z'", "y"], client.infer, "optional", inputs, outputs=[m.InferRequestedOutput("z")])


def test_versions(client):
    m = client.module
    answered = set()
    for version in ("", "1", "2", "3"):
        response = client.infer("versions", [tensor(m, "x", X)], model_version=version).get_response()
        answered.add((version, response["model_version"] if isinstance(response, dict) else response.model_version))
    assert answered == {("", "3"), ("1", "1"), ("2", "2"), ("3", "3")}
    refused(["versions", "9"], client.infer, "versions", [tensor(m, "x", X)], model_version="9")


def test_classification(client):
    m = client.module
    x = np.array([[0.5, 2, 1, -3], [9, 8, 7, 6]], np.float32)
    r = client.infer("labelled", [tensor(m, "x", x)], outputs=[m.InferRequestedOutput("y", class_count=2)])
    got = [[c.decode() for c in row] for row in r.as_numpy("y").tolist()]
    parts = [[c.split(":") for c in row] for row in got]
    assert [[(float(v), int(i), label) for v, i, label in row] for row in parts] == [[(2, 1, "dog"), (1, 2, "bird")], [(9, 0, "cat"), (8, 1, "dog")]]
    r = client.infer("labelled", [tensor(m, "x", x)], outputs=[m.InferRequestedOutput("y", class_count=100)])
    assert r.as_numpy("y").shape == (2, 4)
    a = np.array([["a"]], object)
    refused(["'y'", "BYTES"], client.infer, "concat", [tensor(m, "a", a), tensor(m, "b", a)], outputs=[m.InferRequestedOutput("y", class_count=2)])


def test_labels_of_zipmap(client):
    m = client.module
    x = np.random.default_rng(1).normal(size=(1, 4)).astype(np.float32)
    r = client.infer("zipmap_string", [tensor(m, "x", x)], outputs=[m.InferRequestedOutput("probability", class_count=3)])
    assert {c.decode().split(":")[2] for c in r.as_numpy("probability").reshape(-1).tolist()} == {"setosa", "ärger", "virginica"}


def test_mistakes(client):
    m = client.module

    def ask(name, a):
        return lambda: client.infer("mlp", [tensor(m, name, a)])

    refused(["none"], client.infer, "none", [tensor(m, "x", X)])
    refused(["'z'", "x"], ask("z", X))
    refused(["'x'", "FP32", "INT32"], ask("x", X.astype(np.int32)))
    refused(["'x'", "30"], ask("x", X[:, :29]))
    refused(["'x'", "30"], ask("x", X.reshape(-1)))
