/* ref: what compute/ computes, said once more in the plainest way: scalar loops in double, one obvious formula each.
 *
 * The oracle of tests and benches; nothing else calls it. Tensors are arrays of double whatever their type elsewhere
 * (ref_widen() makes them); shapes and layouts are those of the function without `ref_`. Integer arguments, rotary
 * tables and weights of rows are as there. Each kernels.h function has a row here; an ops.h function over n rows is that
 * row n times, unless it is listed. */
#ifndef MDM_COMPUTE_REF_H
#define MDM_COMPUTE_REF_H
#include <stdint.h>

#include "compute/attention.h"
#include "compute/gemm.h"
#include "compute/kernels.h"

/* bfloat16, by arithmetic on the value rather than on bits: nearest, ties to even. */
uint16_t ref_to_bf16(float x);
float ref_from_f16(uint16_t h);
/* n elements of type t as doubles, and the nearest elements of type t. */
void ref_widen(double *y, const void *x, enum dtype t, int64_t n);
void ref_narrow(void *y, enum dtype t, const double *x, int64_t n);

/* rows */
void ref_add(double *y, const double *x, int64_t n);
void ref_add_scaled(double *y, double a, const double *x, int64_t n);
void ref_scale(double *y, double a, int64_t n);
double ref_sum_squares(const double *x, int64_t n);
double ref_dot(const double *a, const double *b, int64_t n);
void ref_rmsnorm(double *y, double *rstd, const double *x, const double *w, int64_t E, double eps);
void ref_rmsnorm_backward(double *dx, double *dw, const double *dy, const double *x, const double *w, double rstd,
                          int64_t E);
void ref_layernorm(double *y, const double *x, const double *w, const double *b, int64_t E, double eps);
void ref_gelu(double *h, const double *a, int64_t F);
void ref_swiglu(double *h, const double *a, const double *b, int64_t F);
void ref_swiglu_backward(double *a_to_da, double *b_to_db, double *h, const double *dh, int64_t F);
void ref_rotate(double *y, const double *x, const float *cos, const float *sin, int64_t D, double scale);
void ref_rotate_back(double *y, const double *x, const float *cos, const float *sin, int64_t D, double scale);
void ref_softmax(double *p, double *lse, const double *s, int64_t n, int64_t padded);
void ref_scores(double *s, int64_t ls, const double *q, int64_t lq, int64_t m, const double *k, int64_t blocks,
                int64_t D);
void ref_mix(double *o, const double *p, int64_t lp, int64_t m, const double *v, int64_t n, int64_t D);
void ref_softmax_backward(double *p, double *ds, const double *s, const double *dp, double lse, double delta, int64_t n,
                          int64_t padded);
double ref_cross_entropy(const double *z, int64_t V, int64_t target, double weight, double *d);
double ref_sum_exp(double *e, double *shift, const double *z, int64_t n, double base);
int64_t ref_argmax(const double *z, int64_t V);
void ref_guide(double *c, const double *u, double g, int64_t V);
void ref_adamw(double *w, double *m, double *v, const double *g, int64_t n, const struct adamw *s);

/* ops */
void ref_embed(double *x, const double *table, const int32_t *ids, int64_t n, int64_t E);
void ref_embed_backward(double *dtable, const double *dx, const int32_t *ids, int64_t n, int64_t E);
void ref_gather(double *y, const double *x, const int64_t *index, int64_t n, int64_t E);
void ref_scatter_add(double *y, const double *x, const int64_t *index, int64_t n, int64_t E);

/* linear: w is the weight matrix [N,K] itself */
void ref_linear_forward(double *y, const double *x, const double *w, int64_t n, int64_t N, int64_t K, bool add);
void ref_linear_backward_data(double *dx, const double *dy, const double *w, int64_t n, int64_t N, int64_t K, bool add);
void ref_linear_backward_weight(double *dw, const double *dy, const double *x, int64_t n, int64_t N, int64_t K);
void ref_gemm(const struct gemm_shape *s, const double *A, const double *B, double *C);

/* attention: no tiles, the whole row of scores of one query at a time. lse may be NULL. The past of the batch's sequences
 * is here past[nseq], or NULL, and only read; b->past and b->append are not. */
struct ref_past {
    int64_t length;
    const double *k, *v; /* [length, G, D]; keys rotated */
};
void ref_attention_forward(double *y, double *lse, const double *qkv, const struct attention *a,
                           const struct attention_batch *b, const struct ref_past *past);
void ref_attention_backward(double *dqkv, const double *dy, const double *qkv, const struct attention *a,
                            const struct attention_batch *b);

/* loss: dw NULL: losses only */
double ref_loss_cross_entropy(double *loss, double *dx, double *dw, const double *x, const double *w,
                              const int32_t *targets, const float *weight, int64_t n, int64_t V, int64_t E);

#endif
