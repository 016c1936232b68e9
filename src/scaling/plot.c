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

enum { POINTS = 200 };

/* What is read of metrics.csv, by the names in its first line; its other columns may be any. */
enum column { STEP, TOKENS, FLOPS, LOSS, VALID_LOSS, COLUMNS };
static const char *const column_names[COLUMNS] = {"step", "tokens", "flops", "loss", "valid_loss"};
static const struct {
    enum column column;
    const char *title;
} axes[] = {[PLOT_STEPS] = {STEP, "optimizer steps"},
            [PLOT_TOKENS] = {TOKENS, "training tokens"},
            [PLOT_FLOPS] = {FLOPS, "training FLOPs (6 N D)"}};

struct point {
    double v[COLUMNS]; /* NaN: empty field */
};

/* Where the columns stand: at[c] is the place of column c in a line. */
static int find_columns(int at[COLUMNS], const char *line, const char *end, const char *path, struct err *err) {
    for (int c = 0; c < COLUMNS; c++) at[c] = -1;
    for (int place = 0; line < end; place++) {
        const char *comma = memchr(line, ',', (size_t)(end - line));
        const size_t n = (size_t)((comma ? comma : end) - line);
        for (int c = 0; c < COLUMNS; c++)
            if (strlen(column_names[c]) == n && !memcmp(column_names[c], line, n)) at[c] = place;
        line = comma ? comma + 1 : end;
    }
    for (int c = 0; c < COLUMNS; c++)
        if (at[c] < 0) return err_set(err, "%s: its first line names no column '%s'", path, column_names[c]);
    return 0;
}

/* A line of numbers with commas between. A field that is wanted may be empty; nothing else may stand in it. */
static int parse_row(struct point *p, const int at[COLUMNS], const char *line, const char *end) {
    int found = 0;
    for (int place = 0; line <= end; place++) {
        const char *comma = memchr(line, ',', (size_t)(end - line)), *stop = comma ? comma : end;
        for (int c = 0; c < COLUMNS; c++) {
            if (at[c] != place) continue;
            char *after = (char *)stop;
            p->v[c] = line < stop ? strtod(line, &after) : NAN;
            if (after != stop) return -1;
            found++;
        }
        line = stop + 1;
    }
    return found == COLUMNS && !isnan(p->v[STEP]) ? 0 : -1;
}

static int read_points(struct point **points, int64_t *count, const char *run, struct err *err) {
    char path[FILE_PATH_MAX], *text;
    size_t size;
    int at[COLUMNS];
    int64_t capacity = 0, line_number = 1;
    *points = NULL;
    *count = 0;
    if (file_join(path, run, "metrics.csv", err) < 0 || file_read(&text, &size, path, (size_t)1 << 30, err) < 0)
        return -1;
    char *line = text + strcspn(text, "\n"), *end;
    int r = find_columns(at, text, line, path, err);
    for (; r == 0 && *line && (end = strchr(line + 1, '\n')); line = end) { /* a line without an end is not yet whole */
        line_number++;
        if ((r = mem_grow(points, &capacity, *count + 1, sizeof **points, "points of the plot", err)) < 0) break;
        if (parse_row(&(*points)[*count], at, line + 1, end) < 0)
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
    const enum column x_column = axes[s->axis].column;
    const int64_t group = s->smooth > 0 ? s->smooth : (n + POINTS - 1) / POINTS;
    if (file_out_printf(f, err, "# %s: %s, mean training loss of %lld steps\n", run, axes[s->axis].title,
                        (long long)group) < 0)
        return -1;
    for (int64_t i = 0; i < n; i += group) {
        double x = 0, y = 0;
        int64_t k = 0;
        for (; k < group && i + k < n; k++) {
            x += p[i + k].v[x_column];
            y += p[i + k].v[LOSS];
        }
        if (file_out_printf(f, err, "%.8g %.8g\n", x / (double)k, y / (double)k) < 0) return -1;
    }
    if (file_out_printf(f, err, "\n\n# %s: %s, validation loss\n", run, axes[s->axis].title) < 0) return -1;
    bool any = false;
    for (int64_t i = 0; i < n; i++)
        if (!isnan(p[i].v[VALID_LOSS])) {
            any = true;
            if (file_out_printf(f, err, "%.8g %.8g\n", p[i].v[x_column], p[i].v[VALID_LOSS]) < 0) return -1;
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
            axes[s->axis].title, s->log_x ? "set logscale x\n" : "");
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
        struct point *p;
        int64_t points;
        r = read_points(&p, &points, runs[i], err);
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
