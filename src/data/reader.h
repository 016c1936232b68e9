/* reader: documents out of files, whatever their form: plain text, jsonl, each also .zst or .gz, and Parquet.
 *
 *     struct reader *r = reader_open(path, &settings, &err);
 *     while ((k = reader_next(r, &doc, &err)) > 0) use(doc.text, doc.n);     // valid until the next call
 *     reader_close(r);
 *
 * The form is told from the content (magic bytes), then the name, then the first letter ('{': jsonl). A document of
 * plain text has the line breaks around it taken off. Memory is bounded by the longest document, at most
 * RECORD_MAX.
 *
 * reader_next() is reader_record() and record_parse() in one. Whoever has several threads calls the first in one of
 * them and the second, which does the slow part (JSON), in the others. */
#ifndef MDM_DATA_READER_H
#define MDM_DATA_READER_H
#include <stdbool.h>
#include <stdint.h>
#include "base/records.h"

struct err;
struct reader;

enum reader_form { READER_TEXT, READER_JSONL, READER_PARQUET };
enum { READER_SKIPS_MAX = 16, READER_SEPARATOR_MAX = 256 }; /* filters in reader_settings.skip, bytes of a separator */

struct reader_settings {
    const char *separator;   /* plain text: documents end at this string; NULL: at a blank line */
    const char *text_field;  /* jsonl, Parquet: NULL: "text", else "content"; dots reach into objects */
    const char *const *skip; /* NULL-terminated "FIELD=VALUE": documents to leave out of jsonl, Parquet; NULL: none */
};
struct document {
    const char *text;
    int64_t n;
    int64_t number; /* 0-based in this file, skipped ones counted */
};
/* The separator as a command line says it, with \\n, \\t, \\r, \\\\ for what a shell can hardly say, into out and s; NULL: none. */
int reader_separator(char out[READER_SEPARATOR_MAX + 1], const char *said, struct reader_settings *s, struct err *err);
/* -1 with err when a setting cannot be meant (an empty separator, a skip without '='); reader_open() asks too. */
int reader_check_settings(const struct reader_settings *s, struct err *err);
struct reader *reader_open(const char *path, const struct reader_settings *s, struct err *err);
/* 1 and a document, 0 at the end, -1 with err ("FILE line N: …"). Empty documents are passed over. */
int reader_next(struct reader *r, struct document *doc, struct err *err);
/* A document not yet looked into: 1 and a line of JSON, or the text itself, valid until the next call; 0 at the end, -1
 * with err. Of Parquet, `line` is the row, and data is NULL when a filter leaves the document out. */
int reader_record(struct reader *r, struct record *rec, struct err *err);
/* Before the first record: those before this number need not come; they may still. */
int reader_skip(struct reader *r, int64_t number, struct err *err);
enum reader_form reader_form(const struct reader *r);
/* The document in a record of the file `path`: 1; 0 when it is empty or to be left out (*skipped says which); -1 with
 * err. doc->text points into the record or into *hold, which the caller frees with record_release() afterwards. */
int record_parse(const struct record *rec, enum reader_form form, const char *path, const struct reader_settings *s,
                 struct document *doc, void **hold, bool *skipped, struct err *err);
void record_release(void *hold);              /* NULL is fine */
int64_t reader_bytes(const struct reader *r); /* bytes of the file (as on disk) consumed so far, for progress */
void reader_close(struct reader *r);          /* NULL is fine */

#endif
