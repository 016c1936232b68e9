/* attention: softmax(Q·Kᵀ/√D)·V over ragged sequences, grouped heads, full or causal, forward and backward, in tiles.
 *
 * qkv[n, (H+2G)·D] is the fused projection before rotation, laid out [G, H/G + 2, D] per row: H/G queries, a key, a
 * value. Rotation happens while tiles are gathered, so it costs no pass over memory. No T×T matrix is kept: only
 * ATTENTION_ROWS query rows of scores exist per thread.
 *
 * Wanted rows: queries may be asked for some rows only (`rows`, ascending indices into n); y, dy and lse then have one
 * row per wanted row. Keys and values always cover the whole sequence. */
#ifndef MDM_COMPUTE_ATTENTION_H
#define MDM_COMPUTE_ATTENTION_H
#include <stdbool.h>
#include <stdint.h>
#include "compute/kernels.h"

enum { ATTENTION_ROWS = 96 }; /* MATMUL_ROW_STEP · 2^i */

struct attention {
    int64_t H, G, D;
    bool causal;
    enum dtype t;           /* of qkv, y and their gradients */
    const float *cos, *sin; /* [max positions, D/2] */
};

struct attention_batch {
    int64_t n, nseq;
    const int64_t *starts; /* [nseq+1]: rows of sequence s are [starts[s], starts[s+1]) at positions 0, 1, … */
    const int64_t *rows;   /* wanted rows, ascending; NULL: all */
    int64_t nrows;         /* rows of y: number of wanted rows, n when rows is NULL */
};

/* Bytes of scratch for sequences up to T positions. */
int64_t attention_scratch(const struct attention *a, int64_t T, bool backward);
/* Makes every product that such sequences need; calls after it allocate nothing (attention_cached() still does). -1 with
 * err when there is no memory. */
int attention_prepare(const struct attention *a, int64_t T, bool backward, struct err *err);
/* y[nrows, H·D], lse[nrows, H]. */
void attention_forward(void *y, float *lse, const void *qkv, const struct attention *a, const struct attention_batch *b,
                       void *scratch);
/* dqkv[n, (H+2G)·D] is overwritten. */
void attention_backward(void *dqkv, const void *dy, const void *y, const float *lse, const void *qkv,
                        const struct attention *a, const struct attention_batch *b, void *scratch);
/* Autoregressive decoding: sequence s has past[s] rows of rotated keys and values, f32 [length rounded up to 32, G, D],
 * in k[s] and v[s], zero beyond what was written; the rows of the batch continue it (positions past[s], …) and are
 * appended there. Causal. y[n, H·D]: all rows; b->rows is not used. `length`: positions the caches hold. */
int64_t attention_cached_scratch(const struct attention *a, int64_t length);
void attention_cached(void *y, float *const *k, float *const *v, const int64_t *past, const void *qkv,
                      const struct attention *a, const struct attention_batch *b, int64_t length, void *scratch);

#endif
