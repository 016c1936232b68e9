/* parquet: the strings of one column of a Parquet file, in order.
 *
 *     struct parquet *p = parquet_open(path, "text", &err);
 *     while ((k = parquet_next(p, &value, &err)) > 0)
 *         if (value.text) use(value.text, value.n);            // valid until the next call
 *     parquet_close(p);
 *
 * Reads the column's bytes and the footer, nothing else, a page at a time. Byte-array columns at any depth, optional
 * and repeated; data pages version 1 and 2; see encoding.h and codec.h for the rest. Other physical
 * types, encrypted files and LZO are errors that say so, as is all that is damaged; page checksums are verified where
 * there are any. */
#ifndef MDM_PARQUET_PARQUET_H
#define MDM_PARQUET_PARQUET_H
#include <stdbool.h>
#include <stdint.h>

struct err;
struct parquet;

struct parquet_value {
    const char *text; /* NULL: null, or an empty list */
    int64_t n;
    int64_t row;    /* 0-based */
    int64_t number; /* of the value, nulls counted; differs from row in repeated columns */
};

/* `column` is a path of names joined by dots, or the beginning of one that only one column of strings continues. */
struct parquet *parquet_open(const char *path, const char *column, struct err *err);
int parquet_next(struct parquet *p, struct parquet_value *value, struct err *err);
/* Pass over whole row groups, as many as there are before value `number`. */
void parquet_skip(struct parquet *p, int64_t number);
bool parquet_repeated(const struct parquet *p); /* may a row have several values? */
int64_t parquet_bytes(const struct parquet *p); /* place in the file, for progress */
void parquet_close(struct parquet *p);          /* NULL is fine */

/* Paths of all columns of strings, joined by newlines: for a caller that must choose. Caller mem_free()s. */
char *parquet_columns(const char *path, struct err *err);

#endif
