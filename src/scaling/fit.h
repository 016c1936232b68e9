/* fit: the scaling law of measured losses (docs/scaling.md).
 *
 *     struct scale_fit fit;
 *     scale_fit(&fit, &points, &(struct scale_fit_settings){.replicates = 1000, .seed = 1}, &err);
 *     fit.families[0].loss.exponent;           // of L* in C
 *     scale_fit_free(&fit);
 *
 * Per family and budget a parabola of loss in ln N gives the best size N* and its loss L*; then ln L* and ln N* are
 * lines in ln C. A family with one size in every budget, not the same in all, is taken as given optima. Budgets that cannot
 * be used are left out of the lines and named in `problems`. Intervals are the middle 95 % of bootstrap replicates: residuals of the family,
 * or normal draws of a point's error where that is larger, on its curves; for given optima, budgets drawn anew. */
#ifndef MDM_SCALING_FIT_H
#define MDM_SCALING_FIT_H
#include <stdbool.h>
#include <stdint.h>

#include "scaling/parametric.h"
#include "scaling/points.h"

struct scale_fit_settings {
    int64_t replicates; /* 0: no intervals */
    uint64_t seed;
};

struct scale_value { /* an estimate and its interval; low and high are NaN when there is none */
    double v, low, high;
};
struct scale_budget {
    double flops;                    /* mean of its points' */
    int64_t first, n;                /* its points */
    bool given;                      /* the optimum itself was given; no curve */
    bool used;                       /* in the lines */
    double center, curve[3];         /* loss = curve[0] + curve[1] z + curve[2] z², z = ln N - center */
    struct scale_value params, loss; /* N*, L* */
};
struct scale_line { /* ln y = intercept + exponent ln C */
    struct scale_value exponent, intercept;
};
struct scale_family {
    const char *name; /* of the points */
    struct scale_budget *budgets;
    int64_t n, used;
    bool known; /* there are two budgets or more in the lines */
    struct scale_line loss, params;
    struct scale_parametric parametric;
};
struct scale_ratio {
    double flops;             /* of the better family */
    struct scale_value ratio; /* how many times as much the other one needs for the same loss */
};
struct scale_fit {
    struct scale_family *families; /* n */
    int n;
    int better, other; /* of the ratios; -1 unless there are exactly two families with lines */
    struct scale_ratio *ratios;
    int64_t nratios;
    char **problems; /* a line each: budgets, lines, ratios, intervals that were left out or tell little, and why */
    int64_t nproblems, capacity;
};

/* The points must outlive the fit. Points that give no line at all are no error: `problems` says why. */
int scale_fit(struct scale_fit *fit, const struct scale_points *points, const struct scale_fit_settings *settings,
              struct err *err);
void scale_fit_free(struct scale_fit *fit);

#endif
