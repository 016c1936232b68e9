/* Samplers and the scheduler on small random models: how many positions a step writes and what is written there
 * (chi-square), that infill keeps what is given, that company, order, joining, leaving, the size of a forward and threads
 * do not matter. Token for token: tests/golden/test_samples. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <unistd.h>
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
#include "infer/likelihood.h"
#include "infer/scheduler.h"
#include "model/kvstore.h"
#include "model/transformer.h"
#include "model/weights.h"

enum { V = 30, BLOCK = 48, MASK = 30, INSIDE = 11, THREADS = 3 };

enum { SHIFTED = 2, MODELS }; /* an mdm whose logits are those of the next token, the mask inside the vocabulary */
static struct weights models[MODELS]; /* the first two by family */
static float *flat[MODELS];

static void open_models(void) {
    struct err err = {0};
    for (int f = 0; f < MODELS; f++) {
        const struct config c = {.family = f == SHIFTED ? FAMILY_MDM : (enum family)f,
                                 .block_size = BLOCK,
                                 .vocab_size = V,
                                 .padded_vocab_size = V,
                                 .mask_id = f == FAMILY_MDM ? MASK
                                            : f == SHIFTED  ? INSIDE
                                                            : -1,
                                 .mask_inside = f == SHIFTED,
                                 .shifted = f == SHIFTED,
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

static void add(struct scheduler *s, struct request *r) {
    struct err err = {0};
    if (scheduler_add(s, r, &err) < 0) fail_msg("%s", err.msg);
}

static void run_requests(struct engine *e, struct request *r, int64_t n) {
    struct err err = {0};
    struct scheduler *s;
    assert_int_equal(scheduler_open(&s, e, SCHEDULER_STORES, &err), 0);
    for (int64_t i = 0; i < n; i++) add(s, &r[i]);
    if (scheduler_run(s, &err) < 0) fail_msg("%s", err.msg);
    scheduler_close(s);
    for (int64_t i = 0; i < n; i++) assert_true(r[i].done);
}

/* Requests like `like`, one for each sequence ids[starts[i], starts[i + 1]), as samples first, first + 1, … */
static void run_texts(struct engine *e, const struct request *like, int32_t *ids, const int64_t *starts, int64_t nseq) {
    struct err err = {0};
    struct request *r = mem_alloc(nseq, sizeof *r, "test requests", &err);
    assert_non_null(r);
    for (int64_t i = 0; i < nseq; i++) {
        r[i] = *like;
        r[i].ids = ids + starts[i];
        r[i].n = r[i].room = starts[i + 1] - starts[i];
        r[i].sample += (uint64_t)i;
    }
    run_requests(e, r, nseq);
    mem_free(r);
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

/* ---- many at once ---- */

enum { MIXED = 40, MOST = BLOCK };
static int32_t mixed_ids[MIXED][MOST], mixed_want[MIXED][MOST];
static int64_t mixed_length[MIXED];

/* Every row of the batch is a sequence of its own, and others wait: the list of those that run has no place more. */
static void sequences_of_one_row_fill_the_batch(void **state) {
    (void)state;
    enum { ROWS = 8, N = 3 * ROWS + 1 };
    struct engine e;
    int32_t ids[N];
    int64_t starts[N + 1];
    for (int i = 0; i <= N; i++) starts[i] = i;
    for (int i = 0; i < N; i++) ids[i] = MASK;
    open_engine(&e, FAMILY_MDM, ROWS, false);
    run_texts(&e, &(struct request){.sampler = &sampler_confidence, .steps = 1}, ids, starts, N);
    assert_int_equal(e.forwards, 4);
    assert_int_equal(e.rows, N);
    for (int i = 0; i < N; i++) assert_int_not_equal(ids[i], MASK);
    engine_close(&e);
}

/* Requests of all kinds: lengths, samplers, steps, guidance, temperatures, seeds. */
static void make_mixed(struct request *r, enum family f, bool guided) {
    int samplers_n = 0;
    while (samplers[samplers_n]) samplers_n++;
    for (uint64_t i = 0; i < MIXED; i++) {
#define DRAW(what, n) (int64_t) rng_below(2, RNG_TEST, what, i, n)
        const int64_t n = 1 + DRAW(0, 12), room = n + DRAW(1, MOST - (uint64_t)n + 1);
        for (int64_t p = 0; p < room; p++)
            mixed_ids[i][p] = p < n ? (int32_t)rng_below(2, RNG_TEST, 2, i << 16 | (uint64_t)p, V) : MASK;
        r[i] = (struct request){.sampler = f == FAMILY_ARM ? &sampler_causal : samplers[DRAW(3, (uint64_t)samplers_n)],
                                .ids = mixed_ids[i],
                                .n = f == FAMILY_ARM ? n : room,
                                .room = room,
                                .steps = 1 + DRAW(4, 30),
                                .temperature = 0.5 * (double)DRAW(5, 4),
                                .cfg = guided ? 0.6 * (double)DRAW(6, 3) : 0,
                                .seed = (uint64_t)DRAW(7, 3),
                                .sample = (uint64_t)DRAW(8, 5),
                                .end_id = (int32_t)DRAW(9, V)};
    }
}

static void must_be_as_alone(const struct request *r) {
    for (int64_t i = 0; i < MIXED; i++) {
        assert_true(r[i].done && !r[i].cancelled);
        assert_int_equal(r[i].n, mixed_length[i]);
        assert_memory_equal(mixed_ids[i], mixed_want[i], (size_t)r[i].n * sizeof(int32_t));
    }
}

static struct scheduler *joined; /* that join_some() adds to */
static struct request *joining;
static int64_t njoined;

static void join_some(struct request *r) {
    (void)r;
    for (int k = 0; k < 3 && njoined < MIXED; k++) add(joined, &joining[njoined++]);
}

/* Each alone; then all in one queue, in several orders and sizes of a forward; then joining while others run. */
static void company_does_not_matter(void **state) {
    (void)state;
    struct err err = {0};
    for (int f = 0; f < 2; f++) {
        const bool guided = f == FAMILY_MDM;
        struct request r[MIXED];
        struct engine e;
        const int64_t sizes[] = {2 * MOST * MIXED, 2 * MOST, 5 * MOST};
        make_mixed(r, (enum family)f, guided);
        open_engine(&e, (enum family)f, sizes[0], guided);
        for (int64_t i = 0; i < MIXED; i++) run_requests(&e, &r[i], 1);
        for (int64_t i = 0; i < MIXED; i++) mixed_length[i] = r[i].n;
        memcpy(mixed_want, mixed_ids, sizeof mixed_want);
        engine_close(&e);
        for (int way = 0; way < 9; way++) { /* 3 sizes; forward, backward, shuffled */
            struct scheduler *s;
            make_mixed(r, (enum family)f, guided);
            open_engine(&e, (enum family)f, sizes[way % 3], guided);
            assert_int_equal(scheduler_open(&s, &e, SCHEDULER_STORES, &err), 0);
            for (int64_t i = 0; i < MIXED; i++) add(s, &r[way < 3 ? i : way < 6 ? MIXED - 1 - i : (i * 7 + 3) % MIXED]);
            assert_int_equal(scheduler_run(s, &err), 0);
            scheduler_close(s);
            must_be_as_alone(r);
            engine_close(&e);
        }
        make_mixed(r, (enum family)f, guided);
        open_engine(&e, (enum family)f, 300, guided);
        assert_int_equal(scheduler_open(&joined, &e, SCHEDULER_STORES, &err), 0);
        joining = r;
        njoined = 0;
        for (int64_t i = 0; i < MIXED; i++) r[i].step = join_some;
        join_some(NULL);
        assert_int_equal(scheduler_run(joined, &err), 0);
        assert_int_equal(njoined, MIXED);
        must_be_as_alone(r);
        scheduler_close(joined);
        engine_close(&e);
    }
}

static void cancel_at_three(struct request *r) {
    if (r->steps_done == 3) r->cancelled = true;
}

/* One is cancelled by its own callback, one while it waits: both leave, the others go on as if alone. */
static void requests_can_be_cancelled(void **state) {
    (void)state;
    struct err err = {0};
    for (int f = 0; f < 2; f++) {
        enum { N = 4, LEN = 20 };
        struct engine e;
        struct scheduler *s;
        int32_t ids[N][LEN], want[LEN];
        struct request r[N];
        open_engine(&e, (enum family)f, 3 * LEN, false);
        for (int64_t i = 0; i < N; i++) {
            for (int p = 0; p < LEN; p++) ids[i][p] = p < 2 ? p : MASK;
            r[i] = (struct request){.sampler = f == FAMILY_MDM ? &sampler_confidence : &sampler_causal,
                                    .ids = ids[i],
                                    .n = f == FAMILY_MDM ? LEN : 2,
                                    .room = LEN,
                                    .steps = 18,
                                    .temperature = 1,
                                    .end_id = -1};
        }
        run_requests(&e, &r[0], 1);
        memcpy(want, ids[0], sizeof want);
        for (int p = 0; p < LEN; p++) ids[0][p] = p < 2 ? p : MASK;
        r[0].n = f == FAMILY_MDM ? LEN : 2;
        r[1].step = cancel_at_three;
        assert_int_equal(scheduler_open(&s, &e, SCHEDULER_STORES, &err), 0);
        for (int64_t i = 0; i < N; i++) add(s, &r[i]);
        r[2].cancelled = true;
        int64_t steps = 0;
        while (scheduler_step(s, &err) > 0) {
            steps++;
            assert_int_equal(r[1].done, r[1].steps_done >= 3);
        }
        scheduler_close(s);
        assert_int_equal(r[1].steps_done, 3);
        assert_int_equal(r[2].steps_done, 0);
        for (int64_t i = 0; i < N; i++) assert_true(r[i].done);
        assert_memory_equal(ids[0], want, sizeof want);
        assert_memory_equal(ids[3], want, sizeof want);
        engine_close(&e);
    }
}

static void *cancel_soon(void *request) {
    usleep(20000);
    ((struct request *)request)->cancelled = true;
    return NULL;
}

/* From another thread, while it goes through hours of steps that need no forward. */
static void cancelled_by_another_thread(void **state) {
    (void)state;
    struct err err = {0};
    struct engine e;
    struct scheduler *s;
    pthread_t thread;
    int32_t ids[] = {1, 2, MASK};
    struct request r = {
        .sampler = &sampler_confidence, .ids = ids, .n = 3, .room = 3, .steps = INT32_MAX, .temperature = 1};
    open_engine(&e, FAMILY_MDM, 10, false);
    assert_int_equal(scheduler_open(&s, &e, SCHEDULER_STORES, &err), 0);
    add(s, &r);
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &r), 0);
    assert_int_equal(scheduler_run(s, &err), 0);
    pthread_join(thread, NULL);
    assert_true(r.done && r.steps_done < r.steps && ids[2] == MASK);
    scheduler_close(s);
    engine_close(&e);
}

/* Once it runs, a step takes no memory; and what leaves gives back what it had. */
static void steps_take_no_memory(void **state) {
    (void)state;
    struct err err = {0};
    for (int f = 0; f < 2; f++) {
        enum { N = 3, LEN = 40 };
        struct engine e;
        struct scheduler *s;
        static int32_t ids[N][LEN];
        struct request r[N];
        open_engine(&e, (enum family)f, 2 * N * LEN, f == FAMILY_MDM);
        assert_int_equal(scheduler_open(&s, &e, SCHEDULER_STORES, &err), 0);
        const int64_t before = mem_in_use();
        for (int64_t i = 0; i < N; i++) {
            for (int p = 0; p < LEN; p++) ids[i][p] = p < 2 ? p : MASK;
            r[i] = (struct request){.sampler = f == FAMILY_MDM ? samplers[i] : &sampler_causal,
                                    .ids = ids[i],
                                    .n = f == FAMILY_MDM ? LEN : 2,
                                    .room = LEN,
                                    .steps = 30,
                                    .temperature = (double)i / 2,
                                    .cfg = f == FAMILY_MDM ? (double)i : 0,
                                    .end_id = -1};
            add(s, &r[i]);
        }
        for (int k = 0; k < 2; k++) assert_int_equal(scheduler_step(s, &err), 1);
        const int64_t calls = mem_calls();
        while (scheduler_step(s, &err) > 0) {
        }
        assert_int_equal(mem_calls(), calls);
        assert_int_equal(mem_in_use(), before);
        scheduler_close(s);
        engine_close(&e);
    }
}

/* Stores within a given memory, one at least: fewer at a time, the same tokens. */
static void stores_are_bounded(void **state) {
    (void)state;
    enum { N = 6, START = 4 };
    struct err err = {0};
    struct engine e;
    const int64_t each = kvstore_bytes(&models[FAMILY_ARM].config, BLOCK, DTYPE_F32);
    static int32_t ids[N][BLOCK], want[N][BLOCK];
    open_engine(&e, FAMILY_ARM, N * BLOCK, false);
    for (int most = N; most >= 0; most -= 2) { /* all at once; fewer; none fits, so one at a time */
        struct request r[N];
        struct scheduler *s;
        int64_t steps = 0, peak = 0;
        assert_int_equal(scheduler_open(&s, &e, most * each + each / 2, &err), 0);
        const int64_t before = mem_in_use();
        for (int64_t i = 0; i < N; i++) {
            for (int p = 0; p < START; p++) ids[i][p] = (int32_t)(3 * i + p);
            r[i] = (struct request){.sampler = &sampler_causal,
                                    .ids = ids[i],
                                    .n = START,
                                    .room = BLOCK,
                                    .steps = BLOCK,
                                    .temperature = 1,
                                    .sample = (uint64_t)i,
                                    .end_id = -1};
            add(s, &r[i]);
        }
        while (scheduler_step(s, &err) > 0) {
            const int64_t used = mem_in_use() - before;
            if (used > peak) peak = used;
            steps++;
        }
        scheduler_close(s);
        const int64_t running = most > 0 ? most : 1;
        assert_true(peak > (running - 1) * each + each / 2 && peak < (running + 1) * each);
        assert_int_equal(steps + 1, (N + running - 1) / running * (BLOCK - START));
        if (most == N) memcpy(want, ids, sizeof want);
        assert_memory_equal(ids, want, sizeof want);
    }
    engine_close(&e);
}

/* ---- left to right ---- */

/* Against full forwards at temperature 0. */
static void causal_decodes(void **state) {
    (void)state;
    struct engine e;
    struct err err = {0};
    int32_t ids[BLOCK] = {7, 3, 11};
    struct request r = {.sampler = &sampler_causal, .ids = ids, .n = 3, .room = BLOCK, .steps = BLOCK, .end_id = -1};
    open_engine(&e, FAMILY_ARM, BLOCK, false);
    run_requests(&e, &r, 1);
    engine_close(&e);
    assert_int_equal(r.n, BLOCK);
    struct transformer *m;
    static float z[BLOCK * V];
    const int64_t all[2] = {0, BLOCK};
    assert_int_equal(transformer_open(&m, &models[1], &(struct transformer_settings){.max_rows = BLOCK}, &err), 0);
    transformer_logits(m, &(struct batch){.tokens = ids, .starts = all, .n = BLOCK, .nseq = 1}, z);
    for (int64_t i = 3; i < BLOCK; i++) assert_int_equal(ids[i], kernels->argmax(z + (i - 1) * V, V));
    transformer_close(m);
}

static void causal_stops_at_the_end_id(void **state) {
    (void)state;
    struct engine e;
    int32_t ids[BLOCK] = {5}, again[BLOCK] = {5};
    struct request r = {.sampler = &sampler_causal,
                        .ids = ids,
                        .n = 1,
                        .room = BLOCK,
                        .steps = BLOCK,
                        .temperature = 1,
                        .seed = 1,
                        .end_id = -1};
    open_engine(&e, FAMILY_ARM, BLOCK, false);
    struct request stops = r, full = r;
    run_requests(&e, &r, 1);
    stops.ids = again;
    stops.end_id = ids[9];
    int64_t want = 1;
    while (ids[want] != stops.end_id) want++;
    run_requests(&e, &stops, 1);
    assert_int_equal(stops.n, want + 1);
    assert_memory_equal(ids, again, (size_t)stops.n * sizeof *ids);
    assert_int_equal(stops.written, want);
    assert_int_equal(stops.nfe, want);
    full.n = full.room; /* nothing to do */
    run_requests(&e, &full, 1);
    assert_int_equal(full.written, 0);
    engine_close(&e);
}

static void bad_requests_are_refused(void **state) {
    (void)state;
    struct engine mdm, arm, small;
    struct err err;
    struct scheduler *sm, *sa, *ss;
    int32_t ids[BLOCK + 1] = {0}, bad[2] = {MASK + 1, MASK};
    open_engine(&small, FAMILY_MDM, 10, false);
    assert_int_equal(scheduler_open(&ss, &small, SCHEDULER_STORES, &err), 0);
    open_engine(&mdm, FAMILY_MDM, 3 * BLOCK, false);
    open_engine(&arm, FAMILY_ARM, 3 * BLOCK, false);
    assert_int_equal(scheduler_open(&sm, &mdm, SCHEDULER_STORES, &err), 0);
    assert_int_equal(scheduler_open(&sa, &arm, SCHEDULER_STORES, &err), 0);
    const struct request good = {.sampler = &sampler_confidence, .ids = ids, .n = 4, .room = 4, .steps = 4},
                         left = {.sampler = &sampler_causal, .ids = ids, .n = 2, .room = 4, .steps = 4};
    struct request r;
#define REFUSES(scheduler, start, ...)                                                                                 \
    do {                                                                                                               \
        r = start;                                                                                                     \
        __VA_ARGS__;                                                                                                   \
        err.msg[0] = 0;                                                                                                \
        assert_int_equal(scheduler_add(scheduler, &r, &err), -1);                                                      \
        assert_true(strlen(err.msg) > 10);                                                                             \
    } while (0)
    REFUSES(sm, good, r.ids = bad, r.n = r.room = 2);
    REFUSES(sm, good, r.n = r.room = BLOCK + 1);
    REFUSES(sm, good, r.n = r.room = 0);
    REFUSES(sm, good, r.steps = 0);
    REFUSES(sm, good, r.temperature = -1);
    REFUSES(sm, good, r.temperature = NAN);
    REFUSES(sm, good, r.cfg = -1);
    REFUSES(sm, good, r.cfg = 1); /* its engine was opened without guidance */
    REFUSES(ss, good, r.n = r.room = 11);
    assert_non_null(strstr(err.msg, "do not fit a batch of 10"));
    REFUSES(sa, good, (void)0);
    REFUSES(sm, left, (void)0);
    REFUSES(sa, left, r.n = 0);
    REFUSES(sa, left, r.n = 9);
    REFUSES(sa, left, r.room = BLOCK + 1);
    REFUSES(sa, left, r.ids = bad);
    assert_int_equal(scheduler_step(sm, &err), 0); /* nothing got in */
    scheduler_close(sm);
    scheduler_close(sa);
    scheduler_close(ss);
    engine_close(&mdm);
    engine_close(&arm);
    engine_close(&small);
}

/* A request with fresh ids, through a scheduler of its own. */
static int try_request(struct engine *e, enum family f, struct err *err) {
    struct scheduler *s;
    int32_t ids[6] = {1, 2, 3, MASK, MASK, MASK};
    struct request r = {.sampler = f == FAMILY_MDM ? &sampler_confidence : &sampler_causal,
                        .ids = ids,
                        .n = f == FAMILY_MDM ? 6 : 3,
                        .room = 6,
                        .steps = 2,
                        .cfg = f == FAMILY_MDM,
                        .end_id = -1};
    if (scheduler_open(&s, e, SCHEDULER_STORES, err) < 0) return -1;
    int status = scheduler_add(s, &r, err);
    if (status == 0) status = scheduler_run(s, err);
    scheduler_close(s);
    return status;
}

/* Where the model gives no token a number, here behind a token whose row of the embedding is damaged, the request leaves
 * and nothing is written; the one that comes to its end in that step, and the one that goes on, are as without it. */
static void no_numbers(void **state) {
    (void)state;
    enum { DAMAGED = 5, WIDTH = 16, N = 3, GIVEN = 4, ROOM = 8 };
    for (int f = 0; f < 2; f++) {
        struct err err = {0};
        struct engine e;
        struct scheduler *s;
        const bool arm = f == FAMILY_ARM;
        float whole[WIDTH], *at = flat[f] + DAMAGED * WIDTH; /* the embedding comes first */
        int32_t ids[2][N][ROOM] = {{{0}}};
        const int64_t before = mem_in_use();
        memcpy(whole, at, sizeof whole);
        for (int run = 0; run < 2; run++) {
            struct request r[N];
            for (int i = 0; i < N; i++) {
                for (int k = 0; k < ROOM; k++) ids[run][i][k] = k < GIVEN ? 1 + k : MASK;
                if (i == 1 && run == 1) ids[run][i][2] = DAMAGED;
                r[i] = (struct request){.sampler = arm ? &sampler_causal : &sampler_confidence,
                                        .ids = ids[run][i],
                                        .n = arm ? GIVEN : ROOM,
                                        .room = arm && i == 0 ? GIVEN + 1 : ROOM, /* one step, and more */
                                        .steps = i == 0 ? 1 : 2,
                                        .cfg = !arm,
                                        .end_id = -1};
            }
            for (int i = 0; i < WIDTH; i++) at[i] = NAN;
            open_engine(&e, (enum family)f, 64, !arm);
            assert_int_equal(scheduler_open(&s, &e, SCHEDULER_STORES, &err), 0);
            for (int i = 0; i < N; i++) add(s, &r[i]);
            assert_int_equal(scheduler_step(s, &err), 1);
            assert_true(r[0].done && r[1].done == (run == 1) && !r[2].done);
            assert_int_equal(scheduler_run(s, &err), 0);
            scheduler_close(s);
            engine_close(&e);
            for (int i = 0; i < N; i++) assert_int_equal(scheduler_check(&r[i], &err), i == 1 && run == 1 ? -1 : 0);
            assert_int_equal(r[1].written, run == 1 ? 0 : ROOM - GIVEN);
        }
        assert_non_null(strstr(err.msg, "the model gives no token a number (NaN)"));
        for (int i = 0; i < N; i += 2) assert_memory_equal(ids[0][i], ids[1][i], sizeof ids[0][i]);
        assert_int_equal(mem_in_use(), before);
        memcpy(at, whole, sizeof whole);
    }
}

/* Every allocation fails in turn: -1 and a message, or success once they are all through; nothing is left behind. */
static void allocations_fail(void **state) {
    (void)state;
    const int32_t prefix[3] = {1, 2, 3}, target[2] = {4, 5};
    const struct likelihood_item item = {prefix, target, 3, 2};
    const struct likelihood_settings mc = {.mc_draws = 4, .mc_batch = 2, .greedy = true};
    int failures = 0;
    for (int job = 0; job < 4; job++)
        for (long n = 0, done = 0; !done; n++) {
            struct err err = {0};
            struct engine e = {0};
            struct likelihood_result r;
            const int64_t before = mem_in_use();
            const enum family f = job == 2 ? FAMILY_ARM : FAMILY_MDM;
            fault_set(FAULT_ALLOC, job == 3 ? n : 0,
                      false); /* opening fails in the last job, n = 0 is without faults */
            int status =
                engine_open(&e, &models[f], &(struct engine_settings){.max_rows = 20, .guided = f == FAMILY_MDM}, &err);
            fault_set(FAULT_ALLOC, n, false);
            if (status == 0 && (job == 0 || job == 2)) status = try_request(&e, f, &err);
            if (status == 0 && job == 1) status = likelihood(&e, &mc, &item, 1, &r, &err);
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
        cmocka_unit_test(ancestral_reveals_at_random),
        cmocka_unit_test(values_follow_the_model),
        cmocka_unit_test(infill_keeps_what_is_given),
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(ranks_by_its_confidence),
        cmocka_unit_test(shifted_logits),
        cmocka_unit_test(stores_are_bounded),
        cmocka_unit_test(sequences_of_one_row_fill_the_batch),
        cmocka_unit_test(company_does_not_matter),
        cmocka_unit_test(requests_can_be_cancelled),
        cmocka_unit_test(cancelled_by_another_thread),
        cmocka_unit_test(steps_take_no_memory),
        cmocka_unit_test(causal_decodes),
        cmocka_unit_test(causal_stops_at_the_end_id),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(no_numbers),
        cmocka_unit_test(allocations_fail),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (int f = 0; f < MODELS; f++) {
        weights_free(&models[f]);
        mem_free(flat[f]);
    }
    return failed;
}
