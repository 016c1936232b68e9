/* pack: the right side B [K,N] of bf16 products, cut into blocks of columns that are packed one by one as oneDNN's fast
 * kernel wants them (gemm_pack). Where bf16 is not native nothing is packed: f32 products like plain rows better
 * (bench/SPEED.md). */
#ifndef MDM_COMPUTE_PACK_H
#define MDM_COMPUTE_PACK_H
#include <stdbool.h>
#include <stdint.h>
#include "compute/kernels.h"

struct pack {
    int64_t N, K, width; /* block i holds columns [i·width, …) */
    int64_t block_bytes; /* from one block to the next */
};

struct pack pack_shape(int64_t N, int64_t K, int64_t width);
int64_t pack_bytes(const struct pack *p); /* of all blocks */
/* Before the first pack() of this shape from rows of this kind: -1 with err when there is no memory. */
int pack_prepare(const struct pack *p, enum dtype from_type, int64_t ld, bool transposed, struct err *err);
/* Fills `to` from rows of ld elements: [K,N], or [N,K] when transposed. */
void pack(const struct pack *p, void *to, const void *from, enum dtype from_type, int64_t ld, bool transposed);

#endif
