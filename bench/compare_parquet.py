#!/usr/bin/env python3
"""Compares the Parquet reader with pyarrow, which nothing else here needs: every column of strings of every file.

    make build/bench/parquet_dump && python3 bench/compare_parquet.py build/bench/parquet_dump DIR_OR_FILE...
    python3 bench/compare_parquet.py build/bench/parquet_dump --time TEXT...

The first prints what became of each file, then a line per column that differs or that only one of the two can read; the last line counts
them. The second writes the texts (documents of some 4000 characters, beside three other columns, as FineWeb has them) with each codec and
encoding and times the reading of the text column by both, one thread each and pyarrow with two as well."""
import glob
import os
import struct
import subprocess
import sys
import tempfile
import time

import pyarrow as pa
import pyarrow.parquet as pq


def run(dump, *args):
    p = subprocess.run([dump, *args], capture_output=True)
    return p.returncode, p.stdout, p.stderr.decode(errors="replace").strip()


def ours(dump, path, column):
    code, out, err = run(dump, path, column)
    if code:
        return None, err
    values, at = [], 0
    while at < len(out):
        if out[at] == 0:
            values.append(None)
            at += 1
        else:
            n = struct.unpack_from("<I", out, at + 1)[0]
            values.append(out[at + 5:at + 5 + n])
            at += 5 + n
    return values, None


def pick(value, names):
    """All leaves that a dotted path reaches in a value as to_pylist() gives it."""
    if value is None:
        return []
    if isinstance(value, list):
        return [x for v in value for x in pick(v, names)]
    if isinstance(value, tuple):  # a map's entry
        return pick(value[0 if names[0] == "key" else 1], names[1:])
    if isinstance(value, dict):
        return pick(value[names[0]], names[1:]) if names[0] in value else []
    return [value.encode() if isinstance(value, str) else value]


def inner_names(t, rest):
    """The names by which pick() goes down a type; those of the inner groups of lists and maps are not among them."""
    def has(struct, name):
        return pa.types.is_struct(struct) and struct.get_field_index(name) >= 0

    names = []
    while rest:
        if has(t, rest[0]):
            names.append(rest[0])
            t, rest = t.field(rest[0]).type, rest[1:]
        elif pa.types.is_map(t):
            names.append(rest[1])
            t, rest = (t.key_type if rest[1] == "key" else t.item_type), rest[2:]
        elif pa.types.is_list(t):
            t = t.value_type
            rest = rest if has(t, rest[0]) else rest[1:] if has(t, rest[1] if len(rest) > 1 else "") else rest[2:]
        else:
            rest = rest[1:]
    return names + [None]


def texts(path):
    """The columns of strings: path, and whether each row has one value. pyarrow makes numbers of decimals."""
    schema = pq.ParquetFile(path).schema
    columns = [schema.column(i) for i in range(len(schema))]
    return [(c.path, c.max_repetition_level == 0 and "." not in c.path) for c in columns
            if c.physical_type == "BYTE_ARRAY" and "Decimal" not in str(c.logical_type) and "DECIMAL" not in str(c.converted_type)]


def theirs(path, column, flat):
    try:
        table = pq.ParquetFile(path, page_checksum_verification=True).read()
    except Exception as e:
        return None, str(e)
    names = column.split(".")
    if flat:
        return [v.encode() if isinstance(v, str) else v for v in table.column(column).to_pylist()], None
    top, *rest = column.split(".")
    names = inner_names(table.schema.field(top).type, rest)
    return [x for row in table.column(top).to_pylist() for x in pick(row, names)], None


def time_both(dump, paths):
    documents = []
    for path in paths:
        with open(path, encoding="utf-8", errors="replace") as f:
            text = f.read()
        documents += [text[i:i + 4000] for i in range(0, len(text), 4000)]
    megabytes = sum(len(d.encode()) for d in documents) / 1e6
    table = pa.table({"text": documents, "id": [f"<urn:uuid:{i:032x}>" for i in range(len(documents))],
                      "url": [f"https://example.org/{i * 7919 % 100003}" for i in range(len(documents))],
                      "score": [i % 97 / 97 for i in range(len(documents))]})
    print(f"{len(documents)} documents, {megabytes:.1f} MB of text; MB/s of text, best of 5")

    def best(read):
        times = []
        for _ in range(5):
            start = time.perf_counter()
            read()
            times.append(time.perf_counter() - start)
        return megabytes / min(times)

    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "t.parquet")
        for codec in ("none", "snappy", "gzip", "zstd", "lz4", "brotli"):
            for encoding in ("PLAIN", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY") if codec in ("none", "zstd") else ("PLAIN",):
                pq.write_table(table, path, compression=codec, row_group_size=5000, use_dictionary=False,
                               column_encoding={"text": encoding, "id": "PLAIN", "url": "PLAIN", "score": "PLAIN"})
                pa.set_cpu_count(1)

                def stream(threads):
                    for batch in pq.ParquetFile(path).iter_batches(5000, columns=["text"], use_threads=threads):
                        batch.column(0)
                one = best(lambda: stream(False))
                pa.set_cpu_count(2)
                two = best(lambda: pq.read_table(path, columns=["text"], use_threads=True))
                ours = best(lambda: run(dump, "--time", path, "text"))
                print(f"{codec:7} {encoding:24} mdm {ours:6.0f}   pyarrow {one:6.0f}, whole table with two threads {two:6.0f}   "
                      f"ratio {ours / one:.2f}")


def main():
    dump, same, differ, neither, more = sys.argv[1], 0, 0, 0, 0
    if sys.argv[2] == "--time":
        return time_both(dump, sys.argv[3:])
    files = []
    for a in sys.argv[2:]:
        files += sorted(glob.glob(os.path.join(a, "**", "*.parquet"), recursive=True)) if os.path.isdir(a) else [a]
    for path in files:
        name = os.path.basename(path)
        try:
            columns = texts(path)
        except Exception as e:
            code, _, err = run(dump, path, "*")  # no column is called so: the message lists them when the file can be opened
            print(f"{name}: pyarrow cannot open it ({str(e)[:100]}); ours: {err}")
            neither += 1
            continue
        before = same
        for column, flat in columns:
            a, problem_a = ours(dump, path, column)
            b, problem_b = theirs(path, column, flat)
            if a is not None and b is not None and not flat:
                a, b = [x for x in a if x is not None], [x for x in b if x is not None]
            if a is not None and b is not None and a == b:
                same += 1
            elif a is None and b is None:
                neither += 1
                print(f"{name} {column}: neither reads it\n    ours: {problem_a}\n    pyarrow: {problem_b[:150]}")
            elif b is None:
                more += 1
                print(f"{name} {column}: pyarrow does not read it ({problem_b[:100]}); ours: {a[:6]}")
            else:
                differ += 1
                print(f"{name} {column}: DIFFERS: {problem_a or len(a)} against {len(b)}")
        print(f"{name}: {same - before} of {len(columns)} columns of strings compared and the same")
    print(f"{same} columns the same, {differ} different, {more} read by ours alone, {neither} by neither")
    return differ > 0


if __name__ == "__main__":
    sys.exit(main())
