/* chunkset: reads manifest.json, or goes by the names of files. What the ids in them are is not looked at. */
#include "data/chunkset.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "base/num.h"
#include "data/chunk.h"

enum { MANIFEST_MAX = 256 << 20, MANIFEST_VERSION = 1 };
enum {
    SAMPLED = 64 << 20,
    SAMPLED_PER_FILE = 4096,
    SAMPLES = 8
}; /* bytes that the fingerprint reads, pieces of a file */

static bool is_split(const char *name, const char *split) {
    size_t n = strlen(split);
    return strncmp(name, split, n) == 0 && (name[n] == '_' || name[n] == '.');
}

static bool ends_in(const char *name, const char *end) {
    size_t n = strlen(name), m = strlen(end);
    return n > m && strcmp(name + n - m, end) == 0;
}

/* By whatever names other writers give. tokenizer.bin lies beside chunks and is none. */
static bool is_chunk(const char *name) {
    return ends_in(name, ".bin") && strcmp(name, "tokenizer.bin") != 0;
}

static bool for_validation(const char *name) {
    return is_split(name, "validation") || is_split(name, "valid") || is_split(name, "val");
}

static int add(struct chunkset *s, const char *dir, const char *name, int64_t tokens, struct err *err) {
    char path[FILE_PATH_MAX];
    if (file_join(path, dir, name, err) < 0 ||
        mem_grow(&s->files, &s->capacity, s->n + 1, sizeof *s->files, "list of chunk files", err) < 0)
        return -1;
    char *copy = mem_strdup(path, err);
    if (!copy) return -1;
    s->files[s->n++] = (struct chunkset_file){copy, tokens};
    return 0;
}

static bool wanted(const char *name, enum split split, bool any_train) {
    if (split == SPLIT_VALIDATION) return for_validation(name);
    return any_train ? is_split(name, "train") : !for_validation(name);
}

/* ---- by the names ---- */

static int list_names(struct chunkset *s, const char *dir, enum split split, struct err *err) {
    char **names;
    int64_t count;
    bool any_train = false;
    if (file_list(&names, &count, dir, err) < 0) return -1;
    for (int64_t i = 0; i < count; i++) any_train |= is_chunk(names[i]) && is_split(names[i], "train");
    int r = 0;
    for (int64_t i = 0; i < count && r == 0; i++) {
        if (is_chunk(names[i]) && wanted(names[i], split, any_train)) r = add(s, dir, names[i], -1, err);
        if (is_split(names[i], "prepare") && ends_in(names[i], ".json"))
            r = err_set(err, "%s: its preparation is not finished (%s): give its `mdm prepare` command again", dir,
                        names[i]);
    }
    file_list_free(names, count);
    return r;
}

/* ---- by the manifest ---- */

json_t *chunkset_manifest(const char *path, struct err *err) {
    json_t *m = json_read_file(path, MANIFEST_MAX, err);
    const char *format;
    int64_t version;
    int r = m ? json_get_str(m, "format", &format, true, path, err) : -1;
    if (r > 0 && strcmp(format, "mdm-chunks") != 0)
        r = err_set(err, "%s: not a manifest of chunks: format '%s', expected 'mdm-chunks'", path, format);
    if (r > 0) r = json_get_int(m, "version", &version, MANIFEST_VERSION, MANIFEST_VERSION, true, path, err);
    if (r > 0 && !json_is_object(json_object_get(m, "sets"))) r = err_set(err, "%s: it has no object 'sets'", path);
    if (r > 0) return m;
    json_decref(m);
    return NULL;
}

static int add_stream(struct chunkset *s, const char *dir, const char *stream, const json_t *o, int64_t chunk_tokens,
                      const char *where, struct err *err) {
    int64_t files, tokens, last;
    if (json_get_int(o, "files", &files, 0, INT32_MAX, true, where, err) < 0 ||
        json_get_int(o, "tokens", &tokens, 0, INT64_MAX, true, where, err) < 0 ||
        json_get_int(o, "tokens_in_shorter_last_file", &last, 0, chunk_tokens, true, where, err) < 0)
        return -1;
    if (tokens != files * chunk_tokens - (last ? chunk_tokens - last : 0))
        return err_set(err, "%s: %s: %lld tokens do not fill %lld file%s", where, stream, (long long)tokens,
                       (long long)files, plural(files));
    for (int64_t i = 0; i < files; i++) {
        char name[CHUNK_NAME_MAX];
        chunk_name(name, stream, 0, i);
        if (add(s, dir, name, last && i == files - 1 ? last : chunk_tokens, err) < 0) return -1;
    }
    return 0;
}

/* The tokenizer of the sets must be one. */
static int take_tokenizer(struct chunkset *s, const json_t *set, const char *where, struct err *err) {
    const json_t *t = json_object_get(set, "tokenizer");
    const char *digest;
    if (json_get_str(t, "digest", &digest, true, where, err) < 0 ||
        json_get_int(t, "vocab", &s->vocab, 1, INT32_MAX, true, where, err) < 0)
        return -1;
    if (strlen(digest) >= sizeof s->tokenizer || (s->tokenizer[0] && strcmp(s->tokenizer, digest) != 0))
        return err_set(
            err, "%s: its sets are made with several tokenizers: prepare each tokenizer's data in a folder of its own",
            where);
    strcpy(s->tokenizer, digest);
    return 0;
}

/* Do the streams of the sets have one called train_…? */
static bool has_train(json_t *sets) {
    const char *name, *stream;
    json_t *set, *o;
    bool any = false;
    json_object_foreach(sets, name, set) {
        json_object_foreach(json_object_get(set, "streams"), stream, o) {
            any |= is_split(stream, "train");
        }
    }
    return any;
}

static int list_set(struct chunkset *s, const char *dir, json_t *set, enum split split, bool any_train,
                    const char *where, struct err *err) {
    const char *stream;
    json_t *o;
    int64_t chunk_tokens, before = s->n;
    if (json_get_int(json_object_get(set, "settings"), "chunk_tokens", &chunk_tokens, 1, CHUNK_TOKENS_MAX, true, where,
                     err) < 0)
        return -1;
    json_object_foreach(json_object_get(set, "streams"), stream, o) {
        if (wanted(stream, split, any_train) && add_stream(s, dir, stream, o, chunk_tokens, where, err) < 0) return -1;
    }
    return s->n > before ? take_tokenizer(s, set, where, err) : 0;
}

static int by_path(const void *a, const void *b) {
    const struct chunkset_file *x = a, *y = b;
    return strcmp(x->path, y->path);
}

static int list_manifest(struct chunkset *s, const char *dir, const char *path, enum split split, struct err *err) {
    json_t *m = chunkset_manifest(path, err), *sets = json_object_get(m, "sets"), *set;
    const char *name;
    if (!m) return -1;
    bool any_train = has_train(sets);
    int r = 0;
    json_object_foreach(sets, name, set) {
        if (r == 0) r = list_set(s, dir, set, split, any_train, path, err);
    }
    json_decref(m);
    if (s->n > 1) qsort(s->files, (size_t)s->n, sizeof *s->files, by_path);
    return r;
}

/* ---- the files ---- */

/* Name, header, and of the tokens all, or `SAMPLES` pieces spread evenly from the first byte to the last. */
static uint64_t fingerprint(uint64_t h, const char *path, const struct chunk *c, int64_t most) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const unsigned char *body = c->map.data + CHUNK_HEADER;
    int64_t size = (int64_t)c->map.size, n = size - CHUNK_HEADER, piece = most / SAMPLES;
    h = hash_add(h, name, strlen(name) + 1);
    h = hash_add(h, &size, sizeof size);
    h = hash_add(h, c->map.data, CHUNK_HEADER);
    if (n <= most) return hash_add(h, body, (size_t)n);
    for (int64_t i = 0; i < SAMPLES; i++) h = hash_add(h, body + (n - piece) * i / (SAMPLES - 1), (size_t)piece);
    return h;
}

/* The file is there, with the tokens that it should have where that is known; its number of tokens either way. */
static int open_file(struct chunk *c, struct chunkset_file *f, struct err *err) {
    if (chunk_open(c, f->path, err) < 0) return -1;
    const int64_t promised = f->tokens;
    f->tokens = c->tokens;
    if (promised < 0 || promised == c->tokens) return 0;
    err_set(err, "%s: %lld tokens, manifest.json says %lld: prepare the data again", f->path, (long long)c->tokens,
            (long long)promised);
    chunk_close(c);
    return -1;
}

int chunkset_check(const char *dir, json_t *set, const char *where, struct err *err) {
    struct chunkset s = {0};
    int r = json_is_object(json_object_get(set, "streams")) ? 0 : err_set(err, "%s: a set has no 'streams'", where);
    if (r == 0) r = list_set(&s, dir, set, SPLIT_TRAIN, false, where, err);
    if (r == 0) r = list_set(&s, dir, set, SPLIT_VALIDATION, false, where, err);
    for (int64_t i = 0; i < s.n && r == 0; i++) {
        struct chunk c;
        r = open_file(&c, &s.files[i], err);
        if (r == 0) chunk_close(&c);
    }
    chunkset_free(&s);
    return r;
}

static int look_into(struct chunkset *s, struct err *err) {
    int64_t most = s->n ? SAMPLED / s->n : 0;
    if (most < SAMPLED_PER_FILE) most = SAMPLED_PER_FILE;
    s->fingerprint = HASH_START;
    for (int64_t i = 0; i < s->n; i++) {
        struct chunkset_file *f = &s->files[i];
        struct chunk c;
        if (open_file(&c, f, err) < 0) return -1;
        s->fingerprint = fingerprint(s->fingerprint, f->path, &c, most);
        chunk_close(&c);
    }
    return 0;
}

static int add_single(struct chunkset *s, const char *path, enum split split, struct err *err) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char dir[FILE_PATH_MAX];
    if (for_validation(name) != (split == SPLIT_VALIDATION)) return 0;
    if (strlen(path) >= sizeof dir) return err_set(err, "path of %zu bytes is too long", strlen(path));
    snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash + 1 - path) : 1, slash ? path : ".");
    return add(s, dir, name, -1, err);
}

static int list_files(struct chunkset *s, const char *path, enum split split, struct err *err) {
    char manifest[FILE_PATH_MAX];
    if (!file_exists(path)) return err_set(err, "no such folder or file of chunks: '%s'", path);
    if (!file_is_dir(path)) return add_single(s, path, split, err);
    if (file_join(manifest, path, "manifest.json", err) < 0) return -1;
    if (file_exists(manifest)) return list_manifest(s, path, manifest, split, err);
    return list_names(s, path, split, err);
}

int chunkset_open(struct chunkset *s, const char *path, enum split split, struct err *err) {
    *s = (struct chunkset){0};
    int r = list_files(s, path, split, err);
    if (r == 0 && s->n == 0 && split == SPLIT_TRAIN)
        r = err_set(err, "%s: no chunk files to train on there: make some with `mdm prepare`", path);
    if (r == 0) r = look_into(s, err);
    if (r < 0) chunkset_free(s);
    return r;
}

void chunkset_free(struct chunkset *s) {
    for (int64_t i = 0; i < s->n; i++) mem_free(s->files[i].path);
    mem_free(s->files);
    *s = (struct chunkset){0};
}
