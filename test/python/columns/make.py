"""Writes tables as Parquet or Arrow files, in many ways, and what they hold as expected.json, for the tests of batch/parquet
and batch/arrow: make.py parquet|arrow FOLDER"""

import datetime as dt
import decimal
import json
import pathlib
import random
import sys

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

ROWS = 3000
rng = random.Random(7)


def holes(values, share=0.1):
    return [None if rng.random() < share else v for v in values]


def table():
    n = range(ROWS)
    whole = lambda bits, low: [rng.randrange(low, low + (1 << bits)) for _ in n]
    word = lambda: "".join(rng.choice("abcdé🙂\n\"\\ ") for _ in range(rng.randrange(0, 12)))
    day = dt.date(1970, 1, 1)
    moment = dt.datetime(1969, 12, 30, 1, 2, 3)
    dec = lambda digits, scale: [decimal.Decimal(rng.randrange(-(10**digits), 10**digits)).scaleb(-scale, decimal.Context(prec=60)) for _ in n]
    return pa.table(
        {
            "i8": pa.array(holes(whole(8, -128)), pa.int8()),
            "i16": pa.array(whole(16, -(1 << 15)), pa.int16()),
            "i32": pa.array(holes(whole(32, -(1 << 31))), pa.int32()),
            "i64": pa.array(whole(64, -(1 << 63)), pa.int64()),
            "steps": pa.array([1000 + 3 * i for i in n], pa.int64()),
            "u8": pa.array(whole(8, 0), pa.uint8()),
            "u16": pa.array(holes(whole(16, 0)), pa.uint16()),
            "u32": pa.array(whole(32, 0), pa.uint32()),
            "u64": pa.array(holes(whole(64, 0)), pa.uint64()),
            "f16": pa.array([rng.randrange(-64, 64) / 8 for _ in n], pa.float16()),
            "f32": pa.array(holes([rng.randrange(-(1 << 20), 1 << 20) / 64 for _ in n]), pa.float32()),
            "f64": pa.array([rng.gauss(0, 1e6) for _ in n], pa.float64()),
            "flag": pa.array(holes([rng.random() < 0.3 for _ in n]), pa.bool_()),
            "text": pa.array(holes([word() for _ in n]), pa.string()),
            "large": pa.array([word() for _ in n], pa.large_string()),
            "bytes": pa.array([word().encode() for _ in n], pa.binary()),
            "fixed": pa.array([word().encode()[:5].decode("utf8", "ignore").encode().ljust(5, b"_") for _ in n], pa.binary(5)),
            "kind": pa.array(holes([rng.choice(["red", "green", "blue"]) for _ in n])).dictionary_encode(),
            "day": pa.array(holes([day + dt.timedelta(days=rng.randrange(-40000, 40000)) for _ in n]), pa.date32()),
            "ms": pa.array([moment + dt.timedelta(milliseconds=rng.randrange(10**12)) for _ in n], pa.timestamp("ms")),
            "us": pa.array(holes([moment + dt.timedelta(microseconds=rng.randrange(10**15)) for _ in n]), pa.timestamp("us", "UTC")),
            "time": pa.array([(dt.datetime.min + dt.timedelta(microseconds=rng.randrange(86400 * 10**6))).time() for _ in n], pa.time64("us")),
            "money": pa.array(holes(dec(7, 2)), pa.decimal128(7, 2)),
            "more": pa.array(dec(17, 4), pa.decimal128(17, 4)),
            "most": pa.array(dec(37, 10), pa.decimal128(37, 10)),
            "point": pa.array([{"x": rng.random(), "y": {"z": i}} for i in n], pa.struct([("x", pa.float64()), ("y", pa.struct([("z", pa.int64())]))])),
            "list": pa.array(holes([holes([rng.random() for _ in range(rng.randrange(5))]) for _ in n]), pa.list_(pa.float64())),
            "words": pa.array([[word() for _ in range(rng.randrange(4))] for _ in n], pa.list_(pa.string())),
            "vector": pa.array([[rng.randrange(100) / 4 for _ in range(6)] for _ in n], pa.list_(pa.float32(), 6)),
            "nothing": pa.array([None] * ROWS, pa.int32()),
        }
    )


def plain(v):
    if isinstance(v, dict):
        raise TypeError
    if isinstance(v, list):
        return [plain(e) for e in v]
    if isinstance(v, dt.datetime):
        text = v.replace(tzinfo=None).isoformat()
        return (text.rstrip("0") if "." in text else text) + ("Z" if v.tzinfo else "")
    if isinstance(v, dt.time):
        text = v.isoformat()
        return text.rstrip("0") if "." in text else text
    if isinstance(v, dt.date):
        return v.isoformat()
    if isinstance(v, decimal.Decimal):
        return format(v, "f")
    if isinstance(v, bytes):
        return v.decode()
    if isinstance(v, int) and not isinstance(v, bool):
        return {"int": str(v)}
    return v


def flat(t):
    while any(pa.types.is_struct(f.type) for f in t.schema):
        t = t.flatten()
    return t


def parquet(folder, t):
    n = 0

    def write(name, **options):
        pq.write_table(t, folder / f"{name}.parquet", **options)

    for codec in ["none", "snappy", "gzip", "zstd", "lz4"]:
        write(codec, compression=codec, data_page_size=20000, row_group_size=1700)
    write("v2", data_page_version="2.0", compression="zstd", row_group_size=900, data_page_size=4000)
    write("v2_none", data_page_version="2.0", compression="none", data_page_size=1000, use_dictionary=False)
    write("old", version="1.0", use_deprecated_int96_timestamps=True)
    write("plain", use_dictionary=False, data_page_size=500, write_page_checksum=True)
    delta = {c: "DELTA_BINARY_PACKED" for c in ["i8", "i32", "i64", "steps", "u64", "day", "ms"]}
    delta |= {c: "BYTE_STREAM_SPLIT" for c in ["f32", "f64", "f16", "fixed", "list.list.element"]}
    delta |= {"text": "DELTA_BYTE_ARRAY", "large": "DELTA_LENGTH_BYTE_ARRAY", "bytes": "DELTA_BYTE_ARRAY", "flag": "RLE", "i16": "BYTE_STREAM_SPLIT"}
    write("encodings", use_dictionary=False, column_encoding=delta, data_page_size=3000)
    write("small", row_group_size=11)


def arrow(folder, t):
    for codec in [None, "lz4", "zstd"]:
        options = ipc.IpcWriteOptions(compression=codec)
        with ipc.new_file(folder / f"file_{codec}.arrow", t.schema, options=options) as w:
            w.write_table(t, max_chunksize=1100)
        with ipc.new_stream(folder / f"stream_{codec}.arrows", t.schema, options=options) as w:
            w.write_table(t, max_chunksize=700)
    feather.write_feather(t, folder / "feather.feather", compression="lz4")
    with ipc.new_file(folder / "sliced.arrow", t.schema) as w:
        for at in range(0, ROWS, 13):
            w.write_table(t.slice(at, 13))
    # A dictionary that changes from batch to batch, and one that grows.
    parts = [["a", "b"], ["b", "c", None], ["d"], ["a", "d", "e"]]
    want = [v for p in parts for v in p]
    schema = pa.schema([("k", pa.dictionary(pa.int8(), pa.string()))])
    with ipc.new_stream(folder / "replaced.arrows", schema) as w:
        for p in parts:
            w.write_batch(pa.record_batch([pa.array(p).dictionary_encode().cast(schema.field(0).type)], schema=schema))
    grown = []
    with ipc.new_file(folder / "delta.arrow", schema, options=ipc.IpcWriteOptions(emit_dictionary_deltas=True)) as w:
        for p in parts:
            grown += [v for v in p if v is not None and v not in grown]
            index = pa.array([None if v is None else grown.index(v) for v in p], pa.int8())
            w.write_batch(pa.record_batch([pa.DictionaryArray.from_arrays(index, pa.array(grown))], schema=schema))
    (folder / "dictionaries.json").write_text(json.dumps(want))


def main():
    kind, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    t = table()
    f = flat(t)
    (folder / "expected.json").write_text(json.dumps({c: [plain(v) for v in f[c].to_pylist()] for c in f.column_names}))
    {"parquet": parquet, "arrow": arrow}[kind](folder, t)


main()
