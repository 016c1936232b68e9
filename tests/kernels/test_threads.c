/* Products and attention are cut into tasks by the number of threads: the results have the same bits for 1, 2, 5, 16 and
 * 64 of them. oneDNN is started once in a process with a number of threads, so each number is a process of its own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"
#include "compute/attention.h"
#include "compute/gemm.h"
#include "compute/linear.h"

static const int numbers[] = {1, 2, 5, 16, 64};
enum { NUMBERS = (int)(sizeof numbers / sizeof *numbers), ROWS = 601, BYTES = 24 << 20 };

/* What a process writes: results one after another. */
static char *at;

static void *result(int64_t n, enum dtype t) {
    void *p = at;
    at += n * (int64_t)dtype_size(t);
    return p;
}

static void *numbers_like(int64_t n, enum dtype t, uint64_t stream) {
    struct err err = {{0}};
    float *f = mem_alloc(n, 4, "test", &err);
    rng_normal(f, n, 7, RNG_TEST, stream, 0);
    for (int64_t i = 0; i < n; i++) f[i] *= 0.1f;
    if (t == DTYPE_F32) return f;
    void *h = mem_alloc(n, 2, "test", &err);
    kernels->convert(h, t, f, DTYPE_F32, n);
    mem_free(f);
    return h;
}

static int products(int64_t N, int64_t K, enum dtype t) {
    struct err err = {{0}};
    struct linear w;
    float *source = numbers_like(N * K, DTYPE_F32, 1);
    const int64_t bytes = linear_bytes(N, K, DTYPE_F32, t);
    void *packed = bytes ? mem_alloc(bytes, 1, "test", &err) : NULL;
    if (linear_init(&w, N, K, source, DTYPE_F32, NULL, t, packed, &err) < 0 ||
        linear_reserve(&w, ROWS, LINEAR_DW, &err) < 0)
        return -1;
    void *x = numbers_like(ROWS * K, t, 2), *dy = numbers_like(ROWS * N, t, 3);
    linear_forward(result(ROWS * N, DTYPE_F32), DTYPE_F32, x, &w, ROWS, false);
    linear_backward_data(result(ROWS * K, DTYPE_F32), DTYPE_F32, dy, &w, ROWS, false);
    linear_backward_weight(result(N * K, DTYPE_F32), NULL, dy, x, &w, ROWS);
    mem_free(source), mem_free(packed), mem_free(x), mem_free(dy);
    return 0;
}

static int one_attention(enum dtype t) {
    struct err err = {{0}};
    static float cos[ROWS * 16], sin[ROWS * 16];
    for (int i = 0; i < ROWS * 16; i++) cos[i] = 0.8f, sin[i] = 0.6f;
    const struct attention a = {.H = 4, .G = 2, .D = 32, .t = t, .cos = cos, .sin = sin};
    const int64_t starts[] = {0, 300, 301, ROWS}, W = (a.H + 2 * a.G) * a.D, E = a.H * a.D;
    const struct attention_batch b = {.n = ROWS, .nseq = 3, .starts = starts, .nrows = ROWS};
    void *qkv = numbers_like(ROWS * W, t, 4), *dy = numbers_like(ROWS * E, t, 5), *y = result(ROWS * E, t);
    float *lse = result(ROWS * a.H, DTYPE_F32);
    void *scratch = mem_alloc(attention_scratch(&a, 300, 300, true), 1, "test", &err);
    if (attention_prepare(&a, 300, true, &err) < 0) return -1;
    attention_forward(y, lse, qkv, &a, &b, scratch);
    attention_backward(result(ROWS * W, t), dy, y, lse, qkv, &a, &b, scratch);
    mem_free(qkv), mem_free(dy), mem_free(scratch);
    return 0;
}

static int child(int threads) {
    struct err err = {{0}};
    if (kernels_init(&err) < 0 || gemm_init(threads, &err) < 0) return 1;
    static const struct { int64_t N, K; } shapes[] = {{768, 768}, {600, 250}, {96, 1536}, {1537, 64}};
    for (enum dtype t = DTYPE_F32; t <= DTYPE_BF16; t++) {
        for (int i = 0; i < 4; i++)
            if (products(shapes[i].N, shapes[i].K, t) < 0) return 1;
        if (one_attention(t) < 0) return 1;
    }
    return 0;
}

static void same_bits_for_any_number_of_threads(void **state) {
    (void)state;
    char *out[NUMBERS];
    int64_t bytes = 0;
    for (int i = 0; i < NUMBERS; i++) {
        out[i] = mmap(NULL, 2 * BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        assert_true(out[i] != MAP_FAILED);
        const pid_t pid = fork();
        if (pid == 0) {
            at = out[i] + 64;
            const int failed = child(numbers[i]);
            *(int64_t *)(void *)out[i] = at - out[i];
            _exit(failed);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        bytes = *(int64_t *)(void *)out[i];
        assert_in_range(bytes, BYTES / 4, 2 * BYTES);
        for (int64_t j = 0; j < bytes; j += 4)
            if (memcmp(out[i] + j, out[0] + j, 4) != 0)
                fail_msg("%d threads: byte %lld of %lld differs", numbers[i], (long long)j, (long long)bytes);
    }
    for (int i = 0; i < NUMBERS; i++) munmap(out[i], 2 * BYTES);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_bits_for_any_number_of_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
