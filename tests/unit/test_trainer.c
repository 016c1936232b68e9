/* The training loop: two runs are bit-equal; a run stopped anywhere and resumed is bit-equal; threads do not show;
 * another micro-batch shows below 1e-5; the loss falls; a diverging run stops with its state saved. Sources with prompts and
 * groups against hand computation; stopping inside a step; memory; validation; failures. */
#include "train_examples.h"
#include "stop_help.h"
#include "train/metrics.h"

#include <fcntl.h>
#include <math.h>
#include <omp.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/fault.h"
#include "base/stop.h"
#include "train/validation.h"

static double distance(const float *a, const float *b, int64_t n) {
    double d = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        d += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        norm += (double)b[i] * b[i];
    }
    return sqrt(d / norm);
}

/* A run of `what`: 0 an MDM's, 1 an ARM's, 2 an MDM's with all that makes training cheaper. */
static struct trainer_settings run_of(char *path, int what, const char *name, int64_t steps) {
    static const char *const names[] = {"mdm", "arm", "cheap"};
    char full[64];
    snprintf(full, sizeof full, "%s-%s", names[what], name);
    struct trainer_settings s = tiny_run(path, full, what == 1 ? FAMILY_ARM : FAMILY_MDM, steps);
    if (what == 2) make_cheap(&s);
    return s;
}

static void invariances(int what) {
    char path[FILE_PATH_MAX], name[32];
    struct trainer_settings s = run_of(path, what, "a", 12);
    int64_t n;
    train_run(&s);
    float *want = final_weights(&s, &n);

    s = run_of(path, what, "again", 12);
    train_run(&s);
    assert_same(&s, want, n);

    for (int stop = 1; stop < 12; stop += 3) { /* end the loop early, then go on with the real number of steps */
        snprintf(name, sizeof name, "stop-%d", stop);
        s = run_of(path, what, name, 12);
        s.save_every = stop;
        s.keep = 100;
        train_run(&s);
        for (int64_t step = stop + 1; step <= 12; step++) { /* what a crash after `stop` would have left */
            char file[FILE_PATH_MAX + 64];
            snprintf(file, sizeof file, "%s/checkpoint-%08lld.safetensors", path, (long long)step);
            unlink(file);
        }
        train_run(&s);
        assert_same(&s, want, n);
    }

    s = run_of(path, what, "one-thread", 12);
    omp_set_num_threads(1);
    train_run(&s);
    omp_set_num_threads(2);
    assert_same(&s, want, n);

    for (int micro = 1; micro <= 4; micro++) {
        snprintf(name, sizeof name, "micro-%d", micro);
        s = run_of(path, what, name, 1); /* one step: AdamW would amplify rounding noise later */
        s.micro_batch = micro;
        train_run(&s);
        struct trainer_settings whole = run_of(path, what, "whole", 1);
        train_run(&whole);
        int64_t m;
        float *one = final_weights(&whole, &m);
        char path_micro[FILE_PATH_MAX];
        s = run_of(path_micro, what, name, 1);
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
    invariances(0);
}

static void arm_invariances(void **state) {
    (void)state;
    invariances(1);
}

static void cheap_invariances(void **state) {
    (void)state;
    invariances(2);
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
    char begin[64];
    snprintf(begin, sizeof begin, "step %lld: loss ", (long long)r.step + 1);
    assert_int_equal(strncmp(r.message, begin, strlen(begin)), 0); /* this step's, which is not finite */
    assert_non_null(strstr(r.message, "nan"));
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
    struct whole a;
    struct checkpoint c;
    whole_open(&a, &s);
    assert_int_equal(checkpoint_load(path, &c, &a.shards, &s.config, a.w, a.m, a.v, &err), 1);
    c.source ^= 1;
    must(checkpoint_save(path, &c, &a.shards, &s.config, a.w, a.m, a.v, 2, &err), &err);
    s.schedule.steps = 3;
    assert_int_equal(try_train(&s, &r, &err), -1);
    assert_non_null(strstr(err.msg, "have changed since this run was started"));
    whole_close(&a, false);
}

static const struct example mixed[] = {{5, 2}, {3, 1}, {4, 0}, {2, 0}, {2, 1}, {2, 1}};

/* Validation on other data would make a curve of two halves; none at all, for a while, is everybody's right. */
static void other_validation_is_refused(void **state) {
    (void)state;
    char path[FILE_PATH_MAX];
    struct err err = {{0}};
    struct trainer_settings s = tiny_run(path, "validation-data", FAMILY_MDM, 2);
    s.random_length = 0; /* for examples without prompts */
    struct trainer_result r;
    struct few few = {.v = mixed, .n = 6, .fails_at = -1};
    struct source train = few_source(&few, 1), valid = few_source(&few, 1);
    must(try_run(&s, &train, &valid, &r, &err), &err);
    s.schedule.steps = 3;
    must(try_run(&s, &train, NULL, &r, &err), &err);
    s.schedule.steps = 4;
    valid.fingerprint++;
    assert_int_equal(try_run(&s, &train, &valid, &r, &err), -1);
    assert_non_null(strstr(err.msg, "the validation data, or the order in which this version reads it, has changed"));
    valid.fingerprint--;
    must(try_run(&s, &train, &valid, &r, &err), &err);
}

/* ---- prompts and groups ---- */

/* Adds the gradient of example i of the first step, computed by itself, by the rules of docs/model.md. */
static void add_by_hand(struct net *n, int64_t i, uint64_t seed) {
    const bool mdm = n->config.family == FAMILY_MDM;
    const double predicted = mdm ? (i < 3 ? 3 * 5 - 3 : 3 * 2 - 2) : (i < 3 ? 3 + 2 + 3 : 1 + 1 + 1);
    const int64_t l = mdm ? (i < 3 ? 5 : 2) : mixed[i].n - 1, starts[] = {0, l};
    const double p = (1 - 1e-3) * rng_uniform(seed, RNG_TIME, (uint64_t)i, 0) + 1e-3;
    int32_t tokens[5], targets[5];
    int64_t wanted[5];
    float weight[5];
    struct batch b = {.tokens = tokens, .starts = starts, .wanted = wanted, .n = l, .nseq = 1};
    for (int64_t k = 0; k < l; k++) {
        const int32_t id = k < mixed[i].n ? few_id(i, k) : 41;
        const bool masked = mdm && k >= mixed[i].prompt && rng_uniform(seed, RNG_MASK, (uint64_t)i, (uint64_t)k) < p;
        tokens[k] = masked ? 64 : id;
        if (mdm ? !masked : k + 1 < mixed[i].prompt) continue;
        targets[b.nwanted] = mdm ? id : few_id(i, k + 1);
        weight[b.nwanted] = (float)(1 / ((mdm ? p : 1) * predicted * 2));
        wanted[b.nwanted++] = k;
    }
    transformer_train(n->model, &b, targets, weight, n->grad);
}

/* One step over two groups of three: the first moment is a tenth of the gradient. */
static void groups_by_hand(void **state) {
    (void)state;
    struct err err = {{0}};
    struct few few = {.v = mixed, .n = 6, .fails_at = -1};
    const struct source source = few_source(&few, 3);
    for (int family = 0; family < 2; family++)
        for (int64_t micro = 1; micro <= 6; micro++) {
            char path[FILE_PATH_MAX], name[32];
            struct trainer_result r;
            struct net n;
            int64_t total;
            snprintf(name, sizeof name, "groups-%d-%d", family, (int)micro);
            struct trainer_settings s = tiny_run(path, name, (enum family)family, 1);
            s.random_length = 0;
            s.clip = 0;
            s.micro_batch = micro;
            must(try_run(&s, &source, NULL, &r, &err), &err);
            float *w = final_weights(&s, &total), *m = w + total / 3;
            net_open(&n, (enum family)family, s.seed);
            for (int64_t i = 0; i < 6; i++) add_by_hand(&n, i, s.seed);
            for (int64_t i = 0; i < n.params.total; i++) n.grad[i] *= 0.1f;
            assert_int_equal(n.params.total, total / 3);
            assert_true(distance(m, n.grad, n.params.total) <= 1e-5);
            net_close(&n);
            free(w);
        }
}

static void whole_groups_only(void **state) {
    (void)state;
    struct err err = {{0}};
    char path[FILE_PATH_MAX];
    struct few few = {.v = mixed, .n = 6, .fails_at = -1};
    const struct source source = few_source(&few, 4);
    const struct trainer_settings s = tiny_run(path, "groups", FAMILY_MDM, 1);
    struct trainer *t;
    assert_int_equal(trainer_open(&t, &s, &source, NULL, &err), -1);
    assert_null(t);
    assert_non_null(strstr(err.msg, "--batch 6 is no whole number of groups of 4 examples"));
}

/* Prompts are dropped in training alone: at a learning rate of 0 validation does not see it. */
static void validation_keeps_prompts(void **state) {
    (void)state;
    struct err err = {{0}};
    struct few few = {.v = mixed, .n = 6, .fails_at = -1};
    const struct source source = few_source(&few, 3);
    struct trainer_result r[2];
    for (int drop = 0; drop < 2; drop++) {
        char path[FILE_PATH_MAX];
        struct trainer_settings s = tiny_run(path, drop ? "dropped" : "kept", FAMILY_MDM, 1);
        s.random_length = 0;
        s.drop = drop;
        s.schedule.lr = s.schedule.min_lr = 0;
        must(try_run(&s, &source, &source, &r[drop], &err), &err);
    }
    assert_true(r[0].valid_loss == r[1].valid_loss);
    assert_true(r[0].loss != r[1].loss);
}

/* However it is trained, validation is the same estimate of the bound: at a learning rate of 0 nothing shows there. */
static void validation_is_the_bound(void **state) {
    (void)state;
    struct err err = {{0}};
    struct few few = {.v = mixed, .n = 6, .fails_at = -1};
    const struct source source = few_source(&few, 3);
    struct trainer_result r[2];
    for (int cheap = 0; cheap < 2; cheap++) {
        char path[FILE_PATH_MAX];
        struct trainer_settings s = tiny_run(path, cheap ? "cheap-bound" : "bound", FAMILY_MDM, 1);
        s.random_length = 0;
        if (cheap) make_cheap(&s);
        s.schedule.lr = s.schedule.min_lr = 0;
        must(try_run(&s, &source, &source, &r[cheap], &err), &err);
    }
    assert_true(r[0].valid_loss == r[1].valid_loss);
    assert_true(r[0].loss != r[1].loss);
}

/* ---- stopping inside a step ---- */

struct stopping {
    struct source inner;
    int64_t at;   /* the example at which the process is asked to stop */
    int64_t last; /* the last one that was read */
};

static int read_and_stop(void *context, int64_t number, int32_t *ids, struct example *e, struct err *err) {
    struct stopping *s = context;
    if (ids && number == s->at && !stop_asked()) ask_to_stop(); /* a second one would end it at once */
    if (ids) s->last = number;
    return s->inner.read(s->inner.context, number, ids, e, err);
}

static double stopping_epoch(const void *context, int64_t number) {
    const struct stopping *s = context;
    return s->inner.epoch(s->inner.context, number);
}

/* In a process of its own, since a stop that was asked for stays: ends in the middle of step 8. */
static int stopped_run(const struct trainer_settings *s) {
    struct err err = {{0}};
    struct trainer_result r;
    struct loader *l = open_data(s->config.family);
    struct stopping stopping = {.inner = source_of_blocks(l), .at = 7 * s->batch + 2};
    struct source source = stopping.inner;
    source.context = &stopping;
    source.read = read_and_stop;
    source.epoch = stopping_epoch;
    stop_install();
    const int status = try_run(s, &source, NULL, &r, &err);
    loader_close(l);
    if (status < 0) fprintf(stderr, "%s\n", err.msg);
    /* the micro-batch of two in which it was asked for is the last one */
    return status == 0 && r.end == TRAINER_STOPPED && r.step == 7 && stopping.last == 7 * s->batch + 3 ? 0 : 1;
}

static void stop_inside_a_step(void **state) {
    (void)state;
    char path[FILE_PATH_MAX];
    int64_t n;
    int status;
    struct trainer_settings s = tiny_run(path, "not-stopped", FAMILY_MDM, 12);
    s.micro_batch = 2;
    train_run(&s);
    float *want = final_weights(&s, &n);
    s = tiny_run(path, "stopped", FAMILY_MDM, 12);
    s.micro_batch = 2;
    omp_set_num_threads(1); /* threads do not survive a fork */
    const pid_t child = fork();
    if (child == 0) _exit(stopped_run(&s));
    waitpid(child, &status, 0);
    omp_set_num_threads(2);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    train_run(&s);
    assert_same(&s, want, n);
    free(want);
}

/* A stop that is asked for while it validates, after the third of `steps` steps: it ends there. */
static int stopped_validation(const struct trainer_settings *s) {
    struct err err = {{0}};
    struct trainer_result r;
    struct loader *l = open_data(s->config.family);
    const struct source source = source_of_blocks(l);
    struct stopping stopping = {.inner = source};
    struct source valid = source;
    valid.context = &stopping;
    valid.read = read_and_stop;
    valid.epoch = stopping_epoch;
    stop_install();
    const int status = try_run(s, &source, &valid, &r, &err);
    loader_close(l);
    return status == 0 && r.end == TRAINER_STOPPED && r.step == 3 && isnan(r.valid_loss) && stopping.last == 0 ? 0 : 1;
}

/* A whole run, or what is left of it; its rows. */
static struct metrics_row *validated_rows(const struct trainer_settings *s, int64_t *n) {
    struct err err = {{0}};
    struct trainer_result r;
    struct metrics_row *rows;
    struct loader *l = open_data(s->config.family);
    const struct source source = source_of_blocks(l);
    must(try_run(s, &source, &source, &r, &err), &err);
    loader_close(l);
    assert_int_equal(r.end, TRAINER_DONE);
    assert_true(isfinite(r.valid_loss));
    must(metrics_read(&rows, n, s->run, &err), &err);
    return rows;
}

/* The next start makes up for it: the rows are those of a run that was not stopped. */
static void stop_inside_a_validation(void **state) {
    (void)state;
    struct err err = {{0}};
    char path[FILE_PATH_MAX];
    for (int steps = 3; steps <= 6; steps += 3) {
        int status;
        int64_t n, m;
        struct trainer_settings s = tiny_run(path, steps == 3 ? "not-last" : "not-valid", FAMILY_MDM, steps);
        s.eval_every = 3;
        s.micro_batch = 2; /* the stop comes with the first example, in the first of many micro-batches */
        struct metrics_row *want = validated_rows(&s, &n), *rows;
        must(file_join(path, scratch, steps == 3 ? "stopped-last" : "stopped-valid", &err), &err);
        must(file_mkdirs(path, &err), &err);
        omp_set_num_threads(1); /* threads do not survive a fork */
        const pid_t child = fork();
        if (child == 0) _exit(stopped_validation(&s));
        waitpid(child, &status, 0);
        omp_set_num_threads(2);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        rows = validated_rows(&s, &m);
        assert_int_equal(n, steps);
        assert_int_equal(m, steps);
        for (int64_t i = 2; i < n; i += 3) {
            assert_true(isfinite(want[i].valid_loss) && isfinite(want[i].valid_error));
            assert_true(rows[i].valid_loss == want[i].valid_loss && rows[i].valid_error == want[i].valid_error);
        }
        mem_free(want);
        mem_free(rows);
    }
}

struct impatient { /* asks for a stop with the at-th example that this process reads */
    struct source inner;
    int64_t n, at;
};

static int read_and_lose_patience(void *context, int64_t number, int32_t *ids, struct example *e, struct err *err) {
    struct impatient *s = context;
    if (ids && ++s->n == s->at) ask_to_stop();
    return s->inner.read(s->inner.context, number, ids, e, err);
}

/* 0: stopped within its validation; 1: it came to its end; 2: something else. */
static int impatient_run(const struct trainer_settings *s, int64_t at) {
    struct err err = {{0}};
    struct trainer_result r;
    struct loader *l = open_data(s->config.family);
    const struct source source = source_of_blocks(l);
    struct impatient impatient = {.inner = source, .at = at};
    struct source valid = source;
    valid.context = &impatient;
    valid.read = read_and_lose_patience;
    valid.epoch = stopping_epoch; /* whose context begins as this one does */
    stop_install();
    const int status = try_run(s, &source, &valid, &r, &err);
    loader_close(l);
    return status < 0 || r.step != 3 ? 2 : r.end == TRAINER_DONE;
}

/* A validation of twelve draws that is never given the time for more than four of them ends, as if it had been. What it
 * has so far is not taken from a file that is damaged, or of other weights. */
static void stopped_again_and_again(void **state) {
    (void)state;
    struct err err = {{0}};
    char path[FILE_PATH_MAX], part[FILE_PATH_MAX];
    int64_t n, m;
    struct trainer_settings s = tiny_run(path, "patient", FAMILY_MDM, 3);
    s.eval_every = 3;
    s.micro_batch = 2;
    struct metrics_row *want = validated_rows(&s, &n);
    for (int spoilt = 0; spoilt < 2; spoilt++) {
        int end = 0, starts = 0;
        must(file_join(path, scratch, spoilt ? "impatient-spoilt" : "impatient", &err), &err);
        must(file_mkdirs(path, &err), &err);
        must(file_join(part, path, "validation.part", &err), &err);
        omp_set_num_threads(1); /* threads do not survive a fork */
        for (; end == 0 && starts < 9; starts++) {
            int status;
            const pid_t child = fork();
            if (child == 0) _exit(impatient_run(&s, 5));
            waitpid(child, &status, 0);
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 2);
            end = WEXITSTATUS(status);
            if (end == 0 && spoilt && starts == 1) {
                const int fd = open(part, O_WRONLY);
                assert_true(fd >= 0 && pwrite(fd, "spoilt", 6, 100) == 6 && close(fd) == 0);
            }
            assert_int_equal(access(part, F_OK), end == 0 ? 0 : -1);
        }
        omp_set_num_threads(2);
        assert_int_equal(end, 1);
        assert_int_equal(starts, spoilt ? 5 : 3); /* two in vain */
        struct metrics_row *rows;
        must(metrics_read(&rows, &m, s.run, &err), &err);
        assert_int_equal(m, n);
        assert_true(rows[2].valid_loss == want[2].valid_loss && rows[2].valid_error == want[2].valid_error);
        mem_free(rows);
    }
    mem_free(want);
}

/* ---- memory ---- */

/* Less and less memory: the micro-batch is halved first, then activations are recomputed, then it is halved again, and
 * what does not fit then is not begun. */
static void short_memory(void **state) {
    (void)state;
    struct err err = {{0}};
    char path[FILE_PATH_MAX];
    struct loader *l = open_data(FAMILY_MDM);
    struct source source = source_of_blocks(l);
    struct trainer_settings s = tiny_run(path, "memory", FAMILY_MDM, 1);
    s.batch = 256;
    s.micro_batch = 0;
    int64_t micro = 0, halved = 0, recomputed = 0, least = 0;
    for (int64_t memory = 64 << 20; memory > 1 << 18; memory -= memory / 16) {
        struct trainer *t;
        const int64_t before = mem_in_use();
        s.memory = memory;
        if (trainer_open(&t, &s, &source, NULL, &err) < 0) break;
        assert_true(mem_in_use() - before < memory + 140000); /* lists and tables are not planned */
        least = memory;
        const int64_t now = trainer_micro(t);
        if (!micro) assert_int_equal(now, 256);
        if (!trainer_recomputes(t)) {
            assert_int_equal(recomputed, 0);
            assert_true((!micro || now <= micro) && now * LENGTH >= 1024); /* products stay large */
            halved += micro && now < micro;
        } else if (++recomputed == 1) {
            assert_true(halved >= 2 && now >= micro); /* recomputing makes room */
        } else {
            assert_true(now <= micro);
        }
        micro = now;
        trainer_close(t);
    }
    assert_int_equal(micro, 1);
    assert_true(recomputed > 1 && least > 1 << 18);
    assert_non_null(strstr(err.msg, "memory: training needs 0.00 GiB in micro-batches of 1, and this process may use "
                                    "0.00 GiB: take a smaller model or --length, or"));
    struct trainer *t;
    s.memory = 1 << 10; /* where the model is too large by itself, shorter sequences are no help */
    assert_int_equal(trainer_open(&t, &s, &source, NULL, &err), -1);
    assert_non_null(strstr(err.msg, "take a smaller model, or several machines"));
    s.sum_groups = 4; /* each block of the tree that stands is as large as the model */
    assert_int_equal(trainer_open(&t, &s, &source, NULL, &err), -1);
    assert_non_null(strstr(err.msg, "take a smaller model or fewer --sum-groups, or several machines"));
    s.sum_groups = 0;
    s.micro_batch = 8; /* what was asked for stays */
    s.memory = 2 * least;
    must(trainer_open(&t, &s, &source, NULL, &err), &err);
    assert_int_equal(trainer_micro(t), 8);
    trainer_close(t);
    loader_close(l);
}

/* ---- validation ---- */

static void size_of_validation(void **state) {
    (void)state;
    char path[FILE_PATH_MAX];
    struct trainer_settings s = tiny_run(path, "validation", FAMILY_MDM, 1000);
    const struct source large = {.size = 1000000, .group = 1}, small = {.size = 100, .group = 1},
                        grouped = {.size = 100, .group = 8};
    s.valid_examples = s.mc = 0;
    s.batch = 16;
    struct validation_size v = validation_size(&s, &large); /* 15 % of 1000 steps of 16 */
    assert_true(v.examples == 2400 && v.draws == 1);
    s.eval_every = 100;
    v = validation_size(&s, &large);
    assert_true(v.examples == 240 && v.draws == 1);
    v = validation_size(&s, &small);
    assert_true(v.examples == 100 && v.draws == 2);
    s.eval_every = 1; /* never fewer than 64 */
    v = validation_size(&s, &small);
    assert_true(v.examples == 64 && v.draws == 1);
    v = validation_size(&s, &grouped);
    assert_true(v.examples == 64);
    s.eval_every = s.schedule.steps = 1000000; /* never more than 4096, and 128 draws */
    v = validation_size(&s, &large);
    assert_true(v.examples == 4096 && v.draws == 1);
    v = validation_size(&s, &grouped);
    assert_true(v.examples == 96 && v.draws == 42);
    v = validation_size(&s, &(struct source){.size = 3, .group = 1});
    assert_true(v.examples == 3 && v.draws == 128);
    s.valid_examples = 50, s.mc = 7;
    v = validation_size(&s, &large);
    assert_true(v.examples == 50 && v.draws == 7);
    s.config.family = FAMILY_ARM;
    v = validation_size(&s, &large);
    assert_true(v.examples == 50 && v.draws == 1);
}

struct reads { /* counts what a validation reads */
    struct few few;
    int seen[1000];
};

static int count_reads(void *context, int64_t number, int32_t *ids, struct example *e, struct err *err) {
    struct reads *r = context;
    assert_in_range(number, 0, 999);
    r->seen[number] += ids != NULL;
    return few_read(&r->few, number, ids, e, err);
}

struct later {
    struct few few;
    int64_t by;
};

static int read_later(void *context, int64_t number, int32_t *ids, struct example *e, struct err *err) {
    struct later *l = context;
    return few_read(&l->few, number + l->by, ids, e, err);
}

/* Validation on the examples [first, first + n) after one step: its loss and that one's standard error. */
static struct metrics_row validated_on(int64_t first, int64_t n) {
    struct err err = {{0}};
    char path[FILE_PATH_MAX], name[32];
    const struct example all = {.n = 9};
    struct later later = {.few = {.v = &all, .n = 1, .fails_at = -1}, .by = first};
    struct few few = {.v = &all, .n = 1, .fails_at = -1};
    struct source train = few_source(&few, 1), valid = few_source(&later.few, 1);
    struct trainer_settings s;
    struct trainer_result r;
    struct metrics_row *rows, row;
    int64_t count;
    snprintf(name, sizeof name, "validated-%d-%d", (int)first, (int)n);
    s = tiny_run(path, name, FAMILY_ARM, 1);
    s.random_length = 0;
    s.mc = 1;
    s.valid_examples = n;
    valid.context = &later;
    valid.read = read_later;
    valid.size = n;
    must(try_run(&s, &train, &valid, &r, &err), &err);
    must(metrics_read(&rows, &count, path, &err), &err);
    row = rows[count - 1];
    mem_free(rows);
    return row;
}

/* The standard error of a mean of two: half their difference; of one it is not known. */
static void validation_error(void **state) {
    (void)state;
    const struct metrics_row a = validated_on(0, 1), b = validated_on(1, 1), both = validated_on(0, 2);
    assert_true(isnan(a.valid_error) && fabs(a.valid_loss - b.valid_loss) > 1e-4);
    assert_true(fabs(both.valid_loss - (a.valid_loss + b.valid_loss) / 2) < 2e-6);
    assert_true(fabs(both.valid_error - fabs(a.valid_loss - b.valid_loss) / 2) < 2e-6);
}

/* Ten groups of four out of 250: one in every tenth of the text, each draw of each of its examples once. */
static void validation_is_spread(void **state) {
    (void)state;
    struct err err = {{0}};
    char path[FILE_PATH_MAX];
    const struct example all = {.n = 6, .prompt = 2};
    struct reads reads = {.few = {.v = &all, .n = 1, .fails_at = -1}};
    struct source train = few_source(&reads.few, 1), valid = few_source(&reads.few, 4);
    struct trainer_settings s = tiny_run(path, "spread", FAMILY_MDM, 1);
    struct trainer_result r;
    valid.context = &reads;
    valid.read = count_reads;
    valid.size = 1000;
    s.random_length = 0;
    s.valid_examples = 43; /* a whole number of groups is taken */
    must(try_run(&s, &train, &valid, &r, &err), &err);
    assert_true(isfinite(r.valid_loss));
    int total = 0;
    for (int tenth = 0; tenth < 10; tenth++) {
        int examples = 0;
        for (int i = 100 * tenth; i < 100 * tenth + 100; i++) {
            assert_true(reads.seen[i] == 0 || reads.seen[i] == s.mc);
            examples += reads.seen[i] > 0;
            if (reads.seen[i]) assert_int_equal(reads.seen[i / 4 * 4], reads.seen[i]);
        }
        assert_int_equal(examples, 4);
        total += examples;
    }
    assert_int_equal(total, 40);
}

/* ---- failures ---- */

/* A run of `steps` steps that fails after `kept` of them, and the next start, which finds these and ends well. */
static void fails_and_goes_on(struct trainer_settings *s, const struct source *source, const struct source *valid,
                              struct few *few, int64_t kept, const char *why) {
    struct err err = {{0}};
    struct trainer_result r;
    struct metrics_row *rows;
    struct trainer *t;
    int64_t n;
    must(trainer_open(&t, s, source, valid, &err), &err);
    if (few->fails_at < 0) fault_set(FAULT_WRITE, 1 + kept, false); /* after the head of metrics.csv: that row */
    assert_int_equal(trainer_run(t, &r, &err), -1);
    fault_set(FAULT_WRITE, 0, false);
    trainer_close(t);
    assert_non_null(strstr(err.msg, why));
    char saved[64];
    snprintf(saved, sizeof saved, "; saved after step %d", (int)kept);
    if (!strstr(err.msg, saved)) fail_msg("%s", err.msg);
    few->fails_at = -1;
    must(trainer_open(&t, s, source, valid, &err), &err);
    assert_int_equal(trainer_step(t), kept);
    must(trainer_run(t, &r, &err), &err);
    trainer_close(t);
    must(metrics_read(&rows, &n, s->run, &err), &err);
    assert_int_equal(n, s->schedule.steps);
    for (int64_t i = 0; i < n; i++) {
        assert_int_equal(rows[i].step, i + 1);
        if (valid && (i + 1) % s->eval_every == 0) assert_true(isfinite(rows[i].valid_loss));
    }
    mem_free(rows);
}

static const struct example plain[] = {{LENGTH, 0}};

/* What fails between two checkpoints takes no step with it, and metrics.csv has every row in the end: an example cannot
 * be read; no room for a row, between checkpoints, where one is due, and at the end. */
static void failure_keeps_the_steps(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int64_t save_every, kept;
    } kinds[] = {
        {"no-example", 1000, 3}, {"no-room", 1000, 3}, {"no-room-to-save", 3, 3}, {"no-room-at-last", 1000, 6}};
    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++) {
        char path[FILE_PATH_MAX];
        struct few few = {.v = plain, .n = 1, .fails_at = kind == 0 ? 3 * 6 : -1};
        struct source source = few_source(&few, 1);
        struct trainer_settings s = tiny_run(path, kinds[kind].name, FAMILY_MDM, 6);
        s.save_every = kinds[kind].save_every;
        source.size = 1000;
        fails_and_goes_on(&s, &source, NULL, &few, kinds[kind].kept,
                          kind ? "cannot write" : "example 18 cannot be read");
    }
}

/* A validation that fails leaves the row of its step, and is made up for. */
static void failed_validation(void **state) {
    (void)state;
    for (int steps = 3; steps <= 6; steps += 3) {
        char path[FILE_PATH_MAX];
        struct few few = {.v = plain, .n = 1, .fails_at = -1}, valid_few = {.v = plain, .n = 1, .fails_at = 0};
        struct source source = few_source(&few, 1), valid = few_source(&valid_few, 1);
        struct trainer_settings s = tiny_run(path, steps == 3 ? "invalid-last" : "invalid", FAMILY_MDM, steps);
        s.eval_every = 3;
        source.size = valid.size = 1000;
        fails_and_goes_on(&s, &source, &valid, &valid_few, 3, "example 0 cannot be read");
    }
}

int main(void) {
    train_setup();
    const struct CMUnitTest tests[] = {cmocka_unit_test(mdm_invariances),
                                       cmocka_unit_test(arm_invariances),
                                       cmocka_unit_test(cheap_invariances),
                                       cmocka_unit_test(validation_is_the_bound),
                                       cmocka_unit_test(loss_falls),
                                       cmocka_unit_test(divergence_stops),
                                       cmocka_unit_test(other_data_is_refused),
                                       cmocka_unit_test(groups_by_hand),
                                       cmocka_unit_test(whole_groups_only),
                                       cmocka_unit_test(validation_keeps_prompts),
                                       cmocka_unit_test(stop_inside_a_step),
                                       cmocka_unit_test(stop_inside_a_validation),
                                       cmocka_unit_test(stopped_again_and_again),
                                       cmocka_unit_test(short_memory),
                                       cmocka_unit_test(size_of_validation),
                                       cmocka_unit_test(validation_is_spread),
                                       cmocka_unit_test(validation_error),
                                       cmocka_unit_test(other_validation_is_refused),
                                       cmocka_unit_test(failure_keeps_the_steps),
                                       cmocka_unit_test(failed_validation)};
    const int r = cmocka_run_group_tests(tests, NULL, NULL);
    train_teardown();
    return r;
}
