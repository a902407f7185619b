"""What the tests share: the server's addresses and ONNX Runtime's own answers.

The Go tests start the server and say where it is: SERVAL_HTTP, SERVAL_GRPC (host:port) and SERVAL_MODELS, its folder.
"""

import os
import pathlib

import pytest


@pytest.fixture(scope="session")
def http_address():
    return os.environ["SERVAL_HTTP"]


@pytest.fixture(scope="session")
def grpc_address():
    return os.environ["SERVAL_GRPC"]


@pytest.fixture(scope="session")
def models():
    return pathlib.Path(os.environ["SERVAL_MODELS"])


@pytest.fixture(scope="session")
def reference(models):
    """A function from a model's name and its inputs by name to ONNX Runtime's outputs by name."""
    import onnxruntime as ort

    sessions = {}

    def run(model, inputs):
        if model not in sessions:
            o = ort.SessionOptions()
            o.intra_op_num_threads = 1
            o.log_severity_level = 3
            sessions[model] = ort.InferenceSession(models / model / "1" / "model.onnx", o, providers=["CPUExecutionProvider"])
        s = sessions[model]
        return dict(zip((o.name for o in s.get_outputs()), s.run(None, inputs)))

    return run
