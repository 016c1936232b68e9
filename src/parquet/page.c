/* page: reads pages in order from the file. The size of a header is known only when it has been read, so a
 * piece of the file is tried, and a larger one when the header did not end in it. */
#include "parquet/page.h"

#include <string.h>
#include <zlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "parquet/codec.h"
#include "parquet/encoding.h"
#include "parquet/thrift.h"

enum { HEAD_FIRST = 256, HEAD_MAX = 16 << 20 };

static int damaged(const struct parquet_pages *p, const char *what, struct err *err) {
    return err_set(err, "%s: damaged Parquet page at byte %lld: %s", p->in->path, (long long)p->at, what);
}

/* ---- the header ---- */

static void read_v1(struct thrift *t, struct parquet_head *h) {
    for (int id = 0, type; thrift_field(t, &id, &type);) switch (id) {
        case 1:
            h->values = thrift_int(t, type);
            break;
        case 2:
            h->encoding = thrift_int(t, type);
            break;
        case 3:
            h->def_encoding = thrift_int(t, type);
            break;
        case 4:
            h->rep_encoding = thrift_int(t, type);
            break;
        default:
            thrift_skip(t, type);
        }
}

static void read_v2(struct thrift *t, struct parquet_head *h) {
    h->def_encoding = h->rep_encoding = PARQUET_RLE;
    for (int id = 0, type; thrift_field(t, &id, &type);) switch (id) {
        case 1:
            h->values = thrift_int(t, type);
            break;
        case 4:
            h->encoding = thrift_int(t, type);
            break;
        case 5:
            h->def_bytes = thrift_int(t, type);
            break;
        case 6:
            h->rep_bytes = thrift_int(t, type);
            break;
        case 7:
            h->compressed = thrift_bool(t, type);
            break;
        default:
            thrift_skip(t, type);
        }
}

static void read_dictionary(struct thrift *t, struct parquet_head *h) {
    for (int id = 0, type; thrift_field(t, &id, &type);) switch (id) {
        case 1:
            h->values = thrift_int(t, type);
            break;
        case 2:
            h->encoding = thrift_int(t, type);
            break;
        default:
            thrift_skip(t, type);
        }
}

static struct parquet_head read_head(struct thrift *t) {
    struct parquet_head h = {.type = -1, .unpacked = -1, .packed = -1, .values = -1, .compressed = true};
    for (int id = 0, type; thrift_field(t, &id, &type);) switch (id) {
        case 1:
            h.type = thrift_int(t, type);
            break;
        case 2:
            h.unpacked = thrift_int(t, type);
            break;
        case 3:
            h.packed = thrift_int(t, type);
            break;
        case 4:
            h.has_crc = true;
            h.crc = (uint32_t)thrift_int(t, type);
            break;
        case 5:
            if (thrift_struct(t, type)) read_v1(t, &h);
            break;
        case 7:
            if (thrift_struct(t, type)) read_dictionary(t, &h);
            break;
        case 8:
            if (thrift_struct(t, type)) read_v2(t, &h);
            break;
        default:
            thrift_skip(t, type);
        }
    return h;
}

/* Reads the header at p->at and steps behind it. 0: there is none in what is left of the chunk. */
static int next_head(struct parquet_pages *p, struct err *err) {
    for (int64_t n = HEAD_FIRST;; n *= 8) {
        int64_t left = p->chunk.end - p->at, m = left < n ? left : n;
        if (left == 0) return 0;
        if (mem_grow(&p->packed, &p->packed_capacity, m, 1, "Parquet page header", err) < 0 ||
            input_read(p->in, p->packed, m, p->at, err) < 0)
            return -1;
        struct thrift t = {p->packed, p->packed + m, false, 0};
        p->head = read_head(&t);
        if (!t.bad) {
            p->at += t.p - p->packed;
            return 1;
        }
        if (m == left || n >= HEAD_MAX) return damaged(p, "the page header cannot be read", err);
    }
}

static const char *check_head(const struct parquet_pages *p) {
    const struct parquet_head *h = &p->head;
    if (h->packed < 0 || h->packed > p->chunk.end - p->at) return "it does not lie in its column";
    if (h->unpacked < 0 || h->unpacked > PARQUET_PAGE_MAX || h->packed > PARQUET_PAGE_MAX)
        return "its size is more than 256 MiB or less than nothing";
    if (h->type != PARQUET_INDEX && h->type >= PARQUET_DATA_V1 && h->type <= PARQUET_DATA_V2 &&
        (h->values < 0 || h->values > INT32_MAX))
        return "its number of values is missing or too large";
    if (h->type == PARQUET_DATA_V2 &&
        (h->def_bytes < 0 || h->rep_bytes < 0 || h->def_bytes > h->unpacked ||
         h->rep_bytes > h->unpacked - h->def_bytes || h->rep_bytes > h->packed - h->def_bytes))
        return "its levels are longer than the page";
    return NULL;
}

/* ---- the body ---- */

static int read_body(struct parquet_pages *p, struct err *err) {
    const struct parquet_head *h = &p->head;
    int64_t levels = h->type == PARQUET_DATA_V2 ? h->def_bytes + h->rep_bytes : 0;
    if (mem_grow(&p->packed, &p->packed_capacity, h->packed, 1, "Parquet page", err) < 0 ||
        mem_grow(&p->data, &p->data_capacity, h->unpacked + !h->unpacked, 1, "Parquet page", err) < 0 ||
        input_read(p->in, p->packed, h->packed, p->at, err) < 0)
        return -1;
    if (h->has_crc && crc32(0, p->packed, (uInt)h->packed) != h->crc)
        return damaged(p, "its bytes do not fit its checksum", err);
    if (levels) memcpy(p->data, p->packed, (size_t)levels);
    if (h->unpacked == levels) return 0; /* no values: what the packed form of nothing is varies */
    const char *wrong = parquet_unpack(h->compressed ? p->chunk.codec : 0, p->packed + levels, h->packed - levels,
                                       p->data + levels, h->unpacked - levels);
    return wrong ? damaged(p, wrong, err) : 0;
}

void parquet_pages_start(struct parquet_pages *p, const struct input *in, const struct parquet_chunk *chunk) {
    p->in = in;
    p->chunk = *chunk;
    p->at = chunk->begin;
}

int parquet_pages_next(struct parquet_pages *p, struct err *err) {
    for (;;) {
        int r = next_head(p, err);
        if (r <= 0) return r;
        const char *wrong = check_head(p);
        if (wrong) return damaged(p, wrong, err);
        int64_t type = p->head.type;
        bool wanted = type == PARQUET_DATA_V1 || type == PARQUET_DICTIONARY || type == PARQUET_DATA_V2;
        if (wanted && read_body(p, err) < 0) return -1;
        p->at += p->head.packed;
        if (wanted) return 1;
    }
}

unsigned char *parquet_pages_take(struct parquet_pages *p) {
    unsigned char *data = p->data;
    p->data = NULL;
    p->data_capacity = 0;
    return data;
}

void parquet_pages_free(struct parquet_pages *p) {
    mem_free(p->data);
    mem_free(p->packed);
    *p = (struct parquet_pages){0};
}
