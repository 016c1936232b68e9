/* weight_files: see weight_files.h. An index is trusted in nothing: the files it names must lie beside it, and every
 * tensor must be where it says. */
#include "model/weight_files.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "base/num.h"

enum { INDEX_BYTES_MAX = 64 << 20, FILES_MAX = 4096 };
#define INDEX "model.safetensors.index.json"
#define CHECKPOINT "checkpoint-"

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

static bool is_index(const char *path) {
    return ends_with(path, ".safetensors.index.json");
}

bool weight_files_is_model(const char *name) {
    return is_index(name) || (ends_with(name, ".safetensors") && strncmp(name, CHECKPOINT, strlen(CHECKPOINT)) != 0);
}

/* "checkpoint-00000012.safetensors" → 12, else -1. */
static int64_t step_of(const char *name) {
    char *end;
    if (strncmp(name, CHECKPOINT, strlen(CHECKPOINT)) != 0) return -1;
    name += strlen(CHECKPOINT);
    const long long step = strtoll(name, &end, 10);
    return *name >= '0' && *name <= '9' && strcmp(end, ".safetensors") == 0 ? step : -1;
}

/* From 10^8 steps on names sort otherwise than their numbers. */
const char *weight_files_checkpoint(char *const *names, int64_t n, int64_t *step) {
    int64_t best = -1;
    for (int64_t i = 0; i < n; i++)
        if (step_of(names[i]) < *step && step_of(names[i]) > (best < 0 ? -1 : step_of(names[best]))) best = i;
    if (best < 0) return NULL;
    *step = step_of(names[best]);
    return names[best];
}

/* The last of a folder's *.safetensors that are called checkpoint-…, or of those that are not; *found: how many. */
static const char *last_file(char *const *names, int64_t n, bool called_checkpoint, int64_t *found) {
    const char *last = NULL;
    *found = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!ends_with(names[i], ".safetensors")) continue;
        if (!strncmp(names[i], CHECKPOINT, strlen(CHECKPOINT)) != called_checkpoint) continue;
        last = names[i];
        ++*found;
    }
    return last;
}

/* Of a folder without model.safetensors and without index. What is only called as a checkpoint is a run's copy where
 * there is one, and somebody's model where there is none. */
static int find_file(char *out, const char *folder, struct err *err) {
    char **names;
    int64_t count, found, below = INT64_MAX;
    int status = -1;
    if (file_list(&names, &count, folder, err) < 0) return -1;
    const char *name = last_file(names, count, false, &found);
    if (!name) name = weight_files_checkpoint(names, count, &below);
    if (!name) name = last_file(names, count, true, &found);
    if (found > 1)
        err_set(err, "%s: %lld *.safetensors, and neither model.safetensors nor %s: name the file", folder,
                (long long)found, INDEX);
    else if (name)
        status = file_join(out, folder, name, err);
    else
        err_set(err, "%s: no *.safetensors in this folder", folder);
    file_list_free(names, count);
    return status;
}

static int find_path(char *out, const char *path, struct err *err) {
    if (!file_exists(path)) return err_set(err, "no such file or folder: '%s'", path);
    if (!file_is_dir(path)) return file_join(out, "", path, err);
    if (file_join(out, path, "model.safetensors", err) < 0) return -1;
    if (file_exists(out)) return 0;
    if (file_join(out, path, INDEX, err) < 0) return -1;
    return file_exists(out) ? 0 : find_file(out, path, err);
}

/* The file `name` beside `path`. */
static int beside(char *out, const char *path, const char *name, struct err *err) {
    const char *slash = strrchr(path, '/');
    const int n = snprintf(out, FILE_PATH_MAX, "%.*s%s", slash ? (int)(slash - path) + 1 : 0, path, name);
    return n < FILE_PATH_MAX ? 0 : err_set(err, "the path '%.100s…' is too long", path);
}

static const json_t *weight_map(const json_t *index) {
    return json_object_get(index, "weight_map");
}

/* ---- several files ---- */

static int open_file(struct weight_files *f, const char *index, const char *name, struct err *err) {
    char path[FILE_PATH_MAX];
    if (strchr(name, '/') || name[0] == '.')
        return err_set(err, "%s: '%s' is no name of a file beside it", index, name);
    if (f->count == FILES_MAX) return err_set(err, "%s: more than %d files", index, FILES_MAX);
    if (beside(path, index, name, err) < 0 || safetensors_open(&f->v[f->count], path, err) < 0) return -1;
    f->tensors += f->v[f->count++].count;
    return 0;
}

/* Files in the order in which the index first names them, and no tensor that the index does not put where it is. */
static int open_all(struct weight_files *f, const char *path, const json_t *map, struct err *err) {
    const char **names = mem_alloc(FILES_MAX, sizeof *names, "the list of weight files", err);
    const char *tensor;
    const json_t *value;
    int status = names ? 0 : -1;
    json_object_foreach((json_t *)map, tensor, value) {
        const char *name = json_string_value(value);
        int k = 0;
        if (status == 0 && !name) status = err_set(err, "%s: tensor '%s': expected a file's name", path, tensor);
        if (status < 0) break;
        while (k < f->count && strcmp(names[k], name) != 0) k++;
        if (k == f->count) status = open_file(f, path, name, err);
        if (status < 0) break;
        names[k] = name;
        if (!safetensors_find(&f->v[k], tensor))
            status = err_set(err, "%s: tensor '%s' is not in %s", path, tensor, name);
    }
    if (status == 0 && f->tensors != (int)json_object_size(map))
        status = err_set(err, "%s: lists %d tensor%s, its files hold %d", path, (int)json_object_size(map),
                         plural((int64_t)json_object_size(map)), f->tensors);
    mem_free(names);
    return status;
}

static int open_index(struct weight_files *f, const char *path, struct err *err) {
    json_t *index = json_read_file(path, INDEX_BYTES_MAX, err);
    if (!index) return -1;
    int status = -1;
    if (!json_is_object(weight_map(index)) || json_object_size(weight_map(index)) == 0)
        err_set(err, "%s: \"weight_map\" is missing or empty", path);
    else if ((f->v = mem_alloc(FILES_MAX, sizeof *f->v, "the list of weight files", err)) != NULL)
        status = open_all(f, path, weight_map(index), err);
    json_decref(index);
    return status;
}

bool weight_files_is_piece(const char *path) {
    char index[FILE_PATH_MAX];
    struct err ignored;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *tensor;
    json_t *value, *o = NULL;
    bool found = false;
    if (beside(index, path, INDEX, &ignored) == 0 && file_exists(index))
        o = json_read_file(index, INDEX_BYTES_MAX, &ignored);
    json_object_foreach((json_t *)weight_map(o), tensor, value) {
        if (json_is_string(value) && !strcmp(json_string_value(value), name)) found = true;
    }
    json_decref(o);
    return found;
}

int weight_files_open(struct weight_files *f, const char *path, struct err *err) {
    char file[FILE_PATH_MAX];
    *f = (struct weight_files){0};
    if (find_path(file, path, err) < 0) return -1;
    int status = -1;
    if (is_index(file)) {
        status = open_index(f, file, err);
    } else if (weight_files_is_piece(file)) {
        err_set(err, "%s: one of several files of a model: name the folder, or %s beside it", file, INDEX);
    } else if ((f->v = mem_alloc(1, sizeof *f->v, "the list of weight files", err)) != NULL) {
        status = safetensors_open(&f->v[0], file, err);
        f->count = status == 0;
        f->tensors = f->v[0].count;
    }
    if (status < 0) weight_files_close(f);
    return status;
}

void weight_files_close(struct weight_files *f) {
    for (int i = 0; i < f->count; i++) safetensors_close(&f->v[i]);
    mem_free(f->v);
    *f = (struct weight_files){0};
}

const struct st_tensor *weight_files_find(const struct weight_files *f, const char *name) {
    const struct st_tensor *t = NULL;
    for (int i = 0; i < f->count && !t; i++) t = safetensors_find(&f->v[i], name);
    return t;
}

const struct st_tensor *weight_files_tensor(const struct weight_files *f, int i) {
    int k = 0;
    while (i >= f->v[k].count) i -= f->v[k++].count;
    return &f->v[k].v[i];
}

int weight_files_number(const struct weight_files *f, const struct st_tensor *t) {
    int before = 0, k = 0;
    while (t < f->v[k].v || t >= f->v[k].v + f->v[k].count) before += f->v[k++].count;
    return before + (int)(t - f->v[k].v);
}
