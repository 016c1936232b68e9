/* checkpoint: writing, finding, verifying and loading the state of a run. The file format is safetensors.c's; what is
 * here is which tensors, which metadata, and the checksum over all of them. */
#include "train/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/err.h"
#include "base/file.h"
#include "base/jsonl.h"
#include "comm/comm.h"
#include "model/safetensors.h"
#include "model/weight_files.h"
#include "train/shard_file.h"

static const char *const groups[] = {"param/", "adam_m/", "adam_v/"};
enum { GROUPS = 3, VERSION = 4 };

static struct shard_file file_of(const struct shards *s) {
    return (struct shard_file){.shards = s, .prefixes = groups, .groups = GROUPS, .rows = s->params->count};
}

static uint32_t crc(uint32_t value, const void *data, size_t n) {
    const unsigned char *p = data;
    while (n > 0) { /* zlib counts in 32 bits */
        const size_t piece = n < (1u << 30) ? n : 1u << 30;
        value = (uint32_t)crc32(value, p, (uInt)piece);
        p += piece;
        n -= piece;
    }
    return value;
}

static char *metadata_text(const json_t *o) {
    return json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
}

/* The checksum of the tensors goes on over the metadata, as text without the checksum itself. -1: out of memory. */
static int64_t add_metadata(uint32_t sum, const json_t *o) {
    json_t *rest = json_copy((json_t *)o);
    char *text = rest && json_object_del(rest, "crc32") <= 0 ? metadata_text(rest) : NULL;
    const int64_t r = text ? (int64_t)crc(sum, text, strlen(text)) : -1;
    free(text);
    json_decref(rest);
    return r;
}

/* sum: of the tensors. Caller free()s. */
static char *metadata_of(const struct checkpoint *c, const struct config *config, uint32_t sum) {
    char source[32], validation[32];
    snprintf(source, sizeof source, "%016llx", (unsigned long long)c->source);
    snprintf(validation, sizeof validation, "%016llx", (unsigned long long)c->validation);
    json_t *o =
        json_pack("{s:i, s:I, s:f, s:f, s:I, s:s, s:s, s:f, s:o}", "version", VERSION, "step", (json_int_t)c->step,
                  "tokens", c->tokens, "flops", c->flops, "sequence", (json_int_t)c->sequence, "source", source,
                  "validation", validation, "recent_loss", c->recent_loss, "config", config_to_json(config));
    const int64_t all = o ? add_metadata(sum, o) : -1;
    char *text = all >= 0 && json_object_set_new(o, "crc32", json_integer(all)) == 0 ? metadata_text(o) : NULL;
    json_decref(o);
    return text;
}

static void remove_old(const char *run, int keep) {
    struct err ignored = {{0}};
    char **names, path[FILE_PATH_MAX];
    const char *name;
    int64_t n, below = INT64_MAX;
    if (file_list(&names, &n, run, &ignored) < 0) return;
    for (int found = 1; (name = weight_files_checkpoint(names, n, &below)); found++)
        if (found > keep && file_join(path, run, name, &ignored) == 0) unlink(path);
    file_list_free(names, n);
}

int checkpoint_save(const char *run, const struct checkpoint *c, const struct shards *s, const struct config *config,
                    const float *w, const float *m, const float *v, int keep, struct err *err) {
    float *const kept[GROUPS] = {(float *)w, (float *)m, (float *)v};
    const struct shard_file f = file_of(s);
    char name[64], path[FILE_PATH_MAX];
    snprintf(name, sizeof name, "checkpoint-%08lld.safetensors", (long long)c->step);
    if (file_join(path, run, name, err) < 0) return -1; /* as on every rank */
    char *text = metadata_of(c, config, shard_file_crc(&f, kept, NULL));
    if (!text) err_set(err, "%s: out of memory for the metadata", path);
    int r = comm_settle(text ? 0 : -1, err);
    const char *const metadata[] = {"format", "pt", "mdm_checkpoint", text, NULL};
    if (r == 0) r = shard_file_write(path, &f, kept, metadata, err);
    if (r == 0 && comm_rank() == 0) remove_old(run, keep);
    free(text);
    return r;
}

int checkpoint_newest(const char *run, char *out, struct err *err) {
    char **names;
    int64_t n, below = INT64_MAX;
    if (file_list(&names, &n, run, err) < 0) return -1;
    const char *name = weight_files_checkpoint(names, n, &below);
    const int r = !name ? 0 : file_join(out, run, name, err) < 0 ? -1 : 1;
    file_list_free(names, n);
    return r;
}

/* A fingerprint, in hexadecimal digits; NULL: an older file has none. */
static int read_fingerprint(uint64_t *out, const char *digits, const char *what, const char *path, struct err *err) {
    char *end;
    if (!digits) return 0;
    *out = strtoull(digits, &end, 16);
    if (*end == 0 && end != digits) return 0;
    return err_set(err, "%s: fingerprint of the %s \"%.40s\" is not a hexadecimal number", path, what, digits);
}

/* Reads and checks the metadata; *sum is the stored checksum, *config the stored config (owned by *root). */
static int read_metadata(const struct safetensors *s, const char *path, struct checkpoint *c, int64_t *sum,
                         json_t **root, struct err *err) {
    json_error_t e;
    json_t *all = s->metadata ? json_loads(s->metadata, 0, &e) : NULL;
    const char *text = json_string_value(json_object_get(all, "mdm_checkpoint")), *source = NULL, *validation = NULL;
    json_t *o = text ? json_loads(text, JSON_REJECT_DUPLICATES, &e) : NULL;
    json_decref(all);
    *root = o;
    if (!o) return err_set(err, "%s: no checkpoint metadata: this is not a checkpoint of mdm", path);
    int64_t version, sequence;
    *c = (struct checkpoint){0};
    if (json_get_int(o, "version", &version, 1, VERSION, true, path, err) < 0 ||
        json_get_int(o, "step", &c->step, 0, INT64_MAX, true, path, err) < 0 ||
        json_get_int(o, "sequence", &sequence, 0, INT64_MAX, true, path, err) < 0 ||
        json_get_int(o, "crc32", sum, 0, UINT32_MAX, true, path, err) < 0 ||
        json_get_real(o, "tokens", &c->tokens, true, path, err) < 0 ||
        json_get_real(o, "flops", &c->flops, true, path, err) < 0 ||
        json_get_real(o, "recent_loss", &c->recent_loss, true, path, err) < 0 ||
        json_get_str(o, "source", &source, version > 1, path, err) < 0 ||
        json_get_str(o, "validation", &validation, version > 2, path, err) < 0)
        return -1;
    c->sequence = (uint64_t)sequence;
    c->source_known = version > 1;
    return read_fingerprint(&c->source, source, "source", path, err) < 0
               ? -1
               : read_fingerprint(&c->validation, validation, "validation", path, err);
}

/* The checksum of the tensors and, from version 3 on, the metadata against the one that the metadata tells. */
static int verify(uint32_t tensors, const char *path, int64_t sum, const json_t *metadata, struct err *err) {
    const bool old = json_integer_value(json_object_get(metadata, "version")) < 3;
    const int64_t found = old ? tensors : add_metadata(tensors, metadata);
    if (found < 0) return err_set(err, "%s: out of memory for the metadata", path);
    if (found != sum)
        return err_set(err,
                       "%s: checksum is %08llx, expected %08llx: the file is damaged; without it the run goes on from "
                       "the checkpoint before, where there is one",
                       path, (unsigned long long)found, (unsigned long long)sum);
    return 0;
}

int checkpoint_inspect(const char *path, struct checkpoint *c, struct err *err) {
    struct safetensors s;
    json_t *root = NULL;
    int64_t sum;
    if (safetensors_open(&s, path, err) < 0) return -1;
    int r = read_metadata(&s, path, c, &sum, &root, err);
    uint32_t tensors = 0;
    for (int i = 0; i < s.count; i++) tensors = crc(tensors, s.v[i].data, s.v[i].bytes);
    if (r == 0) r = verify(tensors, path, sum, root, err);
    json_decref(root);
    safetensors_close(&s);
    return r;
}

/* Compared as this version understands them: an older file lacks members that have defaults. */
static int same_config(const struct config *mine, const json_t *theirs, const char *path, struct err *err) {
    struct config c;
    if (config_from_json(&c, theirs, path, err) < 0) return -1;
    json_t *a = config_to_json(mine), *b = config_to_json(&c);
    const bool same = a && b && json_equal(a, b);
    json_decref(a);
    json_decref(b);
    if (same) return 0;
    return err_set(err, "%s: was written by a model of another configuration; use another --out", path);
}

/* Opens the newest checkpoint and looks at what it says of itself: 1, 0 there is none, -1. */
static int open_newest(struct safetensors *s, char path[FILE_PATH_MAX], const char *run, struct checkpoint *c,
                       const struct shard_file *f, const struct config *config, int64_t *sum, json_t **root,
                       struct err *err) {
    const int found = checkpoint_newest(run, path, err);
    if (found <= 0) return found;
    if (safetensors_open(s, path, err) < 0 || read_metadata(s, path, c, sum, root, err) < 0 ||
        same_config(config, json_object_get(*root, "config"), path, err) < 0 || shard_file_check(f, s, path, err) < 0)
        return -1;
    return 1;
}

int checkpoint_load(const char *run, struct checkpoint *c, const struct shards *shards, const struct config *config,
                    float *w, float *m, float *v, struct err *err) {
    char path[FILE_PATH_MAX];
    float *const kept[GROUPS] = {w, m, v};
    const struct shard_file f = file_of(shards);
    struct safetensors s = {0};
    json_t *root = NULL;
    int64_t sum = 0;
    const int found = open_newest(&s, path, run, c, &f, config, &sum, &root, err);
    int r = comm_settle(found, err);
    if (r == 0) {
        const bool missed = comm_agree(found) > found;
        r = comm_settle(missed ? err_set(err, "%s holds no checkpoint, but others see one there", run) : 0, err);
    }
    if (r == 0 && found > 0) r = comm_settle(verify(shard_file_crc(&f, NULL, &s), path, sum, root, err), err);
    if (r == 0 && found > 0) shard_file_read(&f, &s, kept);
    json_decref(root);
    safetensors_close(&s);
    return r < 0 ? -1 : found;
}
