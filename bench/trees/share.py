"""Writes models that two or three libraries load: the same trees in the words of each.

    python share.py MODELS SHARED     # the folders of train.py and of the results; what is there already is kept

A batch's time depends on its trees, so libraries are compared fairly only on the same ones. Each shared model is a folder
with one folder a library, as train.py makes them: model.EXT, rows.f32, what that library answers, meta.json. The first was
trained by its library, the others are rewritten from its file:

  flights-xgboost   XGBoost's trees for LightGBM. x < t in float32 is x <= the next smaller float32; missing values go the
                    same way; leaves are the same numbers, and base_score goes into the first tree's.
  flights-lightgbm  LightGBM's trees for XGBoost. x <= t is x < the next greater float32; where a split knows no missing
                    values, NaN goes where 0 goes; leaves are rounded to float32.
  flights-catboost  CatBoost's symmetric trees as plain ones for both: each question asked in every node of its level.

Rewriting is checked, not trusted: over all rows the libraries must reach the same leaf in every tree, and their margins must
agree to 1e-5 (XGBoost adds up float32, the others float64).
"""
import json
import pathlib
import shutil
import sys

import catboost as cb
import lightgbm as lgb
import numpy as np
import xgboost as xgb

from train import done, with_proba, write

LEFT, RIGHT = 0, 1


class Tree:
    """Splits as (feature, t, missing goes left, left, right): left where x <= t; children >= 0 are splits, ~i is leaf i."""

    def __init__(self):
        self.splits, self.leaves = [], []

    def leaf(self, value):
        self.leaves.append(value)
        return ~(len(self.leaves) - 1)


def below(t):
    return float(np.nextafter(np.float32(t), np.float32(-np.inf)))


def above(t):
    """The least float32 greater than all that are <= t."""
    f = np.float32(t)
    if float(f) > t:
        return f
    return np.nextafter(f, np.float32(np.inf))


def from_xgboost(folder):
    b = xgb.Booster(model_file=str(folder / "model.ubj"))
    model = json.loads(b.save_raw("json"))["learner"]
    trees = []
    for t in model["gradient_booster"]["model"]["trees"]:
        tree = Tree()

        def grow(n):
            if t["left_children"][n] < 0:
                return tree.leaf(t["split_conditions"][n])
            assert t["split_type"][n] == 0
            at = len(tree.splits)
            tree.splits.append(None)
            children = grow(t["left_children"][n]), grow(t["right_children"][n])
            tree.splits[at] = (t["split_indices"][n], below(t["split_conditions"][n]), bool(t["default_left"][n]), *children)
            return at

        grow(0)
        trees.append(tree)
    score = model["learner_model_param"]["base_score"]
    p = float(score.strip("[]"))
    return trees, float(np.log(p / (1 - p)))


def from_lightgbm(folder):
    b = lgb.Booster(model_file=str(folder / "model.txt"))
    trees = []
    for t in b.dump_model()["tree_info"]:
        tree = Tree()

        def grow(n):
            if "leaf_value" in n:
                return tree.leaf(n["leaf_value"])
            assert n["decision_type"] == "<=" and n["missing_type"] in ("None", "NaN")
            at = len(tree.splits)
            tree.splits.append(None)
            missing = n["default_left"] if n["missing_type"] == "NaN" else 0 <= n["threshold"]
            children = grow(n["left_child"]), grow(n["right_child"])
            tree.splits[at] = (n["split_feature"], n["threshold"], missing, *children)
            return at

        grow(t["tree_structure"])
        trees.append(tree)
    return trees, 0.0


def from_catboost(folder):
    model = json.loads((folder / "model.json").read_text())
    features = {f["feature_index"]: f for f in model["features_info"]["float_features"]}
    scale, (bias,) = model["scale_and_bias"]
    trees = []
    for t in model["oblivious_trees"]:
        tree = Tree()

        def grow(level, number):
            if level == len(t["splits"]):
                return tree.leaf(scale * t["leaf_values"][number])
            s = t["splits"][level]
            assert s["split_type"] == "FloatFeature"
            at = len(tree.splits)
            tree.splits.append(None)
            f = features[s["float_feature_index"]]
            missing = f["nan_value_treatment"] != "AsTrue"
            children = grow(level + 1, number), grow(level + 1, number | 1 << level)
            tree.splits[at] = (f["flat_feature_index"], s["border"], missing, *children)
            return at

        grow(0, 0)
        trees.append(tree)
    return trees, bias


def to_lightgbm(trees, base, features, path):
    blocks = []
    for i, t in enumerate(trees):
        leaves = [v + base if i == 0 else v for v in t.leaves]
        columns = {
            "num_leaves": [len(leaves)], "num_cat": [0],
            "split_feature": [s[0] for s in t.splits], "split_gain": [1] * len(t.splits),
            "threshold": [repr(float(s[1])) for s in t.splits],
            "decision_type": [8 | 2 * s[2] for s in t.splits],  # NaN is missing; 2: it goes left
            "left_child": [s[3] for s in t.splits], "right_child": [s[4] for s in t.splits],
            "leaf_value": [repr(float(v)) for v in leaves], "leaf_weight": [1] * len(leaves), "leaf_count": [1] * len(leaves),
            "internal_value": [0] * len(t.splits), "internal_weight": [0] * len(t.splits), "internal_count": [1] * len(t.splits),
            "is_linear": [0], "shrinkage": [1],
        }
        blocks.append(f"Tree={i}\n" + "".join(f"{k}={' '.join(map(str, v))}\n" for k, v in columns.items()) + "\n\n")
    names = [f"f{i}" for i in range(features)]
    head = ["tree", "version=v4", "num_class=1", "num_tree_per_iteration=1", "label_index=0", f"max_feature_idx={features - 1}",
            "objective=binary sigmoid:1", "feature_names=" + " ".join(names), "feature_infos=" + " ".join(["[-1e300:1e300]"] * features),
            "tree_sizes=" + " ".join(str(len(b)) for b in blocks)]
    path.write_text("\n".join(head) + "\n\n" + "".join(blocks) + "end of trees\n\nfeature_importances:\n\nparameters:\n\nend of parameters\n\npandas_categorical:null\n")


def to_xgboost(trees, base, features, path):
    """A model of one round, of the library's own making, whose trees are replaced."""
    x = np.zeros((2, features), np.float32)
    x[1] = 1
    frame = xgb.train({"objective": "binary:logistic", "base_score": 0.5}, xgb.DMatrix(x, [0, 1]), 1)
    model = json.loads(frame.save_raw("json"))
    gbtree = model["learner"]["gradient_booster"]["model"]
    gbtree["trees"] = []
    for i, t in enumerate(trees):
        order, at = [(0 if t.splits else ~0, -1)], 0  # nodes in the order of their levels, with their parents
        left, right = [], []
        while at < len(order):
            n = order[at][0]
            if n >= 0:
                left.append(len(order))
                right.append(len(order) + 1)
                order += [(t.splits[n][3], at), (t.splits[n][4], at)]
            else:
                left.append(-1)
                right.append(-1)
            at += 1
        value = [float(np.float32(t.leaves[~n] + (base if i == 0 else 0))) if n < 0 else float(above(t.splits[n][1])) for n, _ in order]
        gbtree["trees"].append({
            "tree_param": {"num_deleted": "0", "num_feature": str(features), "num_nodes": str(len(order)), "size_leaf_vector": "1"},
            "id": i, "left_children": left, "right_children": right, "parents": [2147483647 if p < 0 else p for _, p in order],
            "split_indices": [t.splits[n][0] if n >= 0 else 0 for n, _ in order], "split_conditions": value,
            "default_left": [int(t.splits[n][2]) if n >= 0 else 0 for n, _ in order], "split_type": [0] * len(order),
            "base_weights": [v if n < 0 else 0.0 for (n, _), v in zip(order, value)], "loss_changes": [0.0 if n < 0 else 1.0 for n, _ in order],
            "sum_hessian": [1.0] * len(order), "categories": [], "categories_nodes": [], "categories_segments": [], "categories_sizes": [],
        })
    gbtree["tree_info"] = [0] * len(trees)
    gbtree["iteration_indptr"] = list(range(len(trees) + 1))
    gbtree["gbtree_model_param"]["num_trees"] = str(len(trees))
    booster = xgb.Booster(model_file=bytearray(json.dumps(model).encode()))
    booster.save_model(path)


def answer_xgboost(folder, s, nodes, trees):
    b = xgb.Booster({"nthread": 1}, model_file=str(folder / "model.ubj"))
    d = xgb.DMatrix(s, nthread=1)
    p, margin, leaf = b.predict(d), b.predict(d, output_margin=True), b.predict(d, pred_leaf=True)
    write(folder, s, f"XGBoost {xgb.__version__}, rewritten", nodes, b.num_boosted_rounds(), trees, 0,
          prediction=p, margin=margin, probability=with_proba(p), leaf=leaf)
    return margin, leaf


def answer_lightgbm(folder, s, nodes, trees):
    b = lgb.Booster(model_file=str(folder / "model.txt"))
    p, margin, leaf = b.predict(s, num_threads=1), b.predict(s, raw_score=True, num_threads=1), b.predict(s, pred_leaf=True, num_threads=1)
    write(folder, s, f"LightGBM {lgb.__version__}, rewritten", nodes, b.num_trees(), trees, 0,
          prediction=p, margin=margin, probability=with_proba(p), leaf=leaf)
    return margin, leaf


def one_to_one(a, b):
    """Whether two names for the leaves of one tree tell the same leaves apart."""
    pairs = np.unique(a.astype(np.int64) << 32 | b.astype(np.int64))
    return len(pairs) == len(np.unique(a)) == len(np.unique(b))


def main():
    models, shared = map(pathlib.Path, sys.argv[1:3])
    rewriting = {"xgboost": (to_xgboost, "model.ubj", answer_xgboost), "lightgbm": (to_lightgbm, "model.txt", answer_lightgbm)}
    for name, origin, read in (("flights-xgboost", "xgboost", from_xgboost), ("flights-lightgbm", "lightgbm", from_lightgbm),
                               ("flights-catboost-numbers", "catboost", from_catboost)):
        folder = shared / name.removesuffix("-numbers")
        if all(done(folder / k) for k in [origin, *rewriting]):
            continue
        source = models / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / origin).symlink_to(source.resolve())
        meta = json.loads((source / "meta.json").read_text())
        s = np.fromfile(source / "rows.f32", np.float32).reshape(-1, meta["features"])
        trees, base = read(source)
        nodes = sum(len(t.splits) + len(t.leaves) for t in trees)

        def answers(kind, file):
            o = meta["outputs"][kind]
            return np.fromfile(source / f"{kind}.bin", o["dtype"]).reshape(len(s), -1)

        margin, leaf = answers("margin", "margin.bin")[:, 0], answers("leaf", "leaf.bin")
        for kind, (rewrite, file, answer) in rewriting.items():
            if kind == origin:
                continue
            (folder / kind).mkdir()
            rewrite(trees, base, meta["features"], folder / kind / file)
            m, l = answer(folder / kind, s, nodes, len(trees))
            off = np.max(np.abs(m - margin) / np.maximum(np.abs(margin), 1))
            same = sum(one_to_one(leaf[:, t], l[:, t]) for t in range(len(trees)))
            print(f"{name} for {kind}: {same} of {len(trees)} trees reach the same leaf for all {len(s)} rows; margins differ by up to {off:.1g}", flush=True)
            if same != len(trees) or not off < 1e-5:
                (folder / kind / "meta.json").unlink()
                sys.exit(f"{name} for {kind}: not the same model")


if __name__ == "__main__":
    main()
