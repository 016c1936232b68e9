/* meta: reads the footer (Thrift structs FileMetaData, SchemaElement, RowGroup, ColumnChunk, ColumnMetaData of
 * the Parquet format) twice: for the schema, then for the chunks of the one column that is wanted. Statistics, sort
 * orders, indexes and bloom filters are passed over. */
#include "parquet/meta.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "parquet/thrift.h"

static const int64_t VALUES_MAX = 1ll << 38; /* in a row group; sums of them fit */

static int damaged(const struct parquet_meta *m, const char *what, struct err *err) {
    return err_set(err, "%s: damaged Parquet footer: %s", m->in->path, what);
}

static int read_file_meta(struct parquet_meta *m, struct err *err) {
    struct thrift t = {m->footer, m->footer + m->footer_size, false, 0};
    int r = 0;
    for (int id = 0, type; r == 0 && thrift_field(&t, &id, &type);) switch (id) {
        case 2:
            r = m->schema.n > 0 ? damaged(m, "two schemas", err)
                                : parquet_schema_read(&m->schema, &t, type, m->in->path, err);
            break;
        case 3:
            m->rows = thrift_int(&t, type);
            break;
        default:
            thrift_skip(&t, type);
        }
    if (r == 0 && t.bad) r = damaged(m, "it cannot be read to its end", err);
    if (r == 0 && (m->rows < 0 || m->schema.n == 0)) r = damaged(m, "no schema, or a negative number of rows", err);
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
    parquet_schema_free(&m->schema);
    mem_free(m->footer);
    *m = (struct parquet_meta){0};
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

static int place(const struct parquet_meta *m, const struct parquet_node *leaf, const struct column *c,
                 struct parquet_chunk *out, struct err *err) {
    if (c->encrypted) return err_set(err, "%s: column '%s' is encrypted", m->in->path, leaf->name);
    if (c->elsewhere) return err_set(err, "%s: column '%s' is stored in another file", m->in->path, leaf->name);
    bool dictionary = c->dictionary_page > 0 && c->dictionary_page < c->data_page; /* some writers say 0 for none */
    int64_t begin = dictionary ? c->dictionary_page : c->data_page;
    if (!c->described || c->type != (int64_t)leaf->type || c->values < 0 || c->values > VALUES_MAX)
        return damaged(m, "a column chunk that does not fit the schema", err);
    if (c->values == 0) { /* some writers say nothing true of an empty one */
        *out = (struct parquet_chunk){0};
        return 0;
    }
    if (begin < 4 || c->size < 0 || begin > m->data_end - c->size)
        return damaged(m, "a column chunk that does not lie in the file", err);
    /* Old writers forgot the dictionary's header in the size: leave room for it. */
    int64_t end = m->data_end - begin - c->size < 100 ? m->data_end : begin + c->size + 100;
    *out = (struct parquet_chunk){begin, end, c->values, 0, (int)c->codec};
    return 0;
}

/* The wanted column of a row group's list. */
static int read_row_group(const struct parquet_meta *m, struct thrift *t, const struct parquet_node *leaf,
                          struct parquet_chunk *out, struct err *err) {
    bool found = false;
    int element;
    int64_t rows = -1;
    for (int id = 0, type; thrift_field(t, &id, &type);) {
        if (id != 1) {
            if (id == 3)
                rows = thrift_int(t, type);
            else
                thrift_skip(t, type);
            continue;
        }
        int64_t n = thrift_list(t, type, &element);
        if (n != m->schema.leaves && !t->bad)
            return damaged(m, "a row group with more or fewer columns than the schema", err);
        for (int64_t i = 0; i < n && !t->bad; i++) {
            if (i != leaf->leaf) {
                thrift_skip(t, element);
                continue;
            }
            if (!thrift_struct(t, element)) break;
            struct column c = read_column(t);
            if (!t->bad && place(m, leaf, &c, out, err) < 0) return -1;
            found = true;
        }
    }
    if (t->bad || !found || rows < 0 || rows > out->values) return damaged(m, "a row group that cannot be read", err);
    out->rows = rows;
    return 0;
}

static int read_row_groups(const struct parquet_meta *m, struct thrift *t, int type, const struct parquet_node *leaf,
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

int parquet_meta_chunks(const struct parquet_meta *m, int64_t node, struct parquet_chunk **chunks, int64_t *n,
                        struct err *err) {
    struct thrift t = {m->footer, m->footer + m->footer_size, false, 0};
    *chunks = NULL;
    *n = 0;
    int r = 0;
    for (int id = 0, type; r == 0 && thrift_field(&t, &id, &type);)
        if (id == 4)
            r = read_row_groups(m, &t, type, &m->schema.nodes[node], chunks, n, err);
        else
            thrift_skip(&t, type);
    if (r == 0) return 0;
    mem_free(*chunks);
    *chunks = NULL;
    return -1;
}
