"""Writes down what ONNX Runtime itself answers for every model of the ONNX project's test data, for conformance_test.go.

    python reference.py DIR

DIR gets a model repository in models, cases.jsonl with a line for each model, data.bin with the tensors' bytes as the Open
Inference Protocol has them, and at the end versions.json. The models are those of the onnx package: node (made by the package's own code), simple,
pytorch-* and light (files in it), and odd.py's, for what those leave out.

The session is set up as Serval's onnx engine does it: one thread, all optimisations, no spinning.
"""

import collections
import ctypes
import json
import os
import pathlib
import re
import struct
import sys
import traceback
import warnings

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T, numpy_helper

import odd

Case = collections.namedtuple("Case", "kind name model sets")  # model: a ModelProto or bytes; sets: a list of input lists

# ONNX Runtime's names of the types that the Open Inference Protocol has.
CARRIED = {
    "bool": ("BOOL", 1), "uint8": ("UINT8", 1), "uint16": ("UINT16", 2), "uint32": ("UINT32", 4), "uint64": ("UINT64", 8),
    "int8": ("INT8", 1), "int16": ("INT16", 2), "int32": ("INT32", 4), "int64": ("INT64", 8), "float16": ("FP16", 2),
    "bfloat16": ("BF16", 2), "float": ("FP32", 4), "double": ("FP64", 8), "string": ("BYTES", 0),
}  # fmt: skip


def cases():
    """All cases, by kind and name."""
    from onnx.backend.test.loader import load_node_model_tests

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = [Case("node", c.name, c.model, [list(inputs) for inputs, _ in c.data_sets]) for c in load_node_model_tests()]
    data = pathlib.Path(onnx.__file__).parent / "backend" / "test" / "data"
    for kind in ("simple", "pytorch-converted", "pytorch-operator"):
        for folder in (data / kind).iterdir():
            if folder.is_dir():
                found.append(Case(kind, folder.name, (folder / "model.onnx").read_bytes(), stored(folder)))
    for file in (data / "light").glob("*.onnx"):
        found.append(Case("light", file.stem, file.read_bytes(), [None]))  # without input files: made up below
    found += [Case("odd", name, model, sets) for name, model, sets in odd.cases()]
    return sorted(found, key=lambda c: (c.kind, c.name))


def stored(folder):
    """The inputs of a folder's data sets, as the files have them."""
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    kinds = {"sequence_type": onnx.SequenceProto, "optional_type": onnx.OptionalProto}
    sets = []
    for data in sorted(folder.glob("test_data_set_*")):
        values = []
        for i in range(len(list(data.glob("input_*.pb")))):
            kind = kinds.get(model.graph.input[i].type.WhichOneof("value"), T)
            values.append(kind.FromString((data / f"input_{i}.pb").read_bytes()))
        sets.append(values)
    return sets


def made_up(session):
    """Inputs for a model that comes without: the same at every run."""
    rng = np.random.default_rng(5)
    return [rng.random(i.shape, np.float32) for i in session.get_inputs()]


def options():
    o = ort.SessionOptions()
    o.intra_op_num_threads = o.inter_op_num_threads = 1
    o.log_severity_level = 4
    for name, value in {"session.intra_op.allow_spinning": "0", "session.inter_op.allow_spinning": "0", "session.use_device_allocator_for_initializers": "1"}.items():
        o.add_session_config_entry(name, value)
    return o


def array(value):
    """A data set's value as a numpy array, or None where it is no tensor."""
    if isinstance(value, T):
        value = numpy_helper.to_array(value)
    return np.require(value, requirements="C") if isinstance(value, (np.ndarray, np.generic)) else None


def encode(a):
    """An array's bytes, as the protocol has them."""
    if a.dtype.kind in "OUST":
        items = [s if isinstance(s, bytes) else str(s).encode() for s in a.reshape(-1).tolist()]
        return b"".join(struct.pack("<I", len(s)) + s for s in items)
    return np.ascontiguousarray(a).tobytes()


def strings(a):
    return np.array([s.decode() if isinstance(s, bytes) else str(s) for s in a.reshape(-1).tolist()] + [None], dtype=object)[:-1].reshape(a.shape)


def ort_value(a, datatype):
    if datatype == "BF16":
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(a.view(np.uint16), T.BFLOAT16)
    return ort.OrtValue.ortvalue_from_numpy(a)


class Carrier:
    """One value of a model's signature, and whether and as what the protocol can carry it."""

    def __init__(self, arg, optional=False):
        self.name, self.type, self.optional = arg.name, arg.type, optional
        self.shape = [d if isinstance(d, int) else -1 for d in arg.shape]
        inner = re.fullmatch(r"tensor\((\w+)\)", arg.type)
        stacked = re.fullmatch(r"seq\(tensor\((\w+)\)\)", arg.type)
        element = (inner or stacked or [None, ""])[1]
        self.datatype, self.size = CARRIED.get(element, ("", 0))
        self.tensor, self.stacked = bool(inner and self.datatype), bool(stacked and self.datatype)

    def json(self):
        d = {"name": self.name, "type": self.type, "datatype": self.datatype, "shape": self.shape}
        return d | {"optional": True} if self.optional else d


class Writer:
    """Appends to cases.jsonl and data.bin."""

    def __init__(self, folder):
        self.folder = folder
        self.lines, self.data = open(folder / "cases.jsonl", "ab"), open(folder / "data.bin", "ab")

    def tensor(self, carrier, shape, raw):
        at = self.data.tell()
        self.data.write(raw)
        return {"name": carrier.name, "datatype": carrier.datatype, "shape": list(shape), "at": at, "size": len(raw)}

    def case(self, case, **found):
        self.data.flush()
        self.lines.write(json.dumps({"kind": case.kind, "name": case.name} | found).encode() + b"\n")
        self.lines.flush()


def words(error, case):
    """An error's message without what differs from machine to machine."""
    text = re.sub(r"\s+", " ", str(error)).replace(f"models/{case.name}/1/", "")
    return re.sub(r"/\S*/(?=[\w-]+\.(cc|h|onnx))", "", text).strip()


def output(carrier, value):
    """Shape and bytes of an output as Serval answers it: a sequence of equal tensors is stacked."""
    if carrier.stacked:
        parts = [np.asarray(p) for p in value]
        if len({p.shape for p in parts}) > 1:
            return None
        a = np.stack(parts) if parts else np.zeros(0)
        return a.shape, encode(a)
    if carrier.datatype == "BYTES" or isinstance(value, np.ndarray):
        a = value if isinstance(value, np.ndarray) else value.numpy()
        return a.shape, encode(a)
    shape = value.shape()
    n = int(np.prod(shape, dtype=np.int64))
    return shape, ctypes.string_at(value.data_ptr(), n * carrier.size) if n else b""


def ask(session, arrays, outputs):
    """Shapes and bytes of the outputs; None for a sequence that cannot be stacked. The binding takes strings as arrays only."""
    if any(i.datatype == "BYTES" for i, _ in arrays) or any(o.stacked for o in outputs):
        values = session.run(None, {i.name: strings(a) if i.datatype == "BYTES" else a for i, a in arrays})
    else:
        values = session.run_with_ort_values(None, {i.name: ort_value(a, i.datatype) for i, a in arrays})
    return [output(o, v) for o, v in zip(outputs, values)]


def study(case, writer):
    """Asks ONNX Runtime, and writes down a case."""
    path = pathlib.Path("models") / case.name / "1" / "model.onnx"
    path.parent.mkdir(parents=True)
    if case.kind == "light":  # large enough that Serval would give it more threads
        (path.parent.parent / "model.yaml").write_text("threads: 1\n")
    path.write_bytes(case.model if isinstance(case.model, bytes) else case.model.SerializeToString())
    # To change case, StringNormalizer wants the locale en_US.UTF-8, which not every machine has.
    found = {"locale": True} if re.search(b"StringNormalizer.*(LOWER|UPPER)", path.read_bytes(), re.DOTALL) else {}
    try:
        session = ort.InferenceSession(path, options(), providers=["CPUExecutionProvider"])
        again = ort.InferenceSession(path, options(), providers=["CPUExecutionProvider"])
    except Exception as e:
        return writer.case(case, refused=words(e, case), **found)
    inputs = [Carrier(i) for i in session.get_inputs()]
    optional = [Carrier(i, True) for i in session.get_overridable_initializers()]
    outputs = [Carrier(o) for o in session.get_outputs()]
    found |= {"inputs": [i.json() for i in inputs + optional], "outputs": [o.json() for o in outputs], "sets": []}
    if not all(i.tensor for i in inputs + optional) or not all(o.tensor or o.stacked for o in outputs):
        return writer.case(case, **found)
    for values in case.sets:
        pairs = list(zip(inputs + optional, made_up(session) if values is None else values))
        arrays = [(i, array(v)) for i, v in pairs if v is not None]
        one = {"inputs": [writer.tensor(i, a.shape, encode(a)) for i, a in arrays], "outputs": []}
        found["sets"].append(one)
        try:
            got = ask(session, arrays, outputs)
        except Exception as e:
            one["error"] = words(e, case)
            continue
        # A generator that a seed of 0 or of 1 starts gives the same numbers: three times are needed to see that they differ.
        if got != ask(again, arrays, outputs) or any(got != ask(session, arrays, outputs) for _ in range(3)):
            one["random"] = True
        one["ragged"] = [o.name for o, g in zip(outputs, got) if g is None]
        one["outputs"] = [writer.tensor(o, *g) for o, g in zip(outputs, got) if g is not None]
    writer.case(case, **found)


def main(folder):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    todo = cases()
    while todo:  # in a child, since a fault in C kills its process: the case at which that happens is written down as such
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                writer = Writer(folder)
                for case in todo:
                    study(case, writer)
                code = 0
            except Exception:
                print(f"{case.kind} {case.name}", file=sys.stderr)
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)  # without the library's own end, which may wait for threads that a fork does not have
        _, status = os.waitpid(pid, 0)
        done = len((folder / "cases.jsonl").read_bytes().splitlines()) if (folder / "cases.jsonl").exists() else 0
        if status == 0:
            break
        if os.WIFEXITED(status):
            sys.exit("a child failed; see above")
        todo = cases()
        Writer(folder).case(todo[done], refused=f"ONNX Runtime dies of signal {os.WTERMSIG(status)}")
        todo = todo[done + 1 :]
    (folder / "versions.json").write_text(json.dumps({"onnx": onnx.__version__, "onnxruntime": ort.__version__}))


if __name__ == "__main__":
    main(sys.argv[1])
