/* tokenizer: finds out what kind of file it is given, loads it, and answers questions about it. The work is done in
 * hf_load.c (tokenizer.json, vocab.json), sentencepiece.c (tokenizer.model, llama2.c's .bin), encode.c and decode.c. */
#include "text/tokenizer.h"
#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "text/tokenizer_impl.h"

static const size_t file_max = 512u << 20;

/* 1 and the tokenizer file of a folder, 0 when it has none, -1 with err. */
static int find(char out[FILE_PATH_MAX], const char *dir, struct err *err) {
    static const char *const names[] = {TOKENIZER_JSON, TOKENIZER_MODEL, TOKENIZER_VOCAB, TOKENIZER_BIN};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (file_join(out, dir, names[i], err) < 0) return -1;
        if (file_exists(out)) return 1;
    }
    return 0;
}

/* A folder stands for the tokenizer file inside it. */
static int resolve(char out[FILE_PATH_MAX], const char *path, struct err *err) {
    if (!file_is_dir(path)) {
        if (strlen(path) >= FILE_PATH_MAX) return err_set(err, "path of %zu bytes is too long", strlen(path));
        strcpy(out, path);
        return 0;
    }
    int r = find(out, path, err);
    if (r != 0) return r < 0 ? -1 : 0;
    return err_set(err, "%s: no tokenizer.json, tokenizer.model, vocab.json or tokenizer.bin in this folder", path);
}

bool tokenizer_there(const char *dir) {
    char path[FILE_PATH_MAX];
    struct err ignored;
    return file_is_dir(dir) && find(path, dir, &ignored) > 0;
}

static int load(struct tokenizer *t, const unsigned char *data, int64_t n, struct err *err) {
    int64_t start = 0;
    while (start < n && strchr(" \t\r\n", data[start]) && data[start]) start++;
    if (start < n && data[start] == '{') return hf_load(t, (const char *)data, n, t->path, err);
    /* SentencePiece: field 1, length-delimited, of a piece that starts with field 1. llama2.c: a small u32. */
    t->name = n >= 12 && data[2] == 0 && data[3] == 0 ? TOKENIZER_BIN : TOKENIZER_MODEL;
    if (n >= 12 && data[2] == 0 && data[3] == 0) return tokbin_load(t, data, n, err);
    if (n >= 3 && data[0] == 0x0A) return sentencepiece_load(t, data, n, err);
    return err_set(
        err, "not a tokenizer: expected tokenizer.json, tokenizer.model, vocab.json beside merges.txt, or llama2.c's "
             "tokenizer.bin");
}

void tokenizer_digest_add(struct tokenizer *t, const void *data, int64_t n) {
    const unsigned char *b = data;
    for (int64_t i = 0; i < n; i++) t->digest_bits = (t->digest_bits ^ b[i]) * 0x100000001B3u;
}

struct tokenizer *tokenizer_load(const char *path, struct err *err) {
    char file[FILE_PATH_MAX];
    struct file_map map;
    if (resolve(file, path, err) < 0 || file_map(&map, file, err) < 0) return NULL;
    struct tokenizer *t = mem_alloc(1, sizeof *t, "tokenizer", err);
    if (t == NULL) return file_unmap(&map), NULL;
    pthread_mutex_init(&t->lock, NULL);
    t->bos = t->eos = t->unknown = -1;
    memset(t->byte_id, -1, sizeof t->byte_id);
    t->path = mem_strdup(file, err);
    t->digest_bits = 0xCBF29CE484222325u;
    int r = t->path ? 0 : -1;
    if (r == 0 && map.size > file_max) {
        r = err_set(err, "%zu bytes: expected a tokenizer of at most %zu", map.size, file_max);
        err_prefix(err, "%s", file);
    } else if (r == 0) {
        tokenizer_digest_add(t, map.data, (int64_t)map.size);
        r = load(t, map.data, (int64_t)map.size, err);
        if (r < 0) err_prefix(err, "%s", file);
        if (r == 0) r = encode_prepare(t, err);
        snprintf(t->digest, sizeof t->digest, "%016llx", (unsigned long long)t->digest_bits);
    }
    file_unmap(&map);
    if (r == 0) return t;
    tokenizer_free(t);
    return NULL;
}

void tokenizer_free(struct tokenizer *t) {
    if (t == NULL) return;
    mem_free(t->path);
    vocab_free(&t->vocab);
    bpe_free(&t->bpe);
    added_free(&t->raw);
    added_free(&t->normal);
    normalize_free(&t->normalizer);
    pretoken_free(&t->pretoken);
    decode_free(&t->decoder);
    mem_free(t->joined);
    encode_scratch_free(t->idle);
    pthread_mutex_destroy(&t->lock);
    mem_free(t);
}

int64_t tokenizer_vocab_size(const struct tokenizer *t) {
    return t->size;
}

int32_t tokenizer_bos(const struct tokenizer *t) {
    return t->bos;
}

int32_t tokenizer_eos(const struct tokenizer *t) {
    return t->eos;
}

int32_t tokenizer_find(const struct tokenizer *t, const char *token) {
    int32_t id = vocab_find(&t->vocab, token, (int64_t)strlen(token));
    return id < t->size ? id : -1;
}

const char *tokenizer_digest(const struct tokenizer *t) {
    return t->digest;
}

const char *tokenizer_path(const struct tokenizer *t) {
    return t->path;
}

const char *tokenizer_name(const struct tokenizer *t) {
    return t->name;
}

/* Are both there with the same bytes? */
static bool same_bytes(const char *a, const char *b) {
    struct err ignored = {{0}};
    struct file_map x, y;
    if (file_map(&x, a, &ignored) < 0) return false;
    bool same = file_map(&y, b, &ignored) == 0;
    if (same) {
        same = x.size == y.size && memcmp(x.data, y.data, x.size) == 0;
        file_unmap(&y);
    }
    file_unmap(&x);
    return same;
}

int tokenizer_copy(const struct tokenizer *t, const char *dir, struct err *err) {
    const char *slash = strrchr(t->path, '/'), *file = slash ? slash + 1 : t->path;
    const struct {
        const char *from, *to;
    } names[] = {{file, t->name},
                 {"merges.txt", "merges.txt"},
                 {"tokenizer_config.json", "tokenizer_config.json"},
                 {"special_tokens_map.json", "special_tokens_map.json"}};
    char from[FILE_PATH_MAX], to[FILE_PATH_MAX];
    int there = find(to, dir, err);
    if (there < 0) return -1;
    if (there && strcmp(strrchr(to, '/') + 1, t->name) != 0)
        return err_set(err, "%s is there already, and would be taken for the tokenizer instead of %s: remove it", to,
                       t->path);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const int n = snprintf(from, sizeof from, "%.*s%s", (int)(file - t->path), t->path, names[i].from);
        if (n >= (int)sizeof from) return err_set(err, "path of %d bytes is too long", n);
        if (i > 0 && !file_exists(from)) continue;
        if (file_join(to, dir, names[i].to, err) < 0) return -1;
        if (!same_bytes(from, to) && file_copy(from, to, err) < 0) return -1;
    }
    return 0;
}
