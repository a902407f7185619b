"""Makes the models in this folder and what ONNX Runtime's own Python binding answers for them (expected.json).

Run with a Python that has onnx, onnxruntime and numpy: python make.py
Same seeds, same files. Run it in this folder. The tests compare the Go engine's answers with expected.json.
"""
import base64, json, os, struct
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T, helper as h, numpy_helper as nh

here = os.path.dirname(os.path.abspath(__file__))
rng = np.random.default_rng(7)
OPSET = [h.make_opsetid("", 21), h.make_opsetid("ai.onnx.ml", 3)]
expected = []

NAMES = {T.BOOL: "BOOL", T.UINT8: "UINT8", T.UINT16: "UINT16", T.UINT32: "UINT32", T.UINT64: "UINT64", T.INT8: "INT8", T.INT16: "INT16",
         T.INT32: "INT32", T.INT64: "INT64", T.FLOAT16: "FP16", T.BFLOAT16: "BF16", T.FLOAT: "FP32", T.DOUBLE: "FP64", T.STRING: "BYTES"}


def save(name, nodes, inputs, outputs, init=(), external=None):
    g = h.make_graph(nodes, name, inputs, outputs, list(init))
    m = h.make_model(g, opset_imports=OPSET, ir_version=10)
    if name not in ("anyrank", "refused_twice", "refused_unnamed"):  # the checker wants every shape and name written down; ONNX Runtime does not
        onnx.checker.check_model(m)
    path = os.path.join(here, name + ".onnx")
    if external:
        if os.path.exists(os.path.join(here, external)):
            os.remove(os.path.join(here, external))
        onnx.save(m, path, save_as_external_data=True, location=external, size_threshold=0)
    else:
        onnx.save(m, path)
    return path


def tensor(name, elem, value, labels=None):
    """value: a numpy array; for BYTES of str or bytes objects."""
    a = np.asarray(value)
    if elem == T.STRING:
        items = [x if isinstance(x, bytes) else str(x).encode() for x in a.reshape(-1).tolist()]
        raw = b"".join(struct.pack("<I", len(b)) + b for b in items)
    else:
        raw = np.ascontiguousarray(a).tobytes()
    t = {"name": name, "datatype": NAMES[elem], "shape": list(a.shape), "data": base64.b64encode(raw).decode()}
    if labels is not None:
        t["labels"] = labels
    return t


def case(name, feeds, outs, note=""):
    """feeds: [(name, elem, array)], outs: [(name, elem)] in the model's order."""
    so = ort.SessionOptions()
    so.intra_op_num_threads = 1
    so.log_severity_level = 3
    s = ort.InferenceSession(os.path.join(here, name + ".onnx"), so, providers=["CPUExecutionProvider"])
    got = s.run(None, {n: a for n, _, a in feeds})
    answers = []
    for (n, e), v in zip(outs, got):
        if isinstance(v, dict):
            answers.append(tensor(n, e, np.array(list(v.values())), [str(k) for k in v]))
        elif isinstance(v, list) and v and isinstance(v[0], dict):
            dt = {T.FLOAT: np.float32}[e]
            answers.append(tensor(n, e, np.array([list(r.values()) for r in v], dt), [str(k) for k in v[0]]))
        elif isinstance(v, list):
            answers.append(tensor(n, e, np.stack(v)))
        else:
            answers.append(tensor(n, e, v))
    expected.append({"model": name, "note": note, "inputs": [tensor(*f) for f in feeds], "outputs": answers})


def info(name, elem, shape):
    return h.make_tensor_value_info(name, elem, shape)


# --- a multi-layer perceptron, the benchmark's model
def mlp(name, widths, external=None):
    nodes, init, last = [], [], "x"
    for i, (a, b) in enumerate(zip(widths, widths[1:])):
        init += [nh.from_array(rng.normal(0, a ** -0.5, (a, b)).astype(np.float32), f"w{i}"), nh.from_array(rng.normal(0, 0.1, b).astype(np.float32), f"b{i}")]
        end = i == len(widths) - 2
        nodes.append(h.make_node("Gemm", [last, f"w{i}", f"b{i}"], [f"h{i}"]))
        nodes.append(h.make_node("Sigmoid" if end else "Relu", [f"h{i}"], ["y" if end else f"r{i}"]))
        last = f"r{i}"
    return save(name, nodes, [info("x", T.FLOAT, ["batch", widths[0]])], [info("y", T.FLOAT, ["batch", widths[-1]])], init, external)


mlp("mlp", [30, 256, 256, 1])
for rows in (0, 1, 2, 17):
    case("mlp", [("x", T.FLOAT, rng.normal(size=(rows, 30)).astype(np.float32))], [("y", T.FLOAT)], f"{rows} rows")
odd = rng.normal(size=(4, 30)).astype(np.float32)
odd[0, 0], odd[1, 1], odd[2, 2] = np.nan, np.inf, -np.inf
case("mlp", [("x", T.FLOAT, odd)], [("y", T.FLOAT)], "NaN and infinities")

mlp("external", [4, 8, 2], "external.weights")
case("external", [("x", T.FLOAT, rng.normal(size=(3, 4)).astype(np.float32))], [("y", T.FLOAT)])

# --- each element type goes in and comes out; where the type can add, twice itself too
values = {
    T.BOOL: np.array([[True, False, True]]),
    T.UINT8: np.array([[0, 7, 255]], np.uint8), T.UINT16: np.array([[0, 7, 65535]], np.uint16),
    T.UINT32: np.array([[0, 7, 2**32 - 1]], np.uint32), T.UINT64: np.array([[0, 7, 2**64 - 1]], np.uint64),
    T.INT8: np.array([[-128, 7, 127]], np.int8), T.INT16: np.array([[-2**15, 7, 2**15 - 1]], np.int16),
    T.INT32: np.array([[-2**31, 7, 2**31 - 1]], np.int32), T.INT64: np.array([[-2**63, 7, 2**63 - 1]], np.int64),
    T.FLOAT16: np.array([[-1.5, np.nan, np.inf]], np.float16), T.FLOAT: np.array([[-1.5, np.nan, np.inf]], np.float32),
    T.DOUBLE: np.array([[-1.5, np.nan, 1e308]], np.float64), T.BFLOAT16: np.array([[0x3FC0, 0x7FC0, 0xFF80]], np.uint16),
    T.STRING: np.array([["", "käse 🧀", "日本語"]], object),
}
elems = list(values)
save("types", [h.make_node("Identity", [f"in_{NAMES[e]}"], [f"out_{NAMES[e]}"]) for e in elems],
     [info(f"in_{NAMES[e]}", e, ["n", 3]) for e in elems], [info(f"out_{NAMES[e]}", e, ["n", 3]) for e in elems])
# The Python binding mixes neither strings nor bfloat16 with the rest: Identity's answer is written down.
for rows in (1, 3, 0):
    ins = [tensor(f"in_{NAMES[e]}", e, np.repeat(values[e], rows, 0)) for e in elems]
    expected.append({"model": "types", "note": f"{rows} rows", "inputs": ins, "outputs": [{**t, "name": "out" + t["name"][2:]} for t in ins]})

for e, dt in ((T.FLOAT16, np.float16), (T.INT32, np.int32), (T.UINT64, np.uint64)):
    n = "add_" + NAMES[e].lower()
    save(n, [h.make_node("Add", ["x", "x"], ["y"])], [info("x", e, [None, None])], [info("y", e, [None, None])])
    case(n, [("x", e, rng.integers(0, 100, (2, 3)).astype(dt))], [("y", e)])

# --- strings
save("concat", [h.make_node("Concat", ["a", "b"], ["y"], axis=1)],
     [info("a", T.STRING, ["n", 1]), info("b", T.STRING, ["n", "k"])], [info("y", T.STRING, ["n", None])])
case("concat", [("a", T.STRING, np.array([["grüße"], [""]], object)), ("b", T.STRING, np.array([["x" * 300, "\n"], ["Ω", "😀😀"]], object))], [("y", T.STRING)])

# --- scalars, any rank, shapes that depend on the data, an optional input, a constant and an input passed through
save("scalar", [h.make_node("Mul", ["x", "two"], ["y"])], [info("x", T.FLOAT, [])], [info("y", T.FLOAT, [])], [nh.from_array(np.float32(2), "two")])
case("scalar", [("x", T.FLOAT, np.array(21, np.float32))], [("y", T.FLOAT)])
save("nonzero", [h.make_node("NonZero", ["x"], ["y"])], [info("x", T.FLOAT, ["n"])], [info("y", T.INT64, [1, "found"])])
case("nonzero", [("x", T.FLOAT, np.array([0, 1, 0, 2], np.float32))], [("y", T.INT64)])
case("nonzero", [("x", T.FLOAT, np.array([0, 0], np.float32))], [("y", T.INT64)], "an empty answer")
save("optional", [h.make_node("Add", ["x", "bias"], ["y"]), h.make_node("Identity", ["k"], ["constant"])],
     [info("x", T.FLOAT, ["n", 2]), info("bias", T.FLOAT, [2])], [info("y", T.FLOAT, ["n", 2]), info("constant", T.INT64, [2])],
     [nh.from_array(np.array([10, 20], np.float32), "bias"), nh.from_array(np.array([3, 4], np.int64), "k")])
case("optional", [("x", T.FLOAT, np.ones((2, 2), np.float32))], [("y", T.FLOAT), ("constant", T.INT64)])
case("optional", [("x", T.FLOAT, np.ones((2, 2), np.float32)), ("bias", T.FLOAT, np.array([1, 2], np.float32))], [("y", T.FLOAT), ("constant", T.INT64)], "given")
save("anyrank", [h.make_node("Neg", ["x"], ["y"])], [info("x", T.FLOAT, None)], [info("y", T.FLOAT, None)])
case("anyrank", [("x", T.FLOAT, np.arange(8, dtype=np.float32).reshape(2, 2, 2))], [("y", T.FLOAT)])

# --- gather fails for an index out of bounds: one bad call among good ones
save("gather", [h.make_node("Gather", ["table", "x"], ["y"])], [info("x", T.INT64, ["n"])], [info("y", T.FLOAT, ["n", 2])],
     [nh.from_array(np.arange(10, dtype=np.float32).reshape(5, 2), "table")])
case("gather", [("x", T.INT64, np.array([4, 0], np.int64))], [("y", T.FLOAT)])
save("reshape", [h.make_node("Reshape", ["x", "to"], ["y"])], [info("x", T.FLOAT, ["n", "m"])], [info("y", T.FLOAT, [None, 4])], [nh.from_array(np.array([-1, 4], np.int64), "to")])
case("reshape", [("x", T.FLOAT, np.ones((2, 4), np.float32))], [("y", T.FLOAT)])

# --- one that ONNX Runtime refuses to run without rows: an index out of an empty tensor
save("norows", [h.make_node("Gather", ["x", "zero"], ["first"], axis=0), h.make_node("Add", ["x", "first"], ["y"])],
     [info("x", T.FLOAT, ["n", 2])], [info("y", T.FLOAT, ["n", 2])], [nh.from_array(np.array([0], np.int64), "zero")])
case("norows", [("x", T.FLOAT, np.ones((2, 2), np.float32))], [("y", T.FLOAT)])

# --- classical models: a classifier with ZipMap
def classifier(name, labels, key):
    attr = {"classlabels_strings" if key == T.STRING else "classlabels_int64s": labels}
    n = len(labels)
    nodes = [h.make_node("LinearClassifier", ["x"], ["label", "scores"], domain="ai.onnx.ml", post_transform="SOFTMAX", multi_class=1,
                         coefficients=rng.normal(size=4 * n).astype(np.float32).tolist(), intercepts=rng.normal(size=n).astype(np.float32).tolist(),
                         **({"classlabels_strings": labels} if key == T.STRING else {"classlabels_ints": labels})),
             h.make_node("ZipMap", ["scores"], ["probability"], domain="ai.onnx.ml", **attr)]
    prob = h.make_value_info("probability", h.make_sequence_type_proto(h.make_map_type_proto(key, h.make_tensor_type_proto(T.FLOAT, []))))
    save(name, nodes, [info("x", T.FLOAT, [None, 4])], [info("label", key, [None]), prob])
    for rows in (1, 5):
        case(name, [("x", T.FLOAT, rng.normal(size=(rows, 4)).astype(np.float32))], [("label", key), ("probability", T.FLOAT)], f"{rows} rows")


classifier("zipmap_string", ["setosa", "ärger", "virginica"], T.STRING)
classifier("zipmap_int", [10, -2, 3], T.INT64)

# --- sequences of tensors
seq = h.make_value_info("y", h.make_sequence_type_proto(h.make_tensor_type_proto(T.FLOAT, [None, 2])))
save("sequence", [h.make_node("SequenceConstruct", ["a", "b"], ["y"])], [info("a", T.FLOAT, [None, 2]), info("b", T.FLOAT, [None, 2])], [seq])
two = [("a", T.FLOAT, rng.normal(size=(3, 2)).astype(np.float32)), ("b", T.FLOAT, rng.normal(size=(3, 2)).astype(np.float32))]
case("sequence", two, [("y", T.FLOAT)])

# --- what cannot be served
opt = h.make_value_info("y", h.make_optional_type_proto(h.make_tensor_type_proto(T.FLOAT, [2])))
save("refused_optional", [h.make_node("Optional", ["x"], ["y"])], [info("x", T.FLOAT, [2])], [opt])
save("refused_float8", [h.make_node("Identity", ["x"], ["y"])], [info("x", T.FLOAT8E4M3FN, [2])], [info("y", T.FLOAT8E4M3FN, [2])])
save("refused_sequence", [h.make_node("SequenceLength", ["x"], ["y"])], [h.make_value_info("x", h.make_sequence_type_proto(h.make_tensor_type_proto(T.FLOAT, [2])))], [info("y", T.INT64, [])])
save("refused_twice", [h.make_node("Neg", ["x"], ["y"])], [info("x", T.FLOAT, [2])], [info("y", T.FLOAT, [2]), info("y", T.FLOAT, [2])])
save("refused_unnamed", [h.make_node("Neg", ["x"], ["y"])], [info("x", T.FLOAT, [2]), info("", T.FLOAT, [2])], [info("y", T.FLOAT, [2])])
path = save("refused_latin1", [h.make_node("Neg", ["gr__e"], ["y"])], [info("gr__e", T.FLOAT, [2])], [info("y", T.FLOAT, [2])])
with open(path, "rb") as f:
    latin = f.read().replace(b"gr__e", "größe".encode("latin1"))
with open(path, "wb") as f:
    f.write(latin)

# --- what ONNX Runtime loads, and then does not do for some inputs: the largest of no booleans
save("undone", [h.make_node("ReduceMax", ["x"], ["y"], keepdims=0)], [info("x", T.BOOL, ["n"])], [info("y", T.BOOL, [])])
case("undone", [("x", T.BOOL, np.array([False, True]))], [("y", T.BOOL)])

with open(os.path.join(here, "expected.json"), "w") as f:
    json.dump({"onnxruntime": ort.__version__, "cases": expected}, f, ensure_ascii=False, indent=0)
