/* muon: the matrices that it steps, and its iteration out of the products that layers have. */
#include "train/muon.h"

#include <math.h>

#include "base/err.h"
#include "base/mem.h"
#include "compute/linear.h"
#include "compute/ops.h"
#include "model/params.h"

enum { ITERATIONS = 5 };
/* Of the quintic whose slope at 0 is as large as convergence allows. */
static const float A = 3.4445f, B = -4.7750f, C = 2.0315f;
#define UPDATE_RMS 0.2 /* about that of AdamW's updates */

static bool steps(const struct param *q) {
    return q->kind == PARAM_LINEAR && q->layer >= 0 && !q->bias;
}

static int64_t shorter(const struct param *q) {
    return q->rows < q->cols ? q->rows : q->cols;
}

/* Floats of the largest matrix and of the largest square on a shorter side. */
static void measure(const struct params *p, int64_t *matrix, int64_t *square, int *count) {
    *matrix = *square = *count = 0;
    for (int i = 0; i < p->count; i++) {
        const struct param *q = &p->v[i];
        if (!steps(q)) continue;
        ++*count;
        if (q->rows * q->cols > *matrix) *matrix = q->rows * q->cols;
        if (shorter(q) * shorter(q) > *square) *square = shorter(q) * shorter(q);
    }
}

int64_t muon_bytes(const struct params *p) {
    int64_t matrix, square;
    int count;
    measure(p, &matrix, &square, &count);
    return 2 * 4 * (matrix + square);
}

/* X [n,k] f32 as a weight of products; as it lies there, so nothing can be missing. */
static struct linear as_weight(const float *x, int64_t n, int64_t k) {
    struct linear w;
    struct err none = {{0}};
    BUG_ON(linear_bytes(n, k, DTYPE_F32, DTYPE_F32) != 0);
    BUG_ON(linear_init(&w, n, k, x, DTYPE_F32, NULL, DTYPE_F32, NULL, &none) < 0);
    return w;
}

static int reserve(const struct muon *muon, const struct param *q, struct err *err) {
    const int64_t n = shorter(q), k = q->rows * q->cols / n;
    const struct linear x = as_weight(muon->x, n, k), gram = as_weight(muon->gram, n, n);
    return linear_reserve(&x, n, true, err) < 0 ? -1 : linear_reserve(&gram, n, false, err);
}

int muon_open(struct muon *muon, const struct params *p, double momentum, struct err *err) {
    int64_t matrix, square;
    int count, r = 0;
    measure(p, &matrix, &square, &count);
    *muon = (struct muon){.momentum = momentum};
    muon->v = mem_alloc(count, sizeof *muon->v, "matrices", err);
    muon->x = mem_alloc(matrix, 4, "orthogonal updates", err);
    muon->y = mem_alloc(matrix, 4, "orthogonal updates", err);
    muon->gram = mem_alloc(square, 4, "orthogonal updates", err);
    muon->poly = mem_alloc(square, 4, "orthogonal updates", err);
    if (!muon->v || !muon->x || !muon->y || !muon->gram || !muon->poly) return -1;
    for (int i = 0; r == 0 && i < p->count; i++) {
        const struct param *q = &p->v[i];
        if (!steps(q)) continue;
        muon->v[muon->count++] = (struct muon_matrix){.offset = q->offset, .rows = q->rows, .cols = q->cols};
        r = reserve(muon, q, err);
    }
    return r;
}

void muon_close(struct muon *muon) {
    mem_free(muon->v);
    mem_free(muon->x);
    mem_free(muon->y);
    mem_free(muon->gram);
    mem_free(muon->poly);
    *muon = (struct muon){0};
}

/* x [n,k], n <= k, made orthogonal: returned is x or y, whichever it is in at last. */
static float *orthogonal(const struct muon *muon, float *x, float *y, int64_t n, int64_t k) {
    ops_scale(x, (float)(1 / (sqrt(ops_sum_squares(x, n * k)) + 1e-7)), n * k);
    for (int i = 0; i < ITERATIONS; i++) {
        const struct linear X = as_weight(x, n, k), S = as_weight(muon->gram, n, n);
        linear_forward(muon->gram, DTYPE_F32, x, &X, n, false);
        linear_forward(muon->poly, DTYPE_F32, muon->gram, &S, n, false); /* S is symmetric */
        ops_scale(muon->poly, C, n * n);
        ops_add_scaled(muon->poly, B, muon->gram, n * n);
        ops_convert(y, DTYPE_F32, x, DTYPE_F32, n * k);
        ops_scale(y, A, n * k);
        linear_backward_data(y, DTYPE_F32, muon->poly, &X, n, true);
        float *next = y;
        y = x;
        x = next;
    }
    return x;
}

void muon_step(const struct muon *muon, const struct muon_matrix *a, float *w, float *m, const float *grad,
               double grad_scale, double lr, double weight_decay) {
    const int64_t n = a->rows * a->cols, longer = a->rows > a->cols ? a->rows : a->cols;
    const float mu = (float)muon->momentum, fresh = (float)((1 - muon->momentum) * grad_scale);
    float *x = muon->x, *y = muon->y;
    ops_scale(m, mu, n);
    ops_add_scaled(m, fresh, grad, n);
    ops_convert(x, DTYPE_F32, m, DTYPE_F32, n);
    ops_scale(x, mu, n);
    ops_add_scaled(x, fresh, grad, n);
    if (a->rows > a->cols) { /* the products want the shorter side first */
        ops_transpose(y, x, 4, a->cols, a->rows, a->cols);
        float *o = orthogonal(muon, y, x, a->cols, a->rows), *other = o == x ? y : x;
        ops_transpose(other, o, 4, a->rows, a->cols, a->rows);
        x = other;
    } else {
        x = orthogonal(muon, x, y, a->rows, a->cols);
    }
    ops_scale(w, (float)(1 - lr * weight_decay), n);
    ops_add_scaled(w, (float)(-lr * UPDATE_RMS * sqrt((double)longer)), x, n);
}
