/* parquet: walks the chunks of a column, their pages, and the values in them, with their levels: a value is there when
 * its definition level is the column's highest; a repetition level of 0 begins a row. */
#include "parquet/parquet.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "parquet/encoding.h"
#include "parquet/meta.h"
#include "parquet/page.h"
#include "base/input.h"

struct parquet {
    char *path;
    struct input in;
    struct parquet_meta meta;
    const struct parquet_leaf *leaf;
    struct parquet_chunk *chunks;
    int64_t n, next;           /* chunks, the next one */
    int64_t in_chunk, in_page; /* values still to come */
    int64_t row, number;
    struct parquet_pages pages;
    struct parquet_runs rep, def;
    struct parquet_dictionary dictionary;
    struct parquet_strings strings;
};

static int wrong(const struct parquet *p, const char *what, struct err *err) {
    return err_set(err, "%s: column '%s', value %lld: %s", p->path, p->leaf->path, (long long)p->number, what);
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

static const char *start_page(struct parquet *p) {
    const struct parquet_head *h = &p->pages.head;
    const unsigned char *at = p->pages.data, *end = at + h->unpacked;
    const char *what = NULL;
    if (h->type == PARQUET_DATA_V2) {
        parquet_runs_start(&p->rep, at, at + h->rep_bytes, width_of(p->leaf->max_rep));
        at += h->rep_bytes;
        parquet_runs_start(&p->def, at, at + h->def_bytes, width_of(p->leaf->max_def));
        at += h->def_bytes;
    } else {
        what = start_v1_levels(&p->rep, &at, end, p->leaf->max_rep, h->rep_encoding, h->values);
        if (!what) what = start_v1_levels(&p->def, &at, end, p->leaf->max_def, h->def_encoding, h->values);
    }
    if (!what && h->encoding > PARQUET_RLE_DICTIONARY + 1) what = "an unknown encoding";
    return what ? what : parquet_strings_start(&p->strings, (int)h->encoding, at, end, &p->dictionary);
}

static int take_dictionary(struct parquet *p, struct err *err) {
    const struct parquet_head *h = &p->pages.head;
    if (p->dictionary.at) return wrong(p, "a second dictionary", err);
    if (h->encoding != PARQUET_PLAIN && h->encoding != PARQUET_PLAIN_DICTIONARY)
        return wrong(p, "a dictionary in an unknown encoding", err);
    unsigned char *data = parquet_pages_take(&p->pages);
    int r = parquet_dictionary_set(&p->dictionary, data, h->unpacked, h->values, p->path, err);
    if (r < 0) mem_free(data);
    return r;
}

/* To the next page with values. 0: that was the last row group. */
static int next_page(struct parquet *p, struct err *err) {
    while (p->in_page == 0) {
        if (p->in_chunk == 0) {
            if (p->next == p->n) return 0;
            const struct parquet_chunk *c = &p->chunks[p->next++];
            parquet_dictionary_free(&p->dictionary);
            parquet_pages_start(&p->pages, &p->in, c);
            p->in_chunk = c->values;
            continue;
        }
        int r = parquet_pages_next(&p->pages, err);
        if (r < 0) return -1;
        if (r == 0) return wrong(p, "the column chunk ends before its last value", err);
        if (p->pages.head.type == PARQUET_DICTIONARY) {
            if (take_dictionary(p, err) < 0) return -1;
            continue;
        }
        if (p->pages.head.values > p->in_chunk) return wrong(p, "a page with more values than its column", err);
        const char *what = p->pages.head.values > 0 ? start_page(p) : NULL;
        if (what) return wrong(p, what, err);
        p->in_page = p->pages.head.values;
    }
    return 1;
}

int parquet_next(struct parquet *p, struct parquet_value *value, struct err *err) {
    int r = next_page(p, err);
    if (r <= 0) return r;
    uint32_t rep = parquet_runs_next(&p->rep), def = parquet_runs_next(&p->def);
    if (p->rep.bad || p->def.bad || rep > (uint32_t)p->leaf->max_rep || def > (uint32_t)p->leaf->max_def ||
        (rep > 0 && p->row == 0))
        return wrong(p, "damaged levels", err);
    if (rep == 0) p->row++;
    *value = (struct parquet_value){.row = p->row - 1, .number = p->number};
    const char *what = NULL;
    if (def == (uint32_t)p->leaf->max_def) what = parquet_strings_next(&p->strings, &value->text, &value->n);
    if (what) return wrong(p, what, err);
    p->in_page--;
    p->in_chunk--;
    p->number++;
    return 1;
}

void parquet_skip(struct parquet *p, int64_t number) {
    if (p->in_page > 0 || p->in_chunk > 0 || p->leaf->max_rep > 0) return;
    for (; p->next < p->n && p->chunks[p->next].values <= number - p->number; p->next++) {
        p->number += p->chunks[p->next].values;
        p->row += p->chunks[p->next].values;
    }
}

bool parquet_repeated(const struct parquet *p) {
    return p->leaf->max_rep > 0;
}

int64_t parquet_bytes(const struct parquet *p) {
    if (p->in_page == 0 && p->in_chunk == 0 && p->next == p->n) return p->in.size;
    return p->pages.at;
}

static int open_file(struct parquet *p, const char *path, struct err *err) {
    p->path = mem_strdup(path, err);
    return p->path && input_open(&p->in, p->path, err) == 0 ? parquet_meta_read(&p->meta, &p->in, err) : -1;
}

struct parquet *parquet_open(const char *path, const char *column, struct err *err) {
    struct parquet *p = mem_alloc(1, sizeof *p, "Parquet reader", err);
    if (!p) return NULL;
    p->in.fd = -1;
    int64_t leaf = open_file(p, path, err) < 0 ? -1 : parquet_meta_find(&p->meta, column, err);
    if (leaf >= 0 && parquet_meta_chunks(&p->meta, leaf, &p->chunks, &p->n, err) == 0) {
        p->leaf = &p->meta.leaves[leaf];
        mem_free(p->meta.footer); /* its job is done */
        p->meta.footer = NULL;
        return p;
    }
    parquet_close(p);
    return NULL;
}

void parquet_close(struct parquet *p) {
    if (!p) return;
    parquet_pages_free(&p->pages);
    parquet_dictionary_free(&p->dictionary);
    parquet_strings_free(&p->strings);
    mem_free(p->chunks);
    parquet_meta_free(&p->meta);
    input_close(&p->in);
    mem_free(p->path);
    mem_free(p);
}

char *parquet_columns(const char *path, struct err *err) {
    struct parquet p = {.in.fd = -1};
    char *out = NULL;
    int64_t size = 1, capacity = 0;
    bool good = open_file(&p, path, err) == 0 && mem_grow(&out, &capacity, 1, 1, "column names", err) == 0;
    for (int64_t i = 0; good && i < p.meta.n; i++) {
        if (p.meta.leaves[i].type != PARQUET_BYTE_ARRAY) continue;
        size += (int64_t)strlen(p.meta.leaves[i].path) + 1;
        good = mem_grow(&out, &capacity, size, 1, "column names", err) == 0;
        if (good) strcat(strcat(out, out[0] ? "\n" : ""), p.meta.leaves[i].path);
    }
    parquet_meta_free(&p.meta);
    input_close(&p.in);
    mem_free(p.path);
    if (good) return out;
    mem_free(out);
    return NULL;
}
