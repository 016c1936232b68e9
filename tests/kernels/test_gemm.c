/* The small products of attention's tiles, against ref_gemm. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "compute/gemm.h"
#include "row_buffer.h"

enum { THREADS = 3 };

/* Sums of K products of numbers below 1 (test_linear.c). */
static double rounding(int64_t K) {
    return 1.8e-7 * (double)(K + 4);
}

static void check_gemm(struct gemm_shape s) {
    struct row a = row_uniform(s.type, (s.trans_a ? s.K : s.M) * s.lda, 0, -1, 1);
    struct row b = row_uniform(s.type, (s.trans_b ? s.N : s.K) * s.ldb, 0, -1, 1);
    struct row c[THREADS];
    for (int i = 0; i < THREADS; i++) {
        c[i] = row_uniform(s.c_type, s.M * s.ldc, 0, -1, 1);
        ref_gemm(&s, a.d, b.d, c[i].d);
    }
    struct err err = {{0}};
    assert_int_equal(gemm_prepare(&s, &err), 0);
#pragma omp parallel for num_threads(THREADS)
    for (int i = 0; i < THREADS; i++) gemm_run(gemm_get(&s), a.p, b.p, c[i].p);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(row_wrong(&c[i], 1e-7, rounding(s.K), "gemm"), 0);
        row_free(&c[i]);
    }
    row_free(&a);
    row_free(&b);
}

static void test_gemm(void **state) {
    (void)state;
    static const int64_t sizes[][3] = {{1, 1, 1},    {32, 64, 64}, {128, 96, 20},
                                       {33, 7, 129}, {5, 300, 64}, {128, 64, 320}};
    for (int i = 0; i < 6; i++)
        for (int flags = 0; flags < 16; flags++) {
            struct gemm_shape s = {.M = sizes[i][0], .N = sizes[i][1], .K = sizes[i][2], .type = DTYPE_F32};
            const int64_t more = flags & 8 ? 5 : 0;
            s.trans_a = flags & 1;
            s.trans_b = flags & 2;
            s.add = flags & 4;
            s.lda = (s.trans_a ? s.M : s.K) + more;
            s.ldb = (s.trans_b ? s.K : s.N) + more;
            s.ldc = s.N + more;
            check_gemm(s);
            s.type = DTYPE_BF16;
            if (gemm_native_bf16()) check_gemm(s);
        }
}

/* Last: none of all the products above is one that oneDNN has no fast code for. */
static void test_fast(void **state) {
    (void)state;
    assert_int_equal(gemm_slow(), 0);
}

int main(void) {
    struct err err = {{0}};
    if (kernels_init(&err) < 0 || gemm_init(THREADS, &err) < 0) {
        printf("%s\n", err.msg);
        return 1;
    }
    if (!gemm_native_bf16()) printf("skipped: bf16 primitives (this machine has none)\n");
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_gemm), cmocka_unit_test(test_fast)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
