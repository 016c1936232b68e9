/* table: rows with named, typed fields, out of JSON lines, a JSON array, TSV or Parquet; all but Parquet may be .zst or .gz.
 *
 *     struct table *t = table_open("test.parquet", NULL, &err);
 *     while ((k = table_next(t, &row, &err)) > 0) {
 *         json_get_str(row, "question", &question, true, table_where(t), &err);     // base/jsonl.h
 *         choices = table_field(row, "choices.text");                              // a list
 *         json_decref(row);
 *     }
 *     table_close(t);
 *
 * A row is a JSON object, so its fields are texts, integers, reals, booleans, lists, structs or null. JSON gives the
 * objects themselves, Parquet what parquet.h says. TSV has a header line and no quotes; its fields are texts. A file
 * .lst (labels) has a value a line: the field "value", JSON where it is that, else text. */
#ifndef MDM_DATA_TABLE_H
#define MDM_DATA_TABLE_H
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct err;
struct table;

/* columns: names, NULL-terminated, dots reach into structs: what Parquet is to read, the others give all; NULL: all. */
struct table *table_open(const char *path, const char *const *columns, struct err *err);
int table_next(struct table *t, json_t **row, struct err *err); /* 1 and a row to json_decref(); 0 at the end; -1 */
bool table_passable(const struct table *t); /* after -1: a row was wrong, and table_next() gives the one behind it */
const char *table_where(const struct table *t); /* "FILE line 3" or "FILE row 3": of the row just read */
void table_close(struct table *t);              /* NULL is fine */

/* The member that a dotted name reaches, or NULL; one whose own name has the dots comes first. Borrowed. */
const json_t *table_field(const json_t *row, const char *name);

#endif
