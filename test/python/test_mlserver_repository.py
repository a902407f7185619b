"""An MLServer repository as it stands: what clients of MLServer send it is answered as MLServer's runtimes answer."""

import json
import urllib.request

import numpy as np
import pytest
import tritonclient.grpc as tg
import tritonclient.http as th
from tritonclient.utils import InferenceServerException
from triton import tensor, trees


def post(http_address, model, body, version=""):
    url = f"http://{http_address}/v2/models/{model}{'/versions/' + version if version else ''}/infer"
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})) as r:
        return json.load(r)


def test_names_and_versions(http_address):
    with th.InferenceServerClient(http_address) as c:
        index = {m["name"]: m for m in c.get_model_repository_index()}
        assert {n: m["version"] for n, m in index.items()} == {"mushroom-xgboost": "v0.1.0", "iris-lgb": "v0.1.0", "wine": "1"}, "wine's folder has another name"
        assert c.get_model_metadata("mushroom-xgboost")["versions"] == ["v0.1.0"]
        m = c.get_model_metadata("wine")
        assert [t["name"] for t in m["inputs"]] == ["features"] and [t["name"] for t in m["outputs"]] == ["predict", "predict_proba"]


@pytest.mark.parametrize("name, dtype", [("predict", "FP32"), ("input-0", "FP64"), ("x", "FP32")])
def test_xgboost_booster(http_address, name, dtype):
    """Any name and any type of number; a model that XGBoost's own interface saved answers its values."""
    x, want = trees("xgb_binary_logistic")
    rows = [[None if np.isnan(v) else float(v) for v in row] for row in x if np.isfinite(row).all()]
    want = want["prediction"][np.isfinite(x).all(axis=1)]
    body = {"inputs": [{"name": name, "datatype": dtype, "shape": [len(rows), 6], "data": rows}]}
    r = post(http_address, "mushroom-xgboost", body, "v0.1.0")
    assert r["model_version"] == "v0.1.0" and len(r["outputs"]) == 1
    out = r["outputs"][0]
    assert (out["name"], out["datatype"], out["shape"]) == ("predict", "FP32", [len(rows), 1])
    np.testing.assert_allclose(np.array(out["data"], np.float32).reshape(-1, 1), want, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lightgbm(grpc_address, dtype):
    x, want = trees("lgb_multiclass")
    with tg.InferenceServerClient(grpc_address) as c:
        r = c.infer("iris-lgb", [tensor(tg, "predict", x.astype(dtype))])
        got = r.as_numpy("predict")
        assert got.dtype == np.float64, "LightGBM answers doubles"
        np.testing.assert_allclose(got, want["prediction"], rtol=1e-12)


def test_xgboost_classifier(http_address):
    x, want = trees("xgb_multi_softprob")
    with th.InferenceServerClient(http_address) as c:
        r = c.infer("wine", [tensor(th, "features", x)])
        assert [o["name"] for o in r.get_response()["outputs"]] == ["predict"], "probabilities are answered to who asks for them"
        got = r.as_numpy("predict")
        assert got.dtype == np.int64 and got.shape == (len(x), 1)
        np.testing.assert_array_equal(got[:, 0], want["probability"].argmax(axis=1))
        r = c.infer("wine", [tensor(th, "features", x)], outputs=[th.InferRequestedOutput("predict_proba"), th.InferRequestedOutput("predict")])
        np.testing.assert_allclose(r.as_numpy("predict_proba"), want["probability"], rtol=1e-6)
        np.testing.assert_array_equal(r.as_numpy("predict"), got)
        assert c.infer("wine", [tensor(th, "anything", np.ones((2, 6), np.int32))]).as_numpy("predict").shape == (2, 1)
        with pytest.raises(InferenceServerException, match="features"):
            c.infer("wine", [tensor(th, "features", np.ones((2, 5), np.float32))])
        with pytest.raises(InferenceServerException, match="FP32"):
            c.infer("wine", [tensor(th, "features", np.array([["a"] * 6], object))])
