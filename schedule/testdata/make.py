"""Makes the stateful models in this folder, small enough to work out their answers by hand.

Run with a Python that has onnx 1.19.1 and numpy: python make.py. Same script, same files.
"""
import os

import numpy as np
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper as nh

here = os.path.dirname(os.path.abspath(__file__))


def info(name, elem, *shape):
    return h.make_tensor_value_info(name, elem, shape)


def const(name, value, dtype):
    return nh.from_array(np.array(value, dtype), name)


def save(name, nodes, inputs, outputs, init=()):
    m = h.make_model(h.make_graph(nodes, name, inputs, outputs, list(init)), opset_imports=[h.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(m)
    onnx.save(m, os.path.join(here, name + ".onnx"))


# accumulate: OUTPUT is the sum of the INPUTs since START; the sum is the state.
save(
    "accumulate",
    [
        h.make_node("Sub", ["one", "START"], ["going"]),
        h.make_node("Mul", ["STATE_IN", "going"], ["before"]),
        h.make_node("Add", ["before", "INPUT"], ["OUTPUT"]),
        h.make_node("Identity", ["OUTPUT"], ["STATE_OUT"]),
    ],
    [info("INPUT", T.INT32, "batch", 1), info("START", T.INT32, "batch", 1), info("STATE_IN", T.INT32, "batch", 1)],
    [info("OUTPUT", T.INT32, "batch", 1), info("STATE_OUT", T.INT32, "batch", 1)],
    [const("one", [[1]], np.int32)],
)

# controls: INPUT + START + END * CORRID, as Triton's dyna_sequence example answers; READY must be 1.
save(
    "controls",
    [
        h.make_node("Cast", ["CORRID"], ["id"], to=T.INT32),
        h.make_node("Cast", ["END"], ["end"], to=T.INT32),
        h.make_node("Cast", ["READY"], ["ready"], to=T.INT32),
        h.make_node("Mul", ["end", "id"], ["last"]),
        h.make_node("Add", ["INPUT", "START"], ["first"]),
        h.make_node("Add", ["first", "last"], ["sum"]),
        h.make_node("Mul", ["sum", "ready"], ["OUTPUT"]),
    ],
    [
        info("INPUT", T.INT32, "batch", 1),
        info("START", T.INT32, "batch", 1),
        info("END", T.BOOL, "batch", 1),
        info("READY", T.FLOAT, "batch", 1),
        info("CORRID", T.UINT64, "batch", 1),
    ],
    [info("OUTPUT", T.INT32, "batch", 1)],
)

# named: the sequence's id and the text, one after the other.
save(
    "named",
    [h.make_node("StringConcat", ["CORRID", "INPUT"], ["OUTPUT"])],
    [info("INPUT", T.STRING, "batch", 1), info("CORRID", T.STRING, "batch", 1)],
    [info("OUTPUT", T.STRING, "batch", 1)],
)

# second: the batch is the second dimension of the state [2, batch, 3]; a scalar that is always the same. y is the sum of the
# state before plus scale * the sum of x; the state grows by [[1, 2, 3], [4, 5, 6]] * the sum of x.
save(
    "second",
    [
        h.make_node("Cast", ["scale"], ["times"], to=T.FLOAT),
        h.make_node("ReduceSum", ["x", "axis1"], ["sum"]),
        h.make_node("Mul", ["sum", "times"], ["scaled"]),
        h.make_node("ReduceSum", ["h", "axes02"], ["held"], keepdims=0),
        h.make_node("Unsqueeze", ["held", "axis1"], ["column"]),
        h.make_node("Add", ["column", "scaled"], ["y"]),
        h.make_node("Mul", ["sum", "weights"], ["grown"]),
        h.make_node("Add", ["h", "grown"], ["h_next"]),
    ],
    [info("x", T.FLOAT, "batch", "width"), info("h", T.FLOAT, 2, "batch", 3), info("scale", T.INT64)],
    [info("y", T.FLOAT, "batch", 1), info("h_next", T.FLOAT, 2, "batch", 3)],
    [
        const("axis1", [1], np.int64),
        const("axes02", [0, 2], np.int64),
        const("weights", [[[1, 2, 3]], [[4, 5, 6]]], np.float32),
    ],
)

# window: y is x, so that one sees what the model was given.
save("window", [h.make_node("Identity", ["x"], ["y"])], [info("x", T.FLOAT, "batch", "n")], [info("y", T.FLOAT, "batch", "n")])

# longer: the state is all that came before, so its size changes; y is its sum.
save(
    "longer",
    [
        h.make_node("Concat", ["past", "x"], ["past_next"], axis=1),
        h.make_node("ReduceSum", ["past_next", "axis1"], ["y"]),
    ],
    [info("x", T.FLOAT, "batch", "n"), info("past", T.FLOAT, "batch", "m")],
    [info("y", T.FLOAT, "batch", 1), info("past_next", T.FLOAT, "batch", "k")],
    [const("axis1", [1], np.int64)],
)

# lookup: the sum of what x points to in [0, 1, 4, 9]; other x fail while it runs.
save(
    "lookup",
    [h.make_node("Gather", ["squares", "x"], ["found"]), h.make_node("Add", ["found", "sum"], ["y"]), h.make_node("Identity", ["y"], ["sum_next"])],
    [info("x", T.INT64, "batch", 1), info("sum", T.FLOAT, "batch", 1)],
    [info("y", T.FLOAT, "batch", 1), info("sum_next", T.FLOAT, "batch", 1)],
    [const("squares", [0, 1, 4, 9], np.float32)],
)
