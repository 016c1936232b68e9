/* jsonl: lines are cut by base/records, and the JSON in them is left to jansson. */
#include "base/jsonl.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/records.h"

struct jsonl {
    struct records *records;
    struct record rec; /* what was just read */
    bool passable;
    char where[FILE_PATH_MAX + 64];
};

struct jsonl *jsonl_from(struct records *records, struct err *err) {
    struct jsonl *j = records ? mem_alloc(1, sizeof *j, records_name(records), err) : NULL;
    if (j)
        j->records = records;
    else
        records_close(records);
    return j;
}

struct jsonl *jsonl_open(const char *path, struct err *err) {
    struct records *records = records_open(path, err);
    if (records) records_cut(records, RECORDS_LINES, NULL);
    return jsonl_from(records, err);
}

void jsonl_close(struct jsonl *j) {
    if (!j) return;
    records_close(j->records);
    mem_free(j);
}

bool jsonl_passable(const struct jsonl *j) {
    return j->passable;
}

const char *jsonl_where(const struct jsonl *j) {
    return j->where;
}

const char *jsonl_text(const struct jsonl *j, int64_t *n) {
    *n = j->rec.n;
    return j->rec.data;
}

bool jsonl_waits(const struct jsonl *j) {
    return records_waits(j->records);
}

static bool is_blank(const char *s, int64_t n) {
    while (n > 0 && strchr(" \t\r", *s) && *s) s++, n--;
    return n == 0;
}

/* The number of the escape (backslash, u, four hex digits) at p, or -1. */
static int escape_at(const char *p, const char *end) {
    char hex[5] = "", *rest;
    if (end - p < 6 || p[0] != '\\' || p[1] != 'u') return -1;
    memcpy(hex, p + 2, 4);
    long x = strtol(hex, &rest, 16);
    return rest == hex + 4 && isxdigit((unsigned char)hex[0]) ? (int)x : -1;
}

/* Half a surrogate pair is no character, but Python's json module writes it as an escape all the same. Makes each
 * U+FFFD, in place; false: there was none. */
static bool mend_halves(char *p, const char *end) {
    bool mended = false;
    for (; p < end; p++) {
        if (*p != '\\') continue;
        int x = escape_at(p, end), next = x >= 0xd800 && x < 0xdc00 ? escape_at(p + 6, end) : -1;
        if (next >= 0xdc00 && next < 0xe000) {
            p += 11;
        } else if (x >= 0xd800 && x < 0xe000) {
            memcpy(p + 2, "fffd", 4);
            mended = true;
            p += 5;
        } else {
            p++; /* whatever is escaped */
        }
    }
    return mended;
}

json_t *jsonl_parse(const char *text, int64_t n, size_t flags, json_error_t *why) {
    json_t *v = json_loadb(text, (size_t)n, flags, why);
    struct err ignored;
    char *copy = v || !memmem(text, (size_t)n, "\\u", 2) ? NULL : mem_alloc(n, 1, "JSON line", &ignored);
    if (!copy) return v;
    memcpy(copy, text, (size_t)n);
    if (mend_halves(copy, copy + n)) v = json_loadb(copy, (size_t)n, flags, why);
    mem_free(copy);
    return v;
}

int jsonl_next(struct jsonl *j, json_t **value, struct err *err) {
    const struct record *rec = &j->rec;
    int r;
    while ((r = records_next(j->records, &j->rec, err)) > 0) {
        if (is_blank(rec->data, rec->n)) continue;
        const int end =
            snprintf(j->where, sizeof j->where, "%s line %lld", records_name(j->records), (long long)rec->line);
        if (records_in_array(j->records))
            snprintf(j->where + end, sizeof j->where - (size_t)end, ", element %lld", (long long)rec->number + 1);
        json_error_t why;
        *value = jsonl_parse(rec->data, rec->n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
        if (*value) return 1;
        j->passable = true;
        return err_set(err, "%s: bad JSON at byte %d: %s", j->where, why.position, why.text);
    }
    j->passable = false;
    return r;
}

json_t *json_read_file(const char *path, size_t max, struct err *err) {
    char *data;
    size_t size;
    if (file_read(&data, &size, path, max, err) < 0) return NULL;
    json_error_t why;
    json_t *v = json_loadb(data, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    mem_free(data);
    if (!v) {
        err_set(err, "%s line %d column %d: bad JSON: %s", path, why.line, why.column, why.text);
    } else if (!json_is_object(v)) {
        err_set(err, "%s: expected a JSON object", path);
        json_decref(v);
        v = NULL;
    }
    return v;
}

struct sink {
    struct file_out *out;
    struct err *err;
};

static int to_file(const char *text, size_t n, void *data) {
    struct sink *s = data;
    return file_out_write(s->out, text, n, s->err);
}

int json_write_file(const char *path, const json_t *v, struct err *err) {
    struct err why = {{0}}; /* what the caller's says stays when all goes well */
    struct sink s = {file_out_open(path, err), &why};
    if (!s.out) return -1;
    if (json_dump_callback(v, to_file, &s, JSON_INDENT(2) | JSON_ENCODE_ANY) == 0 && to_file("\n", 1, &s) == 0)
        return file_out_commit(s.out, err);
    file_out_abort(s.out);
    return *why.msg ? err_set(err, "%s", why.msg)
                    : err_set(err, "cannot write '%s': a value cannot be written as JSON", path);
}

/* ---- members ---- */

static const char *kind(const json_t *v) {
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a real number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    default:
        return "null";
    }
}

/* 1 and the member, 0 when it may be missing and is, or -1. */
static int find(const json_t *o, const char *key, json_t **v, bool required, const char *where, struct err *err) {
    if (!json_is_object(o))
        return err_set(err, "%s: expected an object with \"%s\", found %s", where, key, o ? kind(o) : "nothing");
    *v = json_object_get(o, key);
    if (*v) return 1;
    if (!required) return 0;
    return err_set(err, "%s: \"%s\" is missing", where, key);
}

static int wrong(const json_t *v, const char *key, const char *expected, const char *where, struct err *err) {
    return err_set(err, "%s: \"%s\" must be %s, found %s", where, key, expected, kind(v));
}

int json_get_int(const json_t *o, const char *key, int64_t *out, int64_t min, int64_t max, bool required,
                 const char *where, struct err *err) {
    json_t *v;
    int r = find(o, key, &v, required, where, err);
    if (r <= 0) return r;
    if (!json_is_integer(v)) return wrong(v, key, "an integer", where, err);
    int64_t x = json_integer_value(v);
    if (x < min || x > max)
        return err_set(err, "%s: \"%s\" must be in [%lld, %lld], found %lld", where, key, (long long)min,
                       (long long)max, (long long)x);
    *out = x;
    return 1;
}

int json_get_real(const json_t *o, const char *key, double *out, bool required, const char *where, struct err *err) {
    json_t *v;
    int r = find(o, key, &v, required, where, err);
    if (r <= 0) return r;
    if (!json_is_number(v)) return wrong(v, key, "a number", where, err);
    *out = json_number_value(v);
    return 1;
}

int json_get_bool(const json_t *o, const char *key, bool *out, bool required, const char *where, struct err *err) {
    json_t *v;
    int r = find(o, key, &v, required, where, err);
    if (r <= 0) return r;
    if (!json_is_boolean(v)) return wrong(v, key, "true or false", where, err);
    *out = json_is_true(v);
    return 1;
}

int json_get_text(const json_t *o, const char *key, const char **out, int64_t *n, bool required, const char *where,
                  struct err *err) {
    json_t *v;
    int r = find(o, key, &v, required, where, err);
    if (r <= 0) return r;
    if (!json_is_string(v)) return wrong(v, key, "a string", where, err);
    *out = json_string_value(v);
    *n = (int64_t)json_string_length(v);
    return 1;
}

int json_get_str(const json_t *o, const char *key, const char **out, bool required, const char *where,
                 struct err *err) {
    const char *text;
    int64_t n;
    int r = json_get_text(o, key, &text, &n, required, where, err);
    if (r <= 0) return r;
    if ((int64_t)strlen(text) != n)
        return err_set(err, "%s: \"%s\" contains U+0000, which has no place here", where, key);
    *out = text;
    return 1;
}

int json_get_ids(const json_t *o, const char *key, int32_t **ids, int64_t *n, int64_t limit, bool required,
                 const char *where, struct err *err) {
    json_t *v;
    int r = find(o, key, &v, required, where, err);
    if (r <= 0) return r;
    if (!json_is_array(v)) return wrong(v, key, "an array of token ids", where, err);
    int64_t count = (int64_t)json_array_size(v);
    int32_t *list = mem_alloc(count, sizeof *list, key, err);
    if (!list) return -1;
    for (int64_t i = 0; i < count; i++) {
        const json_t *e = json_array_get(v, (size_t)i);
        int64_t id = json_is_integer(e) ? json_integer_value(e) : -1;
        if (id < 0 || id >= limit || id > INT32_MAX) {
            mem_free(list);
            return err_set(err, "%s: \"%s\"[%lld] must be a token id in [0, %lld)", where, key, (long long)i,
                           (long long)limit);
        }
        list[i] = (int32_t)id;
    }
    *ids = list;
    *n = count;
    return 1;
}
