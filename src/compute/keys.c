/* keys: the layout of stored keys and values, and products with it by kernels->scores and kernels->mix. */
#include "compute/keys.h"

#include "base/num.h"

static int64_t padded(int64_t n) {
    return round_up(n, KERNELS_KEYS);
}

int64_t keys_bytes(int64_t G, int64_t D, int64_t capacity, enum dtype t) {
    return 2 * G * D * padded(capacity) * (int64_t)dtype_size(t);
}

/* Where a group's keys begin. */
static char *group_keys(const struct keys *s, int64_t D, int64_t group) {
    return (char *)s->data + group * keys_bytes(1, D, s->capacity, s->t);
}

char *keys_value(const struct keys *s, int64_t D, int64_t group, int64_t position) {
    return group_keys(s, D, group) + D * (padded(s->capacity) + position) * (int64_t)dtype_size(s->t);
}

/* The key becomes a column of its block. */
void keys_put(const struct keys *s, int64_t D, int64_t group, int64_t position, const void *k) {
    const int64_t column = position / KERNELS_KEYS * KERNELS_KEYS * D + position % KERNELS_KEYS;
    char *base = group_keys(s, D, group);
    if (s->t == DTYPE_F32)
        for (int64_t d = 0; d < D; d++) ((float *)(void *)base)[column + d * KERNELS_KEYS] = ((const float *)k)[d];
    else
        for (int64_t d = 0; d < D; d++)
            ((uint16_t *)(void *)base)[column + d * KERNELS_KEYS] = ((const uint16_t *)k)[d];
}

void keys_scores(float *scores, int64_t ls, const float *q, int64_t lq, int64_t m, const struct keys *s, int64_t D,
                 int64_t group, int64_t n) {
    if (n > 0) kernels->scores(scores, ls, q, lq, m, group_keys(s, D, group), s->t, padded(n) / KERNELS_KEYS, D);
}

void keys_mix(float *o, const float *p, int64_t lp, int64_t m, const struct keys *s, int64_t D, int64_t group,
              int64_t n) {
    if (n > 0) kernels->mix(o, p, lp, m, keys_value(s, D, group, 0), s->t, n, D);
}
