/* linear: the products of a weight matrix W [N,K] with rows of activations, for linear layers and the head.
 *
 *     Y = X·Wᵀ + b   linear_forward          X [n,K]  Y [n,N]
 *     dX = dY·W      linear_backward_data
 *     dW += dYᵀ·X    linear_backward_weight  db += column sums of dY
 *
 * How a weight is kept for this — its type, its packing, its bias — is nobody else's affair.
 *
 * A product is cut into blocks whose size depends on its shape only; each block is one primitive (gemm.h) run by one
 * thread, so the result does not depend on the number of threads. Rows go in blocks of GEMM_ROW_STEP · 2^i, so a row's
 * bits do not depend on its company either.
 *
 * Types: activations and gradients of type `t` (f32 or bf16) on both sides, f32 accumulation. On a machine without bf16
 * arithmetic, bf16 operands are widened to f32 first: same values, f32 speed. */
#ifndef MDM_COMPUTE_LINEAR_H
#define MDM_COMPUTE_LINEAR_H
#include <stdbool.h>
#include <stdint.h>
#include "compute/kernels.h"
#include "compute/pack.h"

struct linear { /* in this header so that it can be embedded: only linear.c touches the fields (make lint) */
    int64_t N, K;
    const void *source; /* row-major, of type source_type: borrowed, must outlive this */
    enum dtype source_type;
    enum dtype t;      /* type of the activations it meets */
    const float *bias; /* [N], borrowed; or NULL */
    void *packed; /* W in type t, in blocks where bf16 is native, else row-major; NULL: the source serves as it is */
    struct pack forward, backward; /* shapes of packed blocks as right sides of Y and of dX */
};

/* Bytes that linear_init() will need at `packed` (0: none). */
int64_t linear_bytes(int64_t N, int64_t K, enum dtype source_type, enum dtype t);
/* `packed` is the caller's memory (64-byte aligned) of that many bytes, NULL for none; bias may be NULL. */
int linear_init(struct linear *w, int64_t N, int64_t K, const void *source, enum dtype source_type, const float *bias,
                enum dtype t, void *packed, struct err *err);
void linear_refresh(struct linear *w);            /* after the source changed */
int64_t linear_rows(const struct linear *w);      /* N */
int64_t linear_cols(const struct linear *w);      /* K */
enum dtype linear_type(const struct linear *w);   /* t */
const float *linear_bias(const struct linear *w); /* [N], or NULL */
/* out[K] = W[i,:], of type t: for t = linear_type() as products see it. */
void linear_row(void *out, enum dtype t, const struct linear *w, int64_t i);

enum linear_products { LINEAR_Y, LINEAR_DX, LINEAR_DW }; /* Y; dX too; all three */
/* Before products of w with up to n rows: makes primitives and buffers, which all weights share, so that no product
 * allocates. -1 with err when there is no memory. */
int linear_reserve(const struct linear *w, int64_t n, enum linear_products which, struct err *err);
/* The two of these buffers that grow with a weight and its rows: bytes[] is raised to what a weight of type t needs. */
void linear_reserve_bytes(int64_t bytes[2], int64_t N, int64_t K, enum dtype t, int64_t n, enum linear_products which);

/* y[n,N] (type yt) = x[n,K]·Wᵀ + bias, or += when add (yt must be f32). x is of type t. */
void linear_forward(void *y, enum dtype yt, const void *x, const struct linear *w, int64_t n, bool add);
/* The same product, not stored: `use` is called with each block of it, z[m,count] f32 without gaps, rows [row, row+m)
 * and columns [column, column+count), by the thread that made it, in no fixed order. z may be changed. */
typedef void linear_use(void *context, float *z, int64_t row, int64_t m, int64_t column, int64_t count);
void linear_forward_use(const void *x, const struct linear *w, int64_t n, linear_use *use, void *context);
/* The same two for a few rows that each go on a sequence of their own: bound by reading W, which they do once, as it is
 * kept. Their sums have another order than linear_forward()'s, the same for any number of rows: which of the two a row
 * goes through must follow from its own sequence, never from its company. */
void linear_thin(void *y, enum dtype yt, const void *x, const struct linear *w, int64_t n, bool add);
void linear_thin_use(const void *x, const struct linear *w, int64_t n, linear_use *use, void *context);
/* Columns of such a block, but for the last ones. */
int64_t linear_column_block(int64_t N);
/* dx[n,K] (type xt) = dy[n,N]·W, or += when add (xt must be f32). dy is of type t. */
void linear_backward_data(void *dx, enum dtype xt, const void *dy, const struct linear *w, int64_t n, bool add);
/* dw[N,K] f32 += dy[n,N]ᵀ·x[n,K], both of type t; db[N] f32 += the column sums of dy, in the order of rows, unless NULL.
 */
void linear_backward_weight(float *dw, float *db, const void *dy, const void *x, const struct linear *w, int64_t n);

/* FLOP/s of a product of 2048 × 2048 matrices of type t with all threads (best of a few, about half a second): the
 * yardstick of MFU and of the benches. Negative with err. */
double linear_rate(enum dtype t, struct err *err);

#endif
