/* fit_report: what a fit found, told three times: to programs, to people, to the eye. */
#include "scaling/fit_report.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/gnuplot.h"

enum { CURVE = 60 }; /* segments of a drawn parabola */

/* ---- fit.json ---- */

/* "key": v (null: not known) and, when there is one, "key_interval": [low, high]. jansson keeps track of missing memory: a
 * NULL in, a negative status out. */
static int put(json_t *o, const char *key, const struct scale_value *v, bool known) {
    char name[64];
    if (json_object_set_new(o, key, known ? json_real(v->v) : json_null()) < 0) return -1;
    if (isnan(v->low)) return 0;
    snprintf(name, sizeof name, "%s_interval", key);
    return json_object_set_new(o, name, json_pack("[f,f]", v->low, v->high));
}

/* What was made without an error. */
static json_t *made(json_t *o, int status) {
    if (status == 0) return o;
    json_decref(o);
    return NULL;
}

static json_t *budget_json(const struct scale_budget *b) {
    json_t *o = json_pack("{s:f}", "flops", b->flops);
    return made(o, !o || put(o, "n_opt", &b->params, true) < 0 || put(o, "loss_opt", &b->loss, true) < 0 ? -1 : 0);
}

static json_t *family_json(const struct scale_family *f) {
    const struct scale_parametric *p = &f->parametric;
    json_t *budgets = json_array(), *o = json_pack("{s:o}", "budgets", budgets);
    int r = 0;
    for (int64_t i = 0; r == 0 && i < f->n; i++)
        if (f->budgets[i].used) r = json_array_append_new(budgets, budget_json(&f->budgets[i]));
    if (r < 0 || put(o, "loss_exponent", &f->loss.exponent, f->known) < 0 ||
        put(o, "loss_intercept", &f->loss.intercept, f->known) < 0 ||
        put(o, "n_exponent", &f->params.exponent, f->known) < 0 ||
        put(o, "n_intercept", &f->params.intercept, f->known) < 0)
        return made(o, -1);
    json_t *parametric =
        p->known ? json_pack("{s:f,s:f,s:f,s:f,s:f,s:f,s:f}", "E", p->e, "A", p->a, "B", p->b, "alpha", p->alpha,
                             "beta", p->beta, "n_exponent", p->beta / (p->alpha + p->beta), "huber", p->objective)
                 : json_null();
    return made(o, json_object_set_new(o, "parametric", parametric));
}

static json_t *ratio_json(const struct scale_fit *fit, const struct scale_ratio *ratio) {
    json_t *o = json_pack("{s:s,s:s,s:f}", "better", fit->families[fit->better].name, "other",
                          fit->families[fit->other].name, "flops", ratio->flops);
    return made(o, !o ? -1 : put(o, "ratio", &ratio->ratio, true));
}

json_t *scale_fit_json(const struct scale_fit *fit) {
    json_t *families = json_object(), *ratios = json_array(), *problems = json_array();
    json_t *o = json_pack("{s:o,s:o,s:o}", "families", families, "compute_ratio", ratios, "problems", problems);
    int r = o ? 0 : -1;
    for (int i = 0; r == 0 && i < fit->n; i++)
        r = json_object_set_new(families, fit->families[i].name, family_json(&fit->families[i]));
    for (int64_t i = 0; r == 0 && i < fit->nratios; i++)
        r = json_array_append_new(ratios, ratio_json(fit, &fit->ratios[i]));
    for (int64_t i = 0; r == 0 && i < fit->nproblems; i++)
        r = json_array_append_new(problems, json_string(fit->problems[i]));
    return made(o, r);
}

/* ---- the table ---- */

/* "value [low, high]", the interval when there is one. */
static void show(FILE *out, const char *format, const struct scale_value *v) {
    fprintf(out, format, v->v);
    if (isnan(v->low)) return;
    fputs(" [", out);
    fprintf(out, format, v->low);
    fputs(", ", out);
    fprintf(out, format, v->high);
    fputs("]", out);
}

static void print_lines(FILE *out, const struct scale_family *f) {
    fputs("  ln L* = ", out);
    show(out, "%.3f", &f->loss.intercept);
    fputs(" + ln C · ", out);
    show(out, "%.4f", &f->loss.exponent);
    fputs("\n  ln N* = ", out);
    show(out, "%.3f", &f->params.intercept);
    fputs(" + ln C · ", out);
    show(out, "%.4f", &f->params.exponent);
    fputc('\n', out);
}

static void print_family(FILE *out, const struct scale_family *f) {
    const struct scale_parametric *p = &f->parametric;
    fprintf(out, "%s\n", f->name);
    for (int64_t i = 0; i < f->n; i++) {
        const struct scale_budget *b = &f->budgets[i];
        if (!b->used) continue;
        fprintf(out, "  C %-8.4g N* ", b->flops);
        show(out, "%.4g", &b->params);
        fputs("  L* ", out);
        show(out, "%.4f", &b->loss);
        fputc('\n', out);
    }
    if (f->known) print_lines(out, f);
    if (p->known)
        fprintf(out, "  L = %.4f + %.4g / N^%.4f + %.4g / D^%.4f; from it N* grows as C^%.4f\n", p->e, p->a, p->alpha,
                p->b, p->beta, p->beta / (p->alpha + p->beta));
}

void scale_fit_print(FILE *out, const struct scale_fit *fit) {
    for (int i = 0; i < fit->n; i++) print_family(out, &fit->families[i]);
    if (fit->nratios > 0)
        fprintf(out, "compute that %s needs for the loss of %s, as a multiple\n", fit->families[fit->other].name,
                fit->families[fit->better].name);
    for (int64_t i = 0; i < fit->nratios; i++) {
        fprintf(out, "  C %-8.4g ", fit->ratios[i].flops);
        show(out, "%.2f", &fit->ratios[i].ratio);
        fputc('\n', out);
    }
    for (int64_t i = 0; i < fit->nproblems; i++) fprintf(out, "note: %s\n", fit->problems[i]);
}

/* ---- pictures ---- */

/* Blocks by turns: a budget's points, its parabola (or the given optimum), its optimum. */
static int isoflop_data(struct file_out *f, const struct scale_fit *fit, const struct scale_points *points,
                        struct err *err) {
    int r = 0;
    for (int k = 0; k < fit->n; k++)
        for (int64_t i = 0; r == 0 && i < fit->families[k].n; i++) {
            const struct scale_budget *b = &fit->families[k].budgets[i];
            const struct scale_point *p = points->v + b->first;
            r = file_out_printf(f, err, "# %s, %.6g FLOPs: parameters, loss\n", fit->families[k].name, b->flops);
            for (int64_t j = 0; r == 0 && j < b->n; j++)
                r = file_out_printf(f, err, "%.8g %.8g\n", p[j].params, p[j].loss);
            if (r == 0) r = file_out_printf(f, err, "\n\n# its parabola\n");
            const double low = log(p[0].params), high = log(p[b->n - 1].params);
            for (int j = 0; r == 0 && j <= CURVE && b->curve[2] != 0; j++) {
                const double z = low + (high - low) * j / CURVE - b->center;
                r = file_out_printf(f, err, "%.8g %.8g\n", exp(b->center + z),
                                    b->curve[0] + b->curve[1] * z + b->curve[2] * z * z);
            }
            if (r == 0 && b->curve[2] == 0) r = file_out_printf(f, err, "NaN NaN\n");
            if (r == 0) r = file_out_printf(f, err, "\n\n# its optimum\n");
            if (r == 0)
                r = b->used ? file_out_printf(f, err, "%.8g %.8g\n\n\n", b->params.v, b->loss.v)
                            : file_out_printf(f, err, "NaN NaN\n\n\n");
        }
    return r;
}

/* gnuplot warns of an axis whose values are all the same: it gets a range. 1: it did, 0: it need not, -1: an error. */
static int lone_range(struct file_out *f, const struct scale_family *a, const struct scale_points *points, bool loss,
                      struct err *err) {
    const struct scale_budget *last = &a->budgets[a->n - 1];
    double low = INFINITY, high = 0;
    for (int64_t i = a->budgets[0].first; i < last->first + last->n; i++) {
        const double v = loss ? points->v[i].loss : points->v[i].params;
        low = fmin(low, v);
        high = fmax(high, v);
    }
    if (low < high) return 0;
    return file_out_printf(f, err, "set %crange [%.8g:%.8g]\n", loss ? 'y' : 'x', low / 1.1, high * 1.1) < 0 ? -1 : 1;
}

static int isoflop_plots(struct file_out *f, const struct scale_fit *fit, const struct scale_points *points,
                         struct err *err) {
    int64_t block = 0;
    int r = file_out_printf(f, err, "set multiplot layout 1,%d\n", fit->n);
    for (int k = 0; r == 0 && k < fit->n; k++) {
        const int x = lone_range(f, &fit->families[k], points, false, err);
        const int y = lone_range(f, &fit->families[k], points, true, err);
        r = x < 0 || y < 0 ? -1 : 0;
        if (r == 0) r = file_out_printf(f, err, "set title '%s' noenhanced\nplot ", fit->families[k].name);
        for (int64_t i = 0; r == 0 && i < fit->families[k].n; i++, block += 3)
            r = file_out_printf(
                f, err,
                "%s'isoflop.data' index %lld with points lc %lld pt 7 ps 0.5 title '%.3g', \\\n     '' "
                "index %lld with lines lc %lld notitle, \\\n     '' index %lld with points lc %lld pt 9 "
                "ps 1.3 notitle",
                i ? ", \\\n     " : "", (long long)block, (long long)i + 1, fit->families[k].budgets[i].flops,
                (long long)block + 1, (long long)i + 1, (long long)block + 2, (long long)i + 1);
        if (r == 0) r = file_out_printf(f, err, "\n%s", x || y ? "set autoscale\nset autoscale xfix\n" : "");
    }
    return r == 0 ? file_out_printf(f, err, "unset multiplot\n") : r;
}

/* Two blocks a family with lines: its optima, then its lines, each: budget, loss, parameters. */
static int frontier_data(struct file_out *f, const struct scale_fit *fit, const struct scale_points *points,
                         struct err *err) {
    (void)points;
    int r = 0;
    for (int k = 0; r == 0 && k < fit->n; k++) {
        const struct scale_family *a = &fit->families[k];
        if (!a->known) continue;
        r = file_out_printf(f, err, "# %s: FLOPs, loss, parameters at the optima\n", a->name);
        for (int64_t i = 0; r == 0 && i < a->n; i++)
            if (a->budgets[i].used)
                r = file_out_printf(f, err, "%.8g %.8g %.8g\n", a->budgets[i].flops, a->budgets[i].loss.v,
                                    a->budgets[i].params.v);
        if (r == 0) r = file_out_printf(f, err, "\n\n# the lines through them\n");
        for (int end = 0; r == 0 && end < 2; end++) {
            const double x = log(a->budgets[end ? a->n - 1 : 0].flops);
            r = file_out_printf(f, err, "%.8g %.8g %.8g\n", exp(x), exp(a->loss.intercept.v + a->loss.exponent.v * x),
                                exp(a->params.intercept.v + a->params.exponent.v * x));
        }
        if (r == 0) r = file_out_printf(f, err, "\n\n");
    }
    return r;
}

/* The losses of one picture lie within a decade: the axis ends where they do and has marks of its own. */
static int loss_axis(struct file_out *f, const struct scale_fit *fit, struct err *err) {
    double least = INFINITY, most = 0;
    for (int k = 0; k < fit->n; k++)
        for (int64_t i = 0; i < fit->families[k].n; i++)
            if (fit->families[k].known && fit->families[k].budgets[i].used) {
                least = fmin(least, fit->families[k].budgets[i].loss.v);
                most = fmax(most, fit->families[k].budgets[i].loss.v);
            }
    least *= 0.97;
    most *= 1.03;
    int r = file_out_printf(f, err, "set yrange [%.4g:%.4g]\nset ytics (", least, most);
    for (int i = 0; r == 0 && i <= 8; i++)
        r = file_out_printf(f, err, "%s%.2f", i ? ", " : "", least + (most - least) * i / 8);
    return r == 0 ? file_out_printf(f, err, ")\n") : r;
}

static int frontier_plots(struct file_out *f, const struct scale_fit *fit, const struct scale_points *points,
                          struct err *err) {
    (void)points;
    static const char *const titles[] = {"loss (nats per token)", "parameters"};
    int r = file_out_printf(f, err, "set logscale y\nset multiplot layout 1,2\nset xlabel 'training FLOPs'\n");
    for (int side = 0; r == 0 && side < 2; side++) {
        int block = 0;
        r = side ? file_out_printf(f, err, "set autoscale y\nset ytics auto\nset key bottom right\n")
                 : loss_axis(f, fit, err);
        if (r == 0) r = file_out_printf(f, err, "set ylabel '%s'\nplot ", titles[side]);
        for (int k = 0; r == 0 && k < fit->n; k++) {
            const struct scale_family *a = &fit->families[k];
            if (!a->known) continue;
            const struct scale_line *line = side ? &a->params : &a->loss;
            r = file_out_printf(
                f, err,
                "%s'frontier.data' index %d using 1:%d with points lc %d pt 7 notitle, \\\n     '' index "
                "%d using 1:%d with lines lc %d title '",
                block ? ", \\\n     " : "", block, side + 2, k + 1, block + 1, side + 2, k + 1);
            for (const char *c = a->name; r == 0 && *c; c++)
                r = file_out_printf(f, err, "%s%c", *c == '_' ? "\\" : "", *c);
            if (r == 0) r = file_out_printf(f, err, ": e^{%.3f} C^{%.4f}'", line->intercept.v, line->exponent.v);
            block += 2;
        }
        if (r == 0) r = file_out_printf(f, err, "\n");
    }
    return r == 0 ? file_out_printf(f, err, "unset multiplot\n") : r;
}

struct picture {
    const char *name, *settings;
    bool lines; /* drawn where a family has some */
    int (*data)(struct file_out *f, const struct scale_fit *fit, const struct scale_points *points, struct err *err);
    int (*plots)(struct file_out *f, const struct scale_fit *fit, const struct scale_points *points, struct err *err);
};
static const struct picture pictures[] = {
    {"isoflop",
     "set xlabel 'parameters'\nset ylabel 'loss (nats per token)'\nset key outside bottom center horizontal\n", false,
     isoflop_data, isoflop_plots},
    {"frontier", "", true, frontier_data, frontier_plots},
};

/* One script draws both pictures, so that they cannot differ. */
static int write_script(const char *folder, const struct picture *p, const struct scale_fit *fit,
                        const struct scale_points *points, struct err *err) {
    static const char *const terminals[] = {"svg size 1200,540 background 'white'", "png size 1200,540"};
    static const char *const ends[] = {"svg", "png"};
    char name[64], path[FILE_PATH_MAX];
    snprintf(name, sizeof name, "%s.gp", p->name);
    if (file_join(path, folder, name, err) < 0) return -1;
    struct file_out *f = file_out_open(path, err);
    int r = f ? 0 : -1;
    for (int k = 0; r == 0 && k < 2; k++) {
        r = file_out_printf(f, err,
                            "reset\nset terminal %s\nset output '%s.%s'\nset grid\nset logscale x\nset autoscale "
                            "xfix\nset offsets graph 0.04, graph 0.04\n%s",
                            terminals[k], p->name, ends[k], p->settings);
        if (r == 0) r = p->plots(f, fit, points, err);
        if (r == 0) r = file_out_printf(f, err, "unset output\n");
    }
    if (r == 0) return file_out_commit(f, err);
    file_out_abort(f);
    return -1;
}

static int write_data(const char *folder, const struct picture *p, const struct scale_fit *fit,
                      const struct scale_points *points, struct err *err) {
    char name[64], path[FILE_PATH_MAX];
    snprintf(name, sizeof name, "%s.data", p->name);
    if (file_join(path, folder, name, err) < 0) return -1;
    struct file_out *f = file_out_open(path, err);
    if (!f) return -1;
    if (p->data(f, fit, points, err) == 0) return file_out_commit(f, err);
    file_out_abort(f);
    return -1;
}

void scale_fit_undraw(const char *folder) {
    static const char *const ends[] = {"data", "gp", "svg", "png"};
    for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++)
        for (size_t k = 0; k < sizeof ends / sizeof *ends; k++) {
            char name[64], path[FILE_PATH_MAX];
            struct err ignored;
            snprintf(name, sizeof name, "%s.%s", pictures[i].name, ends[k]);
            if (file_join(path, folder, name, &ignored) == 0) unlink(path);
        }
}

int scale_fit_draw(const char *folder, const struct scale_fit *fit, const struct scale_points *points,
                   struct err *err) {
    bool known = false;
    for (int k = 0; k < fit->n; k++) known = known || fit->families[k].known;
    for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++) {
        char script[64];
        if (pictures[i].lines && !known) continue;
        snprintf(script, sizeof script, "%s.gp", pictures[i].name);
        if (write_data(folder, &pictures[i], fit, points, err) < 0 ||
            write_script(folder, &pictures[i], fit, points, err) < 0 || gnuplot_run(folder, script, err) < 0)
            return -1;
    }
    return 0;
}
