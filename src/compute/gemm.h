/* gemm: matrix products over oneDNN, one primitive a shape, run by one thread each.
 *
 *     gemm_init(threads, &err);                     // once, after kernels_init()
 *     gemm_prepare(&shape, &err);                   // when a model is opened
 *     gemm_run(gemm_get(&shape), A, B, C);          // by a thread of a parallel region, or by one alone
 *
 * All memory is had when shapes are prepared. Products are made for one caller at a time, from any thread.
 *
 * This is the only file that knows oneDNN. Products of weights are in linear.h; those of attention's tiles are made
 * with this directly.
 *
 * Types: f32 everywhere, bf16 where the machine multiplies it (gemm_native_bf16()); sums are f32. One thread runs a
 * whole primitive: oneDNN then does not split the sum, so a result does not depend on the number of threads. */
#ifndef MDM_COMPUTE_GEMM_H
#define MDM_COMPUTE_GEMM_H
#include <stdbool.h>
#include <stdint.h>
#include "compute/kernels.h"

/* Callers give rows in multiples of this, the last ones with zeros behind them: oneDNN's AVX2 kernel takes 6 rows at a
 * time and sums left-over rows in another order, and a row's bits must not depend on its place. */
enum { GEMM_ROW_STEP = 24 };

/* `threads` >= 1: OpenMP's number for all of compute/. After -1 it may be tried again. */
int gemm_init(int threads, struct err *err);
int gemm_threads(void);
/* Threads for a parallel region in which each needs memory of its own: what OpenMP would give the caller, but no more
 * than gemm_threads(), whatever number it has set or another thread of the program started with. */
int gemm_team(void);
bool gemm_native_bf16(void);
/* The type that products of operands of type t multiply: f32 where bf16 is not native. */
enum dtype gemm_type(enum dtype t);
/* Primitives made so far that oneDNN runs by its plain reference loops, a hundred times slower: for tests, 0. */
int gemm_slow(void);

/* Row stride, in elements, >= cols for a matrix that products of type t read by columns. f32: an odd number of cache
 * lines, so that a column's elements fall into different cache sets (a stride of 2048 floats more than halves the
 * speed). bf16: cols, since oneDNN's fast kernel wants rows without gaps. */
int64_t gemm_stride(int64_t cols, enum dtype t);

/* C[M,N] = A·B (+ C when add), operands of `type`; A is [M,K] with row stride lda, or [K,M] when trans_a; B is [K,N]
 * with row stride ldb, or [N,K] when trans_b, or what gemm_pack() made of it when packed. */
struct gemm_shape {
    int64_t M, N, K, lda, ldb, ldc;
    bool trans_a, trans_b, add, packed;
    enum dtype type; /* of A and B: f32, or bf16 where that is native */
    enum dtype c_type;
};
struct gemm;
/* Makes the primitive and the scratch that each thread needs for it, unless they are there: primitives are kept by
 * shape and never freed. Outside parallel regions. -1 with err when there is no memory. */
int gemm_prepare(const struct gemm_shape *s, struct err *err);
const struct gemm *gemm_get(const struct gemm_shape *s); /* which has been prepared */
void gemm_run(const struct gemm *g, const void *A, const void *B, void *C);

/* The right side B [K,N] as bf16 products with `packed` want it: panels of GEMM_PANEL columns, [⌈K/32⌉·16, GEMM_PANEL, 2]
 * each, so that two rows stand side by side; zeros behind the last row and column. */
enum { GEMM_PANEL = 64 };
int64_t gemm_packed_bytes(int64_t N, int64_t K);
/* From rows of ld elements: [K,N], or [N,K] when transposed. By one thread, after gemm_prepare_pack() of the same,
 * which fails with -1 and err when there is no memory. */
int gemm_prepare_pack(int64_t N, int64_t K, enum dtype from_type, int64_t ld, bool transposed, struct err *err);
void gemm_pack(void *to, int64_t N, int64_t K, const void *from, enum dtype from_type, int64_t ld, bool transposed);

#endif
