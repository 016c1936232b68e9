/* num: the smaller, the larger, and the next multiple of whole numbers. */
#ifndef MDM_BASE_NUM_H
#define MDM_BASE_NUM_H
#include <stdint.h>

static inline int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static inline int64_t max64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* n >= 0 */
static inline int64_t round_up(int64_t n, int64_t step) {
    return (n + step - 1) / step * step;
}

#endif
