/* column: walks the chunks of a column, their pages, and the values in them, with their levels: a value is there when
 * its definition level is the column's highest; a repetition level of 0 begins a row. */
#include "parquet/column.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"

int parquet_column_wrong(const struct parquet_column *c, const char *what, struct err *err) {
    return err_set(err, "%s row %lld: column '%s': %s", c->in->path, (long long)(c->row ? c->row : 1), c->node->name,
                   what);
}

static int width_of(int max) {
    int width = 0;
    while (max >> width) width++;
    return width;
}

/* Levels of a version 1 page: a length and runs, or (old) bit-packed with a length that follows from the number of
 * values. */
static const char *start_v1_levels(struct parquet_runs *r, const unsigned char **p, const unsigned char *end, int max,
                                   int64_t encoding, int64_t values) {
    int width = width_of(max);
    int64_t n, room = end - *p;
    parquet_runs_start(r, *p, *p, width);
    if (max == 0) return NULL;
    if (encoding == PARQUET_BIT_PACKED) {
        n = (values * width + 7) / 8;
        r->high_first = true;
    } else if (encoding == PARQUET_RLE) {
        if (room < 4) return "a page without its levels";
        n = (*p)[0] | (*p)[1] << 8 | (*p)[2] << 16 | (int64_t)(*p)[3] << 24;
        *p += 4;
        room -= 4;
    } else {
        return "levels in an unknown encoding";
    }
    if (n > room) return "levels longer than their page";
    r->p = *p;
    *p += n;
    r->end = *p;
    return NULL;
}

static const char *start_page(struct parquet_column *c) {
    const struct parquet_head *h = &c->pages.head;
    const unsigned char *at = c->pages.data, *end = at + h->unpacked;
    const char *what = NULL;
    if (h->type == PARQUET_DATA_V2) {
        parquet_runs_start(&c->reps, at, at + h->rep_bytes, width_of(c->node->rep));
        at += h->rep_bytes;
        parquet_runs_start(&c->defs, at, at + h->def_bytes, width_of(c->node->def));
        at += h->def_bytes;
    } else {
        what = start_v1_levels(&c->reps, &at, end, c->node->rep, h->rep_encoding, h->values);
        if (!what) what = start_v1_levels(&c->defs, &at, end, c->node->def, h->def_encoding, h->values);
    }
    if (!what && (h->encoding < 0 || h->encoding > PARQUET_BYTE_STREAM_SPLIT)) what = "an unknown encoding";
    return what ? what : parquet_values_start(&c->values, (int)h->encoding, c->width, at, end, &c->dictionary);
}

static int take_dictionary(struct parquet_column *c, struct err *err) {
    const struct parquet_head *h = &c->pages.head;
    if (c->dictionary.data) return parquet_column_wrong(c, "a second dictionary", err);
    if (h->encoding != PARQUET_PLAIN && h->encoding != PARQUET_PLAIN_DICTIONARY)
        return parquet_column_wrong(c, "a dictionary in an unknown encoding", err);
    unsigned char *data = parquet_pages_take(&c->pages);
    int r = parquet_dictionary_set(&c->dictionary, data, h->unpacked, h->values, c->width, c->in->path, err);
    if (r < 0) mem_free(data);
    return r;
}

/* To the next page with values. 0: that was the last row group. */
static int next_page(struct parquet_column *c, struct err *err) {
    while (c->in_page == 0) {
        if (c->in_chunk == 0) {
            if (c->next == c->n) return 0;
            const struct parquet_chunk *chunk = &c->chunks[c->next++];
            parquet_dictionary_free(&c->dictionary);
            parquet_pages_start(&c->pages, c->in, chunk);
            c->in_chunk = chunk->values;
            continue;
        }
        int r = parquet_pages_next(&c->pages, err);
        if (r < 0) return -1;
        if (r == 0) return parquet_column_wrong(c, "the column chunk ends before its last value", err);
        if (c->pages.head.type == PARQUET_DICTIONARY) {
            if (take_dictionary(c, err) < 0) return -1;
            continue;
        }
        if (c->pages.head.values > c->in_chunk)
            return parquet_column_wrong(c, "a page with more values than its column", err);
        const char *what = c->pages.head.values > 0 ? start_page(c) : NULL;
        if (what) return parquet_column_wrong(c, what, err);
        c->in_page = c->pages.head.values;
    }
    return 1;
}

int parquet_column_look(struct parquet_column *c, struct err *err) {
    if (c->looked) return 1;
    int r = next_page(c, err);
    if (r <= 0) return r;
    c->rep = parquet_runs_next(&c->reps);
    c->def = parquet_runs_next(&c->defs);
    if (c->reps.bad || c->defs.bad || c->rep > (uint32_t)c->node->rep || c->def > (uint32_t)c->node->def ||
        (c->rep > 0 && c->row == 0))
        return parquet_column_wrong(c, "damaged levels", err);
    c->row += c->rep == 0;
    c->looked = true;
    return 1;
}

int parquet_column_take(struct parquet_column *c, const char **bytes, int64_t *n, struct err *err) {
    BUG_ON(!c->looked);
    const char *what = NULL;
    *bytes = NULL;
    if (c->def == (uint32_t)c->node->def) {
        what = parquet_values_next(&c->values, bytes, n);
        if (!what && c->width > 0 && *n != c->width) what = "a value of another length than its type says";
    }
    if (what) return parquet_column_wrong(c, what, err);
    c->looked = false;
    c->in_page--;
    c->in_chunk--;
    return 0;
}

void parquet_column_skip_group(struct parquet_column *c) {
    BUG_ON(c->looked || c->in_chunk > 0 || c->next == c->n);
    c->row += c->chunks[c->next++].rows;
}

static int64_t width_of_type(const struct parquet_node *node) {
    static const int64_t width[PARQUET_TYPES] = {PARQUET_BITS, 4, 8, 12, 4, 8, PARQUET_STRINGS, 0};
    return node->type == PARQUET_FIXED_BYTES ? node->fixed : width[node->type];
}

int parquet_column_open(struct parquet_column *c, const struct parquet_meta *m, int64_t node, struct err *err) {
    c->in = m->in;
    c->node = &m->schema.nodes[node];
    c->width = width_of_type(c->node);
    return parquet_meta_chunks(m, node, &c->chunks, &c->n, err);
}

void parquet_column_close(struct parquet_column *c) {
    parquet_pages_free(&c->pages);
    parquet_dictionary_free(&c->dictionary);
    parquet_values_free(&c->values);
    mem_free(c->chunks);
    *c = (struct parquet_column){0};
}
