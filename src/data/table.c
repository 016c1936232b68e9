/* table: finds out what a file is and makes rows of its lines; JSON is jsonl's part, Parquet parquet's. */
#include "data/table.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "base/records.h"
#include "data/form.h"
#include "parquet/parquet.h"

enum { FIELDS_MAX = 4096 };

struct table {
    enum form form;
    char *path;
    struct parquet *parquet;
    struct jsonl *json;
    struct records *records; /* TSV, list */
    json_t *header;          /* TSV: names */
    bool passable;
    char where[FILE_PATH_MAX + 32];
};

const json_t *table_field(const json_t *row, const char *name) {
    const json_t *v = json_object_get(row, name);
    const char *dot = strchr(name, '.');
    if (v || !dot || !json_is_object(row)) return v;
    void *it = json_object_iter((json_t *)(uintptr_t)row);
    for (; it; it = json_object_iter_next((json_t *)(uintptr_t)row, it)) {
        const char *key = json_object_iter_key(it);
        size_t n = strlen(key);
        if (strncmp(name, key, n) == 0 && name[n] == '.' && (v = table_field(json_object_iter_value(it), name + n + 1)))
            return v;
    }
    return NULL;
}

/* ---- lines ---- */

/* The next line that is not empty, without a carriage return. 1, 0 at the end, -1. */
static int next_line(struct table *t, struct record *rec, struct err *err) {
    int k;
    while ((k = records_next(t->records, rec, err)) > 0) {
        if (rec->n > 0 && rec->data[rec->n - 1] == '\r') rec->n--;
        snprintf(t->where, sizeof t->where, "%s line %lld", t->path, (long long)rec->line);
        if (rec->n > 0) break;
    }
    t->passable = k > 0; /* whatever may be wrong with the line */
    return k;
}

/* The fields of a line, as strings. NULL with err. */
static json_t *split(const struct table *t, const struct record *rec, struct err *err) {
    json_t *fields = json_array();
    const char *p = rec->data, *end = p + rec->n;
    for (bool more = true; more && fields;) {
        const char *tab = memchr(p, '\t', (size_t)(end - p)), *stop = tab ? tab : end;
        json_t *text = json_stringn(p, (size_t)(stop - p));
        const char *wrong = json_array_size(fields) == FIELDS_MAX ? "more than 4096 fields" : text ? NULL : "not UTF-8";
        if (wrong) err_set(err, "%s: %s", t->where, wrong);
        if (wrong || json_array_append(fields, text) < 0) {
            json_decref(fields);
            fields = NULL;
        }
        json_decref(text);
        more = tab != NULL;
        p = more ? tab + 1 : end;
    }
    return fields;
}

static int read_header(struct table *t, struct err *err) {
    struct record rec;
    int k = next_line(t, &rec, err);
    if (k == 0) return err_set(err, "%s: empty, expected a line with the names of the fields", t->path);
    t->header = k > 0 ? split(t, &rec, err) : NULL;
    json_t *seen = t->header ? json_object() : NULL;
    k = seen ? 0 : -1;
    for (size_t i = 0; k == 0 && i < json_array_size(t->header); i++) {
        const char *name = json_string_value(json_array_get(t->header, i));
        if (!*name || json_object_get(seen, name))
            k = err_set(err, "%s: field %zu of the header is %s", t->where, i + 1,
                        *name ? "named like one before" : "empty");
        else if (json_object_set_new(seen, name, json_true()) < 0)
            k = err_set(err, "%s: no memory for the header", t->where);
    }
    json_decref(seen);
    return k;
}

static int next_tsv(struct table *t, json_t **row, struct err *err) {
    struct record rec;
    int k = next_line(t, &rec, err);
    if (k <= 0) return k;
    json_t *fields = split(t, &rec, err);
    size_t n = json_array_size(t->header);
    if (!fields) return -1;
    *row = json_object();
    if (json_array_size(fields) != n)
        k = err_set(err, "%s: %zu fields, the header has %zu", t->where, json_array_size(fields), n);
    for (size_t i = 0; k > 0 && i < n; i++)
        if (json_object_set(*row, json_string_value(json_array_get(t->header, i)), json_array_get(fields, i)) < 0)
            k = err_set(err, "%s: no memory for a row", t->where);
    json_decref(fields);
    if (k < 0) json_decref(*row);
    return k;
}

static int next_of_list(struct table *t, json_t **row, struct err *err) {
    struct record rec;
    json_error_t ignored;
    int k = next_line(t, &rec, err);
    if (k <= 0) return k;
    json_t *v = jsonl_parse(rec.data, rec.n, JSON_DECODE_ANY, &ignored);
    if (!v) v = json_stringn(rec.data, (size_t)rec.n);
    *row = v ? json_pack("{s:o}", "value", v) : NULL;
    return *row ? 1 : err_set(err, "%s: neither JSON nor UTF-8", t->where);
}

/* ---- rows ---- */

static int next_json(struct table *t, json_t **row, struct err *err) {
    int k = jsonl_next(t->json, row, err);
    t->passable = k > 0 || jsonl_passable(t->json);
    if (k <= 0 || json_is_object(*row)) return k;
    json_decref(*row);
    return err_set(err, "%s: expected a JSON object, found another value", jsonl_where(t->json));
}

static int next_parquet(struct table *t, json_t **row, struct err *err) {
    int k = parquet_next(t->parquet, row, err);
    if (k > 0) snprintf(t->where, sizeof t->where, "%s row %lld", t->path, (long long)parquet_row(t->parquet));
    return k;
}

int table_next(struct table *t, json_t **row, struct err *err) {
    switch (t->form) {
    case FORM_PARQUET:
        return next_parquet(t, row, err);
    case FORM_TSV:
        return next_tsv(t, row, err);
    case FORM_LIST:
        return next_of_list(t, row, err);
    default:
        return next_json(t, row, err);
    }
}

bool table_passable(const struct table *t) {
    return t->passable;
}

const char *table_where(const struct table *t) {
    return t->json ? jsonl_where(t->json) : t->where;
}

/* ---- open and close ---- */

static int start_parquet(struct table *t, const char *const *columns, struct err *err) {
    t->form = FORM_PARQUET;
    t->parquet = parquet_open(t->path, err);
    int k = t->parquet ? 0 : -1;
    for (; k == 0 && columns && *columns; columns++) k = parquet_want(t->parquet, *columns, false, NULL, err);
    return k;
}

static int start(struct table *t, const char *const *columns, struct err *err) {
    int parquet = form_is_parquet(t->path, err);
    if (parquet != 0) return parquet < 0 ? -1 : start_parquet(t, columns, err);
    t->records = records_open(t->path, err);
    if (!t->records || form_find(&t->form, t->records, t->path, err) < 0) return -1;
    if (t->form == FORM_TEXT)
        return err_set(err, "%s: no table: expected JSON lines, a JSON array (.json), TSV (.tsv), .lst or Parquet",
                       t->path);
    records_cut(t->records, t->form == FORM_JSON_ARRAY ? RECORDS_ARRAY : RECORDS_LINES, NULL);
    if (t->form == FORM_TSV) return read_header(t, err);
    if (t->form == FORM_LIST) return 0;
    t->json = jsonl_from(t->records, err);
    t->records = NULL;
    return t->json ? 0 : -1;
}

struct table *table_open(const char *path, const char *const *columns, struct err *err) {
    struct table *t = mem_alloc(1, sizeof *t, path, err);
    if (!t) return NULL;
    t->path = mem_strdup(path, err);
    if (t->path && start(t, columns, err) == 0) return t;
    table_close(t);
    return NULL;
}

void table_close(struct table *t) {
    if (!t) return;
    parquet_close(t->parquet);
    jsonl_close(t->json);
    records_close(t->records);
    json_decref(t->header);
    mem_free(t->path);
    mem_free(t);
}
