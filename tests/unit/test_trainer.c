/* The training loop: two runs are bit-equal; a run stopped anywhere and resumed is bit-equal; threads do not show;
 * another micro-batch shows below 1e-5; the loss falls; a diverging run stops with its state saved. Also objective and
 * schedule. */
#include "train_help.h"

#include <math.h>
#include <omp.h>

static double distance(const float *a, const float *b, int64_t n) {
    double d = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        d += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        norm += (double)b[i] * b[i];
    }
    return sqrt(d / norm);
}

/* Runs `s` to its end in a fresh folder and compares with `want` (weights and both moments). */
static void assert_same(const struct trainer_settings *s, const float *want, int64_t n, double tolerance) {
    int64_t m;
    float *got = final_weights(s, &m);
    assert_int_equal(n, m);
    if (tolerance == 0)
        assert_memory_equal(got, want, (size_t)n * 4);
    else
        assert_true(distance(got, want, n) <= tolerance);
    free(got);
}

static void invariances(enum family family) {
    char path[FILE_PATH_MAX], name[32];
    struct trainer_settings s = tiny_run(path, family ? "arm-a" : "mdm-a", family, 12);
    int64_t n;
    train_run(&s);
    float *want = final_weights(&s, &n);

    s = tiny_run(path, family ? "arm-again" : "mdm-again", family, 12);
    train_run(&s);
    assert_same(&s, want, n, 0);

    for (int stop = 1; stop < 12; stop += 3) { /* end the loop early, then go on with the real number of steps */
        snprintf(name, sizeof name, "%s-stop-%d", family_names[family], stop);
        s = tiny_run(path, name, family, 12);
        s.save_every = stop;
        s.keep = 100;
        train_run(&s);
        for (int64_t step = stop + 1; step <= 12; step++) { /* what a crash after `stop` would have left */
            char file[FILE_PATH_MAX + 64];
            snprintf(file, sizeof file, "%s/checkpoint-%08lld.safetensors", path, (long long)step);
            unlink(file);
        }
        train_run(&s);
        assert_same(&s, want, n, 0);
    }

    s = tiny_run(path, family ? "arm-one-thread" : "mdm-one-thread", family, 12);
    omp_set_num_threads(1);
    train_run(&s);
    omp_set_num_threads(2);
    assert_same(&s, want, n, 0);

    for (int micro = 1; micro <= 4; micro++) {
        snprintf(name, sizeof name, "%s-micro-%d", family_names[family], micro);
        s = tiny_run(path, name, family, 1); /* one step: AdamW would amplify rounding noise later */
        s.micro_batch = micro;
        train_run(&s);
        struct trainer_settings whole = tiny_run(path, family ? "arm-whole" : "mdm-whole", family, 1);
        train_run(&whole);
        int64_t m;
        float *one = final_weights(&whole, &m);
        char path_micro[FILE_PATH_MAX];
        s = tiny_run(path_micro, name, family, 1);
        int64_t k;
        float *got = final_weights(&s, &k);
        assert_true(distance(got + k / 3, one + k / 3, k / 3) <= 1e-5); /* the first moment is the gradient, scaled */
        free(got);
        free(one);
    }
    free(want);
}

static void mdm_invariances(void **state) {
    (void)state;
    invariances(FAMILY_MDM);
}

static void arm_invariances(void **state) {
    (void)state;
    invariances(FAMILY_ARM);
}

static void loss_falls(void **state) {
    (void)state;
    char path[FILE_PATH_MAX];
    struct trainer_settings s = tiny_run(path, "learn", FAMILY_ARM, 150);
    const struct trainer_result r = train_run(&s);
    assert_int_equal(r.end, TRAINER_DONE);
    assert_true(r.loss < 2.6); /* the text's own entropy is about 1.5, a uniform guess 3.9 */
}

static void divergence_stops(void **state) {
    (void)state;
    char path[FILE_PATH_MAX], newest[FILE_PATH_MAX];
    struct err err = {{0}};
    struct trainer_settings s = tiny_run(path, "diverge", FAMILY_ARM, 400);
    s.schedule.lr = s.schedule.min_lr = 1e18;
    s.clip = 0;
    const struct trainer_result r = train_run(&s);
    assert_int_equal(r.end, TRAINER_DIVERGED);
    assert_non_null(strstr(r.message, "diverged"));
    assert_int_equal(checkpoint_newest(path, newest, &err), 1);
}

static void other_data_is_refused(void **state) {
    (void)state;
    char path[FILE_PATH_MAX];
    struct err err = {{0}};
    struct trainer_settings s = tiny_run(path, "data", FAMILY_MDM, 2);
    struct trainer_result r;
    train_run(&s);
    struct params p;
    must(params_init(&p, &s.config, &err), &err);
    float *w = calloc((size_t)p.total * 3, 4);
    struct checkpoint c;
    assert_int_equal(checkpoint_load(path, &c, &p, &s.config, w, w + p.total, w + 2 * p.total, &err), 1);
    c.source ^= 1;
    must(checkpoint_save(path, &c, &p, &s.config, w, w + p.total, w + 2 * p.total, 2, &err), &err);
    s.schedule.steps = 3;
    assert_int_equal(try_train(&s, &r, &err), -1);
    assert_non_null(strstr(err.msg, "have changed since this run was started"));
    free(w);
    params_free(&p);
}

static void schedule_shape(void **state) {
    (void)state;
    const struct schedule s = {.steps = 1000, .warmup = 100, .lr = 2e-4, .min_lr = 2e-5};
    assert_float_equal(schedule_lr(&s, 50), 1e-4, 1e-12);
    assert_float_equal(schedule_lr(&s, 100), 2e-4, 1e-12);
    assert_float_equal(schedule_lr(&s, 550), 1.1e-4, 1e-12);
    assert_float_equal(schedule_lr(&s, 1000), 2e-5, 1e-12);
    assert_int_equal(schedule_warmup(100000), 1000);
    assert_int_equal(schedule_warmup(2000), 100);
    assert_int_equal(schedule_warmup(50), 5);
    /* the published 170 M run of 10e18 FLOPs: 256 sequences of 2048 with 1 % random lengths */
    assert_int_equal(schedule_steps_for_flops(10e18, 169897728, 256, objective_mean_length(2048, 0.01)), 18804);
}

int main(void) {
    train_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mdm_invariances),  cmocka_unit_test(arm_invariances),       cmocka_unit_test(loss_falls),
        cmocka_unit_test(divergence_stops), cmocka_unit_test(other_data_is_refused), cmocka_unit_test(schedule_shape)};
    const int r = cmocka_run_group_tests(tests, NULL, NULL);
    train_teardown();
    return r;
}
