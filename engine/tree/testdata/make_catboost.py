"""Makes the CatBoost fixtures with the catboost that is installed (made with 1.2.10)."""
import json

import catboost as cb
import numpy as np

from want import HERE, edges, rows, write

BASE = {"iterations": 4, "depth": 3, "learning_rate": 0.5, "thread_count": 1, "random_seed": 1, "verbose": 0, "allow_writing_files": False}
N, F = 150, 5
WORDS = ["", "a", "no", "yes", "ä", "three", "sixteen bytes!!!", "a word of more than sixteen", "a" * 32, "b" * 33,
         "between thirty-three and sixty-four bytes, this one", "c" * 64, "more than sixty-four bytes, so that the long way of the hash is taken at least once", "d" * 200]


def save(name, m):
    """Saves the model without what says nothing about its answers."""
    path = HERE / f"{name}.json"
    m.save_model(str(path), format="json")
    d = json.loads(path.read_text())
    info = d["model_info"]
    for key in ["output_options", "catboost_version_info", "training", "train_finish_time", "model_guid"]:
        info.pop(key, None)
    info["params"] = {"loss_function": info["params"]["loss_function"]}
    for t in d.get("oblivious_trees", []):
        t.pop("leaf_weights", None)
    path.write_text(json.dumps(d, separators=(",", ":")) + "\n")


def make(name, y, loss, kind=cb.CatBoostRegressor, show=30, words=None, options=None, x=None, threshold=None, fit=None, **params):
    x = rows(N, F, 1) if x is None else x
    data = [[*map(float, r), *w] for r, w in zip(x, words)] if words is not None else x
    cat = list(range(x.shape[1], x.shape[1] + len(words[0]))) if words is not None else None
    m = kind(loss_function=loss, **{**BASE, **params})
    m.fit(cb.Pool(data, y, cat_features=cat, **(fit or {})))
    if threshold:
        m.set_probability_threshold(threshold)
    save(name, m)
    e = edges(x[:show])
    shown = None
    if words is not None:
        shown = [list(w) for w in words[:show]]
        for i in range(0, show, 4):
            shown[i][i % len(shown[i])] = f"unknown {i}"
        pool = cb.Pool([[*map(float, r), *w] for r, w in zip(e, shown)], cat_features=cat)
    else:
        pool = cb.Pool(e)
    raw = cb.CatBoost.predict(m, pool, prediction_type="RawFormulaVal")
    out = {"margin": raw, "leaf": m.calc_leaf_indexes(pool).astype(np.int32)}
    p = m.predict(pool)
    text = None
    if np.asarray(p).dtype.kind in "UO":
        text, p = p, np.zeros(show)
    out["prediction"] = p
    if kind is cb.CatBoostClassifier:
        out["probability"] = m.predict_proba(pool)
    write(name, e, categories=shown, options=options, text=text, **out)


def main():
    x = rows(N, F, 1)
    z = np.nan_to_num(x)
    y = np.tanh(z[:, 0]) + 0.5 * (z[:, 1] > 0) + 0.3 * z[:, 2] * (np.isnan(x[:, 3]))
    pos, binary, classes = np.exp(y), (y > 0.2).astype(int), np.digitize(y, [-0.3, 0.5])
    for loss in ["RMSE", "MAE", "Quantile", "MAPE", "LogCosh", "Huber:delta=1"]:
        make("cat_" + loss.split(":")[0].lower(), y, loss)
    make("cat_poisson", np.floor(pos * 2), "Poisson")
    make("cat_tweedie", pos, "Tweedie:variance_power=1.5")
    make("cat_uncertainty", y, "RMSEWithUncertainty")
    make("cat_multirmse", np.stack([y, pos], 1), "MultiRMSE")
    c = cb.CatBoostClassifier
    make("cat_nan_max", y, "RMSE", nan_mode="Max")
    make("cat_nan_never", y, "RMSE", x=z)
    make("cat_logloss", binary, "Logloss", c)
    make("cat_threshold", binary, "Logloss", c, threshold=0.3)
    make("cat_logloss_bool", binary > 0, "Logloss", c)
    make("cat_logloss_text", np.array(["no", "yes"])[binary], "Logloss", c)
    make("cat_crossentropy", binary.astype(float), "CrossEntropy", c)
    make("cat_multi", classes + 3, "MultiClass", c)
    make("cat_multi_float", classes / 2, "MultiClass", c)
    make("cat_multi_text", np.array(["low", "middle", "high"])[classes], "MultiClassOneVsAll", c)
    make("cat_multilabel", np.stack([binary, classes > 1], 1).astype(int), "MultiLogloss", c)
    make("cat_depthwise", y, "RMSE", grow_policy="Depthwise", depth=4)
    make("cat_lossguide", classes, "MultiClass", c, grow_policy="Lossguide", max_leaves=6)
    r = np.random.RandomState(3)
    words = [[WORDS[r.randint(len(WORDS))], str(r.randint(5))] for _ in range(N)]
    by_word = y + np.array([WORDS.index(w[0]) % 3 + (w[1] == "2") for w in words])
    make("cat_onehot", by_word, "RMSE", words=words, one_hot_max_size=255, iterations=12, depth=4)
    make("cat_onehot_lossguide", by_word, "RMSE", words=words, one_hot_max_size=255, iterations=6, grow_policy="Lossguide", max_leaves=8)
    make("cat_words", by_word, "RMSE", x=np.zeros((N, 0), np.float32), words=words, one_hot_max_size=255, grow_policy="Lossguide", max_leaves=6)
    make("cat_rank", y, "QueryRMSE", cb.CatBoostRanker, fit={"group_id": np.arange(N) // 10})
    half = np.repeat(np.float32([[0.0], [1.0]]), [N - 2, 2], 0) * np.ones((1, F), np.float32)
    make("cat_stumps", y, "RMSE", x=half, min_data_in_leaf=10, grow_policy="Depthwise")
    m = cb.CatBoostRegressor(**BASE).fit([[*map(float, r), *w] for r, w in zip(x, words)], by_word, cat_features=[F, F + 1])
    save("refused_ctr", m)
    words = [[w + "x" * i] for w in WORDS for i in range(5)] * 2
    pool = cb.Pool(words, np.arange(len(words)) % 2, cat_features=[0])
    m = cb.CatBoostClassifier(**BASE, one_hot_max_size=255).fit(pool)
    m.save_model(str(HERE / "hashes.json"), format="json", pool=pool)
    table = json.loads((HERE / "hashes.json").read_text())["features_info"]["cat_features_hash"]
    (HERE / "hashes.json").write_text(json.dumps({e["value"]: e["hash"] for e in table}, indent=0, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
