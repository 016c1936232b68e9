/* The clip: a gradient above the limit is scaled down to it, one below is left alone. The moments show the scale.
 * Muon against its equations in double, and against what they are for: singular values near 1. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/rng.h"
#include "compute/gemm.h"
#include "compute/ops.h"
#include "model/params.h"
#include "train/muon.h"
#include "train/optimizer.h"

/* The first moment of a gradient of 1 after one step, in tenths (beta1 is 0.9): the scale that it had. */
static double scale_of(double clip, double norm) {
    float w = 0, g = 1, m = 0, v = 0;
    const struct optimizer o = {.beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .clip = clip, .m = &m, .v = &v, .n = 1};
    optimizer_step(&o, &w, &g, norm, 1e-3, 1);
    return 10 * (double)m;
}

static void clip(void **state) {
    (void)state;
    assert_float_equal(scale_of(1, 0.25), 1, 1e-6);
    assert_float_equal(scale_of(1, 0.999), 1, 1e-6);
    assert_float_equal(scale_of(1, 4), 0.25, 1e-6);
    assert_float_equal(scale_of(2, 4), 0.5, 1e-6);
    assert_float_equal(scale_of(0, 4), 1, 1e-6); /* no limit */
}

/* ---- Muon ---- */

enum { E = 24, F = 40, STEPS = 3 };

static const struct config shape = {.family = FAMILY_MDM,
                                    .block_size = 16,
                                    .vocab_size = 50,
                                    .padded_vocab_size = 64,
                                    .mask_id = 64,
                                    .n_layer = 2,
                                    .n_head = 4,
                                    .n_query_groups = 2,
                                    .n_embd = E,
                                    .intermediate_size = F,
                                    .norm_eps = 1e-5,
                                    .bos_id = -1,
                                    .eos_id = -1};

/* out[n,k] = Σ a[i,·] b[·,j], with b's element (i,j) at b[i·bi + j·bj]. */
static void product(double *out, const double *a, const double *b, int64_t n, int64_t inner, int64_t k, int64_t bi,
                    int64_t bj) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < k; j++) {
            out[i * k + j] = 0;
            for (int64_t l = 0; l < inner; l++) out[i * k + j] += a[i * inner + l] * b[l * bi + j * bj];
        }
}

/* Five steps of the quintic on x [n,k] over its norm; on the side of the rows, whichever is shorter. */
static void newton_schulz(double *x, int64_t n, int64_t k) {
    double *s = calloc((size_t)(n * n), sizeof *s), *s2 = calloc((size_t)(n * n), sizeof *s2);
    double *y = calloc((size_t)(n * k), sizeof *y), norm = 0;
    for (int64_t i = 0; i < n * k; i++) norm += x[i] * x[i];
    for (int64_t i = 0; i < n * k; i++) x[i] /= sqrt(norm);
    for (int step = 0; step < 5; step++) {
        product(s, x, x, n, k, n, 1, k);
        product(s2, s, s, n, n, n, n, 1);
        for (int64_t i = 0; i < n * n; i++) s[i] = -4.7750 * s[i] + 2.0315 * s2[i];
        product(y, s, x, n, n, k, k, 1);
        for (int64_t i = 0; i < n * k; i++) x[i] = 3.4445 * x[i] + y[i];
    }
    free(s);
    free(s2);
    free(y);
}

struct muon_case {
    struct params params;
    struct shards shards;
    struct muon muon;
    float *w, *m, *v, *grad;
    double *want, *moment; /* of the matrices */
};

static float *drawn(int64_t n, uint64_t sample) {
    float *x = calloc((size_t)n, sizeof *x);
    rng_normal(x, n, 3, RNG_TEST, sample, 0);
    return x;
}

/* What a step should make of one matrix. */
static void step_in_double(struct muon_case *c, const struct muon_matrix *a, double scale, double lr, double decay) {
    const int64_t n = a->rows * a->cols;
    double *u = calloc((size_t)n, sizeof *u), *w = c->want + a->offset, *m = c->moment + a->offset;
    for (int64_t i = 0; i < n; i++) {
        const double g = scale * (double)c->grad[a->offset + i];
        m[i] = 0.9 * m[i] + 0.1 * g;
        u[i] = 0.9 * m[i] + 0.1 * g;
    }
    newton_schulz(u, a->rows, a->cols);
    for (int64_t i = 0; i < n; i++)
        w[i] = (1 - lr * decay) * w[i] - lr * 0.2 * sqrt(fmax((double)a->rows, (double)a->cols)) * u[i];
    free(u);
}

static void check_matrices(const struct muon_case *c) {
    for (int i = 0; i < c->muon.count; i++) {
        const struct muon_matrix *a = &c->muon.v[i];
        double off = 0, size = 0;
        for (int64_t k = a->offset; k < a->offset + a->rows * a->cols; k++) {
            off += (c->want[k] - (double)c->w[k]) * (c->want[k] - (double)c->w[k]);
            size += c->want[k] * c->want[k];
            assert_true(fabs(c->moment[k] - (double)c->m[k]) < 1e-6);
            assert_true(c->v[k] == 0);
        }
        if (!(off <= 1e-12 * size)) fail_msg("matrix %d: off by %g", i, sqrt(off / size));
    }
}

/* Of 48 × 256 numbers the products of the wide matrix copy more than those of its tall mates: rows of 17 cache lines. */
static void wide_copies(void **state) {
    (void)state;
    struct err err = {{0}};
    struct config c = shape;
    struct params p;
    c.n_query_groups = 1, c.n_embd = 48, c.intermediate_size = 256;
    assert_int_equal(params_init(&p, &c, &err), 0);
    assert_true(muon_bytes(&p, SHARD_NONE, 1, 0) == 4 * (2 * 256 * 48 + 4 * 48 * 48 + 264 * 48 + 48 * 17 * 16));
    params_free(&p);
}

/* The whole optimizer: matrices of the layers as above, all else as by AdamW alone. */
static void muon(void **state) {
    (void)state;
    struct err err = {{0}};
    struct muon_case c = {.w = NULL};
    assert_int_equal(params_init(&c.params, &shape, &err), 0);
    assert_int_equal(shards_open(&c.shards, &c.params, SHARD_NONE, &err), 0);
    assert_int_equal(muon_open(&c.muon, &c.shards, 0.9, &err), 0);
    assert_int_equal(c.muon.count, 10);
    /* The largest: queries, keys and values. Of two ranks the first has 2048 floats of a layer, which end in W1: of these and
     * the projection all; the other one of W2 and W3, which are one turn in the second layer. */
    const int64_t room =
        2 * 48 * E + 4 * E * E + 2 * 48 * 48; /* Xᵀ·X reads copies, whose rows are three cache lines apart */
    assert_true(muon_bytes(&c.params, SHARD_NONE, 1, 0) == 4 * room);
    assert_true(muon_bytes(&c.params, SHARD_NONE, 3, 1) == 4 * room);
    assert_true(muon_bytes(&c.params, SHARD_FULL, 1, 0) == 4 * (room + 48 * E));
    assert_true(muon_bytes(&c.params, SHARD_FULL, 2, 0) == 4 * (room + 48 * E + E * E));
    assert_true(muon_bytes(&c.params, SHARD_OPTIMIZER, 2, 1) == 4 * (room + 2 * E * F));
    const int64_t n = c.params.total;
    c.w = drawn(n, 1);
    float *other = drawn(n, 1), *om = calloc((size_t)n, 4), *ov = calloc((size_t)n, 4);
    c.m = calloc((size_t)n, 4);
    c.v = calloc((size_t)n, 4);
    c.want = calloc((size_t)n, sizeof *c.want);
    c.moment = calloc((size_t)n, sizeof *c.moment);
    for (int64_t i = 0; i < n; i++) c.want[i] = (double)c.w[i];
    struct optimizer o = {.beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1, .clip = 1, .n = n};
    struct optimizer with = o, without = o;
    with.m = c.m, with.v = c.v, with.muon = &c.muon;
    without.m = om, without.v = ov;
    for (int step = 1; step <= STEPS; step++) {
        c.grad = drawn(n, (uint64_t)(1 + step));
        optimizer_step(&with, c.w, c.grad, 4, 0.02, step);
        muon_step(&c.muon, &with, c.w, c.m, c.grad, false, 4, 0.02);
        optimizer_step(&without, other, c.grad, 4, 0.02, step);
        for (int i = 0; i < c.muon.count; i++) step_in_double(&c, &c.muon.v[i], 0.25, 0.02, 0.1);
        check_matrices(&c);
        free(c.grad);
    }
    for (int i = 0; i < c.muon.count; i++)
        memcpy(other + c.muon.v[i].offset, c.w + c.muon.v[i].offset, (size_t)(c.muon.v[i].rows * c.muon.v[i].cols) * 4);
    assert_memory_equal(c.w, other, (size_t)n * 4);
    muon_close(&c.muon);
    shards_close(&c.shards);
    params_free(&c.params);
    float *all[] = {c.w, c.m, c.v, other, om, ov};
    for (int i = 0; i < 6; i++) free(all[i]);
    free(c.want);
    free(c.moment);
}

/* Matrices of a model and their updates from a gradient, without decay and momentum, with a rate that takes 0.2 away. */
struct updates {
    struct params p;
    struct shards shards;
    struct muon muon;
    float *w, *m, *g;
};

/* Gradients are a diagonal between two reflections: of 1 … spread, or of ones and one spread. */
static void make_updates(struct updates *u, double spread, bool one) {
    struct err err = {{0}};
    assert_int_equal(params_init(&u->p, &shape, &err), 0);
    assert_int_equal(shards_open(&u->shards, &u->p, SHARD_NONE, &err), 0);
    assert_int_equal(muon_open(&u->muon, &u->shards, 0, &err), 0);
    float **all[] = {&u->w, &u->m, &u->g};
    for (int i = 0; i < 3; i++) *all[i] = calloc((size_t)u->p.total, 4);
    for (int i = 0; i < u->muon.count; i++) {
        const struct muon_matrix *a = &u->muon.v[i];
        const int64_t shorter = a->rows < a->cols ? a->rows : a->cols;
        for (int64_t r = 0; r < a->rows; r++)
            for (int64_t k = 0; k < a->cols; k++)
                for (int64_t d = 0; d < shorter; d++) {
                    const double exponent = one ? d == shorter - 1 : (double)d / (double)(shorter - 1);
                    u->g[a->offset + r * a->cols + k] +=
                        (float)(((r == d) - 2.0 / (double)a->rows) * pow(spread, exponent) *
                                ((k == d) - 2.0 / (double)a->cols));
                }
    }
    muon_step(&u->muon, &(struct optimizer){0}, u->w, u->m, u->g, false, 0, 1 / 0.2);
}

static void free_updates(struct updates *u) {
    muon_close(&u->muon);
    shards_close(&u->shards);
    params_free(&u->p);
    free(u->w);
    free(u->m);
    free(u->g);
}

/* From gradients whose singular values lie a factor of 16 apart, updates with all of them in 0.6 … 1.3: for any direction z
 * on the shorter side, |z·O| / |z| is. */
static void orthogonal(void **state) {
    (void)state;
    struct updates u;
    make_updates(&u, 16, false);
    for (int i = 0; i < u.muon.count; i++) {
        const struct muon_matrix *a = &u.muon.v[i];
        const float *w = u.w + a->offset;
        const double longer = fmax((double)a->rows, (double)a->cols);
        const int64_t shorter = a->rows < a->cols ? a->rows : a->cols, n = a->rows * a->cols;
        for (int64_t d = 0; d < shorter; d++) { /* its singular directions themselves */
            double size = 0;
            const bool wide = a->rows < a->cols;
            for (int64_t k = 0; k < n / shorter; k++) {
                double dot = 0;
                for (int64_t r = 0; r < shorter; r++)
                    dot += ((r == d) - 2.0 / (double)shorter) * (double)w[wide ? r * a->cols + k : k * a->cols + r];
                size += dot * dot / longer;
            }
            if (!(sqrt(size) > 0.6 && sqrt(size) < 1.3)) fail_msg("matrix %d: a singular value of %g", i, sqrt(size));
        }
    }
    free_updates(&u);
}

/* Steps on the shorter side lose digits of small singular values: by muon.h, no more than this. */
static void check_digits(double spread, bool one, double bound) {
    struct updates u;
    make_updates(&u, spread, one);
    for (int i = 0; i < u.muon.count; i++) {
        const struct muon_matrix *a = &u.muon.v[i];
        const int64_t n = a->rows * a->cols;
        double *x = calloc((size_t)n, sizeof *x), off = 0, size = 0;
        for (int64_t k = 0; k < n; k++) x[k] = (double)u.g[a->offset + k];
        newton_schulz(x, a->rows, a->cols);
        for (int64_t k = 0; k < n; k++) {
            const double o = -(double)u.w[a->offset + k] / sqrt(fmax((double)a->rows, (double)a->cols));
            off += (o - x[k]) * (o - x[k]);
            size += x[k] * x[k];
        }
        if (!(sqrt(off / size) <= bound)) fail_msg("matrix %d, %g apart: off by %g", i, spread, sqrt(off / size));
        free(x);
    }
    free_updates(&u);
}

static void digits(void **state) {
    (void)state;
    for (int one = 0; one < 2; one++) {
        check_digits(10, one, 2e-5);
        check_digits(100, one, 1e-3);
        for (double spread = 1e3; spread < 1e7; spread *= sqrt(10)) check_digits(spread, one, 5e-3);
    }
}

int main(void) {
    struct err err = {{0}};
    if (kernels_init(&err) < 0 || gemm_init(2, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(clip), cmocka_unit_test(muon), cmocka_unit_test(wide_copies),
                                       cmocka_unit_test(orthogonal), cmocka_unit_test(digits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
