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
#include "base/hash.h"
#include "base/mem.h"
#include "scaling/gnuplot.h"
#include "train/metrics.h"

enum { POINTS = 200 };

static const char *const axis_titles[] = {"optimizer steps", "training tokens", "training FLOPs (6 N D)"};

static double at_axis(const struct metrics_row *r, enum plot_axis axis) {
    if (axis == PLOT_STEPS) return (double)r->step;
    return axis == PLOT_TOKENS ? r->tokens : r->flops;
}

/* Two gnuplot data blocks per run: averaged training loss, then validation loss. */
static int write_points(struct file_out *f, const struct plot_settings *s, const char *run, const struct metrics_row *p,
                        int64_t n, struct err *err) {
    const int64_t group = s->smooth > 0 ? s->smooth : (n + POINTS - 1) / POINTS;
    if (file_out_printf(f, err, "# %s: %s, mean training loss of %lld steps\n", run, axis_titles[s->axis],
                        (long long)group) < 0)
        return -1;
    for (int64_t i = 0; i < n; i += group) {
        double x = 0, y = 0;
        int64_t k = 0;
        for (; k < group && i + k < n; k++) {
            x += at_axis(&p[i + k], s->axis);
            y += p[i + k].loss;
        }
        if (file_out_printf(f, err, "%.8g %.8g\n", x / (double)k, y / (double)k) < 0) return -1;
    }
    if (file_out_printf(f, err, "\n\n# %s: %s, validation loss\n", run, axis_titles[s->axis]) < 0) return -1;
    bool any = false;
    for (int64_t i = 0; i < n; i++)
        if (!isnan(p[i].valid_loss)) {
            any = true;
            if (file_out_printf(f, err, "%.8g %.8g\n", at_axis(&p[i], s->axis), p[i].valid_loss) < 0) return -1;
        }
    if (!any && file_out_printf(f, err, "NaN NaN\n") < 0) return -1;
    return file_out_printf(f, err, "\n\n");
}

/* gnuplot strings in single quotes: a quote is doubled. */
static int push_quoted(struct bytes *b, const char *text, struct err *err) {
    if (bytes_push(b, "'", 1, err) < 0 || bytes_push_replaced(b, text, (int64_t)strlen(text), "'", "''", err) < 0)
        return -1;
    return bytes_push(b, "'", 1, err);
}

static int make_script(struct bytes *b, const struct plot_settings *s, const char *data, char **runs, int count,
                       bool png, struct err *err) {
    int r = bytes_printf(b, err, "set terminal %s size %s\nset output ", png ? "png" : "svg",
                         png ? "1000,600" : "900,540 background 'white'");
    if (r == 0) r = push_quoted(b, s->out, err);
    if (r == 0)
        r = bytes_printf(
            b, err,
            "\nset xlabel '%s'\nset ylabel 'loss (nats per token)'\nset grid\nset key top right noenhanced\n%splot ",
            axis_titles[s->axis], s->log_x ? "set logscale x\n" : "");
    for (int i = 0; r == 0 && i < count; i++) {
        char title[FILE_PATH_MAX + 20];
        snprintf(title, sizeof title, "%s, validation", runs[i]);
        if (i > 0) r = bytes_printf(b, err, ", \\\n     ");
        if (r == 0) r = push_quoted(b, data, err);
        if (r == 0) r = bytes_printf(b, err, " index %d with lines lc %d lw 1.5 title ", 2 * i, i + 1);
        if (r == 0) r = push_quoted(b, runs[i], err);
        if (r == 0)
            r = bytes_printf(b, err, ", \\\n     '' index %d with linespoints lc %d pt 7 dt 2 title ", 2 * i + 1,
                             i + 1);
        if (r == 0) r = push_quoted(b, title, err);
    }
    return r == 0 ? bytes_printf(b, err, "\n") : r;
}

/* The first line of a script tells the digest of the rest, so that one which a person has changed is known. */
static void first_line(char out[64], const char *text, size_t n) {
    snprintf(out, 64, "# mdm plot %016llx\n", (unsigned long long)hash_finish(hash_add(HASH_START, text, n)));
}

/* Is the script there as this program wrote it, or not there? */
static int check_unchanged(const char *path, struct err *err) {
    char *text, line[64];
    size_t n;
    if (!file_exists(path)) return 0;
    if (file_read(&text, &n, path, 1 << 24, err) < 0) return -1;
    const char *rest = text + strcspn(text, "\n");
    rest += *rest == '\n';
    first_line(line, rest, n - (size_t)(rest - text));
    const bool same = strlen(line) == (size_t)(rest - text) && !memcmp(line, text, strlen(line));
    mem_free(text);
    return same ? 0
                : err_set(err, "%s was changed by hand and would be lost: draw with 'gnuplot %s', or move it away",
                          path, path);
}

static int write_script(const char *path, const struct bytes *script, struct err *err) {
    char line[64];
    first_line(line, script->v, (size_t)script->n);
    struct file_out *f = file_out_open(path, err);
    if (!f) return -1;
    if (file_out_write(f, line, strlen(line), err) < 0 || file_out_write(f, script->v, (size_t)script->n, err) < 0) {
        file_out_abort(f);
        return -1;
    }
    return file_out_commit(f, err);
}

static int write_data(const char *path, const struct plot_settings *s, char **runs, int count, struct err *err) {
    struct file_out *f = file_out_open(path, err);
    int r = f ? 0 : -1;
    for (int i = 0; r == 0 && i < count; i++) {
        struct metrics_row *p;
        int64_t points;
        r = metrics_read(&p, &points, runs[i], err);
        if (r == 0) r = write_points(f, s, runs[i], p, points, err);
        mem_free(p);
    }
    if (r == 0) return file_out_commit(f, err);
    file_out_abort(f);
    return -1;
}

int plot_losses(const struct plot_settings *s, char **runs, int count, struct err *err) {
    char data[FILE_PATH_MAX], script[FILE_PATH_MAX];
    const size_t n = strlen(s->out);
    const bool png = n > 4 && !strcmp(s->out + n - 4, ".png"), svg = n > 4 && !strcmp(s->out + n - 4, ".svg");
    if (!png && !svg) return err_set(err, "%s: expected a name that ends in .svg or .png", s->out);
    if (n + sizeof ".data" > sizeof data) return err_set(err, "%.60s…: the name is too long", s->out);
    snprintf(data, sizeof data, "%s.data", s->out);
    snprintf(script, sizeof script, "%s.gp", s->out);
    if (check_unchanged(script, err) < 0 || write_data(data, s, runs, count, err) < 0) return -1;
    struct bytes text = {0};
    int r = make_script(&text, s, data, runs, count, png, err);
    if (r == 0) r = write_script(script, &text, err);
    bytes_free(&text);
    return r < 0 ? -1 : gnuplot_run(NULL, script, err);
}
