/* attention: softmax(Q·Kᵀ/√D)·V over ragged sequences, grouped heads, full or causal, forward and backward, in tiles.
 *
 * qkv[n, (H+2G)·D] is the fused projection before rotation, laid out [G, H/G + 2, D] per row: H/G queries, a key, a
 * value. Rotation happens while tiles are gathered, so it costs no pass over memory. No T×T matrix is kept: only
 * ATTENTION_ROWS query rows of scores exist per thread.
 *
 * A sequence may have a past: keys and values of earlier positions, in a store (keys.h). Its rows then stand behind it and
 * attend to it too. With `append` their own keys and values are written into the store behind its length.
 *
 * Wanted rows: queries may be asked for some rows only (`rows`, ascending indices into n); y, dy and lse then have one
 * row per wanted row. Keys and values always cover the whole sequence. */
#ifndef MDM_COMPUTE_ATTENTION_H
#define MDM_COMPUTE_ATTENTION_H
#include <stdbool.h>
#include <stdint.h>
#include "compute/keys.h"

enum { ATTENTION_ROWS = 96 }; /* GEMM_ROW_STEP · 2^i */

struct attention {
    int64_t H, G, D;
    bool causal;
    enum dtype t;           /* of qkv, y and their gradients */
    const float *cos, *sin; /* [max positions, D/2]; NULL: no rotation */
};

struct attention_batch {
    int64_t n, nseq;
    const int64_t *starts; /* [nseq+1]: rows of sequence s are [starts[s], starts[s+1]) at positions 0, 1, … or behind
                              its past; none is fine */
    const int64_t *rows;   /* wanted rows, ascending; NULL: all */
    int64_t nrows;         /* rows of y: number of wanted rows, n when rows is NULL */
    const struct keys *past; /* [nseq], NULL: none; data NULL: none of this sequence. Two may share one unless append */
    bool append;
};

/* Bytes of scratch for sequences of up to T rows that see up to `keys` keys (T without a past). */
int64_t attention_scratch(const struct attention *a, int64_t T, int64_t keys, bool backward);
/* Makes every product that sequences of up to T rows need; calls after it allocate nothing. -1 with err when there is no
 * memory. */
int attention_prepare(const struct attention *a, int64_t T, bool backward, struct err *err);
/* y[nrows, H·D], lse[nrows, H]. */
void attention_forward(void *y, float *lse, const void *qkv, const struct attention *a, const struct attention_batch *b,
                       void *scratch);
/* dqkv[n, (H+2G)·D] is overwritten. Without a past. */
void attention_backward(void *dqkv, const void *dy, const void *y, const float *lse, const void *qkv,
                        const struct attention *a, const struct attention_batch *b, void *scratch);

#endif
