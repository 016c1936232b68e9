/* Checkpoints: which is the newest and which go; those of older versions resume; damaged metadata is refused. That a run
 * resumes exactly is test_trainer's. */
#include "train_help.h"

#include <jansson.h>
#include <math.h>
#include <zlib.h>

#include "model/safetensors.h"
#include "train/metrics.h"
#include "unit/safetensors_help.h"

static void many_steps(void **state) {
    (void)state;
    struct err err = {{0}};
    char path[FILE_PATH_MAX], newest[FILE_PATH_MAX];
    struct trainer_settings s = tiny_run(path, "many-steps", FAMILY_MDM, 1);
    struct whole a;
    whole_open(&a, &s);
    for (int64_t step = 99999998; step <= 100000001; step++) {
        const struct checkpoint c = {.step = step};
        must(checkpoint_save(path, &c, &a.shards, &s.config, a.w, a.m, a.v, 2, &err), &err);
        assert_int_equal(checkpoint_newest(path, newest, &err), 1);
        char name[64];
        snprintf(name, sizeof name, "/checkpoint-%08lld.safetensors", (long long)step);
        assert_non_null(strstr(newest, name));
        struct weight_files f; /* what `--weights RUN` takes */
        must(weight_files_open(&f, path, &err), &err);
        snprintf(name, sizeof name, "\\\"step\\\":%lld", (long long)step);
        assert_non_null(strstr(f.v[0].metadata, name));
        weight_files_close(&f);
    }
    char **names;
    int64_t n;
    must(file_list(&names, &n, path, &err), &err);
    assert_int_equal(n, 2);
    file_list_free(names, n);
    whole_close(&a, false);
}

/* Writes a checkpoint again with other metadata: all tensors, and the JSON that `edit` has changed. */
static void rewrite(const char *file, void (*edit)(json_t *metadata, uint32_t tensors_crc)) {
    struct err err = {{0}};
    struct safetensors s;
    must(safetensors_open(&s, file, &err), &err);
    json_t *all = json_loads(s.metadata, 0, NULL);
    json_t *o = json_loads(json_string_value(json_object_get(all, "mdm_checkpoint")), 0, NULL);
    uint32_t sum = 0;
    for (int i = 0; i < s.count; i++) sum = (uint32_t)crc32(sum, s.v[i].data, (uInt)s.v[i].bytes);
    edit(o, sum);
    char *text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(17));
    const char *const metadata[] = {"format", "pt", "mdm_checkpoint", text, NULL};
    must(put_safetensors(file, s.v, s.count, metadata, &err), &err);
    free(text);
    json_decref(o);
    json_decref(all);
    safetensors_close(&s);
}

static void as_version_2(json_t *o, uint32_t tensors_crc) {
    json_object_set_new(o, "version", json_integer(2));
    json_object_set_new(o, "crc32", json_integer(tensors_crc));
    json_object_del(o, "validation");
}

static void as_version_1(json_t *o, uint32_t tensors_crc) {
    as_version_2(o, tensors_crc);
    json_object_set_new(o, "version", json_integer(1));
    json_object_set_new(o, "data", json_string("0123456789abcdef"));
    json_object_del(o, "source");
}

static void as_version_3(json_t *o, uint32_t tensors_crc) {
    json_object_del(o, "crc32");
    json_object_set_new(o, "version", json_integer(3));
    json_object_set_new(o, "seconds", json_real(12.5));
    char *text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    json_object_set_new(o, "crc32", json_integer((json_int_t)crc32(tensors_crc, (Bytef *)text, (uInt)strlen(text))));
    free(text);
}

static void next_sequence(json_t *o, uint32_t tensors_crc) {
    (void)tensors_crc;
    json_object_set_new(o, "sequence", json_integer(json_integer_value(json_object_get(o, "sequence")) + 1));
}

/* A run of four steps that was stopped after two; its checkpoint goes to `file`. */
static struct trainer_settings half_run(char *path, char *file, const char *name) {
    struct err err = {{0}};
    struct trainer_settings s = tiny_run(path, name, FAMILY_MDM, 4);
    s.save_every = 2;
    train_run(&s);
    must(file_join(file, path, "checkpoint-00000004.safetensors", &err), &err);
    unlink(file);
    must(file_join(file, path, "checkpoint-00000002.safetensors", &err), &err);
    return s;
}

/* All of a file's bytes, which the caller frees. */
static char *content(const char *run, const char *name, size_t *n) {
    struct err err = {{0}};
    char path[FILE_PATH_MAX], *text = NULL;
    must(file_join(path, run, name, &err), &err);
    FILE *f = fopen(path, "rb"), *out = open_memstream(&text, n);
    assert_non_null(f);
    for (int c; (c = fgetc(f)) != EOF;) fputc(c, out);
    fclose(f);
    fclose(out);
    return text;
}

/* Nothing of a checkpoint depends on when it was made, and a resumed run's is that of one that was never stopped; the time
 * of training goes on in metrics.csv. */
static void timeless(void **state) {
    (void)state;
    struct err err = {{0}};
    char path[FILE_PATH_MAX], file[FILE_PATH_MAX], other[FILE_PATH_MAX];
    size_t a, b;
    int64_t n;
    struct metrics_row last,
        late = {.step = 2, .tokens = 1, .flops = 1, .loss = 1, .valid_loss = NAN, .valid_error = NAN, .seconds = 5000},
        *rows;
    struct trainer_settings s = half_run(path, file, "late"), once = tiny_run(other, "once", FAMILY_MDM, 4);
    struct metrics *m = metrics_open(s.run, 2, &late, &last, &err);
    assert_non_null(m);
    must(metrics_close(m, &err), &err);
    train_run(&s);
    train_run(&once);
    char *x = content(s.run, "checkpoint-00000004.safetensors", &a),
         *y = content(once.run, "checkpoint-00000004.safetensors", &b);
    assert_true(a == b && memcmp(x, y, a) == 0);
    free(x);
    free(y);
    must(metrics_read(&rows, &n, s.run, &err), &err);
    assert_int_equal(n, 4);
    assert_true(rows[2].seconds >= 5000 && rows[3].seconds >= rows[2].seconds && rows[3].seconds < 6000);
    mem_free(rows);
}

/* Checkpoints as earlier versions wrote them resume; that of version 1 whatever the fingerprint of its data. */
static void older_checkpoints(void **state) {
    (void)state;
    char path[FILE_PATH_MAX], file[FILE_PATH_MAX];
    int64_t n;
    struct trainer_settings s = tiny_run(path, "not-older", FAMILY_MDM, 4);
    train_run(&s);
    float *want = final_weights(&s, &n);
    s = half_run(path, file, "older-1");
    rewrite(file, as_version_1);
    train_run(&s);
    assert_same(&s, want, n);
    s = half_run(path, file, "older-2");
    rewrite(file, as_version_2);
    train_run(&s);
    assert_same(&s, want, n);
    s = half_run(path, file, "older-3");
    rewrite(file, as_version_3);
    train_run(&s);
    assert_same(&s, want, n);
    free(want);
}

/* Where the data goes on is worth a checksum as much as the weights are. */
static void damaged_metadata(void **state) {
    (void)state;
    struct err err = {{0}};
    char path[FILE_PATH_MAX], file[FILE_PATH_MAX];
    struct trainer_result r;
    struct trainer_settings s = half_run(path, file, "damaged");
    rewrite(file, next_sequence);
    assert_int_equal(try_train(&s, &r, &err), -1);
    assert_non_null(strstr(err.msg, "checksum is"));
    struct checkpoint c;
    assert_int_equal(checkpoint_inspect(file, &c, &err), -1);
}

/* A checkpoint whose checksum is right, of a run with other batches. */
static void other_batches(void **state) {
    (void)state;
    struct err err = {{0}};
    char path[FILE_PATH_MAX], file[FILE_PATH_MAX];
    struct trainer_result r;
    struct trainer_settings s = half_run(path, file, "batches");
    s.batch *= 2;
    assert_int_equal(try_train(&s, &r, &err), -1);
    assert_non_null(strstr(err.msg, "the checkpoint of step 2 has gone through"));
}

int main(void) {
    train_setup();
    const struct CMUnitTest tests[] = {cmocka_unit_test(many_steps), cmocka_unit_test(timeless),
                                       cmocka_unit_test(older_checkpoints), cmocka_unit_test(damaged_metadata),
                                       cmocka_unit_test(other_batches)};
    const int r = cmocka_run_group_tests(tests, NULL, NULL);
    train_teardown();
    return r;
}
