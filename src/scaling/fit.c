/* fit: least squares twice (parabolas, then lines), and the same again on resampled points for the intervals. */
#include "scaling/fit.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"

enum { TRIES = 100, LINE_VALUES = 4, BUDGET_VALUES = 2 }; /* draws of a budget's points until they give an optimum */

/* ---- least squares ---- */

/* y = c[0] + c[1] z + c[2] z², z = x - center, over n points. False when there are fewer than three different x.
 * `leverage` (NULL: not wanted) is how far each point draws the curve to itself, 0 to 1. */
static bool parabola(const double *x, const double *y, int64_t n, double *center, double c[3], double *leverage) {
    double mean = 0, width = 0, s[5] = {0}, t[3] = {0};
    for (int64_t i = 0; i < n; i++) mean += x[i] / (double)n;
    for (int64_t i = 0; i < n; i++) width = fmax(width, fabs(x[i] - mean));
    int64_t different = 0;
    for (int64_t i = 0; i < n; i++) {
        bool seen = false;
        for (int64_t k = 0; k < i && !seen; k++) seen = x[k] == x[i];
        different += !seen;
        const double z = (x[i] - mean) / width;
        double power = 1;
        for (int k = 0; k < 5; k++, power *= z) {
            s[k] += power;
            if (k < 3) t[k] += power * y[i];
        }
    }
    if (different < 3) return false;
    /* the normal equations of z / width, whose powers all have the same size, by Cramer's rule */
    const double d0 = s[2] * s[4] - s[3] * s[3], d1 = s[1] * s[4] - s[2] * s[3], d2 = s[1] * s[3] - s[2] * s[2];
    const double det = s[0] * d0 - s[1] * d1 + s[2] * d2;
    const double e1 = s[0] * s[4] - s[2] * s[2], e2 = s[0] * s[3] - s[1] * s[2], e3 = s[0] * s[2] - s[1] * s[1];
    *center = mean;
    c[0] = (d0 * t[0] - d1 * t[1] + d2 * t[2]) / det;
    c[1] = (-d1 * t[0] + e1 * t[1] - e2 * t[2]) / det / width;
    c[2] = (d2 * t[0] - e2 * t[1] + e3 * t[2]) / det / (width * width);
    for (int64_t i = 0; leverage && i < n; i++) {
        const double z = (x[i] - mean) / width;
        leverage[i] = (d0 - 2 * d1 * z + (2 * d2 + e1) * z * z - 2 * e2 * z * z * z + e3 * z * z * z * z) / det;
    }
    return true;
}

/* y = a + b x; false when all x are the same. */
static bool line(const double *x, const double *y, int64_t n, double *a, double *b) {
    double mx = 0, my = 0, xx = 0, xy = 0;
    for (int64_t i = 0; i < n; i++) {
        mx += x[i] / (double)n;
        my += y[i] / (double)n;
    }
    for (int64_t i = 0; i < n; i++) {
        xx += (x[i] - mx) * (x[i] - mx);
        xy += (x[i] - mx) * (y[i] - my);
    }
    if (!(xx > 0)) return false;
    *b = xy / xx;
    *a = my - *b * mx;
    return true;
}

/* ---- problems ---- */

static int problem(struct scale_fit *fit, struct err *err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int problem(struct scale_fit *fit, struct err *err, const char *fmt, ...) {
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (mem_grow(&fit->problems, &fit->capacity, fit->nproblems + 1, sizeof *fit->problems, "problems", err) < 0)
        return -1;
    fit->problems[fit->nproblems] = mem_strdup(text, err);
    return fit->problems[fit->nproblems] ? (fit->nproblems++, 0) : -1;
}

/* ---- one budget ---- */

enum flaw { FINE, FEW_SIZES, NO_MINIMUM, BELOW_ZERO, OUTSIDE };

/* The optimum of n points; low and high bound the sizes that were measured. */
static enum flaw optimum(struct scale_budget *b, const double *x, const double *y, int64_t n, double low, double high) {
    double *c = b->curve;
    if (!parabola(x, y, n, &b->center, c, NULL)) return FEW_SIZES;
    if (!(c[2] * (high - low) * (high - low) > 1e-9 * fabs(c[0])))
        return NO_MINIMUM; /* a straight line has none either */
    const double z = -c[1] / (2 * c[2]);
    b->params.v = exp(b->center + z);
    b->loss.v = c[0] + c[1] * z / 2;
    if (!(b->loss.v > 0)) return BELOW_ZERO;
    return b->center + z >= low && b->center + z <= high ? FINE : OUTSIDE;
}

static void logarithms(double *x, double *y, const struct scale_point *p, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        x[i] = log(p[i].params);
        y[i] = p[i].loss;
    }
}

/* The curve may fall and rise by less than the losses' errors: its lowest point is then where they put it. */
static int weigh_optimum(struct scale_fit *fit, const struct scale_family *f, const struct scale_budget *b,
                         const struct scale_point *p, struct err *err) {
    double squares = 0, n = 0, rise = 0;
    for (int64_t i = 0; i < b->n; i++) {
        const double z = log(p[i].params / b->params.v);
        rise = fmax(rise, b->curve[2] * z * z);
        squares += p[i].error * p[i].error;
        n += p[i].error > 0;
    }
    const double error = n > 0 ? sqrt(squares / n) : 0;
    if (error <= rise) return 0;
    return problem(
        fit, err,
        "%s at %.4g FLOPs (line %lld): the losses' standard error, %.2g, exceeds what the curve rises from "
        "its optimum to any of the sizes, %.2g: the points do not tell the optimum, which stays in the lines",
        f->name, b->flops, (long long)p->line, error, rise);
}

static int fit_budget(struct scale_fit *fit, struct scale_family *f, struct scale_budget *b,
                      const struct scale_point *points, double *x, double *y, struct err *err) {
    const struct scale_point *p = points + b->first;
    if (b->given) {
        b->params.v = p->params;
        for (int64_t i = 0; i < b->n; i++) b->loss.v += p[i].loss / (double)b->n;
        b->used = true;
        return 0;
    }
    logarithms(x, y, p, b->n);
    const enum flaw flaw = optimum(b, x, y, b->n, x[0], x[b->n - 1]);
    b->used = flaw == FINE;
    switch (flaw) {
    case FINE:
        return weigh_optimum(fit, f, b, p, err);
    case FEW_SIZES:
        return problem(fit, err, "%s at %.4g FLOPs (line %lld): a parabola needs three sizes; left out", f->name,
                       b->flops, (long long)p->line);
    case NO_MINIMUM:
        return problem(fit, err, "%s at %.4g FLOPs (line %lld): the parabola has no minimum; left out", f->name,
                       b->flops, (long long)p->line);
    case BELOW_ZERO:
        return problem(fit, err, "%s at %.4g FLOPs (line %lld): the optimum's loss, %.4g, is not above 0; left out",
                       f->name, b->flops, (long long)p->line, b->loss.v);
    case OUTSIDE:
        return problem(fit, err,
                       "%s at %.4g FLOPs (line %lld): the optimum, %.4g parameters, is outside the sizes, %.4g to "
                       "%.4g; left out",
                       f->name, b->flops, (long long)p->line, b->params.v, p[0].params, p[b->n - 1].params);
    }
    return 0;
}

/* ---- one family ---- */

/* The same size in every budget: what a plan gives whose budgets are too small for sizes to differ, and no optimum of any. */
static bool one_size(const struct scale_family *f, const struct scale_point *p) {
    const struct scale_budget *first = f->budgets, *last = &f->budgets[f->n - 1];
    for (int64_t i = first->first; i < last->first + last->n; i++)
        if (p[i].params != p[first->first].params) return false;
    return f->n > 1;
}

/* Cut the family's points, sorted, into budgets. */
static int find_budgets(struct scale_family *f, const struct scale_points *points, int family, struct err *err) {
    int64_t capacity = 0;
    for (int64_t i = 0; i < points->n; i++) {
        const struct scale_point *p = &points->v[i];
        if (p->family != family) continue;
        if (f->n > 0 && f->budgets[f->n - 1].flops == p->budget) {
            f->budgets[f->n - 1].n++;
            continue;
        }
        if (mem_grow(&f->budgets, &capacity, f->n + 1, sizeof *f->budgets, "budgets", err) < 0) return -1;
        const struct scale_value none = {NAN, NAN, NAN}, zero = {0, NAN, NAN};
        f->budgets[f->n++] =
            (struct scale_budget){.flops = p->budget, .first = i, .n = 1, .params = none, .loss = zero};
    }
    bool given = !one_size(f, points->v);
    for (int64_t i = 0; i < f->n; i++) {
        const struct scale_budget *b = &f->budgets[i];
        given = given && points->v[b->first].params == points->v[b->first + b->n - 1].params;
    }
    for (int64_t i = 0; i < f->n; i++) f->budgets[i].given = given;
    return 0;
}

/* The two lines through the budgets numbered pick[0, n): loss exponent and intercept, then the size's. */
static bool lines(const struct scale_family *f, const int64_t *pick, int64_t n, double *x, double *y,
                  double out[LINE_VALUES]) {
    for (int64_t i = 0; i < n; i++) {
        x[i] = log(f->budgets[pick[i]].flops);
        y[i] = log(f->budgets[pick[i]].loss.v);
    }
    if (!line(x, y, n, &out[1], &out[0])) return false;
    for (int64_t i = 0; i < n; i++) y[i] = log(f->budgets[pick[i]].params.v);
    return line(x, y, n, &out[3], &out[2]);
}

static int fit_family(struct scale_fit *fit, const struct scale_points *points, int family, double *x, double *y,
                      int64_t *pick, struct err *err) {
    struct scale_family *f = &fit->families[family];
    double out[LINE_VALUES] = {NAN, NAN, NAN, NAN};
    f->name = points->names[family];
    if (find_budgets(f, points, family, err) < 0) return -1;
    for (int64_t i = 0; i < f->n; i++) {
        if (fit_budget(fit, f, &f->budgets[i], points->v, x, y, err) < 0) return -1;
        if (f->budgets[i].used) pick[f->used++] = i;
    }
    if (f->budgets[0].given && problem(fit, err,
                                       "%s: one size in every budget: taken as optima, without curves or a "
                                       "parametric fit",
                                       f->name) < 0)
        return -1;
    const double size = points->v[f->budgets[0].first].params;
    if (one_size(f, points->v) &&
        problem(fit, err, "%s: the same size, %.4g parameters, in every budget: these are no optima", f->name, size) <
            0)
        return -1;
    f->known = lines(f, pick, f->used, x, y, out);
    f->loss = (struct scale_line){{out[0], NAN, NAN}, {out[1], NAN, NAN}};
    f->params = (struct scale_line){{out[2], NAN, NAN}, {out[3], NAN, NAN}};
    if (!f->known && problem(fit, err, "%s: %lld usable budget%s; a line needs two: left out", f->name,
                             (long long)f->used, plural(f->used)) < 0)
        return -1;
    const struct scale_budget *last = &f->budgets[f->n - 1];
    if (f->budgets[0].given) return 0;
    return scale_parametric(&f->parametric, points->v + f->budgets[0].first,
                            last->first + last->n - f->budgets[0].first, err);
}

/* ---- the factor between two families ---- */

/* ln of the compute that `other` needs for what `better` reaches with e^ln_flops, over that. A line that does not fall
 * reaches nothing. */
static double ln_ratio(const double better[LINE_VALUES], const double other[LINE_VALUES], double ln_flops) {
    const double ln_loss = better[1] + better[0] * ln_flops;
    return other[0] < 0 ? (ln_loss - other[1]) / other[0] - ln_flops : INFINITY;
}

/* Of the two families with lines, by their losses in the middle of the first one's budgets. Returns how many have lines. */
static int find_better(struct scale_fit *fit) {
    int known = 0, two[2] = {-1, -1};
    fit->better = fit->other = -1;
    for (int i = 0; i < fit->n; i++)
        if (fit->families[i].known) {
            if (known < 2) two[known] = i;
            known++;
        }
    if (known != 2) return known;
    const struct scale_family *f = &fit->families[two[0]], *g = &fit->families[two[1]];
    const double ln_flops = log(f->budgets[f->n / 2].flops);
    const bool first =
        f->loss.intercept.v + f->loss.exponent.v * ln_flops <= g->loss.intercept.v + g->loss.exponent.v * ln_flops;
    fit->better = two[!first];
    fit->other = two[first];
    return known;
}

static int find_ratios(struct scale_fit *fit, struct err *err) {
    const int known = find_better(fit);
    if (known > 2)
        return problem(
            fit, err, "%d families have lines: a compute ratio is of two; for one, fit a table of two families", known);
    if (fit->better < 0) return 0;
    const struct scale_family *f = &fit->families[fit->better], *g = &fit->families[fit->other];
    const double a[LINE_VALUES] = {f->loss.exponent.v, f->loss.intercept.v};
    const double b[LINE_VALUES] = {g->loss.exponent.v, g->loss.intercept.v};
    fit->ratios = mem_alloc(f->n, sizeof *fit->ratios, "ratios", err);
    if (!fit->ratios) return -1;
    for (int64_t i = 0; i < f->n; i++) {
        const double flops = f->budgets[i].flops, v = exp(ln_ratio(a, b, log(flops)));
        if (!f->budgets[i].used) continue;
        if (isfinite(v))
            fit->ratios[fit->nratios++] = (struct scale_ratio){flops, {v, NAN, NAN}};
        else if (problem(fit, err,
                         "%s at %.4g FLOPs: the line of %s, ln L* = %.4g + %.2g ln C, does not reach its loss: "
                         "no compute ratio",
                         f->name, flops, g->name, b[1], b[0]) < 0)
            return -1;
    }
    return 0;
}

/* ---- intervals ---- */

struct bootstrap {
    const struct scale_points *points;
    const struct scale_fit_settings *settings;
    double *draws; /* [values, replicates] */
    double *x, *y, *residuals;
    int64_t nresiduals;
    double scatter; /* root of the residuals' mean square */
    int64_t *pick;
};

/* How far a family's points lie from their curves, each divided by the square root of 1 - leverage: that is what it
 * would be had the point not drawn its curve to itself. All budgets together: one alone has too few. */
static void find_residuals(struct bootstrap *s, const struct scale_family *f) {
    double mean = 0, center, curve[3];
    double *leverage = s->draws; /* room that is free as yet */
    s->nresiduals = 0;
    for (int64_t k = 0; k < f->n; k++) {
        const struct scale_budget *b = &f->budgets[k];
        if (!b->used || b->given) continue;
        logarithms(s->x, s->y, s->points->v + b->first, b->n);
        parabola(s->x, s->y, b->n, &center, curve, leverage);
        for (int64_t i = 0; i < b->n; i++) {
            const double z = s->x[i] - center, free = 1 - leverage[i];
            if (free < 1e-6) continue; /* the curve goes through this point wherever it is */
            const double residual = (s->y[i] - curve[0] - curve[1] * z - curve[2] * z * z) / sqrt(free);
            s->residuals[s->nresiduals++] = residual;
            mean += residual;
        }
    }
    double squares = 0;
    for (int64_t i = 0; i < s->nresiduals; i++) {
        s->residuals[i] -= mean / (double)s->nresiduals;
        squares += s->residuals[i] * s->residuals[i];
    }
    s->scatter = s->nresiduals > 0 ? sqrt(squares / (double)s->nresiduals) : 0;
}

/* Is there something to draw? Curves through all their points leave no residuals: then every point must have its error.
 * Of two given optima any two that differ are the same two. */
static bool can_draw(const struct bootstrap *s, const struct scale_family *f) {
    bool known = true;
    if (f->budgets[0].given) return f->used > 2;
    for (int64_t k = 0; k < f->n; k++)
        for (int64_t i = 0; i < f->budgets[k].n && f->budgets[k].used; i++)
            known = known && s->points->v[f->budgets[k].first + i].error > 0;
    return known || s->nresiduals > 0;
}

/* Residuals hold the error of the loss and what else parts a run from the curve; where there are few or none they tell less
 * than the error that is known. */
static double noise(const struct bootstrap *s, const struct scale_point *p, uint64_t replicate, uint64_t index) {
    float normal;
    if (p->error <= s->scatter)
        return s->residuals[rng_below(s->settings->seed, RNG_BOOTSTRAP, replicate, index, (uint64_t)s->nresiduals)];
    rng_normal(&normal, 1, s->settings->seed, RNG_ERROR, replicate, index);
    return p->error * (double)normal;
}

/* A budget's optimum when noise drawn at random is put on its curve: drawn again until there is one as good as the budget's
 * own must be; after very many tries its own. */
static void redraw_budget(const struct bootstrap *s, struct scale_budget *b, uint64_t replicate) {
    struct scale_budget drawn = {0};
    logarithms(s->x, s->y, s->points->v + b->first, b->n);
    for (uint64_t turn = 0; turn < TRIES; turn++) {
        for (int64_t i = 0; i < b->n; i++) {
            const uint64_t index = turn << 48 | (uint64_t)(b->first + i);
            const double z = s->x[i] - b->center;
            s->y[i] = b->curve[0] + b->curve[1] * z + b->curve[2] * z * z +
                      noise(s, &s->points->v[b->first + i], replicate, index);
        }
        if (optimum(&drawn, s->x, s->y, b->n, s->x[0], s->x[b->n - 1]) != FINE) continue;
        b->params.v = drawn.params.v;
        b->loss.v = drawn.loss.v;
        return;
    }
}

/* One replicate of a family into its column of the draws; the budgets' own values are put back. */
static void redraw_family(const struct bootstrap *s, struct scale_family *f, double *column, uint64_t replicate,
                          double out[LINE_VALUES]) {
    const int64_t step = s->settings->replicates;
    int64_t n = 0;
    const bool given = f->budgets[0].given;
    for (int64_t i = 0; i < f->n; i++)
        if (f->budgets[i].used) s->pick[n++] = i;
    if (given) { /* nothing to draw inside a budget: draw budgets, until two differ */
        bool differ = false;
        for (uint64_t turn = 0; turn < TRIES && !differ; turn++)
            for (int64_t i = 0; i < n; i++) {
                const uint64_t index = turn << 48 | (uint64_t)(f->budgets[0].first + i);
                s->pick[i] = (int64_t)rng_below(s->settings->seed, RNG_BOOTSTRAP, replicate, index, (uint64_t)n);
                differ = differ || s->pick[i] != s->pick[0];
            }
    }
    for (int64_t i = 0; i < f->n; i++) {
        struct scale_budget *b = &f->budgets[i];
        if (!b->used) continue;
        if (!given) redraw_budget(s, b, replicate);
        column[(LINE_VALUES + BUDGET_VALUES * i) * step] = b->params.v;
        column[(LINE_VALUES + BUDGET_VALUES * i + 1) * step] = b->loss.v;
    }
    lines(f, s->pick, n, s->x, s->y, out);
    for (int k = 0; k < LINE_VALUES; k++) column[k * step] = out[k];
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The middle 95 % of n draws, which are sorted for it. */
static void interval(struct scale_value *v, double *draws, int64_t n) {
    qsort(draws, (size_t)n, sizeof *draws, ascending);
    for (int side = 0; side < 2; side++) {
        const double at = (side ? 0.975 : 0.025) * (double)(n - 1);
        const int64_t below = (int64_t)at;
        const double part = at - (double)below;
        *(side ? &v->high : &v->low) = draws[below] + (part > 0 ? part * (draws[below + 1] - draws[below]) : 0);
    }
}

static void family_intervals(struct scale_family *f, double *draws, int64_t n) {
    struct scale_value *const values[LINE_VALUES] = {&f->loss.exponent, &f->loss.intercept, &f->params.exponent,
                                                     &f->params.intercept};
    for (int k = 0; k < LINE_VALUES; k++) interval(values[k], draws + k * n, n);
    for (int64_t i = 0; i < f->n; i++) {
        if (!f->budgets[i].used || f->budgets[i].given) continue;
        interval(&f->budgets[i].params, draws + (LINE_VALUES + BUDGET_VALUES * i) * n, n);
        interval(&f->budgets[i].loss, draws + (LINE_VALUES + BUDGET_VALUES * i + 1) * n, n);
    }
}

/* kept [families, replicates, LINE_VALUES]: all lines. */
static int ratio_intervals(struct scale_fit *fit, const struct bootstrap *s, const double *kept, struct err *err) {
    const int64_t n = s->settings->replicates;
    if (fit->nratios == 0) return 0;
    const struct scale_family *f = &fit->families[fit->better], *g = &fit->families[fit->other];
    if (isnan(f->loss.exponent.low) || isnan(g->loss.exponent.low)) return 0;
    for (int64_t i = 0; i < fit->nratios; i++) {
        struct scale_ratio *ratio = &fit->ratios[i];
        for (int64_t r = 0; r < n; r++)
            s->draws[r] = exp(ln_ratio(kept + (fit->better * n + r) * LINE_VALUES,
                                       kept + (fit->other * n + r) * LINE_VALUES, log(ratio->flops)));
        interval(&ratio->ratio, s->draws, n);
        if (isfinite(ratio->ratio.low) && isfinite(ratio->ratio.high)) continue;
        if (problem(fit, err,
                    "%s at %.4g FLOPs: the interval of the compute ratio, from %.4g, has no upper end: left out",
                    f->name, ratio->flops, ratio->ratio.low) < 0)
            return -1;
        ratio->ratio.low = ratio->ratio.high = NAN;
    }
    return 0;
}

/* All replicates: family after family, so that a family's numbers do not depend on which others there are. */
static int intervals(struct scale_fit *fit, struct bootstrap *s, struct err *err) {
    const int64_t n = s->settings->replicates;
    double *kept = mem_alloc((int64_t)fit->n * LINE_VALUES * n, sizeof *kept, "replicates", err); /* of all lines */
    if (!kept) return -1;
    for (int k = 0; k < fit->n; k++) {
        struct scale_family *f = &fit->families[k];
        if (f->known) find_residuals(s, f);
        if (!f->known || !can_draw(s, f)) continue;
        const int64_t size = f->n * (int64_t)sizeof *f->budgets;
        struct scale_budget *own = mem_alloc(size, 1, "budgets", err);
        if (!own) {
            mem_free(kept);
            return -1;
        }
        memcpy(own, f->budgets, (size_t)size);
        for (int64_t r = 0; r < n; r++) {
            redraw_family(s, f, s->draws + r, (uint64_t)r, kept + (k * n + r) * LINE_VALUES);
            memcpy(f->budgets, own, (size_t)size);
        }
        mem_free(own);
        family_intervals(f, s->draws, n);
    }
    const int r = ratio_intervals(fit, s, kept, err);
    mem_free(kept);
    return r;
}

/* ---- all of it ---- */

static int run(struct scale_fit *fit, const struct scale_points *points, const struct scale_fit_settings *settings,
               struct bootstrap *s, struct err *err) {
    for (int k = 0; k < fit->n; k++)
        if (fit_family(fit, points, k, s->x, s->y, s->pick, err) < 0) return -1;
    if (find_ratios(fit, err) < 0) return -1;
    if (settings->replicates == 0) return 0;
    int64_t most = 0; /* budgets of a family */
    for (int k = 0; k < fit->n; k++)
        if (fit->families[k].n > most) most = fit->families[k].n;
    int64_t room = (LINE_VALUES + BUDGET_VALUES * most) * settings->replicates;
    if (room < points->n) room = points->n; /* leverages stand there first */
    s->draws = mem_alloc(room, sizeof *s->draws, "replicates", err);
    return s->draws ? intervals(fit, s, err) : -1;
}

int scale_fit(struct scale_fit *fit, const struct scale_points *points, const struct scale_fit_settings *settings,
              struct err *err) {
    BUG_ON(points->n == 0 || settings->replicates < 0);
    *fit = (struct scale_fit){.n = points->families};
    struct bootstrap s = {.points = points, .settings = settings};
    fit->families = mem_alloc(fit->n, sizeof *fit->families, "families", err);
    double *slab = fit->families ? mem_alloc(3 * points->n, sizeof *slab, "points", err) : NULL;
    s.pick = slab ? mem_alloc(points->n, sizeof *s.pick, "budgets", err) : NULL;
    if (slab) s.x = slab, s.y = slab + points->n, s.residuals = slab + 2 * points->n;
    const int status = s.pick ? run(fit, points, settings, &s, err) : -1;
    mem_free(s.draws);
    mem_free(s.pick);
    mem_free(slab);
    if (status < 0) scale_fit_free(fit);
    return status;
}

void scale_fit_free(struct scale_fit *fit) {
    for (int i = 0; fit->families && i < fit->n; i++) mem_free(fit->families[i].budgets);
    for (int64_t i = 0; i < fit->nproblems; i++) mem_free(fit->problems[i]);
    mem_free(fit->families);
    mem_free(fit->ratios);
    mem_free(fit->problems);
    *fit = (struct scale_fit){0};
}
