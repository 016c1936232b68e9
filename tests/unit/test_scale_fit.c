/* fit: the published optima, our own points against numpy and scipy (tests/golden/scaling/make.py), an independent grid
 * when it is there, intervals against the spread of repeated experiments, points that cannot be used, bad tables. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/rng.h"
#include "scaling/fit.h"
#include "scaling/fit_report.h"
#include "test_data.h"
#include "unit/data_help.h"

#define HEAD "family,flops,params,loss\n"

static struct err err;
static char *dir;
static struct scale_points points;
static struct scale_fit fit;

static void done(void) {
    scale_fit_free(&fit);
    scale_points_free(&points);
}

static void load(const char *path, int64_t replicates) {
    if (scale_points_read(&points, path, &err) < 0) fail_msg("%s", err.msg);
    if (scale_fit(&fit, &points, &(struct scale_fit_settings){replicates, 1}, &err) < 0) fail_msg("%s", err.msg);
}

static void load_text(const char *text, int64_t replicates) {
    put_text(in(dir, "points.csv"), text);
    load(dir, replicates); /* a folder stands for its points.csv */
}

static const struct scale_family *family(const char *name) {
    for (int i = 0; i < fit.n; i++)
        if (!strcmp(fit.families[i].name, name)) return &fit.families[i];
    fail_msg("no family %s", name);
    return NULL;
}

#define assert_near(got, want, bound)                                                                                  \
    do {                                                                                                               \
        const double g_ = (got), w_ = (want), b_ = (bound);                                                            \
        if (!(fabs(g_ - w_) <= b_)) fail_msg("line %d: " #got " is %.10g, expected %.10g", __LINE__, g_, w_);          \
    } while (0)

/* The five optima of each family as read off the published plots (arXiv 2410.18514 §4). */
static const char published[] = HEAD "mdm,6e18,84e6,3.374\nmdm,1e19,112e6,3.261\nmdm,3e19,228e6,3.042\n"
                                     "mdm,6e19,360e6,2.916\nmdm,1e20,480e6,2.830\n"
                                     "arm,6e18,153e6,2.845\narm,1e19,224e6,2.749\narm,3e19,444e6,2.556\n"
                                     "arm,6e19,643e6,2.448\narm,1e20,993e6,2.377\n";

static void published_optima(void **state) {
    (void)state;
    load_text(published, 500);
    const struct scale_family *mdm = family("mdm"), *arm = family("arm");
    assert_near(mdm->loss.exponent.v, -0.0625, 5e-5);
    assert_near(arm->loss.exponent.v, -0.0642, 5e-5);
    assert_near(mdm->params.exponent.v, 0.628781, 1e-5);
    assert_int_equal(fit.better, arm - fit.families);
    assert_int_equal(fit.nratios, 5);
    for (int i = 0; i < 5; i++) {
        const struct scale_value *r = &fit.ratios[i].ratio;
        assert_true(r->v >= 15 && r->v <= 16.5);
        assert_true(r->low < r->v && r->v < r->high && r->high < 25);
    }
    assert_true(mdm->loss.exponent.low < -0.0625 && mdm->loss.exponent.high > -0.0625);
    assert_false(mdm->parametric.known);
    assert_true(mdm->budgets[2].given && isnan(mdm->budgets[2].params.low));
    assert_int_equal(fit.nproblems, 2);
    assert_non_null(strstr(fit.problems[0], "taken as optima"));
    done();
    for (int n = 2; n <= 3; n++) { /* two budgets are always the same two: nothing to draw */
        char text[256];
        snprintf(text, sizeof text, HEAD "a,6e18,84e6,3.374\na,1e19,112e6,3.261\n%s",
                 n > 2 ? "a,3e19,228e6,3.042\n" : "");
        load_text(text, 50);
        assert_int_equal(family("a")->used, n);
        assert_true(isnan(family("a")->loss.exponent.low) == (n == 2));
        done();
    }
}

static void golden(void **state) {
    (void)state;
    char kind[16], name[16];
    int lines = 0;
    load("tests/golden/scaling/points.csv", 0);
    FILE *f = fopen("tests/golden/scaling/expected.txt", "r");
    assert_non_null(f);
    for (; fscanf(f, "%15s %15s", kind, name) == 2; lines++) {
        const struct scale_family *a = family(name);
        double v[5];
        int n = 0;
        while (n < 5 && fscanf(f, "%lf", &v[n]) == 1) n++;
        if (!strcmp(kind, "budget")) {
            int64_t i = 0;
            while (a->budgets[i].flops != v[0]) assert_true(++i < a->n);
            assert_near(a->budgets[i].params.v / v[1], 1, 1e-9);
            assert_near(a->budgets[i].loss.v, v[2], 1e-10);
        } else if (!strcmp(kind, "lines")) {
            assert_near(a->loss.exponent.v, v[0], 1e-10);
            assert_near(a->loss.intercept.v, v[1], 1e-8);
            assert_near(a->params.exponent.v, v[2], 1e-9);
            assert_near(a->params.intercept.v, v[3], 1e-7);
        } else {
            assert_near(a->parametric.e, v[0], 1e-4);
            assert_near(a->parametric.a / v[1], 1, 1e-3);
            assert_near(a->parametric.b / v[2], 1, 1e-3);
            assert_near(a->parametric.alpha, v[3], 1e-4);
            assert_near(a->parametric.beta, v[4], 1e-4);
        }
    }
    fclose(f);
    assert_int_equal(lines, 14);
    assert_int_equal(fit.nproblems, 0);
    assert_true(isnan(family("arm")->loss.exponent.low)); /* no replicates, no intervals */
    done();
}

/* numpy.polyfit on the same file. */
static void independent_grid(void **state) {
    (void)state;
    const char *grid = test_data("data/scaling/isoflop_c4.csv");
    if (!grid) skip();
    load(grid, 0);
    const struct scale_family *mdm = family("mdm"), *arm = family("arm");
    assert_near(arm->loss.exponent.v, -0.054683, 1e-6);
    assert_near(arm->loss.intercept.v, 3.544920, 1e-6);
    assert_near(arm->params.exponent.v, 0.535215, 1e-6);
    assert_near(mdm->loss.exponent.v, -0.052685, 1e-6);
    assert_near(mdm->params.exponent.v, 0.567336, 1e-6);
    assert_near(mdm->params.intercept.v, -6.389507, 1e-6);
    assert_near(arm->budgets[6].params.v, 1.22e9, 1e6);
    assert_near(mdm->budgets[0].loss.v, 3.95946, 1e-5);
    assert_near(fit.ratios[0].ratio.v, 17.9865, 1e-3);
    assert_near(fit.ratios[6].ratio.v, 21.4178, 1e-3);
    assert_int_equal(fit.nproblems, 0);
    done();
}

/* A law without noise is found again, whatever the order of lines and columns. */
static void exact(void **state) {
    (void)state;
    char text[8192];
    int n = snprintf(text, sizeof text, "# no noise\r\nloss, extra ,params,family,flops\r\n");
    for (int k = 5; k >= 0; k--) {
        const double c = 1e18 * pow(3, k), best = 0.1 * sqrt(c), least = 40 * pow(c, -0.06);
        for (int i = 0; i < 5; i++) {
            const double z = 0.7 * (i * 2 % 5 - 2) + 0.1;
            n += snprintf(text + n, sizeof text - (size_t)n, " %.15g,,%.15g,a, %.15g\r\n", least + 0.05 * z * z,
                          best * exp(z), c);
        }
    }
    load_text(text, 50);
    const struct scale_family *a = family("a");
    assert_int_equal(a->used, 6);
    assert_near(a->params.exponent.v, 0.5, 1e-9);
    assert_near(a->params.intercept.v, log(0.1), 1e-7);
    assert_near(a->loss.exponent.v, -0.06, 1e-9);
    assert_near(a->loss.intercept.v, log(40), 1e-8);
    for (int i = 0; i < 6; i++) { /* every draw of exact points has the same optimum */
        assert_near(a->budgets[i].params.low / a->budgets[i].params.v, 1, 1e-8);
        assert_near(a->budgets[i].params.high / a->budgets[i].params.v, 1, 1e-8);
    }
    assert_int_equal(fit.better, -1);
    assert_int_equal(fit.nratios, 0);
    done();
}

/* Budgets of whole steps are off by a little: those within 1 % of the least are one, whatever their order and their company. */
static void near_budgets(void **state) {
    (void)state;
    load_text(HEAD "b,1.005e18,1e7,3\na,1.002e18,1e7,3.1\na,1e18,4e7,3.1\na,1.001e18,2e7,3.0\n"
                   "a,1e19,1e7,2.9\na,1.009e19,2e7,2.8\na,1.01e19,4e7,2.85\na,1.011e19,1e7,2.7\n",
              0);
    const struct scale_family *a = family("a");
    assert_int_equal(a->n, 3);
    assert_int_equal(a->used, 2);
    assert_near(a->budgets[0].flops / 1.001e18, 1, 1e-12);
    assert_near(a->budgets[1].flops / 1e19, 1 + 0.019 / 3, 1e-12);
    assert_near(a->budgets[0].params.v / 2e7, 1, 1e-9);
    assert_float_equal(a->budgets[2].flops, 1.011e19, 0);
    assert_float_equal(family("b")->budgets[0].flops, 1.005e18, 0);
    done();
}

/* A parametric law without noise: all five numbers come back. D is a point's own, not its budget's. */
static void exact_parametric(void **state) {
    (void)state;
    char text[8192] = HEAD;
    int n = (int)strlen(text);
    for (int k = 0; k < 5; k++)
        for (int i = 0; i < 6; i++) {
            const double c = 1e18 * pow(10, k / 2.0) * (1 + 0.001 * i), size = 1e-1 * sqrt(c) * pow(1.8, i - 3);
            const double d = c / 6 / size;
            n += snprintf(text + n, sizeof text - (size_t)n, "a,%.15g,%.15g,%.15g\n", c, size,
                          1.7 + 400 / pow(size, 0.34) + 410 / pow(d, 0.28));
        }
    load_text(text, 0);
    const struct scale_parametric *p = &family("a")->parametric;
    assert_int_equal(family("a")->n, 5);
    assert_true(p->known);
    assert_near(p->e, 1.7, 1e-3);
    assert_near(p->alpha, 0.34, 1e-3);
    assert_near(p->beta, 0.28, 1e-3);
    assert_near(p->a / 400, 1, 1e-2);
    assert_near(p->b / 410, 1, 1e-2);
    assert_true(p->objective < 1e-10);
    done();
}

/* A made-up experiment of four budgets, optima on ln N* = ln 0.1 + ln C / 2; `error`: the column, or NULL. */
static void experiment(int number, int sizes, double step, const char *error) {
    char text[16384];
    int n = snprintf(text, sizeof text, "family,flops,params,loss%s\n", error ? ",loss_error" : "");
    for (int k = 0; k < 4; k++)
        for (int i = 0; i < sizes; i++) {
            const double c = 1e18 * pow(4, k), z = step * (i - sizes / 2);
            float noise;
            rng_normal(&noise, 1, 1, RNG_TEST, (uint64_t)number, (uint64_t)(k * 9 + i));
            n += snprintf(text + n, sizeof text - (size_t)n, "a,%.15g,%.15g,%.15g%s%s\n", c, 0.1 * sqrt(c) * exp(z),
                          40 * pow(c, -0.06) + 0.08 * z * z + 0.01 * (double)noise, error ? "," : "",
                          error ? error : "");
        }
    load_text(text, 200);
}

/* The interval of an exponent has the width that repeating the whole experiment would give, and its place: by residuals,
 * or by the points' errors where the curves go through them. */
static void check_intervals(int sizes, double step, const char *error) {
    enum { EXPERIMENTS = 30 };
    double sum = 0, square = 0, width = 0;
    int inside = 0;
    for (int e = 0; e < EXPERIMENTS; e++) {
        experiment(e, sizes, step, error);
        const struct scale_value *v = &family("a")->params.exponent;
        sum += v->v;
        square += v->v * v->v;
        width += v->high - v->low;
        inside += v->low <= 0.5 && 0.5 <= v->high;
        done();
    }
    const double spread = sqrt(square / EXPERIMENTS - pow(sum / EXPERIMENTS, 2)); /* of one experiment */
    const double share = width / EXPERIMENTS / (2 * 1.96 * spread);
    if (share < 0.7 || share > 1.3) fail_msg("intervals are %.2f times as wide as they should be", share);
    assert_true(inside >= 24);
}

static void intervals(void **state) {
    (void)state;
    check_intervals(9, 0.4, NULL);
    check_intervals(3, 1.2, "0.01");
}

/* An error is the least that a point's noise is: below the scatter of the points it changes nothing, above it replaces it. */
static void errors(void **state) {
    (void)state;
    static const char *const columns[] = {NULL, "0.001", "", "nan", "-nan", "0", "0.04"};
    double width = 0;
    for (int i = 0; i < 7; i++) {
        experiment(1, 9, 0.4, columns[i]);
        const struct scale_value *v = &family("a")->params.exponent;
        if (i == 0) width = v->high - v->low;
        if (i < 6)
            assert_true(v->high - v->low == width);
        else
            assert_near((v->high - v->low) / width / 4, 1, 0.4); /* the scatter is about 0.01 */
        assert_int_equal(fit.nproblems, 0);
        done();
    }
}

/* Is the optimum told by points whose curve rises by no more than their error? It stays, and is named. */
static void weak_optimum(void **state) {
    (void)state;
    static const char good[] = "family,flops,params,loss,loss_error\n"
                               "a,1e18,1e7,3.1,.02\na,1e18,2e7,3.0,.02\na,1e18,4e7,3.1,.02\n";
    char text[512];
    for (int i = 0; i < 3; i++) {
        static const char *const losses[] = {"2.95", "2.83", "2.83"}, *const error[] = {".02", ".05", ""};
        snprintf(text, sizeof text, "%sa,1e19,1e7,%s,%s\na,1e19,2e7,2.8,%s\na,1e19,4e7,2.82,%s\n", good, losses[i],
                 error[i], error[i], error[i]);
        load_text(text, 50);
        assert_int_equal(fit.nproblems, i == 1);
        assert_int_equal(family("a")->used, 2);
        assert_true(isnan(family("a")->loss.exponent.low) ==
                    (i == 2)); /* a point without its error, curves without scatter */
        if (i == 1 &&
            !strstr(fit.problems[0], "a at 1e+19 FLOPs (line 5): the losses' standard error, 0.05, exceeds what "
                                     "the curve rises from its optimum to any of the sizes, 0.03"))
            fail_msg("'%s'", fit.problems[0]);
        done();
    }
}

/* Same seed, same intervals; a family's own do not depend on the company. */
static void repeatable(void **state) {
    (void)state;
    load("tests/golden/scaling/points.csv", 100);
    const struct scale_value v = family("mdm")->loss.exponent, r = fit.ratios[0].ratio;
    done();
    load("tests/golden/scaling/points.csv", 100);
    assert_memory_equal(&v, &family("mdm")->loss.exponent, sizeof v);
    assert_memory_equal(&r, &fit.ratios[0].ratio, sizeof r);
    assert_true(v.low < v.v && v.v < v.high && r.low < r.v && r.v < r.high);
    done();
}

#define GOOD1 "a,1e18,1e7,3.1\na,1e18,2e7,3.0\na,1e18,4e7,3.1\n"
#define GOOD2 "a,1e19,1e7,2.9\na,1e19,2e7,2.8\na,1e19,4e7,2.85\n"

/* What cannot be used is named with its budget and line, and changes nothing else. */
static void problems(void **state) {
    (void)state;
    static const struct {
        const char *lines, *says;
    } cases[] = {
        {"a,5e18,1e7,2\n", "a at 5e+18 FLOPs (line 8): a parabola needs three sizes"},
        {"a,5e18,1e7,2\na,5e18,2e7,3\na,5e18,2e7,4\n", "a parabola needs three sizes"},
        {"a,5e18,1e7,2\na,5e18,2e7,3\na,5e18,4e7,2\n", "a at 5e+18 FLOPs (line 8): the parabola has no minimum"},
        {"a,5e18,1e7,4\na,5e18,2e7,3\na,5e18,4e7,2\n", "the parabola has no minimum"},
        {"a,5e18,1e7,5\na,5e18,2e7,0.001\na,5e18,8e7,5\n", "the optimum's loss, -0.6239, is not above 0"},
        {"a,5e18,1e7,4\na,5e18,2e7,3\na,5e18,4e7,2.5\n",
         "the optimum, 5.657e+07 parameters, is outside the sizes, 1e+07 to 4e+07"},
    };
    load_text(HEAD GOOD1 GOOD2, 0);
    const struct scale_line want = family("a")->loss;
    assert_int_equal(fit.nproblems, 0);
    done();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1024];
        snprintf(text, sizeof text, HEAD GOOD1 GOOD2 "%s", cases[i].lines);
        load_text(text, 10);
        assert_int_equal(fit.nproblems, 1);
        if (!strstr(fit.problems[0], cases[i].says)) fail_msg("'%s' lacks '%s'", fit.problems[0], cases[i].says);
        assert_float_equal(family("a")->loss.exponent.v, want.exponent.v, 0);
        assert_int_equal(family("a")->used, 2);
        done();
    }
    load_text(HEAD GOOD1 GOOD2 "b,1e18,1e7,3\n", 0); /* another family's trouble is its own */
    assert_int_equal(fit.nproblems, 2);
    assert_non_null(strstr(fit.problems[1], "b: 1 usable budget; a line needs two"));
    assert_false(family("b")->known);
    assert_float_equal(family("a")->loss.exponent.v, want.exponent.v, 0);
    done();
    load_text(HEAD GOOD1 GOOD2, 10); /* curves through all their points leave nothing to draw an interval from */
    assert_true(isnan(family("a")->loss.exponent.low) && isnan(family("a")->budgets[0].params.high));
    done();
    load_text(HEAD "a,1e12,1e4,5\na,1e13,2e4,4\nb,1e12,1e4,6\nb,1e13,2e4,5\nc,1e12,1e4,6\nc,1e13,2e4,5\n", 10);
    assert_int_equal(fit.nratios, 0);
    assert_int_equal(fit.nproblems, 4);
    assert_non_null(strstr(fit.problems[3], "3 families have lines: a compute ratio is of two"));
    done();
    load_text(HEAD GOOD1, 10); /* no line at all is an answer too */
    assert_int_equal(fit.nproblems, 1);
    assert_false(family("a")->known);
    assert_true(isnan(family("a")->loss.exponent.v) && isnan(family("a")->params.intercept.v));
    done();
}

/* How often a problem says `what`. */
static int told(const char *what) {
    int n = 0;
    for (int64_t i = 0; i < fit.nproblems; i++) n += strstr(fit.problems[i], what) != NULL;
    return n;
}

/* fit.json can be written, and nothing in it is beyond all numbers. */
static void assert_written(void) {
    json_t *v = scale_fit_json(&fit);
    assert_non_null(v);
    json_decref(v);
}

/* Lines so flat that they reach another family's loss nowhere, and losses that no curve of sizes explains. */
static void flat(void **state) {
    (void)state;
    static const char *const losses[][2] = {{"5.0000", "4.9999"}, {"5", "5"}, {"5", "5.1"}};
    for (int i = 0; i < 3; i++) {
        char text[256];
        snprintf(text, sizeof text, HEAD "mdm,1e12,1e4,%s\nmdm,1e13,2e4,%s\narm,1e12,1e4,4.0\narm,1e13,2e4,3.8\n",
                 losses[i][0], losses[i][1]);
        load_text(text, 10);
        assert_string_equal(fit.families[fit.better].name, "arm");
        assert_int_equal(fit.nratios, 0);
        assert_int_equal(told("no compute ratio"), 2);
        assert_written();
        done();
    }
    /* The lines meet far away, those of some replicates never. */
    load_text(HEAD "mdm,1e12,1e4,5.0\nmdm,2e12,2e4,4.9\nmdm,4e12,3e4,4.95\nmdm,8e12,4e4,4.8\n"
                   "arm,1e12,1e4,4.0\narm,2e12,2e4,3.9\narm,4e12,3e4,3.8\narm,8e12,4e4,3.7\n",
              1000);
    assert_int_equal(fit.nratios, 4);
    for (int i = 0; i < 4; i++) assert_true(fit.ratios[i].ratio.v > 1e5 && isnan(fit.ratios[i].ratio.high));
    assert_int_equal(told("has no upper end"), 4);
    assert_written();
    done();
    load_text(HEAD "a,1e12,1e4,5\na,1e12,2e4,4\na,1e12,4e4,5\na,1e13,1e4,5\na,1e13,2e4,4\na,1e13,4e4,5\n", 0);
    assert_false(family("a")->parametric.known);
    assert_written();
    /* what cannot be written, of a line that is there, leaves nothing behind */
    fit.families[0].params.intercept.v = NAN;
    assert_null(scale_fit_json(&fit));
    done();
}

static void bad_tables(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "no points"},
        {HEAD, "no points"},
        {"family;flops;params;loss\na;1;1;3\n", "no column \"family\": expected family,flops,params,loss with commas"},
        {"family,flops,loss\na,1,1\n", "line 1: no column \"params\""},
        {"# note\nfamilies,flops,params,loss\n", "line 2: no column \"family\""},
        {HEAD "a,1e18,1e7\n", "line 2: 3 fields, no \"loss\""},
        {HEAD GOOD1 "a,1e18,ten,3\n", "line 5: \"params\" must be a number above 0, found 'ten'"},
        {HEAD "a,1e18,1e7,-3\n", "line 2: \"loss\" must be a number above 0, found '-3'"},
        {HEAD "a,0,1e7,3\n", "\"flops\" must be"},
        {"loss_error," HEAD "-1,a,1,1,3\n",
         "line 2: \"loss_error\" must be a number of at least 0, or nan or empty, found "
         "'-1'"},
        {"loss_error," HEAD "inf,a,1,1,3\n", "\"loss_error\" must be"},
        {"family,flops,params,loss,loss_error\na,1e18,1e7,3\n", "line 2: 4 fields, no \"loss_error\""},
        {HEAD "a,inf,1e7,3\n", "\"flops\" must be"},
        {HEAD "a,1e18,nan,3\n", "\"params\" must be"},
        {HEAD "a,1e18,1e7x,3\n", "\"params\" must be"},
        {HEAD "a,1e18,0x10,3\n", "line 2: \"params\" must be a number above 0, found '0x10'"},
        {HEAD "a,1e18,1e7,3,5\n", "line 2: 5 fields, the header has 4: is a comma in a number?"},
        {"loss," HEAD "3,a,1e18,1e7,4\n", "line 1: two columns \"loss\""},
        {"loss_error,loss_error," HEAD "1,1,a,1e18,1e7,4\n", "line 1: two columns \"loss_error\""},
        {HEAD ",1e18,1e7,3\n", "line 2: \"family\" must be a name"},
        {HEAD "a'b,1e18,1e7,3\n", "\"family\" must be a name"},
        {HEAD "a23456789012345678901234567890123,1e18,1e7,3\n", "\"family\" must be a name"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_text(in(dir, "bad.csv"), cases[i].text);
        assert_int_equal(scale_points_read(&points, in(dir, "bad.csv"), &err), -1);
        assert_says(err, cases[i].says);
        assert_says(err, "bad.csv");
    }
    put(in(dir, "bad.csv"), HEAD "a\0,1", sizeof HEAD + 3);
    assert_int_equal(scale_points_read(&points, in(dir, "bad.csv"), &err), -1);
    assert_says(err, "zero bytes");
    assert_int_equal(scale_points_read(&points, in(dir, "nowhere.csv"), &err), -1);
    assert_says(err, "nowhere.csv");
    char many[1024] = HEAD;
    for (int i = 0; i <= SCALE_FAMILIES; i++) sprintf(many + strlen(many), "f%d,1e18,1e7,3\n", i);
    put_text(in(dir, "bad.csv"), many);
    assert_int_equal(scale_points_read(&points, in(dir, "bad.csv"), &err), -1);
    assert_says(err, "line 18: more than 16 families");
}

static void memory(void **state) {
    (void)state;
    put_text(in(dir, "points.csv"), HEAD GOOD1 GOOD2 "a,2e19,1e7,2.6\nb,1e18,1e7,3\nb,1e19,1e7,2\nb,2e19,1e7,1.9\n");
    for (long n = 1;; n++) {
        err.msg[0] = 0;
        fault_set(FAULT_ALLOC, n, false);
        int r = scale_points_read(&points, dir, &err);
        if (r == 0) r = scale_fit(&fit, &points, &(struct scale_fit_settings){5, 1}, &err);
        const bool reached = fault_count(FAULT_ALLOC) >= n;
        fault_set(FAULT_ALLOC, 0, false);
        if (reached && (r == 0 || !err.msg[0])) fail_msg("allocation %ld: no error", n);
        if (r < 0)
            scale_points_free(&points);
        else
            done();
        if (!reached) break;
    }
    assert_int_equal(mem_in_use(), 0);
}

static int setup(void **state) {
    (void)state;
    dir = scratch_new();
    return 0;
}

static int teardown(void **state) {
    (void)state;
    scratch_free(dir);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_optima), cmocka_unit_test(golden),
        cmocka_unit_test(independent_grid), cmocka_unit_test(exact),
        cmocka_unit_test(near_budgets),     cmocka_unit_test(exact_parametric),
        cmocka_unit_test(intervals),        cmocka_unit_test(errors),
        cmocka_unit_test(weak_optimum),     cmocka_unit_test(repeatable),
        cmocka_unit_test(problems),         cmocka_unit_test(flat),
        cmocka_unit_test(bad_tables),       cmocka_unit_test(memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
