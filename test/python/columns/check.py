"""Prints what a file holds, by column, and for Parquet the rows of each row group: check.py FILE"""

import json
import sys

import pandas as pd
import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

path = sys.argv[1]
groups = []
if path.endswith(".parquet"):
    f = pq.ParquetFile(path)
    groups = [f.metadata.row_group(i).num_rows for i in range(f.metadata.num_row_groups)]
    t = f.read()
    assert f.metadata.num_rows == t.num_rows
    assert len(pd.read_parquet(path)) == t.num_rows
elif path.endswith(".arrow"):
    f = ipc.open_file(path)
    groups = [f.get_batch(i).num_rows for i in range(f.num_record_batches)]
    t = f.read_all()
    assert len(pd.read_feather(path)) == t.num_rows
else:
    with ipc.open_stream(path) as f:
        t = f.read_all()
t.validate(full=True)


def plain(v):
    if isinstance(v, list):
        return [plain(e) for e in v]
    if isinstance(v, bytes):
        return v.decode("latin1")
    if isinstance(v, int) and not isinstance(v, bool):
        return {"int": str(v)}
    return v


columns = {c: [plain(v) for v in t[c].to_pylist()] for c in t.column_names}
types = {f.name: str(f.type) for f in t.schema}
print(json.dumps({"columns": columns, "types": types, "groups": groups}))
