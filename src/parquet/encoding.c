/* encoding: see the format's document "Encodings". Everything is decoded on demand, so that a page which claims
 * two thousand million values costs no memory. */
#include "parquet/encoding.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"

/* ---- bits ---- */

/* `width` <= 64 bits from bit `at` on, low bits first. The caller knows that they are there. */
static uint64_t take_bits(const unsigned char *p, const unsigned char *end, int64_t at, int width) {
    p += at >> 3;
    int shift = (int)(at & 7);
    uint64_t x = 0;
    int64_t n = end - p < 8 ? end - p : 8;
    memcpy(&x, p, (size_t)n);
    x >>= shift;
    if (shift + width > 64) x |= (uint64_t)p[8] << (64 - shift);
    return width == 64 ? x : x & ((1ull << width) - 1);
}

static uint32_t take_high_first(const unsigned char *p, int64_t at, int width) {
    uint32_t x = 0;
    for (int i = 0; i < width; i++, at++) x = x << 1 | (p[at >> 3] >> (7 - (at & 7)) & 1);
    return x;
}

static uint64_t varint(const unsigned char **p, const unsigned char *end, bool *bad) {
    uint64_t x = 0;
    for (int shift = 0; shift < 64 && *p < end; shift += 7) {
        int b = *(*p)++;
        x |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80) return x;
    }
    *bad = true;
    return 0;
}

static uint64_t zigzag(const unsigned char **p, const unsigned char *end, bool *bad) {
    uint64_t x = varint(p, end, bad);
    return x >> 1 ^ (0 - (x & 1));
}

/* ---- runs ---- */

void parquet_runs_start(struct parquet_runs *r, const unsigned char *p, const unsigned char *end, int width) {
    *r = (struct parquet_runs){.p = p, .end = end, .width = width};
}

static void next_run(struct parquet_runs *r) {
    uint64_t head = varint(&r->p, r->end, &r->bad);
    int64_t room = r->end - r->p;
    r->packed = head & 1;
    if (r->packed) {
        uint64_t groups = head >> 1, most = (uint64_t)room / (uint64_t)r->width;
        bool whole = groups <= most; /* the last group may lack bytes that nobody needs */
        r->bits = r->p;
        r->bit = 0;
        r->left = whole ? (int64_t)groups * 8 : room * 8 / r->width;
        r->p += whole ? (int64_t)groups * r->width : room;
        return;
    }
    int bytes = (r->width + 7) / 8;
    r->left = (int64_t)(head >> 1);
    r->value = 0;
    if (room < bytes)
        r->bad = true;
    else
        for (int i = 0; i < bytes; i++) r->value |= (uint32_t)*r->p++ << (8 * i);
}

uint32_t parquet_runs_next(struct parquet_runs *r) {
    if (r->width == 0) return 0; /* one possible value needs no bytes */
    if (r->high_first) {
        if (r->bit + r->width > (r->end - r->p) * 8) r->bad = true;
        if (r->bad) return 0;
        r->bit += r->width;
        return take_high_first(r->p, r->bit - r->width, r->width);
    }
    while (r->left == 0 && !r->bad) next_run(r);
    if (r->bad) return 0;
    r->left--;
    if (!r->packed) return r->value;
    r->bit += r->width;
    return (uint32_t)take_bits(r->bits, r->p, r->bit - r->width, r->width);
}

/* ---- delta ---- */

/* The head of a list of numbers. Blocks of more than 2^20 values are nobody's. */
static void delta_start(struct parquet_delta *d, const unsigned char *p, const unsigned char *end) {
    *d = (struct parquet_delta){.p = p, .end = end, .first = true};
    uint64_t per_block = varint(&d->p, end, &d->bad), miniblocks = varint(&d->p, end, &d->bad);
    uint64_t total = varint(&d->p, end, &d->bad);
    d->last = zigzag(&d->p, end, &d->bad);
    if (per_block > 1 << 20 || miniblocks < 1 || miniblocks > per_block || per_block % miniblocks != 0 ||
        per_block / miniblocks % 8 != 0 || total > INT32_MAX)
        d->bad = true;
    d->per_block = (int64_t)per_block;
    d->miniblocks = d->miniblock = (int64_t)miniblocks;
    d->total = d->left = d->bad ? 0 : (int64_t)total;
}

/* Steps to the next miniblock, of this or the next block. */
static void next_miniblock(struct parquet_delta *d) {
    if (d->miniblock == d->miniblocks) {
        d->min_delta = zigzag(&d->p, d->end, &d->bad);
        d->widths = d->p;
        if (d->end - d->p < d->miniblocks) d->bad = true;
        if (d->bad) return;
        d->p += d->miniblocks;
        d->miniblock = 0;
    }
    int64_t bytes = d->per_block / d->miniblocks * d->widths[d->miniblock] / 8;
    d->taken = 0;
    d->bits = d->p;
    if (d->widths[d->miniblock] > 64 || bytes > d->end - d->p)
        d->bad = true;
    else
        d->p += bytes;
    d->miniblock++;
}

static int64_t delta_next(struct parquet_delta *d) {
    if (d->left == 0) d->bad = true;
    if (d->bad) return 0;
    d->left--;
    if (d->first) {
        d->first = false;
        d->taken = d->per_block / d->miniblocks;
        return (int64_t)d->last;
    }
    if (d->taken == d->per_block / d->miniblocks) next_miniblock(d);
    if (d->bad) return 0;
    int width = d->widths[d->miniblock - 1];
    uint64_t delta = width ? take_bits(d->bits, d->p, d->taken * width, width) : 0;
    d->taken++;
    d->last += d->min_delta + delta;
    return (int64_t)d->last;
}

/* Where the list ends, without a look at its numbers; NULL: it does not fit. */
static const unsigned char *delta_end(struct parquet_delta d) {
    for (int64_t left = d.total - 1; left > 0 && !d.bad; left -= d.per_block / d.miniblocks) next_miniblock(&d);
    return d.bad ? NULL : d.p;
}

/* ---- dictionaries ---- */

static uint32_t little_endian(const unsigned char *p) {
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Where each string of a page of n begins. */
static int find_strings(uint32_t *at, const unsigned char *data, int64_t size, int64_t n, const char *path,
                        struct err *err) {
    int64_t end = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t room = size - end - 4, length = room < 0 ? 0 : little_endian(data + end);
        if (room < 0 || length > room)
            return err_set(err, "%s: string %lld of a Parquet dictionary does not fit into its page", path,
                           (long long)i);
        end += 4 + length;
        at[i + 1] = (uint32_t)end; /* a page is shorter than 2^32 */
    }
    return 0;
}

int parquet_dictionary_set(struct parquet_dictionary *d, unsigned char *data, int64_t size, int64_t n, int64_t width,
                           const char *path, struct err *err) {
    if (n < 0 || width < 0 || n > size / (width ? width : 4))
        return err_set(err, "%s: a Parquet dictionary of %lld values in %lld bytes", path, (long long)n,
                       (long long)size);
    uint32_t *at = width ? NULL : mem_alloc(n + 1, sizeof *at, "Parquet dictionary", err);
    if (!width && (!at || find_strings(at, data, size, n, path, err) < 0)) {
        mem_free(at);
        return -1;
    }
    parquet_dictionary_free(d);
    *d = (struct parquet_dictionary){data, size, n, width, at};
    return 0;
}

void parquet_dictionary_free(struct parquet_dictionary *d) {
    mem_free(d->data);
    mem_free(d->at);
    *d = (struct parquet_dictionary){0};
}

/* ---- values ---- */

static const char few[] = "fewer values than the page should have";

/* The lists of lengths stand before the bytes: find where each ends. */
static const char *start_lengths(struct parquet_values *s) {
    const unsigned char *p = s->p;
    if (p == s->end) return NULL; /* a page of nulls: the lists, zeroed, have nothing */
    if (s->encoding == PARQUET_DELTA_STRINGS) {
        delta_start(&s->prefix, p, s->end);
        p = delta_end(s->prefix);
    }
    if (p) {
        delta_start(&s->length, p, s->end);
        p = delta_end(s->length);
    }
    if (!p) return "a list of lengths that does not fit into its page";
    s->p = p;
    return NULL;
}

static const char *start_runs(struct parquet_values *s, int width, const unsigned char *p) {
    if (width > 32) return "dictionary indexes wider than 32 bits";
    parquet_runs_start(&s->runs, p, s->end, width);
    return NULL;
}

const char *parquet_values_start(struct parquet_values *s, int encoding, int64_t width, const unsigned char *p,
                                 const unsigned char *end, const struct parquet_dictionary *dictionary) {
    *s = (struct parquet_values){.encoding = encoding == PARQUET_PLAIN_DICTIONARY ? PARQUET_RLE_DICTIONARY : encoding,
                                 .width = width,
                                 .p = p,
                                 .end = end,
                                 .dictionary = dictionary,
                                 .last = s->last,
                                 .capacity = s->capacity};
    const bool number = width == 4 || width == 8;
    switch (s->encoding) {
    case PARQUET_PLAIN:
        return NULL;
    case PARQUET_RLE: /* a length, then runs */
        if (width != PARQUET_BITS) break;
        return end - p < 4 ? NULL : start_runs(s, 1, p + 4);
    case PARQUET_DELTA_NUMBERS:
        if (!number) break;
        if (p < end) delta_start(&s->number, p, end);
        return NULL;
    case PARQUET_DELTA_LENGTH:
        if (width != PARQUET_STRINGS) break;
        return start_lengths(s);
    case PARQUET_DELTA_STRINGS:
        if (width < PARQUET_STRINGS) break;
        return start_lengths(s);
    case PARQUET_RLE_DICTIONARY:
        if (!dictionary || !dictionary->data) return "values of a dictionary that is not there";
        return start_runs(s, p < end ? *p : 0, p < end ? p + 1 : p);
    case PARQUET_BYTE_STREAM_SPLIT:
        if (width <= 0) break;
        return (end - p) % width == 0 ? NULL : "a page that does not divide into values";
    default:
        return "an unknown encoding";
    }
    return "an encoding that values of this type do not have";
}

static const char *take(struct parquet_values *s, int64_t n, const char **bytes) {
    if (n < 0 || n > s->end - s->p) return "a value longer than its page";
    *bytes = (const char *)s->p;
    s->p += n;
    return NULL;
}

/* Room for a value of n bytes that is put together. */
static const char *reserve(struct parquet_values *s, int64_t n) {
    struct err err;
    return mem_grow(&s->last, &s->capacity, n + 1, 1, "Parquet value", &err) < 0
               ? "a value for which there is no memory"
               : NULL;
}

static const char *next_front_coded(struct parquet_values *s, const char **bytes, int64_t *n) {
    int64_t prefix = delta_next(&s->prefix), length = delta_next(&s->length);
    const char *suffix = NULL;
    if (s->prefix.bad || s->length.bad) return few;
    const char *wrong = take(s, length, &suffix);
    if (wrong) return wrong;
    if (prefix < 0 || prefix > s->last_n) return "a string whose beginning is to be that of a shorter one before it";
    if ((wrong = reserve(s, prefix + length))) return wrong;
    memcpy(s->last + prefix, suffix, (size_t)length);
    s->last_n = *n = prefix + length;
    *bytes = (const char *)s->last;
    return NULL;
}

/* One byte: 0 or 1, from bits or runs. */
static const char *next_bit(struct parquet_values *s, const char **bytes, int64_t *n) {
    const char *wrong = reserve(s, 1);
    if (wrong) return wrong;
    if (s->encoding == PARQUET_RLE) {
        if (s->runs.width == 0) return few;
        s->last[0] = (unsigned char)parquet_runs_next(&s->runs);
        if (s->runs.bad) return few;
    } else {
        if (s->taken >= (s->end - s->p) * 8) return few;
        s->last[0] = s->p[s->taken >> 3] >> (s->taken & 7) & 1;
        s->taken++;
    }
    *bytes = (const char *)s->last;
    *n = 1;
    return NULL;
}

static const char *next_number(struct parquet_values *s, const char **bytes, int64_t *n) {
    const char *wrong = reserve(s, 8);
    if (wrong) return wrong;
    int64_t x = delta_next(&s->number);
    if (s->number.bad) return few;
    memcpy(s->last, &x, 8); /* the low bytes come first */
    *bytes = (const char *)s->last;
    *n = s->width;
    return NULL;
}

/* Byte k of all values stands before byte k + 1 of all. */
static const char *next_split(struct parquet_values *s, const char **bytes, int64_t *n) {
    const char *wrong = reserve(s, s->width);
    if (wrong) return wrong;
    int64_t values = (s->end - s->p) / s->width;
    if (s->taken == values) return few;
    for (int64_t k = 0; k < s->width; k++) s->last[k] = s->p[k * values + s->taken];
    s->taken++;
    *bytes = (const char *)s->last;
    *n = s->width;
    return NULL;
}

static const char *next_of_dictionary(struct parquet_values *s, const char **bytes, int64_t *n) {
    const struct parquet_dictionary *d = s->dictionary;
    uint32_t i = parquet_runs_next(&s->runs);
    if (s->runs.bad) return "fewer dictionary indexes than the page should have";
    if (i >= d->n) return "a dictionary index past the dictionary's end";
    *bytes = (const char *)d->data + (d->width ? i * d->width : (int64_t)d->at[i] + 4);
    *n = d->width ? d->width : (int64_t)d->at[i + 1] - d->at[i] - 4;
    return NULL;
}

static const char *next_plain(struct parquet_values *s, const char **bytes, int64_t *n) {
    if (s->width == PARQUET_BITS) return next_bit(s, bytes, n);
    *n = s->width;
    if (s->width == PARQUET_STRINGS) {
        if (s->end - s->p < 4) return few;
        *n = little_endian(s->p);
        s->p += 4;
    }
    return take(s, *n, bytes);
}

const char *parquet_values_next(struct parquet_values *s, const char **bytes, int64_t *n) {
    switch (s->encoding) {
    case PARQUET_PLAIN:
        return next_plain(s, bytes, n);
    case PARQUET_RLE:
        return next_bit(s, bytes, n);
    case PARQUET_DELTA_NUMBERS:
        return next_number(s, bytes, n);
    case PARQUET_DELTA_LENGTH:
        *n = delta_next(&s->length);
        return s->length.bad ? few : take(s, *n, bytes);
    case PARQUET_DELTA_STRINGS:
        return next_front_coded(s, bytes, n);
    case PARQUET_BYTE_STREAM_SPLIT:
        return next_split(s, bytes, n);
    default:
        return next_of_dictionary(s, bytes, n);
    }
}

void parquet_values_free(struct parquet_values *s) {
    mem_free(s->last);
    *s = (struct parquet_values){0};
}
