"""Makes model.onnx: the net of the benchmark, 30 features -> 256 -> 256 -> 1, ReLU, sigmoid. Needs numpy and onnx.

    ~/.cache/serval-bench/triton/bin/python bench/mlp/make.py
"""
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

random = np.random.default_rng(0)
nodes, weights, last = [], [], "x"
for layer, (rows, columns) in enumerate([(30, 256), (256, 256), (256, 1)]):
    w = (random.standard_normal((rows, columns)) * np.sqrt(2 / rows)).astype(np.float32)
    b = np.zeros(columns, np.float32)
    weights += [numpy_helper.from_array(w, f"w{layer}"), numpy_helper.from_array(b, f"b{layer}")]
    nodes.append(helper.make_node("Gemm", [last, f"w{layer}", f"b{layer}"], [f"h{layer}"]))
    last = "p" if layer == 2 else f"a{layer}"
    nodes.append(helper.make_node("Sigmoid" if layer == 2 else "Relu", [f"h{layer}"], [last]))

graph = helper.make_graph(
    nodes, "mlp",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 30])],
    [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["batch", 1])],
    weights)
model = helper.make_model(graph, producer_name="serval-bench", ir_version=8,
                          opset_imports=[helper.make_opsetid("", 17)])
onnx.checker.check_model(model)
Path(__file__).with_name("model.onnx").write_bytes(model.SerializeToString())
