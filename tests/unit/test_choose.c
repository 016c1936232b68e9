/* choose: the choice follows softmax(logits/T) (chi-square), the bounded search equals the plain loop bit for bit, the
 * confidence equals a softmax in long double, and nothing depends on the number of threads. */
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
#include "base/mem.h"
#include "base/progress.h"
#include "base/rng.h"
#include "compute/kernels.h"
#include "infer/choose.h"

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

/* The definition: every token's score, the first largest. */
static int32_t brute(const float *z, int64_t V, uint64_t seed, const struct choose_key *key, double T) {
    int64_t best = -1;
    double top = 0;
    for (int64_t v = 0; v < V; v++) {
        const double x = (double)z[v] - T * log(choose_noise(seed, key, v));
        if (isnan(x) || (best >= 0 && !(x > top))) continue;
        best = v;
        top = x;
    }
    return best < 0 ? 0 : (int32_t)best;
}

static int compare_with_brute(float *z, int64_t V, double T, uint32_t place) {
    const struct choose_key key = {.sample = 3 + place, .step = place, .position = place * 7};
    const struct choose_settings s = {.seed = 11 + place, .temperature = T};
    struct choice c;
    choose_rows(&c, z, 1, V, &key, &s);
    assert_int_equal(c.id, brute(z, V, s.seed, &key, T));
    return 1;
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
    for (int i = 0; i < 200; i++) z[i] = -INFINITY;
    compare_with_brute(z, 200, 1, 1);
    for (int i = 0; i < 200; i++) z[i] = NAN;
    compare_with_brute(z, 200, 1, 1);
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
            struct choose_key keys[100];
            struct choice c[100];
            for (int j = 0; j < 100; j++)
                keys[j] = (struct choose_key){
                    .sample = (uint64_t)k, .step = (uint32_t)i / 1000, .position = (uint32_t)(i % 1000 + j)};
            choose_rows(c, logits, 100, V, keys, &(struct choose_settings){.seed = 5, .temperature = temperatures[k]});
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
        const struct choose_key a = {.position = (uint32_t)(i / 1000)}, b = {.position = (uint32_t)(i / 1000 + 1)};
        const double e = choose_noise(1, &a, i % 1000);
        assert_true(e > 0 && e < 37);
        sum += e;
        squares += (e - 1) * (e - 1);
        tokens += (e - 1) * (choose_noise(1, &a, i % 1000 + 1) - 1);
        positions += (e - 1) * (choose_noise(1, &b, i % 1000) - 1);
    }
    const double sigma = 1 / sqrt(N);
    assert_true(fabs(sum / N - 1) < 4 * sigma);
    assert_true(fabs(squares / N - 1) < 4 * sqrt(8) * sigma);
    assert_true(fabs(tokens / N) < 4 * sigma);
    assert_true(fabs(positions / N) < 4 * sigma);
}

static void confidence_is_softmax(void **state) {
    (void)state;
    static const int64_t sizes[] = {1, 5, 16, 17, 96, 32000};
    static const double spreads[] = {0, 1, 10, 100};
    float *z = make(32000);
    double worst = 0;
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 4; j++) {
            const int64_t V = sizes[i];
            struct choice c;
            const struct choose_key key = {.sample = 9};
            normals(z, V, spreads[j], (uint64_t)j);
            if (V > 20) z[V - 3] = -INFINITY;
            for (int hot = 0; hot < 2; hot++) {
                choose_rows(&c, z, 1, V, &key,
                            &(struct choose_settings){.seed = 2, .temperature = hot, .confidence = true});
                long double sum = 0;
                for (int64_t v = 0; v < V; v++) sum += expl((long double)z[v] - (long double)z[c.id]);
                worst = fmax(worst, fabs((double)((long double)c.confidence * sum - 1)));
                if (hot == 0)
                    for (int64_t v = 0; v < V; v++) assert_true(z[v] < z[c.id] || v >= c.id);
            }
        }
    printf("confidence: largest relative error %.1e\n", worst);
    assert_true(worst < 1e-12);
    mem_free(z);
}

static void threads_do_not_matter(void **state) {
    (void)state;
    enum { N = 64, V = 999 };
    float *z = make((int64_t)N * V);
    struct choose_key keys[N];
    struct choice one[N], four[N];
    normals(z, N * V, 3, 1);
    for (uint32_t i = 0; i < N; i++) keys[i] = (struct choose_key){.sample = i % 3, .step = 4, .position = i};
    const struct choose_settings s = {.seed = 1, .temperature = 1, .confidence = true};
    const int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    choose_rows(one, z, N, V, keys, &s);
    omp_set_num_threads(4);
    choose_rows(four, z, N, V, keys, &s);
    omp_set_num_threads(threads);
    for (int i = 0; i < N; i++) {
        assert_int_equal(one[i].id, four[i].id);
        assert_true(one[i].confidence == four[i].confidence);
    }
    mem_free(z);
}

static void order_and_ties(void **state) {
    (void)state;
    struct choose_order v[] = {{0.5, 0}, {NAN, 1}, {0.5, 2}, {0.9, 3}, {0.1, 4}, {0.9, 5}};
    static const int64_t want[] = {3, 5, 0, 2, 4, 1};
    choose_sort(v, 6);
    for (int i = 0; i < 6; i++) assert_int_equal(v[i].position, want[i]);
}

/* Not a check: what a row costs. */
static void cost(void **state) {
    (void)state;
    enum { N = 64, V = 32000 };
    float *z = make((int64_t)N * V);
    static struct choice c[N];
    static struct choose_key keys[N];
    normals(z, N * V, 3, 1);
    for (int what = 0; what < 4; what++) {
        const struct choose_settings s = {.seed = 1, .temperature = what % 2, .confidence = what / 2};
        const double start = clock_seconds();
        choose_rows(c, z, N, V, keys, &s);
        printf("V = 32000, temperature %g, %s confidence: %.0f us a row\n", s.temperature,
               s.confidence ? "with" : "without", (clock_seconds() - start) / N * 1e6);
    }
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
        cmocka_unit_test(confidence_is_softmax), cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(order_and_ties),        cmocka_unit_test(cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
