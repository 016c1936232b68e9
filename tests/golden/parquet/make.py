#!/usr/bin/env python3
"""Wrote the Parquet files of this folder and of tests/fuzz/corpus/parquet, from made-up rows that test_parquet.c knows too
(text_of), and types.jsonl: what pyarrow reads in the types_* files. Needs pyarrow; nothing else here does.

    cd tests/golden/parquet && python3 make.py"""
import datetime
import decimal
import json

import pyarrow as pa
import pyarrow.parquet as pq

FUZZ = "../../fuzz/corpus/parquet/"
ROWS = 60


def text(i):
    if i % 5 == 3:
        return None
    if i % 11 == 10:
        return ""
    return f"row {i} says " + f"word{i % 4} " * (i % 7)


def write(name, table, **options):
    settings = dict(row_group_size=40, data_page_size=200, write_batch_size=8)
    settings.update(write_statistics=False, store_schema=False, **options)
    pq.write_table(table, name + ".parquet", **settings)


def encoded(name):
    return dict(use_dictionary=False, column_encoding=dict.fromkeys(["text", "kind", "required"], name))


V2 = dict(data_page_version="2.0")
flat = pa.table(
    {
        "n": range(ROWS),
        "text": [text(i) for i in range(ROWS)],
        "kind": ["web" if i % 3 else "code" for i in range(ROWS)],
        "required": [text(i) or "none" for i in range(ROWS)],
    },
    schema=pa.schema(
        [
            ("n", pa.int32()),
            ("text", pa.string()),
            ("kind", pa.string()),
            pa.field("required", pa.string(), nullable=False),
        ]
    ),
)
# Row i: i % 4 texts from text(i) on, every seventh null; text(i) two structs deep; i % 3 entries k0, k1.
nested = pa.table(
    {
        "list": pa.array(
            [None if i % 7 == 6 else [text(i + j) for j in range(i % 4)] for i in range(ROWS)], pa.list_(pa.string())
        ),
        "deep": pa.array(
            [None if i % 9 == 8 else {"a": {"b": text(i)}} for i in range(ROWS)],
            pa.struct([("a", pa.struct([("b", pa.string())]))]),
        ),
        "map": pa.array(
            [[(f"k{j}", text(i * j)) for j in range(i % 3)] for i in range(ROWS)], pa.map_(pa.string(), pa.string())
        ),
    }
)

write("plain_v1_none", flat, compression="none", **encoded("PLAIN"))
write("dict_v1_snappy_crc", flat, compression="snappy", write_page_checksum=True)
write("dict_v2_zstd", flat, compression="zstd", **V2)
write("lengths_v2_gzip", flat, compression="gzip", **V2, **encoded("DELTA_LENGTH_BYTE_ARRAY"))
write("front_v1_brotli", flat, compression="brotli", **encoded("DELTA_BYTE_ARRAY"))
write("front_v2_lz4_crc", flat, compression="lz4", write_page_checksum=True, **V2, **encoded("DELTA_BYTE_ARRAY"))
write("nested_v1_snappy", nested, compression="snappy")
write("nested_v2_none", nested, compression="none", **V2)

# Numbers that JSON cannot hold, between what can be learned from, and a column that a test damages.
unheld = pa.table(
    {
        "prompt": ["one", "two", "three"],
        "f64": [float("nan"), 1.5, float("inf")],
        "f32": pa.array([2.5, float("-inf"), float("nan")], pa.float32()),
        "u64": pa.array([2**63, 2**63 - 1, 2**64 - 1], pa.uint64()),
        "other": ["elsewhere 0", "elsewhere 1", "elsewhere 2"],
        "completion": [" a", " b", " c"],
    }
)
write("unheld", unheld, compression="none", use_dictionary=False, write_page_checksum=True)

few, few_nested = flat.slice(0, 9), nested.slice(0, 9)
write(FUZZ + "plain", few, compression="none", **encoded("PLAIN"))
write(FUZZ + "dict_v2", few, compression="snappy", **V2)
write(FUZZ + "lengths", few, compression="none", **encoded("DELTA_LENGTH_BYTE_ARRAY"))
write(FUZZ + "front", few, compression="none", **V2, **encoded("DELTA_BYTE_ARRAY"))
write(FUZZ + "nested", few_nested.select(["list", "deep"]), compression="none")
for codec in ["zstd", "gzip", "brotli", "lz4"]:
    write(FUZZ + codec, few.select(["text"]), compression=codec)


# Every physical type, required and with nulls, flat and in lists, structs and maps: row i of a column is made from i.
def unless(i, every, value):
    return None if i % every == every - 1 else value


COLUMNS = {
    "yes": (pa.bool_(), lambda i: i % 3 == 0),
    "maybe": (pa.bool_(), lambda i: unless(i, 4, i % 2 == 0)),
    "i8": (pa.int8(), lambda i: unless(i, 5, i - 20)),
    "u8": (pa.uint8(), lambda i: 255 - i),
    "i32": (pa.int32(), lambda i: unless(i, 6, -(2**31) if i == 31 else (-1) ** i * 2 ** (i % 31))),
    "u32": (pa.uint32(), lambda i: 2**32 - 1 - i),
    "i64": (pa.int64(), lambda i: unless(i, 7, -(2**63) if i == 31 else (-1) ** i * 3 ** (i % 39))),
    "u64": (pa.uint64(), lambda i: 2**63 - 1 - i),
    "f16": (pa.float16(), lambda i: unless(i, 9, (i - 20) / 8)),
    "f32": (pa.float32(), lambda i: unless(i, 5, (i - 20) / 16)),
    "f64": (pa.float64(), lambda i: unless(i, 8, (i - 20) / 7)),
    "text": (pa.string(), lambda i: text(i)),
    "bytes": (pa.binary(), lambda i: unless(i, 3, bytes([65 + i % 26]) * (i % 4))),
    "fixed": (pa.binary(5), lambda i: unless(i, 4, b"%05d" % (i // 3))),
    "cents": (pa.decimal128(9, 2), lambda i: unless(i, 5, decimal.Decimal(i - 20) / 4)),
    "large": (pa.decimal128(30, 3), lambda i: decimal.Decimal(i - 20) * 10**9 / 8),
    "date": (pa.date32(), lambda i: unless(i, 7, datetime.date(1969, 12, 20) + datetime.timedelta(i))),
    "time": (pa.timestamp("us"), lambda i: datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=10**i % 10**12)),
    "list": (pa.list_(pa.int64()), lambda i: unless(i, 5, [unless(i + j, 4, j) for j in range(i % 4)])),
    "deep": (
        pa.list_(pa.list_(pa.string())),
        lambda i: unless(i, 6, [unless(j, 3, [text(i + k) for k in range(j)]) for j in range(i % 5)]),
    ),
    "struct": (
        pa.struct([("a", pa.int32()), ("b", pa.struct([("c", pa.string())]))]),
        lambda i: unless(i, 4, {"a": unless(i, 3, i), "b": unless(i, 5, {"c": text(i)})}),
    ),
    "choices": (
        pa.struct([("text", pa.list_(pa.string())), ("label", pa.list_(pa.string()))]),
        lambda i: {"text": [f"choice {i}.{j}" for j in range(i % 6)], "label": [chr(65 + j) for j in range(i % 6)]},
    ),
    "turns": (
        pa.list_(pa.struct([("role", pa.string()), ("said", pa.list_(pa.string()))])),
        lambda i: [unless(i + j, 7, {"role": unless(j, 3, "user"), "said": [text(j)] * (j % 3)}) for j in range(i % 4)],
    ),
    "map": (pa.map_(pa.string(), pa.float64()), lambda i: unless(i, 5, [(f"k{j}", unless(j, 2, j / 2)) for j in range(i % 4)])),
    "none": (pa.null(), lambda i: None),
}
REQUIRED = ["yes", "u8", "u32"]
types = pa.table(
    {name: pa.array([value(i) for i in range(ROWS)], kind) for name, (kind, value) in COLUMNS.items()},
    schema=pa.schema([pa.field(name, kind, nullable=name not in REQUIRED) for name, (kind, _) in COLUMNS.items()]),
)
DELTA = dict(i32="DELTA_BINARY_PACKED", i64="DELTA_BINARY_PACKED", u8="DELTA_BINARY_PACKED", u64="DELTA_BINARY_PACKED")
DELTA |= dict(text="DELTA_BYTE_ARRAY", bytes="DELTA_LENGTH_BYTE_ARRAY", fixed="DELTA_BYTE_ARRAY", yes="RLE", maybe="RLE")
DELTA |= dict(f32="BYTE_STREAM_SPLIT", f64="BYTE_STREAM_SPLIT", f16="BYTE_STREAM_SPLIT", u32="BYTE_STREAM_SPLIT")
DELTA |= {"list.list.element": "DELTA_BINARY_PACKED", "deep.list.element.list.element": "DELTA_BYTE_ARRAY"}


def as_json(v):
    """The value as docs/formats.md says that a row has it."""
    if isinstance(v, bytes):
        return v.decode()
    if isinstance(v, decimal.Decimal):
        return float(v)
    if isinstance(v, datetime.datetime):
        return (v - datetime.datetime(1970, 1, 1)) // datetime.timedelta(microseconds=1)
    if isinstance(v, datetime.date):
        return (v - datetime.date(1970, 1, 1)).days
    if isinstance(v, dict):
        return {key: as_json(e) for key, e in v.items()}
    if isinstance(v, list):
        return [dict(key=e[0], value=e[1]) if isinstance(e, tuple) else as_json(e) for e in v]
    return v


write("types_plain_v1_snappy", types, compression="snappy", use_dictionary=False)
write("types_dict_v2_zstd", types, compression="zstd", **V2)
write("types_delta_v2_none", types, compression="none", use_dictionary=False, column_encoding=DELTA, **V2)
read = [pq.read_table(f"types_{name}.parquet").to_pylist() for name in ["plain_v1_snappy", "dict_v2_zstd", "delta_v2_none"]]
assert read[0] == read[1] == read[2]
with open("types.jsonl", "w") as f:
    for row in read[0]:
        f.write(json.dumps(as_json(row)) + "\n")
some = types.slice(0, 7)
write(FUZZ + "types_dict", some.select(["maybe", "i32", "f64", "fixed", "choices", "turns"]), compression="none")
write(FUZZ + "types_delta", some.select(["yes", "i64", "f32", "f16", "fixed", "cents", "deep"]), compression="none",
      use_dictionary=False, column_encoding={k: v for k, v in DELTA.items() if k.split(".")[0] in
                                             ["yes", "i64", "f32", "f16", "fixed", "deep"]}, **V2)
