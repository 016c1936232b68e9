/* Head product and cross-entropy fused: against ref_*, in one chunk and in several, with logits far above the target's;
 * losses alone; the same bits for any number of threads; a row alone equals the row among others. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <omp.h>

#include "base/err.h"
#include "base/mem.h"
#include "compute/gemm.h"
#include "compute/loss.h"
#include "row_buffer.h"

enum { THREADS = 3 };

struct head {
    int64_t n, V, E;
    enum dtype t;
    struct row x, source, weight;
    double *w; /* as products see it */
    int32_t *targets;
    struct linear head;
    void *packed, *scratch;
};

/* Logits of about normal distribution with a deviation of 0.3·√E·size. */
static struct head head_new(int64_t n, int64_t V, int64_t E, enum dtype t, double size) {
    struct err err = {{0}};
    struct head h = {.n = n, .V = V, .E = E, .t = t};
    struct row as_t = row_new(t, V * E, 0);
    h.x = row_normal(t, n * E, 0);
    ref_scale(h.x.d, size, n * E);
    ref_narrow(h.x.p, t, h.x.d, n * E);
    ref_widen(h.x.d, h.x.p, t, n * E);
    h.source = row_uniform(DTYPE_F32, V * E, 0, -0.5, 0.5);
    h.weight = row_uniform(DTYPE_F32, n, 0, -0.2, 2);
    for (int64_t i = 0; i < n; i += 5) ((float *)h.weight.p)[i] = 0;
    h.w = as_t.d;
    ref_narrow(as_t.p, t, h.source.d, V * E);
    ref_widen(h.w, as_t.p, t, V * E);
    free(as_t.base);
    h.targets = calloc((size_t)n + 1, sizeof *h.targets);
    for (int64_t i = 0; i < n; i++) h.targets[i] = (int32_t)rng_below(1, RNG_TEST, 8, (uint64_t)i, (uint64_t)V);
    const int64_t bytes = linear_bytes(V, E, DTYPE_F32, t);
    h.packed = bytes ? mem_alloc(bytes, 1, "test", &err) : NULL;
    h.scratch = mem_alloc(loss_scratch(n, V, E, t, true), 1, "test", &err);
    memset(h.scratch, 0xff, (size_t)loss_scratch(n, V, E, t, true));
    assert_int_equal(linear_init(&h.head, V, E, h.source.p, DTYPE_F32, NULL, t, h.packed, &err), 0);
    assert_int_equal(linear_reserve(&h.head, n, LINEAR_DW, &err), 0);
    return h;
}

static void head_free(struct head *h) {
    row_free(&h->x);
    row_free(&h->source);
    row_free(&h->weight);
    free(h->w);
    free(h->targets);
    mem_free(h->packed);
    mem_free(h->scratch);
}

static double run(struct head *h, float *loss, float *dx, float *dw) {
    return loss_cross_entropy(loss, dx, dw, h->x.p, &h->head, h->targets, h->weight.p, h->n, h->scratch);
}

/* ‖got − want‖ <= limit·‖want‖. */
static void near(struct row *r, double limit, const char *what) {
    double *got = calloc((size_t)r->n + 1, sizeof *got), sum = 0;
    ref_widen(got, r->p, r->t, r->n);
    for (int64_t i = 0; i < r->n; i++) sum += (got[i] - r->d[i]) * (got[i] - r->d[i]);
    free(got);
    assert_false(row_guards_broken(r));
    const double e = sqrt(sum / (ref_sum_squares(r->d, r->n) + 1e-300));
    if (!(e <= limit)) fail_msg("%s, type %d: off by %.3g, limit %.3g", what, (int)r->t, e, limit);
    row_free(r);
}

static void check(int64_t n, int64_t V, int64_t E, enum dtype t, double size) {
    struct head h = head_new(n, V, E, t, size);
    struct row loss = row_new(DTYPE_F32, n, 0), dx = row_new(DTYPE_F32, n * E, 0);
    struct row dw = row_uniform(DTYPE_F32, V * E, 0, -0.01, 0.01), alone = row_new(DTYPE_F32, n, 0);
    double *dw_before = calloc((size_t)(V * E), sizeof *dw_before);
    memcpy(dw_before, dw.d, (size_t)(V * E) * sizeof *dw_before);
    const double want = ref_loss_cross_entropy(loss.d, dx.d, dw.d, h.x.d, h.w, h.targets, h.weight.p, n, V, E);
    const double got = run(&h, loss.p, dx.p, dw.p), again = run(&h, alone.p, NULL, NULL);
    assert_true(got == again && again == run(&h, NULL, NULL, NULL));
    assert_memory_equal(loss.p, alone.p, (size_t)n * 4);
    assert_true(fabs(got - want) <= 1e-6 * (1 + fabs(want)));
    row_free(&alone);
    /* A logit of 50·size is off by its last bit: so are exponentials, relatively. */
    const double f32 = size > 1 ? 4e-6 * size : 0;
    near(&loss, 1e-6, "loss");
    near(&dx, f32 + (t == DTYPE_F32 ? 2e-6 : 0.003), "dx"); /* the gradient of logits is of type t */
    /* what was added to dw, not what was there */
    for (int64_t i = 0; i < V * E; i++) {
        dw.d[i] -= dw_before[i];
        ((float *)dw.p)[i] -= (float)dw_before[i];
    }
    near(&dw, f32 + (t == DTYPE_F32 ? 3e-6 : 0.003), "dw");
    free(dw_before);
    head_free(&h);
}

static void test_sizes(void **state) {
    (void)state;
    static const int64_t counts[] = {1, 2, 33, 100, 600, LOSS_CHUNK - 1, LOSS_CHUNK, LOSS_CHUNK + 1, LOSS_CHUNK + 300};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (enum dtype t = DTYPE_F32; t <= DTYPE_BF16; t++) {
            check(counts[i], 7, 5, t, 1);
            check(counts[i], 64, 33, t, 1);
            if (counts[i] <= 600) check(counts[i], 1000, 48, t, 1);
        }
}

/* Logits hundreds above the target's: e^z would not fit. */
static void test_far(void **state) {
    (void)state;
    for (enum dtype t = DTYPE_F32; t <= DTYPE_BF16; t++) {
        check(70, 1000, 48, t, 15);
        check(70, 1000, 48, t, 60);
    }
}

static void test_no_rows(void **state) {
    (void)state;
    struct head h = head_new(0, 9, 4, DTYPE_F32, 1);
    struct row dw = row_uniform(DTYPE_F32, 9 * 4, 0, -1, 1);
    assert_true(run(&h, NULL, NULL, NULL) == 0);
    assert_true(run(&h, NULL, (float[1]){0}, dw.p) == 0);
    assert_int_equal(row_wrong(&dw, 0, 0, "dw of no rows"), 0);
    row_free(&dw);
    head_free(&h);
}

static void check_threads(int64_t n, int64_t V, int64_t E, enum dtype t) {
    struct head h = head_new(n, V, E, t, 1);
    struct row loss[THREADS], dx[THREADS], dw[THREADS];
    double sum[THREADS];
    for (int i = 0; i < THREADS; i++) {
        omp_set_num_threads(i + 1);
        loss[i] = row_new(DTYPE_F32, n, 0), dx[i] = row_new(DTYPE_F32, n * E, 0);
        dw[i] = row_new(DTYPE_F32, V * E, 0);
        memset(dw[i].p, 0, (size_t)(V * E) * 4);
        sum[i] = run(&h, loss[i].p, dx[i].p, dw[i].p);
        assert_memory_equal(&sum[i], &sum[0], sizeof *sum);
        assert_memory_equal(loss[i].p, loss[0].p, (size_t)n * 4);
        assert_memory_equal(dx[i].p, dx[0].p, (size_t)(n * E) * 4);
        assert_memory_equal(dw[i].p, dw[0].p, (size_t)(V * E) * 4);
    }
    for (int i = 0; i < THREADS; i++) row_free(&loss[i]), row_free(&dx[i]), row_free(&dw[i]);
    head_free(&h);
}

static void test_threads(void **state) {
    (void)state;
    for (enum dtype t = DTYPE_F32; t <= DTYPE_BF16; t++) {
        check_threads(LOSS_CHUNK + 200, 200, 40, t);
        check_threads(50, 333, 64, t);
        check_threads(600, 1500, 96, t);
    }
}

/* The loss of a row does not depend on the rows around it, but for the order of sums in its logits. */
static void test_batch(void **state) {
    (void)state;
    enum { n = 600, V = 333, E = 128 };
    struct head h = head_new(n, V, E, DTYPE_F32, 1);
    float all[n], one, dx[E], dx_all[n * E];
    struct row dw = row_uniform(DTYPE_F32, V * E, 0, -1, 1);
    run(&h, all, dx_all, dw.p);
    for (int64_t i = 0; i < n; i += 7) {
        float *x = (float *)h.x.p + i * E, *weight = (float *)h.weight.p + i;
        loss_cross_entropy(&one, dx, dw.p, x, &h.head, h.targets + i, weight, 1, h.scratch);
        assert_true(fabsf(one - all[i]) <= 1e-6f * all[i]);
        double off = 0, size = 0;
        for (int64_t k = 0; k < E; k++) off += pow(dx[k] - dx_all[i * E + k], 2), size += pow(dx[k], 2);
        assert_true(sqrt(off) <= 1e-6 * sqrt(size));
    }
    row_free(&dw);
    head_free(&h);
}

int main(void) {
    struct err err = {{0}};
    if (kernels_init(&err) < 0 || gemm_init(THREADS, &err) < 0) {
        printf("%s\n", err.msg);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),   cmocka_unit_test(test_far),   cmocka_unit_test(test_no_rows),
        cmocka_unit_test(test_threads), cmocka_unit_test(test_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
