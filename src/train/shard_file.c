/* shard_file: see shard_file.h. A parameter's slices are its parts of the slices of its part of the model. */
#include "train/shard_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "comm/comm.h"

enum { NAME_BYTES = 96 };

/* Elements [first, end) of a parameter that rank r has in its charge. A tied head is kept where the embedding is. */
static void slice(const struct shard_file *f, const struct param *q, int r, int64_t *first, int64_t *end) {
    const bool tied = q->role == PARAM_HEAD && q->offset == f->shards->params->v[0].offset;
    const int64_t *slices = shards_slices(f->shards, tied ? 0 : q->part), n = q->rows * q->cols;
    *first = slices[r] - q->offset;
    *end = slices[r + 1] - q->offset;
    *first = *first < 0 ? 0 : *first > n ? n : *first;
    *end = *end < 0 ? 0 : *end > n ? n : *end;
}

/* Where element e of a parameter, in the slice of this rank, stands in what it keeps. */
static int64_t place(const struct shard_file *f, const struct param *q, int64_t e) {
    const struct shards *s = f->shards;
    const bool tied = q->role == PARAM_HEAD && q->offset == s->params->v[0].offset;
    const int part = tied ? 0 : q->part;
    return s->at[part] + q->offset + e - shards_slices(s, part)[s->me];
}

/* How many elements of it a rank has. */
static int64_t elements(const struct shard_file *f, const struct param *q, int r) {
    int64_t first, end;
    slice(f, q, r, &first, &end);
    return end - first;
}

uint32_t shard_file_crc(const struct shard_file *f, float *const *kept, const struct safetensors *mapped) {
    const struct shards *s = f->shards;
    uint32_t all = 0;
    for (int k = 0; k < f->groups * f->rows; k++) {
        const struct param *q = &s->params->v[k % f->rows];
        uint32_t sums[COMM_RANKS];
        int64_t first, end, places[COMM_RANKS + 1];
        slice(f, q, s->me, &first, &end);
        const size_t bytes = (size_t)(end - first) * sizeof(float);
        const void *data = NULL;
        if (mapped)
            data = (const char *)mapped->v[k].data + first * (int64_t)sizeof(float);
        else if (bytes)
            data = kept[k / f->rows] + place(f, q, first);
        sums[s->me] = data ? (uint32_t)crc32_z(0, data, bytes) : 0;
        for (int r = 0; r <= s->ranks; r++) places[r] = r * (int64_t)sizeof *sums;
        comm_gather(sums, places);
        for (int r = 0; r < s->ranks; r++)
            all = (uint32_t)crc32_combine(all, sums[r], (z_off_t)(elements(f, q, r) * (int64_t)sizeof(float)));
    }
    return all;
}

/* ---- writing ---- */

static int name_of(char name[NAME_BYTES], const struct shard_file *f, int k) {
    return snprintf(name, NAME_BYTES, "%s%s", f->prefixes[k / f->rows], f->shards->params->v[k % f->rows].name);
}

/* The file's header. Caller mem_free()s. */
static char *header(const struct shard_file *f, const char *const *metadata, size_t *size, struct err *err) {
    const int count = f->groups * f->rows;
    struct st_tensor *t = mem_alloc(count, sizeof *t, "the list of tensors", err);
    char *names = mem_alloc(count, NAME_BYTES, "the list of tensors", err), *text = NULL;
    for (int k = 0; t && names && k < count; k++) {
        const struct param *q = &f->shards->params->v[k % f->rows];
        t[k] = (struct st_tensor){.name = names + (int64_t)k * NAME_BYTES,
                                  .dtype = "F32",
                                  .ndim = q->cols == 1 ? 1 : 2,
                                  .shape = {q->rows, q->cols},
                                  .bytes = (size_t)(q->rows * q->cols) * sizeof(float)};
        name_of(t[k].name, f, k);
    }
    if (t && names) text = safetensors_header(t, count, metadata, size, err);
    mem_free(t);
    mem_free(names);
    return text;
}

/* This rank's slices. */
static int write_slices(struct file_out *out, const struct shard_file *f, float *const *kept, int64_t at,
                        struct err *err) {
    for (int k = 0; k < f->groups * f->rows; k++) {
        const struct param *q = &f->shards->params->v[k % f->rows];
        int64_t first, end;
        slice(f, q, f->shards->me, &first, &end);
        if (end > first &&
            file_out_write_at(out, kept[k / f->rows] + place(f, q, first), (size_t)(end - first) * sizeof(float),
                              at + first * (int64_t)sizeof(float), err) < 0)
            return -1;
        at += q->rows * q->cols * (int64_t)sizeof(float);
    }
    return 0;
}

/* Rank 0 makes the file, with its header, and tells the others its temporary name and where the data begins; when all have
 * written, they flush, and then it renames. */
int shard_file_write(const char *path, const struct shard_file *f, float *const *kept, const char *const *metadata,
                     struct err *err) {
    const bool leads = f->shards->me == 0;
    int64_t first[COMM_RANKS + 1];
    struct {
        size_t header;
        char temp[FILE_PATH_MAX];
    } told = {0};
    char *text = leads ? header(f, metadata, &told.header, err) : NULL;
    struct file_out *out = text ? file_out_open(path, err) : NULL;
    int r = leads && (!out || file_out_write_at(out, text, told.header, 0, err) < 0) ? -1 : 0;
    mem_free(text);
    r = comm_settle(r, err);
    if (r == 0) {
        if (leads) memcpy(told.temp, file_out_temp(out), strlen(file_out_temp(out)));
        for (int k = 0; k <= f->shards->ranks; k++) first[k] = k > 0 ? (int64_t)sizeof told : 0;
        comm_gather(&told, first);
        if (!leads) out = file_out_join(told.temp, err);
        r = out ? write_slices(out, f, kept, (int64_t)told.header, err) : -1;
        if (r == 0 && !leads) {
            r = file_out_commit(out, err);
            out = NULL;
        }
        r = comm_settle(r, err);
    }
    if (r == 0 && leads) {
        r = file_out_commit(out, err);
        out = NULL;
    }
    file_out_abort(out);
    return comm_settle(r, err);
}

/* ---- reading ---- */

int shard_file_check(const struct shard_file *f, const struct safetensors *s, const char *path, struct err *err) {
    const int count = f->groups * f->rows;
    if (s->count != count)
        return err_set(err, "%s: %d tensors, expected %d for this model: was the run started with another --model?",
                       path, s->count, count);
    for (int k = 0; k < count; k++) {
        const struct param *q = &f->shards->params->v[k % f->rows];
        const struct st_tensor *t = &s->v[k];
        char name[NAME_BYTES];
        name_of(name, f, k);
        if (strcmp(t->name, name) != 0 || strcmp(t->dtype, "F32") != 0 || t->bytes != (size_t)(q->rows * q->cols) * 4)
            return err_set(err, "%s: tensor %s (%s, %zu bytes) where %s (F32, %lld bytes) was expected", path, t->name,
                           t->dtype, t->bytes, name, (long long)(q->rows * q->cols * 4));
    }
    return 0;
}

void shard_file_read(const struct shard_file *f, const struct safetensors *s, float *const *kept) {
    for (int k = 0; k < f->groups * f->rows; k++) {
        const struct param *q = &f->shards->params->v[k % f->rows];
        float *to = kept[k / f->rows];
        int64_t first = 0, end = q->rows * q->cols;
        if (!f->shards->whole) slice(f, q, f->shards->me, &first, &end);
        if (end > first)
            memcpy(to + (f->shards->whole ? q->offset : place(f, q, first)), (const char *)s->v[k].data + first * 4,
                   (size_t)(end - first) * 4);
    }
}
