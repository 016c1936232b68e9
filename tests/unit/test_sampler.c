/* Samplers: their times and shares, as PyTorch's float32 has them; on small random models, how many positions a step writes
 * and what is written there (chi-square), that infill keeps what is given, what they rank by, shifted logits, any number of threads. Token for
 * token: tests/golden/test_samples. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "infer/likelihood.h"
#include "infer/sampler.h"
#include "infer_help.h"
#include "model/transformer.h"

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
    for (int i = 0; i < 8; i++) assert_true(sampler_time(i, 7) == seven[i]);
    for (int i = 0; i < 11; i++) assert_true(sampler_time(i, 10) == ten[i]);
    assert_true(sampler_time(0, 1) == 1.0f && sampler_time(1, 1) == 1e-5f);
    for (int64_t steps = 1; steps < 70; steps++) { /* everything is revealed, never more than there is */
        int64_t left = 64;
        for (int64_t i = 0; i < steps; i++) {
            const int64_t k = i == steps - 1 ? left : (int64_t)((float)left * sampler_share(i, steps));
            assert_true(k >= 0 && k <= left);
            left -= k;
        }
        assert_int_equal(left, 0);
    }
}

/* Chi-square of counts against expected ones must be within four sigma of its mean. */
static void check_chi(const char *what, const double *count, const double *want, int n) {
    double chi = 0;
    for (int i = 0; i < n; i++) chi += (count[i] - want[i]) * (count[i] - want[i]) / want[i];
    printf("%s: chi-square %.1f, %d degrees of freedom\n", what, chi, n - 1);
    assert_true(chi < n - 1 + 4 * sqrt(2.0 * (n - 1)));
}

enum { STEPS = 10, NSEQ = 120 };

struct watch { /* what step callbacks saw */
    int64_t total, steps;
    double left[STEPS + 1], first_half[BLOCK];
};

static void watch_step(struct request *r) {
    struct watch *w = r->ctx;
    assert_true(r->steps_done >= 1 && r->steps_done <= STEPS);
    w->steps++;
    for (int64_t i = 0; i < BLOCK; i++) {
        w->left[r->steps_done] += r->ids[i] == MASK;
        if (r->steps_done == STEPS / 2) w->first_half[i] += r->ids[i] != MASK;
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
    const struct request like = {
        .sampler = &sampler_ancestral, .steps = STEPS, .temperature = 1, .seed = 9, .step = watch_step, .ctx = &w};
    open_engine(&e, FAMILY_MDM, 1000, false);
    run_texts(&e, &like, ids, starts, NSEQ);
    engine_close(&e);
    assert_int_equal(w.steps, STEPS * NSEQ);
    double count[STEPS], want[STEPS];
    for (int i = 0; i < STEPS; i++) {
        const double next = i == STEPS - 1 ? 0 : (double)sampler_time(i + 1, STEPS);
        count[i] = w.left[i] - w.left[i + 1];
        want[i] = ((double)sampler_time(i, STEPS) - next) * (double)w.total;
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
        const struct request like = {.sampler = samplers[sampler], .steps = 3, .temperature = temperature, .seed = 2};
        double count[V] = {0}, want[V], sum = 0;
        for (int64_t s = 0; s < N; s++) {
            memcpy(ids + s * T, pattern, sizeof pattern);
            starts[s + 1] = (s + 1) * T;
        }
        run_texts(&e, &like, ids, starts, N);
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
    for (int k = 0; samplers[k]; k++)
        for (int guided = 0; guided < 2; guided++)
            for (int64_t i = 0; i < TEXTS; i++) {
                t = before;
                int64_t open = 0;
                const int64_t from = t.starts[i], n = t.starts[i + 1] - from;
                struct request r = {.sampler = samplers[k],
                                    .ids = t.ids + from,
                                    .n = n,
                                    .room = n,
                                    .steps = 100,
                                    .temperature = 1,
                                    .cfg = guided,
                                    .seed = 3};
                run_requests(&e, &r, 1);
                for (int64_t j = 0; j < t.starts[TEXTS]; j++) {
                    const bool was_open = j >= from && j < from + n && before.ids[j] == MASK;
                    open += was_open;
                    if (was_open)
                        assert_true(t.ids[j] >= 0 && t.ids[j] < V);
                    else
                        assert_int_equal(t.ids[j], before.ids[j]);
                }
                assert_int_equal(r.written, open);
                assert_int_equal(r.nfe, 100 * (1 + guided));
                assert_true(r.evaluations <= open * (1 + guided)); /* no forward that writes nothing */
            }
    engine_close(&e);
}

static void threads_do_not_matter(void **state) {
    (void)state;
    struct texts before, one, many;
    struct engine e;
    make_texts(&before);
    open_engine(&e, FAMILY_MDM, BLOCK * TEXTS, false);
    for (int k = 0; samplers[k]; k++) {
        const struct request like = {.sampler = samplers[k], .steps = 5, .temperature = 1, .seed = 8};
        one = many = before;
        omp_set_num_threads(1);
        run_texts(&e, &like, one.ids, one.starts, TEXTS);
        omp_set_num_threads(THREADS);
        run_texts(&e, &like, many.ids, many.starts, TEXTS);
        omp_set_num_threads(1);
        assert_memory_equal(one.ids, many.ids, (size_t)one.starts[TEXTS] * sizeof *one.ids);
    }
    engine_close(&e);
}

/* The samplers by confidence differ in what they rank by: margin and entropy against a plain loop over all logits. */
static void ranks_by_its_confidence(void **state) {
    (void)state;
    enum { T = 12 };
    static const struct sampler *const which[] = {&sampler_margin, &sampler_entropy};
    struct err err = {0};
    struct engine e;
    struct transformer *m;
    assert_int_equal(transformer_open(&m, &models[0], &(struct transformer_settings){.max_rows = T}, &err), 0);
    open_engine(&e, FAMILY_MDM, T, false);
    for (int k = 0; k < 2; k++) {
        static float z[T * V];
        int32_t ids[T], start[T];
        double best = -INFINITY;
        int64_t place = -1;
        for (int i = 0; i < T; i++) ids[i] = start[i] = i < 3 ? 5 * i : MASK;
        const int64_t starts[2] = {0, T};
        transformer_logits(m, &(struct batch){.tokens = ids, .starts = starts, .n = T, .nseq = 1}, z);
        for (int i = 3; i < T; i++) {
            double sum = 0, first = 0, second = 0, entropy = 0;
            for (int v = 0; v < V; v++) sum += exp((double)z[i * V + v]);
            for (int v = 0; v < V; v++) {
                const double p = exp((double)z[i * V + v]) / sum;
                entropy += p * log(p);
                if (p > first)
                    second = first, first = p;
                else if (p > second)
                    second = p;
            }
            const double c = k ? entropy : first - second;
            if (c > best) best = c, place = i;
        }
        struct request r = {.sampler = which[k], .ids = ids, .n = T, .room = T, .steps = 9};
        struct scheduler *s;
        assert_int_equal(scheduler_open(&s, &e, SCHEDULER_STORES, &err), 0);
        add(s, &r);
        while (r.written == 0) assert_int_equal(scheduler_step(s, &err), 1);
        scheduler_close(s);
        assert_int_equal(r.written, 1);
        for (int i = 0; i < T; i++) assert_true((ids[i] != start[i]) == (i == place));
    }
    engine_close(&e);
    transformer_close(m);
}

/* Where logits are shifted, a token is chosen from the row before its own, the first from its own: the first step of a
 * sampler, and likelihoods, against a plain loop. */
static void shifted_logits(void **state) {
    (void)state;
    enum { T = 9 };
    struct err err = {0};
    struct engine e;
    struct transformer *m;
    struct scheduler *s;
    static float z[T * V];
    const int64_t starts[2] = {0, T};
    struct config c = models[SHIFTED].config;
    struct weights plain; /* the same numbers, their logits where the network has them */
    c.shifted = false;
    assert_int_equal(weights_flat(&plain, &c, flat[SHIFTED], &err), 0);
    assert_int_equal(transformer_open(&m, &plain, &(struct transformer_settings){.max_rows = T}, &err), 0);
    assert_int_equal(engine_open(&e, &models[SHIFTED], &(struct engine_settings){DTYPE_F32, 2 * T, true}, &err), 0);
    for (int open_from = 0; open_from < 4; open_from++) {
        int32_t ids[T], start[T];
        double best = -1;
        int64_t place = -1, value = -1;
        for (int i = 0; i < T; i++) ids[i] = start[i] = i < open_from ? 5 + i : INSIDE;
        transformer_logits(m, &(struct batch){.tokens = ids, .starts = starts, .n = T, .nseq = 1}, z);
        for (int i = open_from; i < T; i++) {
            const float *row = z + (i > 0 ? i - 1 : 0) * V;
            const int64_t top = kernels->argmax(row, V);
            double sum = 0;
            for (int v = 0; v < V; v++) sum += exp((double)row[v] - (double)row[top]);
            if (1 / sum > best) best = 1 / sum, place = i, value = top;
        }
        struct request r = {.sampler = &sampler_confidence, .ids = ids, .n = T, .room = T, .steps = 9};
        assert_int_equal(scheduler_open(&s, &e, SCHEDULER_STORES, &err), 0);
        add(s, &r);
        while (r.evaluations == 0) assert_int_equal(scheduler_step(s, &err), 1);
        scheduler_close(s);
        for (int i = 0; i < T; i++) assert_int_equal(ids[i], i == place ? value : start[i]);
        /* the last token alone is masked */
        struct likelihood_result got;
        int32_t text[T];
        for (int i = 0; i < T; i++) text[i] = i < T - 1 ? 2 + i : 7;
        const struct likelihood_item last = {text, text + T - 1, T - 1, 1};
        const struct likelihood_settings chain = {.method = LIKELIHOOD_CHAIN};
        if (likelihood(&e, &chain, &last, 1, &got, &err) < 0) fail_msg("%s", err.msg);
        text[T - 1] = INSIDE;
        transformer_logits(m, &(struct batch){.tokens = text, .starts = starts, .n = T, .nseq = 1}, z);
        double sum = 0;
        for (int v = 0; v < V; v++) sum += exp((double)z[(T - 2) * V + v]);
        assert_true(fabs(got.nll - (log(sum) - (double)z[(T - 2) * V + 7])) < 1e-5);
    }
    engine_close(&e);
    transformer_close(m);
    weights_free(&plain);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_float32),       cmocka_unit_test(ancestral_reveals_at_random),
        cmocka_unit_test(values_follow_the_model), cmocka_unit_test(infill_keeps_what_is_given),
        cmocka_unit_test(threads_do_not_matter),   cmocka_unit_test(ranks_by_its_confidence),
        cmocka_unit_test(shifted_logits),
    };
    return cmocka_run_group_tests(tests, infer_setup, infer_teardown);
}
