/* plot: metrics.csv of runs → averaged points → a gnuplot script → SVG or PNG. gnuplot does the drawing; nothing is
 * drawn here. */
#include "scaling/plot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/err.h"
#include "base/file.h"
#include "base/gnuplot.h"
#include "base/mem.h"
#include "base/num.h"
#include "train/metrics.h"

enum { POINTS = 200 };

static const char *const axis_titles[] = {"optimizer steps", "training tokens", "training FLOPs (6 N D)"};

static double at_axis(const struct metrics_row *r, enum plot_axis axis) {
    if (axis == PLOT_STEPS) return (double)r->step;
    return axis == PLOT_TOKENS ? r->tokens : r->flops;
}

/* Two gnuplot data blocks per run: averaged training loss, then validation loss. `name`: the run's, quoted. */
static int push_points(struct bytes *b, const struct plot_settings *s, const char *name, const struct metrics_row *p,
                       int64_t n, struct err *err) {
    const int64_t group = s->smooth > 0 ? s->smooth : divide_up(n, POINTS);
    if (bytes_printf(b, err, "# %s: %s, mean training loss of %lld steps\n", name, axis_titles[s->axis],
                     (long long)group) < 0)
        return -1;
    for (int64_t i = 0; i < n; i += group) {
        double x = 0, y = 0;
        int64_t k = 0;
        for (; k < group && i + k < n; k++) {
            x += at_axis(&p[i + k], s->axis);
            y += p[i + k].loss;
        }
        if (bytes_printf(b, err, "%.8g %.8g\n", x / (double)k, y / (double)k) < 0) return -1;
    }
    if (bytes_printf(b, err, "\n\n# %s: %s, validation loss\n", name, axis_titles[s->axis]) < 0) return -1;
    bool any = false;
    for (int64_t i = 0; i < n; i++)
        if (!isnan(p[i].valid_loss)) {
            any = true;
            if (bytes_printf(b, err, "%.8g %.8g\n", at_axis(&p[i], s->axis), p[i].valid_loss) < 0) return -1;
        }
    if (!any && bytes_printf(b, err, "NaN NaN\n") < 0) return -1;
    return bytes_printf(b, err, "\n\n");
}

static int make_script(struct bytes *b, const struct plot_settings *s, const struct gnuplot_picture *picture,
                       char **runs, int count, struct err *err) {
    int r = gnuplot_begin(b, picture, err);
    if (r == 0)
        r = bytes_printf(b, err,
                         "set xlabel '%s'\nset ylabel 'loss (nats per token)'\nset key top right noenhanced\n%splot ",
                         axis_titles[s->axis], s->log_x ? "set logscale x\n" : "");
    for (int i = 0; r == 0 && i < count; i++) {
        char title[FILE_PATH_MAX + 20];
        snprintf(title, sizeof title, "%s, validation", runs[i]);
        if (i > 0) r = bytes_printf(b, err, ", \\\n     ");
        if (r == 0) r = gnuplot_quote(b, picture->data, err);
        if (r == 0) r = bytes_printf(b, err, " index %d with lines lc %d lw 1.5 title ", 2 * i, i + 1);
        if (r == 0) r = gnuplot_quote(b, runs[i], err);
        if (r == 0)
            r = bytes_printf(b, err, ", \\\n     '' index %d with linespoints lc %d pt 7 dt 2 title ", 2 * i + 1,
                             i + 1);
        if (r == 0) r = gnuplot_quote(b, title, err);
    }
    return r == 0 ? bytes_printf(b, err, "\n") : r;
}

static int make_data(struct bytes *b, const struct plot_settings *s, char **runs, int count, struct err *err) {
    int r = 0;
    for (int i = 0; r == 0 && i < count; i++) {
        struct metrics_row *p;
        struct bytes name = {0};
        int64_t points;
        r = metrics_read(&p, &points, runs[i], err);
        if (r == 0) r = gnuplot_quote(&name, runs[i], err);
        if (r == 0) r = push_points(b, s, name.v, p, points, err);
        bytes_free(&name);
        mem_free(p);
    }
    return r;
}

int plot_losses(const struct plot_settings *s, char **runs, int count, struct err *err) {
    struct gnuplot_picture picture;
    struct bytes data = {0}, script = {0};
    if (gnuplot_picture(&picture, s->out, err) < 0) return -1;
    int r = make_data(&data, s, runs, count, err);
    if (r == 0) r = make_script(&script, s, &picture, runs, count, err);
    if (r == 0) r = gnuplot_draw(&picture, &data, &script, err);
    bytes_free(&data);
    bytes_free(&script);
    return r;
}
