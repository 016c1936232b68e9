/* parametric: L-BFGS (NLopt) from a grid of starts on the Huber loss of log-residuals. A and B are fitted as what their
 * terms are at the points' mean ln N and ln D, which frees them from alpha and beta. */
#include "scaling/parametric.h"

#include <math.h>
#include <nlopt.h>

#include "base/err.h"
#include "base/mem.h"

enum { LN_E, LN_A, LN_B, ALPHA, BETA, UNKNOWNS };
static const double delta = 1e-3; /* where Huber's loss turns from square to linear */

struct data {
    double *n, *d, *loss; /* ln N and ln D less their means; ln L */
    int64_t count;
};

/* ln(e^E + e^(A - alpha n) + e^(B - beta d)) against ln L: the sum of Huber losses, and its gradient unless NULL. */
static double objective(unsigned unknowns, const double *u, double *gradient, void *context) {
    const struct data *data = context;
    double sum = 0;
    for (unsigned k = 0; gradient && k < unknowns; k++) gradient[k] = 0;
    for (int64_t i = 0; i < data->count; i++) {
        const double term[3] = {u[LN_E], u[LN_A] - u[ALPHA] * data->n[i], u[LN_B] - u[BETA] * data->d[i]};
        const double top = fmax(term[0], fmax(term[1], term[2]));
        double part[3], total = 0;
        for (int k = 0; k < 3; k++) total += part[k] = exp(term[k] - top);
        const double r = top + log(total) - data->loss[i], size = fabs(r);
        sum += size <= delta ? r * r / 2 : delta * (size - delta / 2);
        if (!gradient) continue;
        const double slope = (size <= delta ? r : copysign(delta, r)) / total;
        gradient[LN_E] += slope * part[0];
        gradient[LN_A] += slope * part[1];
        gradient[LN_B] += slope * part[2];
        gradient[ALPHA] -= slope * part[1] * data->n[i];
        gradient[BETA] -= slope * part[2] * data->d[i];
    }
    /* in units in which the steps of the search are neither tiny nor huge */
    const double scale = 1 / (delta * (double)data->count);
    for (unsigned k = 0; gradient && k < unknowns; k++) gradient[k] *= scale;
    return sum * scale;
}

/* From start u to the nearest minimum; the objective there. */
static double search(nlopt_opt opt, double u[UNKNOWNS]) {
    double value = INFINITY;
    const nlopt_result r = nlopt_optimize(opt, u, &value);
    /* rounding may stop it: where it then stands counts like any other end */
    return r > 0 || r == NLOPT_ROUNDOFF_LIMITED ? value : INFINITY;
}

/* False when no start came to an end. */
static bool search_all(nlopt_opt opt, double best[UNKNOWNS], double level) {
    static const double share[] = {-3, -1.5, -0.5}, power[] = {0.1, 0.3, 0.6};
    double least = INFINITY;
    for (int k = 0; k < 243; k++) {
        double u[UNKNOWNS] = {level + share[k % 3], level + share[k / 3 % 3], level + share[k / 9 % 3],
                              power[k / 27 % 3], power[k / 81]};
        const double value = search(opt, u);
        if (!(value < least)) continue;
        least = value;
        for (int i = 0; i < UNKNOWNS; i++) best[i] = u[i];
    }
    if (least == INFINITY) return false;
    nlopt_set_ftol_rel(opt, 1e-13);
    nlopt_set_maxeval(opt, 5000);
    search(opt, best); /* the searches above may have been cut short */
    return true;
}

/* Sizes and budgets that differ; the points are sorted by budget, then size. */
static bool enough(const struct scale_point *p, int64_t n) {
    int64_t budgets = 0, sizes = 0;
    for (int64_t i = 0; i < n; i++) {
        budgets += i == 0 || p[i].budget != p[i - 1].budget;
        bool seen = false;
        for (int64_t k = 0; k < i && !seen; k++) seen = p[k].params == p[i].params;
        sizes += !seen;
    }
    return n >= 6 && sizes >= 3 && budgets >= 2;
}

int scale_parametric(struct scale_parametric *out, const struct scale_point *points, int64_t n, struct err *err) {
    *out = (struct scale_parametric){0};
    if (!enough(points, n)) return 0;
    double *slab = mem_alloc(3 * n, sizeof *slab, "points of the fit", err), mean[3] = {0};
    if (!slab) return -1;
    struct data data = {slab, slab + n, slab + 2 * n, n};
    for (int64_t i = 0; i < n; i++) {
        data.n[i] = log(points[i].params);
        data.d[i] = log(points[i].flops / 6) - data.n[i];
        data.loss[i] = log(points[i].loss);
        for (int k = 0; k < 3; k++) mean[k] += slab[k * n + i] / (double)n;
    }
    for (int64_t i = 0; i < n; i++) {
        data.n[i] -= mean[0];
        data.d[i] -= mean[1];
    }
    double best[UNKNOWNS] = {0}; /* in the order of the enum */
    static const double low[UNKNOWNS] = {-30, -30, -30, 0, 0}, high[UNKNOWNS] = {10, 10, 10, 4, 4};
    nlopt_opt opt = nlopt_create(NLOPT_LD_LBFGS, UNKNOWNS);
    int status = opt && nlopt_set_min_objective(opt, objective, &data) > 0 && nlopt_set_lower_bounds(opt, low) > 0 &&
                         nlopt_set_upper_bounds(opt, high) > 0 && nlopt_set_ftol_rel(opt, 1e-6) > 0 &&
                         nlopt_set_maxeval(opt, 200) > 0
                     ? 0
                     : err_set(err, "out of memory: the parametric fit");
    if (status == 0) out->known = search_all(opt, best, mean[2]);
    nlopt_destroy(opt);
    out->e = exp(best[LN_E]);
    out->a = exp(best[LN_A] + best[ALPHA] * mean[0]);
    out->b = exp(best[LN_B] + best[BETA] * mean[1]);
    out->alpha = best[ALPHA];
    out->beta = best[BETA];
    out->objective = objective(UNKNOWNS, best, NULL, &data) * delta * (double)n;
    /* Losses that depend on neither, sizes beyond all numbers. */
    out->known = out->known && isfinite(out->a) && isfinite(out->b) && out->alpha + out->beta > 0;
    mem_free(slab);
    return status;
}
