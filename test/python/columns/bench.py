"""Makes a table of 5,000,000 rows (make FILE), or reads it as float32 with pyarrow and prints rows a second (read FILE THREADS)."""

import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 5_000_000


def make(path):
    rng = np.random.default_rng(1)
    t = {f"f{i}": rng.normal(size=ROWS) for i in range(4)}
    t |= {f"s{i}": rng.normal(size=ROWS).astype(np.float32) for i in range(2)}
    t |= {f"n{i}": rng.integers(0, 10_000, ROWS) for i in range(3)}
    t["few"] = rng.choice([0.5, 1.5, 2.5, np.nan], ROWS)
    pq.write_table(pa.table(t), path, compression="zstd" if "zstd" in path else "snappy")


def read(path, threads):
    pa.set_cpu_count(threads)
    pa.set_io_thread_count(threads)
    for _ in range(3):
        start, rows, total = time.perf_counter(), 0, 0.0
        for batch in pq.ParquetFile(path).iter_batches(batch_size=8192, use_threads=threads > 1):
            columns = [c.cast(pa.float32(), safe=False) for c in batch.columns]
            rows += batch.num_rows
            total += columns[0][0].as_py()
        print(f"{path.rsplit('/')[-1]}: pyarrow, {threads} threads: {rows / (time.perf_counter() - start) / 1e6:.2f} M rows/s")


if sys.argv[1] == "make":
    make(sys.argv[2])
else:
    read(sys.argv[2], int(sys.argv[3]))
