/* column: the values of one column of a Parquet file, in order, a page at a time, each with its levels.
 *
 *     while ((k = parquet_column_look(c, &err)) > 0)                 // c->rep, c->def
 *         parquet_column_take(c, &bytes, &n, &err);                  // NULL: not there
 */
#ifndef MDM_PARQUET_COLUMN_H
#define MDM_PARQUET_COLUMN_H
#include <stdbool.h>
#include <stdint.h>
#include "parquet/encoding.h"
#include "parquet/meta.h"
#include "parquet/page.h"

struct err;

struct parquet_column { /* zero-initialise; parquet_column_close() */
    const struct input *in;
    const struct parquet_node *node;
    int64_t width;                /* see encoding.h */
    struct parquet_chunk *chunks; /* one a row group */
    int64_t n, next;              /* chunks, the next one */
    int64_t in_chunk, in_page;    /* values still to come, the one looked at included */
    int64_t row;                  /* begun so far */
    bool looked;
    uint32_t rep, def; /* of the value looked at: 0 begins a row; node->def: the value is there */
    struct parquet_pages pages;
    struct parquet_runs reps, defs;
    struct parquet_dictionary dictionary;
    struct parquet_values values;
};

int parquet_column_open(struct parquet_column *c, const struct parquet_meta *m, int64_t node, struct err *err);
int parquet_column_look(struct parquet_column *c,
                        struct err *err); /* 1 and the next value's levels; 0 at the end; -1 */
/* The value looked at, which there must be: its bytes, valid until the next look, or NULL. */
int parquet_column_take(struct parquet_column *c, const char **bytes, int64_t *n, struct err *err);
/* Before the first look and at the end of a row group: pass over the next one. */
void parquet_column_skip_group(struct parquet_column *c);
int parquet_column_wrong(const struct parquet_column *c, const char *what, struct err *err); /* -1 and a message */
void parquet_column_close(struct parquet_column *c);

#endif
