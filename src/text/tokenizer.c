/* tokenizer: finds out what kind of file it is given and has it loaded into rules, which encode and decode follow. */
#include "text/tokenizer.h"
#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/num.h"
#include "text/decode.h"
#include "text/encode.h"
#include "text/hf_load.h"
#include "text/rules.h"
#include "text/sentencepiece.h"

static const size_t file_max = 512u << 20;

struct tokenizer {
    char *path;
    uint64_t hash; /* of the bytes of its files */
    char digest[17];
    struct rules rules;
    struct encoder encoder;
};

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
    if (start < n && data[start] == '{') return hf_load(&t->rules, (const char *)data, n, t->path, &t->hash, err);
    /* SentencePiece: field 1, length-delimited, of a piece that starts with field 1. llama2.c: a small u32. */
    bool bin = n >= 12 && data[2] == 0 && data[3] == 0;
    t->rules.name = bin ? TOKENIZER_BIN : TOKENIZER_MODEL;
    if (bin) return tokbin_load(&t->rules, data, n, err);
    if (n >= 3 && data[0] == 0x0A) return sentencepiece_load(&t->rules, data, n, err);
    return err_set(err, "not a tokenizer: expected tokenizer.json, tokenizer.model, vocab.json beside merges.txt, or "
                        "llama2.c's tokenizer.bin");
}

static int load_file(struct tokenizer *t, struct err *err) {
    struct file_map map;
    if (file_map(&map, t->path, err) < 0) return -1;
    int r = 0;
    if (map.size > file_max) r = err_set(err, "%zu bytes: expected a tokenizer of at most %zu", map.size, file_max);
    if (r == 0) {
        t->hash = hash_add(HASH_START, map.data, map.size);
        r = load(t, map.data, (int64_t)map.size, err);
    }
    file_unmap(&map);
    return r < 0 ? err_prefix(err, "%s", t->path) : 0;
}

struct tokenizer *tokenizer_load(const char *path, struct err *err) {
    char file[FILE_PATH_MAX];
    if (resolve(file, path, err) < 0) return NULL;
    struct tokenizer *t = mem_alloc(1, sizeof *t, "tokenizer", err);
    if (t == NULL) return NULL;
    rules_init(&t->rules);
    t->path = mem_strdup(file, err);
    if (t->path && load_file(t, err) == 0 && encoder_init(&t->encoder, &t->rules, err) == 0) {
        snprintf(t->digest, sizeof t->digest, "%016llx", (unsigned long long)t->hash);
        return t;
    }
    rules_free(&t->rules);
    mem_free(t->path);
    mem_free(t);
    return NULL;
}

void tokenizer_free(struct tokenizer *t) {
    if (t == NULL) return;
    encoder_free(&t->encoder);
    rules_free(&t->rules);
    mem_free(t->path);
    mem_free(t);
}

/* The texts that an id alone has in both; returns whether they are there and the same. */
static bool same_text(const struct tokenizer *a, const struct tokenizer *b, int32_t id, struct bytes text[2]) {
    struct err ignored = {{0}};
    text[0].n = text[1].n = 0;
    const int ra = tokenizer_decode(a, &id, 1, true, &text[0], &ignored);
    const int rb = tokenizer_decode(b, &id, 1, true, &text[1], &ignored);
    return ra == 0 && rb == 0 && text[0].n == text[1].n &&
           (text[0].n == 0 || !memcmp(text[0].v, text[1].v, (size_t)text[0].n));
}

/* Is it more than one byte? A byte that is no character by itself reads as U+FFFD. */
static bool is_long(const struct bytes *text) {
    return text->n > 1 && !(text->n == 3 && memcmp(text->v, "\xEF\xBF\xBD", 3) == 0);
}

/* Forms of one tokenizer (a .model and a .json) differ in a few special tokens. Any two may have the bytes in common,
 * at the same ids, and these be most of a small vocabulary: so only longer texts count, where there are any. */
static bool alike(const struct tokenizer *a, const struct tokenizer *b) {
    const int64_t na = tokenizer_vocab_size(a), nb = tokenizer_vocab_size(b), n = min64(na, nb);
    struct bytes text[2] = {{0}};
    int64_t ids[2] = {0}, same[2] = {0}; /* of one byte, longer */
    if (16 * n < 15 * max64(na, nb)) return false;
    for (int64_t id = 0; id < n; id++) {
        const bool equal = same_text(a, b, (int32_t)id, text), longer = is_long(&text[0]) || is_long(&text[1]);
        ids[longer]++;
        same[longer] += equal;
    }
    bytes_free(&text[0]);
    bytes_free(&text[1]);
    const bool longer = ids[1] > 0;
    return 16 * same[longer] >= 15 * ids[longer];
}

int tokenizer_suits(const struct tokenizer *t, const char *folder, struct err *err) {
    struct err ignored = {{0}};
    struct tokenizer *own = tokenizer_there(folder) ? tokenizer_load(folder, &ignored) : NULL;
    const bool suits = !own || !strcmp(t->digest, own->digest) || alike(t, own);
    tokenizer_free(own);
    return suits ? 0 : err_set(err, "tokenizer %s: not the one that is in %s", t->path, folder);
}

int tokenizer_load_for(struct tokenizer **t, const char *named, const char *folder, struct err *err) {
    *t = NULL;
    if (!named && !tokenizer_there(folder)) return 0;
    *t = tokenizer_load(named ? named : folder, err);
    if (!*t) return -1;
    if (!named || tokenizer_suits(*t, folder, err) == 0) return 0;
    tokenizer_free(*t);
    *t = NULL;
    return -1;
}

int tokenizer_encode(const struct tokenizer *t, const char *text, int64_t n, struct ids *out, struct err *err) {
    return encode(&t->encoder, text, n, out, err);
}

int tokenizer_decode(const struct tokenizer *t, const int32_t *ids, int64_t n, bool keep_special, struct bytes *out,
                     struct err *err) {
    return decode(&t->rules, ids, n, keep_special, out, err);
}

int64_t tokenizer_vocab_size(const struct tokenizer *t) {
    return t->rules.size;
}

int32_t tokenizer_bos(const struct tokenizer *t) {
    return t->rules.bos;
}

int32_t tokenizer_eos(const struct tokenizer *t) {
    return t->rules.eos;
}

const char *tokenizer_digest(const struct tokenizer *t) {
    return t->digest;
}

const char *tokenizer_path(const struct tokenizer *t) {
    return t->path;
}

const char *tokenizer_name(const struct tokenizer *t) {
    return t->rules.name;
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
    } names[] = {{file, t->rules.name},
                 {"merges.txt", "merges.txt"},
                 {"tokenizer_config.json", "tokenizer_config.json"},
                 {"special_tokens_map.json", "special_tokens_map.json"}};
    char from[FILE_PATH_MAX], to[FILE_PATH_MAX];
    int there = find(to, dir, err);
    if (there < 0) return -1;
    if (there && strcmp(strrchr(to, '/') + 1, t->rules.name) != 0)
        return err_set(err, "%s is there already, and would be taken for the tokenizer instead of %s: remove it", to,
                       t->path);
    const size_t count = sizeof names / sizeof *names;
    for (size_t k = 0; k < 2 * count; k++) { /* looks first, then copies */
        const size_t i = k % count;
        const int n = snprintf(from, sizeof from, "%.*s%s", (int)(file - t->path), t->path, names[i].from);
        if (n >= (int)sizeof from) return err_set(err, "path of %d bytes is too long", n);
        if (file_join(to, dir, names[i].to, err) < 0) return -1;
        if (same_bytes(from, to)) continue;
        if (file_exists(to))
            return err_set(err, "%s is there already, and does not belong to %s: choose another --out, or move it away",
                           to, t->path);
        if (k >= count && (i == 0 || file_exists(from)) && file_copy(from, to, err) < 0) return -1;
    }
    return 0;
}
