"""Makes the XGBoost fixtures with the xgboost that is installed:

    python make_xgboost.py            # all of them (made with 3.2.0)
    python make_xgboost.py old 1.0.2  # the few of an old release: xgb_1.0.2_*.json
"""
import json
import sys

import numpy as np
import xgboost as xgb

from want import HERE, edges, rows, write

BASE = {"nthread": 1, "seed": 1, "max_depth": 3, "eta": 0.4}
N, F = 120, 6


def save(name, b, form):
    path = str(HERE / f"{name}.{form}")
    b.save_model(path)
    return path


def answers(b, d, iterations=(0, 0)):
    out = {
        "prediction": b.predict(d, iteration_range=iterations),
        "margin": b.predict(d, output_margin=True, iteration_range=iterations),
        "leaf": b.predict(d, pred_leaf=True, iteration_range=iterations).astype(np.int32),
    }
    return out


def make(name, params, y, form="ubj", rounds=3, x=None, cat=(), weight=None, show=24, extra=None, options=None, iterations=(0, 0), **info):
    x = rows(N, F, 1, cat) if x is None else x
    types = ["c" if i in cat else "q" for i in range(x.shape[1])]
    d = xgb.DMatrix(x, y, feature_types=types, enable_categorical=bool(cat), **info)
    b = xgb.train({**BASE, **params}, d, rounds, **(extra or {}))
    save(name, b, form)
    e = edges(x[:show], cat)
    # inf in a DMatrix is refused, in inplace_predict it is a number; leaves need a DMatrix
    finite = np.nan_to_num(e, nan=np.nan, posinf=3.4028235e38, neginf=-3.4028235e38)
    out = answers(b, xgb.DMatrix(finite, feature_types=types, enable_categorical=bool(cat)), iterations)
    p = out["prediction"]
    if params.get("objective", "").endswith(":logistic") and p.ndim == 1:
        out["probability"] = np.stack([np.float32(1) - p, p], 1)
    if params.get("objective") == "multi:softprob":
        out["probability"] = p
    write(name, finite, options=options, **out)
    return b


def targets():
    x = rows(N, F, 1)
    z = np.nan_to_num(x)
    return np.tanh(z[:, 0]) + 0.5 * (z[:, 1] > 0) + 0.3 * z[:, 2] * (np.isnan(x[:, 3]))


def main():
    y = targets().astype(np.float32)
    pos = np.exp(y)
    binary = (y > 0.2).astype(np.float32)
    classes = np.digitize(y, [-0.3, 0.5]).astype(np.float32)
    make("xgb_reg", {}, y, "json", rounds=6)
    make("xgb_reg_ubj", {}, y, "ubj", rounds=6)
    for o in ["reg:squarederror", "reg:pseudohubererror", "reg:absoluteerror", "binary:logitraw", "binary:hinge", "binary:logistic", "reg:logistic"]:
        make("xgb_" + o.replace(":", "_"), {"objective": o}, binary if "b" == o[0] or "logistic" in o else y)
    for o in ["reg:squaredlogerror", "count:poisson", "reg:gamma", "reg:tweedie", "survival:cox"]:
        make("xgb_" + o.replace(":", "_"), {"objective": o}, np.floor(pos * 2) if "count" in o else pos)
    make("xgb_survival_aft", {"objective": "survival:aft", "aft_loss_distribution": "normal"}, None, label_lower_bound=pos, label_upper_bound=pos * 1.5)
    make("xgb_multi_softmax", {"objective": "multi:softmax", "num_class": 3}, classes)
    make("xgb_multi_softprob", {"objective": "multi:softprob", "num_class": 3}, classes, "json")
    for o in ["rank:pairwise", "rank:ndcg", "rank:map"]:
        make("xgb_" + o.replace(":", "_"), {"objective": o}, binary if o == "rank:map" else classes, qid=np.arange(N) // 10)
    make("xgb_quantiles", {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.5, 0.9]}, y)
    make("xgb_dart", {"booster": "dart", "rate_drop": 0.4, "one_drop": 1}, y, "json", rounds=6)
    make("xgb_dart_multi", {"booster": "dart", "rate_drop": 0.4, "objective": "multi:softprob", "num_class": 3}, classes, rounds=4)
    make("xgb_forest", {"num_parallel_tree": 3, "subsample": 0.6, "colsample_bynode": 0.6}, y, rounds=2)
    make("xgb_base_score", {"base_score": 0.3, "objective": "binary:logistic"}, binary, "json")
    both = np.stack([y, pos], 1)
    make("xgb_targets", {"multi_strategy": "one_output_per_tree"}, both)
    make("xgb_vector_leaf", {"multi_strategy": "multi_output_tree"}, both)
    make("xgb_multilabel", {"objective": "binary:logistic"}, (both > 0.5).astype(np.float32))
    cat = (1, 4)
    make("xgb_cat_onehot", {"max_cat_to_onehot": 100, "tree_method": "hist"}, y, "json", cat=cat, rounds=5)
    make("xgb_cat_sets", {"max_cat_to_onehot": 1, "tree_method": "hist"}, y, cat=cat, rounds=5)
    make("xgb_vector_cat", {"max_cat_to_onehot": 1, "tree_method": "hist", "multi_strategy": "one_output_per_tree"}, both, cat=cat)
    make("xgb_pruned", {"tree_method": "exact", "gamma": 2.0, "max_depth": 5}, y, "json", rounds=4)
    make("xgb_stumps", {"min_child_weight": 1e9}, y, "json")
    names = [f"f {i}" for i in range(F)]
    b = make("xgb_early", {"eval_metric": "rmse", "eta": 1.5}, y, "json", rounds=8,
             extra={"evals": [(xgb.DMatrix(rows(N, F, 2), y), "v")], "early_stopping_rounds": 6, "verbose_eval": False})
    n = b.best_iteration + 1
    x = rows(24, F, 1)
    write("xgb_early_best", x, options={"iterations": "best"}, model="xgb_early", **answers(b, xgb.DMatrix(x), (0, n)))
    d = xgb.DMatrix(rows(N, F, 1), y, feature_names=names)
    xgb.train({**BASE, "booster": "gblinear"}, d, 2).save_model(str(HERE / "refused_gblinear.json"))


def old(version):
    assert xgb.__version__ == version, xgb.__version__
    y = targets().astype(np.float32)
    binary = (y > 0.2).astype(np.float32)
    classes = np.digitize(y, [-0.3, 0.5]).astype(np.float32)
    x = rows(N, F, 1)
    e = np.nan_to_num(edges(x[:24]), nan=np.nan, posinf=3.4028235e38, neginf=-3.4028235e38)
    both = np.stack([y, np.exp(y)], 1)
    vectors = [("vector_leaf", {"multi_strategy": "multi_output_tree", "tree_method": "hist"}, both)] if version[0] == "2" else []
    for name, params, label in vectors + [
        ("binary", {"objective": "binary:logistic", "base_score": 0.3}, binary),
        ("softprob", {"objective": "multi:softprob", "num_class": 3}, classes),
        ("dart", {"booster": "dart", "rate_drop": 0.4}, y),
        ("poisson", {"objective": "count:poisson", "num_parallel_tree": 2, "subsample": 0.7}, np.floor(np.exp(y))),
    ]:
        b = xgb.train({**BASE, **params}, xgb.DMatrix(x, label), 3)
        full = f"xgb_{version}_{name}"
        save(full, b, "json")
        d = xgb.DMatrix(e)
        write(full, e, prediction=b.predict(d), margin=b.predict(d, output_margin=True),
              leaf=b.predict(d, pred_leaf=True).astype(np.int32))


if __name__ == "__main__":
    if sys.argv[1:2] == ["old"]:
        old(sys.argv[2])
    else:
        main()
