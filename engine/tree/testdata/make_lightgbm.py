"""Makes the LightGBM fixtures with the lightgbm that is installed:

    python make_lightgbm.py            # all of them (made with 4.7.0)
    python make_lightgbm.py old 2.3.1  # a few of an old release: lgb_2.3.1_*.txt
"""
import re
import sys

import lightgbm as lgb
import numpy as np

from want import HERE, edges, rows, write

BASE = {"num_threads": 1, "seed": 1, "num_leaves": 7, "learning_rate": 0.4, "min_data_in_leaf": 3, "verbose": -1,
        "deterministic": True, "force_row_wise": True}
N, F = 150, 6


def save(name, b):
    """Saves the model without the training parameters, which say nothing about what it answers."""
    text = b.model_to_string()
    text = re.sub(r"parameters:\n.*?end of parameters\n", "", text, flags=re.S)
    for key in ["split_gain", "leaf_weight", "leaf_count", "internal_value", "internal_weight", "internal_count"]:
        text = re.sub(rf"(?m)^{key}=.*\n", "", text)
    sizes = [len(t) for t in re.findall(r"Tree=.*?\n\n\n?", text[: text.index("end of trees")] if "end of trees" in text else text, flags=re.S)]
    if "tree_sizes" in text:
        text = re.sub(r"tree_sizes=.*", "tree_sizes=" + " ".join(map(str, sizes)), text)
    (HERE / f"{name}.txt").write_text(text)
    return lgb.Booster(model_str=text)


def make(name, params, y, rounds=3, x=None, cat=(), show=30, dtype=np.float32, old=False, **data):
    x = rows(N, F, 1, cat) if x is None else x
    d = lgb.Dataset(x, y, categorical_feature=list(cat) or "auto", free_raw_data=False, **data)
    b = save(name, lgb.train({**BASE, **params}, d, rounds))
    e = edges(x[:show], cat).astype(dtype)
    if dtype == np.float64:
        e += np.where(np.isfinite(e) & (np.abs(e) < 1e9) & ~np.isin(np.arange(F), cat), 1e-9, 0)
    out = {"prediction": b.predict(e), "margin": b.predict(e, raw_score=True), "leaf": b.predict(e, pred_leaf=True).astype(np.int32)}
    p, o = out["prediction"], params.get("objective")
    if o in ("binary", "cross_entropy"):
        out["probability"] = np.stack([1 - p, p], 1)
    if o in ("multiclass", "multiclassova"):
        out["probability"] = p
    write(name, e, **out)
    return b


def targets():
    x = rows(N, F, 1)
    z = np.nan_to_num(x)
    return np.tanh(z[:, 0]) + 0.5 * (z[:, 1] > 0) + 0.3 * z[:, 2] * (np.isnan(x[:, 3]))


def by_category():
    """A target that two columns of categories, up to 40, decide."""
    cat = (1, 4)
    x = rows(N, F, 1, cat, 40)
    z = np.nan_to_num(x, nan=7).astype(int)
    return cat, x, (z[:, 1] * 7 % 5) + (z[:, 4] * 11 % 3) + np.tanh(np.nan_to_num(x[:, 0]))


def main():
    y = targets()
    pos, binary, classes = np.exp(y), y > 0.2, np.digitize(y, [-0.3, 0.5])
    for o in ["regression", "regression_l1", "quantile", "huber", "fair", "mape"]:
        make("lgb_" + o, {"objective": o}, y)
    for o in ["poisson", "gamma", "tweedie"]:
        make("lgb_" + o, {"objective": o}, np.floor(pos * 2) if o == "poisson" else pos)
    make("lgb_sqrt", {"objective": "regression", "reg_sqrt": True}, y)
    make("lgb_binary", {"objective": "binary", "sigmoid": 0.7}, binary, rounds=6)
    make("lgb_cross_entropy", {"objective": "cross_entropy"}, binary.astype(float))
    make("lgb_cross_entropy_lambda", {"objective": "cross_entropy_lambda"}, binary.astype(float))
    make("lgb_multiclass", {"objective": "multiclass", "num_class": 3}, classes)
    make("lgb_multiclassova", {"objective": "multiclassova", "num_class": 3}, classes)
    for o in ["lambdarank", "rank_xendcg"]:
        make("lgb_" + o, {"objective": o}, classes, group=[10] * (N // 10))
    make("lgb_double", {"objective": "regression"}, y, rounds=6, dtype=np.float64)
    make("lgb_zero_missing", {"objective": "regression", "zero_as_missing": True}, y, rounds=6)
    make("lgb_no_missing", {"objective": "regression", "use_missing": False}, y, rounds=4)
    x = np.nan_to_num(rows(N, F, 1))
    make("lgb_never_missing", {"objective": "regression"}, y, x=x)
    cat, x, by = by_category()
    sets = {"min_data_per_group": 3, "cat_smooth": 1, "cat_l2": 0, "max_cat_to_onehot": 1, "min_data_in_leaf": 1}
    make("lgb_cat", {"objective": "binary", **sets}, by > by.mean(), x=x, rounds=5, cat=cat)
    make("lgb_cat_onehot", {"objective": "regression", **sets, "max_cat_to_onehot": 50}, by, x=x, rounds=5, cat=cat)
    make("lgb_cat_double", {"objective": "regression", **sets}, by, x=x, rounds=5, cat=cat, dtype=np.float64)
    make("lgb_forest", {"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}, binary, rounds=4)
    make("lgb_dart", {"objective": "regression", "boosting": "dart", "drop_rate": 0.5}, y, rounds=6)
    make("lgb_custom", {"objective": lambda p, d: (p - y, np.ones_like(p))}, y)
    make("lgb_stumps", {"objective": "regression", "min_data_in_leaf": 1000}, y)
    d = lgb.Dataset(np.nan_to_num(rows(N, F, 1)), y)
    b = lgb.train({**BASE, "objective": "regression", "linear_tree": True}, d, 2)
    (HERE / "refused_linear.txt").write_text(b.model_to_string())


if __name__ == "__main__":
    if sys.argv[1:2] == ["old"]:
        version = sys.argv[2]
        assert lgb.__version__ == version, lgb.__version__
        y = targets()
        make(f"lgb_{version}_binary", {"objective": "binary"}, y > 0.2)
        make(f"lgb_{version}_multi", {"objective": "multiclass", "num_class": 3}, np.digitize(y, [-0.3, 0.5]))
        cat, x, by = by_category()
        make(f"lgb_{version}_cat", {"objective": "regression", "min_data_per_group": 3, "cat_smooth": 1, "cat_l2": 0, "max_cat_to_onehot": 1}, by, x=x, cat=cat)
    else:
        main()
