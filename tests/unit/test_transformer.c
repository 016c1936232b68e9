/* The network as a whole, where the golden cases' tiny models do not reach: products on two threads at once, memory,
 * and rows that do not depend on which others are wanted. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"
#include "compute/gemm.h"
#include "model/transformer.h"

enum { VOCAB = 200, LENGTH = 160, ROWS = 4 * LENGTH };

static void must(int r, const struct err *err) {
    if (r < 0) fail_msg("%s", err->msg);
}

struct network {
    struct weights weights;
    struct transformer *model;
    float *flat;
};

/* Wide enough that its products run on both threads. */
static void network_open(struct network *n, enum family family, const struct transformer_settings *s) {
    const struct config c = {.family = family,
                             .block_size = LENGTH,
                             .vocab_size = VOCAB,
                             .padded_vocab_size = 256,
                             .mask_id = family == FAMILY_MDM ? 256 : -1,
                             .n_layer = 3,
                             .n_head = 4,
                             .n_query_groups = 2,
                             .n_embd = 192,
                             .intermediate_size = 320,
                             .norm_eps = 1e-5,
                             .rope_base = 10000,
                             .bos_id = -1,
                             .eos_id = -1};
    struct err err = {{0}};
    struct params p;
    must(params_init(&p, &c, &err), &err);
    n->flat = calloc((size_t)p.total, sizeof *n->flat);
    assert_non_null(n->flat);
    params_random(n->flat, &p, 1);
    params_free(&p);
    must(weights_flat(&n->weights, &c, n->flat, &err), &err);
    must(transformer_open(&n->model, &n->weights, s, &err), &err);
}

static void network_close(struct network *n) {
    transformer_close(n->model);
    weights_free(&n->weights);
    free(n->flat);
}

/* Batch number `k`: sequences of random lengths and tokens, a random share of the rows wanted. k = 0: the largest. */
static struct batch make_batch(uint64_t k, int32_t *tokens, int64_t *starts, int64_t *wanted) {
    struct batch b = {.tokens = tokens, .starts = starts, .wanted = wanted, .nseq = k ? 1 + (int64_t)k % 4 : 4};
    const double share = k ? rng_uniform(2, RNG_TEST, k, 0) : 1;
    starts[0] = 0;
    for (int64_t s = 0; s < b.nseq; s++)
        starts[s + 1] = starts[s] + (k ? 1 + rng_below(3, RNG_TEST, k, (uint64_t)s, LENGTH) : LENGTH);
    b.n = starts[b.nseq];
    for (int64_t i = 0; i < b.n; i++) {
        tokens[i] = (int32_t)rng_below(4, RNG_TEST, k, (uint64_t)i, VOCAB);
        if (rng_uniform(5, RNG_TEST, k, (uint64_t)i) < share) wanted[b.nwanted++] = i;
    }
    return b;
}

static void a_row_does_not_depend_on_the_others_wanted(void **state) {
    (void)state;
    static int32_t tokens[ROWS];
    static int64_t starts[5], wanted[ROWS];
    static float all[ROWS * 256], some[ROWS * 256];
    for (int family = FAMILY_MDM; family <= FAMILY_ARM; family++) {
        struct network n;
        network_open(&n, family, &(struct transformer_settings){.precision = DTYPE_F32, .max_rows = ROWS});
        for (uint64_t k = 1; k < 40; k++) {
            struct batch b = make_batch(k, tokens, starts, wanted);
            if (b.nwanted == 0) continue;
            transformer_logits(n.model, &b, some);
            b.wanted = NULL;
            transformer_logits(n.model, &b, all);
            const int64_t v = n.weights.config.padded_vocab_size;
            for (int64_t i = 0; i < b.nwanted; i++)
                assert_memory_equal(some + i * v, all + wanted[i] * v, (size_t)v * sizeof *all);
        }
        network_close(&n);
    }
}

/* The first batch makes what all sizes need; after it a step asks the allocator for nothing. */
static void training(const struct transformer_settings *s) {
    static int32_t tokens[ROWS], targets[ROWS];
    static int64_t starts[5], wanted[ROWS];
    static float weight[ROWS];
    struct network n;
    network_open(&n, FAMILY_MDM, s);
    float *grad = calloc((size_t)n.weights.params.total, sizeof *grad);
    assert_non_null(grad);
    int64_t calls = 0;
    for (uint64_t k = 0; k < 30; k++) {
        const struct batch b = make_batch(k, tokens, starts, wanted);
        for (int64_t i = 0; i < b.nwanted; i++) {
            targets[i] = (int32_t)(i % VOCAB);
            weight[i] = 1.0f / (float)b.nwanted;
        }
        transformer_train(n.model, &b, targets, weight, grad);
        if (k == 0) calls = mem_calls();
    }
    assert_int_equal(mem_calls(), calls);
    free(grad);
    network_close(&n);
}

static void a_step_allocates_nothing(void **state) {
    (void)state;
    for (int precision = DTYPE_F32; precision <= DTYPE_BF16; precision++) {
        for (int recompute = 0; recompute < 2; recompute++)
            training(&(struct transformer_settings){
                .precision = precision, .max_rows = ROWS, .training = true, .recompute = recompute});
    }
}

/* Products counted by hand: sequences of 5 and 3 tokens, width 192, q/k/v 384, MLP 320, vocabulary 256, 3 layers. */
static void flops_are_those_that_run(void **state) {
    (void)state;
    const int64_t starts[] = {0, 5, 8}, wanted[] = {1, 4, 6};
    struct batch b = {.starts = starts, .wanted = wanted, .n = 8, .nseq = 2, .nwanted = 3};
    struct network n;
    network_open(&n, FAMILY_MDM, &(struct transformer_settings){.max_rows = ROWS});
    const double qkv = 2 * 384 * 192, proj = 2 * 192 * 192, mlp = 3 * 2 * 320 * 192, head = 2 * 256 * 192,
                 key = 4 * 192;
    double whole_layer = 8 * (qkv + proj + mlp) + key * (5 * 5 + 3 * 3);
    double last_layer = 8 * qkv + 3 * (proj + mlp) + key * (5 + 5 + 3);
    assert_true(transformer_train_flops(&n.weights, &b) == 3 * (2 * whole_layer + last_layer + 3 * head));
    b.wanted = NULL;
    assert_true(transformer_train_flops(&n.weights, &b) == 3 * (3 * whole_layer + 8 * head));
    network_close(&n);
    network_open(&n, FAMILY_ARM, &(struct transformer_settings){.max_rows = ROWS});
    whole_layer = 8 * (qkv + proj + mlp) + key * (1 + 2 + 3 + 4 + 5 + 1 + 2 + 3);
    assert_true(transformer_train_flops(&n.weights, &b) == 3 * (3 * whole_layer + 8 * head));
    network_close(&n);
}

int main(void) {
    struct err err = {{0}};
    must(kernels_init(&err), &err);
    must(gemm_init(2, &err), &err);
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_row_does_not_depend_on_the_others_wanted),
                                       cmocka_unit_test(a_step_allocates_nothing),
                                       cmocka_unit_test(flops_are_those_that_run)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
