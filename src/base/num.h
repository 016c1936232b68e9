/* num: the smaller, the larger, what divides evenly, and the plural, of whole numbers. */
#ifndef MDM_BASE_NUM_H
#define MDM_BASE_NUM_H
#include <stdint.h>

static inline int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static inline int64_t max64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* How many of `step` cover n >= 0; and how much that is. */
static inline int64_t divide_up(int64_t n, int64_t step) {
    return (n + step - 1) / step;
}

static inline int64_t round_up(int64_t n, int64_t step) {
    return divide_up(n, step) * step;
}

/* The end of a noun behind the number n: "%lld step%s". */
static inline const char *plural(int64_t n) {
    return n == 1 ? "" : "s";
}

#endif
