"""Measures the libraries' C calls and Serval's engine in turns, on one thread, and prints two Markdown tables.

    python speed.py MODELS SHARED LIBS TREE_TEST ROUNDS    # run.sh calls it; LIBS is libs.c's binary, TREE_TEST engine/tree's

Everything is CPU time, which other work on the machine does not add to. A round measures every side of a model right after
each other; a ratio is the median over the rounds of the ratio within a round, the least and the greatest in brackets, the
times are medians. CatBoost's wheel holds no C interface: it is called from Python, which costs it up to 0.1 ms a call.
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROWS = (1, 512)
SECONDS = "0.5"
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "GOMAXPROCS": "1"}


def run(*argv):
    done = subprocess.run([str(a) for a in argv], env=ENV, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{argv[0]}: {done.stderr or done.stdout}")
    return done.stdout


def library(kind, folder, libs):
    """Nanoseconds a call of the library, by rows."""
    features = json.loads((folder / "meta.json").read_text())["features"]
    if kind == "catboost":
        return catboost(folder, features)
    import importlib.util
    name, file = {"xgboost": ("lib/libxgboost.so", "model.ubj"), "lightgbm": ("lib/lib_lightgbm.so", "model.txt")}[kind]
    path = pathlib.Path(importlib.util.find_spec(kind).origin).parent / name
    lines = dict(line.split() for line in run(libs, kind, path, folder / file, folder / "rows.f32", features, SECONDS).splitlines())
    return {1: float(lines["one"]), 512: float(lines["batch"])}


def catboost(folder, features):
    import catboost as cb
    import numpy as np
    m = cb.CatBoostClassifier()
    m.load_model(str(folder / "model.json"), format="json")
    x = np.fromfile(folder / "rows.f32", np.float32).reshape(-1, features)
    found = {}
    for n in ROWS:
        parts = [np.ascontiguousarray(x[i:i + n]) for i in range(0, 8192, n)]
        start, calls = time.process_time(), 0
        while time.process_time() - start < float(SECONDS):
            m.predict(parts[calls % len(parts)], prediction_type="Probability", thread_count=1)
            calls += 1
        found[n] = (time.process_time() - start) / calls * 1e9
    return found


def serval(folder, test):
    found = {}
    for line in run(test, "-test.run", "^$", "-test.bench", "BenchmarkRealModels", "-test.benchtime", SECONDS + "s", "-trees", folder).splitlines():
        words = line.split()
        if "cpu-ns/call" in words:
            found[int(words[0].split("/")[2].split("-")[0])] = float(words[words.index("cpu-ns/call") - 1])
    return found


def median(values):
    return statistics.median(values)


def micro(values):
    return f"{median(values) / 1e3:,.1f}"


def ratio(theirs, ours):
    q = [a / b for a, b in zip(theirs, ours)]
    return f"**{median(q):.2f}×** ({min(q):.2f} to {max(q):.2f})"


def main():
    models, shared, libs, test = map(pathlib.Path, sys.argv[1:5])
    rounds = int(sys.argv[5])
    own = {d.name: d for d in sorted(models.iterdir()) if (d / "meta.json").exists() and "catboost" not in d.name}
    same = {d.name: {k.name: k for k in sorted(d.iterdir())} for d in sorted(shared.iterdir())}
    times = {}  # of (table, model, side, kind, rows): one a round

    def note(key, found):
        for n, ns in found.items():
            times.setdefault((*key, n), []).append(ns)

    for i in range(rounds):
        print(f"round {i + 1} of {rounds}", file=sys.stderr, flush=True)
        for name, d in own.items():
            kind = "xgboost" if "xgboost" in name else "lightgbm"
            note(("own", name, "library", kind), library(kind, d, libs))
            note(("own", name, "serval", kind), serval(d, test))
        for name, kinds in same.items():
            for kind, d in kinds.items():
                note(("same", name, "library", kind), library(kind, d, libs))
            for kind, d in kinds.items():
                note(("same", name, "serval", kind), serval(d, test))

    print("Each model by its own library (C calls), µs of CPU a call:\n")
    print("| model | trees, nodes | one row: library | serval | | 512 rows: library | serval | |\n| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, d in own.items():
        meta = json.loads((d / "meta.json").read_text())
        kind = "xgboost" if "xgboost" in name else "lightgbm"
        row = [name, f"{meta['trees']:,}, {meta['nodes']:,}"]
        for n in ROWS:
            a, b = (times["own", name, side, kind, n] for side in ("library", "serval"))
            row += [micro(a), micro(b), ratio(a, b)]
        print("| " + " | ".join(row) + " |")

    print("\nThe same trees in the words of each library, µs of CPU a call. The ratio is the time of the faster of XGBoost and LightGBM to"
          "\nServal's; for CatBoost's file, that of the fastest of all three (no other file says that trees are symmetric):\n")
    kinds = ["xgboost", "lightgbm", "catboost"]
    print("| trees of | rows | " + " | ".join(["XGBoost", "LightGBM", "CatBoost (Python)"] + [f"serval from {k}'s file | " for k in ("XGBoost", "LightGBM", "CatBoost")]) + " |")
    print("| " + " | ".join(["---"] * 11) + " |")
    for name in same:
        for n in ROWS:
            theirs = {k: times[key] for k in kinds if (key := ("same", name, "library", k, n)) in times}
            row = [name, str(n)] + [micro(theirs[k]) if k in theirs else "" for k in kinds]
            for k in kinds:
                ours = times.get(("same", name, "serval", k, n))
                rivals = [v for r, v in theirs.items() if k == "catboost" or r != "catboost"]
                row += [micro(ours), ratio([min(v) for v in zip(*rivals)], ours)] if ours else ["", ""]
            print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
