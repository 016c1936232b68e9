/* records: cuts a file, packed or not (base/stream), into lines, into pieces between separators, or into the elements of
 * a JSON array.
 *
 *     struct records *r = records_open("-", &err);                          // a file, or "-": standard input
 *     records_cut(r, RECORDS_LINES, NULL);
 *     while ((k = records_next(r, &rec, &err)) > 0) use(rec.data, rec.n);   // valid until the next call
 *     records_close(r);
 *
 * Memory is bounded by the longest record, at most RECORD_MAX. A byte order mark at the start is left out. */
#ifndef MDM_BASE_RECORDS_H
#define MDM_BASE_RECORDS_H
#include <stdbool.h>
#include <stdint.h>

struct err;
struct records;

#define RECORD_MAX (64 << 20) /* bytes */

enum records_end {
    RECORDS_LINES,       /* at each line break */
    RECORDS_BLANK_LINES, /* at line breaks that only white space divides */
    RECORDS_SEPARATOR,   /* at a given string */
    RECORDS_ARRAY        /* the elements of one JSON array; that they are JSON is not looked at */
};
struct record {
    const char *data; /* without what ends it */
    int64_t n;
    int64_t number; /* 0-based */
    int64_t line;   /* 1-based, where it begins */
    bool ended;     /* what ends it was there: not always so of a file's last one */
};

struct records *records_open(const char *path, struct err *err);
/* The first bytes, at most 512, before the first record is cut: for telling what the file is. */
int records_peek(struct records *r, const char **data, int64_t *n, struct err *err);
void records_cut(struct records *r, enum records_end end,
                 const char *separator);                                  /* borrowed; NULL but for _SEPARATOR */
int records_next(struct records *r, struct record *rec, struct err *err); /* 1; 0 at the end; -1 with err */
/* Lines: would records_next() have to wait for whoever writes a pipe? */
bool records_waits(const struct records *r);
const char *records_name(const struct records *r); /* for messages */
bool records_in_array(const struct records *r);    /* of which many may stand on one line */
int64_t records_bytes(const struct records *r);    /* bytes of the file, as on disk, consumed so far */
void records_close(struct records *r);             /* NULL is fine */

#endif
