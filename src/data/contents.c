/* contents: see contents.h. */
#include "data/contents.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "base/err.h"
#include "base/input.h"
#include "base/mem.h"

enum { PIECE = 1 << 20 };

static void of_stat(struct contents *c, const struct stat *st) {
    *c = (struct contents){
        .bytes = st->st_size, .changed = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec, .known = true};
}

/* The size and time are those from before the reading: who writes meanwhile is seen the next time. */
int contents_read(struct contents *c, const char *path, contents_heard *heard, void *who, struct err *err) {
    struct contents now;
    struct stat st;
    struct input in;
    unsigned char *buf = mem_alloc(PIECE, 1, "bytes of a file", err);
    int r = buf ? input_open(&in, path, err) : -1;
    if (r == 0) {
        if (fstat(in.fd, &st) < 0) r = err_set(err, "cannot read '%s': %s", path, strerror(errno));
        if (r == 0) of_stat(&now, &st);
        for (int64_t at = 0, n; r == 0 && at < in.size; at += n) {
            n = in.size - at < PIECE ? in.size - at : PIECE;
            r = input_read(&in, buf, n, at, err);
            if (r == 0) now.crc32 = (uint32_t)crc32_z(now.crc32, buf, (size_t)n);
            if (r == 0 && heard && at + n < in.size && !heard(who, at + n)) r = 1;
        }
        input_close(&in);
    }
    mem_free(buf);
    if (r == 0) *c = now;
    return r;
}

int contents_check(struct contents *c, const char *path, contents_heard *heard, void *who, struct err *err) {
    struct contents now;
    struct stat st;
    if (stat(path, &st) < 0) return err_set(err, "cannot find '%s': %s", path, strerror(errno));
    of_stat(&now, &st);
    if (now.bytes == c->bytes && now.changed == c->changed) return 0;
    if (now.bytes != c->bytes) return 1;
    const int r = contents_read(&now, path, heard, who, err);
    if (r != 0) return r;
    if (now.crc32 != c->crc32 || now.bytes != c->bytes) return 1;
    *c = now;
    return 0;
}
