/* The gradients of ref_* against central differences of its forward functions, all in double: the oracle of all other
 * gradient tests must itself be right. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "compute/ref.h"

static double *random_numbers(int64_t n) {
    static uint64_t serial;
    double *x = calloc((size_t)n + 1, sizeof *x);
    if (!x) abort();
    serial++;
    for (int64_t i = 0; i < n; i++) x[i] = 2 * rng_uniform(3, RNG_TEST, serial, (uint64_t)i) - 1;
    return x;
}

/* What depends on the numbers under test: Σ dy·y. */
struct scalar {
    double (*value)(const struct scalar *f);
    const double *dy;
    int64_t n, m, E;
    double *x[3];
    const void *more;
};

/* d value / d x[k], which must be dx[0, n). */
static void check_gradient(const struct scalar *f, int k, const double *dx, int64_t n, const char *what) {
    const double h = 1e-5;
    for (int64_t i = 0; i < n; i++) {
        const double keep = f->x[k][i];
        f->x[k][i] = keep + h;
        const double above = f->value(f);
        f->x[k][i] = keep - h;
        const double below = f->value(f), want = (above - below) / (2 * h);
        f->x[k][i] = keep;
        if (!(fabs(dx[i] - want) <= 1e-8 * (1 + fabs(want))))
            fail_msg("%s: element %lld: %.12g, by differences %.12g", what, (long long)i, dx[i], want);
    }
}

static double rmsnorm_value(const struct scalar *f) {
    double y[64];
    ref_rmsnorm(y, NULL, f->x[0], f->x[1], f->n, 0.01);
    return ref_dot(y, f->dy, f->n);
}

static void test_rmsnorm(void **state) {
    (void)state;
    enum { E = 13 };
    double *x = random_numbers(E), *w = random_numbers(E), *dy = random_numbers(E), dx[E] = {0}, dw[E] = {0}, y[E],
           rstd;
    ref_rmsnorm(y, &rstd, x, w, E, 0.01);
    ref_rmsnorm_backward(dx, dw, dy, x, w, rstd, E);
    const struct scalar f = {.value = rmsnorm_value, .dy = dy, .n = E, .x = {x, w}};
    check_gradient(&f, 0, dx, E, "rmsnorm dx");
    check_gradient(&f, 1, dw, E, "rmsnorm dw");
    free(x);
    free(w);
    free(dy);
}

static double swiglu_value(const struct scalar *f) {
    double h[64];
    ref_swiglu(h, f->x[0], f->x[1], f->n);
    return ref_dot(h, f->dy, f->n);
}

static void test_swiglu(void **state) {
    (void)state;
    enum { F = 17 };
    double *a = random_numbers(F), *b = random_numbers(F), *dh = random_numbers(F), da[F], db[F], h[F], again[F];
    ref_scale(a, 4, F);
    memcpy(da, a, sizeof da);
    memcpy(db, b, sizeof db);
    ref_swiglu(h, a, b, F);
    ref_swiglu_backward(da, db, again, dh, F);
    assert_memory_equal(h, again, sizeof h);
    const struct scalar f = {.value = swiglu_value, .dy = dh, .n = F, .x = {a, b}};
    check_gradient(&f, 0, da, F, "swiglu da");
    check_gradient(&f, 1, db, F, "swiglu db");
    free(a);
    free(b);
    free(dh);
}

static double rotate_value(const struct scalar *f) {
    double y[64];
    const float *cs = f->more;
    ref_rotate(y, f->x[0], cs, cs + f->n / 2, f->n, 0.3);
    return ref_dot(y, f->dy, f->n);
}

static void test_rotate(void **state) {
    (void)state;
    enum { D = 10 };
    float cs[D]; /* cosines, then sines */
    for (int i = 0; i < D / 2; i++) cs[i] = cosf((float)i), cs[D / 2 + i] = sinf((float)i);
    double *x = random_numbers(D), *dy = random_numbers(D), dx[D];
    ref_rotate_back(dx, dy, cs, cs + D / 2, D, 0.3);
    check_gradient(&(struct scalar){.value = rotate_value, .dy = dy, .n = D, .x = {x}, .more = cs}, 0, dx, D, "rotate");
    free(x);
    free(dy);
}

static double softmax_value(const struct scalar *f) {
    double p[64], lse;
    ref_softmax(p, &lse, f->x[0], f->n, f->n);
    return ref_dot(p, f->dy, f->n);
}

static void test_softmax(void **state) {
    (void)state;
    enum { N = 11, PADDED = 16 };
    double *s = random_numbers(N), *dp = random_numbers(PADDED), p[PADDED], q[PADDED], ds[PADDED], lse;
    ref_softmax(p, &lse, s, N, PADDED);
    ref_softmax_backward(q, ds, s, dp, lse, ref_dot(p, dp, N), N, PADDED);
    assert_memory_equal(p, q, sizeof p);
    for (int i = N; i < PADDED; i++) assert_true(p[i] == 0 && ds[i] == 0);
    check_gradient(&(struct scalar){.value = softmax_value, .dy = dp, .n = N, .x = {s}}, 0, ds, N, "softmax");
    free(s);
    free(dp);
}

static double cross_entropy_value(const struct scalar *f) {
    return 0.7 * ref_cross_entropy(f->x[0], f->n, f->m, 0.7, NULL);
}

static void test_cross_entropy(void **state) {
    (void)state;
    enum { V = 19 };
    double *z = random_numbers(V), d[V];
    ref_cross_entropy(z, V, 4, 0.7, d);
    check_gradient(&(struct scalar){.value = cross_entropy_value, .n = V, .m = 4, .x = {z}}, 0, d, V, "cross_entropy");
    free(z);
}

static double linear_value(const struct scalar *f) {
    double y[256];
    ref_linear_forward(y, f->x[0], f->x[1], f->n, f->m, f->E, false);
    return ref_dot(y, f->dy, f->n * f->m);
}

static void test_linear(void **state) {
    (void)state;
    enum { n = 5, N = 7, K = 4 };
    double *x = random_numbers(n * K), *w = random_numbers(N * K), *dy = random_numbers(n * N), dx[n * K],
           dw[N * K] = {0};
    ref_linear_backward_data(dx, dy, w, n, N, K, false);
    ref_linear_backward_weight(dw, dy, x, n, N, K);
    const struct scalar f = {.value = linear_value, .dy = dy, .n = n, .m = N, .E = K, .x = {x, w}};
    check_gradient(&f, 0, dx, n * K, "linear dx");
    check_gradient(&f, 1, dw, N * K, "linear dw");
    free(x);
    free(w);
    free(dy);
}

static double embed_value(const struct scalar *f) {
    double x[64];
    ref_embed(x, f->x[0], f->more, f->n, f->E);
    return ref_dot(x, f->dy, f->n * f->E);
}

static void test_embed(void **state) {
    (void)state;
    enum { n = 6, E = 3, TABLE = 5 };
    const int32_t ids[n] = {4, 0, 4, 1, 4, 0};
    double *table = random_numbers(TABLE * E), *dx = random_numbers(n * E), dtable[TABLE * E] = {0};
    ref_embed_backward(dtable, dx, ids, n, E);
    check_gradient(&(struct scalar){.value = embed_value, .dy = dx, .n = n, .E = E, .x = {table}, .more = ids}, 0,
                   dtable, TABLE * E, "embed");
    free(table);
    free(dx);
}

static double loss_value(const struct scalar *f) {
    static const int32_t targets[] = {3, 0, 8, 3};
    static const float weight[] = {0.5f, 2, 0, 1.25f};
    return ref_loss_cross_entropy(NULL, NULL, NULL, f->x[0], f->x[1], targets, weight, f->n, f->m, f->E);
}

static void test_loss(void **state) {
    (void)state;
    enum { n = 4, V = 9, E = 5 };
    static const int32_t targets[] = {3, 0, 8, 3};
    static const float weight[] = {0.5f, 2, 0, 1.25f};
    double *x = random_numbers(n * E), *w = random_numbers(V * E), dx[n * E], dw[V * E] = {0}, loss[n];
    const double sum = ref_loss_cross_entropy(loss, dx, dw, x, w, targets, weight, n, V, E);
    const struct scalar f = {.value = loss_value, .n = n, .m = V, .E = E, .x = {x, w}};
    assert_true(fabs(sum - loss_value(&f)) < 1e-12);
    check_gradient(&f, 0, dx, n * E, "loss dx");
    check_gradient(&f, 1, dw, V * E, "loss dw");
    free(x);
    free(w);
}

/* ---- attention ---- */

struct attention_case {
    struct attention a;
    struct attention_batch b;
};

static double attention_value(const struct scalar *f) {
    const struct attention_case *c = f->more;
    double *y = calloc((size_t)(c->b.nrows * c->a.H * c->a.D + 1), sizeof *y);
    ref_attention_forward(y, NULL, f->x[0], &c->a, &c->b, NULL);
    const double v = ref_dot(y, f->dy, c->b.nrows * c->a.H * c->a.D);
    free(y);
    return v;
}

static void check_attention(int64_t H, int64_t G, bool causal, const int64_t *rows_, int64_t nrows) {
    enum { D = 6, n = 12 };
    static const int64_t starts[] = {0, 5, 6, 12};
    float cos_table[n * D / 2], sin_table[n * D / 2];
    for (int i = 0; i < n * D / 2; i++) cos_table[i] = cosf((float)i * 0.37f), sin_table[i] = sinf((float)i * 0.37f);
    const struct attention_case c = {
        .a = {.H = H, .G = G, .D = D, .causal = causal, .cos = cos_table, .sin = sin_table},
        .b = {.n = n, .nseq = 3, .starts = starts, .rows = rows_, .nrows = rows_ ? nrows : n}};
    const int64_t size = n * (H + 2 * G) * D;
    double *qkv = random_numbers(size), *dy = random_numbers(c.b.nrows * H * D), *dqkv = random_numbers(size);
    ref_attention_backward(dqkv, dy, qkv, &c.a, &c.b);
    check_gradient(&(struct scalar){.value = attention_value, .dy = dy, .x = {qkv}, .more = &c}, 0, dqkv, size,
                   causal ? "causal attention" : "attention");
    free(qkv);
    free(dy);
    free(dqkv);
}

static void test_attention(void **state) {
    (void)state;
    static const int64_t wanted[] = {1, 4, 5, 10, 11};
    for (int causal = 0; causal < 2; causal++) {
        check_attention(2, 2, causal, NULL, 0);
        check_attention(4, 2, causal, NULL, 0);
        check_attention(3, 1, causal, NULL, 0);
        check_attention(4, 2, causal, wanted, 5);
        check_attention(2, 2, causal, wanted + 3, 2); /* sequences that nobody asks about */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rmsnorm), cmocka_unit_test(test_swiglu),        cmocka_unit_test(test_rotate),
        cmocka_unit_test(test_softmax), cmocka_unit_test(test_cross_entropy), cmocka_unit_test(test_linear),
        cmocka_unit_test(test_embed),   cmocka_unit_test(test_loss),          cmocka_unit_test(test_attention),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
