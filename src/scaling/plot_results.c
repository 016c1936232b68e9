/* plot_results: results.json of evaluations → bars or lines with standard errors. */
#include "scaling/plot.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/err.h"
#include "base/file.h"
#include "base/gnuplot.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "base/progress.h"

enum { JSON_BYTES = 16 << 20, NAME = 160, NAMED = 3 /* of what is unfinished, in a title */ };

struct result { /* the metric of a task in an OUT */
    char task[NAME];
    int out, model;         /* model: the first OUT of the same weights */
    bool unfinished;        /* items are wanted that are not there */
    double x, value, error; /* x: NaN until there is an axis; error: NaN where there is none */
};

struct results_plot {
    const struct plot_eval_settings *s;
    char **outs;
    int count;
    json_t **files; /* [count] results.json of each */
    struct result *v;
    int64_t n, capacity;
};

static const char *const settings_of[] = {[PLOT_SAMPLING_STEPS] = "steps", [PLOT_CFG] = "cfg"};
static const char *const axis_titles[] = {[PLOT_SAMPLING_STEPS] = "sampling steps", [PLOT_CFG] = "guidance"};

/* ---- reading ---- */

static const json_t *member(const struct results_plot *p, int out, const char *of, const char *task) {
    return json_object_get(json_object_get(p->files[out], of), task);
}

static const json_t *config_of(const struct results_plot *p, int out) {
    return json_object_get(p->files[out], "config");
}

/* A setting of a task as a number; NaN: it has none. */
static double setting(const struct results_plot *p, int out, const char *task, const char *name) {
    const json_t *v = json_object_get(json_object_get(member(p, out, "configs", task), "metadata"), name);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

/* A task of which there are groups is drawn as these. */
static int add_result(struct results_plot *p, int out, const char *task, const json_t *metrics, struct err *err) {
    char key[NAME];
    if (json_array_size(member(p, out, "group_subtasks", task)) > 0) return 0;
    snprintf(key, sizeof key, "%s,none", p->s->metric);
    const json_t *value = json_object_get(metrics, key);
    snprintf(key, sizeof key, "%s_stderr,none", p->s->metric);
    const json_t *error = json_object_get(metrics, key);
    if (!json_is_number(value)) return 0;
    if (mem_grow(&p->v, &p->capacity, p->n + 1, sizeof *p->v, "results", err) < 0) return -1;
    struct result *r = &p->v[p->n++];
    *r = (struct result){.out = out, .x = NAN, .value = json_number_value(value), .error = NAN};
    if (json_is_number(error)) r->error = json_number_value(error);
    r->unfinished = json_is_true(json_object_get(member(p, out, "n-samples", task), "unfinished"));
    snprintf(r->task, sizeof r->task, "%s", task);
    return 0;
}

static int nothing(const struct results_plot *p, int out, const char *with, struct err *err) {
    return err_set(err, "no task with the metric '%s'%s in %s: 'mdm eval --rescore %s' shows what there is",
                   p->s->metric, with, p->outs[out], p->outs[out]);
}

static int read_out(struct results_plot *p, int out, struct err *err) {
    char path[FILE_PATH_MAX];
    const char *task;
    json_t *metrics;
    const int64_t before = p->n;
    if (file_join(path, p->outs[out], "results.json", err) < 0) return -1;
    p->files[out] = json_read_file(path, JSON_BYTES, err);
    if (!p->files[out]) return -1;
    json_t *results = json_object_get(p->files[out], "results");
    if (!json_is_object(results))
        return err_set(err, "%s: expected \"results\", an object of tasks, as mdm eval writes it", path);
    json_object_foreach(results, task, metrics) if (add_result(p, out, task, metrics, err) < 0) return -1;
    return p->n > before ? 0 : nothing(p, out, "", err); /* gnuplot draws no bars of nothing */
}

/* ---- the axis ---- */

/* Do results of one task differ in the setting? */
static bool differs(const struct results_plot *p, const char *name) {
    for (int64_t i = 0; i < p->n; i++)
        for (int64_t k = 0; k < i; k++) {
            const double a = setting(p, p->v[i].out, p->v[i].task, name),
                         b = setting(p, p->v[k].out, p->v[k].task, name);
            if (!strcmp(p->v[i].task, p->v[k].task) && isfinite(a) && isfinite(b) && a != b) return true;
        }
    return false;
}

/* The first OUT of the same weights. */
static int model_of(const struct results_plot *p, int out) {
    const json_t *weights = json_object_get(config_of(p, out), "weights");
    int first = 0;
    while (first < out && !json_equal(json_object_get(config_of(p, first), "weights"), weights)) first++;
    return first;
}

static bool one_model(const struct results_plot *p) {
    for (int i = 1; i < p->count; i++)
        if (model_of(p, i) != 0) return false;
    return true;
}

static int find_axis(const struct results_plot *p, enum plot_eval_axis *axis, struct err *err) {
    const bool steps = one_model(p) && differs(p, "steps"), cfg = one_model(p) && differs(p, "cfg");
    if (steps && cfg) return err_set(err, "the evaluations differ in steps and in cfg: name one with --x");
    *axis = steps ? PLOT_SAMPLING_STEPS : cfg ? PLOT_CFG : PLOT_TASKS;
    return 0;
}

static int choose_axis(const struct results_plot *p, enum plot_eval_axis *axis, struct err *err) {
    *axis = p->s->axis;
    if (*axis == PLOT_EITHER && find_axis(p, axis, err) < 0) return -1;
    if (*axis != PLOT_TASKS || !p->s->log_x) return 0;
    return err_set(err, "--log: tasks stand along the axis, not numbers; --x names what these evaluations differ in");
}

/* ---- the legend ---- */

/* The title of n results, and which of them are unfinished: tasks, or places on the axis. */
static int push_title(struct bytes *script, const char *name, const char *model, const struct result *v, int64_t n,
                      struct err *err) {
    struct bytes title = {0};
    int unfinished = 0, r = bytes_printf(&title, err, "%s%s%s", name, *model ? ", " : "", model);
    for (int64_t i = 0; i < n && r == 0; i++) {
        char place[NAME];
        if (!v[i].unfinished || ++unfinished > NAMED + 1) continue;
        snprintf(place, sizeof place, "%g", v[i].x);
        r = bytes_printf(&title, err, "%s%s", unfinished == 1 ? " (not finished: " : ", ",
                         unfinished > NAMED ? "…"
                         : isnan(v[i].x)    ? v[i].task
                                            : place);
    }
    if (r == 0 && unfinished > 0) r = bytes_printf(&title, err, ")");
    if (r == 0) r = gnuplot_quote(script, title.v, err);
    bytes_free(&title);
    return r;
}

/* ---- bars ---- */

static const struct result *find(const struct results_plot *p, int out, const char *task) {
    for (int64_t i = 0; i < p->n; i++)
        if (p->v[i].out == out && !strcmp(p->v[i].task, task)) return &p->v[i];
    return NULL;
}

static bool seen_before(const struct results_plot *p, int64_t i) {
    for (int64_t k = 0; k < i; k++)
        if (!strcmp(p->v[k].task, p->v[i].task)) return true;
    return false;
}

/* gnuplot knows a number that is none, and draws no bar of error for it. */
static int push_point(struct bytes *b, const struct result *r, struct err *err) {
    if (bytes_printf(b, err, " %.6g", r->value) < 0) return -1;
    return isnan(r->error) ? bytes_printf(b, err, " NaN") : bytes_printf(b, err, " %.6g", r->error);
}

static int bars_data(const struct results_plot *p, struct bytes *b, struct err *err) {
    int r = bytes_printf(b, err, "# task, then %s and its standard error of:", p->s->metric);
    for (int out = 0; out < p->count && r == 0; out++) {
        r = bytes_push(b, " ", 1, err);
        if (r == 0) r = gnuplot_quote(b, p->outs[out], err);
    }
    for (int64_t i = 0; i < p->n && r == 0; i++) {
        if (seen_before(p, i)) continue;
        r = bytes_push(b, "\n", 1, err);
        if (r == 0) r = gnuplot_quote(b, p->v[i].task, err);
        for (int out = 0; out < p->count && r == 0; out++) {
            const struct result *v = find(p, out, p->v[i].task);
            r = v ? push_point(b, v, err) : bytes_printf(b, err, " NaN NaN");
        }
    }
    return r == 0 ? bytes_push(b, "\n", 1, err) : r;
}

static int bars_script(const struct results_plot *p, const struct gnuplot_picture *picture, struct bytes *b,
                       struct err *err) {
    int64_t i = 0;
    int r = bytes_printf(b, err,
                         "set style data histograms\nset style histogram errorbars gap 1 lw 1\n"
                         "set style fill solid 0.7\nset yrange [0:*]\nset offsets 0, 0, graph 0.1, 0\n"
                         "set xtics rotate by -25 noenhanced\nset bmargin 5\nset key top right noenhanced\n"
                         "set ylabel \"%s\" noenhanced\nplot ",
                         p->s->metric);
    for (int out = 0; out < p->count && r == 0; out++) {
        const int64_t first = i;
        while (i < p->n && p->v[i].out == out) i++;
        if (out > 0) r = bytes_printf(b, err, ", \\\n     ");
        if (r == 0) r = gnuplot_quote(b, picture->data, err);
        if (r == 0) r = bytes_printf(b, err, " using %d:%d:xtic(1) title ", 2 * out + 2, 2 * out + 3);
        if (r == 0) r = push_title(b, p->outs[out], "", &p->v[first], i - first, err);
    }
    return r == 0 ? bytes_push(b, "\n", 1, err) : r;
}

/* ---- lines ---- */

static int by_line(const void *x, const void *y) {
    const struct result *a = x, *b = y;
    const int c = strcmp(a->task, b->task), m = a->model - b->model;
    return c ? c : m ? m : (a->x > b->x) - (a->x < b->x);
}

/* Is there a place for it on the axis? */
static bool has_place(const struct results_plot *p, const struct result *r) {
    return isfinite(r->x) && (r->x > 0 || !p->s->log_x);
}

/* Which line a result is on: its task's, of several models their own; those without a place are left out. */
static int make_lines(struct results_plot *p, enum plot_eval_axis axis, struct err *err) {
    const char *name = settings_of[axis];
    char with[64];
    int64_t n = 0, found = 0;
    for (int64_t i = 0; i < p->n; i++) {
        p->v[i].x = setting(p, p->v[i].out, p->v[i].task, name);
        found += has_place(p, &p->v[i]);
    }
    snprintf(with, sizeof with, " and the setting '%s'%s", name, p->s->log_x ? " above 0" : "");
    if (found == 0) return nothing(p, 0, with, err);
    for (int64_t i = 0; i < p->n; i++) {
        struct result r = p->v[i];
        if (!has_place(p, &r)) {
            if (isfinite(r.x))
                progress_say(NULL, "%s: %s is left out: --log has no place for its '%s' of %g", p->outs[r.out], r.task,
                             name, r.x);
            else
                progress_say(NULL, "%s: %s is left out: it has no setting '%s'", p->outs[r.out], r.task, name);
            continue;
        }
        r.model = model_of(p, r.out);
        p->v[n++] = r;
    }
    p->n = n;
    qsort(p->v, (size_t)n, sizeof *p->v, by_line);
    return 0;
}

static bool begins_line(const struct results_plot *p, int64_t i) {
    return i == 0 || p->v[i - 1].model != p->v[i].model || strcmp(p->v[i - 1].task, p->v[i].task) != 0;
}

/* A line is called as its task, and of several models as the model's first folder too. */
static const char *line_model(const struct results_plot *p, int64_t i) {
    return one_model(p) ? "" : p->outs[p->v[i].model];
}

static int lines_data(const struct results_plot *p, enum plot_eval_axis axis, struct bytes *b, struct err *err) {
    int r = 0;
    for (int64_t i = 0; i < p->n && r == 0; i++) {
        if (begins_line(p, i)) {
            r = bytes_printf(b, err, "%s# ", i ? "\n\n" : "");
            if (r == 0) r = push_title(b, p->v[i].task, line_model(p, i), NULL, 0, err);
            if (r == 0) r = bytes_printf(b, err, ": %s, %s, its standard error\n", settings_of[axis], p->s->metric);
        }
        if (r == 0) r = bytes_printf(b, err, "%.8g", p->v[i].x);
        if (r == 0) r = push_point(b, &p->v[i], err);
        if (r == 0) r = bytes_push(b, "\n", 1, err);
    }
    return r;
}

static int lines_script(const struct results_plot *p, enum plot_eval_axis axis, const struct gnuplot_picture *picture,
                        struct bytes *b, struct err *err) {
    int line = 0, r = bytes_printf(b, err,
                                   "set xlabel \"%s\"\nset ylabel \"%s\" noenhanced\nset key top right noenhanced\n"
                                   "set offsets graph 0.05, graph 0.05, graph 0.1, graph 0.05\n%splot ",
                                   axis_titles[axis], p->s->metric, p->s->log_x ? "set logscale x\n" : "");
    for (int64_t i = 0, end; i < p->n && r == 0; i = end) {
        for (end = i + 1; end < p->n && !begins_line(p, end);) end++;
        if (i > 0) r = bytes_printf(b, err, ", \\\n     ");
        if (r == 0) r = gnuplot_quote(b, picture->data, err);
        if (r == 0) r = bytes_printf(b, err, " index %d with yerrorlines pt 7 title ", line++);
        if (r == 0) r = push_title(b, p->v[i].task, line_model(p, i), &p->v[i], end - i, err);
    }
    return r == 0 ? bytes_push(b, "\n", 1, err) : r;
}

/* ---- all ---- */

static int draw(struct results_plot *p, struct err *err) {
    struct gnuplot_picture picture;
    struct bytes data = {0}, script = {0};
    enum plot_eval_axis axis;
    if (gnuplot_picture(&picture, p->s->out, err) < 0 || choose_axis(p, &axis, err) < 0) return -1;
    const bool bars = axis == PLOT_TASKS;
    int r = bars ? bars_data(p, &data, err) : make_lines(p, axis, err) < 0 ? -1 : lines_data(p, axis, &data, err);
    if (r == 0) r = gnuplot_begin(&script, &picture, err);
    if (r == 0) r = bars ? bars_script(p, &picture, &script, err) : lines_script(p, axis, &picture, &script, err);
    if (r == 0) r = gnuplot_draw(&picture, &data, &script, err);
    bytes_free(&data);
    bytes_free(&script);
    return r;
}

int plot_results(const struct plot_eval_settings *s, char **outs, int count, struct err *err) {
    struct results_plot p = {.s = s, .outs = outs, .count = count};
    p.files = mem_alloc(count, sizeof *p.files, "results", err);
    int r = p.files ? 0 : -1;
    if (r == 0 && s->metric[strcspn(s->metric, "\"\\`\n")])
        r = err_set(err, "--metric %s: expected a name as in results.json", s->metric);
    for (int i = 0; i < count && r == 0; i++) r = read_out(&p, i, err);
    if (r == 0) r = draw(&p, err);
    for (int i = 0; p.files && i < count; i++) json_decref(p.files[i]);
    mem_free(p.files);
    mem_free(p.v);
    return r;
}
