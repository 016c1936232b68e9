/* matmul: the three products of a linear layer over oneDNN, and the small products of attention tiles.
 *
 *     Y = X·Wᵀ     matmul_forward        X [n,K]  W [N,K]  Y [n,N]
 *     dX = dY·W    matmul_backward_data
 *     dW += dYᵀ·X  matmul_backward_weight
 *
 * A product is cut into blocks whose size depends on its shape only; each block is one oneDNN primitive run by one
 * thread. So the result does not depend on the number of threads. Primitives are kept by shape.
 *
 * Types: activations and gradients of type `t` (f32 or bf16) on both sides, f32 accumulation. On a machine without bf16
 * arithmetic, bf16 operands are widened to f32 first (matmul_native_bf16() is false): same values, f32 speed. On one
 * with it, W is packed for the first two bf16 products as oneDNN's fast kernel wants it. */
#ifndef MDM_COMPUTE_MATMUL_H
#define MDM_COMPUTE_MATMUL_H
#include <stdbool.h>
#include <stdint.h>
#include "compute/kernels.h"

/* Products take rows in multiples of this, the last ones with zeros behind them: a row's bits then do not depend on its
 * place (matmul.c). */
enum { MATMUL_ROW_STEP = 24 };

/* One weight matrix W [N,K], made ready for products. The source is borrowed: it must outlive this. */
struct matmul_weight {
    int64_t N, K;
    const void *source; /* row-major, of type source_type */
    enum dtype source_type;
    enum dtype t;        /* type of the activations it meets */
    void *packed;        /* in the forward product's own layout, or NULL when the source serves as it is */
    int64_t block_bytes; /* bytes of one packed column block */
};

/* Once, after kernels_init(); `threads` >= 1 (OpenMP's number for all of compute/). */
int matmul_init(int threads, struct err *err);
int matmul_threads(void);
bool matmul_native_bf16(void);
/* Primitives made so far that oneDNN runs by its plain reference loops, a hundred times slower: for tests, 0. */
int matmul_slow_primitives(void);

/* FLOP/s of a product of 2048 × 2048 matrices of type t with all threads (best of a few, about half a second): the
 * yardstick of MFU and of the benches. Negative with err. */
double matmul_rate(enum dtype t, struct err *err);

/* Bytes that matmul_weight_init() will need at `packed` (0: none). */
int64_t matmul_weight_bytes(int64_t N, int64_t K, enum dtype source_type, enum dtype t);
/* Fill w; `packed` is the caller's memory (64-byte aligned) of that many bytes. Call matmul_weight_refresh() after the
 * source changed. */
int matmul_weight_init(struct matmul_weight *w, int64_t N, int64_t K, const void *source, enum dtype source_type,
                       enum dtype t, void *packed, struct err *err);
void matmul_weight_refresh(struct matmul_weight *w);

/* Buffers for all three products of w with up to n rows: calls then allocate nothing, but for what the first call with
 * w keeps. -1 with err when there is no memory. */
int matmul_reserve(const struct matmul_weight *w, int64_t n, struct err *err);

/* y[n,N] (type yt) = x[n,K]·Wᵀ, or += when add (yt must be f32). x is of type w->t. */
void matmul_forward(void *y, enum dtype yt, const void *x, const struct matmul_weight *w, int64_t n, bool add);
/* The same product, not stored: `use` is called with each block of it, z[m,count] f32 without gaps, rows [row, row+m)
 * and columns [column, column+count), by the thread that made it, in no fixed order. z may be changed. */
typedef void matmul_use(void *context, float *z, int64_t row, int64_t m, int64_t column, int64_t count);
void matmul_forward_use(const void *x, const struct matmul_weight *w, int64_t n, matmul_use *use, void *context);
/* Columns of such a block, but for the last ones: products and packed weights are cut at its multiples. */
int64_t matmul_column_block(int64_t N);
/* dx[n,K] (type xt) = dy[n,N]·W, or += when add (xt must be f32). dy is of type w->t. */
void matmul_backward_data(void *dx, enum dtype xt, const void *dy, const struct matmul_weight *w, int64_t n, bool add);
/* dw[N,K] f32 += dy[n,N]ᵀ·x[n,K], both of type t. */
void matmul_backward_weight(float *dw, const void *dy, const void *x, enum dtype t, int64_t n, int64_t N, int64_t K);

/* Row stride, in elements, >= cols for a matrix that products of type t read by columns. f32: an odd number of cache
 * lines, so that a column's elements fall into different cache sets (a stride of 2048 floats more than halves the
 * speed). bf16: cols, since oneDNN's fast kernel wants rows without gaps. */
int64_t matmul_stride(int64_t cols, enum dtype t);

/* A small product for one thread inside a parallel region: C[M,N] f32 = A·B (+ C when add), operands of `type`;
 * A is [M,K] with row stride lda, or [K,M] when trans_a; B is [K,N] with row stride ldb, or [N,K] when trans_b. */
struct gemm_shape {
    int64_t M, N, K, lda, ldb, ldc;
    bool trans_a, trans_b, add;
    enum dtype type; /* of A and B: f32, or bf16 where that is native */
    enum dtype c_type;
};
struct gemm;
const struct gemm *gemm_get(const struct gemm_shape *s); /* kept by shape, never freed; thread-safe */
void gemm_prepare(const struct gemm_shape *s); /* outside parallel regions: later gets and runs allocate nothing */
void gemm_run(const struct gemm *g, const void *A, const void *B, void *C);

#endif
