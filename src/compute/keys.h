/* keys: rotated keys and values of one sequence in one layer, as attention keeps and reads them.
 *
 *     struct keys s = {.data = memory of keys_bytes() bytes, .capacity = 2048, .length = 0, .t = DTYPE_BF16};
 *
 * Group by group: the keys in blocks of KERNELS_KEYS positions, [blocks, D, KERNELS_KEYS], so that the scores of one
 * query are read from memory in order by whole vectors; then the values [positions, D]. Attention reads positions below
 * `length` and writes those of a batch behind it; whoever owns the memory moves `length`. */
#ifndef MDM_COMPUTE_KEYS_H
#define MDM_COMPUTE_KEYS_H
#include <stdint.h>

#include "compute/kernels.h"

struct keys {
    void *data; /* NULL: none */
    int64_t capacity, length;
    enum dtype t;
};

/* Bytes for `capacity` positions of G groups, a multiple of 64 · G. */
int64_t keys_bytes(int64_t G, int64_t D, int64_t capacity, enum dtype t);
/* Where a group's value at `position` begins. */
char *keys_value(const struct keys *s, int64_t D, int64_t group, int64_t position);
/* Writes the key k[D], of type s->t. */
void keys_put(const struct keys *s, int64_t D, int64_t group, int64_t position, const void *k);

/* scores[m, ·] = q·kᵀ of the first n positions (up to a multiple of KERNELS_KEYS is written), rows ls and lq apart;
 * o[m,D] += p·v over them. One thread. */
void keys_scores(float *scores, int64_t ls, const float *q, int64_t lq, int64_t m, const struct keys *s, int64_t D,
                 int64_t group, int64_t n);
void keys_mix(float *o, const float *p, int64_t lp, int64_t m, const struct keys *s, int64_t D, int64_t group,
              int64_t n);

#endif
