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
#include "base/mem.h"
#include "model/safetensors.h"

static const char *const groups[] = {"param", "adam_m", "adam_v"};
enum { GROUPS = 3, NAME_MAX_BYTES = 96, VERSION = 1 };

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

/* One tensor entry per parameter and group, in file order. names: NAME_MAX_BYTES each. */
static void describe(struct st_tensor *t, char *names, const struct params *p, const float *const flat[GROUPS]) {
    for (int g = 0; g < GROUPS; g++)
        for (int i = 0; i < p->count; i++, t++, names += NAME_MAX_BYTES) {
            const struct param *q = &p->v[i];
            snprintf(names, NAME_MAX_BYTES, "%s/%s", groups[g], q->name);
            *t = (struct st_tensor){.name = names,
                                    .dtype = "F32",
                                    .ndim = q->cols == 1 ? 1 : 2,
                                    .shape = {q->rows, q->cols},
                                    .data = flat[g] ? flat[g] + q->offset : NULL,
                                    .bytes = (size_t)(q->rows * q->cols) * 4};
        }
}

static char *metadata_text(const struct checkpoint *c, const struct config *config, uint32_t sum) {
    char data[32];
    snprintf(data, sizeof data, "%016llx", (unsigned long long)c->data);
    json_t *o = json_pack("{s:i, s:I, s:f, s:f, s:f, s:I, s:s, s:f, s:I, s:o}", "version", VERSION, "step",
                          (json_int_t)c->step, "tokens", c->tokens, "flops", c->flops, "seconds", c->seconds,
                          "sequence", (json_int_t)c->sequence, "data", data, "recent_loss", c->recent_loss, "crc32",
                          (json_int_t)sum, "config", config_to_json(config));
    char *text = o ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(o);
    return text;
}

/* "checkpoint-00000012.safetensors" → 12, else -1. */
static int64_t step_of(const char *name) {
    long long step;
    int end = 0;
    if (sscanf(name, "checkpoint-%8lld.safetensors%n", &step, &end) != 1 || end == 0 || name[end] || step < 0)
        return -1;
    return step;
}

static void remove_old(const char *run, int keep) {
    struct err ignored = {{0}};
    char **names, path[FILE_PATH_MAX];
    int64_t n, found = 0;
    if (file_list(&names, &n, run, &ignored) < 0) return;
    for (int64_t i = n - 1; i >= 0; i--) /* sorted: the newest is last */
        if (step_of(names[i]) >= 0 && ++found > keep && file_join(path, run, names[i], &ignored) == 0) unlink(path);
    file_list_free(names, n);
}

int checkpoint_save(const char *run, const struct checkpoint *c, const struct params *p, const struct config *config,
                    const float *w, const float *m, const float *v, int keep, struct err *err) {
    const float *const flat[GROUPS] = {w, m, v};
    const int count = GROUPS * p->count;
    char name[64], path[FILE_PATH_MAX];
    snprintf(name, sizeof name, "checkpoint-%08lld.safetensors", (long long)c->step);
    if (file_join(path, run, name, err) < 0) return -1;
    struct st_tensor *t = mem_alloc(count, sizeof *t, "checkpoint's table", err);
    char *names = mem_alloc(count, NAME_MAX_BYTES, "checkpoint's table", err);
    char *text = NULL;
    int r = -1;
    if (!t || !names) goto done;
    describe(t, names, p, flat);
    uint32_t sum = 0;
    for (int i = 0; i < count; i++) sum = crc(sum, t[i].data, t[i].bytes);
    text = metadata_text(c, config, sum);
    if (!text) {
        err_set(err, "%s: out of memory for the metadata", path);
        goto done;
    }
    const char *const metadata[] = {"format", "pt", "mdm_checkpoint", text, NULL};
    r = safetensors_write(path, t, count, metadata, err);
    if (r == 0) remove_old(run, keep);
done:
    free(text);
    mem_free(t);
    mem_free(names);
    return r;
}

int checkpoint_newest(const char *run, char *out, struct err *err) {
    char **names;
    int64_t n, best = -1;
    if (file_list(&names, &n, run, err) < 0) return -1;
    for (int64_t i = 0; i < n; i++)
        if (step_of(names[i]) >= 0) best = i;
    const int r = best < 0 ? 0 : file_join(out, run, names[best], err) < 0 ? -1 : 1;
    file_list_free(names, n);
    return r;
}

/* Reads and checks the metadata; *sum is the stored checksum, *config the stored config (owned by *root). */
static int read_metadata(const struct safetensors *s, const char *path, struct checkpoint *c, int64_t *sum,
                         json_t **root, struct err *err) {
    json_error_t e;
    json_t *all = s->metadata ? json_loads(s->metadata, 0, &e) : NULL;
    const char *text = json_string_value(json_object_get(all, "mdm_checkpoint")), *data = NULL;
    json_t *o = text ? json_loads(text, JSON_REJECT_DUPLICATES, &e) : NULL;
    json_decref(all);
    *root = o;
    if (!o) return err_set(err, "%s: no checkpoint metadata: this is not a checkpoint of mdm", path);
    int64_t version, sequence;
    *c = (struct checkpoint){0};
    if (json_get_int(o, "version", &version, VERSION, VERSION, true, path, err) < 0 ||
        json_get_int(o, "step", &c->step, 0, INT64_MAX, true, path, err) < 0 ||
        json_get_int(o, "sequence", &sequence, 0, INT64_MAX, true, path, err) < 0 ||
        json_get_int(o, "crc32", sum, 0, UINT32_MAX, true, path, err) < 0 ||
        json_get_real(o, "tokens", &c->tokens, true, path, err) < 0 ||
        json_get_real(o, "flops", &c->flops, true, path, err) < 0 ||
        json_get_real(o, "seconds", &c->seconds, true, path, err) < 0 ||
        json_get_real(o, "recent_loss", &c->recent_loss, true, path, err) < 0 ||
        json_get_str(o, "data", &data, true, path, err) < 0)
        return -1;
    c->sequence = (uint64_t)sequence;
    char *end;
    c->data = strtoull(data, &end, 16);
    if (*end || end == data)
        return err_set(err, "%s: data fingerprint \"%.40s\" is not a hexadecimal number", path, data);
    return 0;
}

static int verify(const struct safetensors *s, const char *path, int64_t sum, struct err *err) {
    uint32_t found = 0;
    for (int i = 0; i < s->count; i++) found = crc(found, s->v[i].data, s->v[i].bytes);
    if ((int64_t)found != sum)
        return err_set(
            err, "%s: checksum is %08x, expected %08llx: the file is damaged; remove it to go on from the one before",
            path, found, (unsigned long long)sum);
    return 0;
}

int checkpoint_inspect(const char *path, struct checkpoint *c, struct err *err) {
    struct safetensors s;
    json_t *root = NULL;
    int64_t sum;
    if (safetensors_open(&s, path, err) < 0) return -1;
    int r = read_metadata(&s, path, c, &sum, &root, err);
    if (r == 0) r = verify(&s, path, sum, err);
    json_decref(root);
    safetensors_close(&s);
    return r;
}

/* Every tensor of the table must be there in order, with its shape. */
static int copy_tensors(const struct safetensors *s, const char *path, const struct params *p,
                        float *const flat[GROUPS], struct err *err) {
    if (s->count != GROUPS * p->count)
        return err_set(err, "%s: %d tensors, expected %d for this model: was the run started with another --model?",
                       path, s->count, GROUPS * p->count);
    const struct st_tensor *t = s->v;
    for (int g = 0; g < GROUPS; g++)
        for (int i = 0; i < p->count; i++, t++) {
            const struct param *q = &p->v[i];
            char name[NAME_MAX_BYTES];
            snprintf(name, sizeof name, "%s/%s", groups[g], q->name);
            if (strcmp(t->name, name) != 0 || strcmp(t->dtype, "F32") != 0 ||
                t->bytes != (size_t)(q->rows * q->cols) * 4)
                return err_set(err, "%s: tensor %s (%s, %zu bytes) where %s (F32, %lld bytes) was expected", path,
                               t->name, t->dtype, t->bytes, name, (long long)(q->rows * q->cols * 4));
            memcpy(flat[g] + q->offset, t->data, t->bytes);
        }
    return 0;
}

int checkpoint_load(const char *run, struct checkpoint *c, const struct params *p, const struct config *config,
                    float *w, float *m, float *v, struct err *err) {
    char path[FILE_PATH_MAX];
    float *const flat[GROUPS] = {w, m, v};
    struct safetensors s;
    json_t *root = NULL;
    int64_t sum;
    const int found = checkpoint_newest(run, path, err);
    if (found <= 0) return found;
    if (safetensors_open(&s, path, err) < 0) return -1;
    int r = read_metadata(&s, path, c, &sum, &root, err);
    if (r == 0) {
        json_t *mine = config_to_json(config);
        if (!json_equal(mine, json_object_get(root, "config")))
            r = err_set(err, "%s: was written by a model of another configuration; use another --out", path);
        json_decref(mine);
    }
    if (r == 0) r = verify(&s, path, sum, err);
    if (r == 0) r = copy_tensors(&s, path, p, flat, err);
    json_decref(root);
    safetensors_close(&s);
    return r < 0 ? -1 : 1;
}
