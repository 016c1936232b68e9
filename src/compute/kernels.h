/* kernels: arithmetic on single rows, one table of functions per instruction set.
 *
 *     kernels_init(&err);                               // once, before anything else in compute/
 *     kernels->rmsnorm(y, DTYPE_BF16, &rstd, x, w, E, 1e-5f);
 *
 * kernels.inc and dots.inc hold the kernels once, written with vectors of KERNELS_LANES floats; kernels_scalar.c,
 * kernels_avx2.c, kernels_avx512.c and kernels_avx512bf16.c include them and are built with their own flags. Sums run over
 * a fixed number of lanes in a fixed order, so a row's result depends on the row and the instruction set only. Pointers need
 * no alignment; lengths may be any n >= 0. `void *` with an enum dtype is a row of that type; bfloat16 is stored as uint16_t, rounded to nearest even, NaN
 * kept. */
#ifndef MDM_COMPUTE_KERNELS_H
#define MDM_COMPUTE_KERNELS_H
#include <stddef.h>
#include <stdint.h>

struct err;

enum dtype { DTYPE_F32, DTYPE_BF16, DTYPE_F16 /* read by convert() alone */ };
static inline size_t dtype_size(enum dtype t) {
    return t == DTYPE_F32 ? 4 : 2;
}

enum { KERNELS_KEYS = 32 }; /* keys of a block of stored keys */

struct adamw { /* one step's scalars; see kernels->adamw */
    float lr, beta1, beta2, eps, weight_decay;
    float grad_scale;               /* gradient is multiplied by this first (global-norm clip) */
    float correction1, correction2; /* 1 - beta1^t, 1 - beta2^t */
};

struct kernels {
    const char *name; /* as in cpu_isa_names */
    /* y[n] = x[n] between types. Same type: a copy. From f16 to f32 only. */
    void (*convert)(void *y, enum dtype yt, const void *x, enum dtype xt, int64_t n);
    void (*add)(float *y, const float *x, int64_t n);                                    /* y += x */
    void (*scale)(void *y, enum dtype t, float a, int64_t n);                            /* y *= a */
    void (*add_scaled)(float *y, float a, const void *x, enum dtype xt, int64_t n);      /* y += a·x */
    double (*sum_squares)(const float *x, int64_t n);                                    /* accumulated in double */
    float (*dot)(const void *a, enum dtype at, const void *b, enum dtype bt, int64_t n); /* f32 lanes */
    /* Many of them: y[i·ldy + j] = Σ x[i·K + k]·w[j·K + k] over k < K, for i < n and j < N. A sum is taken in the same
     * order whatever n, N, i and j are. */
    void (*dots)(float *y, int64_t ldy, const float *x, int64_t n, const void *w, enum dtype wt, int64_t N, int64_t K);
    /* The same of bf16 rows with a w that is packed in panels (gemm.h), by pairs of terms. NULL but in
     * avx512bf16. */
    void (*dots_packed)(float *y, int64_t ldy, const uint16_t *x, int64_t n, const void *w, int64_t N, int64_t K);

    /* RMSNorm: rstd = 1/sqrt(mean(x²) + eps); y = x·rstd·w. rstd may be NULL. */
    void (*rmsnorm)(void *y, enum dtype yt, float *rstd, const float *x, const float *w, int64_t E, float eps);
    /* Given dy: dx += rstd·(w·dy − x·rstd²·mean(w·dy·x)); dw += dy·x·rstd. */
    void (*rmsnorm_backward)(float *dx, float *dw, const float *dy, const float *x, const float *w, float rstd,
                             int64_t E);

    /* Layer norm: y = (x − mean(x))/sqrt(variance(x) + eps)·w + b. */
    void (*layernorm)(void *y, enum dtype yt, const float *x, const float *w, const float *b, int64_t E, float eps);

    /* GELU, the tanh form: h = a·(1 + tanh(√(2/π)·(a + 0.044715·a³)))/2. h may be a. */
    void (*gelu)(void *h, const void *a, enum dtype t, int64_t F);
    /* SwiGLU: h = a·sigmoid(a)·b. */
    void (*swiglu)(void *h, const void *a, const void *b, enum dtype t, int64_t F);
    /* Replaces a by da and b by db, given dh; writes h again (needed for the product dW3). All of type t. */
    void (*swiglu_backward)(void *a_to_da, void *b_to_db, void *h, const void *dh, enum dtype t, int64_t F);

    /* Rotary embedding of one head, half-split: y = scale·rot(x; cos, sin), x[D], cos and sin [D/2]. */
    void (*rotate)(void *y, enum dtype yt, const void *x, enum dtype xt, const float *cos, const float *sin, int64_t D,
                   float scale);
    /* Its transpose: y = scale·rotᵀ(x), for the gradient. */
    void (*rotate_back)(void *y, enum dtype yt, const float *x, const float *cos, const float *sin, int64_t D,
                        float scale);

    /* Attention row: p[0, n) = softmax(s[0, n)), p[n, padded) = 0; *lse = log Σ exp(s). 1 <= n <= padded. p may be s
     * when pt is f32; when it is bf16, s is overwritten. */
    void (*softmax)(void *p, enum dtype pt, float *lse, float *s, int64_t n, int64_t padded);
    /* p = exp(s − lse); ds = p·(dp − delta); zeros in [n, padded). p may alias s, ds may alias dp (when f32). */
    void (*softmax_backward)(void *p, void *ds, enum dtype t, const float *s, const float *dp, float lse, float delta,
                             int64_t n, int64_t padded);

    /* Queries against stored keys (compute/keys.h): s[i, 32·b + j] = Σ_d q[i,d]·k[b,d,j] for i < m, b < blocks, rows of
     * s and q ls and lq apart, k[blocks, D, KERNELS_KEYS] of type kt. */
    void (*scores)(float *s, int64_t ls, const float *q, int64_t lq, int64_t m, const void *k, enum dtype kt,
                   int64_t blocks, int64_t D);
    /* o[i,d] += Σ_j p[i,j]·v[j,d] for i < m, j < n; o[m,D], rows of p lp apart, v[n,D] of type vt. The terms of one sum
     * are added one after another, here and in scores: a row's result depends neither on m nor on where n is cut. */
    void (*mix)(float *o, const float *p, int64_t lp, int64_t m, const void *v, enum dtype vt, int64_t n, int64_t D);

    /* A piece of a row of logits: e = exp(z − base − *shift), where *shift is 0, or max z − base when that passes 64
     * (so that nothing overflows). Returns Σ e, before rounding to t. e may be NULL, or z when t is f32. */
    float (*sum_exp)(void *e, enum dtype t, float *shift, const float *z, int64_t n, float base);
    /* Index of the largest z: the first of equals; NaN never wins unless all are NaN: then 0. */
    int64_t (*argmax)(const float *z, int64_t V);
    /* u + (g + 1)·(c − u) into c: guidance (docs/model.md). */
    void (*guide)(float *c, const float *u, float g, int64_t V);

    /* AdamW with decoupled decay on n elements (order of operations as torch.optim.AdamW, not fused):
     * w *= 1 − lr·wd;  m += (g − m)(1 − β1);  v = β2·v + (1 − β2)g²;  w −= lr/c1 · m / (sqrt(v)/sqrt(c2) + eps). */
    void (*adamw)(float *w, float *m, float *v, const float *g, int64_t n, const struct adamw *s);
};

extern const struct kernels *kernels;
/* Choose by cpu_choose(); -1 with err when MDM_ISA asks for what this machine lacks. Idempotent. */
int kernels_init(struct err *err);
/* The table of one instruction set, NULL when this machine or build lacks it: for tests and benches. */
const struct kernels *kernels_for(int isa);

#endif
