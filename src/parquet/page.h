/* page: one page after another of a column chunk: header, checksum, unpacking.
 *
 *     parquet_pages_start(&pages, &in, &chunk);
 *     while ((r = parquet_pages_next(&pages, &err)) > 0) use(&pages.head, pages.data);
 *
 * Pages that are neither data nor dictionary are passed over. A page may have PARQUET_PAGE_MAX bytes, packed and
 * unpacked. */
#ifndef MDM_PARQUET_PAGE_H
#define MDM_PARQUET_PAGE_H
#include <stdbool.h>
#include <stdint.h>
#include "parquet/meta.h"

struct err;

enum { PARQUET_PAGE_MAX = 256 << 20 };
enum { PARQUET_DATA_V1 = 0, PARQUET_INDEX = 1, PARQUET_DICTIONARY = 2, PARQUET_DATA_V2 = 3 };

struct parquet_head {               /* Thrift struct PageHeader, its parts laid flat */
    int64_t type, unpacked, packed; /* sizes in bytes */
    bool has_crc, compressed;       /* compressed: version 2 may leave single pages unpacked */
    uint32_t crc;
    int64_t values, encoding, def_encoding, rep_encoding;
    int64_t def_bytes, rep_bytes; /* version 2 */
};
struct parquet_pages { /* zero-initialise once; parquet_pages_free() */
    const struct input *in;
    struct parquet_chunk chunk;
    int64_t at; /* where the next page begins */
    struct parquet_head head;
    unsigned char *data; /* head.unpacked bytes of the current page; version 2: levels first */
    unsigned char *packed;
    int64_t data_capacity, packed_capacity;
};

void parquet_pages_start(struct parquet_pages *p, const struct input *in, const struct parquet_chunk *chunk);
int parquet_pages_next(struct parquet_pages *p, struct err *err); /* 1, 0 at the chunk's end, -1 */
/* Hands over the page's bytes (a dictionary's), which the caller then mem_free()s. */
unsigned char *parquet_pages_take(struct parquet_pages *p);
void parquet_pages_free(struct parquet_pages *p);

#endif
