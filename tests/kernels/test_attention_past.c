/* Attention with a past and its kernels, of every instruction set, against ref_*: causal sequences cut anywhere have the bits of the
 * uncut one; full attention of blocks over a frozen past; sequences with and without a past in one batch; stores of
 * both types, grouped heads, odd head widths and lengths. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cpu.h"
#include "base/err.h"
#include "base/mem.h"
#include "compute/attention.h"
#include "compute/gemm.h"
#include "row_buffer.h"

enum { THREADS = 3, LENGTH = 150, CAPACITY = 160, MOST_D = 72, SEQUENCES = 4 };

/* ---- products with stored keys ---- */

static void test_scores(void **state) {
    const struct kernels *k = *state;
    static const int64_t widths[] = {1, 2, 5, 20, 64};
    for (enum dtype t = DTYPE_F32; t <= DTYPE_BF16; t++)
        for (int w = 0; w < 5; w++)
            for (int64_t m = 0; m < 15; m++) {
                const int64_t D = widths[w], blocks = m % 4, n = blocks * KERNELS_KEYS, lq = D + m % 3, ls = n + 3;
                struct row q = row_normal(DTYPE_F32, m * lq, 1), key = row_normal(t, n * D, 2);
                struct row s = row_normal(DTYPE_F32, m * ls, 0), one = row_new(DTYPE_F32, n, 1);
                ref_scores(s.d, ls, q.d, lq, m, key.d, blocks, D);
                k->scores(s.p, ls, q.p, lq, m, key.p, t, blocks, D);
                for (int64_t i = 0; i < m; i++) { /* a row alone has the same bits */
                    k->scores(one.p, n, (float *)q.p + i * lq, lq, 1, key.p, t, blocks, D);
                    assert_memory_equal(one.p, (float *)s.p + i * ls, (size_t)n * 4);
                }
                row_free(&q), row_free(&key), row_free(&one);
                assert_int_equal(row_wrong(&s, 2e-6, 2e-7 * (double)D, "scores"), 0);
                row_free(&s);
            }
}

static void test_mix(void **state) {
    const struct kernels *k = *state;
    static const int64_t widths[] = {1, 2, 5, 20, 64, 129, 200}, counts[] = {0, 1, 2, 33, 127, 128, 129, 300};
    for (enum dtype t = DTYPE_F32; t <= DTYPE_BF16; t++)
        for (int w = 0; w < 7; w++)
            for (int64_t m = 0; m < 15; m++) {
                const int64_t D = widths[w], n = counts[m % 8], lp = n + m % 3, cut = n / 3;
                struct row p = row_uniform(DTYPE_F32, m * lp, 1, 0, 1), v = row_normal(t, n * D, 2);
                struct row o = row_normal(DTYPE_F32, m * D, 1), one = row_new(DTYPE_F32, D, 0);
                ref_mix(o.d, p.d, lp, m, v.d, n, D);
                char *first = malloc((size_t)(m * D * 4) + 1), *rest = (char *)v.p + cut * D * (int64_t)dtype_size(t);
                memcpy(first, o.p, (size_t)(m * D) * 4);
                k->mix(o.p, p.p, lp, m, v.p, t, n, D);
                for (int64_t i = 0; i < m; i++) { /* nor does it matter where the keys are cut */
                    const float *weight = (float *)p.p + i * lp;
                    memcpy(one.p, first + i * D * 4, (size_t)D * 4);
                    k->mix(one.p, weight, lp, 1, v.p, t, cut, D);
                    k->mix(one.p, weight + cut, lp, 1, rest, t, n - cut, D);
                    assert_memory_equal(one.p, (float *)o.p + i * D, (size_t)D * 4);
                }
                free(first);
                row_free(&p), row_free(&v), row_free(&one);
                assert_int_equal(row_wrong(&o, 2e-6, 2e-5, "mix"), 0);
                row_free(&o);
            }
}

/* ---- attention ---- */

static float cos_table[CAPACITY * MOST_D / 2], sin_table[CAPACITY * MOST_D / 2];

static const struct { int64_t H, G, D; } heads[] = {{1, 1, 2}, {2, 2, 5}, {4, 2, 64}, {3, 1, 20}, {14, 2, 72}};
enum { HEADS = (int)(sizeof heads / sizeof *heads) };

/* Odd widths cannot be rotated. */
static struct attention attention_of(int h, bool causal, enum dtype t) {
    const int64_t D = heads[h].D, half = D / 2;
    for (int64_t i = 0; i < CAPACITY * half; i++) {
        const double angle = (double)(i / half) * pow(10000, -(double)(i % half) * 2 / (double)D);
        cos_table[i] = (float)cos(angle), sin_table[i] = (float)sin(angle);
    }
    const float *cs = D % 2 ? NULL : cos_table, *sn = D % 2 ? NULL : sin_table;
    return (struct attention){.H = heads[h].H, .G = heads[h].G, .D = D, .causal = causal, .t = t, .cos = cs, .sin = sn};
}

/* A sequence on its way: rows `at` and on of `whole` come next; their y goes to `y` at the same place. */
struct sequence {
    struct row whole, y;
    struct keys past; /* no data: none */
    double *k, *v;    /* the past as the reference has it */
    int64_t T;
};

static int64_t width(const struct attention *a) {
    return (a->H + 2 * a->G) * a->D;
}

static struct sequence sequence_new(const struct attention *a, int64_t T, bool stored, enum dtype type) {
    struct sequence s = {.whole = row_normal(a->t, T * width(a), 0), .y = row_new(a->t, T * a->H * a->D, 0), .T = T};
    const int64_t bytes = keys_bytes(a->G, a->D, CAPACITY, type);
    struct err err = {{0}};
    if (stored) s.past = (struct keys){.data = mem_alloc(bytes, 1, "", &err), .capacity = CAPACITY, .t = type};
    if (stored) memset(s.past.data, 0xff, (size_t)bytes); /* NaN: nothing may be read before it is written */
    s.k = calloc((size_t)(T * a->G * a->D), sizeof *s.k);
    s.v = calloc((size_t)(T * a->G * a->D), sizeof *s.v);
    return s;
}

static void sequence_free(struct sequence *s) {
    row_free(&s->whole);
    row_free(&s->y);
    mem_free(s->past.data);
    free(s->k);
    free(s->v);
}

/* Rows [from, from + n) become past of the reference: rotated, and rounded as the store does it. */
static void ref_append(struct sequence *s, const struct attention *a, int64_t from, int64_t n) {
    const int64_t D = a->D, per = a->H / a->G;
    float narrow[MOST_D];
    for (int64_t i = from; i < from + n; i++)
        for (int64_t g = 0; g < a->G; g++) {
            const double *key = s->whole.d + i * width(a) + (g * (per + 2) + per) * D;
            double *to[2] = {s->k + (i * a->G + g) * D, s->v + (i * a->G + g) * D};
            memcpy(to[0], key, (size_t)D * sizeof *key);
            if (a->cos) ref_rotate(to[0], key, a->cos + i * D / 2, a->sin + i * D / 2, D, 1);
            memcpy(to[1], key + D, (size_t)D * sizeof *key);
            for (int j = 0; j < 2; j++) {
                ref_narrow(narrow, s->past.t, to[j], D);
                ref_widen(to[j], narrow, s->past.t, D);
            }
        }
}

static double off(const struct row *got, const double *want, int64_t from, int64_t n) {
    double sum = 0, all = 1e-300, *d = calloc((size_t)n + 1, sizeof *d);
    ref_widen(d, (char *)got->p + from * (int64_t)dtype_size(got->t), got->t, n);
    for (int64_t i = 0; i < n; i++) sum += (d[i] - want[i]) * (d[i] - want[i]), all += want[i] * want[i];
    free(d);
    return sqrt(sum / all);
}

/* The next count[s] rows of each sequence, those with `first[s]` before them; checked against the reference unless
 * `limit` is 0. wanted NULL: all rows. */
static void step(struct sequence *s, int64_t nseq, const struct attention *a, const int64_t *first,
                 const int64_t *count, bool append, double limit, const bool *wanted) {
    const int64_t W = width(a), E = a->H * a->D, size = (int64_t)dtype_size(a->t);
    int64_t starts[SEQUENCES + 1] = {0}, rows[SEQUENCES * LENGTH], nrows = 0;
    struct keys past[SEQUENCES];
    struct ref_past ref[SEQUENCES];
    for (int64_t i = 0; i < nseq; i++) {
        starts[i + 1] = starts[i] + count[i];
        past[i] = s[i].past;
        ref[i] = (struct ref_past){past[i].length, s[i].k, s[i].v};
        for (int64_t r = 0; r < count[i]; r++)
            if (!wanted || wanted[first[i] + r]) rows[nrows++] = starts[i] + r;
    }
    const struct attention_batch b = {.n = starts[nseq],
                                      .nseq = nseq,
                                      .starts = starts,
                                      .rows = wanted ? rows : NULL,
                                      .nrows = nrows,
                                      .past = past,
                                      .append = append};
    struct row qkv = row_new(a->t, b.n * W, 1), y = row_new(a->t, nrows * E, 1),
               lse = row_new(DTYPE_F32, nrows * a->H, 0);
    for (int64_t i = 0; i < nseq; i++)
        memcpy((char *)qkv.p + starts[i] * W * size, (char *)s[i].whole.p + first[i] * W * size,
               (size_t)(count[i] * W * size));
    struct err err = {{0}};
    const int64_t bytes = attention_scratch(a, LENGTH, CAPACITY, false);
    assert_int_equal(attention_prepare(a, LENGTH, false, &err), 0);
    void *scratch = mem_alloc(bytes, 1, "", &err);
    memset(scratch, 0xff, (size_t)bytes);
    attention_forward(y.p, lse.p, qkv.p, a, &b, scratch);
    assert_false(row_guards_broken(&y));
    if (limit > 0) {
        ref_widen(qkv.d, qkv.p, a->t, b.n * W);
        ref_attention_forward(y.d, lse.d, qkv.d, a, &b, ref);
        const double e = off(&y, y.d, 0, nrows * E);
        if (!(e <= limit))
            fail_msg("%s H %lld G %lld D %lld causal %d type %d: off by %.3g, limit %.3g", kernels->name,
                     (long long)a->H, (long long)a->G, (long long)a->D, a->causal, (int)a->t, e, limit);
    }
    for (int64_t i = 0, at = 0; i < nseq; i++)
        for (int64_t r = 0; r < count[i]; r++)
            if (!wanted || wanted[first[i] + r])
                memcpy((char *)s[i].y.p + (first[i] + r) * E * size, (char *)y.p + at++ * E * size, (size_t)(E * size));
    mem_free(scratch);
    row_free(&qkv), row_free(&y), row_free(&lse);
}

static void commit(struct sequence *s, const struct attention *a, int64_t n) {
    ref_append(s, a, s->past.length, n);
    s->past.length += n;
}

/* bf16 rounds results by up to 2^-8, and a store of bf16 the keys and values of the batch's own rows, which the reference
 * takes as they are. Sequences without a store go through tiles: where those are bf16 they round as in test_attention.c. */
static double limit_of(enum dtype t, enum dtype store, bool tiles) {
    if (tiles && t == DTYPE_BF16 && gemm_native_bf16()) return 0.01;
    return store == DTYPE_BF16 ? 2.0 / 256 : t == DTYPE_BF16 ? 1.0 / 256 : 3e-6;
}

/* Runs the block for every shape and types. */
#define EVERY(h, t, store)                                                                                             \
    for (int h = 0; h < HEADS; h++)                                                                                    \
        for (enum dtype t = DTYPE_F32; t <= DTYPE_BF16; t++)                                                           \
            for (enum dtype store = DTYPE_F32; store <= DTYPE_BF16; store++)

/* A causal sequence in one piece, row by row, and cut at random: the same bits. */
static void test_cuts(void **state) {
    kernels = *state;
    EVERY(h, t, store) {
        const struct attention a = attention_of(h, true, t);
        const size_t bytes = (size_t)(LENGTH * a.H * a.D) * dtype_size(t);
        struct sequence s = sequence_new(&a, LENGTH, true, store);
        step(&s, 1, &a, (int64_t[]){0}, (int64_t[]){LENGTH}, true, limit_of(t, store, false), NULL);
        void *whole = malloc(bytes);
        memcpy(whole, s.y.p, bytes);
        for (uint64_t way = 0; way < 4; way++) {
            memset(s.past.data, 0xff, (size_t)keys_bytes(a.G, a.D, CAPACITY, store));
            memset(s.y.p, 0, bytes);
            s.past.length = 0;
            for (int64_t n; s.past.length < LENGTH; commit(&s, &a, n)) {
                const int64_t left = LENGTH - s.past.length,
                              long_one = 1 + rng_below(1, RNG_TEST, way, (uint64_t)left, 70);
                n = way == 0 || left % 3 == 0 ? 1 : long_one;
                if (n > left) n = left;
                step(&s, 1, &a, &s.past.length, &n, true, left % 5 ? 0 : limit_of(t, store, false), NULL);
            }
            assert_memory_equal(s.y.p, whole, bytes);
        }
        free(whole);
        sequence_free(&s);
    }
}

/* Blocks that see all of themselves and all before them; kept behind the past or not, the bits are the same. */
static void test_blocks(void **state) {
    kernels = *state;
    EVERY(h, t, store) {
        const struct attention a = attention_of(h, false, t);
        const int64_t size = (int64_t)dtype_size(t), E = a.H * a.D;
        struct sequence s = sequence_new(&a, LENGTH, true, store);
        static const int64_t blocks[] = {1, 32, 7, 64, 45, 1};
        for (int i = 0; i < 6; i++) {
            const int64_t at = s.past.length, n = blocks[i];
            char kept[LENGTH * 14 * 72 * 4];
            step(&s, 1, &a, &at, &n, false, limit_of(t, store, false), NULL);
            memcpy(kept, (char *)s.y.p + at * E * size, (size_t)(n * E * size));
            step(&s, 1, &a, &at, &n, true, 0, NULL);
            assert_memory_equal(kept, (char *)s.y.p + at * E * size, (size_t)(n * E * size));
            commit(&s, &a, n);
        }
        assert_int_equal(s.past.length, LENGTH);
        sequence_free(&s);
    }
}

/* Sequences with a long past, an empty one, none and no rows, each alone and together; also rows wanted of them. */
static void test_company(void **state) {
    kernels = *state;
    EVERY(h, t, store) {
        for (int kind = 0; kind < 4; kind++) {
            const bool append = kind & 2;
            const struct attention a = attention_of(h, kind & 1, t);
            const int64_t before[] = {97, 0, 0, 33}, count[] = {5, 101, 53, 0}, E = a.H * a.D;
            const int64_t lone[] = {1, 1, 1, 1};
            struct sequence s[SEQUENCES];
            void *together[SEQUENCES];
            bool wanted[LENGTH];
            for (int64_t i = 0; i < LENGTH; i++) wanted[i] = rng_below(1, RNG_TEST, 5, (uint64_t)i, 3) > 0;
            for (int i = 0; i < SEQUENCES; i++) {
                s[i] = sequence_new(&a, LENGTH, i != 2, store);
                if (before[i]) step(&s[i], 1, &a, (int64_t[]){0}, &before[i], true, 0, NULL);
                if (before[i]) commit(&s[i], &a, before[i]);
                memset(s[i].y.p, 0, (size_t)(LENGTH * E) * dtype_size(t));
            }
            step(s, SEQUENCES, &a, before, count, append, limit_of(t, store, true), wanted);
            for (int i = 0; i < SEQUENCES; i++) {
                const size_t bytes = (size_t)(LENGTH * E) * dtype_size(t);
                together[i] = malloc(bytes);
                memcpy(together[i], s[i].y.p, bytes);
                memset(s[i].y.p, 0, bytes);
                if (count[i]) step(&s[i], 1, &a, &before[i], &count[i], append, 0, wanted);
                assert_memory_equal(s[i].y.p, together[i], bytes);
                /* and a single row */
                const double limit = limit_of(t, store, !s[i].past.data);
                if (count[i] && a.causal) step(&s[i], 1, &a, &before[i], &lone[i], append, limit, wanted);
                if (count[i] && a.causal && s[i].past.data) assert_memory_equal(s[i].y.p, together[i], bytes);
                free(together[i]);
            }
            for (int i = 0; i < SEQUENCES; i++) sequence_free(&s[i]);
        }
    }
}

/* Positions that were written and not kept leave no trace; two sequences may share a past that is not appended to. */
static void test_going_back(void **state) {
    kernels = *state;
    EVERY(h, t, store) {
        const struct attention a = attention_of(h, true, t);
        const size_t bytes = (size_t)(LENGTH * a.H * a.D) * dtype_size(t);
        struct sequence s = sequence_new(&a, LENGTH, true, store), other = sequence_new(&a, LENGTH, false, store);
        step(&s, 1, &a, (int64_t[]){0}, (int64_t[]){70}, true, 0, NULL);
        commit(&s, &a, 70);
        step(&s, 1, &a, (int64_t[]){70}, (int64_t[]){80}, true, 0, NULL);
        void *never = malloc(bytes);
        memcpy(never, s.y.p, bytes);

        other.past = s.past;
        other.past.length = 50;
        step(&other, 1, &a, (int64_t[]){50}, (int64_t[]){90}, true, 0, NULL); /* another end, from position 50 on */
        s.past.length = 50;
        step(&s, 1, &a, (int64_t[]){50}, (int64_t[]){20}, true, 0, NULL);
        s.past.length = 70;
        step(&s, 1, &a, (int64_t[]){70}, (int64_t[]){80}, true, 0, NULL);
        assert_memory_equal(s.y.p, never, bytes);

        other.past = s.past;
        struct sequence two[] = {s, other};
        memset(s.y.p, 0, bytes);
        step(two, 2, &a, (int64_t[]){70, 70}, (int64_t[]){80, 3}, false, 0, NULL);
        assert_memory_equal((char *)s.y.p + bytes / LENGTH * 70, (char *)never + bytes / LENGTH * 70,
                            bytes / LENGTH * 80);
        free(never);
        other.past.data = NULL;
        sequence_free(&s);
        sequence_free(&other);
    }
}

int main(void) {
    static const struct {
        const char *name;
        CMUnitTestFunction run;
    } test[] = {{"scores", test_scores}, {"mix", test_mix},         {"cuts", test_cuts},
                {"blocks", test_blocks}, {"company", test_company}, {"going_back", test_going_back}};
    enum { TESTS = (int)(sizeof test / sizeof *test) };
    static char names[CPU_ISAS][TESTS][64];
    struct CMUnitTest tests[CPU_ISAS * TESTS];
    struct err err = {{0}};
    int n = 0;
    if (kernels_init(&err) < 0 || gemm_init(THREADS, &err) < 0) {
        printf("%s\n", err.msg);
        return 1;
    }
    for (int isa = 0; isa < CPU_ISAS; isa++) {
        const struct kernels *table = kernels_for(isa);
        if (!table) printf("skipped: this machine has no %s\n", cpu_isa_names[isa]);
        for (int i = 0; table && i < TESTS; i++) {
            snprintf(names[isa][i], sizeof names[isa][i], "%s_%s", test[i].name, table->name);
            tests[n++] = (struct CMUnitTest){
                .name = names[isa][i], .test_func = test[i].run, .initial_state = (void *)(uintptr_t)table};
        }
    }
    return _cmocka_run_group_tests("attention with a past", tests, (size_t)n, NULL, NULL);
}
