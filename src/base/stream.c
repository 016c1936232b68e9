/* stream: reads a file in pieces of 1 MiB and hands out what they unpack to. It does not look inside the text, and it
 * never maps the file: what is read once should not stay in this program's memory. */
#define ZSTD_STATIC_LINKING_ONLY /* ZSTD_WINDOWLOG_MAX */
#include "base/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/mem.h"

enum { PIECE = 1 << 20 };

enum packing { UNKNOWN, PLAIN, ZSTD, GZIP };

struct stream {
    int fd;
    char *name;
    int64_t read; /* bytes of the file in or behind the piece */
    unsigned char *piece;
    size_t begin, end; /* what is left of the piece */
    bool at_end;       /* of the file */
    enum packing packing;
    bool inside; /* a frame or member has begun and not ended */
    ZSTD_DStream *zstd;
    z_stream gzip;
    bool gzip_open;
};

/* What one read gives, behind the piece's first `kept` bytes: a pipe's lines come when they are written. */
static int read_more(struct stream *s, size_t kept, struct err *err) {
    for (;;) {
        ssize_t n = fault_now(FAULT_READ) ? -1 : read(s->fd, s->piece + kept, PIECE - kept);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_set(err, "cannot read '%s': %s", s->name, strerror(errno));
        s->read += n;
        s->begin = 0;
        s->end = kept + (size_t)n;
        s->at_end = n == 0;
        return 0;
    }
}

/* What the first n bytes say; UNKNOWN: they begin a mark and do not end it. */
static enum packing packing_of(const unsigned char *p, size_t n) {
    static const struct {
        enum packing packing;
        size_t n;
        unsigned char mark[4], mask; /* of the first byte */
    } marks[] = {{ZSTD, 4, {0x28, 0xb5, 0x2f, 0xfd}, 0xff},
                 {ZSTD, 4, {0x50, 0x2a, 0x4d, 0x18}, 0xf0}, /* a frame to be skipped */
                 {GZIP, 3, {0x1f, 0x8b, 8}, 0xff}};
    enum packing packing = PLAIN;
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        size_t same = 0;
        while (same < n && same < marks[i].n && (p[same] & (same ? 0xff : marks[i].mask)) == marks[i].mark[same])
            same++;
        if (same == marks[i].n) return marks[i].packing;
        if (same == n) packing = UNKNOWN;
    }
    return packing;
}

static int start_unpacking(struct stream *s, struct err *err) {
    do {
        if (read_more(s, s->end, err) < 0) return -1;
        s->packing = packing_of(s->piece, s->end);
    } while (s->packing == UNKNOWN && !s->at_end);
    if (s->packing == UNKNOWN) s->packing = PLAIN;
    if (s->packing == ZSTD) {
        s->zstd = ZSTD_createDStream();
        if (!s->zstd || ZSTD_isError(ZSTD_DCtx_setParameter(s->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOWLOG_MAX)))
            return err_set(err, "%s: no memory to unpack zstd", s->name);
    }
    if (s->packing == GZIP) {
        if (inflateInit2(&s->gzip, 15 + 16) != Z_OK) return err_set(err, "%s: no memory to unpack gzip", s->name);
        s->gzip_open = true;
    }
    return 0;
}

struct stream *stream_open(const char *path, struct err *err) {
    bool input = strcmp(path, "-") == 0;
    struct stat st;
    struct stream *s = mem_alloc(1, sizeof *s, path, err);
    if (!s) return NULL;
    s->fd = -1;
    s->name = mem_strdup(input ? "standard input" : path, err);
    s->piece = s->name ? mem_alloc(PIECE, 1, path, err) : NULL;
    if (s->piece) {
        s->fd = input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
        if (s->fd < 0) err_set(err, "cannot open '%s': %s", path, strerror(errno));
        if (s->fd >= 0 && fstat(s->fd, &st) == 0 && S_ISDIR(st.st_mode)) {
            err_set(err, "cannot read '%s': %s", path, strerror(EISDIR));
        } else if (s->fd >= 0) {
            posix_fadvise(s->fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* a hint */
            return s;
        }
    }
    stream_close(s);
    return NULL;
}

const char *stream_name(const struct stream *s) {
    return s->name;
}

void stream_close(struct stream *s) {
    if (!s) return;
    ZSTD_freeDStream(s->zstd);
    if (s->gzip_open) inflateEnd(&s->gzip);
    if (s->fd >= 0 && s->fd != STDIN_FILENO) close(s->fd);
    mem_free(s->name);
    mem_free(s->piece);
    mem_free(s);
}

static int damaged(const struct stream *s, const char *form, const char *why, struct err *err) {
    return err_set(err, "%s: damaged %s data near byte %lld: %s", s->name, form, (long long)stream_consumed(s), why);
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
    if (s->packing == UNKNOWN && start_unpacking(s, err) < 0) return -1;
    for (;;) {
        /* Unpackers are asked before the piece is refilled: they may hold output back. */
        int64_t m = s->packing == ZSTD   ? unpack_zstd(s, buf, n, err)
                    : s->packing == GZIP ? unpack_gzip(s, buf, n, err)
                                         : copy_plain(s, buf, n);
        if (m != 0) return m;
        if (s->begin < s->end) continue;
        if (s->at_end) break;
        if (read_more(s, 0, err) < 0) return -1;
    }
    if (s->inside) return err_set(err, "%s: cut short: the compressed data ends in the middle", s->name);
    return 0;
}

bool stream_waits(const struct stream *s) {
    struct pollfd p = {.fd = s->fd, .events = POLLIN};
    return s->begin == s->end && !s->at_end && poll(&p, 1, 0) == 0;
}

int64_t stream_consumed(const struct stream *s) {
    return s->read - (int64_t)(s->end - s->begin);
}
