/* Every row kernel of every instruction set this machine has, at odd sizes and addresses, against ref_* in double. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cpu.h"
#include "base/err.h"
#include "row_buffer.h"

static const int64_t long_sizes[] = {127, 128, 129, 511, 1000, 1023, 1024, 1025, 2049, 5003};
enum { SHORT_SIZES = 71, SIZES = SHORT_SIZES + (int)(sizeof long_sizes / sizeof *long_sizes) };

static int64_t size_number(int i) {
    return i < SHORT_SIZES ? i : long_sizes[i - SHORT_SIZES];
}

/* Runs the block with n, shift and type t over everything. */
#define EVERY(n, shift, t)                                                                                             \
    for (int size_ = 0; size_ < SIZES; size_++)                                                                        \
        for (int shift = 0; shift < 3; shift++)                                                                        \
            for (enum dtype t = DTYPE_F32; t <= DTYPE_BF16; t++)                                                       \
                for (int64_t n = size_number(size_), once_ = 1; once_; once_ = 0)

static void check(struct row *r, double relative, double absolute, const char *what) {
    assert_int_equal(row_wrong(r, relative, absolute, what), 0);
    row_free(r);
}

static void close_to(double got, double want, double tolerance) {
    if (!(fabs(got - want) <= tolerance)) fail_msg("got %.9g, expected %.9g within %.3g", got, want, tolerance);
}

static void test_convert(void **state) {
    const struct kernels *k = *state;
    EVERY(n, shift, t) {
        for (enum dtype to = DTYPE_F32; to <= DTYPE_BF16; to++) {
            struct row x = row_normal(t, n, shift), y = row_new(to, n, 2 - shift);
            double *once_narrowed = y.d;
            ref_narrow(y.p, to, x.d, n);
            ref_widen(once_narrowed, y.p, to, n);
            memset(y.p, 1, (size_t)n * dtype_size(to));
            k->convert(y.p, to, x.p, t, n);
            double *got = calloc((size_t)n + 1, sizeof *got);
            ref_widen(got, y.p, to, n);
            assert_memory_equal(got, y.d, (size_t)n * sizeof *got);
            free(got);
            check(&y, 0, 0, "convert");
            check(&x, 0, 0, "convert's source");
        }
    }
}

/* Each bf16 pattern, and the f32 patterns at and around the middle between it and the next. */
static void test_convert_all_patterns(void **state) {
    const struct kernels *k = *state;
    static const uint32_t low[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff};
    for (uint32_t h = 0; h < 65536; h++)
        for (int i = 0; i < 6; i++) {
            const uint32_t u = h << 16 | low[i];
            float x, back;
            uint16_t y;
            memcpy(&x, &u, 4);
            k->convert(&y, DTYPE_BF16, &x, DTYPE_F32, 1);
            k->convert(&back, DTYPE_F32, &y, DTYPE_BF16, 1);
            if (isnan(x)) {
                assert_true(isnan(back));
                continue;
            }
            if (y != ref_to_bf16(x)) fail_msg("bf16 of %08x: got %04x, expected %04x", u, y, ref_to_bf16(x));
            if (i == 0) assert_memory_equal(&back, &x, 4);
        }
}

/* Each f16 pattern. */
static void test_convert_f16(void **state) {
    const struct kernels *k = *state;
    static uint16_t x[65536 + 1];
    static float y[65536];
    for (int shift = 0; shift < 2; shift++) {
        for (uint32_t h = 0; h < 65536; h++) x[shift + h] = (uint16_t)h;
        for (int64_t n = 65536; n > 65536 - 20; n--) {
            memset(y, 1, sizeof y);
            k->convert(y, DTYPE_F32, x + shift, DTYPE_F16, n);
            for (int64_t h = 0; h < n; h++) {
                const float want = ref_from_f16((uint16_t)h);
                if (isnan(want) ? !isnan(y[h]) : memcmp(&y[h], &want, 4) != 0)
                    fail_msg("f16 %04x: got %.9g, expected %.9g", (unsigned)h, (double)y[h], (double)want);
            }
            for (int64_t h = n; h < 65536; h++) assert_int_equal(((unsigned char *)&y[h])[0], 1);
        }
    }
}

static void test_elementwise(void **state) {
    const struct kernels *k = *state;
    EVERY(n, shift, t) {
        struct row scaled = row_normal(t, n, shift), sum = row_normal(DTYPE_F32, n, 1), other = row_normal(t, n, shift);
        ref_scale(scaled.d, -1.7f, n);
        k->scale(scaled.p, t, -1.7f, n);
        check(&scaled, 1e-7, 0, "scale");
        ref_add_scaled(sum.d, 0.3f, other.d, n);
        k->add_scaled(sum.p, 0.3f, other.p, t, n);
        check(&sum, 2e-7, 2e-7, "add_scaled");
        check(&other, 0, 0, "what was added");
        if (t != DTYPE_F32) continue;
        struct row y = row_normal(t, n, shift), x = row_normal(t, n, 1);
        ref_add(y.d, x.d, n);
        k->add(y.p, x.p, n);
        assert_int_equal(row_wrong(&y, 1e-7, 0, "add"), 0);
        ref_widen(y.d, y.p, t, n);
        ref_guide(y.d, x.d, 1.6f, n);
        k->guide(y.p, x.p, 1.6f, n);
        check(&y, 3e-7, 2e-6, "guide");
        check(&x, 0, 0, "the other operand");
    }
}

static void test_sums(void **state) {
    const struct kernels *k = *state;
    EVERY(n, shift, t) {
        for (enum dtype bt = DTYPE_F32; bt <= DTYPE_BF16; bt++) {
            struct row a = row_normal(t, n, shift), b = row_normal(bt, n, 1);
            /* at least 16 partial sums of n/16 terms: their rounding is random, and as large as the sums have become */
            close_to(k->dot(a.p, t, b.p, bt, n), ref_dot(a.d, b.d, n), 1e-6 * sqrt((double)n) + 4e-8 * (double)n);
            /* n additions of doubles, each off by up to 1.1e-16 of a sum that grows to n, at random */
            if (t == DTYPE_F32)
                close_to(k->sum_squares(a.p, n), ref_sum_squares(a.d, n),
                         (4e-15 + 4e-16 * sqrt((double)n)) * (double)n);
            row_free(&a);
            row_free(&b);
        }
    }
}

/* Sums of many rows at once: each has the bits that it has alone. */
static void test_dots(void **state) {
    const struct kernels *k = *state;
    enum { n = 9, N = 14 };
    static const int64_t lengths[] = {0, 1, 3, 4, 7, 8, 15, 16, 17, 31, 96, 129, 768, 1003};
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
        for (enum dtype wt = DTYPE_F32; wt <= DTYPE_BF16; wt++)
            for (int64_t rows = 1; rows <= n; rows++) {
                const int64_t K = lengths[l], ldy = N + 2;
                struct row x = row_normal(DTYPE_F32, rows * K, 1), w = row_normal(wt, N * K, 1),
                           y = row_new(DTYPE_F32, rows * ldy, 1);
                memset(y.p, 0, (size_t)(rows * ldy) * 4);
                k->dots(y.p, ldy, x.p, rows, w.p, wt, N, K);
                for (int64_t i = 0; i < rows; i++)
                    for (int64_t j = 0; j < N; j++) {
                        float alone;
                        k->dots(&alone, 1, (float *)x.p + i * K, 1, (char *)w.p + j * K * (int64_t)dtype_size(wt), wt,
                                1, K);
                        assert_memory_equal(&alone, (float *)y.p + i * ldy + j, 4);
                        y.d[i * ldy + j] = ref_dot(x.d + i * K, w.d + j * K, K);
                    }
                check(&y, 0, 1e-6 * sqrt((double)K) + 4e-8 * (double)K, "dots");
                row_free(&x);
                row_free(&w);
            }
}

/* The same of weights in panels, made here as gemm.h says. */
static void test_dots_packed(void **state) {
    const struct kernels *k = *state;
    enum { n = 6, PANEL = 64 };
    if (!k->dots_packed) skip();
    static const int64_t lengths[] = {1, 2, 3, 31, 32, 33, 96, 768, 1003}, columns[] = {1, 5, 16, 63, 64, 65, 100, 192};
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
        for (size_t c = 0; c < sizeof columns / sizeof *columns; c++) {
            const int64_t K = lengths[l], N = columns[c], ldy = N + 2, panel = (K + 31) / 32 * 32 * PANEL;
            struct row x = row_normal(DTYPE_BF16, n * K, 1), w = row_normal(DTYPE_BF16, N * K, 1);
            uint16_t *packed = calloc((size_t)((N + PANEL - 1) / PANEL * panel), 2);
            assert_non_null(packed);
            for (int64_t j = 0; j < N; j++)
                for (int64_t i = 0; i < K; i++)
                    packed[j / PANEL * panel + (i / 2 * PANEL + j % PANEL) * 2 + i % 2] = ((uint16_t *)w.p)[j * K + i];
            for (int64_t rows = 1; rows <= n; rows++) {
                struct row y = row_new(DTYPE_F32, rows * ldy, 1);
                float alone[192];
                memset(y.p, 0, (size_t)(rows * ldy) * 4);
                k->dots_packed(y.p, ldy, x.p, rows, packed, N, K);
                for (int64_t i = 0; i < rows; i++) {
                    k->dots_packed(alone, N, (uint16_t *)x.p + i * K, 1, packed, N, K);
                    assert_memory_equal(alone, (float *)y.p + i * ldy, (size_t)N * 4);
                    for (int64_t j = 0; j < N; j++) y.d[i * ldy + j] = ref_dot(x.d + i * K, w.d + j * K, K);
                }
                check(&y, 6e-8, 3e-7 * (double)K, "dots_packed"); /* K roundings one after the other, and the result */
            }
            row_free(&x);
            row_free(&w);
            free(packed);
        }
}

static void test_rmsnorm(void **state) {
    const struct kernels *k = *state;
    EVERY(n, shift, t) {
        if (n == 0) continue;
        struct row x = row_normal(DTYPE_F32, n, shift), w = row_uniform(DTYPE_F32, n, 1, -2, 2),
                   y = row_new(t, n, shift);
        float rstd;
        double want;
        ref_rmsnorm(y.d, &want, x.d, w.d, n, 1e-5f);
        k->rmsnorm(y.p, t, NULL, x.p, w.p, n, 1e-5f);
        k->rmsnorm(y.p, t, &rstd, x.p, w.p, n, 1e-5f);
        close_to(rstd, want, 4e-7 * want);
        check(&y, 6e-7, 0, "rmsnorm");
        if (t == DTYPE_F32) {
            struct row dy = row_normal(t, n, shift), dx = row_normal(t, n, 2), dw = row_normal(t, n, shift);
            ref_rmsnorm_backward(dx.d, dw.d, dy.d, x.d, w.d, rstd, n);
            k->rmsnorm_backward(dx.p, dw.p, dy.p, x.p, w.p, rstd, n);
            check(&dx, 1e-6, 3e-6 * fmax(1, rstd), "rmsnorm_backward dx");
            check(&dw, 1e-6, 2e-6 * fmax(1, rstd), "rmsnorm_backward dw");
            row_free(&dy);
        }
        row_free(&x);
        row_free(&w);
    }
}

static void test_layernorm(void **state) {
    const struct kernels *k = *state;
    EVERY(n, shift, t) {
        if (n == 0) continue;
        for (int far = 0; far < 2; far++) { /* a mean of 0, and one of 40 deviations */
            struct row x = row_uniform(DTYPE_F32, n, shift, far * 40 - 1.7, far * 40 + 1.7),
                       w = row_uniform(DTYPE_F32, n, 1, -2, 2), b = row_normal(DTYPE_F32, n, 2),
                       y = row_new(t, n, shift);
            ref_layernorm(y.d, x.d, w.d, b.d, n, 0.01f);
            k->layernorm(y.p, t, x.p, w.p, b.p, n, 0.01f);
            check(&y, 6e-7, far ? 2e-5 * (n < 8 ? 8 : 1) : 2e-6, "layernorm");
            assert_false(row_guards_broken(&x));
            row_free(&x);
            row_free(&w);
            row_free(&b);
        }
    }
}

static void test_gelu(void **state) {
    const struct kernels *k = *state;
    EVERY(n, shift, t) {
        struct row a = row_uniform(t, n, shift, -12, 12), h = row_new(t, n, 1);
        ref_gelu(h.d, a.d, n);
        k->gelu(h.p, a.p, t, n);
        if (t == DTYPE_F32) { /* in place: the same */
            k->gelu(a.p, a.p, t, n);
            assert_memory_equal(a.p, h.p, (size_t)n * 4);
            assert_false(row_guards_broken(&a));
        }
        check(&h, 4e-6, 1e-9, "gelu");
        row_free(&a);
    }
    const float extremes[] = {-1e30f, -100, -5, 0, 100, 1e30f, NAN};
    float h[7];
    k->gelu(h, extremes, DTYPE_F32, 7);
    const float want[] = {0, 0, -2.2917e-7f, 0, 100, 1e30f};
    for (int i = 0; i < 6; i++) close_to(h[i], want[i], 1e-10 + fabsf(want[i]) * 1e-6);
    assert_true(isnan(h[6]));
}

static void test_swiglu(void **state) {
    const struct kernels *k = *state;
    EVERY(n, shift, t) {
        struct row a = row_uniform(t, n, shift, -12, 12), b = row_normal(t, n, 1), dh = row_normal(t, n, 2);
        struct row h = row_new(t, n, shift);
        ref_swiglu(h.d, a.d, b.d, n);
        k->swiglu(h.p, a.p, b.p, t, n);
        check(&h, 6e-7, 1e-9, "swiglu");
        h = row_new(t, n, 1);
        ref_swiglu_backward(a.d, b.d, h.d, dh.d, n);
        k->swiglu_backward(a.p, b.p, h.p, dh.p, t, n);
        check(&h, 6e-7, 1e-9, "swiglu_backward h");
        check(&a, 2e-6, 2e-6, "swiglu_backward da");
        check(&b, 8e-7, 1e-9, "swiglu_backward db");
        row_free(&dh);
    }
}

static void test_swiglu_extremes(void **state) {
    const struct kernels *k = *state;
    const float a[] = {-1e30f, -100, -88, 0, 88, 100, 1e30f, NAN}, one[] = {1, 1, 1, 1, 1, 1, 1, 1};
    const float want[] = {0, 0, 0, 0, 88, 100, 1e30f, NAN}, slope[] = {0, 0, 0, 0.5f, 1, 1, 1, NAN};
    float h[8], da[8], db[8];
    k->swiglu(h, a, one, DTYPE_F32, 8);
    for (int i = 0; i < 7; i++) close_to(h[i], want[i], 1e-30 + fabsf(want[i]) * 1e-6);
    assert_true(isnan(h[7]));
    memcpy(da, a, sizeof da);
    memcpy(db, one, sizeof db);
    k->swiglu_backward(da, db, h, one, DTYPE_F32, 8);
    for (int i = 0; i < 7; i++) {
        close_to(da[i], slope[i], 1e-30);
        close_to(db[i], want[i], 1e-30 + fabsf(want[i]) * 1e-6);
    }
    assert_true(isnan(da[7]) && isnan(db[7]));
}

static void test_rotate(void **state) {
    const struct kernels *k = *state;
    EVERY(n, shift, t) {
        if (n % 2) continue;
        struct row c = row_uniform(DTYPE_F32, n / 2, shift, -1, 1), s = row_uniform(DTYPE_F32, n / 2, 1, -1, 1);
        for (enum dtype xt = DTYPE_F32; xt <= DTYPE_BF16; xt++) {
            struct row x = row_normal(xt, n, shift), y = row_new(t, n, 1);
            ref_rotate(y.d, x.d, c.p, s.p, n, 0.125f);
            k->rotate(y.p, t, x.p, xt, c.p, s.p, n, 0.125f);
            check(&y, 1e-6, 1e-7, "rotate");
            y = row_new(t, n, 2);
            ref_rotate_back(y.d, x.d, c.p, s.p, n, 1.5f);
            if (xt == DTYPE_F32) {
                k->rotate_back(y.p, t, x.p, c.p, s.p, n, 1.5f);
                check(&y, 1e-6, 2e-6, "rotate_back");
            } else {
                row_free(&y);
            }
            row_free(&x);
        }
        row_free(&c);
        row_free(&s);
    }
}

static void test_softmax(void **state) {
    const struct kernels *k = *state;
    EVERY(n, shift, t) {
        if (n == 0) continue;
        const int64_t padded = n + shift * 5;
        struct row s = row_uniform(DTYPE_F32, n, shift, -9, 9), p = row_new(t, padded, 1);
        double want;
        float lse;
        ref_softmax(p.d, &want, s.d, n, padded);
        k->softmax(p.p, t, &lse, s.p, n, padded);
        close_to(lse, want, 2e-7 * fabs(want) + 2e-6);
        check(&p, 2e-6, 1e-12, "softmax");
        assert_false(row_guards_broken(&s));
        ref_narrow(s.p, DTYPE_F32, s.d, n); /* again: a bf16 softmax has used it up */

        struct row dp = row_normal(DTYPE_F32, padded, shift), ds = row_new(t, padded, 2);
        p = row_new(t, padded, 1);
        ref_softmax_backward(p.d, ds.d, s.d, dp.d, lse, 0.3f, n, padded);
        k->softmax_backward(p.p, ds.p, t, s.p, dp.p, lse, 0.3f, n, padded);
        check(&p, 2e-6, 1e-12, "softmax_backward p");
        check(&ds, 3e-6, 1e-7, "softmax_backward ds");
        row_free(&s);
        row_free(&dp);
    }
}

/* p may be s, ds may be dp, d may be z. */
static void test_in_place(void **state) {
    const struct kernels *k = *state;
    for (int64_t n = 1; n < 1100; n += 27) {
        const int64_t padded = n + 9;
        struct row s = row_normal(DTYPE_F32, padded, 1), dp = row_normal(DTYPE_F32, padded, 2);
        struct row p = row_new(DTYPE_F32, padded, 0), ds = row_new(DTYPE_F32, padded, 0);
        float lse, lse2;
        k->softmax(p.p, DTYPE_F32, &lse, s.p, n, padded);
        k->softmax(s.p, DTYPE_F32, &lse2, s.p, n, padded);
        assert_memory_equal(p.p, s.p, (size_t)padded * 4);
        assert_memory_equal(&lse, &lse2, 4);
        k->softmax_backward(p.p, ds.p, DTYPE_F32, s.p, dp.p, lse, 0.3f, n, padded);
        k->softmax_backward(s.p, dp.p, DTYPE_F32, s.p, dp.p, lse, 0.3f, n, padded);
        assert_memory_equal(p.p, s.p, (size_t)padded * 4);
        assert_memory_equal(ds.p, dp.p, (size_t)padded * 4);
        const float a = k->sum_exp(p.p, DTYPE_F32, &lse, s.p, n, -0.7f),
                    b = k->sum_exp(s.p, DTYPE_F32, &lse2, s.p, n, -0.7f);
        assert_memory_equal(p.p, s.p, (size_t)n * 4);
        assert_memory_equal(&a, &b, 4);
        assert_memory_equal(&lse, &lse2, 4);
        struct row *all[] = {&s, &dp, &p, &ds};
        for (int i = 0; i < 4; i++) row_free(all[i]);
    }
}

static void test_argmax(void **state) {
    const struct kernels *k = *state;
    EVERY(n, shift, t) {
        if (n == 0 || t != DTYPE_F32) continue;
        struct row z = row_uniform(DTYPE_F32, n, shift, -20, 20);
        assert_int_equal(k->argmax(z.p, n), ref_argmax(z.d, n));
        row_free(&z);
    }
}

/* Exponentials of a piece of logits against a base; far above the base, against their largest. */
static void test_sum_exp(void **state) {
    const struct kernels *k = *state;
    static const double bases[] = {-70, -44.5, -43.5, 0, 90};
    EVERY(n, shift, t) {
        for (size_t b = 0; b < sizeof bases / sizeof *bases; b++) {
            struct row z = row_uniform(DTYPE_F32, n, shift, -20, 20), e = row_new(t, n, 1);
            double want_shift;
            float got_shift, alone;
            const double want = ref_sum_exp(e.d, &want_shift, z.d, n, bases[b]);
            const float got = k->sum_exp(e.p, t, &got_shift, z.p, n, (float)bases[b]);
            assert_true(got == k->sum_exp(NULL, t, &alone, z.p, n, (float)bases[b]) && alone == got_shift);
            close_to(got_shift, want_shift, 4e-6);
            /* differences are rounded at 110; exponentials below e^-87 are 0 */
            close_to(got, want, 1e-5 * want + 1.7e-38 * (double)n);
            check(&e, 1e-5, 1.7e-38, "sum_exp");
            row_free(&z);
        }
    }
}

static void test_logit_specials(void **state) {
    const struct kernels *k = *state;
    float z[40], d[40], lse;
    for (int n = 1; n <= 40; n++) {
        for (int i = 0; i < n; i++) z[i] = -INFINITY;
        assert_int_equal(k->argmax(z, n), 0);
        z[n - 1] = 3;
        assert_int_equal(k->argmax(z, n), n - 1);
        assert_true(k->sum_exp(d, DTYPE_F32, &lse, z, n, 3) == 1 && lse == 0);
        for (int i = 0; i < n; i++) assert_true(d[i] == (i == n - 1));
        for (int i = 0; i < n; i++) z[i] = NAN;
        assert_int_equal(k->argmax(z, n), 0);
        z[n / 2] = -INFINITY;
        assert_int_equal(k->argmax(z, n), n / 2);
        for (int i = 0; i < n; i++) z[i] = (float)(i % 7);
        assert_int_equal(k->argmax(z, n), n < 7 ? n - 1 : 6); /* the first of equals */
        z[n / 3] = NAN;
        assert_true(isnan(k->sum_exp(d, DTYPE_F32, &lse, z, n, 0)) && isnan(d[n / 3]));
        k->softmax(d, DTYPE_F32, &lse, z, n, n);
        assert_true(isnan(lse) && isnan(d[0]) && isnan(d[n - 1]));
        z[n / 3] = INFINITY;
        assert_int_equal(k->argmax(z, n), n / 3);
        for (int i = 0; i < n; i++) z[i] = i == n / 2 ? -1e5f : -INFINITY;
        k->softmax(d, DTYPE_F32, &lse, z, n, n);
        for (int i = 0; i < n; i++) assert_true(d[i] == (i == n / 2));
        assert_true(lse == -1e5f);
    }
}

/* exp as the softmax kernels have it: p = exp(s − 0). */
static void test_exponential(void **state) {
    const struct kernels *k = *state;
    enum { N = 1 << 12 };
    static float s[N], p[N], ds[N];
    double worst = 0, at = 0;
    for (int block = 0; block < 512; block++) {
        for (int i = 0; i < N; i++)
            s[i] = (float)(-86.9 +
                           (88.7228 + 86.9) * (block + rng_uniform(7, RNG_TEST, (uint64_t)block, (uint64_t)i)) / 512);
        k->softmax_backward(p, ds, DTYPE_F32, s, s, 0, 0, N, N);
        for (int i = 0; i < N; i++) {
            const double want = exp((double)s[i]), ulp = ldexp(1, ilogb(want) - 23), off = fabs(p[i] - want) / ulp;
            if (off > worst) worst = off, at = s[i];
        }
    }
    printf("%s: exp is off by at most %.3f ulp (at %.9g)\n", k->name, worst, at);
    assert_true(worst < 1.5);
    const float special[] = {0, -0.0f, -INFINITY, INFINITY, -88, -1e30f, 89, 1e30f, 88.72283f, 88.7229f};
    const float want[] = {1, 1, 0, INFINITY, 0, 0, INFINITY, INFINITY, 0, INFINITY};
    k->softmax_backward(p, ds, DTYPE_F32, special, special, 0, 0, 10, 10);
    for (int i = 0; i < 10; i++)
        if (i != 8) assert_true(p[i] == want[i]);
    assert_true(isfinite(p[8]) && p[8] > 3.4e38f);
    for (uint32_t payload = 1; payload < 1u << 22; payload += 4099) /* no NaN becomes a number */
        for (uint32_t sign = 0; sign < 2; sign++) {
            const uint32_t u = sign << 31 | 0x7f800000 | payload;
            memcpy(&s[0], &u, 4);
            k->softmax_backward(p, ds, DTYPE_F32, s, s, 0, 0, 1, 1);
            assert_true(isnan(p[0]));
        }
}

static void test_adamw(void **state) {
    const struct kernels *k = *state;
    EVERY(n, shift, t) {
        if (t != DTYPE_F32) continue;
        struct row w = row_normal(t, n, shift), m = row_normal(t, n, 1), v = row_uniform(t, n, 2, 0, 2),
                   g = row_normal(t, n, shift);
        struct adamw s = {.lr = 3e-2f,
                          .beta1 = 0.9f,
                          .beta2 = 0.95f,
                          .eps = 1e-8f,
                          .weight_decay = 0.1f,
                          .grad_scale = 0.7f,
                          .correction1 = 0.271f,
                          .correction2 = 0.142625f};
        ref_adamw(w.d, m.d, v.d, g.d, n, &s);
        k->adamw(w.p, m.p, v.p, g.p, n, &s);
        check(&w, 4e-7, 2e-7, "adamw w"); /* w and its step, each of size 1, may cancel */
        check(&m, 4e-7, 1e-7, "adamw m");
        check(&v, 4e-7, 1e-8, "adamw v");
        check(&g, 0, 0, "adamw's gradient");
    }
}

/* A first step with tiny and zero gradients: eps decides. */
static void test_adamw_first_step(void **state) {
    const struct kernels *k = *state;
    float w[9], m[9] = {0}, v[9] = {0}, g[9] = {0, 1e-20f, -1e-20f, 1e-8f, 1, -1, 1e10f, -1e10f, 0};
    double wd[9], md[9] = {0}, vd[9] = {0}, gd[9];
    for (int i = 0; i < 9; i++) wd[i] = w[i] = 0.5f, gd[i] = g[i];
    const struct adamw s = {.lr = 1e-3f,
                            .beta1 = 0.9f,
                            .beta2 = 0.95f,
                            .eps = 1e-8f,
                            .weight_decay = 0,
                            .grad_scale = 1,
                            .correction1 = 1 - 0.9f,
                            .correction2 = 1 - 0.95f};
    ref_adamw(wd, md, vd, gd, 9, &s);
    k->adamw(w, m, v, g, 9, &s);
    for (int i = 0; i < 9; i++) close_to(w[i], wd[i], 6e-8);
    assert_true(w[0] == 0.5f && w[8] == 0.5f);
}

/* The bits of a result do not depend on where the row lies. */
static void test_address(void **state) {
    const struct kernels *k = *state;
    enum { N = 1003 };
    struct row x = row_normal(DTYPE_F32, N, 0), y = row_normal(DTYPE_F32, N, 0);
    float *moved = malloc((N + 16) * sizeof *moved), *p = malloc(N * sizeof *p), *q = malloc(N * sizeof *q), l, l2;
    for (int shift = 1; shift < 16; shift++) {
        memcpy(moved + shift, x.p, N * 4);
        const float a = k->dot(x.p, DTYPE_F32, y.p, DTYPE_F32, N),
                    b = k->dot(moved + shift, DTYPE_F32, y.p, DTYPE_F32, N);
        assert_memory_equal(&a, &b, 4);
        assert_true(k->sum_squares(x.p, N) == k->sum_squares(moved + shift, N));
        k->softmax(p, DTYPE_F32, &l, x.p, N, N);
        k->softmax(q, DTYPE_F32, &l2, moved + shift, N, N);
        assert_memory_equal(p, q, N * 4);
        assert_memory_equal(&l, &l2, 4);
        assert_true(k->argmax(x.p, N) == k->argmax(moved + shift, N));
        assert_true(k->sum_exp(p, DTYPE_F32, &l, x.p, N, 0) == k->sum_exp(q, DTYPE_F32, &l2, moved + shift, N, 0));
        assert_memory_equal(p, q, N * 4);
    }
    free(moved);
    free(p);
    free(q);
    row_free(&x);
    row_free(&y);
}

static void test_choice(void **state) {
    (void)state;
    struct err err = {{0}};
    setenv("MDM_ISA", "scalar", 1);
    assert_int_equal(kernels_init(&err), 0);
    assert_string_equal(kernels->name, "scalar");
    setenv("MDM_ISA", "z80", 1);
    assert_int_equal(kernels_init(&err), -1);
    assert_non_null(strstr(err.msg, "z80"));
    unsetenv("MDM_ISA");
    assert_int_equal(kernels_init(&err), 0);
    assert_null(kernels_for(CPU_ISAS));
    assert_null(kernels_for(-1));
}

int main(void) {
    static const struct {
        const char *name;
        CMUnitTestFunction run;
    } kernel[] = {
        {"convert", test_convert},
        {"convert_all_patterns", test_convert_all_patterns},
        {"convert_f16", test_convert_f16},
        {"elementwise", test_elementwise},
        {"sums", test_sums},
        {"dots", test_dots},
        {"dots_packed", test_dots_packed},
        {"rmsnorm", test_rmsnorm},
        {"layernorm", test_layernorm},
        {"gelu", test_gelu},
        {"swiglu", test_swiglu},
        {"swiglu_extremes", test_swiglu_extremes},
        {"rotate", test_rotate},
        {"softmax", test_softmax},
        {"in_place", test_in_place},
        {"argmax", test_argmax},
        {"sum_exp", test_sum_exp},
        {"logit_specials", test_logit_specials},
        {"exponential", test_exponential},
        {"adamw", test_adamw},
        {"adamw_first_step", test_adamw_first_step},
        {"address", test_address},
    };
    enum { KERNELS = sizeof kernel / sizeof *kernel };
    static char names[CPU_ISAS][KERNELS][64];
    struct CMUnitTest tests[CPU_ISAS * KERNELS + 1] = {cmocka_unit_test(test_choice)};
    size_t n = 1;
    for (int isa = 0; isa < CPU_ISAS; isa++) {
        const struct kernels *table = kernels_for(isa);
        if (!table) printf("skipped: this machine has no %s\n", cpu_isa_names[isa]);
        for (int i = 0; table && i < KERNELS; i++) {
            snprintf(names[isa][i], sizeof names[isa][i], "%s_%s", kernel[i].name, table->name);
            tests[n++] = (struct CMUnitTest){
                .name = names[isa][i], .test_func = kernel[i].run, .initial_state = (void *)(uintptr_t)table};
        }
    }
    return _cmocka_run_group_tests("rows", tests, n, NULL, NULL);
}
