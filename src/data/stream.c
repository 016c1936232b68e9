/* stream: reads a file in pieces of 1 MiB and hands out what they unpack to. It does not look inside the text, and it
 * never maps the file: what is read once should not stay in this program's memory. */
#define ZSTD_STATIC_LINKING_ONLY /* ZSTD_WINDOWLOG_MAX */
#include "data/stream.h"

#include <stdbool.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "base/err.h"
#include "base/input.h"
#include "base/mem.h"

enum { PIECE = 1 << 20 };

enum packing { PLAIN, ZSTD, GZIP };

struct stream {
    struct input in;
    int64_t read; /* bytes of the file in or behind the piece */
    unsigned char *piece;
    size_t begin, end; /* what is left of the piece */
    enum packing packing;
    bool inside; /* a frame or member has begun and not ended */
    ZSTD_DStream *zstd;
    z_stream gzip;
    bool gzip_open;
};

static int refill(struct stream *s, struct err *err) {
    int64_t n = s->in.size - s->read < PIECE ? s->in.size - s->read : PIECE;
    if (input_read(&s->in, s->piece, n, s->read, err) < 0) return -1;
    s->read += n;
    s->begin = 0;
    s->end = (size_t)n;
    return 0;
}

static int start_unpacking(struct stream *s, struct err *err) {
    const unsigned char *p = s->piece;
    size_t n = s->end;
    if (n >= 4 && p[1] == 0xb5 && p[2] == 0x2f && p[3] == 0xfd && p[0] == 0x28) s->packing = ZSTD;
    if (n >= 4 && p[1] == 0x2a && p[2] == 0x4d && p[3] == 0x18 && p[0] >> 4 == 5) s->packing = ZSTD; /* skippable */
    if (n >= 3 && p[0] == 0x1f && p[1] == 0x8b && p[2] == 8) s->packing = GZIP;
    if (s->packing == ZSTD) {
        s->zstd = ZSTD_createDStream();
        if (!s->zstd || ZSTD_isError(ZSTD_DCtx_setParameter(s->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOWLOG_MAX)))
            return err_set(err, "%s: no memory to unpack zstd", s->in.path);
    }
    if (s->packing == GZIP) {
        if (inflateInit2(&s->gzip, 15 + 16) != Z_OK) return err_set(err, "%s: no memory to unpack gzip", s->in.path);
        s->gzip_open = true;
    }
    return 0;
}

struct stream *stream_open(const char *path, struct err *err) {
    struct stream *s = mem_alloc(1, sizeof *s, "input stream", err);
    if (!s) return NULL;
    s->in.fd = -1;
    char *copy = mem_strdup(path, err);
    s->piece = copy ? mem_alloc(PIECE, 1, "input buffer", err) : NULL;
    if (s->piece && input_open(&s->in, copy, err) == 0 && refill(s, err) == 0 && start_unpacking(s, err) == 0) return s;
    s->in.path = copy;
    stream_close(s);
    return NULL;
}

void stream_close(struct stream *s) {
    if (!s) return;
    ZSTD_freeDStream(s->zstd);
    if (s->gzip_open) inflateEnd(&s->gzip);
    input_close(&s->in);
    mem_free((char *)(uintptr_t)s->in.path);
    mem_free(s->piece);
    mem_free(s);
}

static int damaged(const struct stream *s, const char *form, const char *why, struct err *err) {
    return err_set(err, "%s: damaged %s data near byte %lld: %s", s->in.path, form, (long long)stream_consumed(s), why);
}

/* One call of the zstd library; bytes written to buf, which may be none. */
static int64_t unpack_zstd(struct stream *s, void *buf, int64_t n, struct err *err) {
    if (!s->inside && s->begin == s->end) return 0;
    ZSTD_inBuffer in = {s->piece, s->end, s->begin};
    ZSTD_outBuffer out = {buf, (size_t)n, 0};
    size_t r = ZSTD_decompressStream(s->zstd, &out, &in);
    s->begin = in.pos;
    if (ZSTD_isError(r)) return damaged(s, "zstd", ZSTD_getErrorName(r), err);
    s->inside = r != 0;
    return (int64_t)out.pos;
}

/* Between members: the next one begins here, or only zero bytes follow. */
static int next_member(struct stream *s, struct err *err) {
    if (s->gzip.total_in == 0) return 0; /* the first one has been looked at */
    while (s->begin < s->end && s->piece[s->begin] == 0) s->begin++;
    if (s->begin == s->end) return 0;
    if (s->piece[s->begin] != 0x1f) return damaged(s, "gzip", "bytes after the end that are no further member", err);
    inflateReset(&s->gzip);
    return 0;
}

static int64_t unpack_gzip(struct stream *s, void *buf, int64_t n, struct err *err) {
    if (!s->inside && next_member(s, err) < 0) return -1;
    if (!s->inside && s->begin == s->end) return 0;
    s->gzip.next_in = s->piece + s->begin;
    s->gzip.avail_in = (uInt)(s->end - s->begin);
    s->gzip.next_out = buf;
    s->gzip.avail_out = n < PIECE ? (uInt)n : PIECE;
    uInt room = s->gzip.avail_out;
    int r = inflate(&s->gzip, Z_NO_FLUSH);
    s->begin = s->end - s->gzip.avail_in;
    if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR)
        return damaged(s, "gzip", s->gzip.msg ? s->gzip.msg : zError(r), err);
    s->inside = r != Z_STREAM_END;
    return room - s->gzip.avail_out;
}

static int64_t copy_plain(struct stream *s, void *buf, int64_t n) {
    int64_t left = (int64_t)(s->end - s->begin), m = n < left ? n : left;
    memcpy(buf, s->piece + s->begin, (size_t)m);
    s->begin += (size_t)m;
    return m;
}

int64_t stream_read(struct stream *s, void *buf, int64_t n, struct err *err) {
    for (;;) {
        /* Unpackers are asked before the piece is refilled: they may hold output back. */
        int64_t m = s->packing == ZSTD   ? unpack_zstd(s, buf, n, err)
                    : s->packing == GZIP ? unpack_gzip(s, buf, n, err)
                                         : copy_plain(s, buf, n);
        if (m != 0) return m;
        if (s->begin < s->end) continue;
        if (s->read == s->in.size) break;
        if (refill(s, err) < 0) return -1;
    }
    if (s->inside) return err_set(err, "%s: cut short: the compressed data ends in the middle", s->in.path);
    return 0;
}

int64_t stream_consumed(const struct stream *s) {
    return s->read - (int64_t)(s->end - s->begin);
}
