/* meta: the footer of a Parquet file: which columns there are, and where one of them lies.
 *
 *     parquet_meta_read(&meta, &input, &err);
 *     int leaf = parquet_meta_find(&meta, "text", &err);
 *     parquet_meta_chunks(&meta, leaf, &chunks, &n, &err);
 *
 * The footer's bytes are kept (at most PARQUET_FOOTER_MAX); the rest is small. */
#ifndef MDM_PARQUET_META_H
#define MDM_PARQUET_META_H
#include <stdint.h>
#include "base/input.h"

struct err;

enum { PARQUET_FOOTER_MAX = 256 << 20 };
enum parquet_type {
    PARQUET_BOOLEAN,
    PARQUET_INT32,
    PARQUET_INT64,
    PARQUET_INT96,
    PARQUET_FLOAT,
    PARQUET_DOUBLE,
    PARQUET_BYTE_ARRAY,
    PARQUET_FIXED_BYTES,
    PARQUET_TYPES
};

struct parquet_leaf { /* a column that has values */
    char *path;       /* names from the root down, joined by dots */
    enum parquet_type type;
    int max_def, max_rep; /* levels: how many optional or repeated, how many repeated ancestors (itself included) */
};
struct parquet_meta {
    const struct input *in;
    unsigned char *footer;
    int64_t footer_size, data_end; /* data_end: where the footer begins */
    struct parquet_leaf *leaves;
    int64_t n, capacity;
    int64_t rows;
};
struct parquet_chunk {  /* a column's part of one row group */
    int64_t begin, end; /* in the file */
    int64_t values;     /* nulls and empty lists counted */
    int codec;
};

int parquet_meta_read(struct parquet_meta *m, const struct input *in, struct err *err);
/* The column of byte strings that a name means: its path, or the only such column below it. -1 with err. */
int64_t parquet_meta_find(const struct parquet_meta *m, const char *name, struct err *err);
/* One chunk per row group, checked to lie in the file. Caller mem_free()s. */
int parquet_meta_chunks(const struct parquet_meta *m, int64_t leaf, struct parquet_chunk **chunks, int64_t *n,
                        struct err *err);
void parquet_meta_free(struct parquet_meta *m);

#endif
