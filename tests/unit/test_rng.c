/* Random numbers: the published known answers, then moments, uniformity and independence of everything built on them.
 * Every statistic is of fixed numbers, so a passing test passes for ever; limits are about five standard deviations. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

enum { N = 200000 };

/* philox4x32-10 of the kat_vectors file of Random123: counter, key, answer. */
static void test_known_answers(void **state) {
    (void)state;
    const struct {
        uint32_t counter[4], key[2], want[4];
    } kat[] = {
        {{0}, {0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof kat / sizeof *kat; i++) {
        uint32_t out[4];
        rng_philox(out, kat[i].counter, kat[i].key);
        assert_memory_equal(out, kat[i].want, sizeof out);
    }
}

/* Numbers are part of a run's identity: they must not change with a later version. */
static void test_keying_is_fixed(void **state) {
    (void)state;
    uint32_t out[4], counter[4] = {0x55667788, 0x11223344, 0xddeeff00, 0x99aabbcc};
    /* splitmix64's published first output for seed 0 is that of its state 0 + 0x9E3779B97F4A7C15: purpose 1, seed 0. */
    const uint64_t k = 0xE220A8397B1DCDAF;
    const uint32_t key[2] = {(uint32_t)k, (uint32_t)(k >> 32)};
    uint32_t want[4];
    rng_philox(want, counter, key);
    rng_bits(out, 0, RNG_INIT, 0x99aabbccddeeff00, 0x1122334455667788);
    assert_memory_equal(out, want, sizeof out);
}

/* Changing any one bit of any argument changes about half of the 128 bits. */
static void test_every_argument_counts(void **state) {
    (void)state;
    long flipped = 0;
    enum { CASES = 3 * 64 };
    uint32_t base[4], other[4];
    rng_bits(base, 12345, RNG_TEST, 678, 90);
    for (int i = 0; i < CASES; i++) {
        uint64_t bit = (uint64_t)1 << i % 64;
        rng_bits(other, 12345 ^ (i / 64 == 0 ? bit : 0), RNG_TEST, 678 ^ (i / 64 == 1 ? bit : 0),
                 90 ^ (i / 64 == 2 ? bit : 0));
        for (int w = 0; w < 4; w++) flipped += __builtin_popcount(base[w] ^ other[w]);
    }
    assert_true(fabs((double)flipped / (CASES * 128) - 0.5) < 5 * 0.5 / sqrt(CASES * 128));
    for (int p = RNG_INIT; p <= RNG_MIX; p++) { /* purposes do not share numbers, nor do neighbouring seeds */
        rng_bits(base, 1, (enum rng_purpose)p, 0, 0);
        for (int q = RNG_INIT; q <= RNG_MIX; q++)
            for (uint64_t seed = 0; seed < 3; seed++) {
                rng_bits(other, seed, (enum rng_purpose)q, 0, 0);
                assert_int_equal(!memcmp(base, other, sizeof base), p == q && seed == 1);
            }
    }
}

static void test_uniform(void **state) {
    (void)state;
    double sum = 0, square = 0, lag = 0, across = 0, before = 0;
    long cells[64] = {0};
    for (int i = 0; i < N; i++) {
        double u = rng_uniform(7, RNG_TEST, 1, (uint64_t)i), v = rng_uniform(7, RNG_TEST, (uint64_t)i + 2, 0);
        assert_true(u >= 0 && u < 1);
        sum += u;
        square += u * u;
        lag += (u - 0.5) * (before - 0.5);
        across += (u - 0.5) * (v - 0.5);
        cells[(int)(u * 64)]++;
        before = u;
    }
    assert_true(fabs(sum / N - 0.5) < 5 * sqrt(1. / 12 / N));
    assert_true(fabs(square / N - 1. / 3) < 5 * sqrt(4. / 45 / N));
    assert_true(fabs(lag / N) < 5 * (1. / 12) / sqrt(N));    /* neighbours in index */
    assert_true(fabs(across / N) < 5 * (1. / 12) / sqrt(N)); /* index against sample */
    double chi = 0;
    for (int c = 0; c < 64; c++) chi += pow((double)cells[c] - N / 64., 2) / (N / 64.);
    assert_true(fabs(chi - 63) < 5 * sqrt(2 * 63));
}

/* All 53 bits are used. */
static void test_resolution(void **state) {
    (void)state;
    long low[2] = {0};
    for (int i = 0; i < N; i++) {
        double u = rng_uniform(3, RNG_TEST, 0, (uint64_t)i);
        assert_float_equal(u * 0x1p53, floor(u * 0x1p53), 0);
        low[(uint64_t)(u * 0x1p53) & 1]++;
    }
    assert_true(labs(low[0] - low[1]) < 5 * sqrt(N));
}

static void test_below(void **state) {
    (void)state;
    const uint64_t sizes[] = {1, 2, 3, 7, 10, 100};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        long cells[100] = {0};
        uint64_t n = sizes[s];
        for (int i = 0; i < N; i++) {
            uint64_t k = rng_below(11, RNG_TEST, s, (uint64_t)i, n);
            assert_true(k < n);
            cells[k]++;
        }
        double chi = 0, each = (double)N / (double)n;
        for (uint64_t k = 0; k < n; k++) chi += pow((double)cells[k] - each, 2) / each;
        assert_true(fabs(chi - (double)(n - 1)) <= 5 * sqrt(2. * (double)(n - 1)));
    }
    /* Ranges as large as the words themselves: in range, and both halves are met equally often. */
    const uint64_t wide[] = {UINT64_MAX, (uint64_t)1 << 63, ((uint64_t)3 << 62) + 1};
    for (size_t s = 0; s < 3; s++) {
        long upper = 0;
        for (int i = 0; i < 20000; i++) {
            uint64_t k = rng_below(12, RNG_TEST, s, (uint64_t)i, wide[s]);
            assert_true(k < wide[s]);
            upper += k >= wide[s] / 2;
        }
        assert_true(labs(2 * upper - 20000) < 5 * sqrt(20000));
    }
}

/* All 128 bits count: for n = 2^64 - 1 and the 128-bit number (h, l), floor(n x / 2^128) is h when l > h, else h - 1.
 */
static void test_below_is_exact(void **state) {
    (void)state;
    for (uint64_t i = 0; i < 1000; i++) {
        uint32_t w[4];
        rng_bits(w, 13, RNG_TEST, 0, i);
        uint64_t l = (uint64_t)w[1] << 32 | w[0], h = (uint64_t)w[3] << 32 | w[2];
        assert_true(rng_below(13, RNG_TEST, 0, i, UINT64_MAX) == h - (l <= h));
    }
}

static float normals[N], piece[N];

static void test_normal(void **state) {
    (void)state;
    rng_normal(normals, N, 5, RNG_TEST, 9, 0);
    double sum[5] = {0}, lag = 0, lag_of_squares = 0, inside = 0;
    for (int i = 0; i < N; i++) {
        double x = normals[i], next = normals[(i + 1) % N];
        assert_true(isfinite(x) && fabs(x) < 8);
        for (int p = 1; p < 5; p++) sum[p] += pow(x, p);
        lag += x * next;
        lag_of_squares += (x * x - 1) * (next * next - 1); /* the two of a Box-Muller pair share a radius */
        inside += fabs(x) < 1;
    }
    assert_true(fabs(sum[1] / N) < 5 * sqrt(1. / N));
    assert_true(fabs(sum[2] / N - 1) < 5 * sqrt(2. / N));
    assert_true(fabs(sum[3] / N) < 5 * sqrt(15. / N));
    assert_true(fabs(sum[4] / N - 3) < 5 * sqrt(96. / N));
    assert_true(fabs(lag / N) < 5 * sqrt(1. / N));
    assert_true(fabs(lag_of_squares / N) < 5 * sqrt(4. / N));
    assert_true(fabs(inside / N - erf(sqrt(0.5))) < 5 * sqrt(0.22 / N));
}

/* Element i depends on first + i alone, however the range is cut. */
static void test_normal_in_pieces(void **state) {
    (void)state;
    enum { SPAN = 1000 };
    rng_normal(normals, SPAN, 5, RNG_TEST, 9, 0);
    for (int from = 0; from < 12; from++)
        for (int n = 0; n < 12; n++) {
            piece[n] = 77;
            rng_normal(piece, n, 5, RNG_TEST, 9, (uint64_t)from);
            assert_memory_equal(piece, normals + from, (size_t)n * sizeof *piece);
            assert_float_equal(piece[n], 77, 0);
        }
    rng_normal(piece, SPAN - 333, 5, RNG_TEST, 9, 333);
    assert_memory_equal(piece, normals + 333, (SPAN - 333) * sizeof *piece);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_keying_is_fixed),
        cmocka_unit_test(test_every_argument_counts),
        cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_resolution),
        cmocka_unit_test(test_below),
        cmocka_unit_test(test_below_is_exact),
        cmocka_unit_test(test_normal),
        cmocka_unit_test(test_normal_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
