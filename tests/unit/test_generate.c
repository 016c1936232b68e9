/* Samplers on small random models: how many positions a step reveals and what is written there (chi-square), that
 * infill keeps what is given, and that companions, forwards' sizes and threads do not matter. Token for token:
 * tests/golden/test_samples. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/rng.h"
#include "compute/gemm.h"
#include "infer/engine.h"
#include "infer/generate_arm.h"
#include "infer/generate_mdm.h"
#include "infer/likelihood.h"
#include "model/transformer.h"
#include "model/weights.h"

enum { V = 30, BLOCK = 48, MASK = 30, THREADS = 3 };

static struct weights models[2]; /* by family */
static float *flat[2];

static void open_models(void) {
    struct err err = {0};
    for (int f = 0; f < 2; f++) {
        const struct config c = {.family = (enum family)f,
                                 .block_size = BLOCK,
                                 .vocab_size = V,
                                 .padded_vocab_size = V,
                                 .mask_id = f == FAMILY_MDM ? MASK : -1,
                                 .n_layer = 2,
                                 .n_head = 2,
                                 .n_query_groups = 2,
                                 .n_embd = 16,
                                 .intermediate_size = 32,
                                 .norm_eps = 1e-5,
                                 .rope_base = 10000,
                                 .bos_id = -1,
                                 .eos_id = -1};
        struct params p;
        assert_int_equal(params_init(&p, &c, &err), 0);
        flat[f] = mem_alloc(p.total, sizeof **flat, "test model", &err);
        assert_non_null(flat[f]);
        params_random(flat[f], &p, 4);
        for (int64_t i = 0; i < p.total; i++) flat[f][i] *= 2; /* spread the logits */
        params_free(&p);
        assert_int_equal(weights_flat(&models[f], &c, flat[f], &err), 0);
    }
}

static void open_engine(struct engine *e, enum family f, int64_t rows_, bool guided) {
    struct err err = {0};
    const struct engine_settings s = {DTYPE_F32, rows_, guided};
    if (engine_open(e, &models[f], &s, &err) < 0) fail_msg("%s", err.msg);
}

static void run_mdm(struct engine *e, const struct generate_mdm *g, int32_t *ids, const int64_t *starts, int64_t nseq,
                    struct generate_stats *stats) {
    struct err err = {0};
    if (generate_mdm(e, g, ids, NULL, starts, nseq, stats, &err) < 0) fail_msg("%s", err.msg);
}

/* Chi-square of counts against expected ones must be within four sigma of its mean. */
static void check_chi(const char *what, const double *count, const double *want, int n) {
    double chi = 0;
    for (int i = 0; i < n; i++) chi += (count[i] - want[i]) * (count[i] - want[i]) / want[i];
    printf("%s: chi-square %.1f, %d degrees of freedom\n", what, chi, n - 1);
    assert_true(chi < n - 1 + 4 * sqrt(2.0 * (n - 1)));
}

/* The first values of torch.linspace(1, 1e-5, 8) and (1, 1e-5, 11), as PyTorch rounds them. */
static void times_are_float32(void **state) {
    (void)state;
    static const float seven[] = {0x1.0000000000000p+0f, 0x1.b6db9e0000000p-1f, 0x1.6db73c0000000p-1f,
                                  0x1.2492d80000000p-1f, 0x1.b6dcee0000000p-2f, 0x1.24942a0000000p-2f,
                                  0x1.2496c80000000p-3f, 0x1.4f8b580000000p-17f};
    static const float ten[] = {0x1.0000000000000p+0f, 0x1.ccccee0000000p-1f, 0x1.9999dc0000000p-1f,
                                0x1.6666cc0000000p-1f, 0x1.3333ba0000000p-1f, 0x1.0000a80000000p-1f,
                                0x1.999b2c0000000p-2f, 0x1.3335080000000p-2f, 0x1.999dca0000000p-3f,
                                0x1.99a3080000000p-4f, 0x1.4f8b580000000p-17f};
    for (int i = 0; i < 8; i++) assert_true(generate_time(i, 7) == seven[i]);
    for (int i = 0; i < 11; i++) assert_true(generate_time(i, 10) == ten[i]);
    assert_true(generate_time(0, 1) == 1.0f && generate_time(1, 1) == 1e-5f);
    for (int64_t steps = 1; steps < 70; steps++) { /* everything is revealed, never more than there is */
        int64_t left = 64;
        for (int64_t i = 0; i < steps; i++) {
            const int64_t k = generate_count(left, i, steps);
            assert_true(k >= 0 && k <= left);
            left -= k;
        }
        assert_int_equal(left, 0);
    }
}

enum { STEPS = 10, NSEQ = 120 };

struct watch { /* what a step callback saw */
    int64_t total, steps[NSEQ];
    double left[STEPS + 1], first_half[BLOCK];
};

static void watch_step(void *ctx, int64_t seq, int64_t step, const int32_t *ids) {
    struct watch *w = ctx;
    assert_int_equal(step, w->steps[seq]++);
    for (int64_t i = 0; i < BLOCK; i++) {
        w->left[step + 1] += ids[i] == MASK;
        if (step == STEPS / 2 - 1) w->first_half[i] += ids[i] != MASK;
    }
}

/* A position is revealed in step i with probability t_i − t_{i+1}: step numbers are near uniform, in any position. */
static void ancestral_reveals_at_random(void **state) {
    (void)state;
    struct engine e;
    static int32_t ids[NSEQ * BLOCK];
    int64_t starts[NSEQ + 1];
    struct watch w = {.total = NSEQ * BLOCK};
    for (int64_t s = 0; s <= NSEQ; s++) starts[s] = s * BLOCK;
    for (int64_t i = 0; i < w.total; i++) ids[i] = MASK;
    w.left[0] = (double)w.total;
    const struct generate_mdm g = {
        .sampler = SAMPLER_ANCESTRAL, .steps = STEPS, .temperature = 1, .seed = 9, .step = watch_step, .ctx = &w};
    open_engine(&e, FAMILY_MDM, 1000, false);
    run_mdm(&e, &g, ids, starts, NSEQ, NULL);
    engine_close(&e);
    for (int s = 0; s < NSEQ; s++) assert_int_equal(w.steps[s], STEPS);
    double count[STEPS], want[STEPS];
    for (int i = 0; i < STEPS; i++) {
        const double next = i == STEPS - 1 ? 0 : (double)generate_time(i + 1, STEPS);
        count[i] = w.left[i] - w.left[i + 1];
        want[i] = ((double)generate_time(i, STEPS) - next) * (double)w.total;
    }
    check_chi("steps in which positions are revealed", count, want, STEPS);
    double chi = 0; /* a coin for each position */
    for (int i = 0; i < BLOCK; i++) chi += pow(w.first_half[i] - NSEQ * 0.5, 2) / (NSEQ * 0.25);
    printf("positions revealed in the first half: chi-square %.1f, %d degrees of freedom\n", chi, BLOCK);
    assert_true(chi < BLOCK + 4 * sqrt(2.0 * BLOCK));
    for (int64_t i = 0; i < w.total; i++) assert_true(ids[i] >= 0 && ids[i] < V);
}

/* One open place between fixed tokens: its value follows the softmax of the network's logits. */
static void values_follow_the_model(void **state) {
    (void)state;
    enum { N = 8000, T = 5 };
    static const int32_t pattern[T] = {3, 17, MASK, 8, 25};
    static int32_t ids[N * T];
    static int64_t starts[N + 1];
    struct err err = {0};
    struct engine e;
    struct transformer *m;
    float z[V];
    const int64_t one[2] = {0, T}, row = 2;
    assert_int_equal(transformer_open(&m, &models[0], &(struct transformer_settings){.max_rows = T}, &err), 0);
    transformer_logits(m, &(struct batch){pattern, one, &row, T, 1, 1}, z);
    transformer_close(m);
    open_engine(&e, FAMILY_MDM, 4000, false);
    for (int sampler = 0; sampler < 2; sampler++) {
        const double temperature = sampler ? 0.7 : 1;
        const struct generate_mdm g = {
            .sampler = (enum sampler)sampler, .steps = 3, .temperature = temperature, .seed = 2};
        double count[V] = {0}, want[V], sum = 0;
        for (int64_t s = 0; s < N; s++) {
            memcpy(ids + s * T, pattern, sizeof pattern);
            starts[s + 1] = (s + 1) * T;
        }
        run_mdm(&e, &g, ids, starts, N, NULL);
        for (int64_t s = 0; s < N; s++) {
            for (int i = 0; i < T; i++) assert_true(i == 2 || ids[s * T + i] == pattern[i]);
            count[ids[s * T + 2]]++;
        }
        int cells = 0; /* values expected less than ten times share the last cell */
        double rare = 0, rare_want = 0;
        for (int v = 0; v < V; v++) sum += want[v] = exp((double)z[v] / temperature);
        for (int v = 0; v < V; v++) {
            const double expected = N * want[v] / sum;
            if (expected < 10) {
                rare += count[v];
                rare_want += expected;
                continue;
            }
            count[cells] = count[v];
            want[cells++] = expected;
        }
        if (rare_want > 0) {
            count[cells] = rare;
            want[cells++] = rare_want;
        }
        assert_true(cells > 5);
        check_chi(sampler ? "values, confidence, temperature 0.7" : "values, ancestral, temperature 1", count, want,
                  cells);
    }
    engine_close(&e);
}

/* Texts of several lengths with gaps in different places. */
enum { TEXTS = 9 };
struct texts {
    int64_t starts[TEXTS + 1];
    int32_t ids[TEXTS * BLOCK];
};

static void make_texts(struct texts *t) {
    t->starts[0] = 0;
    for (uint64_t s = 0; s < TEXTS; s++) {
        const int64_t n = 2 + (int64_t)rng_below(1, RNG_TEST, 0, s, BLOCK - 1);
        for (int64_t i = 0; i < n; i++) {
            const uint64_t at = s << 16 | (uint64_t)i;
            const bool open = rng_below(1, RNG_TEST, 1, at, 3) > 0;
            t->ids[t->starts[s] + i] = open ? MASK : (int32_t)rng_below(1, RNG_TEST, 2, at, V);
        }
        t->starts[s + 1] = t->starts[s] + n;
    }
}

static void infill_keeps_what_is_given(void **state) {
    (void)state;
    struct texts t, before;
    struct engine e;
    make_texts(&before);
    open_engine(&e, FAMILY_MDM, 2 * BLOCK * TEXTS, true);
    for (int sampler = 0; sampler < 2; sampler++)
        for (int guided = 0; guided < 2; guided++) {
            struct generate_stats stats;
            t = before;
            const struct generate_mdm g = {
                .sampler = (enum sampler)sampler, .steps = 100, .temperature = 1, .cfg = guided, .seed = 3};
            run_mdm(&e, &g, t.ids, t.starts, TEXTS, &stats);
            int64_t open = 0;
            for (int64_t i = 0; i < t.starts[TEXTS]; i++) {
                open += before.ids[i] == MASK;
                if (before.ids[i] == MASK)
                    assert_true(t.ids[i] >= 0 && t.ids[i] < V);
                else
                    assert_int_equal(t.ids[i], before.ids[i]);
            }
            assert_int_equal(stats.tokens, open);
            assert_int_equal(stats.nfe, 100 * (1 + guided));
            assert_true(stats.evaluations <= open * (1 + guided)); /* no forward that reveals nothing */
        }
    engine_close(&e);
}

static void companions_do_not_matter(void **state) {
    (void)state;
    struct texts before, all, small;
    struct engine wide, narrow;
    make_texts(&before);
    open_engine(&wide, FAMILY_MDM, 2 * BLOCK * TEXTS, true);
    open_engine(&narrow, FAMILY_MDM, 2 * BLOCK, true);
    for (int sampler = 0; sampler < 2; sampler++)
        for (int guided = 0; guided < 2; guided++) {
            struct generate_mdm g = {
                .sampler = (enum sampler)sampler, .steps = 12, .temperature = 0.8, .cfg = guided * 0.5, .seed = 6};
            all = small = before;
            run_mdm(&wide, &g, all.ids, all.starts, TEXTS, NULL);
            run_mdm(&narrow, &g, small.ids, small.starts, TEXTS, NULL);
            assert_memory_equal(all.ids, small.ids, (size_t)all.starts[TEXTS] * sizeof *all.ids);
            for (int64_t s = 0; s < TEXTS; s++) {
                const int64_t from = before.starts[s], n = before.starts[s + 1] - from, alone[2] = {0, n};
                int32_t ids[BLOCK];
                memcpy(ids, before.ids + from, (size_t)n * sizeof *ids);
                g.first_sample = (uint64_t)s;
                run_mdm(&wide, &g, ids, alone, 1, NULL);
                assert_memory_equal(ids, all.ids + from, (size_t)n * sizeof *ids);
            }
        }
    engine_close(&wide);
    engine_close(&narrow);
}

static void threads_do_not_matter(void **state) {
    (void)state;
    struct texts before, one, many;
    struct engine e;
    make_texts(&before);
    open_engine(&e, FAMILY_MDM, BLOCK * TEXTS, false);
    for (int sampler = 0; sampler < 2; sampler++) {
        const struct generate_mdm g = {.sampler = (enum sampler)sampler, .steps = 5, .temperature = 1, .seed = 8};
        one = many = before;
        omp_set_num_threads(1);
        run_mdm(&e, &g, one.ids, one.starts, TEXTS, NULL);
        omp_set_num_threads(THREADS);
        run_mdm(&e, &g, many.ids, many.starts, TEXTS, NULL);
        omp_set_num_threads(1);
        assert_memory_equal(one.ids, many.ids, (size_t)one.starts[TEXTS] * sizeof *one.ids);
    }
    engine_close(&e);
}

/* The cached decoder against full forwards, at temperature 0 and 1; several prompts at once against each alone. */
static void arm_decodes(void **state) {
    (void)state;
    enum { N = 5 };
    struct engine e;
    struct err err = {0};
    for (int hot = 0; hot < 2; hot++) {
        int32_t ids[N * BLOCK], alone[BLOCK];
        int64_t starts[N + 1] = {0}, lengths[N], length;
        struct generate_arm g = {.temperature = hot, .end_id = -1, .seed = 4};
        for (int64_t s = 0; s < N; s++) {
            const int64_t total = BLOCK - 7 * s;
            lengths[s] = s == 2 ? total : 1 + 4 * s; /* one is full from the start */
            for (int64_t i = 0; i < lengths[s]; i++) ids[starts[s] + i] = (int32_t)((7 * s + 3 * i) % V);
            starts[s + 1] = starts[s] + total;
        }
        int32_t first[N * BLOCK];
        memcpy(first, ids, sizeof ids);
        open_engine(&e, FAMILY_ARM, BLOCK * N, false);
        const int64_t prompts[N] = {lengths[0], lengths[1], lengths[2], lengths[3], lengths[4]};
        if (generate_arm(&e, &g, ids, starts, lengths, N, NULL, &err) < 0) fail_msg("%s", err.msg);
        for (int64_t s = 0; s < N; s++) {
            const int64_t total = starts[s + 1] - starts[s], own[2] = {0, total};
            assert_int_equal(lengths[s], total);
            memcpy(alone, first + starts[s], (size_t)total * sizeof *alone);
            length = prompts[s];
            g.first_sample = (uint64_t)s;
            if (generate_arm(&e, &g, alone, own, &length, 1, NULL, &err) < 0) fail_msg("%s", err.msg);
            assert_memory_equal(alone, ids + starts[s], (size_t)total * sizeof *alone);
        }
        engine_close(&e);
        if (hot) continue;
        struct transformer *m;
        static float z[BLOCK * V];
        const int64_t all[2] = {0, BLOCK};
        assert_int_equal(transformer_open(&m, &models[1], &(struct transformer_settings){.max_rows = BLOCK}, &err), 0);
        transformer_logits(m, &(struct batch){.tokens = ids, .starts = all, .n = BLOCK, .nseq = 1}, z);
        for (int64_t i = prompts[0]; i < BLOCK; i++)
            assert_int_equal(ids[i], kernels->argmax(z + (i - 1) * V, V, NULL));
        transformer_close(m);
    }
}

static void arm_stops_at_the_end_id(void **state) {
    (void)state;
    struct engine e;
    struct err err = {0};
    int32_t ids[BLOCK] = {5}, again[BLOCK] = {5};
    const int64_t starts[2] = {0, BLOCK};
    int64_t length = 1, stopped = 1;
    struct generate_stats stats;
    struct generate_arm g = {.temperature = 1, .end_id = -1, .seed = 1};
    open_engine(&e, FAMILY_ARM, BLOCK, false);
    assert_int_equal(generate_arm(&e, &g, ids, starts, &length, 1, NULL, &err), 0);
    g.end_id = ids[9];
    int64_t want = 1;
    while (ids[want] != g.end_id) want++;
    assert_int_equal(generate_arm(&e, &g, again, starts, &stopped, 1, &stats, &err), 0);
    assert_int_equal(stopped, want + 1);
    assert_memory_equal(ids, again, (size_t)stopped * sizeof *ids);
    assert_int_equal(stats.tokens, want);
    assert_int_equal(stats.nfe, want);
    engine_close(&e);
}

static void bad_input_is_refused(void **state) {
    (void)state;
    struct engine mdm, arm;
    struct err err;
    int32_t ids[BLOCK + 1] = {0}, bad[2] = {MASK + 1, MASK};
    const int64_t good_starts[2] = {0, 4}, long_starts[2] = {0, BLOCK + 1}, empty_starts[2] = {0, 0}, two[2] = {0, 2};
    int64_t none = 0, most = 9, fine = 2;
    const struct generate_mdm g = {.steps = 4}, no_steps = {0}, cold = {.steps = 4, .temperature = -1};
    const struct generate_arm a = {.end_id = -1};
    open_engine(&mdm, FAMILY_MDM, 3 * BLOCK, false);
    open_engine(&arm, FAMILY_ARM, 3 * BLOCK, false);
#define REFUSES(call) (err.msg[0] = 0, assert_int_equal((call), -1), assert_true(strlen(err.msg) > 10))
    REFUSES(generate_mdm(&mdm, &g, bad, NULL, two, 1, NULL, &err));
    REFUSES(generate_mdm(&mdm, &g, ids, NULL, long_starts, 1, NULL, &err));
    REFUSES(generate_mdm(&mdm, &g, ids, NULL, empty_starts, 1, NULL, &err));
    REFUSES(generate_mdm(&mdm, &no_steps, ids, NULL, good_starts, 1, NULL, &err));
    REFUSES(generate_mdm(&mdm, &cold, ids, NULL, good_starts, 1, NULL, &err));
    REFUSES(generate_mdm(&arm, &g, ids, NULL, good_starts, 1, NULL, &err));
    REFUSES(generate_arm(&mdm, &a, ids, good_starts, &fine, 1, NULL, &err));
    REFUSES(generate_arm(&arm, &a, ids, good_starts, &none, 1, NULL, &err));
    REFUSES(generate_arm(&arm, &a, ids, good_starts, &most, 1, NULL, &err));
    REFUSES(generate_arm(&arm, &a, ids, long_starts, &fine, 1, NULL, &err));
    REFUSES(generate_arm(&arm, &a, bad, two, &fine, 1, NULL, &err));
    engine_close(&mdm);
    engine_close(&arm);
}

/* Every allocation fails in turn: -1 and a message, or success once they are all through; nothing is left behind. */
static void allocations_fail(void **state) {
    (void)state;
    const int32_t prefix[3] = {1, 2, 3}, target[2] = {4, 5};
    const struct likelihood_item item = {prefix, target, 3, 2};
    const struct likelihood_settings mc = {.mc_draws = 4, .mc_batch = 2, .greedy = true};
    const struct generate_mdm g = {.steps = 2};
    const struct generate_arm a = {.end_id = -1};
    const int64_t starts[2] = {0, 6};
    int failures = 0;
    for (int job = 0; job < 4; job++)
        for (long n = 0, done = 0; !done; n++) {
            struct err err = {0};
            struct engine e = {0};
            struct likelihood_result r;
            int32_t ids[6] = {1, 2, 3, MASK, MASK, MASK};
            int64_t length = 3;
            const int64_t before = mem_in_use();
            const enum family f = job == 2 ? FAMILY_ARM : FAMILY_MDM;
            fault_set(FAULT_ALLOC, job == 3 ? n : 0,
                      false); /* opening fails in the last job, n = 0 is without faults */
            int status = engine_open(&e, &models[f], &(struct engine_settings){.max_rows = 20}, &err);
            fault_set(FAULT_ALLOC, n, false);
            if (status == 0 && job == 0) status = generate_mdm(&e, &g, ids, NULL, starts, 1, NULL, &err);
            if (status == 0 && job == 1) status = likelihood(&e, &mc, &item, 1, &r, &err);
            if (status == 0 && job == 2) status = generate_arm(&e, &a, ids, starts, &length, 1, NULL, &err);
            fault_set(FAULT_ALLOC, 0, false);
            engine_close(&e);
            if (n > 0 && status == 0) done = 1;
            if (status < 0) {
                failures++;
                assert_true(n > 0 && strlen(err.msg) > 10);
                assert_true(mem_in_use() == before);
            }
        }
    printf("%d allocations failed in turn\n", failures);
    assert_true(failures > 25);
}

int main(void) {
    struct err err = {0};
    if (kernels_init(&err) < 0 || gemm_init(THREADS, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    omp_set_num_threads(1);
    open_models();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_float32),
        cmocka_unit_test(ancestral_reveals_at_random),
        cmocka_unit_test(values_follow_the_model),
        cmocka_unit_test(infill_keeps_what_is_given),
        cmocka_unit_test(companions_do_not_matter),
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(arm_decodes),
        cmocka_unit_test(arm_stops_at_the_end_id),
        cmocka_unit_test(bad_input_is_refused),
        cmocka_unit_test(allocations_fail),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (int f = 0; f < 2; f++) {
        weights_free(&models[f]);
        mem_free(flat[f]);
    }
    return failed;
}
