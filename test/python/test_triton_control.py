"""The repository, logging and tracing, changed at run time. Runs last: it unloads models."""

import json

import numpy as np
import pytest
import tritonclient.grpc as tg
import tritonclient.http as th
from tritonclient.utils import InferenceServerException
from triton import tensor


@pytest.fixture(params=["http", "grpc"])
def client(request, http_address, grpc_address):
    module, address = (th, http_address) if request.param == "http" else (tg, grpc_address)
    with module.InferenceServerClient(address) as c:
        c.module = module
        c.json = {} if request.param == "http" else {"as_json": True}
        yield c


def index(client):
    i = client.get_model_repository_index(**client.json)
    return {(m["name"], m["version"]): m for m in (i if isinstance(i, list) else i["models"])}


def test_index(client):
    i = index(client)
    assert i["mlp", "1"]["state"] == "READY" and {("versions", v) for v in "123"} <= i.keys()


def test_unload_and_load(client):
    x = tensor(client.module, "x", np.array([0, 1], np.float32))
    client.unload_model("nonzero")
    assert not client.is_model_ready("nonzero")
    m = index(client)["nonzero", "1"]
    assert (m["state"], m["reason"]) == ("UNAVAILABLE", "unloaded")
    with pytest.raises(InferenceServerException, match="nonzero"):
        client.infer("nonzero", [x])
    assert client.is_server_ready(), "a model that was unloaded on purpose does not make the server unready"
    client.load_model("nonzero")
    assert client.is_model_ready("nonzero") and index(client)["nonzero", "1"]["state"] == "READY"
    assert client.infer("nonzero", [x]).as_numpy("y").tolist() == [[1]]
    with pytest.raises(InferenceServerException, match="no_such"):
        client.load_model("no_such")
    with pytest.raises(InferenceServerException, match="no_such"):
        client.unload_model("no_such")


def test_load_with_a_configuration(client):
    client.load_model("mlp", config=json.dumps({"max_batch_size": 8, "instance_group": [{"count": 1, "kind": "KIND_CPU"}]}))
    c = client.get_model_config("mlp", **client.json)
    c = c.get("config", c)
    assert int(c["max_batch_size"]) == 8 and int(c["instance_group"][0]["count"]) == 1
    client.load_model("mlp")
    c = client.get_model_config("mlp", **client.json)
    assert int(c.get("config", c)["max_batch_size"]) == 64
    with pytest.raises(InferenceServerException, match="bytes|file"):
        client.load_model("mlp", config="{}", files={"file:1/model.onnx": b"x"})
    with pytest.raises(InferenceServerException):
        client.load_model("mlp", config="{not json")
    assert client.is_model_ready("mlp")


def test_log_settings(client):
    before = client.get_log_settings(**client.json)
    assert "log_info" in (before if client.module is th else before["settings"])
    after = client.update_log_settings({"log_info": False}, **client.json)
    after = after if client.module is th else {k: next(iter(v.values()), None) for k, v in after["settings"].items()}
    assert after["log_info"] is False
    client.update_log_settings({"log_info": True})
    with pytest.raises(InferenceServerException, match="no_such"):
        client.update_log_settings({"no_such": True})


def test_trace_settings(client):
    settings = client.get_trace_settings(**client.json)
    assert "trace_rate" in (settings if client.module is th else settings["settings"])
    with pytest.raises(InferenceServerException, match="no_such"):
        client.update_trace_settings(settings={"no_such": "1"})
