/* parametric: the loss as a function of size and tokens, L = E + A / N^alpha + B / D^beta (Hoffmann et al., "Training
 * Compute-Optimal Large Language Models", arXiv 2203.15556 §3.3). */
#ifndef MDM_SCALING_PARAMETRIC_H
#define MDM_SCALING_PARAMETRIC_H
#include <stdbool.h>
#include <stdint.h>

#include "scaling/points.h"

struct scale_parametric {
    bool known; /* false: too few points, or losses that tell nothing */
    double e, a, b, alpha, beta;
    double objective; /* Huber loss (delta 1e-3) of ln L, summed over the points */
};

/* The best of many starts over n points of one family, D = C / (6 N). Fewer than 6 points, 3 sizes or 2 budgets are too
 * few. The starts are fixed, so the result is too. */
int scale_parametric(struct scale_parametric *out, const struct scale_point *points, int64_t n, struct err *err);

#endif
