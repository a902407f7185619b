"""A Triton repository as it stands: what NVIDIA's client sees of it, and what it answers, is what Triton's rules say."""

import json
import queue

import numpy as np
import pytest
import tritonclient.grpc as tg
import tritonclient.http as th
from tritonclient.utils import InferenceServerException
from triton import arrays, tensor, tensors, text, trees

rng = np.random.default_rng(5)
ROWS = rng.normal(size=(40, 30)).astype(np.float32)


@pytest.fixture(params=["http", "grpc"])
def client(request, http_address, grpc_address):
    module, address = (th, http_address) if request.param == "http" else (tg, grpc_address)
    with module.InferenceServerClient(address) as c:
        c.module = module
        c.json = {} if request.param == "http" else {"as_json": True}
        yield c


def infer(client, model, inputs, **kw):
    return arrays(client.infer(model, tensors(client.module, inputs), **kw))


def config(client, model):
    """The configuration with numbers as numbers, which gRPC's JSON writes as text."""

    def plain(v, key=""):
        if isinstance(v, dict):
            return {k: plain(e, k) for k, e in v.items()}
        if isinstance(v, list):
            return [plain(e, key) for e in v]
        numbers = {"dims", "shape", "versions", "max_queue_delay_microseconds", "max_sequence_idle_microseconds", "priority_levels",
                   "default_priority_level", "default_timeout_microseconds"}
        return int(v) if key in numbers else v

    c = client.get_model_config(model, **client.json)
    return plain(c.get("config", c))


def metadata(client, model):
    m = client.get_model_metadata(model, **client.json)
    shapes = {t["name"]: (t["datatype"], [int(d) for d in t.get("shape", [])]) for t in m["inputs"] + m.get("outputs", [])}
    return m, shapes


def same(client, got, want):
    """Whether got has what want has. gRPC's JSON leaves out what is not set, REST's writes it."""
    for k, v in want.items():
        if isinstance(v, dict):
            same(client, got[k], v)
        elif isinstance(v, list) and v and isinstance(v[0], dict):
            assert len(got[k]) == len(v), (k, got[k])
            for g, w in zip(got[k], v):
                same(client, g, w)
        else:
            assert got.get(k, type(v)()) == v, (k, got.get(k), v)


def test_credit(client, reference):
    m, shapes = metadata(client, "credit")
    assert (m["platform"], sorted(m["versions"])) == ("onnxruntime_onnx", ["1", "3"])
    assert shapes == {"x": ("FP32", [-1, 30]), "y": ("FP32", [-1, 1])}
    same(client, config(client, "credit"), {
        "name": "credit", "platform": "onnxruntime_onnx", "backend": "onnxruntime", "max_batch_size": 32, "default_model_filename": "model.onnx",
        "version_policy": {"all": {}},
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [30]}], "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [1]}],
        "instance_group": [{"name": "credit_0", "kind": "KIND_CPU", "count": 2}],
        "dynamic_batching": {"preferred_batch_size": [4, 8], "max_queue_delay_microseconds": 100},
        "optimization": {"graph": {"level": 1}, "input_pinned_memory": {"enable": True}, "output_pinned_memory": {"enable": True}},
        "parameters": {"intra_op_thread_count": {"string_value": "1"}, "owner": {"string_value": "risk"}},
    })
    for version in ("1", "3", ""):
        y = infer(client, "credit", {"x": ROWS[:5]}, model_version=version)["y"]
        np.testing.assert_allclose(y, reference("credit", {"x": ROWS[:5]})["y"], rtol=1e-5)
    with pytest.raises(InferenceServerException, match="batch-size must be <= 32"):
        infer(client, "credit", {"x": ROWS[:33]})
    with pytest.raises(InferenceServerException, match="30"):
        infer(client, "credit", {"x": ROWS[:2, :29].copy()})
    with pytest.raises(InferenceServerException):
        infer(client, "credit", {"x": ROWS[0]})


def test_alone(client):
    """Without dynamic_batching, requests do not share batches, but bring them."""
    c = config(client, "alone")
    assert c["max_batch_size"] == 8 and "dynamic_batching" not in c and "dynamic_batching" in c["parameters"]["serval_batching"]["string_value"]
    asked = [client.infer("alone", tensors(client.module, {"x": ROWS[i : i + 3]})) for i in range(4)]
    assert all(r.as_numpy("y").shape == (3, 1) for r in asked)
    stats = client.get_inference_statistics("alone", **client.json)["model_stats"][0]
    assert {int(b["batch_size"]) for b in stats["batch_stats"]} == {3}


def test_labels(client):
    x = rng.normal(size=(3, 4)).astype(np.float32)
    values = infer(client, "labelled", {"x": x})["y"]
    want = client.module.InferRequestedOutput("y", class_count=1)
    got = text(client.infer("labelled", tensors(client.module, {"x": x}), outputs=[want]).as_numpy("y"))
    assert [g.split(":")[1:] for g in got] == [[str(i), ["no", "yes"][i]] for i in values.argmax(1)]
    assert config(client, "labelled")["output"][0]["label_filename"] == "labels.txt"


def test_reshape(client):
    _, shapes = metadata(client, "reshaped")
    assert shapes == {"x": ("INT32", [-1, 2, 3]), "y": ("INT32", [-1, 3, 2])}
    x = np.arange(24, dtype=np.int32).reshape(4, 2, 3)
    np.testing.assert_array_equal(infer(client, "reshaped", {"x": x})["y"], (2 * x).reshape(4, 3, 2))
    with pytest.raises(InferenceServerException, match="shape"):
        infer(client, "reshaped", {"x": x.reshape(4, 6)})
    same(client, config(client, "reshaped"), {"input": [{"dims": [2, 3], "reshape": {"shape": [6]}}], "output": [{"dims": [3, 2], "reshape": {"shape": [6]}}]})


def test_optional(client):
    m, shapes = metadata(client, "optional")
    assert shapes == {"x": ("FP32", [-1, 2]), "bias": ("FP32", [2]), "y": ("FP32", [-1, 2])}, "the output that is not configured is not shown"
    x = np.ones((3, 2), np.float32)
    got = infer(client, "optional", {"x": x})
    assert list(got) == ["y"] and got["y"].tolist() == [[11, 21]] * 3
    assert infer(client, "optional", {"x": x, "bias": np.array([1, 2], np.float32)})["y"].tolist() == [[2, 3]] * 3
    with pytest.raises(InferenceServerException, match="constant"):
        client.infer("optional", tensors(client.module, {"x": x}), outputs=[client.module.InferRequestedOutput("constant")])
    c = config(client, "optional")
    assert c.get("max_batch_size", 0) == 0 and c["input"][1]["optional"] is True


def test_scalar(client):
    assert metadata(client, "scalar")[1] == {"x": ("FP32", [1]), "y": ("FP32", [1])}
    got = infer(client, "scalar", {"x": np.array([21], np.float32)})["y"]
    assert got.shape == (1,) and got[0] == 42


def test_completed(client):
    for model, most, count in (("part", 16, 1), ("bare", 64, None)):
        assert metadata(client, model)[1] == {"x": ("FP32", [-1, 30]), "y": ("FP32", [-1, 1])}
        c = config(client, model)
        same(client, c, {
            "platform": "onnxruntime_onnx", "backend": "onnxruntime", "max_batch_size": most, "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [30]}],
            "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [1]}], "version_policy": {"latest": {"num_versions": 1}}})
        assert "dynamic_batching" in c and (count is None or c["instance_group"][0]["count"] == count)
        assert infer(client, model, {"x": ROWS[:7]})["y"].shape == (7, 1)


def test_words(client):
    a, b = np.array([["x"], ["grüße"]], object), np.array([["1", "2"], ["3", "4"]], object)
    got = infer(client, "words", {"a": a, "b": b})["y"]
    assert text(got) == ["x", "1", "2", "grüße", "3", "4"] and got.shape == (2, 3)


def test_named_file(client, models):
    import onnxruntime as ort

    want = ort.InferenceSession(models / "named" / "1" / "second.onnx").run(None, {"x": ROWS[:2]})[0]
    np.testing.assert_allclose(infer(client, "named", {"x": ROWS[:2]})["y"], want, rtol=1e-5)
    assert config(client, "named")["default_model_filename"] == "second.onnx"


@pytest.mark.parametrize("model, fixture, output", [
    ("fil_proba", "xgb_multi_softprob", "probability"), ("fil_class", "lgb_binary", "probability"), ("fil_value", "xgb_reg_squarederror", "prediction")])
def test_fil(client, model, fixture, output):
    x, want = trees(fixture)
    want = want[output]
    if model == "fil_class":
        want = (want[:, 1:] > 0.3).astype(np.float32)
        assert 0 < want.sum() < len(want)
    m, shapes = metadata(client, model)
    assert m["platform"] == "fil" and shapes == {"input__0": ("FP32", [-1, 6]), "output__0": ("FP32", [-1, want.shape[1]])}
    got = infer(client, model, {"input__0": x})["output__0"]
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=1e-6)
    c = config(client, model)
    assert c["backend"] == "fil" and "model_type" in c["parameters"] and c["instance_group"][0]["kind"] == "KIND_CPU"


def test_warmed(client):
    stats = client.get_inference_statistics("warmed", **client.json)["model_stats"][0]
    assert int(stats.get("inference_count", 0)) == 0, "a warm-up is no inference"
    w = config(client, "warmed")["model_warmup"]
    assert [x["name"] for x in w] == ["zeros", "noise", "real"]


def test_priorities(client):
    same(client, config(client, "urgent")["dynamic_batching"], {
        "preferred_batch_size": [8], "priority_levels": 3, "default_priority_level": 2,
        "default_queue_policy": {"default_timeout_microseconds": 60000000, "allow_timeout_override": True, "max_queue_size": 64}})
    for priority in (0, 1, 2, 3, 9):
        assert infer(client, "urgent", {"x": ROWS[:2]}, priority=priority)["y"].shape == (2, 1)


def test_timeout_is_ignored_unless_allowed(client):
    """Triton heeds the timeout that a request names only where a queue policy allows it."""
    assert infer(client, "credit", {"x": ROWS[:1]}, timeout=1)["y"].shape == (1, 1)


def run_sequence(client, model, sequence, values, dtype=np.int32):
    out = []
    for i, v in enumerate(values):
        x = tensor(client.module, "INPUT", np.array([[v]], dtype))
        r = client.infer(model, [x], sequence_id=sequence, sequence_start=i == 0, sequence_end=i == len(values) - 1)
        out.append(r.as_numpy("OUTPUT")[0, 0])
    return out


def test_sequences(client):
    assert metadata(client, "simple_sequence")[1] == {"INPUT": ("INT32", [-1, 1]), "OUTPUT": ("INT32", [-1, 1])}
    assert run_sequence(client, "simple_sequence", 1007, [11, 7, 5, 3, 2, 0, 1]) == [11, 18, 23, 26, 28, 28, 29]
    assert run_sequence(client, "simple_sequence", 1007, [1, 1]) == [1, 2], "the state is new"
    assert run_sequence(client, "simple_dyna_sequence", 42, [1, 2, 3]) == [2, 2, 45]
    assert [x.decode() for x in run_sequence(client, "simple_string_dyna_sequence", "ab", ["x", "y"], object)] == ["abx", "aby"]
    same(client, config(client, "simple_sequence")["sequence_batching"], {
        "max_sequence_idle_microseconds": 5000000, "direct": {},
        "control_input": [{"name": "START", "control": [{"int32_false_true": [0, 1]}]}],
        "state": [{"input_name": "STATE_IN", "output_name": "STATE_OUT", "data_type": "TYPE_INT32", "dims": [1]}]})
    oldest = config(client, "simple_string_dyna_sequence")["sequence_batching"]
    assert oldest["oldest"]["preferred_batch_size"] == [8] and oldest["max_sequence_idle_microseconds"] == 1000000
    with pytest.raises(InferenceServerException, match="sequence"):
        client.infer("simple_sequence", [tensor(client.module, "INPUT", np.array([[1]], np.int32))])


def test_interleaved_sequences(grpc_address):
    """Two sequences over one stream, as NVIDIA's simple_grpc_sequence_stream_infer_client sends them."""
    got = queue.Queue()
    with tg.InferenceServerClient(grpc_address) as c:
        c.start_stream(lambda result, error: got.put((result, error)))
        values = [11, 7, 5, 3]
        for i, v in enumerate(values):
            for sequence, sign in ((1000, 1), (1001, -1)):
                c.async_stream_infer("simple_sequence", [tensor(tg, "INPUT", np.array([[sign * v]], np.int32))], request_id=f"{sequence}_{i}",
                                     sequence_id=sequence, sequence_start=i == 0, sequence_end=i == len(values) - 1)
        c.stop_stream()
    answers = {}
    while not got.empty():
        result, error = got.get()
        assert error is None, error
        answers.setdefault(result.get_response().id.split("_")[0], []).append(int(result.as_numpy("OUTPUT")[0, 0]))
    assert answers == {"1000": [11, 18, 23, 26], "1001": [-11, -18, -23, -26]}


def test_load_with_a_configuration(client):
    """It stands in the place of config.pbtxt; loading without one goes back to that."""
    client.load_model("alone", config=json.dumps({"backend": "onnxruntime", "max_batch_size": 2, "parameters": {"owner": {"string_value": "me"}}}))
    c = config(client, "alone")
    assert c["max_batch_size"] == 2 and "dynamic_batching" in c and c["parameters"]["owner"]["string_value"] == "me"
    with pytest.raises(InferenceServerException, match="<= 2"):
        infer(client, "alone", {"x": ROWS[:3]})
    for bad, want in (('{"backend": "python"}', "engine not built in"), ('{"name": "other"}', "other"), ('{"input": [{"name": "x"}]}', "data_type"),
                      ('{"max_batch_size": 2, "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [29]}]}', "29")):
        with pytest.raises(InferenceServerException, match=want):
            client.load_model("alone", config=bad)
        assert infer(client, "alone", {"x": ROWS[:2]})["y"].shape == (2, 1), "the copy that was loaded before serves on"
    client.load_model("alone")
    assert config(client, "alone")["max_batch_size"] == 8 and infer(client, "alone", {"x": ROWS[:3]})["y"].shape == (3, 1)
    read = client.get_model_config("credit", **client.json)
    read = read.get("config", read)
    read["instance_group"][0]["count"] = 1
    client.load_model("credit", config=json.dumps(read))
    assert config(client, "credit")["instance_group"][0]["count"] == 1
    client.load_model("credit")
    assert config(client, "credit")["instance_group"][0]["count"] == 2
