/* records: one buffer, and a way to find the end of what begins in it for each kind of record. */
#include "base/records.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/stream.h"

enum { FIRST_BUFFER = 1 << 16, PEEK = 512 };

struct records {
    struct stream *stream;
    enum records_end kind;
    const char *separator;
    char *buf;
    int64_t capacity;
    int64_t begin, scan, end; /* the record begins, its end has been looked for up to here, bytes in buf */
    bool marked;              /* a byte order mark has been looked for */
    bool at_end;              /* of the stream */
    int64_t number, line;     /* of the next record */
    int depth;                /* array: brackets open at scan, the array's own included; -1: behind it, 0: before */
    bool in_string, escaped;  /* … at scan */
};

struct records *records_open(const char *path, struct err *err) {
    struct records *r = mem_alloc(1, sizeof *r, path, err);
    if (!r) return NULL;
    r->line = 1;
    r->stream = stream_open(path, err);
    if (r->stream) return r;
    mem_free(r);
    return NULL;
}

void records_close(struct records *r) {
    if (!r) return;
    stream_close(r->stream);
    mem_free(r->buf);
    mem_free(r);
}

void records_cut(struct records *r, enum records_end kind, const char *separator) {
    BUG_ON((kind == RECORDS_SEPARATOR) != (separator != NULL) || (separator && !separator[0]));
    r->kind = kind;
    r->separator = separator;
}

const char *records_name(const struct records *r) {
    return stream_name(r->stream);
}

bool records_in_array(const struct records *r) {
    return r->kind == RECORDS_ARRAY;
}

bool records_waits(const struct records *r) {
    const bool whole = r->end > r->scan && memchr(r->buf + r->scan, '\n', (size_t)(r->end - r->scan));
    return !whole && !r->at_end && stream_waits(r->stream);
}

int64_t records_bytes(const struct records *r) {
    return stream_consumed(r->stream);
}

/* ---- the buffer ---- */

static int too_long(const struct records *r, struct err *err) {
    const char *name = records_name(r);
    long long line = (long long)r->line;
    if (r->kind == RECORDS_LINES) return err_set(err, "%s line %lld: longer than %d MiB", name, line, RECORD_MAX >> 20);
    if (r->kind == RECORDS_ARRAY)
        return err_set(err, "%s line %lld: an element longer than %d MiB begins here", name, line, RECORD_MAX >> 20);
    return err_set(
        err, "%s line %lld: a document longer than %d MiB begins here: name what divides documents with --separator",
        name, line, RECORD_MAX >> 20);
}

/* More bytes into the buffer, behind what is there; r->at_end when there are none. */
static int fill(struct records *r, struct err *err) {
    int64_t left = r->end - r->begin;
    if (left > RECORD_MAX) return too_long(r, err);
    if (r->begin > 0 && r->capacity - r->end < r->capacity / 2) {
        memmove(r->buf, r->buf + r->begin, (size_t)left);
        r->scan -= r->begin;
        r->end = left;
        r->begin = 0;
    }
    if (r->capacity - r->end < FIRST_BUFFER / 2 &&
        mem_grow(&r->buf, &r->capacity, r->end + FIRST_BUFFER, 1, records_name(r), err) < 0)
        return -1;
    int64_t n = stream_read(r->stream, r->buf + r->end, r->capacity - r->end, err);
    if (n < 0) return -1;
    r->end += n;
    r->at_end = n == 0;
    return 0;
}

/* The first bytes of the file, no more than are needed to know that they are no byte order mark. */
static int skip_mark(struct records *r, struct err *err) {
    static const char mark[] = "\xef\xbb\xbf";
    while (!r->at_end && r->end < 3 && memcmp(r->buf ? r->buf : mark, mark, (size_t)r->end) == 0)
        if (fill(r, err) < 0) return -1;
    if (r->end >= 3 && memcmp(r->buf, mark, 3) == 0) r->begin = r->scan = 3;
    r->marked = true;
    return 0;
}

int records_peek(struct records *r, const char **data, int64_t *n, struct err *err) {
    BUG_ON(r->number > 0);
    if (!r->marked && skip_mark(r, err) < 0) return -1;
    while (!r->at_end && r->end - r->begin < PEEK)
        if (fill(r, err) < 0) return -1;
    *n = r->end - r->begin < PEEK ? r->end - r->begin : PEEK;
    *data = *n ? r->buf + r->begin : "";
    return 0;
}

/* ---- ends ---- */

/* Each looks for the end of the record from r->scan on. Length of the delimiter that begins at *at; 0: none yet, and
 * r->scan is moved to where the next look may begin. */
static int64_t find_line(struct records *r, int64_t *at) {
    char *p = r->scan < r->end ? memchr(r->buf + r->scan, '\n', (size_t)(r->end - r->scan)) : NULL;
    r->scan = p ? p - r->buf : r->end;
    *at = r->scan;
    return p ? 1 : 0;
}

static int64_t find_blank(struct records *r, int64_t *at) {
    int64_t n;
    while ((n = find_line(r, at)) > 0) {
        int64_t i = *at + 1;
        while (i < r->end && (r->buf[i] == ' ' || r->buf[i] == '\t' || r->buf[i] == '\r')) i++;
        if (i == r->end) return 0; /* the rest of this line is still to come */
        if (r->buf[i] == '\n') return i + 1 - *at;
        r->scan = i;
    }
    return 0;
}

static int64_t find_separator(struct records *r, int64_t *at) {
    int64_t n = (int64_t)strlen(r->separator);
    char *p = r->scan < r->end ? memmem(r->buf + r->scan, (size_t)(r->end - r->scan), r->separator, (size_t)n) : NULL;
    if (!p) {
        int64_t again = r->end - n + 1;
        if (again > r->scan) r->scan = again;
        return 0;
    }
    *at = p - r->buf;
    return n;
}

static int64_t find_element(struct records *r, int64_t *at) {
    for (; r->scan < r->end; r->scan++) {
        char c = r->buf[r->scan];
        if (r->in_string) {
            r->in_string = r->escaped || c != '"';
            r->escaped = !r->escaped && c == '\\';
            continue;
        }
        r->in_string = c == '"';
        if (c == '[' || c == '{') r->depth++;
        if (c == ']' || c == '}') r->depth--;
        if (r->depth == 0 || (r->depth == 1 && c == ',')) {
            *at = r->scan;
            if (r->depth == 0) r->depth = -1;
            return 1;
        }
    }
    return 0;
}

static int64_t find(struct records *r, int64_t *at) {
    switch (r->kind) {
    case RECORDS_LINES:
        return find_line(r, at);
    case RECORDS_BLANK_LINES:
        return find_blank(r, at);
    case RECORDS_SEPARATOR:
        return find_separator(r, at);
    default:
        return find_element(r, at);
    }
}

static int64_t count_lines(const char *p, int64_t n) {
    int64_t lines = 0;
    for (const char *end = p + n; p < end && (p = memchr(p, '\n', (size_t)(end - p))); p++) lines++;
    return lines;
}

/* ---- records ---- */

/* Passes over the bytes [begin, to). */
static void pass(struct records *r, int64_t to) {
    r->line += count_lines(r->buf + r->begin, to - r->begin);
    r->begin = r->scan = to;
}

/* White space up to another byte, which is *c; 0: the end. */
static int next_byte(struct records *r, char *c, struct err *err) {
    for (*c = 0;; pass(r, r->scan)) {
        while (r->scan < r->end && strchr(" \t\r\n", r->buf[r->scan]) && r->buf[r->scan]) r->scan++;
        if (r->scan < r->end) {
            pass(r, r->scan);
            *c = r->buf[r->begin];
            return 1;
        }
        if (r->at_end) return 0;
        if (fill(r, err) < 0) return -1;
    }
}

static int bad_array(const struct records *r, const char *what, struct err *err) {
    return err_set(err, "%s line %lld: bad JSON: %s", records_name(r), (long long)r->line, what);
}

/* Before an element: the bracket in front of the first; 0 when there are no more, and nothing but white space may
 * follow. */
static int before_element(struct records *r, struct err *err) {
    char c;
    int k;
    if (r->depth == 0) {
        if ((k = next_byte(r, &c, err)) < 0) return -1;
        if (c != '[') return bad_array(r, "expected an array", err);
        pass(r, r->begin + 1);
        r->depth = 1;
        if ((k = next_byte(r, &c, err)) < 0) return -1;
        if (c == ']') {
            pass(r, r->begin + 1);
            r->depth = -1;
        }
    }
    if ((k = next_byte(r, &c, err)) < 0) return -1;
    if (r->depth < 0) return k == 0 ? 0 : bad_array(r, "something follows the array", err);
    return k > 0 ? 1 : bad_array(r, "the array has no end", err);
}

int records_next(struct records *r, struct record *rec, struct err *err) {
    int64_t at = 0, n;
    if (!r->marked && skip_mark(r, err) < 0) return -1;
    if (r->kind == RECORDS_ARRAY) {
        int k = before_element(r, err);
        if (k <= 0) return k;
    }
    while ((n = find(r, &at)) == 0 && !r->at_end)
        if (fill(r, err) < 0) return -1;
    if (n == 0 && r->kind == RECORDS_ARRAY) return bad_array(r, "the array has no end", err);
    if (r->kind == RECORDS_ARRAY && (at == r->begin || r->buf[at] == '}'))
        return bad_array(r, at == r->begin ? "an element is missing" : "expected ',' or ']' behind an element", err);
    if (n == 0) at = r->end;
    if (n == 0 && r->begin == r->end) return 0;
    if (at - r->begin > RECORD_MAX) return too_long(r, err);
    *rec = (struct record){r->buf + r->begin, at - r->begin, r->number++, r->line, n > 0};
    pass(r, at + n);
    return 1;
}
