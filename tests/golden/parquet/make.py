#!/usr/bin/env python3
"""Wrote the Parquet files of this folder and of tests/fuzz/corpus/parquet, from made-up rows that test_parquet.c knows too
(text_of). Needs pyarrow; nothing else here does.

    cd tests/golden/parquet && python3 make.py"""
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

few, few_nested = flat.slice(0, 9), nested.slice(0, 9)
write(FUZZ + "plain", few, compression="none", **encoded("PLAIN"))
write(FUZZ + "dict_v2", few, compression="snappy", **V2)
write(FUZZ + "lengths", few, compression="none", **encoded("DELTA_LENGTH_BYTE_ARRAY"))
write(FUZZ + "front", few, compression="none", **V2, **encoded("DELTA_BYTE_ARRAY"))
write(FUZZ + "nested", few_nested.select(["list", "deep"]), compression="none")
for codec in ["zstd", "gzip", "brotli", "lz4"]:
    write(FUZZ + codec, few.select(["text"]), compression=codec)
