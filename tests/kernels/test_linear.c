/* The three products of a linear layer, with bias and without: against ref_*, at sizes on both sides of every block and
 * tail; the same bits for any number of threads; a row alone equals the row among others. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <omp.h>
#include <pthread.h>

#include "base/err.h"
#include "base/mem.h"
#include "compute/gemm.h"
#include "compute/linear.h"
#include "row_buffer.h"

enum { THREADS = 3 };

static const struct {
    int64_t N, K;
} shapes[] = {{1, 1}, {3, 5}, {32, 32}, {33, 65}, {64, 128}, {257, 31}, {48, 256}, {512, 96}, {520, 40}, {1025, 24}};
enum { SHAPES = (int)(sizeof shapes / sizeof *shapes) };
static const int64_t counts[] = {1, 2, 7, 31, 32, 33, 64, 65, 127, 255, 256, 257, 300, 511, 512, 513, 600};
enum { COUNTS = (int)(sizeof counts / sizeof *counts) };

/* Sums of K products of numbers below 1, in f32. Partial sums reach 3·√(K/9) or so; each addition is off by up to 6e-8
 * of that, and K of them add up like √K: 6e-8·K, and three times that for the worst of many. */
static double rounding(int64_t K) {
    return 1.8e-7 * (double)(K + 4);
}

/* A weight matrix ready for products, and what it holds in double after narrowing to type t. */
struct weight {
    struct linear w;
    struct row source, bias;
    double *d;
    void *packed;
};

static struct weight weight_new(int64_t N, int64_t K, enum dtype source, enum dtype t, bool bias) {
    struct err err = {{0}};
    struct weight w = {.source = row_uniform(source, N * K, 0, -1, 1)};
    if (bias) w.bias = row_uniform(DTYPE_F32, N, 0, -1, 1);
    w.d = calloc((size_t)(N * K), sizeof *w.d);
    void *as_t = calloc((size_t)(N * K), 4);
    assert_true(w.d && as_t);
    ref_narrow(as_t, t, w.source.d, N * K);
    ref_widen(w.d, as_t, t, N * K);
    free(as_t);
    const int64_t bytes = linear_bytes(N, K, source, t);
    w.packed = bytes ? mem_alloc(bytes, 1, "test", &err) : NULL;
    assert_int_equal(linear_init(&w.w, N, K, w.source.p, source, w.bias.p, t, w.packed, &err), 0);
    return w;
}

static void weight_free(struct weight *w) {
    row_free(&w->source);
    row_free(&w->bias);
    free(w->d);
    mem_free(w->packed);
}

static void check(struct row *r, double absolute, const char *what, int64_t n, int64_t N, int64_t K) {
    char name[128];
    snprintf(name, sizeof name, "%s n %lld N %lld K %lld", what, (long long)n, (long long)N, (long long)K);
    assert_int_equal(row_wrong(r, 1e-7, absolute, name), 0);
    row_free(r);
}

static void add_bias(double *y, const struct weight *w, int64_t n, int64_t N) {
    for (int64_t i = 0; w->bias.d && i < n * N; i++) y[i] += w->bias.d[i % N];
}

static void reserve(const struct weight *w, int64_t n) {
    struct err err = {{0}};
    assert_int_equal(linear_reserve(&w->w, n, LINEAR_DW, &err), 0);
}

static void check_forward(const struct weight *w, int64_t n, enum dtype t) {
    const int64_t N = linear_rows(&w->w), K = linear_cols(&w->w);
    struct row x = row_uniform(t, n * K, 0, -1, 1);
    for (enum dtype yt = DTYPE_F32; yt <= DTYPE_BF16; yt++)
        for (int add = 0; add <= (yt == DTYPE_F32); add++) {
            struct row y = row_uniform(yt, n * N, 0, -1, 1);
            ref_linear_forward(y.d, x.d, w->d, n, N, K, add);
            add_bias(y.d, w, n, N);
            linear_forward(y.p, yt, x.p, &w->w, n, add);
            check(&y, rounding(K), add ? "forward, add" : "forward", n, N, K);
        }
    row_free(&x);
}

static void check_backward(const struct weight *w, int64_t n, enum dtype t) {
    const int64_t N = linear_rows(&w->w), K = linear_cols(&w->w);
    struct row dy = row_uniform(t, n * N, 0, -1, 1), x = row_uniform(t, n * K, 0, -1, 1);
    for (enum dtype xt = DTYPE_F32; xt <= DTYPE_BF16; xt++)
        for (int add = 0; add <= (xt == DTYPE_F32); add++) {
            struct row dx = row_uniform(xt, n * K, 0, -1, 1);
            ref_linear_backward_data(dx.d, dy.d, w->d, n, N, K, add);
            linear_backward_data(dx.p, xt, dy.p, &w->w, n, add);
            check(&dx, rounding(N), add ? "backward_data, add" : "backward_data", n, N, K);
        }
    struct row dw = row_uniform(DTYPE_F32, N * K, 0, -1, 1), db = row_uniform(DTYPE_F32, N, 0, -1, 1);
    ref_linear_backward_weight(dw.d, dy.d, x.d, n, N, K);
    for (int64_t i = 0; i < n * N; i++) db.d[i % N] += dy.d[i];
    linear_backward_weight(dw.p, db.p, dy.p, x.p, &w->w, n);
    check(&dw, rounding(n), "backward_weight", n, N, K);
    check(&db, rounding(n), "bias gradient", n, N, K);
    row_free(&dy);
    row_free(&x);
}

static void test_products(void **state) {
    (void)state;
    for (int s = 0; s < SHAPES; s++)
        for (enum dtype source = DTYPE_F32; source <= DTYPE_BF16; source++)
            for (enum dtype t = DTYPE_F32; t <= DTYPE_BF16; t++) {
                struct weight w = weight_new(shapes[s].N, shapes[s].K, source, t, s % 2);
                reserve(&w, counts[COUNTS - 1]);
                for (int c = 0; c < COUNTS; c++) {
                    const bool large = shapes[s].N * shapes[s].K * counts[c] > 1500000; /* the reference is slow */
                    if (large && (source != t || counts[c] % 4 != 1)) continue;
                    check_forward(&w, counts[c], t);
                    check_backward(&w, counts[c], t);
                }
                weight_free(&w);
            }
}

static void test_no_rows(void **state) {
    (void)state;
    struct weight w = weight_new(33, 20, DTYPE_F32, DTYPE_F32, true);
    struct row y = row_new(DTYPE_F32, 0, 0), dw = row_uniform(DTYPE_F32, 33 * 20, 0, -1, 1);
    struct row db = row_uniform(DTYPE_F32, 33, 0, -1, 1);
    linear_forward(y.p, DTYPE_F32, y.p, &w.w, 0, false);
    linear_backward_data(y.p, DTYPE_F32, y.p, &w.w, 0, false);
    linear_backward_weight(dw.p, db.p, y.p, y.p, &w.w, 0);
    check(&y, 0, "no rows", 0, 33, 20);
    check(&dw, 0, "no rows", 0, 33, 20);
    check(&db, 0, "no rows", 0, 33, 20);
    weight_free(&w);
}

/* After the source has changed, products see it once refreshed. */
static void test_refresh(void **state) {
    (void)state;
    for (enum dtype source = DTYPE_F32; source <= DTYPE_BF16; source++)
        for (enum dtype t = DTYPE_F32; t <= DTYPE_BF16; t++) {
            enum { N = 70, K = 48, n = 40 };
            struct weight w = weight_new(N, K, source, t, false);
            reserve(&w, n);
            struct row other = row_uniform(source, N * K, 0, -1, 1), as_t = row_new(t, N * K, 0);
            memcpy(w.source.p, other.p, (size_t)(N * K) * dtype_size(source));
            ref_narrow(as_t.p, t, other.d, N * K);
            ref_widen(w.d, as_t.p, t, N * K);
            linear_refresh(&w.w);
            check_forward(&w, n, t);
            check_backward(&w, n, t);
            row_free(&other);
            row_free(&as_t);
            weight_free(&w);
        }
}

static void check_threads(int64_t n, int64_t N, int64_t K, enum dtype t) {
    struct weight w = weight_new(N, K, DTYPE_F32, t, true);
    struct row x = row_uniform(t, n * K, 0, -1, 1), dy = row_uniform(t, n * N, 0, -1, 1);
    struct row y[THREADS], dx[THREADS], dw[THREADS], db[THREADS];
    reserve(&w, n);
    for (int i = 0; i < THREADS; i++) {
        omp_set_num_threads(i + 1);
        y[i] = row_new(t, n * N, 0);
        dx[i] = row_new(DTYPE_F32, n * K, 0);
        dw[i] = row_new(DTYPE_F32, N * K, 0);
        db[i] = row_new(DTYPE_F32, N, 0);
        memset(dw[i].p, 0, (size_t)(N * K) * 4);
        memset(db[i].p, 0, (size_t)N * 4);
        linear_refresh(&w.w);
        linear_forward(y[i].p, t, x.p, &w.w, n, false);
        linear_backward_data(dx[i].p, DTYPE_F32, dy.p, &w.w, n, false);
        linear_backward_weight(dw[i].p, db[i].p, dy.p, x.p, &w.w, n);
        assert_memory_equal(y[i].p, y[0].p, (size_t)(n * N) * dtype_size(t));
        assert_memory_equal(dx[i].p, dx[0].p, (size_t)(n * K) * 4);
        assert_memory_equal(dw[i].p, dw[0].p, (size_t)(N * K) * 4);
        assert_memory_equal(db[i].p, db[0].p, (size_t)N * 4);
    }
    for (int i = 0; i < THREADS; i++) row_free(&y[i]), row_free(&dx[i]), row_free(&dw[i]), row_free(&db[i]);
    row_free(&x);
    row_free(&dy);
    weight_free(&w);
}

/* Products of many tiles, of one, and those too small to share: oneDNN must not share them out by itself either. */
static void test_threads(void **state) {
    (void)state;
    static const int64_t sizes[][3] = {{601, 300, 200}, {188, 200, 40}, {64, 512, 512}, {33, 70, 1024},
                                       {1, 768, 768},   {20, 257, 300}, {300, 64, 48},  {1, 2000, 64}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (enum dtype t = DTYPE_F32; t <= DTYPE_BF16; t++) check_threads(sizes[i][0], sizes[i][1], sizes[i][2], t);
}

struct elsewhere { /* a product, and the number of threads that its caller has set */
    const struct weight *w;
    const struct row *x, *dy;
    struct row y, thin, dw;
    int64_t n;
    int threads;
};

static void *run_elsewhere(void *p) {
    struct elsewhere *e = p;
    omp_set_num_threads(e->threads);
    linear_forward(e->y.p, DTYPE_F32, e->x->p, &e->w->w, e->n, false);
    linear_thin(e->thin.p, DTYPE_F32, e->x->p, &e->w->w, e->n, false);
    linear_backward_weight(e->dw.p, NULL, e->dy->p, e->x->p, &e->w->w, e->n);
    return NULL;
}

/* Another thread of the program may call too, whatever its OpenMP would do by itself. */
static void test_other_caller(void **state) {
    (void)state;
    enum { n = 601, N = 1500, K = 200 };
    for (enum dtype t = DTYPE_F32; t <= DTYPE_BF16; t++) {
        struct weight w = weight_new(N, K, DTYPE_F32, t, true);
        struct row x = row_uniform(t, n * K, 0, -1, 1), dy = row_uniform(t, n * N, 0, -1, 1);
        struct elsewhere e[2];
        reserve(&w, n);
        for (int i = 0; i < 2; i++) {
            e[i] = (struct elsewhere){&w, &x, &dy, .n = n, .threads = i == 0 ? THREADS : 4 * THREADS};
            e[i].y = row_new(DTYPE_F32, n * N, 0), e[i].thin = row_new(DTYPE_F32, n * N, 0);
            e[i].dw = row_new(DTYPE_F32, N * K, 0);
            memset(e[i].dw.p, 0, N * K * 4);
        }
        pthread_t other;
        run_elsewhere(&e[0]);
        assert_int_equal(pthread_create(&other, NULL, run_elsewhere, &e[1]), 0);
        pthread_join(other, NULL);
        assert_memory_equal(e[0].y.p, e[1].y.p, n * N * 4);
        assert_memory_equal(e[0].thin.p, e[1].thin.p, n * N * 4);
        assert_memory_equal(e[0].dw.p, e[1].dw.p, N * K * 4);
        for (int i = 0; i < 2; i++) row_free(&e[i].y), row_free(&e[i].thin), row_free(&e[i].dw);
        row_free(&x), row_free(&dy);
        weight_free(&w);
    }
}

/* Once memory is reserved no number of rows makes a product allocate. */
static void test_no_allocation(void **state) {
    (void)state;
    struct err err = {{0}};
    const int64_t N = 300, K = 512, most = 720;
    assert_int_equal(gemm_init(THREADS, &err), 0);
    for (int t = DTYPE_BF16; t >= DTYPE_F32; t--) { /* the type that needs less memory first */
        struct weight w = weight_new(N, K, DTYPE_F32, t, true);
        struct row x = row_uniform(t, most * K, 0, -1, 1), dy = row_uniform(t, most * N, 0, -1, 1);
        struct row y = row_new(DTYPE_F32, most * N, 0), dx = row_new(t, most * K, 0), dw = row_new(DTYPE_F32, N * K, 0);
        struct row db = row_new(DTYPE_F32, N, 0);
        reserve(&w, most);
        const int64_t before = mem_calls();
        for (int64_t n = 1; n <= most; n += 23) {
            linear_forward(y.p, DTYPE_F32, x.p, &w.w, n, false);
            linear_backward_data(dx.p, t, dy.p, &w.w, n, false);
            linear_backward_weight(dw.p, db.p, dy.p, x.p, &w.w, n);
        }
        assert_int_equal(mem_calls(), before);
        struct row *used[] = {&x, &dy, &y, &dx, &dw, &db};
        for (size_t i = 0; i < sizeof used / sizeof *used; i++) row_free(used[i]);
        weight_free(&w);
    }
}

static void add_block(void *context, float *z, int64_t row, int64_t m, int64_t column, int64_t count) {
    const struct row *y = context;
    const int64_t N = y->n;
    for (int64_t i = 0; i < m; i++, z += count) memcpy((float *)y->p + (row + i) * N + column, z, (size_t)count * 4);
}

/* A bias is added in f32, before the result is narrowed or used: to the bits of the product without it. */
static void test_bias(void **state) {
    (void)state;
    enum { n = 75, N = 800, K = 40 };
    for (enum dtype t = DTYPE_F32; t <= DTYPE_BF16; t++) {
        struct weight w = weight_new(N, K, DTYPE_F32, t, true), plain = w;
        struct err err = {{0}};
        struct row x = row_uniform(t, n * K, 0, -1, 1), used = {.p = calloc(n * N, 4), .n = N};
        float *want = calloc(n * N, 4), *y = calloc(n * N, 4);
        uint16_t *narrow = calloc(n * N, 2), *want_narrow = calloc(n * N, 2);
        assert_true(want && y && narrow && want_narrow && used.p);
        assert_int_equal(linear_init(&plain.w, N, K, w.source.p, DTYPE_F32, NULL, t, w.packed, &err), 0);
        reserve(&w, n);
        linear_forward(want, DTYPE_F32, x.p, &plain.w, n, false);
        for (int64_t i = 0; i < n * N; i++) want[i] += ((float *)w.bias.p)[i % N];
        kernels->convert(want_narrow, DTYPE_BF16, want, DTYPE_F32, n * N);
        linear_forward(y, DTYPE_F32, x.p, &w.w, n, false);
        linear_forward(narrow, DTYPE_BF16, x.p, &w.w, n, false);
        linear_forward_use(x.p, &w.w, n, add_block, &used);
        assert_memory_equal(y, want, (size_t)(n * N) * 4);
        assert_memory_equal(used.p, want, (size_t)(n * N) * 4);
        assert_memory_equal(narrow, want_narrow, (size_t)(n * N) * 2);
        free(want), free(y), free(narrow), free(want_narrow), free(used.p);
        row_free(&x);
        weight_free(&w);
    }
}

/* Thin products: right, and each row has the bits that it has alone, for any number of rows and threads. */
static void check_thin(int64_t N, int64_t K, enum dtype source, enum dtype t, bool bias) {
    enum { MOST = 70 };
    struct weight w = weight_new(N, K, source, t, bias);
    struct row x = row_uniform(t, MOST * K, 0, -1, 1), y = row_new(DTYPE_F32, MOST * N, 0);
    struct row used = {.p = calloc((size_t)(MOST * N), 4), .n = N};
    float *alone = calloc((size_t)(MOST * N), 4), *some = calloc((size_t)(MOST * N), 4);
    uint16_t *narrow = calloc((size_t)(MOST * N), 2), *want_narrow = calloc((size_t)(MOST * N), 2);
    assert_true(used.p && alone && some && narrow && want_narrow);
    reserve(&w, MOST);
    for (int64_t i = 0; i < MOST; i++)
        linear_thin(alone + i * N, DTYPE_F32, (char *)x.p + i * K * (int64_t)dtype_size(t), &w.w, 1, false);
    static const int64_t rows[] = {1, 2, 3, 4, 5, 8, 31, 33, 64, MOST};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        omp_set_num_threads(1 + (int)i % THREADS);
        linear_thin(some, DTYPE_F32, x.p, &w.w, rows[i], false);
        assert_memory_equal(some, alone, (size_t)(rows[i] * N) * 4);
    }
    linear_thin_use(x.p, &w.w, MOST, add_block, &used);
    assert_memory_equal(used.p, alone, (size_t)(MOST * N) * 4);
    kernels->convert(want_narrow, DTYPE_BF16, alone, DTYPE_F32, MOST * N);
    linear_thin(narrow, DTYPE_BF16, x.p, &w.w, MOST, false);
    assert_memory_equal(narrow, want_narrow, (size_t)(MOST * N) * 2);
    linear_thin(some, DTYPE_F32, x.p, &w.w, MOST, true); /* twice the first result */
    for (int64_t i = 0; i < MOST * N; i++) assert_true(some[i] == 2 * alone[i]);
    ref_linear_forward(y.d, x.d, w.d, MOST, N, K, false);
    add_bias(y.d, &w, MOST, N);
    memcpy(y.p, alone, (size_t)(MOST * N) * 4);
    check(&y, rounding(K), "thin", MOST, N, K);
    free(used.p), free(alone), free(some), free(narrow), free(want_narrow);
    row_free(&x);
    weight_free(&w);
}

static void test_thin(void **state) {
    (void)state;
    for (int s = 0; s < SHAPES; s++)
        for (enum dtype source = DTYPE_F32; source <= DTYPE_BF16; source++)
            for (enum dtype t = DTYPE_F32; t <= DTYPE_BF16; t++) check_thin(shapes[s].N, shapes[s].K, source, t, s % 2);
}

/* A row's product does not depend on its company, but for the order of its sums. */
static void test_batch(void **state) {
    (void)state;
    enum { n = 600, N = 257, K = 384 };
    static const int64_t cut[] = {0, 1, 8, 40, 41, 300, 513, n};
    struct weight w = weight_new(N, K, DTYPE_F32, DTYPE_F32, true);
    struct row x = row_uniform(DTYPE_F32, n * K, 0, -1, 1), all = row_new(DTYPE_F32, n * N, 0);
    reserve(&w, n);
    struct row pieces = row_new(DTYPE_F32, n * N, 0);
    linear_forward(all.p, DTYPE_F32, x.p, &w.w, n, false);
    for (int i = 0; i < 7; i++)
        linear_forward((float *)pieces.p + cut[i] * N, DTYPE_F32, (float *)x.p + cut[i] * K, &w.w, cut[i + 1] - cut[i],
                       false);
    int64_t unequal = 0;
    double worst = 0;
    ref_widen(all.d, all.p, DTYPE_F32, n * N);
    ref_widen(pieces.d, pieces.p, DTYPE_F32, n * N);
    for (int64_t i = 0; i < n; i++) {
        double off = 0;
        for (int64_t j = i * N; j < (i + 1) * N; j++) off += pow(all.d[j] - pieces.d[j], 2);
        unequal += off > 0;
        worst = fmax(worst, sqrt(off / ref_sum_squares(all.d + i * N, N)));
    }
    printf("rows in other company: %lld of %d have other bits, by at most %.2g of the row\n", (long long)unequal, n,
           worst);
    assert_true(worst < 1e-6);
    row_free(&x);
    row_free(&all);
    row_free(&pieces);
    weight_free(&w);
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
    if (!gemm_native_bf16()) printf("skipped: bf16 primitives (this machine has none); bf16 operands are widened\n");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_allocation), /* first: the buffers of all products are the process's */
        cmocka_unit_test(test_products),      cmocka_unit_test(test_no_rows), cmocka_unit_test(test_refresh),
        cmocka_unit_test(test_threads),       cmocka_unit_test(test_bias),    cmocka_unit_test(test_other_caller),
        cmocka_unit_test(test_thin),          cmocka_unit_test(test_batch),   cmocka_unit_test(test_fast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
