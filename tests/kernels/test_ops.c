/* ops over whole tensors: against ref_*, and the same bits for one thread and for two (and five). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <omp.h>

#include "base/err.h"
#include "compute/ops.h"
#include "row_buffer.h"

/* Sizes on both sides of what stays on one thread, of a group of rows, of a piece of a flat array. */
static const struct {
    int64_t n, E;
} shapes[] = {{1, 1}, {1, 64}, {3, 7}, {127, 96}, {128, 33}, {129, 128}, {300, 257}, {700, 64}, {1000, 17}};
enum { SHAPES = (int)(sizeof shapes / sizeof *shapes) };
static const int64_t lengths[] = {0, 1, 1000, 16384, 16385, 100003, 1 << 20};
enum { LENGTHS = (int)(sizeof lengths / sizeof *lengths) };

static void check(struct row *r, double relative, double absolute, const char *what) {
    assert_int_equal(row_wrong(r, relative, absolute, what), 0);
    row_free(r);
}

/* A copy with the same elements. */
static struct row copy_of(const struct row *r) {
    struct row c = row_new(r->t, r->n, 1);
    memcpy(c.p, r->p, (size_t)r->n * dtype_size(r->t));
    memcpy(c.d, r->d, (size_t)r->n * sizeof *c.d);
    return c;
}

static void same_bits(const struct row *a, struct row *b) {
    assert_memory_equal(a->p, b->p, (size_t)a->n * dtype_size(a->t));
    assert_false(row_guards_broken(b));
    row_free(b);
}

/* Runs the block three times, with 1, 2 and 5 threads; `threads` says which. */
#define WITH_THREADS(threads)                                                                                          \
    for (int threads = 1; threads <= 5 && (omp_set_num_threads(threads), 1); threads += 1 + 2 * (threads == 2))

static void test_embed(void **state) {
    (void)state;
    enum { TABLE = 50 };
    for (int k = 0; k < SHAPES; k++) {
        const int64_t n = shapes[k].n, E = shapes[k].E;
        int32_t *ids = calloc((size_t)n, sizeof *ids);
        for (int64_t i = 0; i < n; i++) ids[i] = (int32_t)rng_below(1, RNG_TEST, 5, (uint64_t)i, TABLE);
        for (enum dtype t = DTYPE_F32; t <= DTYPE_BF16; t++) WITH_THREADS(threads) {
                struct row table = row_normal(t, TABLE * E, 0), x = row_new(DTYPE_F32, n * E, 0);
                ref_embed(x.d, table.d, ids, n, E);
                ops_embed(x.p, table.p, t, ids, n, E);
                assert_int_equal(row_wrong(&x, 0, 0, "embed"), 0);
                for (int64_t i = 0; i < n * E; i++) x.d[i] *= 2;
                ops_embed_add(x.p, table.p, t, ids, n, E);
                check(&x, 0, 0, "embed_add");
                row_free(&table);
            }
        struct row first = row_normal(DTYPE_F32, TABLE * E, 0), dx = row_normal(DTYPE_F32, n * E, 0), one = {0};
        WITH_THREADS(threads) {
            struct row dtable = copy_of(&first);
            ref_embed_backward(dtable.d, dx.d, ids, n, E);
            ops_embed_backward(dtable.p, dx.p, ids, n, E);
            assert_int_equal(row_wrong(&dtable, 1e-6, 1e-5, "embed_backward"), 0);
            if (threads == 1)
                one = dtable;
            else
                same_bits(&one, &dtable);
        }
        row_free(&first);
        row_free(&dx);
        row_free(&one);
        free(ids);
    }
}

static void test_rmsnorm(void **state) {
    (void)state;
    for (int k = 0; k < SHAPES; k++)
        for (enum dtype t = DTYPE_F32; t <= DTYPE_BF16; t++) WITH_THREADS(threads) {
                const int64_t n = shapes[k].n, E = shapes[k].E;
                struct row x = row_normal(DTYPE_F32, n * E, 0), w = row_normal(DTYPE_F32, E, 0);
                struct row y = row_new(t, n * E, 1), rstd = row_new(DTYPE_F32, n, 0);
                for (int64_t i = 0; i < n; i++) ref_rmsnorm(y.d + i * E, rstd.d + i, x.d + i * E, w.d, E, 1e-5f);
                ops_rmsnorm(y.p, t, NULL, x.p, w.p, n, E, 1e-5f);
                ops_rmsnorm(y.p, t, rstd.p, x.p, w.p, n, E, 1e-5f);
                check(&y, 1e-6, 0, "rmsnorm");
                check(&rstd, 1e-6, 0, "rmsnorm rstd");
                row_free(&x);
                row_free(&w);
            }
}

static void test_rmsnorm_backward(void **state) {
    (void)state;
    for (int k = 0; k < SHAPES; k++) {
        const int64_t n = shapes[k].n, E = shapes[k].E;
        struct row x = row_normal(DTYPE_F32, n * E, 0), w = row_normal(DTYPE_F32, E, 0),
                   dy = row_normal(DTYPE_F32, n * E, 0);
        struct row dx0 = row_normal(DTYPE_F32, n * E, 0), dw0 = row_normal(DTYPE_F32, E, 0);
        struct row rstd = row_uniform(DTYPE_F32, n, 0, 0.5, 2), one_dx = {0}, one_dw = {0};
        WITH_THREADS(threads) {
            struct row dx = copy_of(&dx0), dw = copy_of(&dw0);
            struct row partial = row_new(DTYPE_F32, ops_rmsnorm_scratch(n, E), 0);
            for (int64_t i = 0; i < n; i++)
                ref_rmsnorm_backward(dx.d + i * E, dw.d, dy.d + i * E, x.d + i * E, w.d, rstd.d[i], E);
            ops_rmsnorm_backward(dx.p, dw.p, dy.p, x.p, w.p, rstd.p, n, E, partial.p);
            assert_int_equal(row_wrong(&dx, 1e-6, 2e-5, "rmsnorm_backward dx"), 0);
            assert_int_equal(row_wrong(&dw, 1e-6, 2e-5, "rmsnorm_backward dw"), 0);
            assert_false(row_guards_broken(&partial));
            row_free(&partial);
            if (threads == 1) {
                one_dx = dx, one_dw = dw;
            } else {
                same_bits(&one_dx, &dx);
                same_bits(&one_dw, &dw);
            }
        }
        struct row *all[] = {&x, &w, &dy, &dx0, &dw0, &rstd, &one_dx, &one_dw};
        for (int i = 0; i < 8; i++) row_free(all[i]);
    }
}

static void test_layernorm(void **state) {
    (void)state;
    for (int k = 0; k < SHAPES; k++) {
        const int64_t n = shapes[k].n, E = shapes[k].E;
        for (enum dtype t = DTYPE_F32; t <= DTYPE_BF16; t++) WITH_THREADS(threads) {
                struct row x = row_normal(DTYPE_F32, n * E, 0), w = row_normal(DTYPE_F32, E, 1),
                           b = row_normal(DTYPE_F32, E, 2), y = row_new(t, n * E, 0);
                for (int64_t i = 0; i < n; i++) ref_layernorm(y.d + i * E, x.d + i * E, w.d, b.d, E, 1e-5f);
                ops_layernorm(y.p, t, x.p, w.p, b.p, n, E, 1e-5f);
                check(&y, 1e-6, 1e-5, "layernorm");
                row_free(&x);
                row_free(&w);
                row_free(&b);
            }
    }
}

static void test_gelu(void **state) {
    (void)state;
    for (int k = 0; k < SHAPES; k++) {
        const int64_t n = shapes[k].n, F = shapes[k].E;
        for (enum dtype t = DTYPE_F32; t <= DTYPE_BF16; t++) WITH_THREADS(threads) {
                struct row a = row_normal(t, n * F, 0), h = row_new(t, n * F, 1);
                ref_gelu(h.d, a.d, n * F);
                ops_gelu(h.p, a.p, t, n, F);
                check(&h, 2e-6, 1e-7, "gelu");
                row_free(&a);
            }
    }
}

static void test_transpose(void **state) {
    (void)state;
    for (int k = 0; k < SHAPES; k++)
        for (enum dtype t = DTYPE_F32; t <= DTYPE_BF16; t++) WITH_THREADS(threads) {
                const int64_t rows = shapes[k].n, cols = shapes[k].E, ld = rows + 3;
                struct row x = row_normal(t, cols * ld, 0), y = row_new(t, rows * cols, 1);
                for (int64_t i = 0; i < rows * cols; i++) y.d[i] = x.d[i % cols * ld + i / cols];
                ops_transpose(y.p, x.p, dtype_size(t), rows, cols, ld);
                check(&y, 0, 0, "transpose");
                row_free(&x);
            }
}

static void test_swiglu(void **state) {
    (void)state;
    for (int k = 0; k < SHAPES; k++)
        for (enum dtype t = DTYPE_F32; t <= DTYPE_BF16; t++) WITH_THREADS(threads) {
                const int64_t n = shapes[k].n, F = shapes[k].E;
                struct row a = row_normal(t, n * F, 0), b = row_normal(t, n * F, 1), dh = row_normal(t, n * F, 0);
                struct row h = row_new(t, n * F, 0);
                ref_swiglu(h.d, a.d, b.d, n * F);
                ops_swiglu(h.p, a.p, b.p, t, n, F);
                check(&h, 1e-6, 1e-9, "swiglu");
                h = row_new(t, n * F, 0);
                ref_swiglu_backward(a.d, b.d, h.d, dh.d, n * F);
                ops_swiglu_backward(a.p, b.p, h.p, dh.p, t, n, F);
                check(&h, 1e-6, 1e-9, "swiglu_backward h");
                check(&a, 2e-6, 1e-6, "swiglu_backward da");
                check(&b, 1e-6, 1e-9, "swiglu_backward db");
                row_free(&dh);
            }
}

static void test_gather(void **state) {
    (void)state;
    for (int k = 0; k < SHAPES; k++) {
        const int64_t n = shapes[k].n, E = shapes[k].E, all = 3 * n;
        int64_t *index = calloc((size_t)n, sizeof *index);
        for (int64_t i = 0; i < n; i++) index[i] = 3 * i + (int64_t)rng_below(1, RNG_TEST, 6, (uint64_t)i, 3);
        WITH_THREADS(threads) {
            for (enum dtype t = DTYPE_F32; t <= DTYPE_BF16; t++) {
                struct row x = row_normal(t, all * E, 0), y = row_new(t, n * E, 0);
                ref_gather(y.d, x.d, index, n, E);
                ops_gather(y.p, x.p, t, index, n, E);
                assert_false(row_guards_broken(&y));
                ref_widen(x.d, y.p, t, n * E);
                assert_memory_equal(x.d, y.d, (size_t)(n * E) * sizeof *x.d);
                row_free(&x);
                row_free(&y);
            }
            struct row y = row_normal(DTYPE_F32, all * E, 0), x = row_normal(DTYPE_F32, n * E, 0);
            ref_scatter_add(y.d, x.d, index, n, E);
            ops_scatter_add(y.p, x.p, index, n, E);
            check(&y, 1e-7, 0, "scatter_add");
            row_free(&x);
        }
        free(index);
    }
}

static void test_flat(void **state) {
    (void)state;
    for (int k = 0; k < LENGTHS; k++) WITH_THREADS(threads) {
            const int64_t n = lengths[k];
            struct row x = row_normal(DTYPE_F32, n, 1), y = row_normal(DTYPE_F32, n, 0), h = row_new(DTYPE_BF16, n, 0);
            memcpy(h.d, x.d, (size_t)n * sizeof *h.d);
            ops_convert(h.p, DTYPE_BF16, x.p, DTYPE_F32, n);
            check(&h, 0, 1e-38, "convert");
            ref_add(y.d, x.d, n);
            ref_scale(y.d, -3, n);
            for (int64_t i = 0; i < n; i++) y.d[i] += 0.5 * x.d[i];
            ops_add(y.p, x.p, n);
            ops_scale(y.p, -3, n);
            ops_add_scaled(y.p, 0.5f, x.p, n);
            assert_int_equal(row_wrong(&y, 4e-7, 0, "add, scale, add scaled"), 0);
            memset(y.d, 0, (size_t)n * sizeof *y.d);
            ops_zero(y.p, n * 4);
            check(&y, 0, 0, "zero");
            row_free(&x);
        }
}

static void test_sum_squares(void **state) {
    (void)state;
    for (int k = 0; k < LENGTHS; k++) {
        const int64_t n = lengths[k] * (k == LENGTHS - 1 ? 19 : 1); /* the last: more pieces than partial sums */
        struct row x = row_uniform(DTYPE_F32, n, 0, -1, 1);
        double one = 0;
        WITH_THREADS(threads) {
            const double got = ops_sum_squares(x.p, n), want = ref_sum_squares(x.d, n);
            assert_true(fabs(got - want) <= 1e-11 * want);
            if (threads == 1) one = got;
            assert_memory_equal(&got, &one, sizeof got);
        }
        row_free(&x);
    }
}

static void test_square_sums(void **state) {
    (void)state;
    enum { EACH = 1000 };
    for (int k = 0; k < LENGTHS; k++) {
        const int64_t n = lengths[k], pieces = (n + EACH - 1) / EACH;
        struct row x = row_uniform(DTYPE_F32, n, 0, -1, 1);
        double *got = calloc((size_t)pieces + 1, sizeof *got), *one = calloc((size_t)pieces + 1, sizeof *one);
        WITH_THREADS(threads) {
            ops_square_sums(got, x.p, n, EACH);
            for (int64_t i = 0; i < pieces; i++) {
                const double want = ref_sum_squares(x.d + i * EACH, i < pieces - 1 ? EACH : n - i * EACH);
                assert_true(fabs(got[i] - want) <= 1e-11 * want);
            }
            if (threads == 1) memcpy(one, got, (size_t)pieces * sizeof *got);
            assert_memory_equal(got, one, (size_t)(pieces + 1) * sizeof *got);
        }
        free(got);
        free(one);
        row_free(&x);
    }
}

static void test_adamw(void **state) {
    (void)state;
    const struct adamw s = {.lr = 1e-2f,
                            .beta1 = 0.9f,
                            .beta2 = 0.95f,
                            .eps = 1e-8f,
                            .weight_decay = 0.1f,
                            .grad_scale = 0.5f,
                            .correction1 = 0.19f,
                            .correction2 = 0.0975f};
    for (int k = 0; k < LENGTHS; k++) WITH_THREADS(threads) {
            const int64_t n = lengths[k];
            struct row w = row_normal(DTYPE_F32, n, 0), g = row_normal(DTYPE_F32, n, 0);
            struct row m = row_normal(DTYPE_F32, n, 0), v = row_uniform(DTYPE_F32, n, 0, 0, 1);
            ref_adamw(w.d, m.d, v.d, g.d, n, &s);
            ops_adamw(w.p, m.p, v.p, g.p, n, &s);
            check(&w, 4e-7, 2e-7, "adamw w");
            check(&m, 4e-7, 1e-7, "adamw m");
            check(&v, 4e-7, 1e-8, "adamw v");
            row_free(&g);
        }
}

int main(void) {
    struct err err = {{0}};
    if (kernels_init(&err) < 0) {
        printf("%s\n", err.msg);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embed),       cmocka_unit_test(test_rmsnorm),     cmocka_unit_test(test_rmsnorm_backward),
        cmocka_unit_test(test_swiglu),      cmocka_unit_test(test_gather),      cmocka_unit_test(test_flat),
        cmocka_unit_test(test_sum_squares), cmocka_unit_test(test_square_sums), cmocka_unit_test(test_adamw),
        cmocka_unit_test(test_layernorm),   cmocka_unit_test(test_gelu),        cmocka_unit_test(test_transpose),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
