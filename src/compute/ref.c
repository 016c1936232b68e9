/* ref: plain loops in double. No tiling, no fusing, no tricks: what cannot be read off the formula does not belong
 * here. */
#include "compute/ref.h"

#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

static double *numbers(int64_t n) {
    struct err err = {{0}};
    double *p = mem_alloc(n, sizeof *p, "reference arithmetic", &err);
    if (!p) err_bug(__FILE__, __LINE__, err.msg);
    return p;
}

/* ---- types ---- */

static float from_bf16(uint16_t h) {
    const uint32_t u = (uint32_t)h << 16;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

uint16_t ref_to_bf16(float x) {
    uint32_t u;
    float y = x;
    if (isfinite(x) && x != 0) {
        int e;
        frexpf(x, &e);          /* |x| in [2^(e-1), 2^e): 8 bits of significand end at 2^(e-8) … */
        if (e < -125) e = -125; /* … but never below the smallest subnormal, 2^-133 */
        y = (float)ldexp(nearbyint(ldexp((double)x, 8 - e)), e - 8); /* overflows to infinity as it should */
    }
    memcpy(&u, &y, sizeof u);
    if (isnan(x)) u |= 0x400000;
    return (uint16_t)(u >> 16);
}

float ref_from_f16(uint16_t h) {
    const int e = h >> 10 & 31, m = h & 1023;
    const double x = e == 31 ? (m ? NAN : INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
    return (float)(h >> 15 ? -x : x);
}

void ref_widen(double *y, const void *x, enum dtype t, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = t == DTYPE_F32 ? ((const float *)x)[i] : from_bf16(((const uint16_t *)x)[i]);
}

void ref_narrow(void *y, enum dtype t, const double *x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (t == DTYPE_F32)
            ((float *)y)[i] = (float)x[i];
        else
            ((uint16_t *)y)[i] = ref_to_bf16((float)x[i]);
}

/* ---- rows ---- */

void ref_add(double *y, const double *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] += x[i];
}

void ref_add_scaled(double *y, double a, const double *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] += a * x[i];
}

void ref_scale(double *y, double a, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] *= a;
}

double ref_sum_squares(const double *x, int64_t n) {
    return ref_dot(x, x, n);
}

double ref_dot(const double *a, const double *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

void ref_rmsnorm(double *y, double *rstd, const double *x, const double *w, int64_t E, double eps) {
    const double r = 1 / sqrt(ref_sum_squares(x, E) / (double)E + eps);
    for (int64_t i = 0; i < E; i++) y[i] = x[i] * r * w[i];
    if (rstd) *rstd = r;
}

void ref_rmsnorm_backward(double *dx, double *dw, const double *dy, const double *x, const double *w, double rstd,
                          int64_t E) {
    double mean = 0;
    for (int64_t i = 0; i < E; i++) mean += w[i] * dy[i] * x[i] / (double)E;
    for (int64_t i = 0; i < E; i++) {
        dx[i] += rstd * (w[i] * dy[i] - x[i] * rstd * rstd * mean);
        dw[i] += dy[i] * x[i] * rstd;
    }
}

void ref_layernorm(double *y, const double *x, const double *w, const double *b, int64_t E, double eps) {
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < E; i++) mean += x[i] / (double)E;
    for (int64_t i = 0; i < E; i++) variance += (x[i] - mean) * (x[i] - mean) / (double)E;
    for (int64_t i = 0; i < E; i++) y[i] = (x[i] - mean) / sqrt(variance + eps) * w[i] + b[i];
}

void ref_gelu(double *h, const double *a, int64_t F) {
    for (int64_t i = 0; i < F; i++)
        h[i] = a[i] / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (a[i] + 0.044715 * a[i] * a[i] * a[i])));
}

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

void ref_swiglu(double *h, const double *a, const double *b, int64_t F) {
    for (int64_t i = 0; i < F; i++) h[i] = a[i] * sigmoid(a[i]) * b[i];
}

void ref_swiglu_backward(double *a_to_da, double *b_to_db, double *h, const double *dh, int64_t F) {
    for (int64_t i = 0; i < F; i++) {
        const double a = a_to_da[i], b = b_to_db[i], s = sigmoid(a);
        h[i] = a * s * b;
        a_to_da[i] = dh[i] * b * (s + a * s * (1 - s));
        b_to_db[i] = dh[i] * a * s;
    }
}

void ref_rotate(double *y, const double *x, const float *cos, const float *sin, int64_t D, double scale) {
    for (int64_t i = 0; i < D / 2; i++) {
        const double x1 = x[i], x2 = x[D / 2 + i], c = cos[i], s = sin[i];
        y[i] = scale * (x1 * c - x2 * s);
        y[D / 2 + i] = scale * (x2 * c + x1 * s);
    }
}

void ref_rotate_back(double *y, const double *x, const float *cos, const float *sin, int64_t D, double scale) {
    for (int64_t i = 0; i < D / 2; i++) {
        const double x1 = x[i], x2 = x[D / 2 + i], c = cos[i], s = sin[i];
        y[i] = scale * (x1 * c + x2 * s);
        y[D / 2 + i] = scale * (x2 * c - x1 * s);
    }
}

/* log Σ exp(s), the terms taken relative to the largest that is a number. */
static double log_sum_exp(const double *s, int64_t n) {
    double top = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++)
        if (s[i] > top) top = s[i];
    if (isinf(top)) top = 0;
    for (int64_t i = 0; i < n; i++) sum += exp(s[i] - top);
    return top + log(sum);
}

void ref_softmax(double *p, double *lse, const double *s, int64_t n, int64_t padded) {
    const double l = log_sum_exp(s, n);
    for (int64_t i = 0; i < padded; i++) p[i] = i < n ? exp(s[i] - l) : 0;
    *lse = l;
}

void ref_softmax_backward(double *p, double *ds, const double *s, const double *dp, double lse, double delta, int64_t n,
                          int64_t padded) {
    for (int64_t i = 0; i < padded; i++) {
        const double v = i < n ? exp(s[i] - lse) : 0, d = i < n ? dp[i] - delta : 0;
        p[i] = v;
        ds[i] = v * d;
    }
}

void ref_scores(double *s, int64_t ls, const double *q, int64_t lq, int64_t m, const double *k, int64_t blocks,
                int64_t D) {
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < blocks * KERNELS_KEYS; j++) {
            const double *block = k + j / KERNELS_KEYS * KERNELS_KEYS * D;
            s[i * ls + j] = 0;
            for (int64_t d = 0; d < D; d++) s[i * ls + j] += q[i * lq + d] * block[d * KERNELS_KEYS + j % KERNELS_KEYS];
        }
}

void ref_mix(double *o, const double *p, int64_t lp, int64_t m, const double *v, int64_t n, int64_t D) {
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) ref_add_scaled(o + i * D, p[i * lp + j], v + j * D, D);
}

double ref_cross_entropy(const double *z, int64_t V, int64_t target, double weight, double *d) {
    const double l = log_sum_exp(z, V), loss = l - z[target];
    for (int64_t i = 0; d && i < V; i++) d[i] = weight * (exp(z[i] - l) - (i == target));
    return loss;
}

double ref_sum_exp(double *e, double *shift, const double *z, int64_t n, double base) {
    double top = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++)
        if (z[i] > top) top = z[i];
    *shift = top - base > 64 ? top - base : 0;
    for (int64_t i = 0; i < n; i++) sum += e[i] = exp(z[i] - base - *shift);
    return sum;
}

int64_t ref_argmax(const double *z, int64_t V) {
    int64_t best = -1;
    for (int64_t i = 0; i < V; i++)
        if (!isnan(z[i]) && (best < 0 || z[i] > z[best])) best = i;
    return best < 0 ? 0 : best;
}

void ref_guide(double *c, const double *u, double g, int64_t V) {
    for (int64_t i = 0; i < V; i++) c[i] = u[i] + (g + 1) * (c[i] - u[i]);
}

void ref_adamw(double *w, double *m, double *v, const double *g, int64_t n, const struct adamw *s) {
    const double lr = s->lr, beta1 = s->beta1, beta2 = s->beta2;
    for (int64_t i = 0; i < n; i++) {
        const double d = g[i] * s->grad_scale;
        w[i] *= 1 - lr * s->weight_decay;
        m[i] = beta1 * m[i] + (1 - beta1) * d;
        v[i] = beta2 * v[i] + (1 - beta2) * d * d;
        w[i] -= lr * (m[i] / s->correction1) / (sqrt(v[i] / s->correction2) + s->eps);
    }
}

/* ---- ops ---- */

void ref_embed(double *x, const double *table, const int32_t *ids, int64_t n, int64_t E) {
    for (int64_t i = 0; i < n * E; i++) x[i] = table[ids[i / E] * E + i % E];
}

void ref_embed_backward(double *dtable, const double *dx, const int32_t *ids, int64_t n, int64_t E) {
    for (int64_t i = 0; i < n * E; i++) dtable[ids[i / E] * E + i % E] += dx[i];
}

void ref_gather(double *y, const double *x, const int64_t *index, int64_t n, int64_t E) {
    for (int64_t i = 0; i < n * E; i++) y[i] = x[index[i / E] * E + i % E];
}

void ref_scatter_add(double *y, const double *x, const int64_t *index, int64_t n, int64_t E) {
    for (int64_t i = 0; i < n * E; i++) y[index[i / E] * E + i % E] += x[i];
}

/* ---- linear ---- */

void ref_gemm(const struct gemm_shape *s, const double *A, const double *B, double *C) {
    for (int64_t i = 0; i < s->M; i++)
        for (int64_t j = 0; j < s->N; j++) {
            double sum = s->add ? C[i * s->ldc + j] : 0;
            for (int64_t k = 0; k < s->K; k++) {
                const double a = s->trans_a ? A[k * s->lda + i] : A[i * s->lda + k];
                const double b = s->trans_b ? B[j * s->ldb + k] : B[k * s->ldb + j];
                sum += a * b;
            }
            C[i * s->ldc + j] = sum;
        }
}

void ref_linear_forward(double *y, const double *x, const double *w, int64_t n, int64_t N, int64_t K, bool add) {
    const struct gemm_shape s = {.M = n, .N = N, .K = K, .lda = K, .ldb = K, .ldc = N, .trans_b = true, .add = add};
    ref_gemm(&s, x, w, y);
}

void ref_linear_backward_data(double *dx, const double *dy, const double *w, int64_t n, int64_t N, int64_t K,
                              bool add) {
    const struct gemm_shape s = {.M = n, .N = K, .K = N, .lda = N, .ldb = K, .ldc = K, .add = add};
    ref_gemm(&s, dy, w, dx);
}

void ref_linear_backward_weight(double *dw, const double *dy, const double *x, int64_t n, int64_t N, int64_t K) {
    const struct gemm_shape s = {.M = N, .N = K, .K = n, .lda = N, .ldb = K, .ldc = K, .trans_a = true, .add = true};
    ref_gemm(&s, dy, x, dw);
}

/* ---- attention ---- */

/* One query of one head: where its numbers are. */
struct ref_query {
    int64_t row, position, start; /* row of qkv; position in its sequence; the sequence's first row */
    struct ref_past past;
    int64_t keys; /* how many it sees, past included */
    int64_t group;
    int64_t q, k, v; /* column of its head's query, of its group's key and value */
    int64_t out;     /* offset of its head in y */
};

static int64_t width(const struct attention *a) {
    return (a->H + 2 * a->G) * a->D;
}

static struct ref_query find_query(const struct attention *a, const struct attention_batch *b,
                                   const struct ref_past *past, int64_t i, int64_t h) {
    const int64_t per = a->H / a->G, group = h / per, base = group * (per + 2) * a->D;
    struct ref_query q = {.row = b->rows ? b->rows[i] : i, .group = group, .out = (i * a->H + h) * a->D};
    int64_t s = 0;
    while (b->starts[s + 1] <= q.row) s++;
    q.start = b->starts[s];
    if (past) q.past = past[s];
    q.position = q.past.length + q.row - q.start;
    q.keys = a->causal ? q.position + 1 : q.past.length + b->starts[s + 1] - q.start;
    q.q = base + h % per * a->D;
    q.k = base + per * a->D;
    q.v = q.k + a->D;
    return q;
}

static void rotate_at(double *y, const double *x, const struct attention *a, int64_t position) {
    if (a->cos)
        ref_rotate(y, x, a->cos + position * a->D / 2, a->sin + position * a->D / 2, a->D, 1);
    else
        memcpy(y, x, (size_t)a->D * sizeof *y);
}

static void rotate_back_at(double *y, const double *x, const struct attention *a, int64_t position) {
    if (a->cos)
        ref_rotate_back(y, x, a->cos + position * a->D / 2, a->sin + position * a->D / 2, a->D, 1);
    else
        memcpy(y, x, (size_t)a->D * sizeof *y);
}

/* The key at position j of the query's sequence, rotated, into k; returns its value. */
static const double *key(double *k, const double *qkv, const struct attention *a, const struct ref_query *q,
                         int64_t j) {
    const int64_t D = a->D, stored = (j * a->G + q->group) * D;
    if (j < q->past.length) {
        memcpy(k, q->past.k + stored, (size_t)D * sizeof *k);
        return q->past.v + stored;
    }
    const double *row = qkv + (q->start + j - q->past.length) * width(a);
    rotate_at(k, row + q->k, a, j);
    return row + q->v;
}

/* The query's rotated vector in `rq`, its weights on the keys in p; returns log Σ exp of the scores. */
static double weights(double *p, double *rq, const double *qkv, const struct attention *a, const struct ref_query *q) {
    const int64_t D = a->D;
    double *rk = numbers(D), lse;
    rotate_at(rq, qkv + q->row * width(a) + q->q, a, q->position);
    for (int64_t j = 0; j < q->keys; j++) {
        key(rk, qkv, a, q, j);
        p[j] = ref_dot(rq, rk, D) / sqrt((double)D);
    }
    ref_softmax(p, &lse, p, q->keys, q->keys);
    mem_free(rk);
    return lse;
}

void ref_attention_forward(double *y, double *lse, const double *qkv, const struct attention *a,
                           const struct attention_batch *b, const struct ref_past *past) {
    const int64_t D = a->D;
    double *rq = numbers(D), *rk = numbers(D);
    for (int64_t i = 0; i < b->nrows; i++)
        for (int64_t h = 0; h < a->H; h++) {
            const struct ref_query q = find_query(a, b, past, i, h);
            double *p = numbers(q.keys);
            const double l = weights(p, rq, qkv, a, &q);
            if (lse) lse[i * a->H + h] = l;
            memset(y + q.out, 0, (size_t)D * sizeof *y);
            for (int64_t j = 0; j < q.keys; j++) ref_add_scaled(y + q.out, p[j], key(rk, qkv, a, &q, j), D);
            mem_free(p);
        }
    mem_free(rk);
    mem_free(rq);
}

void ref_attention_backward(double *dqkv, const double *dy, const double *qkv, const struct attention *a,
                            const struct attention_batch *b) {
    const int64_t W = width(a), D = a->D;
    double *p = numbers(b->n), *dp = numbers(b->n), *rq = numbers(D), *rk = numbers(D), *drq = numbers(D),
           *drk = numbers(D), *back = numbers(D);
    memset(dqkv, 0, (size_t)(b->n * W) * sizeof *dqkv);
    for (int64_t i = 0; i < b->nrows; i++)
        for (int64_t h = 0; h < a->H; h++) {
            const struct ref_query q = find_query(a, b, NULL, i, h);
            weights(p, rq, qkv, a, &q);
            double mean = 0; /* of dp under p: what softmax takes away */
            for (int64_t j = 0; j < q.keys; j++) {
                dp[j] = ref_dot(dy + q.out, qkv + (q.start + j) * W + q.v, D);
                mean += p[j] * dp[j];
            }
            memset(drq, 0, (size_t)D * sizeof *drq);
            for (int64_t j = 0; j < q.keys; j++) {
                const double ds = p[j] * (dp[j] - mean) / sqrt((double)D);
                double *row = dqkv + (q.start + j) * W;
                rotate_at(rk, qkv + (q.start + j) * W + q.k, a, j);
                for (int64_t d = 0; d < D; d++) {
                    row[q.v + d] += p[j] * dy[q.out + d];
                    drq[d] += ds * rk[d];
                    drk[d] = ds * rq[d];
                }
                rotate_back_at(back, drk, a, j);
                ref_add(row + q.k, back, D);
            }
            rotate_back_at(dqkv + q.row * W + q.q, drq, a, q.position);
        }
    double *all[] = {p, dp, rq, rk, drq, drk, back};
    for (int i = 0; i < 7; i++) mem_free(all[i]);
}

/* ---- loss ---- */

double ref_loss_cross_entropy(double *loss, double *dx, double *dw, const double *x, const double *w,
                              const int32_t *targets, const float *weight, int64_t n, int64_t V, int64_t E) {
    double *z = numbers(n * V), *dz = numbers(n * V), sum = 0;
    ref_linear_forward(z, x, w, n, V, E, false);
    for (int64_t i = 0; i < n; i++) {
        const double ce = ref_cross_entropy(z + i * V, V, targets[i], weight[i], dz + i * V);
        if (loss) loss[i] = ce;
        sum += weight[i] * ce;
    }
    if (dw) {
        ref_linear_backward_data(dx, dz, w, n, V, E, false);
        ref_linear_backward_weight(dw, dz, x, n, V, E);
    }
    mem_free(dz);
    mem_free(z);
    return sum;
}
