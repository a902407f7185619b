"""Models for what the ONNX project's test data leaves out: names, shapes, types and numbers at the edges."""

import ml_dtypes
import numpy as np
from onnx import TensorProto as T, helper as h, numpy_helper

NUMBERS = {
    T.UINT8: np.uint8, T.UINT16: np.uint16, T.UINT32: np.uint32, T.UINT64: np.uint64, T.INT8: np.int8, T.INT16: np.int16, T.INT32: np.int32,
    T.INT64: np.int64, T.FLOAT16: np.float16, T.BFLOAT16: ml_dtypes.bfloat16, T.FLOAT: np.float32, T.DOUBLE: np.float64,
}  # fmt: skip
F = T.FLOAT
info = h.make_tensor_value_info
node = h.make_node


def model(nodes, inputs, outputs, init=(), opset=21):
    g = h.make_graph(nodes, "odd", inputs, outputs, list(init))
    return h.make_model(g, opset_imports=[h.make_opsetid("", opset)], ir_version=10)


def copies(names, elem, shape):
    """Every input comes out again: x as y of x."""
    return model([node("Identity", [i], [o]) for i, o in names], [info(i, elem, shape) for i, _ in names], [info(o, elem, shape) for _, o in names])


def f32(shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def text(items, shape):
    return np.array(items, dtype=object).reshape(shape)


def unary(op, shape_in, shape_out, **attributes):
    return model([node(op, ["x"], ["y"], **attributes)], [info("x", F, shape_in)], [info("y", F, shape_out)])


def names():
    odd = ["a/b:0", "with space", "größe", "日本語", 'quo"te\\', "tab\t", "new\nline", "🙂", "<&>", "%2F", "0", "x.y[0]", "n" * 3000]
    yield "odd_names", copies([(n, "out " + n) for n in odd], F, ["n", 2]), [[f32((3, 2), i) for i in range(len(odd))]]
    yield "odd_passed_through", model([node("Neg", ["x"], ["y"])], [info("x", F, [2])], [info("x", F, [2]), info("y", F, [2])]), [[f32(2)]]
    yield "odd_many", copies([(f"i{k}", f"o{k}") for k in range(300)], T.INT64, [1]), [[np.array([k]) for k in range(300)]]
    yield "odd_output_twice", model([node("Neg", ["x"], ["y"])], [info("x", F, [2])], [info("y", F, [2]), info("y", F, [2])]), [[f32(2)]]
    yield "odd_no_name", model([node("Neg", ["x"], ["y"])], [info("", F, [2]), info("x", F, [2])], [info("y", F, [2])]), [[f32(2), f32(2, 3)]]
    for folder in ("odd folder with spaces", "odd_größe", "odd%2Fpercent", "odd.dots.in.name", "odd+plus&and=#", "odd_🙂"):
        yield folder, unary("Neg", [2], [2]), [[f32(2)]]


def shapes():
    yield "odd_no_inputs", model([node("Constant", [], ["y"], value=numpy_helper.from_array(f32((2, 3))))], [], [info("y", F, [2, 3])]), [[]]
    w = numpy_helper.from_array(f32((2, 3)), "w")
    yield "odd_initializer_out", model([], [], [info("w", F, [2, 3])], [w]), [[]]
    yield "odd_default", model([node("Add", ["x", "w"], ["y"])], [info("x", F, ["n", 3]), info("w", F, [2, 3])], [info("y", F, None)], [w]), [[f32((2, 3))], [f32((2, 3)), f32((2, 3), 9)]]
    yield "odd_all_default", model([node("Neg", ["w"], ["y"])], [info("w", F, [2, 3])], [info("y", F, [2, 3])], [w]), [[], [f32((2, 3), 4)]]
    yield "odd_unused", model([node("Neg", ["x"], ["y"])], [info("x", F, [2]), info("unused", T.STRING, ["n"])], [info("y", F, [2])], [w]), [[f32(2), text(["a", ""], (2,))]]
    yield "odd_any_rank", unary("Neg", None, None), [[f32(s)] for s in ((), (1,), (0,), (2, 3), (1, 1, 1, 1, 1, 1, 1, 2))]
    yield "odd_rank_12", unary("Neg", [1] * 11 + [2], [1] * 11 + [2]), [[f32([1] * 11 + [2])]]
    yield "odd_empty", unary("Neg", [0, 3], [0, 3]), [[f32((0, 3))]]
    yield "odd_empty_inside", unary("Neg", ["n", 0], ["n", 0]), [[f32((n, 0))] for n in (0, 1, 5)]
    yield "odd_empty_at_will", unary("Neg", ["n", "m"], ["n", "m"]), [[f32(s)] for s in ((0, 0), (0, 3), (3, 0), (1, 1))]
    yield "odd_symbols", unary("Neg", ["batch size", "N+1", "größe", None], ["batch size", "N+1", "größe", None]), [[f32((2, 1, 3, 2))]]
    yield "odd_transposed", unary("Transpose", ["n", 4], [4, "n"], perm=[1, 0]), [[f32((n, 4))] for n in (1, 2, 7)]
    yield "odd_reversed", unary("Transpose", ["n", "n"], ["n", "n"], perm=[1, 0]), [[f32((n, n))] for n in (1, 2, 7)]
    zero = numpy_helper.from_array(np.array(0), "axis")
    yield "odd_running_sum", model([node("CumSum", ["x", "axis"], ["y"])], [info("x", F, ["n", 2])], [info("y", F, ["n", 2])], [zero]), [[f32((n, 2))] for n in (1, 2, 7)]
    yield "odd_softmax_over_rows", unary("Softmax", ["n", 2], ["n", 2], axis=0), [[f32((n, 2))] for n in (1, 2, 7)]
    yield "odd_sum_of_all", unary("ReduceSum", ["n", 2], [], keepdims=0), [[f32((n, 2))] for n in (1, 2, 7)]
    yield "odd_says_batch", unary("ReduceMax", ["n", 2], ["m"], keepdims=0), [[f32((n, 2))] for n in (1, 2, 7)]
    yield "odd_wrong_promise", unary("Flatten", ["n", 2], ["n", 2], axis=0), [[f32((n, 2))] for n in (1, 2)]
    yield "odd_dropped_output", model([node("Split", ["x"], ["a", "", "c"], axis=1, num_outputs=3)], [info("x", F, ["n", 3])], [info("c", F, ["n", 1]), info("a", F, ["n", 1])]), [[f32((2, 3))]]
    yield "odd_large", unary("Neg", ["n", 1024], ["n", 1024]), [[f32((1100, 1024))]]


def types():
    for elem, dtype in NUMBERS.items():
        kind = T.DataType.Name(elem).lower()
        edges = np.array([0, 1, 2, 3, 100, 127]).astype(dtype)
        if np.issubdtype(dtype, np.integer):
            edges = np.concatenate([edges, np.array([np.iinfo(dtype).min, np.iinfo(dtype).max], dtype)])
        else:
            limits = ml_dtypes.finfo(dtype)
            edges = np.concatenate([edges, np.array([np.nan, np.inf, -np.inf, -0.0, limits.max, limits.tiny, limits.smallest_subnormal, -limits.eps]).astype(dtype)])
        yield f"odd_{kind}", copies([("x", "y")], elem, ["n"]), [[edges], [edges[:0]]]
        yield f"odd_{kind}_scalar", copies([("x", "y")], elem, []), [[v.reshape(())] for v in edges]
    yield "odd_bool", copies([("x", "y")], T.BOOL, ["n"]), [[np.array([True, False, True])]]
    yield "odd_bool_scalar", copies([("x", "y")], T.BOOL, []), [[np.array(True)], [np.array(False)]]
    strings = ["", "plain", "größe", "日本語", "🙂", "nul\0inside", 'quo"te\\ \n\t', "\x7f\x01", "long " * 20000]
    yield "odd_string", copies([("x", "y")], T.STRING, ["n"]), [[text(strings, (len(strings),))], [text([], (0,))], [text(strings[:4], (4,))]]
    yield "odd_string_scalar", copies([("x", "y")], T.STRING, []), [[text([s], ())] for s in strings]
    yield "odd_string_square", copies([("x", "y")], T.STRING, [2, "n"]), [[text(strings[:8], (2, 4))], [text([], (2, 0))]]


def kinds():
    """What the protocol cannot carry, and sequences, which come out stacked."""
    for elem in (T.FLOAT8E4M3FN, T.FLOAT8E5M2, T.FLOAT8E4M3FNUZ, T.FLOAT8E5M2FNUZ, T.INT4, T.UINT4, T.FLOAT4E2M1, T.INT2, T.UINT2):
        kind = T.DataType.Name(elem).lower()
        opset = 25 if kind in ("int2", "uint2") else 23
        cast = model([node("Cast", ["x"], ["y"], to=elem)], [info("x", F, [2])], [info("y", elem, [2])], opset=opset)
        cast.ir_version = 13 if opset == 25 else 11
        yield f"odd_{kind}_out", cast, [[]]
        back = model([node("Cast", ["x"], ["y"], to=F)], [info("x", elem, [2])], [info("y", F, [2])], opset=opset)
        back.ir_version = cast.ir_version
        yield f"odd_{kind}_in", back, [[]]
    sequence = h.make_tensor_sequence_value_info
    split = node("SplitToSequence", ["x"], ["y"], axis=0, keepdims=1)
    yield "odd_sequence_out", model([split], [info("x", F, ["n", 2])], [sequence("y", F, None)]), [[f32((n, 2))] for n in (1, 3, 0)]
    size = numpy_helper.from_array(np.array(2), "size")
    pairs = node("SplitToSequence", ["x", "size"], ["y"], axis=0)
    yield "odd_sequence_ragged", model([pairs], [info("x", F, ["n", 2])], [sequence("y", F, None)], [size]), [[f32((n, 2))] for n in (2, 4, 3)]
    words = node("SplitToSequence", ["x"], ["y"], axis=0)
    yield "odd_sequence_strings", model([words], [info("x", T.STRING, ["n"])], [sequence("y", T.STRING, None)]), [[text(["a", "", "größe"], (3,))]]
    yield "odd_sequence_in", model([node("ConcatFromSequence", ["x"], ["y"], axis=0)], [sequence("x", F, None)], [info("y", F, None)]), [[]]
    optional = h.make_value_info("x", h.make_optional_type_proto(h.make_tensor_type_proto(F, [2])))
    yield "odd_optional_in", model([node("OptionalHasElement", ["x"], ["y"])], [optional], [info("y", T.BOOL, [])]), [[]]
    given = h.make_value_info("y", h.make_optional_type_proto(h.make_tensor_type_proto(F, [2])))
    yield "odd_optional_out", model([node("Optional", ["x"], ["y"])], [info("x", F, [2])], [given]), [[]]
    yield "odd_complex_in", copies([("x", "y")], T.COMPLEX64, [2]), [[]]
    sparse = h.make_value_info("x", h.make_sparse_tensor_type_proto(F, [2, 2]))
    yield "odd_sparse_in", model([node("Identity", ["x"], ["y"])], [sparse], [info("y", F, [2, 2])]), [[]]


def cases():
    """Yields name, model and the inputs of its data sets."""
    for part in (names, shapes, types, kinds):
        yield from part()
