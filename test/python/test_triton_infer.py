"""Every way in and out of tritonclient gives what ONNX Runtime's own binding gives for the same inputs."""

import csv

import numpy as np
import pytest
import triton
from triton import BF16, same

rng = np.random.default_rng(11)


@pytest.fixture(scope="session")
def at(http_address, grpc_address):
    return http_address, grpc_address


def ids(f):
    return f.__name__ if callable(f) else str(f)


@pytest.mark.parametrize("rows", [0, 1, 2, 1000])
@pytest.mark.parametrize("ask", triton.ALL, ids=ids)
def test_rows(at, reference, ask, rows):
    x = rng.normal(size=(rows, 30)).astype(np.float32)
    same(ask(at, "mlp", {"x": x}), reference("mlp", {"x": x}))


@pytest.mark.parametrize("ask", triton.BINARY, ids=ids)
def test_not_finite(at, reference, ask):
    x = rng.normal(size=(4, 30)).astype(np.float32)
    x[0, 0], x[1, 1], x[2, 2], x[3, 3] = np.nan, np.inf, -np.inf, -0.0
    want = reference("mlp", {"x": x})
    assert np.isnan(want["y"][0]).all()
    same(ask(at, "mlp", {"x": x}), want)


def test_not_finite_out_of_json(at):
    """JSON has no NaN: an answer says it in quotes, which numpy reads."""
    import tritonclient.http as th

    x = np.array([[np.nan, np.inf, -np.inf]], np.float16)
    full = {n: a for n, a in types(1).items() if n != "in_BF16"}
    full["in_FP16"], full["in_FP32"], full["in_FP64"] = x, x.astype(np.float32), x.astype(np.float64)
    with th.InferenceServerClient(at[0]) as c:
        inputs = triton.tensors(th, full) + [triton.tensor(th, "in_BF16", x.astype(BF16))]
        r = c.infer("types", inputs, outputs=[th.InferRequestedOutput(n, binary_data=False) for n in ("out_FP32", "out_FP64")])
        assert r.get_output("out_FP32")["data"] == ["NaN", "Infinity", "-Infinity"]
        same(triton.arrays(r), {"out_FP32": x.astype(np.float32), "out_FP64": x.astype(np.float64)})


def types(rows):
    """One array of each of the 14 types, with its extremes."""
    floats = [-1.5, 0.1, 65504]
    values = {
        "BOOL": np.array([[True, False, True]]),
        "FP16": np.array([floats], np.float16),
        "BF16": np.array([floats], BF16),
        "FP32": np.array([floats], np.float32),
        "FP64": np.array([[-1.5, 5e-324, 1e308]], np.float64),
        "BYTES": np.array([["", "käse 🧀", '日本語 "\\\n\u0000']], object),
    }
    for bits in (8, 16, 32, 64):
        values[f"UINT{bits}"] = np.array([[0, 7, 2**bits - 1]], f"uint{bits}")
        values[f"INT{bits}"] = np.array([[-(2 ** (bits - 1)), 7, 2 ** (bits - 1) - 1]], f"int{bits}")
    return {f"in_{t}": np.repeat(a, rows, 0) for t, a in values.items()}


@pytest.mark.parametrize("rows", [0, 1, 1000])
@pytest.mark.parametrize("ask", triton.BINARY, ids=ids)
def test_types(at, ask, rows):
    """The model hands each input through, so the answer is known: its types are more than the binding takes together."""
    x = types(rows)
    same(ask(at, "types", x), {"out" + n[2:]: a for n, a in x.items()}, exact=True)


def test_types_in_json(at):
    """FP16 and BF16 go as binary data here, since the protocol has no JSON for them."""
    import tritonclient.http as th

    x = types(3)
    small = {"in_FP16", "in_BF16"}
    with th.InferenceServerClient(at[0]) as c:
        inputs = [triton.tensor(th, n, a, binary_data=n in small) for n, a in x.items()]
        wanted = [th.InferRequestedOutput("out" + n[2:], binary_data=n in small) for n in x]
        r = c.infer("types", inputs, outputs=wanted)
        same(triton.arrays(r), {"out" + n[2:]: a for n, a in x.items()}, exact=True)


STRINGS = {
    "a": np.array([["grüße"], [""], ["\u202eabc"], ["null\u0000in"]], object),
    "b": np.array([["x" * 70_000, "\n"], ["Ω", "😀😀"], ["", ""], ['"\\', "\t"]], object),
}


@pytest.mark.parametrize("ask", triton.ALL, ids=ids)
def test_strings(at, reference, ask):
    want = np.concatenate([STRINGS["a"], STRINGS["b"]], 1)
    same(ask(at, "concat", STRINGS), {"y": want})
    plain = {n: a[[0, 1]] for n, a in STRINGS.items()}
    same(ask(at, "concat", plain), reference("concat", plain))


@pytest.mark.parametrize("ask", [triton.http_binary, triton.http_json, triton.grpc], ids=ids)
@pytest.mark.parametrize("model,inputs", [
    ("add_int32", {"x": rng.integers(-100, 100, (5, 7)).astype(np.int32)}),
    ("add_uint64", {"x": rng.integers(0, 2**62, (5, 7)).astype(np.uint64)}),
    ("scalar", {"x": np.array(21, np.float32)}),
    ("nonzero", {"x": np.array([0, 1, 0, 2], np.float32)}),
    ("nonzero", {"x": np.zeros(3, np.float32)}),
    ("anyrank", {"x": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)}),
    ("gather", {"x": np.array([4, 0, 2], np.int64)}),
    ("external", {"x": rng.normal(size=(3, 4)).astype(np.float32)}),
    ("optional", {"x": np.ones((2, 2), np.float32)}),
    ("optional", {"x": np.ones((2, 2), np.float32), "bias": np.array([1, 2], np.float32)}),
], ids=ids)
def test_models(at, reference, ask, model, inputs):
    same(ask(at, model, inputs), reference(model, inputs))


@pytest.mark.parametrize("ask", triton.BINARY, ids=ids)
def test_half(at, reference, ask):
    x = rng.normal(size=(5, 7)).astype(np.float16)
    same(ask(at, "add_fp16", {"x": x}), reference("add_fp16", {"x": x}))


@pytest.mark.parametrize("ask", [triton.http_binary, triton.http_json, triton.grpc], ids=ids)
@pytest.mark.parametrize("model", ["zipmap_string", "zipmap_int"])
def test_classifier(at, reference, ask, model):
    """The dictionaries that ZipMap gives from Python are a tensor here, columns in the classes' order."""
    x = rng.normal(size=(100, 4)).astype(np.float32)
    want = reference(model, {"x": x})
    want["probability"] = np.array([list(row.values()) for row in want["probability"]], np.float32)
    same(ask(at, model, {"x": x}), want)


@pytest.mark.parametrize("ask", triton.ALL, ids=ids)
def test_credit(at, reference, models, ask):
    """Real data: the applicants of the starter model, columns of text and of numbers."""
    rows = list(csv.DictReader(open(models / "credit" / "applicants.csv", encoding="utf-8")))
    import onnxruntime as ort

    inputs = {}
    for i in ort.InferenceSession(models / "credit" / "1" / "model.onnx").get_inputs():
        column = [[r[i.name]] for r in rows]
        inputs[i.name] = np.array(column, object if i.type == "tensor(string)" else np.float32)
    want = reference("credit", inputs)
    assert triton.text(want["risk"]) == ["good", "bad", "good", "good", "bad"]
    same(ask(at, "credit", inputs), want)


def test_file_types(at, reference, models):
    raw = (models / "file-types" / "mystery").read_bytes().strip()
    x = np.full((1, 2048), 256, np.int32)
    head, tail = raw[:1024], raw[-1024:]
    x[0, : len(head)] = list(head)
    x[0, 2048 - len(tail) :] = list(tail)
    want = reference("file-types", {"bytes": x})
    label = (models / "file-types" / "labels.txt").read_text().splitlines()[int(want["target_label"].argmax())]
    assert label == "rust"
    for ask in triton.ALL:
        same(ask(at, "file-types", {"bytes": x}), want)
