/* plot: metrics.csv of runs → averaged points → a gnuplot script → SVG or PNG. gnuplot does the drawing; nothing is
 * drawn here. */
#include "scaling/plot.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"

enum { POINTS = 200, COLUMNS = 5 }; /* step, tokens, flops, loss, valid_loss: the first five of metrics.csv */
static const char *const axis_titles[] = {"optimizer steps", "training tokens", "training FLOPs (6 N D)"};

struct point {
    double v[COLUMNS]; /* NaN: empty field */
};

static int parse_row(struct point *p, const char *line, const char *end) {
    for (int c = 0; c < COLUMNS; c++) {
        char *after;
        p->v[c] = NAN;
        if (line < end && *line != ',' && *line != '\n') {
            p->v[c] = strtod(line, &after);
            if (after == line || after > end) return -1;
            line = after;
        }
        if (line >= end || *line != ',') return -1;
        line++;
    }
    return 0;
}

static int read_points(struct point **points, int64_t *count, const char *run, struct err *err) {
    char path[FILE_PATH_MAX], *text;
    size_t size;
    int64_t capacity = 0, line_number = 1;
    *points = NULL;
    *count = 0;
    if (file_join(path, run, "metrics.csv", err) < 0 || file_read(&text, &size, path, (size_t)1 << 30, err) < 0)
        return -1;
    int r = 0;
    for (char *line = strchr(text, '\n'), *end; r == 0 && line && (end = strchr(line + 1, '\n')); line = end) {
        line_number++;
        if ((r = mem_grow(points, &capacity, *count + 1, sizeof **points, "points of the plot", err)) < 0) break;
        if (parse_row(&(*points)[*count], line + 1, end) < 0)
            r = err_set(err, "%s line %lld: not a row of a run's metrics", path, (long long)line_number);
        ++*count;
    }
    mem_free(text);
    if (r == 0 && *count == 0) r = err_set(err, "%s: no rows yet: let the run make a step", path);
    if (r < 0) {
        mem_free(*points);
        *points = NULL;
    }
    return r;
}

/* Two gnuplot data blocks per run: averaged training loss, then validation loss. */
static int write_points(struct file_out *f, const struct plot_settings *s, const char *run, const struct point *p,
                        int64_t n, struct err *err) {
    const int64_t group = s->smooth > 0 ? s->smooth : (n + POINTS - 1) / POINTS;
    if (file_out_printf(f, err, "# %s: %s, mean training loss of %lld steps\n", run, axis_titles[s->axis],
                        (long long)group) < 0)
        return -1;
    for (int64_t i = 0; i < n; i += group) {
        double x = 0, y = 0;
        int64_t k = 0;
        for (; k < group && i + k < n; k++) {
            x += p[i + k].v[s->axis];
            y += p[i + k].v[3];
        }
        if (file_out_printf(f, err, "%.8g %.8g\n", x / (double)k, y / (double)k) < 0) return -1;
    }
    if (file_out_printf(f, err, "\n\n# %s: %s, validation loss\n", run, axis_titles[s->axis]) < 0) return -1;
    bool any = false;
    for (int64_t i = 0; i < n; i++)
        if (!isnan(p[i].v[4])) {
            any = true;
            if (file_out_printf(f, err, "%.8g %.8g\n", p[i].v[s->axis], p[i].v[4]) < 0) return -1;
        }
    if (!any && file_out_printf(f, err, "NaN NaN\n") < 0) return -1;
    return file_out_printf(f, err, "\n\n");
}

/* gnuplot strings in single quotes: a quote is doubled. */
static int write_quoted(struct file_out *f, const char *text, struct err *err) {
    if (file_out_write(f, "'", 1, err) < 0) return -1;
    for (; *text; text++)
        if (file_out_write(f, *text == '\'' ? "''" : text, *text == '\'' ? 2 : 1, err) < 0) return -1;
    return file_out_write(f, "'", 1, err);
}

static int write_script(const char *path, const struct plot_settings *s, const char *data, char **runs, int count,
                        bool png, struct err *err) {
    struct file_out *f = file_out_open(path, err);
    if (!f) return -1;
    int r = file_out_printf(f, err, "set terminal %s size %s\nset output ", png ? "png" : "svg",
                            png ? "1000,600" : "900,540 background 'white'");
    if (r == 0) r = write_quoted(f, s->out, err);
    if (r == 0)
        r = file_out_printf(
            f, err,
            "\nset xlabel '%s'\nset ylabel 'loss (nats per token)'\nset grid\nset key top right noenhanced\n%splot ",
            axis_titles[s->axis], s->log_x ? "set logscale x\n" : "");
    for (int i = 0; r == 0 && i < count; i++) {
        if (i > 0) r = file_out_printf(f, err, ", \\\n     ");
        if (r == 0) r = write_quoted(f, data, err);
        if (r == 0) r = file_out_printf(f, err, " index %d with lines lc %d lw 1.5 title ", 2 * i, i + 1);
        if (r == 0) r = write_quoted(f, runs[i], err);
        if (r == 0)
            r = file_out_printf(f, err, ", \\\n     '' index %d with linespoints lc %d pt 7 dt 2 title 'validation'",
                                2 * i + 1, i + 1);
    }
    if (r == 0) r = file_out_printf(f, err, "\n");
    if (r < 0) {
        file_out_abort(f);
        return -1;
    }
    return file_out_commit(f, err);
}

static int run_gnuplot(const char *script, struct err *err) {
    int status;
    const pid_t child = fork();
    if (child < 0) return err_set(err, "cannot start gnuplot: %s", strerror(errno));
    if (child == 0) {
        execlp("gnuplot", "gnuplot", script, (char *)NULL);
        _exit(127);
    }
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return err_set(err, "waiting for gnuplot: %s", strerror(errno));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return err_set(err, "gnuplot is not installed (package gnuplot-nox); the script %s is ready for it", script);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return err_set(err, "gnuplot failed on %s", script);
    return 0;
}

int plot_losses(const struct plot_settings *s, char **runs, int count, struct err *err) {
    char data[FILE_PATH_MAX], script[FILE_PATH_MAX];
    const size_t n = strlen(s->out);
    const bool png = n > 4 && !strcmp(s->out + n - 4, ".png"), svg = n > 4 && !strcmp(s->out + n - 4, ".svg");
    if (!png && !svg) return err_set(err, "%s: expected a name that ends in .svg or .png", s->out);
    if (n + 2 > sizeof data) return err_set(err, "%.60s…: the name is too long", s->out);
    snprintf(data, sizeof data, "%.*s.data", (int)n - 4, s->out);
    snprintf(script, sizeof script, "%.*s.gp", (int)n - 4, s->out);
    struct file_out *f = file_out_open(data, err);
    int r = f ? 0 : -1;
    for (int i = 0; r == 0 && i < count; i++) {
        struct point *p;
        int64_t points;
        r = read_points(&p, &points, runs[i], err);
        if (r == 0) r = write_points(f, s, runs[i], p, points, err);
        mem_free(p);
    }
    if (r < 0) {
        file_out_abort(f);
        return -1;
    }
    if (file_out_commit(f, err) < 0 || write_script(script, s, data, runs, count, png, err) < 0) return -1;
    return run_gnuplot(script, err);
}
