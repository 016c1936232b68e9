/* The small products of attention's tiles, against ref_gemm. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/mem.h"
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

/* First: a start that fails for want of memory may be tried again. */
static void test_start(void **state) {
    (void)state;
    struct err err = {{0}};
    for (int n = 1;; n++) {
        fault_set(FAULT_ALLOC, n, false);
        const int r = gemm_init(THREADS, &err);
        const long calls = fault_count(FAULT_ALLOC);
        fault_set(FAULT_ALLOC, 0, false);
        if (r == 0) {
            assert_true(n > 2 && calls < n);
            break;
        }
        assert_int_equal(strncmp(err.msg, "out of memory", 13), 0);
    }
}

/* Second: the first run of a kind of product takes one result, not one a thread. */
static void test_first_run(void **state) {
    (void)state;
    struct err err = {{0}};
    const struct gemm_shape s = {
        .M = 384, .N = 16, .K = 16, .lda = 16, .ldb = 16, .ldc = 1 << 16, .type = DTYPE_F32, .c_type = DTYPE_F32};
    const int64_t result = s.M * s.ldc * 4, others = (32 + 4 * THREADS) << 20, before = mem_in_use();
    assert_int_equal(gemm_prepare(&s, &err), 0);
    assert_in_range(mem_peak() - before, result, result + others);
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

/* Weights of one shape share what packs them. */
static void test_packing(void **state) {
    (void)state;
    if (!gemm_native_bf16()) return;
    struct err err = {{0}};
    const int64_t none = mem_in_use();
    assert_int_equal(gemm_prepare_pack(96, 40, DTYPE_F32, 40, true, &err), 0);
    const int64_t one = mem_in_use();
    assert_true(one > none);
    assert_int_equal(gemm_prepare_pack(96, 40, DTYPE_F32, 40, true, &err), 0);
    assert_int_equal(mem_in_use(), one);
    assert_int_equal(gemm_prepare_pack(96, 40, DTYPE_F32, 96, false, &err), 0);
    assert_true(mem_in_use() > one);
}

/* Last: none of all the products above is one that oneDNN has no fast code for. */
static void test_fast(void **state) {
    (void)state;
    assert_int_equal(gemm_slow(), 0);
}

int main(void) {
    struct err err = {{0}};
    if (kernels_init(&err) < 0) {
        printf("%s\n", err.msg);
        return 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_start), cmocka_unit_test(test_first_run),
                                       cmocka_unit_test(test_gemm), cmocka_unit_test(test_packing),
                                       cmocka_unit_test(test_fast)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (!gemm_native_bf16()) printf("skipped: bf16 primitives (this machine has none)\n");
    return failed;
}
