/* jsonl: one JSON value per line, and small helpers over jansson so that every message says line and key.
 *
 *     struct jsonl *in = jsonl_open("-", &err);         // a file, or "-" for stdin
 *     json_t *v;
 *     while ((r = jsonl_next(in, &v, &err)) > 0) { … json_decref(v); }
 *     jsonl_close(in);
 */
#ifndef MDM_BASE_JSONL_H
#define MDM_BASE_JSONL_H
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct err;
struct jsonl;

struct jsonl *jsonl_open(const char *path, struct err *err);
/* Of records that are cut already (elements of an array); owns them, also on failure. NULL gives NULL. */
struct records;
struct jsonl *jsonl_from(struct records *records, struct err *err);
/* 1 and a value the caller json_decref()s; 0 at the end; -1 with err ("FILE line N: …"). Blank lines are skipped. A
 * line longer than 64 MiB, bad UTF-8 and duplicate keys are errors. */
int jsonl_next(struct jsonl *j, json_t **value, struct err *err);
/* Would jsonl_next() have to wait for whoever writes the input? */
bool jsonl_waits(const struct jsonl *j);
/* After -1: was a line wrong, and jsonl_next() gives what is behind it? */
bool jsonl_passable(const struct jsonl *j);
/* "FILE line N", of an array "FILE line N, element K": what was just read, for messages. */
const char *jsonl_where(const struct jsonl *j);
/* Its bytes, n of them, without what ends it; until the next call. */
const char *jsonl_text(const struct jsonl *j, int64_t *n);
void jsonl_close(struct jsonl *j); /* NULL is fine */
/* json_loadb(), but half a surrogate pair, which Python writes as an escape, becomes U+FFFD. */
json_t *jsonl_parse(const char *text, int64_t n, size_t flags, json_error_t *why);

/* A whole JSON file, an object, at most `max` bytes. Caller json_decref()s. */
json_t *json_read_file(const char *path, size_t max, struct err *err);
/* Write an indented JSON file atomically. */
int json_write_file(const char *path, const json_t *v, struct err *err);
/* Typed members. `where` starts the message. Missing: error when `required`, else *out is left alone and 0 returned;
 * 1 when found. Integers must be in [min, max]. Strings are borrowed from the object. */
int json_get_int(const json_t *o, const char *key, int64_t *out, int64_t min, int64_t max, bool required,
                 const char *where, struct err *err);
int json_get_real(const json_t *o, const char *key, double *out, bool required, const char *where, struct err *err);
int json_get_bool(const json_t *o, const char *key, bool *out, bool required, const char *where, struct err *err);
int json_get_text(const json_t *o, const char *key, const char **out, int64_t *n, bool required, const char *where,
                  struct err *err); /* may hold U+0000, which json_get_str() refuses */
int json_get_str(const json_t *o, const char *key, const char **out, bool required, const char *where, struct err *err);
/* An array of token ids, each in [0, limit). *ids is allocated; caller mem_free()s. */
int json_get_ids(const json_t *o, const char *key, int32_t **ids, int64_t *n, int64_t limit, bool required,
                 const char *where, struct err *err);

#endif
