"""The benchmark's net in Triton's Python backend: one run of ONNX Runtime, one thread, for all requests of a batch."""
import os
import sys

sys.path.insert(0, os.environ["SITE_PACKAGES"])  # the backend's own interpreter knows no venv

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            os.environ["MLP"], options, providers=["CPUExecutionProvider"])

    def execute(self, requests):
        inputs = [pb_utils.get_input_tensor_by_name(r, "x").as_numpy() for r in requests]
        x = inputs[0] if len(inputs) == 1 else np.concatenate(inputs)
        p = self.session.run(["p"], {"x": x})[0]
        responses, row = [], 0
        for x in inputs:
            tensor = pb_utils.Tensor("p", p[row:row + len(x)])
            responses.append(pb_utils.InferenceResponse([tensor]))
            row += len(x)
        return responses
