/* chunk: reads and writes the published `.bin` files. A file is mapped and checked whole when it is opened (header,
 * length); ids are checked when they are read. The writer holds one chunk in memory and writes it in one go, so that a
 * file that is there is complete. Numbers are little-endian, as on every machine this is built for. */
#include "data/chunk.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "chunk files are read and written without byte swaps");

static const char magic[7] = "LITPKDS";

enum { TOKENS_I32 = 4, TOKENS_F32 = 6, TOKENS_F64 = 7, TOKENS_U16 = 8, TOKENS_TYPES = 9 };
static const int dtype_size[TOKENS_TYPES] = {0, 1, 1, 2, 4, 8, 4, 8, 2};

void chunk_name(char out[CHUNK_NAME_MAX], const char *prefix, int worker, int64_t number) {
    snprintf(out, CHUNK_NAME_MAX, "%s_%d_%010lld.bin", prefix, worker, (long long)number);
}

bool chunk_named(const char *name) {
    const size_t n = strlen(name);
    return n > 15 && name[n - 15] == '_' && strspn(name + n - 14, "0123456789") == 10 &&
           strcmp(name + n - 4, ".bin") == 0;
}

static void header_write(unsigned char h[CHUNK_HEADER], int dtype, int64_t tokens) {
    uint64_t version = 1, length = (uint64_t)tokens;
    memcpy(h, magic, 7);
    memcpy(h + 7, &version, 8);
    h[15] = (unsigned char)dtype;
    memcpy(h + 16, &length, 8);
}

static int header_check(struct chunk *c, const char *path, struct err *err) {
    const unsigned char *h = c->map.data;
    if (c->map.size < CHUNK_HEADER || memcmp(h, magic, 7) != 0)
        return err_set(err, "%s: not a chunk file: it does not begin with LITPKDS and a header of 24 bytes", path);
    uint64_t version, tokens;
    memcpy(&version, h + 7, 8);
    memcpy(&tokens, h + 16, 8);
    if (version != 1) return err_set(err, "%s: chunk file version %llu, expected 1", path, (unsigned long long)version);
    c->dtype = h[15];
    if (c->dtype < 1 || c->dtype >= TOKENS_TYPES || c->dtype == TOKENS_F32 || c->dtype == TOKENS_F64)
        return err_set(err, "%s: chunk of dtype code %d, expected an integer type (1-5 or 8)", path, c->dtype);
    uint64_t body = c->map.size - CHUNK_HEADER, size = (uint64_t)dtype_size[c->dtype];
    if (tokens != body / size || body % size != 0)
        return err_set(err, "%s: the header promises %llu tokens of %llu bytes, the file has %llu bytes after it", path,
                       (unsigned long long)tokens, (unsigned long long)size, (unsigned long long)body);
    c->tokens = (int64_t)tokens;
    c->data = h + CHUNK_HEADER;
    return 0;
}

int chunk_open(struct chunk *c, const char *path, struct err *err) {
    memset(c, 0, sizeof *c);
    if (file_map(&c->map, path, err) < 0) return -1;
    if (header_check(c, path, err) < 0) {
        chunk_close(c);
        return -1;
    }
    return 0;
}

void chunk_close(struct chunk *c) {
    if (c->map.data) file_unmap(&c->map);
    memset(c, 0, sizeof *c);
}

static int64_t token_at(const struct chunk *c, int64_t i) {
    const char *p = (const char *)c->data + i * dtype_size[c->dtype];
    uint16_t u16;
    int16_t i16;
    int32_t i32;
    int64_t i64;
    switch (c->dtype) {
    case 1:
        return *(const uint8_t *)p;
    case 2:
        return *(const int8_t *)p;
    case 3:
        return memcpy(&i16, p, 2), i16;
    case 4:
        return memcpy(&i32, p, 4), i32;
    case 5:
        return memcpy(&i64, p, 8), i64;
    default:
        return memcpy(&u16, p, 2), u16;
    }
}

int chunk_read(const struct chunk *c, int64_t first, int64_t n, int32_t *out, int64_t vocab, const char *path,
               struct err *err) {
    if (first < 0 || n < 0 || first > c->tokens - n)
        return err_set(err, "%s: %lld tokens from token %lld on wanted, the chunk has %lld", path, (long long)n,
                       (long long)first, (long long)c->tokens);
    for (int64_t i = 0; i < n; i++) {
        int64_t id = token_at(c, first + i);
        if (id < 0 || id >= vocab || id > INT32_MAX)
            return err_set(
                err, "%s: token %lld is id %lld, outside the vocabulary of %lld: prepared with another tokenizer?",
                path, (long long)(first + i), (long long)id, (long long)vocab);
        out[i] = (int32_t)id;
    }
    return 0;
}

struct chunk_writer {
    char dir[FILE_PATH_MAX], prefix[256];
    int worker, dtype;
    int64_t vocab, chunk_tokens;
    int64_t files;       /* finished */
    int64_t n;           /* tokens in the current chunk; < chunk_tokens between calls */
    unsigned char *data; /* header, then n tokens */
    int64_t capacity;    /* of data, in bytes */
};

struct chunk_writer *chunk_writer_open(const char *dir, const char *prefix, int worker, int64_t vocab,
                                       int64_t chunk_tokens, struct err *err) {
    if (chunk_tokens < 1 || chunk_tokens > CHUNK_TOKENS_MAX) {
        err_set(err, "chunk length %lld is out of range: expected 1 to %d tokens", (long long)chunk_tokens,
                CHUNK_TOKENS_MAX);
        return NULL;
    }
    if (vocab < 1 || vocab > INT32_MAX || strlen(dir) >= FILE_PATH_MAX || strlen(prefix) >= 256) {
        err_set(err, "cannot write chunks to %s: vocabulary of %lld or prefix '%s' is out of range", dir,
                (long long)vocab, prefix);
        return NULL;
    }
    struct chunk_writer *w = mem_alloc(1, sizeof *w, "chunk writer", err);
    if (!w) return NULL;
    strcpy(w->dir, dir);
    strcpy(w->prefix, prefix);
    w->worker = worker;
    w->dtype = vocab < 65500 ? TOKENS_U16 : TOKENS_I32;
    w->vocab = vocab;
    w->chunk_tokens = chunk_tokens;
    return w;
}

static int write_to(const struct chunk_writer *w, const char *path, struct err *err) {
    unsigned char empty[CHUNK_HEADER], *h = w->data ? w->data : empty;
    header_write(h, w->dtype, w->n);
    return file_write(path, h, CHUNK_HEADER + (size_t)w->n * (size_t)dtype_size[w->dtype], err);
}

static int flush(struct chunk_writer *w, struct err *err) {
    char name[CHUNK_NAME_MAX], path[FILE_PATH_MAX];
    chunk_name(name, w->prefix, w->worker, w->files);
    if (file_join(path, w->dir, name, err) < 0 || write_to(w, path, err) < 0) return -1;
    w->files++;
    w->n = 0;
    return 0;
}

int chunk_writer_add(struct chunk_writer *w, const int32_t *ids, int64_t n, struct err *err) {
    int size = dtype_size[w->dtype];
    while (n > 0) {
        int64_t m = w->chunk_tokens - w->n < n ? w->chunk_tokens - w->n : n;
        if (mem_grow(&w->data, &w->capacity, CHUNK_HEADER + (w->n + m) * size, 1, "chunk", err) < 0) return -1;
        unsigned char *to = w->data + CHUNK_HEADER + w->n * size;
        for (int64_t i = 0; i < m; i++) {
            if (ids[i] < 0 || ids[i] >= w->vocab)
                return err_set(err, "chunk writer: id %d is outside the vocabulary of %lld", ids[i],
                               (long long)w->vocab);
            memcpy(to + i * size, &ids[i], (size_t)size); /* the low bytes come first */
        }
        w->n += m, ids += m, n -= m;
        if (w->n == w->chunk_tokens && flush(w, err) < 0) return -1;
    }
    return 0;
}

int64_t chunk_writer_files(const struct chunk_writer *w) {
    return w->files;
}

int64_t chunk_writer_pending(const struct chunk_writer *w) {
    return w->n;
}

int chunk_writer_save_pending(const struct chunk_writer *w, const char *path, struct err *err) {
    return write_to(w, path, err);
}

int chunk_writer_restore(struct chunk_writer *w, int64_t files, const int32_t *ids, int64_t n, struct err *err) {
    BUG_ON(w->files != 0 || w->n != 0 || files < 0 || n >= w->chunk_tokens);
    w->files = files;
    return chunk_writer_add(w, ids, n, err);
}

int chunk_writer_close(struct chunk_writer *w, int64_t *files, int64_t *tokens, struct err *err) {
    int64_t total = w->files * w->chunk_tokens + w->n;
    int r = w->n > 0 ? flush(w, err) : 0;
    if (files) *files = w->files;
    if (tokens) *tokens = total;
    chunk_writer_abort(w);
    return r;
}

void chunk_writer_abort(struct chunk_writer *w) {
    if (!w) return;
    mem_free(w->data);
    mem_free(w);
}
