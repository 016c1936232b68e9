/* ops: row kernels over whole tensors, in parallel. Results do not depend on the number of threads: every sum over rows
 * is made of partial sums over fixed groups of OPS_GROUP rows, added in order.
 *
 * Letters: n rows (tokens of all sequences), E width, F MLP width, V vocabulary. f32 unless an enum dtype says
 * otherwise. */
#ifndef MDM_COMPUTE_OPS_H
#define MDM_COMPUTE_OPS_H
#include <stdint.h>
#include "compute/kernels.h"

enum { OPS_GROUP = 128 };

/* x[n,E] = table[ids[i]]; table is [rows,E] of type t; ids are checked by the caller. */
void ops_embed(float *x, const void *table, enum dtype t, const int32_t *ids, int64_t n, int64_t E);
void ops_embed_add(float *x, const void *table, enum dtype t, const int32_t *ids, int64_t n, int64_t E); /* x += */
/* dtable[ids[i]] += dx[i], in the order of i (threads split the columns). */
void ops_embed_backward(float *dtable, const float *dx, const int32_t *ids, int64_t n, int64_t E);

/* y[n,E] (type t) = rmsnorm of x; rstd[n] may be NULL. */
void ops_rmsnorm(void *y, enum dtype t, float *rstd, const float *x, const float *w, int64_t n, int64_t E, float eps);
/* dx[n,E] += …, dw[E] += …; partial is scratch of ops_rmsnorm_scratch(n, E) floats. */
void ops_rmsnorm_backward(float *dx, float *dw, const float *dy, const float *x, const float *w, const float *rstd,
                          int64_t n, int64_t E, float *partial);
int64_t ops_rmsnorm_scratch(int64_t n, int64_t E);

/* y[n,E] (type t) = layer norm of x. */
void ops_layernorm(void *y, enum dtype t, const float *x, const float *w, const float *b, int64_t n, int64_t E,
                   float eps);

/* h[n,F] from a[n,F], both of type t. */
void ops_gelu(void *h, const void *a, enum dtype t, int64_t n, int64_t F);
/* h[n,F] from a[n,F] and b[n,F], all of type t; and back, as the row kernel says (a becomes da, b becomes db, h is
 * written). */
void ops_swiglu(void *h, const void *a, const void *b, enum dtype t, int64_t n, int64_t F);
void ops_swiglu_backward(void *a_to_da, void *b_to_db, void *h, const void *dh, enum dtype t, int64_t n, int64_t F);

/* y[i] = x[index[i]] for i < n, rows of E elements of type t; and y[index[i]] += x[i] (f32, index ascending, distinct).
 */
void ops_gather(void *y, const void *x, enum dtype t, const int64_t *index, int64_t n, int64_t E);
void ops_scatter_add(float *y, const float *x, const int64_t *index, int64_t n, int64_t E);

/* y[rows,cols] = xᵀ, elements of `size` bytes (2 or 4); row k of x is ldx elements behind the one before it. */
void ops_transpose(void *y, const void *x, size_t size, int64_t rows, int64_t cols, int64_t ldx);
void ops_convert(void *y, enum dtype yt, const void *x, enum dtype xt, int64_t n);
void ops_round(float *x, enum dtype t, int64_t n); /* to what t can hold */
void ops_add(float *y, const float *x, int64_t n);
void ops_add_scaled(float *y, float a, const float *x, int64_t n); /* y += a·x */
void ops_scale(float *y, float a, int64_t n);
void ops_zero(void *y, int64_t bytes);
double ops_sum_squares(const float *x, int64_t n);
/* sums[i] = Σ x² over elements [i·piece, (i + 1)·piece), of which the last may be fewer. */
void ops_square_sums(double *sums, const float *x, int64_t n, int64_t piece);
void ops_adamw(float *w, float *m, float *v, const float *g, int64_t n, const struct adamw *s);

#endif
