/* encoding: values out of a page's bytes: levels, and values in every encoding of the format (PLAIN, PLAIN_DICTIONARY and
 * RLE_DICTIONARY, RLE, DELTA_BINARY_PACKED, DELTA_LENGTH_BYTE_ARRAY, DELTA_BYTE_ARRAY, BYTE_STREAM_SPLIT). A value is its
 * bytes: a string's own, a number's as PLAIN has them, little-endian, a boolean's one byte. One value at a time, nothing
 * is unpacked in advance; no byte outside the page is touched, whatever the page says. */
#ifndef MDM_PARQUET_ENCODING_H
#define MDM_PARQUET_ENCODING_H
#include <stdbool.h>
#include <stdint.h>

struct err;

enum {
    PARQUET_PLAIN = 0,
    PARQUET_PLAIN_DICTIONARY = 2,
    PARQUET_RLE = 3,
    PARQUET_BIT_PACKED = 4,
    PARQUET_DELTA_NUMBERS = 5,
    PARQUET_DELTA_LENGTH = 6,
    PARQUET_DELTA_STRINGS = 7,
    PARQUET_RLE_DICTIONARY = 8,
    PARQUET_BYTE_STREAM_SPLIT = 9
};

/* Bytes of a value, or one of these. */
enum { PARQUET_BITS = -1, PARQUET_STRINGS = 0 };

struct parquet_runs { /* small numbers as runs and bit-packed groups (RLE), or all bit-packed, high bits first */
    const unsigned char *p, *end;
    int width;
    bool high_first;
    bool packed;  /* the current run */
    int64_t left; /* of it */
    int64_t bit;  /* packed: next bit, counted from p's run */
    const unsigned char *bits;
    uint32_t value;
    bool bad; /* ran out of bytes: from then on all values are 0 */
};
void parquet_runs_start(struct parquet_runs *r, const unsigned char *p, const unsigned char *end, int width);
uint32_t parquet_runs_next(struct parquet_runs *r);

struct parquet_delta { /* DELTA_BINARY_PACKED whole numbers */
    const unsigned char *p, *end;
    int64_t total, left;           /* values, values not yet taken */
    int64_t per_block, miniblocks; /* values in a block, miniblocks in a block */
    const unsigned char *widths, *bits;
    int64_t miniblock; /* of the block; == miniblocks: the block is used up */
    int64_t taken;     /* of the miniblock */
    uint64_t last, min_delta;
    bool first, bad;
};

struct parquet_dictionary {
    unsigned char *data; /* the page, kept */
    int64_t size, n;
    int64_t width;
    uint32_t *at; /* strings: n + 1 offsets: entry i is [at[i] + 4, at[i + 1]) */
};
/* Checks a dictionary page of n values and finds their places; takes over `data` when it returns 0. */
int parquet_dictionary_set(struct parquet_dictionary *d, unsigned char *data, int64_t size, int64_t n, int64_t width,
                           const char *path, struct err *err);
void parquet_dictionary_free(struct parquet_dictionary *d);

struct parquet_values { /* zero-initialise once; parquet_values_free() */
    int encoding;
    int64_t width;
    const unsigned char *p, *end;
    const struct parquet_dictionary *dictionary;
    int64_t taken;            /* bits; BYTE_STREAM_SPLIT: values */
    struct parquet_runs runs; /* dictionary indexes, booleans */
    struct parquet_delta prefix, length, number;
    unsigned char *last; /* the value, where it does not stand in the page as it is; DELTA_BYTE_ARRAY builds on it */
    int64_t last_n, capacity;
};
/* Begin a page's values, of `width` bytes each (or PARQUET_BITS, PARQUET_STRINGS), at p. NULL, or what is wrong with
 * it. `dictionary` may be NULL. */
const char *parquet_values_start(struct parquet_values *s, int encoding, int64_t width, const unsigned char *p,
                                 const unsigned char *end, const struct parquet_dictionary *dictionary);
/* The next value, valid until the next call; NULL, or what is wrong. */
const char *parquet_values_next(struct parquet_values *s, const char **bytes, int64_t *n);
void parquet_values_free(struct parquet_values *s);

#endif
