/* Tiled attention, forward and backward, against ref_*: ragged sequences, grouped heads, wanted rows, odd head
 * widths; the same bits for any number of threads; a sequence alone equals itself in a batch. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <omp.h>

#include "base/err.h"
#include "base/mem.h"
#include "compute/attention.h"
#include "compute/gemm.h"
#include "row_buffer.h"

enum { THREADS = 3, POSITIONS = 320, HALF_MOST = 32 };

static float cos_table[POSITIONS * HALF_MOST], sin_table[POSITIONS * HALF_MOST];

static struct attention attention_of(int64_t H, int64_t G, int64_t D, bool causal, enum dtype t) {
    for (int64_t i = 0; i < POSITIONS * D / 2; i++) {
        const double angle = (double)(i / (D / 2)) * pow(10000, -(double)(i % (D / 2)) * 2 / (double)D);
        cos_table[i] = (float)cos(angle), sin_table[i] = (float)sin(angle);
    }
    return (struct attention){.H = H, .G = G, .D = D, .causal = causal, .t = t, .cos = cos_table, .sin = sin_table};
}

static int64_t width(const struct attention *a) {
    return (a->H + 2 * a->G) * a->D;
}

static void *scratch_of(int64_t bytes) {
    struct err err = {{0}};
    void *p = mem_alloc(bytes, 1, "test", &err);
    assert_non_null(p);
    memset(p, 0xff, (size_t)bytes); /* NaN: nothing may be read before it is written */
    return p;
}

/* Scratch for sequences up to T, and their products. */
static void *scratch_for(const struct attention *a, int64_t T, bool backward) {
    struct err err = {{0}};
    assert_int_equal(attention_prepare(a, T, backward, &err), 0);
    return scratch_of(attention_scratch(a, T, T, backward));
}

static int64_t longest(const struct attention_batch *b) {
    int64_t T = 0;
    for (int64_t s = 0; s < b->nseq; s++)
        if (b->starts[s + 1] - b->starts[s] > T) T = b->starts[s + 1] - b->starts[s];
    return T;
}

/* ‖got − want‖ / ‖want‖ of a row. */
static double off(const struct row *r) {
    double *got = calloc((size_t)r->n + 1, sizeof *got), sum = 0;
    ref_widen(got, r->p, r->t, r->n);
    for (int64_t i = 0; i < r->n; i++) sum += (got[i] - r->d[i]) * (got[i] - r->d[i]);
    free(got);
    return sqrt(sum / (ref_sum_squares(r->d, r->n) + 1e-300));
}

static void near(struct row *r, double limit, const char *what, const struct attention *a) {
    const double e = off(r);
    assert_false(row_guards_broken(r));
    if (!(e <= limit))
        fail_msg("%s H %lld G %lld D %lld causal %d type %d: off by %.3g, limit %.3g", what, (long long)a->H,
                 (long long)a->G, (long long)a->D, a->causal, (int)a->t, e, limit);
}

/* bf16 results round to 8 bits (2^-9 each); where tiles are bf16 too, so do rotated queries, keys and weights. */
static double limit_of(enum dtype t, double f32) {
    return t == DTYPE_F32 ? f32 : gemm_native_bf16() ? 0.01 : 0.003;
}

static void check(const struct attention *a, const struct attention_batch *b) {
    const int64_t W = width(a), out = b->nrows * a->H * a->D;
    struct row qkv = row_normal(a->t, b->n * W, 0), dy = row_normal(a->t, out, 0), y = row_new(a->t, out, 1);
    struct row lse = row_new(DTYPE_F32, b->nrows * a->H, 0), dqkv = row_new(a->t, b->n * W, 1);
    void *scratch = scratch_for(a, longest(b), false);
    ref_attention_forward(y.d, lse.d, qkv.d, a, b, NULL);
    attention_forward(y.p, lse.p, qkv.p, a, b, scratch);
    near(&y, limit_of(a->t, 1e-6), "forward", a);
    near(&lse, limit_of(a->t, 1e-6), "lse", a);
    mem_free(scratch);

    scratch = scratch_for(a, longest(b), true);
    ref_attention_backward(dqkv.d, dy.d, qkv.d, a, b);
    attention_backward(dqkv.p, dy.p, y.p, lse.p, qkv.p, a, b, scratch);
    /* delta = dy·y is made of the rounded y, and what remains of dy·v − delta may be small beside it */
    near(&dqkv, a->t == DTYPE_F32 ? 2e-6 : 0.01, "backward", a);
    mem_free(scratch);
    struct row *all[] = {&qkv, &dy, &y, &lse, &dqkv};
    for (int i = 0; i < 5; i++) row_free(all[i]);
}

static const struct { int64_t H, G, D; } heads[] = {{1, 1, 2}, {2, 2, 20}, {4, 2, 64}, {3, 1, 20}, {6, 2, 16}};
enum { HEADS = (int)(sizeof heads / sizeof *heads) };

/* One sequence of every length on both sides of a tile's borders. */
static void test_lengths(void **state) {
    (void)state;
    static const int64_t lengths[] = {1, 2, 3, 17, 31, 32, 33, 63, 64, 65, 96, 127, 128, 129, 160, 255, 257, 300};
    for (int h = 0; h < HEADS; h++)
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
            for (int kind = 0; kind < 4; kind++) {
                if (lengths[i] > 130 && (int)(i % HEADS) != h) continue; /* the reference is slow */
                const int64_t starts[] = {0, lengths[i]};
                const struct attention a =
                    attention_of(heads[h].H, heads[h].G, heads[h].D, kind & 1, kind & 2 ? DTYPE_BF16 : DTYPE_F32);
                check(&a, &(struct attention_batch){.n = lengths[i], .nseq = 1, .starts = starts, .nrows = lengths[i]});
            }
}

static const int64_t ragged[] = {0, 1, 34, 36, 165, 165, 197, 230, 231};
enum { SEQUENCES = 8, ROWS = 231 };

static void test_ragged(void **state) {
    (void)state;
    for (int h = 0; h < HEADS; h++)
        for (int kind = 0; kind < 4; kind++) {
            const struct attention a =
                attention_of(heads[h].H, heads[h].G, heads[h].D, kind & 1, kind & 2 ? DTYPE_BF16 : DTYPE_F32);
            check(&a, &(struct attention_batch){.n = ROWS, .nseq = SEQUENCES, .starts = ragged, .nrows = ROWS});
        }
}

/* Every third or so row, none of some sequences, the last row alone of others. */
static int64_t choose_wanted(int64_t *wanted, int choice) {
    int64_t n = 0;
    for (int64_t i = 0; i < ROWS; i++) {
        const bool sometimes = rng_below(1, RNG_TEST, 77, (uint64_t)i, 3) == 0, long_one = i >= 36 && i < 165;
        if (choice == 0 ? sometimes : choice == 1 ? long_one && i != 100 : i == 0 || i == 35 || i == 164 || i == 230)
            wanted[n++] = i;
    }
    return n;
}

static void test_wanted(void **state) {
    (void)state;
    int64_t wanted[ROWS];
    for (int choice = 0; choice < 3; choice++)
        for (int h = 0; h < HEADS; h++)
            for (int kind = 0; kind < 4; kind++) {
                const struct attention a =
                    attention_of(heads[h].H, heads[h].G, heads[h].D, kind & 1, kind & 2 ? DTYPE_BF16 : DTYPE_F32);
                const int64_t n = choose_wanted(wanted, choice);
                check(&a, &(struct attention_batch){
                              .n = ROWS, .nseq = SEQUENCES, .starts = ragged, .rows = wanted, .nrows = n});
            }
}

/* Models with learned positions do not rotate. */
static void test_no_rotation(void **state) {
    (void)state;
    for (int h = 0; h < HEADS; h++)
        for (int kind = 0; kind < 4; kind++) {
            struct attention a =
                attention_of(heads[h].H, heads[h].G, heads[h].D, kind & 1, kind & 2 ? DTYPE_BF16 : DTYPE_F32);
            a.cos = a.sin = NULL;
            check(&a, &(struct attention_batch){.n = ROWS, .nseq = SEQUENCES, .starts = ragged, .nrows = ROWS});
        }
}

/* No rows wanted: no gradient. */
static void test_nothing_wanted(void **state) {
    (void)state;
    const struct attention a = attention_of(2, 2, 20, false, DTYPE_F32);
    const int64_t none[1] = {0};
    const struct attention_batch b = {.n = ROWS, .nseq = SEQUENCES, .starts = ragged, .rows = none, .nrows = 0};
    struct row qkv = row_normal(DTYPE_F32, ROWS * width(&a), 0), dqkv = row_normal(DTYPE_F32, ROWS * width(&a), 0);
    void *scratch = scratch_for(&a, longest(&b), true);
    attention_forward(NULL, NULL, qkv.p, &a, &b, scratch);
    attention_backward(dqkv.p, NULL, NULL, NULL, qkv.p, &a, &b, scratch);
    memset(dqkv.d, 0, (size_t)dqkv.n * sizeof *dqkv.d);
    assert_int_equal(row_wrong(&dqkv, 0, 0, "nothing wanted"), 0);
    mem_free(scratch);
    row_free(&qkv);
    row_free(&dqkv);
}

static void check_threads(const struct attention *a, const struct attention_batch *b) {
    const int64_t W = width(a), out = b->nrows * a->H * a->D;
    struct row qkv = row_normal(a->t, b->n * W, 0), dy = row_normal(a->t, out, 0), y[THREADS], dqkv[THREADS];
    struct row lse = row_new(DTYPE_F32, b->nrows * a->H, 0);
    for (int i = 0; i < THREADS; i++) {
        omp_set_num_threads(i + 1);
        void *scratch = scratch_for(a, longest(b), true);
        y[i] = row_new(a->t, out, 0);
        dqkv[i] = row_new(a->t, b->n * W, 0);
        attention_forward(y[i].p, lse.p, qkv.p, a, b, scratch);
        attention_backward(dqkv[i].p, dy.p, y[i].p, lse.p, qkv.p, a, b, scratch);
        assert_memory_equal(y[i].p, y[0].p, (size_t)out * dtype_size(a->t));
        assert_memory_equal(dqkv[i].p, dqkv[0].p, (size_t)(b->n * W) * dtype_size(a->t));
        mem_free(scratch);
    }
    for (int i = 0; i < THREADS; i++) row_free(&y[i]), row_free(&dqkv[i]);
    row_free(&qkv);
    row_free(&dy);
    row_free(&lse);
}

/* Also where the work is too small to share: oneDNN must not share it out by itself either. */
static void test_threads(void **state) {
    (void)state;
    int64_t wanted[ROWS];
    const int64_t n = choose_wanted(wanted, 0);
    static const int64_t short_one[] = {0, 70}, long_one[] = {0, 300};
    for (int kind = 0; kind < 4; kind++) {
        const enum dtype t = kind & 2 ? DTYPE_BF16 : DTYPE_F32;
        const struct attention a = attention_of(4, 2, 20, kind & 1, t), single = attention_of(1, 1, 20, kind & 1, t);
        check_threads(
            &a, &(struct attention_batch){.n = ROWS, .nseq = SEQUENCES, .starts = ragged, .rows = wanted, .nrows = n});
        check_threads(&a, &(struct attention_batch){.n = 70, .nseq = 1, .starts = short_one, .nrows = 70});
        check_threads(&single, &(struct attention_batch){.n = 300, .nseq = 1, .starts = long_one, .nrows = 300});
    }
}

/* Each sequence alone gives the bits that it has in the batch. */
static void test_batch(void **state) {
    (void)state;
    for (int causal = 0; causal < 2; causal++) {
        const struct attention a = attention_of(4, 2, 20, causal, DTYPE_F32);
        const struct attention_batch b = {.n = ROWS, .nseq = SEQUENCES, .starts = ragged, .nrows = ROWS};
        const int64_t W = width(&a), E = a.H * a.D;
        struct row qkv = row_normal(a.t, ROWS * W, 0), dy = row_normal(a.t, ROWS * E, 0), y = row_new(a.t, ROWS * E, 0);
        struct row dqkv = row_new(a.t, ROWS * W, 0), lse = row_new(DTYPE_F32, ROWS * a.H, 0);
        struct row y1 = row_new(a.t, ROWS * E, 0), dqkv1 = row_new(a.t, ROWS * W, 0);
        void *scratch = scratch_for(&a, longest(&b), true);
        attention_forward(y.p, lse.p, qkv.p, &a, &b, scratch);
        attention_backward(dqkv.p, dy.p, y.p, lse.p, qkv.p, &a, &b, scratch);
        for (int s = 0; s < SEQUENCES; s++) {
            const int64_t at = ragged[s], T = ragged[s + 1] - at, starts[] = {0, T};
            const struct attention_batch one = {.n = T, .nseq = 1, .starts = starts, .nrows = T};
            float *q = (float *)qkv.p + at * W, *g = (float *)dy.p + at * E, *l = (float *)lse.p + at * a.H;
            attention_forward((float *)y1.p + at * E, l, q, &a, &one, scratch);
            attention_backward((float *)dqkv1.p + at * W, g, (float *)y1.p + at * E, l, q, &a, &one, scratch);
        }
        assert_memory_equal(y.p, y1.p, ROWS * (size_t)E * 4);
        assert_memory_equal(dqkv.p, dqkv1.p, ROWS * (size_t)W * 4);
        mem_free(scratch);
        struct row *all[] = {&qkv, &dy, &y, &dqkv, &lse, &y1, &dqkv1};
        for (int i = 0; i < 7; i++) row_free(all[i]);
    }
}

int main(void) {
    struct err err = {{0}};
    if (kernels_init(&err) < 0 || gemm_init(THREADS, &err) < 0) {
        printf("%s\n", err.msg);
        return 1;
    }
    if (!gemm_native_bf16()) printf("skipped: bf16 tiles (this machine has none); bf16 operands are widened\n");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths),     cmocka_unit_test(test_ragged),         cmocka_unit_test(test_wanted),
        cmocka_unit_test(test_threads),     cmocka_unit_test(test_nothing_wanted), cmocka_unit_test(test_batch),
        cmocka_unit_test(test_no_rotation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
