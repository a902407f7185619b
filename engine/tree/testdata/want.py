"""Writes what a library answers for a fixture, as NAME.want: JSON with arrays of raw little-endian bytes in base64."""
import base64
import json
import pathlib

import numpy as np

HERE = pathlib.Path(__file__).parent


def pack(a):
    a = np.ascontiguousarray(a)
    if a.dtype == bool:
        a = a.astype(np.uint8)
    if a.ndim == 1:
        a = a.reshape(-1, 1)
    return {"dtype": a.dtype.str[1:], "columns": a.shape[1], "data": base64.b64encode(a.tobytes()).decode()}


def write(name, x, categories=None, options=None, text=None, model=None, **outputs):
    """x: the rows; model: the fixture whose model it is, if not name; categories: rows of strings; options: of model.yaml; outputs: what each kind of output holds."""
    want = {"rows": len(x), "x": pack(x), "outputs": {k: pack(np.asarray(v).reshape(len(x), -1)) for k, v in outputs.items()}}
    if categories is not None:
        want["categories"] = [list(map(str, row)) for row in categories]
    if model:
        want["model"] = model
    if options:
        want["options"] = options
    if text is not None:
        want["labels"] = [str(t) for t in np.asarray(text).reshape(-1)]
    (HERE / f"{name}.want").write_text(json.dumps(want, separators=(",", ":")) + "\n")


def rows(n, features, seed, categorical=(), categories=6):
    """Rows with missing, infinite, tiny and negative zero values; whole numbers, some unknown, in the categorical columns."""
    r = np.random.RandomState(seed)
    x = r.randn(n, features).astype(np.float32)
    for c in range(features):
        if c in categorical:
            x[:, c] = r.randint(0, categories, n)
        elif c % 3 == 1:
            x[:, c] = np.round(x[:, c] * 2)  # many zeros
    x[r.rand(n, features) < 0.12] = np.nan
    return x


def edges(x, categorical=()):
    """The same rows for prediction, with values that training never saw."""
    x = x.copy()
    special = [np.inf, -np.inf, -0.0, 0.0, 1e-36, -1e-36, 1e-44, 3.4e38, -3.4e38]
    unknown = [-1.0, 99.0, 2.7, -0.5, 1e9, 16777216.0, 3e9, 1000.0]
    for i, row in enumerate(x):
        for c in range(x.shape[1]):
            if (i * 7 + c * 3) % 5 == 0:
                values = unknown if c in categorical else special
                row[c] = values[(i + c) % len(values)]
    return x
