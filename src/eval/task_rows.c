/* task_rows: see task_rows.h. A folder is looked through for the table's patterns first and then for names as Hugging Face
 * gives them; what a file is, data/table finds out. */
#include "eval/task_rows.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "base/records.h"
#include "data/reader.h"
#include "data/sources.h"
#include "data/table.h"
#include "eval/pystring.h"
#include "eval/results_metrics.h"
#include "eval/task.h"
#include "text/utf8.h"

struct task_file {
    char *path, *group;
    bool named; /* its own name is the group's, not its folder's */
};

struct task_rows {
    const struct task *task;
    struct task_file *files;
    int64_t n, capacity, at; /* at: the file that is read */
    struct table *table, *labels;
    struct records *lines;
    struct jsonl *objects; /* a .txt of RACE */
    bool begun;            /* it has been read */
    struct reader *documents;
    json_t *pending; /* a row that was read ahead */
    bool torn;       /* the row before was wrong, and may have been of an article of which the next one is */
    const char *separator;
    bool passable;
    char where[FILE_PATH_MAX + 64], pending_where[FILE_PATH_MAX + 64];
};

/* ---- finding files ---- */

/* Length of a name without what says that it is packed. */
static size_t unpacked(const char *name) {
    const size_t n = strlen(name);
    if (n > 4 && strcmp(name + n - 4, ".zst") == 0) return n - 4;
    return n > 3 && strcmp(name + n - 3, ".gz") == 0 ? n - 3 : n;
}

static bool ends_in(const char *name, const char *end) {
    const size_t n = unpacked(name), m = strlen(end);
    return n >= m && memcmp(name + n - m, end, m) == 0;
}

static int add_file(struct task_rows *rows, const char *path, const char *group, size_t group_length, struct err *err) {
    if (mem_grow(&rows->files, &rows->capacity, rows->n + 1, sizeof *rows->files, "files of a task", err) < 0)
        return -1;
    struct task_file *f = &rows->files[rows->n++];
    f->path = mem_strdup(path, err);
    f->group = mem_alloc((int64_t)group_length + 1, 1, "a name", err);
    if (f->group) memcpy(f->group, group, group_length);
    return f->path && f->group ? 0 : -1;
}

/* Names in `folder` that fit a pattern with folders before it. */
static int match(struct task_rows *rows, const char *folder, const char *pattern, const char *group,
                 size_t group_length, struct err *err) {
    char below[FILE_PATH_MAX], path[FILE_PATH_MAX], plain[FILE_PATH_MAX];
    const char *slash = strrchr(pattern, '/');
    char **names;
    int64_t n;
    int r = 0;
    snprintf(path, sizeof path, "%.*s", slash ? (int)(slash - pattern) : 0, pattern);
    if (file_join(below, folder, path, err) < 0) return -1;
    if (!file_is_dir(below)) return 0;
    if (file_list(&names, &n, below, err) < 0) return -1;
    for (int64_t i = 0; r == 0 && i < n; i++) {
        snprintf(plain, sizeof plain, "%.*s", (int)unpacked(names[i]), names[i]);
        if (fnmatch(slash ? slash + 1 : pattern, plain, FNM_PERIOD) != 0) continue;
        r = file_join(path, below, names[i], err);
        if (r == 0 && !file_is_dir(path)) r = add_file(rows, path, group, group_length, err);
    }
    file_list_free(names, n);
    return r;
}

/* Several files are one set when they are shards of Parquet or texts; else one of them must be meant. */
static int check_one(const struct task_rows *rows, struct err *err) {
    for (int64_t i = 1; i < rows->n; i++)
        if (!ends_in(rows->files[i].path, ".parquet") && !ends_in(rows->files[i].path, ".txt"))
            return err_set(err, "%s and %s both look like the file of %s: leave one of them in the folder",
                           rows->files[i - 1].path, rows->files[i].path, rows->task->name);
    return 0;
}

/* All of the table's "GROUP=NAME", or none. */
static int find_parts(struct task_rows *rows, const char *folder, struct err *err) {
    const char *const *f = rows->task->files;
    const char *missing = NULL;
    for (int i = 0; i < TASK_FILES && f[i]; i++) {
        const char *name = strchr(f[i], '=') + 1;
        const int64_t before = rows->n;
        if (match(rows, folder, name, f[i], (size_t)(name - 1 - f[i]), err) < 0) return -1;
        if (rows->n == before) missing = name;
    }
    return missing && rows->n > 0
               ? err_set(err, "%s: %s is there, but %s is missing", folder, rows->files[0].path, missing)
               : 0;
}

/* Where tasks look into one folder, what is called by the split alone is the first one's in the table. */
static bool split_is_of(const struct task *t, const char *folder) {
    for (const struct task *o = tasks; o < t; o++)
        for (int i = 0; i < TASK_FOLDERS && o->folders[i]; i++)
            if (!strcmp(o->folders[i], folder)) return false;
    return true;
}

static int find_split(struct task_rows *rows, const char *folder, const char *name, struct err *err) {
    static const char *const validation[] = {"validation", "valid", "val", "dev", NULL}, *const test[] = {"test", NULL};
    static const char *const forms[] = {"%s.jsonl",
                                        "%s*.jsonl",
                                        "%s*.json",
                                        "%s*.parquet",
                                        "data/%s*.parquet",
                                        "default/%s*.parquet",
                                        "plain_text/%s*.parquet",
                                        "%s/*.parquet",
                                        "default/%s/*.parquet",
                                        "plain_text/%s/*.parquet"};
    static const char *const ends[] = {".jsonl", ".json", ".parquet"};
    char pattern[128];
    int r = 0;
    const char *const *split = !strcmp(rows->task->split, "test") ? test : validation;
    for (; *split && split_is_of(rows->task, name); split++)
        for (size_t i = 0; i < sizeof forms / sizeof *forms && r == 0 && rows->n == 0; i++) {
            snprintf(pattern, sizeof pattern, forms[i], *split);
            r = match(rows, folder, pattern, "", 0, err);
        }
    /* what is called otherwise may be another split or another benchmark; nobody's benchmark has but one file */
    for (size_t i = 0; i < sizeof ends / sizeof *ends && r == 0 && rows->n == 0; i++) {
        snprintf(pattern, sizeof pattern, "%s%s", rows->task->own ? "*" : rows->task->name, ends[i]);
        r = match(rows, folder, pattern, "", 0, err);
    }
    return r;
}

/* perplexity: every file of the folder is a group, and so is a folder in it with all its files. */
static int find_documents(struct task_rows *rows, const char *folder, const char *group, struct err *err) {
    char **names, path[FILE_PATH_MAX];
    int64_t n;
    if (file_list(&names, &n, folder, err) < 0) return -1;
    int r = 0;
    for (int64_t i = 0; r == 0 && i < n; i++) {
        if (names[i][0] == '.') continue;
        const char *dot = memrchr(names[i], '.', unpacked(names[i]));
        const size_t base = dot && dot > names[i] ? (size_t)(dot - names[i]) : strlen(names[i]);
        r = file_join(path, folder, names[i], err);
        if (r == 0 && !file_is_dir(path)) {
            if (sources_about_data(names[i])) continue;
            r = add_file(rows, path, group ? group : names[i], group ? strlen(group) : base, err);
            if (r == 0) rows->files[rows->n - 1].named = !group;
        } else if (r == 0 && !group)
            r = find_documents(rows, path, names[i], err);
    }
    file_list_free(names, n);
    return r;
}

/* In the folder, which the task calls `name`. */
static int find_in(struct task_rows *rows, const char *folder, const char *name, struct err *err) {
    const struct task *t = rows->task;
    if (t->kind == TASK_PERPLEXITY) return find_documents(rows, folder, NULL, err);
    if (t->files[0] && strchr(t->files[0], '=')) return find_parts(rows, folder, err);
    int r = 0;
    for (int i = 0; i < TASK_FILES && t->files[i] && r == 0 && rows->n == 0; i++)
        r = match(rows, folder, t->files[i], "", 0, err);
    if (r == 0 && rows->n == 0) r = find_split(rows, folder, name, err);
    return r == 0 ? check_one(rows, err) : r;
}

static int find(struct task_rows *rows, const char *dir, struct err *err) {
    const struct task *t = rows->task;
    char folder[FILE_PATH_MAX];
    bool there = false;
    for (int i = 0; i < TASK_FOLDERS && t->folders[i]; i++) {
        if (file_join(folder, dir, t->folders[i], err) < 0) return -1;
        if (!file_is_dir(folder)) continue;
        there = true;
        if (find_in(rows, folder, t->folders[i], err) < 0) return -1;
        if (rows->n > 0) return 0;
    }
    if (!file_is_dir(dir))
        return err_set(err, "%s/%s: the data folder is not there; expected %s", dir, t->folders[0], t->source);
    return err_set(err, "%s/%s: %s; expected %s, or --tasks without %s", dir, t->folders[0],
                   there ? "no file of the task" : "no such folder", t->source, t->name);
}

/* ---- reading ---- */

static void shut(struct task_rows *rows) {
    table_close(rows->table);
    table_close(rows->labels);
    records_close(rows->lines);
    jsonl_close(rows->objects);
    reader_close(rows->documents);
    json_decref(rows->pending);
    rows->table = rows->labels = NULL;
    rows->lines = NULL;
    rows->objects = NULL;
    rows->documents = NULL;
    rows->pending = NULL;
    rows->torn = rows->begun = false;
}

static int open_labels(struct task_rows *rows, const char *path, struct err *err) {
    static const char *const packed[] = {"", ".zst", ".gz"};
    char labels[FILE_PATH_MAX];
    const size_t n = unpacked(path);
    if (n < 6 || strncmp(path + n - 6, ".jsonl", 6) != 0) return 0;
    for (int i = 0; i < 3; i++) {
        if (snprintf(labels, sizeof labels, "%.*s-labels.lst%s", (int)n - 6, path, packed[i]) >= (int)sizeof labels ||
            !file_exists(labels))
            continue;
        rows->labels = table_open(labels, NULL, err);
        return rows->labels ? 0 : -1;
    }
    return 0;
}

static int open_documents(struct task_rows *rows, const char *path, struct err *err) {
    const struct reader_settings settings = {.separator = rows->separator};
    rows->documents = reader_open(path, &settings, err);
    if (!rows->documents) return -1;
    if (reader_form(rows->documents) == READER_TEXT) return 0;
    reader_close(rows->documents); /* rows have more than a text */
    rows->documents = NULL;
    rows->table = table_open(path, NULL, err);
    return rows->table ? 0 : -1;
}

static int open_file(struct task_rows *rows, struct err *err) {
    const char *path = rows->files[rows->at].path;
    if (rows->task->kind == TASK_PERPLEXITY) return open_documents(rows, path, err);
    if (!ends_in(path, ".txt")) {
        rows->table = table_open(path, NULL, err);
        return rows->table ? open_labels(rows, path, err) : -1;
    }
    const bool object = rows->task->kind == TASK_CHOICE;
    struct records *records = records_open(path, err);
    if (!records) return -1;
    records_cut(records, object ? RECORDS_SEPARATOR : RECORDS_LINES, object ? "\x1e" : NULL); /* which no JSON has */
    if (!object)
        rows->lines = records;
    else if (!(rows->objects = jsonl_from(records, err)))
        return -1;
    return 0;
}

static int text_row(json_t **row, const char *text, int64_t n, const char *where, struct err *err) {
    json_t *v = json_stringn(text, (size_t)n);
    if (!v) return err_set(err, "%s: not UTF-8", where);
    *row = json_pack("{s:o}", "text", v);
    return *row ? 1 : err_set(err, "%s: no memory for a row", where);
}

static int next_line(struct task_rows *rows, json_t **row, struct err *err) {
    struct record rec;
    int k;
    while ((k = records_next(rows->lines, &rec, err)) > 0) {
        snprintf(rows->where, sizeof rows->where, "%s line %lld", rows->files[rows->at].path, (long long)rec.line);
        py_strip(&rec.data, &rec.n);
        if (rec.n == 0) continue;
        rows->passable = true;
        return text_row(row, rec.data, rec.n, rows->where, err);
    }
    return k;
}

static int next_document(struct task_rows *rows, json_t **row, struct err *err) {
    struct document doc;
    const int k = reader_next(rows->documents, &doc, err);
    if (k <= 0) return k;
    snprintf(rows->where, sizeof rows->where, "%s document %lld", rows->files[rows->at].path,
             (long long)doc.number + 1);
    rows->passable = true;
    return text_row(row, doc.text, doc.n, rows->where, err);
}

/* Gives a row, or one that is wrong (NULL), the label of its number. */
static int take_label(struct task_rows *rows, json_t *row, struct err *err) {
    json_t *label;
    if (!rows->labels) return 0;
    const int k = table_next(rows->labels, &label, err);
    if (k == 0) return err_set(err, "%s: no label for it: the list of labels is shorter", rows->where);
    if (k < 0) return -1;
    const int r = row ? json_object_set(row, "label", json_object_get(label, "value")) : 0;
    json_decref(label);
    return r < 0 ? err_set(err, "%s: no memory for a label", rows->where) : 0;
}

/* The next row of a table with its label. After a line that is no JSON the next one can be read. */
static int next_labelled(struct task_rows *rows, json_t **row, struct err *err) {
    struct err ignored;
    const int k = table_next(rows->table, row, err);
    snprintf(rows->where, sizeof rows->where, "%s", table_where(rows->table));
    rows->passable = k > 0 || (k < 0 && table_passable(rows->table));
    if (k < 0 && rows->passable) rows->passable = take_label(rows, NULL, &ignored) == 0;
    if (k > 0 && take_label(rows, *row, err) < 0) {
        rows->passable = false;
        json_decref(*row);
        return -1;
    }
    if (k == 0 && rows->labels) {
        json_t *label;
        rows->passable = false;
        if (table_next(rows->labels, &label, &ignored) > 0) {
            json_decref(label);
            return err_set(err, "%s: one label more than %s has rows", table_where(rows->labels),
                           rows->files[rows->at].path);
        }
    }
    return k;
}

/* A row of one question becomes one of lists; `row` takes the question of `other`, which is of the same article. */
static int gather(json_t *row, const json_t *other, const char *where, struct err *err) {
    static const char *const one[] = {"question", "options", "answer"}, *const all[] = {"questions", "options",
                                                                                        "answers"};
    for (int i = 0; i < 3; i++) {
        json_t *v = json_object_get(other, one[i]), *list = other == row ? json_array() : json_object_get(row, all[i]);
        if (!v) {
            if (other == row) json_decref(list);
            return err_set(err, "%s: \"%s\" is missing", where, one[i]);
        }
        if (json_array_append(list, v) < 0 || (other == row && json_object_set_new(row, all[i], list) < 0))
            return err_set(err, "%s: no memory for a row", where);
    }
    return 0;
}

/* A row without the field that tells whose it is cannot be read. */
static int next_of_gathered(struct task_rows *rows, json_t **row, struct err *err) {
    const int k = next_labelled(rows, row, err);
    if (k <= 0 || json_is_string(json_object_get(*row, rows->task->gather))) return k;
    json_decref(*row);
    return err_set(err, "%s: \"%s\" is missing", rows->where, rows->task->gather);
}

/* An article: a row that has all its questions, or the rows of one question each that follow one another. Of the latter
 * all go when one is wrong; of a row that cannot be read nobody knows which article's it was: that before it goes, and
 * that behind it. */
static int next_gathered(struct task_rows *rows, json_t **row, struct err *err) {
    const char *key = rows->task->gather;
    char where[sizeof rows->where];
    struct err unread;
    json_t *first = rows->pending, *other;
    int k = 1;
    if (first)
        strcpy(rows->where, rows->pending_where);
    else if ((k = next_of_gathered(rows, &first, err)) < 0)
        rows->torn = rows->passable;
    rows->pending = NULL;
    if (k <= 0) return k;
    const bool torn = rows->torn;
    rows->torn = false;
    *row = first;
    if (json_object_get(first, "questions") || json_object_get(first, "problems")) return 1;
    strcpy(where, rows->where);
    if (torn) err_set(err, "%s: a row of its article may be the one before, which is wrong", where);
    bool good = !torn && gather(first, first, where, err) == 0;
    while ((k = next_of_gathered(rows, &other, &unread)) > 0 &&
           json_equal(json_object_get(other, key), json_object_get(first, key))) {
        good = good && gather(first, other, rows->where, err) == 0;
        json_decref(other);
    }
    if (k > 0) {
        rows->pending = other;
        strcpy(rows->pending_where, rows->where);
    }
    rows->torn = k < 0;
    if (k < 0 && (good || !rows->passable)) *err = unread;
    if (k >= 0) rows->passable = true;
    strcpy(rows->where, where);
    if (k >= 0 && good) return 1;
    json_decref(first);
    return -1;
}

/* The object that the whole file is. */
static int next_object(struct task_rows *rows, json_t **row, struct err *err) {
    const char *path = rows->files[rows->at].path;
    const bool first = !rows->begun;
    const int k = jsonl_next(rows->objects, row, err);
    rows->begun = true;
    rows->passable = k >= 0 || jsonl_passable(rows->objects);
    snprintf(rows->where, sizeof rows->where, "%s", path);
    if (k == 0 && first) return err_set(err, "%s: nothing in it; expected a JSON object", path);
    if (k <= 0 || (first && json_is_object(*row))) return k;
    json_decref(*row);
    return err_set(err, "%s: expected one JSON object and nothing else", path);
}

int task_rows_next(struct task_rows *rows, json_t **row, const char **group, struct err *err) {
    rows->passable = false;
    for (; rows->at < rows->n; rows->at++) {
        int k = rows->table || rows->lines || rows->objects || rows->documents ? 0 : open_file(rows, err);
        if (k < 0) return -1;
        *group = rows->files[rows->at].group;
        k = rows->documents      ? next_document(rows, row, err)
            : rows->lines        ? next_line(rows, row, err)
            : rows->objects      ? next_object(rows, row, err)
            : rows->task->gather ? next_gathered(rows, row, err)
                                 : next_labelled(rows, row, err);
        if (k != 0) return k;
        shut(rows);
    }
    return 0;
}

/* ---- open and close ---- */

struct task_rows *task_rows_open(const struct task *t, const char *dir, struct err *err) {
    struct task_rows *rows = mem_alloc(1, sizeof *rows, t->name, err);
    if (!rows) return NULL;
    rows->task = t;
    if (find(rows, dir, err) == 0) return rows;
    task_rows_close(rows);
    return NULL;
}

void task_rows_separator(struct task_rows *rows, const char *separator) {
    rows->separator = separator;
}

void task_rows_pass_file(struct task_rows *rows) {
    shut(rows);
    if (rows->at < rows->n) rows->at++;
}

void task_rows_rewind(struct task_rows *rows) {
    shut(rows);
    rows->at = 0;
    rows->where[0] = 0;
}

const char *task_rows_folder(const struct task_rows *rows, int64_t file) {
    return rows->files[file].named ? NULL : rows->files[file].group;
}

bool task_rows_passable(const struct task_rows *rows) {
    return rows->passable;
}

const char *task_rows_where(const struct task_rows *rows) {
    return rows->where;
}

int task_rows_check_groups(const struct task_rows *rows, struct err *err) {
    for (int64_t i = 0; i < rows->n; i++) {
        const struct task_file *f = &rows->files[i], *other = rows->files;
        if (strlen(f->group) >= RESULTS_GROUP)
            return err_set(err, "%s: its results are called '%.20s…', a name of %zu bytes: rename it to at most %d",
                           f->path, f->group, strlen(f->group), RESULTS_GROUP - 1);
        if (utf8_valid(f->group, (int64_t)strlen(f->group)) < (int64_t)strlen(f->group))
            return err_set(err, "%s: its results are called by its name, which is not UTF-8: rename it", f->path);
        for (; f->named && other < rows->files + rows->n; other++)
            if (other != f && strcmp(other->group, f->group) == 0)
                return err_set(err, "%s and %s: the results of both would be called '%s': rename one of them", f->path,
                               other->path, f->group);
    }
    return 0;
}

int64_t task_rows_files(const struct task_rows *rows) {
    return rows->n;
}

const char *task_rows_path(const struct task_rows *rows, int64_t file) {
    return rows->files[file].path;
}

void task_rows_close(struct task_rows *rows) {
    if (!rows) return;
    shut(rows);
    for (int64_t i = 0; i < rows->n; i++) {
        mem_free(rows->files[i].path);
        mem_free(rows->files[i].group);
    }
    mem_free(rows->files);
    mem_free(rows);
}
