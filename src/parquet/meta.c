/* meta: reads the footer (Thrift structs FileMetaData, SchemaElement, RowGroup, ColumnChunk, ColumnMetaData of
 * the Parquet format) twice: for the schema, then for the chunks of the one column that is wanted. Statistics, sort
 * orders, indexes and bloom filters are passed over. */
#include "parquet/meta.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "parquet/thrift.h"

enum { DEPTH_MAX = 64, PATH_MAX_BYTES = 4096, LEAVES_MAX = 1 << 16 };
enum { REQUIRED, OPTIONAL, REPEATED };
static const int64_t VALUES_MAX = 1ll << 38; /* in a row group; sums of them fit */

static const char *const type_names[PARQUET_TYPES] = {"BOOLEAN", "INT32",  "INT64",      "INT96",
                                                      "FLOAT",   "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"};

static int damaged(const struct parquet_meta *m, const char *what, struct err *err) {
    return err_set(err, "%s: damaged Parquet footer: %s", m->in->path, what);
}

/* ---- the schema ---- */

struct element { /* of the schema, which lists the tree depth first */
    const char *name;
    int64_t name_n, type, repetition, children;
};

static struct element read_element(struct thrift *t) {
    struct element e = {.name = "", .type = -1, .repetition = REQUIRED};
    for (int id = 0, type; thrift_field(t, &id, &type);) switch (id) {
        case 1:
            e.type = thrift_int(t, type);
            break;
        case 3:
            e.repetition = thrift_int(t, type);
            break;
        case 4:
            e.name = thrift_binary(t, type, &e.name_n);
            break;
        case 5:
            e.children = thrift_int(t, type);
            break;
        default:
            thrift_skip(t, type);
        }
    return e;
}

struct walk {                /* the way from the root to the current element */
    int64_t left[DEPTH_MAX]; /* children still to come, per level */
    int64_t path_n[DEPTH_MAX];
    int def[DEPTH_MAX], rep[DEPTH_MAX];
    int depth;
    char path[PATH_MAX_BYTES];
};

static int add_leaf(struct parquet_meta *m, const struct walk *w, const struct element *e, struct err *err) {
    int64_t above = w->path_n[w->depth];
    if (e->type < 0 || e->type >= PARQUET_TYPES) return damaged(m, "a column of unknown type", err);
    if (m->n == LEAVES_MAX) return damaged(m, "too many columns", err);
    if (mem_grow(&m->leaves, &m->capacity, m->n + 1, sizeof *m->leaves, "Parquet columns", err) < 0) return -1;
    struct parquet_leaf *leaf = &m->leaves[m->n];
    leaf->path = mem_alloc(above + e->name_n + 1, 1, "Parquet column name", err);
    if (!leaf->path) return -1;
    memcpy(leaf->path, w->path, (size_t)above);
    memcpy(leaf->path + above, e->name, (size_t)e->name_n);
    leaf->type = (enum parquet_type)e->type;
    leaf->max_def = w->def[w->depth] + (e->repetition != REQUIRED);
    leaf->max_rep = w->rep[w->depth] + (e->repetition == REPEATED);
    m->n++;
    return 0;
}

/* Goes down into a group, whose name and a dot are added to the path. The root has no name there. */
static int push(const struct parquet_meta *m, struct walk *w, const struct element *e, struct err *err) {
    int64_t above = w->depth < 0 ? 0 : w->path_n[w->depth], n = w->depth < 0 ? 0 : e->name_n + 1;
    if (w->depth + 1 == DEPTH_MAX || above + n > PATH_MAX_BYTES) return damaged(m, "columns nested too deep", err);
    if (n > 0) {
        memcpy(w->path + above, e->name, (size_t)e->name_n);
        w->path[above + n - 1] = '.';
    }
    int d = ++w->depth;
    w->left[d] = e->children;
    w->path_n[d] = above + n;
    w->def[d] = d == 0 ? 0 : w->def[d - 1] + (e->repetition != REQUIRED);
    w->rep[d] = d == 0 ? 0 : w->rep[d - 1] + (e->repetition == REPEATED);
    return 0;
}

static int read_schema(struct parquet_meta *m, struct thrift *t, int type, struct err *err) {
    int element;
    struct walk *w = mem_alloc(1, sizeof *w, "Parquet schema", err);
    if (!w) return -1;
    w->depth = -1;
    int r = 0;
    for (int64_t n = thrift_list(t, type, &element), i = 0; i < n && r == 0; i++) {
        struct element e = thrift_struct(t, element) ? read_element(t) : (struct element){.name = ""};
        bool orphan = i > 0 && w->depth < 0;
        if (t->bad || orphan || e.children < 0 || e.children > n - 1 - i || e.repetition < 0 ||
            e.repetition > REPEATED || e.name_n > PATH_MAX_BYTES || memchr(e.name, 0, (size_t)e.name_n)) {
            r = damaged(m, "the schema is not a tree of columns", err);
            break;
        }
        if (i > 0) w->left[w->depth]--;
        bool group = i == 0 || e.children > 0 || e.type < 0;
        r = group ? push(m, w, &e, err) : add_leaf(m, w, &e, err);
        while (w->depth >= 0 && w->left[w->depth] == 0) w->depth--;
    }
    if (r == 0 && (w->depth >= 0 || t->bad)) r = damaged(m, "the schema ends too early", err);
    mem_free(w);
    return r;
}

static int read_file_meta(struct parquet_meta *m, struct err *err) {
    struct thrift t = {m->footer, m->footer + m->footer_size, false, 0};
    int r = 0;
    for (int id = 0, type; r == 0 && thrift_field(&t, &id, &type);) switch (id) {
        case 2:
            r = m->n > 0 ? damaged(m, "two schemas", err) : read_schema(m, &t, type, err);
            break;
        case 3:
            m->rows = thrift_int(&t, type);
            break;
        default:
            thrift_skip(&t, type);
        }
    if (r == 0 && t.bad) r = damaged(m, "it cannot be read to its end", err);
    if (r == 0 && m->rows < 0) r = damaged(m, "a negative number of rows", err);
    return r;
}

int parquet_meta_read(struct parquet_meta *m, const struct input *in, struct err *err) {
    unsigned char tail[8], head[4];
    *m = (struct parquet_meta){.in = in};
    if (in->size < 12)
        return err_set(err, "%s: too short for a Parquet file: %lld bytes", in->path, (long long)in->size);
    if (input_read(in, head, 4, 0, err) < 0 || input_read(in, tail, 8, in->size - 8, err) < 0) return -1;
    if (memcmp(tail + 4, "PARE", 4) == 0 || memcmp(head, "PARE", 4) == 0)
        return err_set(err, "%s: an encrypted Parquet file, which cannot be read", in->path);
    if (memcmp(head, "PAR1", 4) != 0 || memcmp(tail + 4, "PAR1", 4) != 0)
        return err_set(err, "%s: not a whole Parquet file: it must begin and end with PAR1: cut short?", in->path);
    m->footer_size = tail[0] | tail[1] << 8 | tail[2] << 16 | (int64_t)tail[3] << 24;
    m->data_end = in->size - 8 - m->footer_size;
    if (m->data_end < 4) return damaged(m, "it is longer than the file", err);
    if (m->footer_size > PARQUET_FOOTER_MAX)
        return err_set(err, "%s: a Parquet footer of %lld bytes, expected at most %d", in->path,
                       (long long)m->footer_size, PARQUET_FOOTER_MAX);
    m->footer = mem_alloc(m->footer_size, 1, "Parquet footer", err);
    if (m->footer && input_read(in, m->footer, m->footer_size, m->data_end, err) == 0 && read_file_meta(m, err) == 0)
        return 0;
    parquet_meta_free(m);
    return -1;
}

void parquet_meta_free(struct parquet_meta *m) {
    for (int64_t i = 0; i < m->n; i++) mem_free(m->leaves[i].path);
    mem_free(m->leaves);
    mem_free(m->footer);
    *m = (struct parquet_meta){0};
}

/* ---- choosing a column ---- */

static int no_column(const struct parquet_meta *m, const char *name, const char *what, struct err *err) {
    char names[300] = "";
    for (int64_t i = 0; i < m->n; i++) {
        size_t used = strlen(names), n = strlen(m->leaves[i].path);
        if (m->leaves[i].type != PARQUET_BYTE_ARRAY || used + n + 3 >= sizeof names) continue;
        snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", m->leaves[i].path);
    }
    return err_set(err, "%s: %s '%s'; its columns of strings: %s", m->in->path, what, name, names[0] ? names : "none");
}

int64_t parquet_meta_find(const struct parquet_meta *m, const char *name, struct err *err) {
    int64_t below = -1, count = 0;
    size_t n = strlen(name);
    for (int64_t i = 0; i < m->n; i++) {
        const struct parquet_leaf *leaf = &m->leaves[i];
        if (strcmp(leaf->path, name) == 0) {
            if (leaf->type == PARQUET_BYTE_ARRAY) return i;
            return err_set(err, "%s: column '%s' is of type %s, expected strings", m->in->path, name,
                           type_names[leaf->type]);
        }
        if (leaf->type != PARQUET_BYTE_ARRAY || strncmp(leaf->path, name, n) != 0 || leaf->path[n] != '.') continue;
        below = i;
        count++;
    }
    if (count == 1) return below;
    return no_column(m, name, count ? "several columns below" : "no column", err);
}

/* ---- the chunks of a column ---- */

struct column {
    int64_t type, codec, values, size, data_page, dictionary_page;
    bool elsewhere, encrypted, described;
};

static void read_column_meta(struct thrift *t, struct column *c) {
    c->described = true;
    for (int id = 0, type; thrift_field(t, &id, &type);) switch (id) {
        case 1:
            c->type = thrift_int(t, type);
            break;
        case 4:
            c->codec = thrift_int(t, type);
            break;
        case 5:
            c->values = thrift_int(t, type);
            break;
        case 7:
            c->size = thrift_int(t, type);
            break;
        case 9:
            c->data_page = thrift_int(t, type);
            break;
        case 11:
            c->dictionary_page = thrift_int(t, type);
            break;
        default:
            thrift_skip(t, type);
        }
}

static struct column read_column(struct thrift *t) {
    struct column c = {0};
    int64_t n;
    for (int id = 0, type; thrift_field(t, &id, &type);) switch (id) {
        case 1:
            c.elsewhere = thrift_binary(t, type, &n) && n > 0;
            break;
        case 3:
            if (thrift_struct(t, type)) read_column_meta(t, &c);
            break;
        case 8:
            c.encrypted = true; /* fall through */
        default:
            thrift_skip(t, type);
        }
    return c;
}

static int place(const struct parquet_meta *m, const struct parquet_leaf *leaf, const struct column *c,
                 struct parquet_chunk *out, struct err *err) {
    if (c->encrypted) return err_set(err, "%s: column '%s' is encrypted", m->in->path, leaf->path);
    if (c->elsewhere) return err_set(err, "%s: column '%s' is stored in another file", m->in->path, leaf->path);
    bool dictionary = c->dictionary_page > 0 && c->dictionary_page < c->data_page; /* some writers say 0 for none */
    int64_t begin = dictionary ? c->dictionary_page : c->data_page;
    if (!c->described || c->type != (int64_t)leaf->type || c->values < 0 || c->values > VALUES_MAX)
        return damaged(m, "a column chunk that does not fit the schema", err);
    if (begin < 4 || c->size < 0 || begin > m->data_end - c->size)
        return damaged(m, "a column chunk that does not lie in the file", err);
    /* Old writers forgot the dictionary's header in the size: leave room for it. */
    int64_t end = m->data_end - begin - c->size < 100 ? m->data_end : begin + c->size + 100;
    *out = (struct parquet_chunk){begin, end, c->values, (int)c->codec};
    return 0;
}

/* The wanted column of a row group's list. */
static int read_row_group(const struct parquet_meta *m, struct thrift *t, int64_t leaf, struct parquet_chunk *out,
                          struct err *err) {
    bool found = false;
    int element;
    for (int id = 0, type; thrift_field(t, &id, &type);) {
        if (id != 1) {
            thrift_skip(t, type);
            continue;
        }
        int64_t n = thrift_list(t, type, &element);
        if (n != m->n && !t->bad) return damaged(m, "a row group with more or fewer columns than the schema", err);
        for (int64_t i = 0; i < n && !t->bad; i++) {
            if (i != leaf) {
                thrift_skip(t, element);
                continue;
            }
            if (!thrift_struct(t, element)) break;
            struct column c = read_column(t);
            if (!t->bad && place(m, &m->leaves[leaf], &c, out, err) < 0) return -1;
            found = true;
        }
    }
    if (t->bad || !found) return damaged(m, "a row group that cannot be read", err);
    return 0;
}

static int read_row_groups(const struct parquet_meta *m, struct thrift *t, int type, int64_t leaf,
                           struct parquet_chunk **chunks, int64_t *n, struct err *err) {
    int element;
    int64_t capacity = 0, count = thrift_list(t, type, &element);
    if (*chunks) return damaged(m, "two lists of row groups", err);
    for (*n = 0; *n < count; ++*n) {
        if (mem_grow(chunks, &capacity, *n + 1, sizeof **chunks, "Parquet row groups", err) < 0) return -1;
        if (!thrift_struct(t, element)) return damaged(m, "a row group that cannot be read", err);
        if (read_row_group(m, t, leaf, &(*chunks)[*n], err) < 0) return -1;
    }
    return 0;
}

int parquet_meta_chunks(const struct parquet_meta *m, int64_t leaf, struct parquet_chunk **chunks, int64_t *n,
                        struct err *err) {
    struct thrift t = {m->footer, m->footer + m->footer_size, false, 0};
    *chunks = NULL;
    *n = 0;
    int r = 0;
    for (int id = 0, type; r == 0 && thrift_field(&t, &id, &type);)
        if (id == 4)
            r = read_row_groups(m, &t, type, leaf, chunks, n, err);
        else
            thrift_skip(&t, type);
    if (r == 0) return 0;
    mem_free(*chunks);
    *chunks = NULL;
    return -1;
}
