/* meta: the footer of a Parquet file: which columns there are, and where one of them lies.
 *
 *     parquet_meta_read(&meta, &input, &err);
 *     parquet_meta_chunks(&meta, node, &chunks, &n, &err);
 *
 * The footer's bytes are kept (at most PARQUET_FOOTER_MAX); the rest is small. */
#ifndef MDM_PARQUET_META_H
#define MDM_PARQUET_META_H
#include <stdint.h>
#include "base/input.h"
#include "parquet/schema.h"

struct err;

enum { PARQUET_FOOTER_MAX = 256 << 20 };

struct parquet_meta {
    const struct input *in;
    unsigned char *footer;
    int64_t footer_size, data_end; /* data_end: where the footer begins */
    struct parquet_schema schema;
    int64_t rows;
};
struct parquet_chunk {  /* a column's part of one row group */
    int64_t begin, end; /* in the file */
    int64_t values;     /* nulls and empty lists counted */
    int64_t rows;
    int codec;
};

int parquet_meta_read(struct parquet_meta *m, const struct input *in, struct err *err);
/* One chunk of the column at a node per row group, checked to lie in the file. Caller mem_free()s. */
int parquet_meta_chunks(const struct parquet_meta *m, int64_t node, struct parquet_chunk **chunks, int64_t *n,
                        struct err *err);
void parquet_meta_free(struct parquet_meta *m);

#endif
