/* golden: one golden case of the oracle, loaded for a test.
 *
 *     static void check(struct golden *g, void *ctx) { const float *want = golden_f32(g, "forward/logits"); … }
 *     assert_true(golden_each(check, NULL) >= 5);
 *
 * The folders of tests/golden are small copies made with the same program (vocabulary 40, width 32); those of
 * reference/golden of the test data (tests/test_data.h) are used as well when they are there. A case folder holds
 *   config.json, model.safetensors   the model
 *   cases.safetensors                forward/{ids,logits}, loss/{ids,masked,p_mask,grad/<name>}, adamw/param/<name>
 *   cases.json                       loss.value, adamw {settings, losses, grad_norms}, sample [], likelihood []
 * Programs run with the repository's root as working directory. A fault in a case ends the test: it is a cmocka
 * failure. */
#ifndef MDM_TESTS_GOLDEN_H
#define MDM_TESTS_GOLDEN_H
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "base/file.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "model/weights.h"
#include "test_data.h"

struct golden {
    const char *name; /* "mdm-mha" … */
    char dir[FILE_PATH_MAX];
    struct weights weights; /* views into flat; weights.config and weights.params describe the model */
    float *flat;            /* the oracle's weights, f32; free to be changed by the test */
    struct safetensors cases;
    json_t *json; /* cases.json */
};

static inline void golden_must(int result, const struct err *err) {
    if (result < 0) fail_msg("%s", err->msg);
}

static inline void golden_path(char out[FILE_PATH_MAX], const struct golden *g, const char *file) {
    struct err err = {0};
    golden_must(file_join(out, g->dir, file, &err), &err);
}

static inline void golden_open(struct golden *g, const char *folder, const char *name) {
    char path[FILE_PATH_MAX];
    struct err err = {0};
    struct weights loaded;
    *g = (struct golden){.name = name};
    golden_must(file_join(g->dir, folder, name, &err), &err);
    golden_must(weights_load(&loaded, g->dir, NULL, FAMILY_ANY, &err), &err);
    g->flat = mem_alloc(loaded.params.total, sizeof *g->flat, "golden weights", &err);
    golden_must(g->flat ? 0 : -1, &err);
    weights_copy_range(&loaded, g->flat, 0, loaded.params.total);
    golden_must(weights_flat(&g->weights, &loaded.config, g->flat, &err), &err);
    weights_free(&loaded);
    golden_path(path, g, "cases.safetensors");
    golden_must(safetensors_open(&g->cases, path, &err), &err);
    golden_path(path, g, "cases.json");
    g->json = json_read_file(path, 1 << 24, &err);
    golden_must(g->json ? 0 : -1, &err);
}

static inline void golden_close(struct golden *g) {
    weights_free(&g->weights);
    mem_free(g->flat);
    safetensors_close(&g->cases);
    json_decref(g->json);
}

/* A tensor of cases.safetensors; fails the test when it is missing or of another type. */
static inline const struct st_tensor *golden_tensor(const struct golden *g, const char *name, const char *dtype) {
    const struct st_tensor *t = safetensors_find(&g->cases, name);
    if (!t) fail_msg("%s: no tensor %s", g->dir, name);
    if (strcmp(t->dtype, dtype) != 0) fail_msg("%s: tensor %s is %s, not %s", g->dir, name, t->dtype, dtype);
    return t;
}

static inline const float *golden_f32(const struct golden *g, const char *name) {
    return golden_tensor(g, name, "F32")->data;
}

static inline const int32_t *golden_i32(const struct golden *g, const char *name) {
    return golden_tensor(g, name, "I32")->data;
}

static inline const uint8_t *golden_u8(const struct golden *g, const char *name) {
    return golden_tensor(g, name, "U8")->data;
}

/* The tensor of a parameter, by row of the table: group "loss/grad" or "adamw/param". */
static inline const float *golden_param(const struct golden *g, const char *group, int index) {
    char name[160];
    const struct param *p = &g->weights.params.v[index];
    snprintf(name, sizeof name, "%s/%s", group, p->name);
    const struct st_tensor *t = golden_tensor(g, name, "F32");
    if (t->bytes != (size_t)(p->rows * p->cols) * sizeof(float)) fail_msg("%s: %s: wrong size", g->dir, name);
    return t->data;
}

/* cases.json: the array "sample" or "likelihood"; a number reached by two keys ("loss", "value"). */
static inline json_t *golden_list(const struct golden *g, const char *key) {
    json_t *a = json_object_get(g->json, key);
    if (!json_is_array(a)) fail_msg("%s: cases.json has no array %s", g->dir, key);
    return a;
}

static inline double golden_number(const struct golden *g, const char *key, const char *sub) {
    json_t *v = json_object_get(json_object_get(g->json, key), sub);
    if (!json_is_number(v)) fail_msg("%s: cases.json has no number %s.%s", g->dir, key, sub);
    return json_number_value(v);
}

static inline int golden_folder(const char *folder, void (*fn)(struct golden *g, void *ctx), void *ctx) {
    struct err err = {0};
    char **names, path[FILE_PATH_MAX], cases[FILE_PATH_MAX];
    int64_t count;
    int done = 0;
    golden_must(file_list(&names, &count, folder, &err), &err);
    for (int64_t i = 0; i < count; i++) {
        golden_must(file_join(path, folder, names[i], &err), &err);
        golden_must(file_join(cases, path, "cases.safetensors", &err), &err);
        if (!file_exists(cases)) continue; /* golden numbers of another kind */
        struct golden g;
        golden_open(&g, folder, names[i]);
        fn(&g, ctx);
        golden_close(&g);
        done++;
    }
    file_list_free(names, count);
    return done;
}

/* fn for every case, ours first. Returns how many there were: at least the five of tests/golden. */
static inline int golden_each(void (*fn)(struct golden *g, void *ctx), void *ctx) {
    int n = golden_folder("tests/golden", fn, ctx);
    if (n < 5) fail_msg("tests/golden: found %d cases, expected 5 (run the test from the repository's root)", n);
    const char *more = test_data("reference/golden");
    return more ? n + golden_folder(more, fn, ctx) : n;
}

#endif
