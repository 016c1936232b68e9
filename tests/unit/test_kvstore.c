/* Stores in the whole network: a sequence cut into pieces of two rows or more gives the bits of the uncut one, single
 * steps give the same tokens; what was appended and not kept,
 * or cut off again, leaves no trace; company does not matter; steps allocate nothing; errors at opening are clear. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/rng.h"
#include "compute/gemm.h"
#include "model/kvstore.h"
#include "model/transformer.h"

enum { V = 256, LENGTH = 130, SEQUENCES = 3, ROWS = SEQUENCES * LENGTH };

static void must(int r, const struct err *err) {
    if (r < 0) fail_msg("%s", err->msg);
}

struct network {
    struct weights weights;
    struct transformer *model;
    float *flat;
};

static void network_open(struct network *n, enum family family, enum dtype precision) {
    const struct config c = {.family = family,
                             .block_size = LENGTH,
                             .vocab_size = V,
                             .padded_vocab_size = V,
                             .mask_id = family == FAMILY_MDM ? V : -1,
                             .n_layer = 3,
                             .n_head = 6,
                             .n_query_groups = 2,
                             .n_embd = 120,
                             .intermediate_size = 160,
                             .norm_eps = 1e-5,
                             .rope_base = 10000,
                             .bos_id = -1,
                             .eos_id = -1};
    const struct transformer_settings s = {.precision = precision, .max_rows = ROWS};
    struct err err = {{0}};
    struct params p;
    must(params_init(&p, &c, &err), &err);
    n->flat = calloc((size_t)p.total, sizeof *n->flat);
    assert_non_null(n->flat);
    params_random(n->flat, &p, 1);
    params_free(&p);
    must(weights_flat(&n->weights, &c, n->flat, &err), &err);
    must(transformer_open(&n->model, &n->weights, &s, &err), &err);
}

static void network_close(struct network *n) {
    transformer_close(n->model);
    weights_free(&n->weights);
    free(n->flat);
}

static struct kvstore *store_open(const struct network *n, enum dtype t) {
    struct kvstore *s;
    struct err err = {{0}};
    must(kvstore_open(&s, &n->weights.config, LENGTH, t, &err), &err);
    return s;
}

static int32_t tokens[SEQUENCES][LENGTH];

static void draw_tokens(void) {
    for (int s = 0; s < SEQUENCES; s++)
        for (int i = 0; i < LENGTH; i++) tokens[s][i] = (int32_t)rng_below(4, RNG_TEST, (uint64_t)s, (uint64_t)i, V);
}

/* Logits of the next `count` tokens of sequence s, into place; kept when `append`. */
static void go_on(struct network *n, int s, struct kvstore *store, int64_t count, bool append, float *logits) {
    const int64_t at = store ? kvstore_length(store) : 0, starts[] = {0, count};
    const struct batch b = {
        .tokens = tokens[s] + at, .starts = starts, .n = count, .nseq = 1, .past = &store, .append = append};
    transformer_logits(n->model, &b, logits + at * V);
    if (append) kvstore_commit(store, count);
}

#define EVERY(precision, store)                                                                                        \
    for (enum dtype precision = DTYPE_F32; precision <= DTYPE_BF16; precision++)                                       \
        for (enum dtype store = DTYPE_F32; store <= DTYPE_BF16; store++)

static float whole[LENGTH * V], some[LENGTH * V];

static int64_t largest(const float *logits) {
    return kernels->argmax(logits, V);
}

/* Off by less than `limit` of the largest logit. */
static void nearly_whole(double limit) {
    double worst = 0, size = 0;
    for (int i = 0; i < LENGTH * V; i++) {
        const double off = fabs(some[i] - whole[i]), of = fabs(whole[i]);
        if (!(off <= worst)) worst = off; /* NaN too; gcc 12 for aarch64 does not survive fmax here */
        if (of > size) size = of;
    }
    if (!(worst <= size * limit)) fail_msg("a logit is off by %g of %g, limit %g", worst, size, limit);
}

static void cuts_do_not_matter(void **state) {
    (void)state;
    EVERY(precision, type) {
        struct network n;
        network_open(&n, FAMILY_ARM, precision);
        struct kvstore *store = store_open(&n, type);
        go_on(&n, 0, store, LENGTH, true, whole);
        const bool f32 = precision == DTYPE_F32 && type == DTYPE_F32; /* else roundings to bf16 flip */
        for (uint64_t way = 0; way < 5; way++) {
            memset(some, 0, sizeof some);
            kvstore_truncate(store, 0);
            for (int64_t left, count; (left = LENGTH - kvstore_length(store)) > 0;) {
                const int64_t most = left % 2 ? 2 : left < 40 ? left : 40;
                count = way == 0 ? 1 : 2 + (int64_t)rng_below(5, RNG_TEST, way, (uint64_t)left, (uint64_t)most - 1);
                go_on(&n, 0, store, left - count == 1 ? left : count, true, some);
            }
            if (way > 0) {
                assert_memory_equal(some, whole, sizeof whole);
                continue;
            }
            nearly_whole(f32 ? 1e-5 : 0.02); /* the sums of single steps have another order */
            for (int i = 0; f32 && i < LENGTH; i++) assert_int_equal(largest(some + i * V), largest(whole + i * V));
        }
        go_on(&n, 0, NULL, LENGTH, false, some); /* without a store also, and keys are rounded otherwise */
        nearly_whole(f32 ? 1e-5 : 0.02);
        kvstore_close(store);
        network_close(&n);
    }
}

/* The last rows' logits alone, or nobody's: keys and values are written all the same. */
static void only_wanted_rows(void **state) {
    (void)state;
    static float all[ROWS * V];
    struct network n;
    network_open(&n, FAMILY_ARM, DTYPE_F32);
    struct kvstore *store = store_open(&n, DTYPE_F32), *other = store_open(&n, DTYPE_F32);
    go_on(&n, 0, store, LENGTH, true, all);
    const int64_t starts[] = {0, 50}, wanted[] = {17, 49};
    struct batch b = {.tokens = tokens[0], .starts = starts, .n = 50, .nseq = 1, .wanted = wanted, .past = &other};
    b.append = true;
    transformer_body(n.model, &b); /* none */
    kvstore_commit(other, 50);
    go_on(&n, 0, other, LENGTH - 50, true, some);
    assert_memory_equal(some + 50 * V, all + 50 * V, (LENGTH - 50) * V * sizeof *all);
    kvstore_truncate(other, 0);
    b.nwanted = 2;
    transformer_logits(n.model, &b, some);
    assert_memory_equal(some, all + 17 * V, V * sizeof *all);
    assert_memory_equal(some + V, all + 49 * V, V * sizeof *all);
    kvstore_commit(other, 50);
    go_on(&n, 0, other, LENGTH - 50, true, some);
    assert_memory_equal(some + 50 * V, all + 50 * V, (LENGTH - 50) * V * sizeof *all);
    kvstore_close(store);
    kvstore_close(other);
    network_close(&n);
}

static void going_back_leaves_no_trace(void **state) {
    (void)state;
    for (int family = FAMILY_MDM; family <= FAMILY_ARM; family++) EVERY(precision, type) {
            struct network n;
            network_open(&n, family, precision);
            struct kvstore *a = store_open(&n, type), *b = store_open(&n, type);
            go_on(&n, 0, a, 60, true, whole);
            go_on(&n, 0, a, 30, true, whole); /* a block of an mdm sees all of itself and its past */

            go_on(&n, 0, b, 60, true, some);
            go_on(&n, 0, b, 70, false, some); /* looked at, not kept */
            const int32_t kept = tokens[0][60];
            tokens[0][60] = (kept + 1) % V;
            go_on(&n, 0, b, 45, true, some); /* the wrong way */
            tokens[0][60] = kept;
            kvstore_truncate(b, 60);
            assert_int_equal(kvstore_length(b), 60);
            go_on(&n, 0, b, 30, true, some);
            assert_memory_equal(some, whole, 90 * V * sizeof *some);
            go_on(&n, 0, a, 40, true, whole);
            go_on(&n, 0, b, 40, true, some);
            assert_memory_equal(some, whole, sizeof whole);
            kvstore_close(a);
            kvstore_close(b);
            network_close(&n);
        }
}

/* One with a past, one with an empty store, one without: together as alone. */
static void company_does_not_matter(void **state) {
    (void)state;
    static int32_t ids[ROWS];
    static float together[ROWS * V];
    static const int64_t before[] = {71, 0, 0};
    for (int family = FAMILY_MDM; family <= FAMILY_ARM; family++)
        EVERY(precision, type) for (int64_t go = 1; go < 4; go += 2) {
            const int64_t count[] = {go, 88, 50},
                          starts[] = {0, go, go + 88, go + 138}; /* a single step, or three rows */
            struct network n;
            network_open(&n, family, precision);
            struct kvstore *stores[SEQUENCES] = {store_open(&n, type), store_open(&n, type), NULL};
            go_on(&n, 0, stores[0], before[0], true, some);
            for (int s = 0; s < SEQUENCES; s++)
                memcpy(ids + starts[s], tokens[s] + before[s], (size_t)count[s] * sizeof *ids);
            const struct batch b = {.tokens = ids, .starts = starts, .n = go + 138, .nseq = SEQUENCES, .past = stores};
            for (int append = 0; append < 2; append++) {
                struct batch with = b;
                with.append = append;
                transformer_logits(n.model, &with, together);
                for (int s = 0; s < SEQUENCES; s++) {
                    go_on(&n, s, stores[s], count[s], false, some);
                    assert_memory_equal(together + starts[s] * V, some + before[s] * V,
                                        (size_t)(count[s] * V) * sizeof *some);
                }
            }
            for (int s = 0; s < SEQUENCES; s++) kvstore_close(stores[s]);
            network_close(&n);
        }
}

static void steps_allocate_nothing(void **state) {
    (void)state;
    for (int family = FAMILY_MDM; family <= FAMILY_ARM; family++) {
        struct network n;
        network_open(&n, family, DTYPE_BF16);
        struct kvstore *store = store_open(&n, DTYPE_BF16);
        const int64_t calls = mem_calls();
        go_on(&n, 0, store, 37, true, some);
        for (int i = 0; i < 50; i++) go_on(&n, 0, store, 1, true, some);
        for (int64_t i = 1; i < LENGTH - 87; i += 5) go_on(&n, 0, store, i, false, some);
        for (int64_t i = 1; i <= LENGTH; i += 9) go_on(&n, 0, NULL, i, false, some); /* nor does any other forward */
        assert_int_equal(mem_calls(), calls);
        kvstore_close(store);
        network_close(&n);
    }
}

static void errors_are_clear(void **state) {
    (void)state;
    struct network n;
    struct kvstore *s;
    struct err err = {{0}};
    network_open(&n, FAMILY_ARM, DTYPE_F32);
    assert_true(kvstore_open(&s, &n.weights.config, LENGTH + 1, DTYPE_F32, &err) < 0);
    assert_null(s);
    assert_string_equal(err.msg, "key/value store: 131 positions asked for, the model has 130: use a shorter sequence");
    for (long i = 1; i <= 2; i++) {
        const int64_t before = mem_in_use();
        fault_set(FAULT_ALLOC, i, false);
        assert_true(kvstore_open(&s, &n.weights.config, LENGTH, DTYPE_F32, &err) < 0);
        fault_set(FAULT_ALLOC, 0, false);
        assert_null(s);
        assert_non_null(strstr(err.msg, "key/value store"));
        assert_int_equal(mem_in_use(), before);
    }
    /* what it says it takes is what it takes, and half of it for bf16 */
    const int64_t before = mem_in_use(), bytes = kvstore_bytes(&n.weights.config, LENGTH, DTYPE_F32);
    assert_int_equal(2 * kvstore_bytes(&n.weights.config, LENGTH, DTYPE_BF16), bytes);
    assert_true(bytes >= 3 * 2 * 2 * 20 * LENGTH * 4);
    s = store_open(&n, DTYPE_F32);
    assert_in_range(mem_in_use() - before, bytes, bytes + 512);
    assert_int_equal(kvstore_capacity(s), LENGTH);
    kvstore_close(s);
    kvstore_close(NULL);
    network_close(&n);
}

int main(void) {
    struct err err = {{0}};
    must(kernels_init(&err), &err);
    must(gemm_init(2, &err), &err);
    draw_tokens();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_do_not_matter),         cmocka_unit_test(only_wanted_rows),
        cmocka_unit_test(going_back_leaves_no_trace), cmocka_unit_test(company_does_not_matter),
        cmocka_unit_test(steps_allocate_nothing),     cmocka_unit_test(errors_are_clear)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
