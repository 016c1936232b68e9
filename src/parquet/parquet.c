/* parquet: puts rows together from columns. All columns go forward together, row by row; what a value's levels say about
 * the structs and lists around it is asked of the first wanted column below each, and the others must agree. */
#include "parquet/parquet.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/input.h"
#include "base/mem.h"
#include "base/records.h"
#include "parquet/column.h"
#include "parquet/meta.h"
#include "parquet/value.h"

enum { ROW_VALUES_MAX = 1 << 22 };

struct name { /* that parquet_want() has handed out */
    struct name *next;
    char text[PARQUET_PATH_MAX];
};

struct parquet {
    char *path;
    struct input in;
    struct parquet_meta meta;
    bool *wanted;                   /* nodes */
    struct parquet_column *columns; /* of the wanted columns */
    int64_t n;
    int64_t *first; /* nodes: wanted columns before it; those below it are [first[node], first[its end]) */
    bool started;
    int64_t row;
    int64_t row_bytes, row_values; /* of the row under way */
    struct name *names;
};

/* ---- open ---- */

struct parquet *parquet_open(const char *path, struct err *err) {
    struct parquet *p = mem_alloc(1, sizeof *p, "Parquet reader", err);
    if (!p) return NULL;
    p->in.fd = -1;
    p->path = mem_strdup(path, err);
    if (p->path && input_open(&p->in, p->path, err) == 0 && parquet_meta_read(&p->meta, &p->in, err) == 0) {
        p->wanted = mem_alloc(p->meta.schema.n, sizeof *p->wanted, "Parquet columns", err);
        if (p->wanted) return p;
    }
    parquet_close(p);
    return NULL;
}

void parquet_close(struct parquet *p) {
    if (!p) return;
    for (int64_t i = 0; i < p->n; i++) parquet_column_close(&p->columns[i]);
    mem_free(p->columns);
    mem_free(p->first);
    mem_free(p->wanted);
    for (struct name *name = p->names, *next; name; name = next) {
        next = name->next;
        mem_free(name);
    }
    parquet_meta_free(&p->meta);
    input_close(&p->in);
    mem_free(p->path);
    mem_free(p);
}

/* ---- choosing columns ---- */

static bool is_text(const struct parquet_node *node) {
    return node->type == PARQUET_BYTE_ARRAY && node->meaning == PARQUET_ITSELF;
}

static int no_column(const struct parquet *p, const char *name, bool text, const char *what, struct err *err) {
    const struct parquet_schema *s = &p->meta.schema;
    char names[300] = "", path[PARQUET_PATH_MAX];
    for (int64_t i = 0; i < s->n; i++) {
        if (s->nodes[i].leaf < 0 || (text && !is_text(&s->nodes[i]))) continue;
        parquet_schema_path(s, i, false, path);
        size_t used = strlen(names);
        if (used + strlen(path) + 3 < sizeof names)
            snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", path);
    }
    return err_set(err, "%s: %s '%s'; its columns%s: %s", p->path, what, name, text ? " of strings" : "",
                   names[0] ? names : "none");
}

/* The node of a path, spelled either way, or -1. */
static int64_t find(const struct parquet *p, const char *name) {
    char path[PARQUET_PATH_MAX];
    for (int64_t i = 1; i < p->meta.schema.n; i++)
        for (int all = 0; all < 2; all++) {
            parquet_schema_path(&p->meta.schema, i, all, path);
            if (strcmp(path, name) == 0) return i;
        }
    return -1;
}

/* The only column of strings in the subtree of a node, or -1 with err. */
static int64_t only_text(const struct parquet *p, int64_t node, const char *name, struct err *err) {
    const struct parquet_node *nodes = p->meta.schema.nodes;
    int64_t found = -1, count = 0;
    for (int64_t i = node; i < nodes[node].end; i++) {
        if (nodes[i].leaf < 0 || !is_text(&nodes[i])) continue;
        found = i;
        count++;
    }
    if (count == 1) return found;
    if (nodes[node].leaf >= 0)
        return err_set(err, "%s: column '%s' is of type %s, expected strings", p->path, name,
                       parquet_type_names[nodes[node].type]);
    return no_column(p, name, true, count ? "several columns below" : "no column", err);
}

int parquet_want(struct parquet *p, const char *column, bool text, const char **out, struct err *err) {
    BUG_ON(p->started);
    int64_t node = find(p, column);
    if (node < 0) return no_column(p, column, text, "no column", err);
    if (text && (node = only_text(p, node, column, err)) < 0) return -1;
    memset(p->wanted + node, 1, (size_t)(p->meta.schema.nodes[node].end - node));
    if (!out) return 0;
    struct name *name = mem_alloc(1, sizeof *name, "Parquet column name", err);
    if (!name) return -1;
    parquet_schema_path(&p->meta.schema, node, false, name->text);
    name->next = p->names;
    p->names = name;
    *out = name->text;
    return 0;
}

/* The wanted columns are settled: opens them. */
static int start(struct parquet *p, struct err *err) {
    const struct parquet_schema *s = &p->meta.schema;
    bool all = !memchr(p->wanted, 1, (size_t)s->n);
    p->started = true;
    p->columns = mem_alloc(s->leaves, sizeof *p->columns, "Parquet columns", err);
    p->first = p->columns ? mem_alloc(s->n + 1, sizeof *p->first, "Parquet columns", err) : NULL;
    if (!p->first) return -1;
    for (int64_t i = 0; i < s->n; i++) {
        p->first[i] = p->n;
        if (s->nodes[i].leaf < 0 || !(all || p->wanted[i])) continue;
        if (parquet_column_open(&p->columns[p->n++], &p->meta, i, err) < 0) return -1;
    }
    p->first[s->n] = p->n;
    mem_free(p->meta.footer); /* its job is done */
    p->meta.footer = NULL;
    return p->n > 0 ? 0 : err_set(err, "%s: a Parquet file without columns", p->path);
}

bool parquet_repeated(const struct parquet *p) {
    const struct parquet_schema *s = &p->meta.schema;
    for (int64_t i = 0; i < s->n; i++)
        if (s->nodes[i].leaf >= 0 && p->wanted[i] && s->nodes[i].rep > 0) return true;
    return false;
}

/* ---- rows ---- */

static json_t *read_node(struct parquet *p, int64_t i, uint32_t rep, struct err *err);
static json_t *read_content(struct parquet *p, int64_t i, uint32_t rep, struct err *err);

static json_t *fail(struct parquet_column *c, const char *what, struct err *err) {
    parquet_column_wrong(c, what, err);
    return NULL;
}

/* The column's next value, which must go on at level `rep`: whether the node (by its level) is there; -1 with err. */
static int is_there(struct parquet_column *c, const struct parquet_node *node, uint32_t rep, struct err *err) {
    int k = parquet_column_look(c, err);
    if (k < 0) return -1;
    if (k == 0 || c->rep != rep)
        return parquet_column_wrong(c, "it has other rows or lists than the other columns", err);
    return c->def >= (uint32_t)node->def;
}

/* Of a node that is not there every column has a mark that says so. */
static int pass_absent(struct parquet *p, int64_t i, uint32_t rep, struct err *err) {
    const struct parquet_node *nodes = p->meta.schema.nodes;
    for (int64_t k = p->first[i]; k < p->first[nodes[i].end]; k++) {
        const char *bytes;
        int64_t n;
        int there = is_there(&p->columns[k], &nodes[i], rep, err);
        if (there > 0) parquet_column_wrong(&p->columns[k], "it has a value where another column has none", err);
        if (there != 0 || parquet_column_take(&p->columns[k], &bytes, &n, err) < 0) return -1;
    }
    return 0;
}

static json_t *read_value(struct parquet *p, const struct parquet_node *node, struct parquet_column *c, uint32_t rep,
                          struct err *err) {
    const char *bytes;
    int64_t n;
    if (is_there(c, node, rep, err) < 0 || parquet_column_take(c, &bytes, &n, err) < 0) return NULL;
    p->row_bytes += bytes ? n : 0;
    if (p->row_bytes > RECORD_MAX) {
        err_set(err, "%s row %lld: longer than %d MiB", p->path, (long long)p->row + 1, RECORD_MAX >> 20);
        return NULL;
    }
    json_t *v = bytes ? parquet_value(node, bytes, n) : NULL;
    return v ? v : fail(c, bytes ? "no memory for a value" : "no value where there must be one", err);
}

/* `into` with a value more; NULL, and all of it gone, when v is NULL or that fails. */
static json_t *put_into(struct parquet *p, json_t *into, const char *name, json_t *v, struct err *err) {
    if (v) {
        int bad = name ? json_object_set_new_nocheck(into, name, v) : json_array_append_new(into, v);
        if (bad == 0 && ++p->row_values <= ROW_VALUES_MAX) return into;
        if (bad)
            err_set(err, "%s row %lld: no memory for it", p->path, (long long)p->row + 1);
        else
            err_set(err, "%s row %lld: more than %d values", p->path, (long long)p->row + 1, ROW_VALUES_MAX);
    }
    json_decref(into);
    return NULL;
}

static json_t *read_struct(struct parquet *p, int64_t i, uint32_t rep, struct err *err) {
    const struct parquet_node *nodes = p->meta.schema.nodes;
    json_t *o = json_object();
    for (int64_t k = i + 1; k < nodes[i].end; k = nodes[k].end) {
        if (p->first[k] == p->first[nodes[k].end]) continue; /* nothing below is wanted */
        if (!(o = put_into(p, o, nodes[k].name, read_node(p, k, rep, err), err))) return NULL;
    }
    return o;
}

/* Node i is a repeated one: its elements, until a value belongs to something further out. */
static json_t *read_list(struct parquet *p, int64_t i, uint32_t rep, struct err *err) {
    const struct parquet_node *node = &p->meta.schema.nodes[i];
    struct parquet_column *c = &p->columns[p->first[i]];
    json_t *list = json_array();
    int k = list ? is_there(c, node, rep, err) : err_set(err, "%s: no memory for a row", p->path);
    if (k == 0) k = pass_absent(p, i, rep, err);
    for (bool more = k > 0; more; rep = (uint32_t)node->rep) {
        bool wrapped = i + 1 < node->end && node[1].silent;
        list = put_into(p, list, NULL, wrapped ? read_node(p, i + 1, rep, err) : read_content(p, i, rep, err), err);
        if (!list) return NULL;
        k = parquet_column_look(c, err);
        more = k > 0 && c->rep == (uint32_t)node->rep;
    }
    if (k >= 0) return list;
    json_decref(list);
    return NULL;
}

/* What a node holds when it is there. */
static json_t *read_content(struct parquet *p, int64_t i, uint32_t rep, struct err *err) {
    const struct parquet_node *node = &p->meta.schema.nodes[i];
    if (node->leaf >= 0) return read_value(p, node, &p->columns[p->first[i]], rep, err);
    return node->list ? read_list(p, i + 1, rep, err) : read_struct(p, i, rep, err);
}

static json_t *read_node(struct parquet *p, int64_t i, uint32_t rep, struct err *err) {
    const struct parquet_node *node = &p->meta.schema.nodes[i];
    if (node->repetition == PARQUET_REPEATED) return read_list(p, i, rep, err);
    if (node->repetition == PARQUET_OPTIONAL) {
        int there = is_there(&p->columns[p->first[i]], node, rep, err);
        if (there == 0) there = pass_absent(p, i, rep, err) < 0 ? -1 : 0;
        if (there <= 0) return there < 0 ? NULL : json_null();
    }
    return read_content(p, i, rep, err);
}

int parquet_next(struct parquet *p, json_t **row, struct err *err) {
    if (!p->started && start(p, err) < 0) return -1;
    int k = parquet_column_look(&p->columns[0], err);
    for (int64_t i = 1; k == 0 && i < p->n; i++) {
        k = parquet_column_look(&p->columns[i], err);
        if (k > 0) k = parquet_column_wrong(&p->columns[i], "it has more rows than the other columns", err);
    }
    if (k <= 0) return k;
    p->row_bytes = p->row_values = 0;
    *row = read_struct(p, 0, 0, err);
    p->row += *row != NULL;
    return *row ? 1 : -1;
}

int64_t parquet_row(const struct parquet *p) {
    return p->row;
}

int parquet_skip(struct parquet *p, int64_t row, struct err *err) {
    BUG_ON(p->started);
    if (start(p, err) < 0) return -1;
    for (int64_t group = 0; group < p->columns[0].n && p->columns[0].chunks[group].rows <= row - p->row; group++) {
        p->row += p->columns[0].chunks[group].rows;
        for (int64_t i = 0; i < p->n; i++) parquet_column_skip_group(&p->columns[i]);
    }
    return 0;
}

int64_t parquet_bytes(const struct parquet *p) {
    const struct parquet_column *c = p->columns;
    if (p->n == 0) return 0;
    return c->in_chunk == 0 && c->next == c->n ? p->in.size : c->pages.at;
}
