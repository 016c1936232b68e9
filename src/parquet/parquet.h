/* parquet: the rows of a Parquet file, in order, as JSON objects.
 *
 *     struct parquet *p = parquet_open(path, &err);
 *     parquet_want(p, "text", false, NULL, &err);                          // columns; none named: all
 *     while ((k = parquet_next(p, &row, &err)) > 0) { …; json_decref(row); }
 *     parquet_close(p);
 *
 * Reads the wanted columns' bytes and the footer, nothing else, a page of each at a time. Structs are objects, lists are
 * arrays, maps arrays of objects with key and value; what is not there is null. Booleans, integers (also dates and
 * times, as they are stored; INT96 as nanoseconds since 1970) and reals are what they say, decimals are reals, byte
 * strings are strings, byte for byte. A number that JSON cannot hold (NaN, infinities, 2^63 and more) is null.
 * Columns at any depth, optional and repeated; data pages version 1 and 2; see encoding.h and codec.h for the rest.
 * Encrypted files and LZO are errors that say so, as is all that is damaged; page checksums are verified where there are
 * any. */
#ifndef MDM_PARQUET_PARQUET_H
#define MDM_PARQUET_PARQUET_H
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct err;
struct parquet;

struct parquet *parquet_open(const char *path, struct err *err);
/* Wants a column or a group of columns; with `text` the only column of strings at or below it. `column` is a path of
 * names joined by dots, with or without the names that lists put between ("a" or "a.list.element"). *name, which may be
 * NULL, becomes the path without them: what reaches the value in a row. It lives as long as p. */
int parquet_want(struct parquet *p, const char *column, bool text, const char **name, struct err *err);
int parquet_next(struct parquet *p, json_t **row, struct err *err); /* 1, 0 at the end, -1 */
int64_t parquet_row(const struct parquet *p);                       /* 1-based number of the row just read */
/* Before the first parquet_next(): pass over whole row groups, as many as there are before row `row`, counted from 0. */
int parquet_skip(struct parquet *p, int64_t row, struct err *err);
bool parquet_repeated(const struct parquet *p); /* may a wanted column have several values in a row? */
int64_t parquet_bytes(const struct parquet *p); /* place in the file, for progress */
void parquet_close(struct parquet *p);          /* NULL is fine */

#endif
