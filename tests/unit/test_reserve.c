/* What is planned of memory is what opening takes: buffers of products for every type and set of products, and of a whole
 * network. They are shared and only grow, so each case is a process of its own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "compute/gemm.h"
#include "compute/linear.h"
#include "model/transformer.h"

enum {
    N = 1536,
    K = 1024,
    ROWS = 1200,
    THREADS_OWN = 1300000 /* bytes: a thread's blocks, which grow with neither; primitives; tables */
};

/* Bytes that opening took beyond what was planned, by a child. */
static int64_t in_a_child(int64_t (*beyond)(const void *), const void *context) {
    int64_t bytes = INT64_MIN;
    int end[2], status;
    assert_int_equal(pipe(end), 0);
    const pid_t child = fork();
    if (child == 0) {
        struct err err = {{0}};
        if (kernels_init(&err) < 0 || gemm_init(1, &err) < 0) _exit(1);
        bytes = beyond(context);
        _exit(write(end[1], &bytes, sizeof bytes) == sizeof bytes ? 0 : 1);
    }
    close(end[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(read(end[0], &bytes, sizeof bytes), sizeof bytes);
    close(end[0]);
    return bytes;
}

struct products {
    enum dtype t;
    enum linear_products which;
};

static int64_t of_products(const void *context) {
    const struct products *c = context;
    struct err err = {{0}};
    struct linear w;
    int64_t planned[2] = {0};
    const int64_t packed = linear_bytes(N, K, c->t, c->t);
    void *source = mem_alloc(N * K, 4, "test", &err), *blocks = mem_alloc(packed, 1, "test", &err);
    if (linear_init(&w, N, K, source, c->t, NULL, c->t, packed ? blocks : NULL, &err) < 0) return INT64_MIN;
    linear_reserve_bytes(planned, N, K, c->t, ROWS, c->which);
    const int64_t before = mem_in_use();
    if (linear_reserve(&w, ROWS, c->which, &err) < 0) return INT64_MIN;
    return mem_in_use() - before - planned[0] - planned[1];
}

static void products(void **state) {
    (void)state;
    static const enum dtype types[] = {DTYPE_F32, DTYPE_BF16};
    for (int t = 0; t < 2; t++)
        for (int which = LINEAR_Y; which <= LINEAR_DW; which++) {
            const struct products c = {types[t], (enum linear_products)which};
            const int64_t beyond = in_a_child(of_products, &c);
            if (beyond < 0 || beyond > THREADS_OWN)
                fail_msg("type %d, products %d: %lld bytes beyond the plan", t, which, (long long)beyond);
        }
}

static int64_t of_network(const void *context) {
    const struct transformer_settings *s = context;
    static const struct config shape = {.family = FAMILY_MDM,
                                        .block_size = 64,
                                        .vocab_size = 4000,
                                        .padded_vocab_size = 4096,
                                        .mask_id = 4096,
                                        .n_layer = 2,
                                        .n_head = 8,
                                        .n_query_groups = 8,
                                        .n_embd = 512,
                                        .intermediate_size = 1024,
                                        .norm_eps = 1e-5,
                                        .rope_base = 10000,
                                        .bos_id = -1,
                                        .eos_id = -1};
    struct err err = {{0}};
    struct params p;
    struct weights w;
    struct transformer *m;
    if (params_init(&p, &shape, &err) < 0) return INT64_MIN;
    float *flat = mem_alloc(p.total, sizeof *flat, "test", &err);
    if (!flat || weights_flat(&w, &shape, flat, &err) < 0) return INT64_MIN;
    const int64_t planned = transformer_measure(&w, s, &err), before = mem_in_use();
    if (planned < 0 || transformer_open(&m, &w, s, &err) < 0) return INT64_MIN;
    return mem_in_use() - before - planned;
}

static void network(void **state) {
    (void)state;
    for (int t = 0; t < 2; t++)
        for (int training = 0; training < 2; training++) {
            const struct transformer_settings s = {
                .precision = t ? DTYPE_BF16 : DTYPE_F32, .max_rows = ROWS, .training = training};
            const int64_t beyond = in_a_child(of_network, &s);
            if (beyond < 0 || beyond > THREADS_OWN)
                fail_msg("type %d, training %d: %lld bytes beyond the plan", t, training, (long long)beyond);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(products), cmocka_unit_test(network)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
