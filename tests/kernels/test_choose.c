/* choose: the choice follows softmax(logits/T) (chi-square), the bounded search over blocks in any order equals the plain
 * loop bit for bit, confidences and cross-entropies equal a softmax in long double, guided pairs equal guided rows, and
 * nothing depends on the number of threads or the instruction set. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"
#include "compute/choose.h"
#include "compute/kernels.h"

static float *make(int64_t n) {
    struct err err = {0};
    float *p = mem_alloc(n, sizeof *p, "test rows", &err);
    assert_non_null(p);
    return p;
}

static void normals(float *z, int64_t n, double spread, uint64_t sample) {
    rng_normal(z, n, 7, RNG_TEST, sample, 0);
    for (int64_t i = 0; i < n; i++) z[i] = (float)(z[i] * spread);
}

enum { FORWARD, BACKWARD, ORDERS }; /* of a row's blocks */
enum { PIECE = 24 };                /* rows of a block, even */

/* What the head does with logits[n or 2n, V], in an order of the blocks. */
static void choose_in_order(struct choice *out, const float *logits, int64_t n, int64_t V,
                            const struct choose_row *want, bool pairs, int order) {
    struct choose c;
    float *scratch = make(choose_scratch(n, V) / 4 + 1);
    const int64_t total = pairs ? 2 * n : n, pieces = (total + PIECE - 1) / PIECE;
    choose_begin(&c, want, n, V, pairs, scratch);
#pragma omp parallel for schedule(dynamic)
    for (int64_t task = 0; task < c.blocks * pieces; task++) {
        const int64_t k = order == BACKWARD ? c.blocks * pieces - 1 - task : task;
        const int64_t column = k / pieces * c.width, row = k % pieces * PIECE,
                      count = V - column < c.width ? V - column : c.width,
                      m = total - row < PIECE ? total - row : PIECE;
        float *z = make(m * count);
        for (int64_t i = 0; i < m; i++)
            memcpy(z + i * count, logits + (row + i) * V + column, (size_t)count * sizeof *z);
        choose_block(&c, z, row, m, column, count);
        mem_free(z);
    }
    choose_end(&c, out);
    mem_free(scratch);
}

static void choose_rows(struct choice *out, const float *logits, int64_t n, int64_t V, const struct choose_row *want) {
    choose_in_order(out, logits, n, V, want, false, FORWARD);
}

/* The definition: every token's score, the first largest. */
static int32_t brute(const float *z, int64_t V, const struct choose_row *w) {
    int64_t best = -1;
    double top = 0;
    for (int64_t v = 0; v < V; v++) {
        const double x = (double)z[v] - w->temperature * log(choose_noise(w, v));
        if (isnan(x) || (best >= 0 && !(x > top))) continue;
        best = v;
        top = x;
    }
    return best < 0 ? 0 : (int32_t)best;
}

static int compare_with_brute(float *z, int64_t V, double T, uint32_t place) {
    const struct choose_row w = {
        .seed = 11 + place, .sample = 3 + place, .step = place, .position = place * 7, .temperature = T, .target = -1};
    const int32_t want = brute(z, V, &w);
    for (int order = 0; order < ORDERS; order++) {
        struct choice c;
        choose_in_order(&c, z, 1, V, &w, false, order);
        assert_int_equal(c.id, want);
        assert_int_equal(c.position, w.position);
    }
    return ORDERS;
}

static void equals_the_plain_loop(void **state) {
    (void)state;
    static const int64_t sizes[] = {1, 2, 7, 8, 63, 64, 65, 127, 1000, 4099, 32000};
    static const double spreads[] = {0, 1e-3, 0.5, 3, 30}, temperatures[] = {1e-9, 1e-3, 0.1, 0.7, 1, 2.5, 50};
    float *z = make(32000);
    int compared = 0;
    for (int i = 0; i < 11; i++)
        for (int j = 0; j < 5; j++)
            for (int k = 0; k < 7; k++) {
                const int repeats = sizes[i] < 2000 ? 20 : 2;
                for (int r = 0; r < repeats; r++) {
                    const uint32_t place = (uint32_t)(((i * 5 + j) * 7 + k) * 20 + r);
                    normals(z, sizes[i], spreads[j], place);
                    compared += compare_with_brute(z, sizes[i], temperatures[k], place);
                }
            }
    printf("%d rows chosen as by the plain loop\n", compared);
    mem_free(z);
}

static void strange_logits(void **state) {
    (void)state;
    float z[200];
    for (uint32_t r = 0; r < 300; r++) {
        normals(z, 200, 2, r);
        for (int i = 0; i < 60; i++) {
            static const float odd[] = {-INFINITY, NAN, -1e30f, INFINITY};
            z[rng_below(r, RNG_TEST, 1, (uint64_t)i, 200)] = odd[(unsigned)i % (r % 2 ? 3 : 4)];
        }
        compare_with_brute(z, 200, 0.9, r);
    }
    enum { LONG = 1000 }; /* several blocks, whole ones of them strange */
    float *wide = make(LONG);
    for (int what = 0; what < 6; what++)
        for (int hot = 0; hot < 2; hot++) {
            normals(wide, LONG, 2, 1);
            for (int i = 0; i < LONG; i++)
                if (what < 2 || (what < 4) == (i < LONG / 2)) wide[i] = what % 2 ? NAN : -INFINITY;
            compare_with_brute(wide, LONG, hot, 1);
        }
    for (int i = 0; i < LONG; i++) wide[i] = (float)(i % 3 == 0); /* many firsts of equals */
    compare_with_brute(wide, LONG, 0, 1);
    for (int from = LONG - 1; from >= 0;
         from = from > 0 && from < 333 ? 0 : from - 333) { /* one or many: a model gone wrong must not look well */
        struct choice c;
        for (int i = from; i < LONG; i++) wide[i] = NAN;
        choose_rows(&c, wide, 1, LONG, &(struct choose_row){.target = 0, .confidence = CONFIDENCE_PROBABILITY});
        assert_true(isnan(c.loss) && isnan(c.confidence) && c.none == (from == 0));
        choose_rows(&c, wide, 1, LONG, &(struct choose_row){.target = 0, .temperature = 1});
        assert_true(c.none == (from == 0));
    }
    for (int i = 0; i < LONG; i++) wide[i] = -INFINITY; /* a number all the same */
    for (int hot = 0; hot < 2; hot++) {
        struct choice c;
        choose_rows(&c, wide, 1, LONG, &(struct choose_row){.target = -1, .temperature = hot});
        assert_false(c.none);
    }
    mem_free(wide);
}

static void follows_softmax(void **state) {
    (void)state;
    enum { V = 70, DRAWS = 40000 };
    static const double temperatures[] = {0.5, 1, 1.7};
    static float z[V], logits[100 * V];
    normals(z, V, 1.5, 1);
    for (int i = 0; i < 100; i++) memcpy(logits + i * V, z, sizeof z);
    for (int k = 0; k < 3; k++) {
        double p[V], sum = 0, chi = 0;
        int count[V] = {0}, cells = 0;
        for (int v = 0; v < V; v++) sum += p[v] = exp((double)z[v] / temperatures[k]);
        for (int i = 0; i < DRAWS; i += 100) {
            struct choose_row want[100];
            struct choice c[100];
            for (int j = 0; j < 100; j++)
                want[j] = (struct choose_row){.seed = 5,
                                              .sample = (uint64_t)k,
                                              .step = (uint32_t)i / 1000,
                                              .position = (uint32_t)(i % 1000 + j),
                                              .temperature = temperatures[k],
                                              .target = -1};
            choose_rows(c, logits, 100, V, want);
            for (int j = 0; j < 100; j++) count[c[j].id]++;
        }
        double rare_p = 0, rare_n = 0; /* cells with few expected draws are one cell */
        for (int v = 0; v < V; v++) {
            const double want = DRAWS * p[v] / sum;
            if (want < 10) {
                rare_p += want;
                rare_n += count[v];
                continue;
            }
            chi += (count[v] - want) * (count[v] - want) / want;
            cells++;
        }
        if (rare_p > 0) chi += (rare_n - rare_p) * (rare_n - rare_p) / rare_p;
        const double freedom = cells - (rare_p > 0 ? 0 : 1), limit = freedom + 4 * sqrt(2 * freedom);
        printf("temperature %.1f: chi-square %.1f, %g degrees of freedom, limit %.1f\n", temperatures[k], chi, freedom,
               limit);
        assert_true(chi < limit);
    }
}

/* Mean and variance of E = 1 to 4 sigma, and no correlation between neighbouring tokens and positions. */
static void noise_is_exponential(void **state) {
    (void)state;
    enum { N = 200000 };
    double sum = 0, squares = 0, tokens = 0, positions = 0;
    for (int64_t i = 0; i < N; i++) {
        const struct choose_row a = {.seed = 1, .position = (uint32_t)(i / 1000)},
                                b = {.seed = 1, .position = (uint32_t)(i / 1000 + 1)};
        const double e = choose_noise(&a, i % 1000);
        assert_true(e > 0 && e < 37);
        sum += e;
        squares += (e - 1) * (e - 1);
        tokens += (e - 1) * (choose_noise(&a, i % 1000 + 1) - 1);
        positions += (e - 1) * (choose_noise(&b, i % 1000) - 1);
    }
    const double sigma = 1 / sqrt(N);
    assert_true(fabs(sum / N - 1) < 4 * sigma);
    assert_true(fabs(squares / N - 1) < 4 * sqrt(8) * sigma);
    assert_true(fabs(tokens / N) < 4 * sigma);
    assert_true(fabs(positions / N) < 4 * sigma);
}

/* Probability, margin, negative entropy and the cross-entropy of a token, plainly, in long double. */
struct softmax {
    long double p, margin, entropy, loss;
};

static struct softmax softmax_of(const float *z, int64_t V, int32_t id, int32_t target) {
    struct softmax s = {0};
    long double sum = 0, first = -INFINITY, second = -INFINITY;
    for (int64_t v = 0; v < V; v++) {
        if ((long double)z[v] > first) {
            second = first;
            first = (long double)z[v];
        } else if ((long double)z[v] > second) {
            second = (long double)z[v];
        }
    }
    for (int64_t v = 0; v < V; v++) sum += expl((long double)z[v] - first);
    for (int64_t v = 0; v < V; v++) {
        const long double p = expl((long double)z[v] - first) / sum;
        if (p > 0) s.entropy += p * logl(p);
    }
    s.p = expl((long double)z[id] - first) / sum;
    s.margin = (1 - expl(second - first)) / sum;
    s.loss = logl(sum) + first - (long double)z[target];
    return s;
}

static double off(double got, long double want, double scale) {
    return fabs((double)((long double)got - want)) / scale;
}

static void confidence_is_softmax(void **state) {
    (void)state;
    static const int64_t sizes[] = {1, 5, 16, 17, 96, 999, 32000};
    static const double spreads[] = {0, 1, 10, 100};
    float *z = make(32000);
    double worst[4] = {0};
    for (int i = 0; i < 7; i++)
        for (int j = 0; j < 4; j++)
            for (int hot = 0; hot < 2; hot++) {
                const int64_t V = sizes[i];
                struct choice c[3];
                normals(z, V, spreads[j], (uint64_t)j);
                if (V > 20) z[V - 3] = -INFINITY;
                for (int kind = CONFIDENCE_PROBABILITY; kind <= CONFIDENCE_ENTROPY; kind++)
                    choose_rows(&c[kind - CONFIDENCE_PROBABILITY], z, 1, V,
                                &(struct choose_row){.seed = 2,
                                                     .sample = 9,
                                                     .temperature = hot,
                                                     .target = (int32_t)(V / 2),
                                                     .confidence = (enum confidence)kind});
                const struct softmax want = softmax_of(z, V, c[0].id, (int32_t)(V / 2));
                worst[0] = fmax(worst[0], off(c[0].confidence, want.p, (double)want.p));
                worst[1] = fmax(worst[1], off(c[1].confidence, want.margin, 1));
                worst[2] = fmax(worst[2], off(c[2].confidence, want.entropy, 1));
                for (int k = 0; k < 3; k++) worst[3] = fmax(worst[3], off(c[k].loss, want.loss, 1));
                if (hot == 0)
                    for (int64_t v = 0; v < V; v++) assert_true(z[v] < z[c[0].id] || v >= c[0].id);
            }
    printf("largest errors: probability %.1e (relative), margin %.1e, entropy %.1e, cross-entropy %.1e\n", worst[0],
           worst[1], worst[2], worst[3]);
    assert_true(worst[0] < 1e-12 && worst[1] < 1e-12 && worst[2] < 1e-11 && worst[3] < 1e-12);
    mem_free(z);
}

/* Pairs give what rows give whose logits are the guided ones. */
static void pairs_are_guided(void **state) {
    (void)state;
    enum { N = 40, V = 999 };
    float *z = make((int64_t)2 * N * V), *guided = make((int64_t)N * V);
    struct choose_row want[N];
    struct choice pairs[N], plain[N];
    normals(z, (int64_t)2 * N * V, 2, 3);
    for (uint32_t i = 0; i < N; i++) {
        want[i] = (struct choose_row){.seed = 1,
                                      .position = i,
                                      .temperature = i % 2,
                                      .cfg = 0.5F * (float)(i % 4),
                                      .target = 7,
                                      .confidence = CONFIDENCE_PROBABILITY};
        for (int64_t v = 0; v < V; v++) {
            const float *c = z + 2 * i * V, *u = c + V;
            guided[i * V + v] = c[v];
            kernels->guide(&guided[i * V + v], &u[v], want[i].cfg, 1);
        }
    }
    choose_in_order(pairs, z, N, V, want, true, BACKWARD);
    choose_rows(plain, guided, N, V, want);
    for (int i = 0; i < N; i++) {
        assert_int_equal(pairs[i].id, plain[i].id);
        assert_true(pairs[i].confidence == plain[i].confidence && pairs[i].loss == plain[i].loss);
    }
    mem_free(z);
    mem_free(guided);
}

static void threads_do_not_matter(void **state) {
    (void)state;
    enum { N = 64, V = 999 };
    float *z = make((int64_t)N * V);
    struct choose_row want[N];
    struct choice one[N], four[N];
    normals(z, (int64_t)N * V, 3, 1);
    for (uint32_t i = 0; i < N; i++)
        want[i] = (struct choose_row){.seed = 1,
                                      .sample = i % 3,
                                      .step = 4,
                                      .position = i,
                                      .temperature = 1,
                                      .target = (int32_t)i,
                                      .confidence = (enum confidence)(i % 4)};
    const int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    choose_rows(one, z, N, V, want);
    omp_set_num_threads(4);
    choose_rows(four, z, N, V, want);
    omp_set_num_threads(threads);
    for (int i = 0; i < N; i++) {
        assert_int_equal(one[i].id, four[i].id);
        assert_true(one[i].confidence == four[i].confidence && one[i].loss == four[i].loss);
    }
    mem_free(z);
}

static void order_and_ties(void **state) {
    (void)state;
    struct choice v[] = {{.confidence = 0.5, .position = 0}, {.confidence = NAN, .position = 1},
                         {.confidence = 0.5, .position = 2}, {.confidence = 0.9, .position = 3},
                         {.confidence = 0.1, .position = 4}, {.confidence = 0.9, .position = 5}};
    static const uint32_t want[] = {3, 5, 0, 2, 4, 1};
    choose_sort(v, 6);
    for (int i = 0; i < 6; i++) assert_int_equal(v[i].position, want[i]);
}

/* Sums of a row have the bits that any instruction set gives them. */
static void sets_do_not_matter(void **state) {
    (void)state;
    enum { N = 8, V = 1003 };
    float *z = make((int64_t)N * V);
    struct choice c[CPU_ISAS][N];
    struct choose_row want[N];
    memset(c, 0, sizeof c);
    normals(z, (int64_t)N * V, 30, 5);
    for (uint32_t i = 0; i < N; i++)
        want[i] = (struct choose_row){.position = i, .target = (int32_t)i, .confidence = CONFIDENCE_ENTROPY};
    for (int isa = 0; isa < CPU_ISAS; isa++) {
        if (!cpu_has((enum cpu_isa)isa)) continue;
        setenv("MDM_ISA", cpu_isa_names[isa], 1);
        choose_rows(c[isa], z, N, V, want);
        assert_memory_equal(c[isa], c[CPU_SCALAR], sizeof c[isa]);
    }
    unsetenv("MDM_ISA");
    mem_free(z);
}

int main(void) {
    struct err err = {0};
    if (kernels_init(&err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_plain_loop), cmocka_unit_test(strange_logits),
        cmocka_unit_test(follows_softmax),       cmocka_unit_test(noise_is_exponential),
        cmocka_unit_test(confidence_is_softmax), cmocka_unit_test(pairs_are_guided),
        cmocka_unit_test(threads_do_not_matter), cmocka_unit_test(sets_do_not_matter),
        cmocka_unit_test(order_and_ties),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
