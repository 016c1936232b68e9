/* task_items: documents to items: templates filled in, every row looked at once before the first item is given. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buffer.h"
#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/num.h"
#include "data/table.h"
#include "eval/task.h"
#include "eval/task_rows.h"

enum { MONTH = 16 };

struct item_group { /* "": the task has no groups */
    char *name;
    int64_t rows, items; /* of the first look: all, and the good ones */
    int64_t given;       /* since; of perplexity chunks */
};

struct task_items {
    const struct task *task;
    struct task_rows *rows;
    struct task_documents documents;
    bool keep_going, looked; /* looked: the first look is over */
    struct item_group *groups;
    int64_t ngroups, capacity, limit;
    int64_t next_id, count, skipped, given; /* count and bad: of the first look; given, skipped, refused: since */
    int64_t bad, refused;
    uint64_t hash;
    char fault[sizeof((struct err){0}.msg)]; /* of the first item that was left out */
};

/* The texts of an item while they are made: all in one string, by their places. */
struct draft {
    struct bytes text;
    int64_t context, target, group, choices[TASK_CHOICES];
    int n;
};

/* ---- templates ---- */

/* The field between the braces at p, of what was made or of the document; *end: behind them. NULL: no field there. */
static const json_t *field_at(const char *p, const json_t *doc, const json_t *made, const char **end) {
    char name[64];
    const char *close = strstr(p, "}}");
    const size_t n = close ? (size_t)(close - p - 2) : 0;
    BUG_ON(!close || n >= sizeof name);
    memcpy(name, p + 2, n);
    name[n] = 0;
    *end = close + 2;
    const json_t *v = json_object_get(made, name);
    return v ? v : table_field(doc, name);
}

static int push_field(struct bytes *out, const json_t *v, const char *template, const char *where, struct err *err) {
    const char *text = json_string_value(v);
    if (!text) return err_set(err, "%s: a text is %s for '%.60s'", where, v ? "expected" : "missing", template);
    if (strlen(text) != json_string_length(v))
        return err_set(err, "%s: a text for '%.60s' has U+0000 in it", where, template);
    return bytes_push(out, text, (int64_t)json_string_length(v), err);
}

/* Appends the template filled in, and a zero. */
static int push_template(struct bytes *out, const char *template, const json_t *doc, const json_t *made,
                         const char *where, struct err *err) {
    int r = 0;
    for (const char *p = template; r == 0 && *p;) {
        const char *open = strstr(p, "{{"), *end;
        if (open != p) {
            const int64_t n = open ? open - p : (int64_t)strlen(p);
            r = bytes_push(out, p, n, err);
            p += n;
        } else {
            const json_t *v = field_at(p, doc, made, &end);
            r = push_field(out, v, template, where, err);
            p = end;
        }
    }
    return r == 0 ? bytes_push(out, "", 1, err) : r;
}

/* ---- items ---- */

static int draft_choice(struct draft *d, const char *text, int64_t n, const char *where, struct err *err) {
    if (d->n == TASK_CHOICES) return err_set(err, "%s: more than %d choices", where, TASK_CHOICES);
    if (n == 0) return err_set(err, "%s: choice %d is empty", where, d->n + 1);
    d->choices[d->n++] = d->text.n;
    return bytes_push(&d->text, " ", 1, err) < 0 || bytes_push(&d->text, text, n, err) < 0
               ? -1
               : bytes_push(&d->text, "", 1, err);
}

/* A template of choices: a list's elements, or one choice. */
static int draft_choices(struct draft *d, const char *template, const json_t *doc, const json_t *made,
                         const char *where, struct err *err) {
    const char *end;
    const json_t *v = strncmp(template, "{{", 2) == 0 ? field_at(template, doc, made, &end) : NULL;
    struct bytes text = {0};
    int r = 0;
    for (size_t i = 0; r == 0 && i < (json_is_array(v) ? json_array_size(v) : 1); i++) {
        text.n = 0;
        r = json_is_array(v) ? push_field(&text, json_array_get(v, i), template, where, err)
                             : push_template(&text, template, doc, made, where, err);
        if (r == 0) r = draft_choice(d, text.v ? text.v : "", json_is_array(v) ? text.n : text.n - 1, where, err);
    }
    bytes_free(&text);
    return r;
}

static int draft_target(struct draft *d, const struct task *t, const json_t *made, int *gold, const char *where,
                        struct err *err) {
    d->target = d->text.n;
    *gold = -1;
    if (t->kind == TASK_PERPLEXITY) return bytes_push(&d->text, "", 1, err);
    if (t->kind != TASK_CHOICE) return push_template(&d->text, "{{target}}", NULL, made, where, err);
    *gold = (int)json_integer_value(json_object_get(made, "gold"));
    BUG_ON(*gold < 0 || *gold >= d->n);
    return bytes_printf(&d->text, err, "%d%c", *gold, 0);
}

static int draft_item(struct draft *d, const struct task *t, const json_t *doc, const json_t *made, const char *group,
                      int *gold, const char *where, struct err *err) {
    if (push_template(&d->text, t->context, doc, made, where, err) < 0) return -1;
    if (d->text.n == 1) return err_set(err, "%s: the context is empty", where);
    for (int i = 0; i < 4 && t->choices[i]; i++)
        if (draft_choices(d, t->choices[i], doc, made, where, err) < 0) return -1;
    if (draft_target(d, t, made, gold, where, err) < 0) return -1;
    d->group = d->text.n;
    return bytes_push(&d->text, group, (int64_t)strlen(group) + 1, err);
}

/* One block holds all that an item points to but the document. */
static int item_fill(struct task_item *item, const struct draft *d, const struct task *t, struct err *err) {
    const int n = t->kind == TASK_LAST_WORD ? 1 : d->n;
    char *at = NULL;
    mem_cut(&at, n * (int64_t)sizeof *item->continuations);
    mem_cut(&at, d->text.n);
    const int64_t size = (int64_t)(uintptr_t)at; /* measured from NULL */
    item->memory = at = mem_alloc(size, 1, "an item", err);
    if (!at) return -1;
    item->continuations = mem_cut(&at, n * (int64_t)sizeof *item->continuations);
    char *text = mem_cut(&at, d->text.n);
    memcpy(text, d->text.v, (size_t)d->text.n);
    item->n = n;
    item->context = text;
    item->target = text + d->target;
    item->group = text + d->group;
    for (int i = 0; i < n; i++)
        item->continuations[i] = t->kind == TASK_LAST_WORD ? item->target : text + d->choices[i];
    return 0;
}

/* ---- documents of perplexity ---- */

static int no_month(const char *field, const json_t *v, const char *where, struct err *err) {
    char *found = v ? json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    err_set(err,
            "%s: field '%s': expected a date as 2024-03-31, 20240331 or 202403, or a time since 1970 as a number, "
            "found %.40s",
            where, field, found ? found : "none");
    free(found);
    return -1;
}

/* 20240331 or 202403, which as seconds since 1970 would be of that year, into year and month; also where a column of whole
 * numbers has become one of reals. 0: no such number. -1: one that is no date. */
static int dated(const json_t *v, int *year, int *month) {
    const double x = json_number_value(v);
    const bool day = x >= 19700000 && x < 21000000, whole = x == floor(x) && (day || (x >= 197000 && x < 210000));
    if (!whole) return 0;
    const int n = day ? (int)x / 100 : (int)x, last = (int)x % 100;
    *year = n / 100;
    *month = n % 100;
    return *month >= 1 && *month <= 12 && (!day || (last >= 1 && last <= 31)) ? 1 : -1;
}

/* "2024-03" of a date's text, of 20240331 or 202403, or of a number of days, seconds, or 1000ths, 10^6ths or 10^9ths of them since
 * 1970: which, its size tells: seconds are before 2100, smaller ones not of the first seven weeks. */
static int month_of(char out[MONTH], const char *field, const json_t *row, const char *where, struct err *err) {
    const json_t *v = table_field(row, field);
    const char *text = json_string_value(v);
    const int month = text && strspn(text, "0123456789") == 4 && text[4] == '-' && strspn(text + 5, "0123456789") == 2
                          ? atoi(text + 5)
                          : 0;
    if (month >= 1 && month <= 12) {
        snprintf(out, MONTH, "%.7s", text);
        return 0;
    }
    int year, month_of_year;
    const int date = dated(v, &year, &month_of_year);
    if (date < 0) return no_month(field, v, where, err);
    if (date > 0) {
        snprintf(out, MONTH, "%04d-%02d", year, month_of_year);
        return 0;
    }
    const double year_2100 = 4102444800;
    double time = json_is_number(v) ? json_number_value(v) : -1;
    struct tm tm;
    if (time >= 0 && time < 1e5) time *= 86400;
    while (time >= year_2100) time /= 1000;
    const time_t seconds = (time_t)time;
    if (time < 0 || !gmtime_r(&seconds, &tm) || strftime(out, MONTH, "%Y-%m", &tm) == 0)
        return no_month(field, v, where, err);
    return 0;
}

/* Its text into `made`, and its group. */
static int make_document(const struct task_items *items, const json_t *row, json_t *made, char month[MONTH],
                         const char **group, const char *where, struct err *err) {
    const struct task_documents *d = &items->documents;
    const char *field = d->text_field ? d->text_field : "text";
    const json_t *text = table_field(row, field);
    if (!text && !d->text_field) text = table_field(row, "content");
    if (!json_is_string(text))
        return err_set(err, "%s: field '%s' is %s: name the text's field with --text-field", where, field,
                       text ? "no text" : "missing");
    if (d->month_field) {
        *group = month;
        if (month_of(month, d->month_field, row, where, err) < 0) return -1;
    }
    return json_object_set(made, "text", (json_t *)(uintptr_t)text) < 0 ? err_set(err, "%s: no memory for it", where)
                                                                        : 0;
}

/* A row to an item, which owns it. */
static int make(const struct task_items *items, struct task_item *item, json_t *row, const char *group,
                struct err *err) {
    const struct task *t = items->task;
    const char *where = task_rows_where(items->rows);
    json_t *made = json_object();
    struct draft *d = mem_alloc(1, sizeof *d, "an item", err);
    char month[MONTH];
    int gold = -1, r = d ? 0 : -1;
    if (r == 0 && t->document) r = t->document(row, made, where, err);
    if (r == 0 && t->kind == TASK_PERPLEXITY) r = make_document(items, row, made, month, &group, where, err);
    if (r == 0) r = draft_item(d, t, row, made, group, &gold, where, err);
    if (r == 0) r = item_fill(item, d, t, err);
    item->doc = row;
    item->gold = gold;
    json_decref(made);
    if (d) bytes_free(&d->text);
    mem_free(d);
    if (r < 0) task_item_free(item);
    return r;
}

/* ---- groups ---- */

static struct item_group *find_group(const struct task_items *items, const char *name) {
    for (int64_t i = items->ngroups - 1; i >= 0; i--)
        if (!strcmp(items->groups[i].name, name)) return &items->groups[i];
    return NULL;
}

/* A new one behind the others where there is none of the name. */
static struct item_group *group_of(struct task_items *items, const char *name, struct err *err) {
    struct item_group *g = find_group(items, name);
    if (g) return g;
    if (mem_grow(&items->groups, &items->capacity, items->ngroups + 1, sizeof *g, "groups of items", err) < 0)
        return NULL;
    g = &items->groups[items->ngroups];
    *g = (struct item_group){.name = mem_strdup(name, err)};
    if (!g->name) return NULL;
    items->ngroups++;
    return g;
}

void task_items_limit(struct task_items *items, int64_t n) {
    items->limit = n;
}

bool task_items_full(const struct task_items *items, const char *group) {
    const struct item_group *g = find_group(items, group);
    return items->limit > 0 && g && g->given >= items->limit;
}

int64_t task_items_take(struct task_items *items, const char *group) {
    struct item_group *g = find_group(items, group);
    BUG_ON(!g);
    items->given++;
    return g->given++;
}

int64_t task_items_wanted(const struct task_items *items) {
    int64_t sum = 0;
    if (items->count < 0) return -1;
    for (int64_t i = 0; i < items->ngroups; i++) {
        const int64_t n = items->groups[i].items;
        sum += items->limit > 0 && items->limit < n ? items->limit : n;
    }
    return sum;
}

int64_t task_items_cut(const struct task_items *items) {
    return items->count >= 0 && task_items_wanted(items) == items->count ? 0 : items->limit;
}

json_t *task_items_sizes(const struct task_items *items) {
    json_t *o = json_object();
    int bad = 0;
    for (int64_t i = 0; i < items->ngroups; i++) {
        const struct item_group *g = &items->groups[i];
        const bool chunks = items->task->kind == TASK_PERPLEXITY;
        if (chunks && g->given == 0) continue;
        const bool unknown = chunks && task_items_full(items, g->name);
        bad |= json_object_set_new(o, g->name, unknown ? json_null() : json_integer(chunks ? g->given : g->rows));
    }
    if (!bad) return o;
    json_decref(o);
    return NULL;
}

/* ---- what is left out ---- */

static void first_fault(struct task_items *items, const struct err *why) {
    if (!*items->fault) strcpy(items->fault, why->msg);
}

void task_items_refuse(struct task_items *items, const struct err *why) {
    items->refused++;
    first_fault(items, why);
}

int64_t task_items_refused(const struct task_items *items) {
    return items->refused;
}

int64_t task_items_skipped(const struct task_items *items) {
    return (items->given == items->count ? items->bad : items->skipped) + items->refused;
}

int task_items_nothing(const struct task_items *items, struct err *err) {
    if (!*items->fault)
        return err_set(err, "%s: no %s in it", task_rows_path(items->rows, 0),
                       items->task->kind == TASK_PERPLEXITY ? "text" : "item");
    const int64_t n = task_items_skipped(items);
    return err_set(err, "%s: nothing could be evaluated: %lld item%s left out, the first: %s", items->task->name,
                   (long long)n, plural(n), items->fault);
}

/* ---- one item after another ---- */

/* The next row that is good, of a group that wants more. */
static int next(struct task_items *items, struct task_item *item, struct err *err) {
    for (;;) {
        const char *group = "";
        json_t *row;
        memset(item, 0, sizeof *item);
        int k = task_rows_next(items->rows, &row, &group, err);
        if (k == 0) return 0;
        item->doc_id = items->next_id++;
        bool passable = k < 0 && task_rows_passable(items->rows);
        if (k > 0) {
            k = make(items, item, row, group, err) < 0 ? -1 : 1;
            passable = true;
        }
        if (k < 0 && !(passable && items->keep_going)) return k;
        struct item_group *g = group_of(items, k > 0 ? item->group : group, err);
        if (!g) {
            task_item_free(item);
            return -1;
        }
        g->rows += !items->looked;
        const bool full = task_items_full(items, g->name);
        if (k > 0 && !full) return 1;
        task_item_free(item);
        if (!full) {
            items->skipped++;
            first_fault(items, err);
        } else if (items->task->kind == TASK_PERPLEXITY && !items->documents.month_field) {
            task_rows_pass_file(items->rows);
        }
    }
}

static uint64_t hash_text(uint64_t h, const char *s) {
    return hash_add(h, s, strlen(s) + 1);
}

static int look_through(struct task_items *items, struct err *err) {
    struct task_item item;
    int k;
    while ((k = next(items, &item, err)) > 0) {
        /* its number is its place but where rows before it were left out */
        if (item.doc_id != items->count) items->hash = hash_add(items->hash, &item.doc_id, sizeof item.doc_id);
        items->hash = hash_text(items->hash, item.context);
        for (int i = 0; i < item.n; i++) items->hash = hash_text(items->hash, item.continuations[i]);
        items->hash = hash_text(hash_text(items->hash, item.target), item.group);
        items->count++;
        find_group(items, item.group)->items++;
        task_item_free(&item);
    }
    items->bad = items->skipped;
    if (k == 0 && items->count == 0 && !items->keep_going) return task_items_nothing(items, err);
    items->hash = hash_finish(items->hash);
    items->next_id = items->skipped = 0;
    if (items->count > 0) items->fault[0] = 0; /* else nobody meets it again */
    items->looked = true;
    task_rows_rewind(items->rows);
    return k;
}

/* Names and sizes stand for files that are too large to read twice. */
static int look_at_files(struct task_items *items, struct err *err) {
    items->count = -1;
    for (int64_t i = 0; i < task_rows_files(items->rows); i++) {
        const char *path = task_rows_path(items->rows, i), *slash = strrchr(path, '/');
        const char *folder = task_rows_folder(items->rows, i);
        const int64_t size = file_size(path, err);
        if (size < 0) return -1;
        if (folder) items->hash = hash_text(items->hash, folder);
        items->hash = hash_text(items->hash, slash ? slash + 1 : path);
        items->hash = hash_add(items->hash, &size, sizeof size);
    }
    items->hash = hash_finish(items->hash);
    return 0;
}

struct task_items *task_items_open(const struct task *t, const char *dir, bool keep_going, struct err *err) {
    struct task_items *items = mem_alloc(1, sizeof *items, t->name, err);
    if (!items) return NULL;
    items->task = t;
    items->keep_going = keep_going;
    items->hash = HASH_START;
    items->rows = task_rows_open(t, dir, err);
    if (items->rows && (t->kind == TASK_PERPLEXITY ? look_at_files(items, err) : look_through(items, err)) == 0)
        return items;
    task_items_close(items);
    return NULL;
}

int task_items_next(struct task_items *items, struct task_item *item, struct err *err) {
    if (items->looked && items->given == task_items_wanted(items)) return 0;
    const int k = next(items, item, err);
    if (k > 0 && items->task->kind != TASK_PERPLEXITY) task_items_take(items, item->group);
    return k;
}

int task_items_documents(struct task_items *items, const struct task_documents *d, struct err *err) {
    items->documents = *d;
    task_rows_separator(items->rows, d->separator);
    return items->task->kind == TASK_PERPLEXITY && !d->month_field ? task_rows_check_groups(items->rows, err) : 0;
}

int64_t task_items_count(const struct task_items *items) {
    return items->count;
}

uint64_t task_items_hash(const struct task_items *items) {
    return items->hash;
}

const char *task_items_where(const struct task_items *items) {
    return task_rows_where(items->rows);
}

const char *task_items_path(const struct task_items *items) {
    return task_rows_path(items->rows, 0);
}

void task_items_close(struct task_items *items) {
    if (!items) return;
    task_rows_close(items->rows);
    for (int64_t i = 0; i < items->ngroups; i++) mem_free(items->groups[i].name);
    mem_free(items->groups);
    mem_free(items);
}

void task_item_free(struct task_item *item) {
    json_decref(item->doc);
    mem_free(item->memory);
    memset(item, 0, sizeof *item);
}
