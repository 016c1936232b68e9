/* reader: finds out what a file is and takes the text out of a record. Unpacking and cutting is base/records' part,
 * Parquet parquet.c's. It does not judge or clean text: what a document says goes through byte by byte. */
#include "data/reader.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "parquet/parquet.h"
#include "base/records.h"
#include "data/form.h"
#include "data/table.h"

enum { FIELD_MAX = 256 };

struct reader {
    struct reader_settings s;
    char *path;
    enum reader_form form;
    struct records *records;
    void *hold; /* of the last document */
    struct parquet *parquet;
    const char *text;                   /* Parquet: the text's name in rows */
    char *filter[READER_SKIPS_MAX + 1]; /* Parquet: the skips with names in rows */
    json_t *values;                     /* the texts of the row under way … */
    size_t at;                          /* … of which these have been given out */
    bool left_out;                      /* the row, by a filter */
    int64_t number;                     /* of the next text */
};

/* ---- records ---- */

static bool left_out(const json_t *o, const char *const *skip);

/* The strings that a dotted name reaches, through lists into each of their elements; null for what is not there. */
static int collect(const json_t *v, const char *name, json_t *out) {
    int r = 0;
    if (json_is_array(v) && json_array_size(v) > 0) {
        for (size_t i = 0; i < json_array_size(v) && r == 0; i++) r = collect(json_array_get(v, i), name, out);
        return r;
    }
    if (!*name || !json_is_object(v))
        return json_array_append(out, json_is_string(v) ? (json_t *)(uintptr_t)v : json_null());
    const json_t *member = json_object_get(v, name);
    if (member) return collect(member, "", out);
    void *it = json_object_iter((json_t *)(uintptr_t)v);
    for (; it; it = json_object_iter_next((json_t *)(uintptr_t)v, it)) {
        const char *key = json_object_iter_key(it);
        size_t n = strlen(key);
        if (strncmp(name, key, n) == 0 && name[n] == '.') return collect(json_object_iter_value(it), name + n + 1, out);
    }
    return json_array_append(out, json_null());
}

/* A row's texts, one after another: one, unless the column has lists. */
static int parquet_record(struct reader *r, struct record *rec, struct err *err) {
    if (r->at == json_array_size(r->values)) {
        json_t *row;
        int k = parquet_next(r->parquet, &row, err);
        if (k <= 0) return k;
        json_array_clear(r->values);
        r->at = 0;
        r->left_out = left_out(row, (const char *const *)r->filter);
        k = collect(row, r->text, r->values);
        json_decref(row);
        if (k < 0) return err_set(err, "%s row %lld: no memory for it", r->path, (long long)parquet_row(r->parquet));
    }
    const json_t *v = json_array_get(r->values, r->at++);
    const char *text = json_is_string(v) ? json_string_value(v) : "";
    *rec = (struct record){r->left_out ? NULL : text, (int64_t)json_string_length(v), r->number++,
                           parquet_row(r->parquet)};
    return 1;
}

int reader_record(struct reader *r, struct record *rec, struct err *err) {
    return r->parquet ? parquet_record(r, rec, err) : records_next(r->records, rec, err);
}

int reader_skip(struct reader *r, int64_t number, struct err *err) {
    if (!r->parquet || parquet_repeated(r->parquet)) return 0;
    if (parquet_skip(r->parquet, number, err) < 0) return -1;
    r->number = parquet_row(r->parquet);
    return 0;
}

enum reader_form reader_form(const struct reader *r) {
    return r->form;
}

/* ---- the text in a record ---- */

/* Does a member equal the value given as text? Strings by their bytes, numbers by value, true and false by name. */
static bool equals(const json_t *v, const char *value) {
    if (json_is_string(v)) return strcmp(json_string_value(v), value) == 0;
    if (json_is_boolean(v)) return strcmp(json_is_true(v) ? "true" : "false", value) == 0;
    char *end;
    double x = strtod(value, &end);
    return json_is_number(v) && end != value && !*end && x == json_number_value(v);
}

static bool left_out(const json_t *o, const char *const *skip) {
    for (; skip && *skip; skip++) {
        char name[FIELD_MAX];
        const char *eq = strchr(*skip, '=');
        size_t n = eq ? (size_t)(eq - *skip) : sizeof name;
        if (n >= sizeof name) continue; /* refused by reader_check_settings() */
        memcpy(name, *skip, n);
        name[n] = '\0';
        const json_t *v = table_field(o, name);
        if (v && equals(v, eq + 1)) return true;
    }
    return false;
}

static int no_text(const json_t *o, const json_t *v, const char *field, const char *path, int64_t line,
                   struct err *err) {
    if (v) return err_set(err, "%s line %lld: field '%s' is not a string", path, (long long)line, field);
    char names[256] = "";
    const char *key;
    json_t *member;
    json_object_foreach((json_t *)(uintptr_t)o, key, member) {
        size_t used = strlen(names);
        if (used + strlen(key) + 3 >= sizeof names) break;
        if (used) strcat(names, ", ");
        strcat(names, key);
    }
    return err_set(err, "%s line %lld: no field '%s' (it has: %s): name the text's field with --text-field", path,
                   (long long)line, field, names[0] ? names : "none");
}

static int parse_json(const struct record *rec, const char *path, const struct reader_settings *s, struct document *doc,
                      void **hold, bool *skipped, struct err *err) {
    json_error_t e;
    json_t *o = jsonl_parse(rec->data, rec->n, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &e);
    if (!o) return err_set(err, "%s line %lld: not JSON: %s (column %d)", path, (long long)rec->line, e.text, e.column);
    *hold = o;
    if (!json_is_object(o))
        return err_set(err, "%s line %lld: expected a JSON object, found another value", path, (long long)rec->line);
    if (left_out(o, s->skip)) {
        *skipped = true;
        return 0;
    }
    const char *field = s->text_field ? s->text_field : "text";
    const json_t *v = table_field(o, field);
    if (!v && !s->text_field) v = table_field(o, "content");
    if (json_is_null(v)) return 0;
    if (!json_is_string(v)) return no_text(o, v, field, path, rec->line, err);
    doc->text = json_string_value(v);
    doc->n = (int64_t)json_string_length(v);
    return doc->n > 0;
}

int record_parse(const struct record *rec, enum reader_form form, const char *path, const struct reader_settings *s,
                 struct document *doc, void **hold, bool *skipped, struct err *err) {
    *hold = NULL;
    *skipped = !rec->data;
    *doc = (struct document){rec->data, rec->n, rec->number};
    if (form == READER_PARQUET) return rec->data && doc->n > 0;
    const char *p = rec->data, *end = p + rec->n;
    while (p < end && (*p == '\n' || *p == '\r')) p++;
    while (end > p && (end[-1] == '\n' || end[-1] == '\r')) end--;
    const char *first = p;
    while (first < end && isspace((unsigned char)*first)) first++;
    if (first == end) return 0;
    doc->text = p;
    doc->n = end - p;
    if (form == READER_TEXT) return 1;
    int r = parse_json(rec, path, s, doc, hold, skipped, err);
    if (r <= 0) {
        record_release(*hold);
        *hold = NULL;
    }
    return r;
}

void record_release(void *hold) {
    json_decref(hold);
}

int reader_next(struct reader *r, struct document *doc, struct err *err) {
    struct record rec;
    bool skipped;
    int k;
    do {
        record_release(r->hold);
        r->hold = NULL;
        k = reader_record(r, &rec, err);
        if (k <= 0) return k;
        k = record_parse(&rec, r->form, r->path, &r->s, doc, &r->hold, &skipped, err);
    } while (k == 0);
    return k;
}

/* ---- open and close ---- */

int reader_separator(char out[READER_SEPARATOR_MAX + 1], const char *said, struct reader_settings *s, struct err *err) {
    static const char from[] = "ntr\\", to[] = "\n\t\r\\";
    size_t n = 0;
    for (; said && *said && n < READER_SEPARATOR_MAX; said++) {
        const char *c = said[0] == '\\' && said[1] ? strchr(from, said[1]) : NULL;
        if (said[0] == '\\' && !c) return err_set(err, "--separator: '\\' must be followed by one of n t r \\");
        out[n++] = c ? to[c - from] : *said;
        said += c != NULL;
    }
    out[n] = '\0';
    s->separator = said ? out : NULL;
    return said && *said ? err_set(err, "--separator is longer than %d bytes", READER_SEPARATOR_MAX) : 0;
}

int reader_check_settings(const struct reader_settings *s, struct err *err) {
    if (s->separator && (!s->separator[0] || strlen(s->separator) > READER_SEPARATOR_MAX))
        return err_set(err, "separator: expected 1 to %d bytes, found %zu", READER_SEPARATOR_MAX, strlen(s->separator));
    if (s->text_field && !s->text_field[0]) return err_set(err, "text field: the name is empty");
    int filters = 0;
    for (const char *const *skip = s->skip; skip && *skip; skip++) {
        if (++filters > READER_SKIPS_MAX) return err_set(err, "skip: more than %d filters", READER_SKIPS_MAX);
        const char *eq = strchr(*skip, '=');
        if (!eq || eq == *skip || eq - *skip >= FIELD_MAX)
            return err_set(err, "skip '%s': expected FIELD=VALUE, e.g. meta.source=github", *skip);
    }
    return 0;
}

/* Wants the column of a filter and spells the filter as rows do. */
static int want_filter(struct reader *r, int i, struct err *err) {
    const char *eq = strchr(r->s.skip[i], '='), *name;
    char field[FIELD_MAX] = "";
    memcpy(field, r->s.skip[i], (size_t)(eq - r->s.skip[i]));
    if (parquet_want(r->parquet, field, false, &name, err) < 0) return -1;
    int64_t n = (int64_t)(strlen(name) + strlen(eq) + 1);
    r->filter[i] = mem_alloc(n, 1, "filter", err);
    if (!r->filter[i]) return -1;
    snprintf(r->filter[i], (size_t)n, "%s%s", name, eq);
    return 0;
}

static int open_parquet(struct reader *r, struct err *err) {
    struct err other;
    r->form = READER_PARQUET;
    r->values = json_array();
    r->parquet = r->values ? parquet_open(r->path, err) : NULL;
    if (!r->parquet) return r->values ? -1 : err_set(err, "%s: no memory to read it", r->path);
    int k = parquet_want(r->parquet, r->s.text_field ? r->s.text_field : "text", true, &r->text, err);
    if (k < 0 && !r->s.text_field) k = parquet_want(r->parquet, "content", true, &r->text, &other);
    for (int i = 0; k == 0 && r->s.skip && r->s.skip[i]; i++) k = want_filter(r, i, err);
    return k;
}

static int start(struct reader *r, struct err *err) {
    enum form form;
    int parquet = form_is_parquet(r->path, err);
    if (parquet != 0) return parquet < 0 ? -1 : open_parquet(r, err);
    r->records = records_open(r->path, err);
    if (!r->records || form_find(&form, r->records, r->path, err) < 0) return -1;
    enum records_end end = form == FORM_JSON_LINES   ? RECORDS_LINES
                           : form == FORM_JSON_ARRAY ? RECORDS_ARRAY
                           : r->s.separator          ? RECORDS_SEPARATOR
                                                     : RECORDS_BLANK_LINES;
    r->form = form == FORM_JSON_LINES || form == FORM_JSON_ARRAY ? READER_JSONL : READER_TEXT;
    records_cut(r->records, end, end == RECORDS_SEPARATOR ? r->s.separator : NULL);
    return 0;
}

struct reader *reader_open(const char *path, const struct reader_settings *s, struct err *err) {
    if (reader_check_settings(s, err) < 0) return NULL;
    struct reader *r = mem_alloc(1, sizeof *r, "reader", err);
    if (!r) return NULL;
    r->s = *s;
    r->path = mem_strdup(path, err);
    if (r->path && start(r, err) == 0) return r;
    reader_close(r);
    return NULL;
}

int64_t reader_bytes(const struct reader *r) {
    return r->parquet ? parquet_bytes(r->parquet) : records_bytes(r->records);
}

void reader_close(struct reader *r) {
    if (!r) return;
    record_release(r->hold);
    records_close(r->records);
    parquet_close(r->parquet);
    for (int i = 0; i < READER_SKIPS_MAX; i++) mem_free(r->filter[i]);
    json_decref(r->values);
    mem_free(r->path);
    mem_free(r);
}
