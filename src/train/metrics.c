/* metrics: appends rows to a CSV file, and reads one. */
#include "train/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"

/* The columns in the order they are written. */
static const struct {
    const char *name, *format;
    size_t offset;
    bool needed; /* a file without it is no metrics.csv; also, the field may not be empty */
} columns[] = {
    {"step", NULL, offsetof(struct metrics_row, step), true},
    {"tokens", "%.0f", offsetof(struct metrics_row, tokens), true},
    {"flops", "%.6e", offsetof(struct metrics_row, flops), true},
    {"loss", "%.6f", offsetof(struct metrics_row, loss), true},
    {"valid_loss", "%.6f", offsetof(struct metrics_row, valid_loss)},
    {"lr", "%.6e", offsetof(struct metrics_row, lr)},
    {"grad_norm", "%.6f", offsetof(struct metrics_row, grad_norm)},
    {"tokens_per_s", "%.1f", offsetof(struct metrics_row, tokens_per_s)},
    {"mfu", "%.4f", offsetof(struct metrics_row, mfu)},
    {"epoch", "%.4f", offsetof(struct metrics_row, epoch)},
    {"seconds", "%.2f", offsetof(struct metrics_row, seconds)},
    {"valid_error", "%.6f", offsetof(struct metrics_row, valid_error)},
};
enum {
    COLUMNS = sizeof columns / sizeof columns[0],
    STEP = 0,
    FIELD = 400 /* digits of the largest double */,
    LINE_MAX_BYTES = (COLUMNS + 1) * FIELD
};

static double *field(struct metrics_row *r, int column) {
    return (double *)(void *)((char *)r + columns[column].offset);
}

struct metrics {
    int fd;
    int64_t size; /* of the whole rows */
    char path[FILE_PATH_MAX];
    char line[LINE_MAX_BYTES]; /* a row that could not be written */
};

static int write_header(struct file_out *out, struct err *err) {
    for (int i = 0; i < COLUMNS; i++)
        if (file_out_printf(out, err, "%s%c", columns[i].name, i + 1 < COLUMNS ? ',' : '\n') < 0) return -1;
    return 0;
}

static void format_row(char line[LINE_MAX_BYTES], const struct metrics_row *row) {
    struct metrics_row r = *row;
    size_t n = (size_t)snprintf(line, LINE_MAX_BYTES, "%lld", (long long)r.step);
    for (int i = STEP + 1; i < COLUMNS; i++) {
        const double v = *field(&r, i);
        line[n++] = ',';
        if (!isnan(v) || columns[i].needed) n += (size_t)snprintf(line + n, FIELD, columns[i].format, v);
    }
    line[n++] = '\n';
    line[n] = '\0';
}

/* ---- reading ---- */

/* at[i] becomes the place of column i in a line, -1: nowhere. Returns how many places a line has. */
static int find_columns(int at[COLUMNS], const char *line, const char *end, const char *path, struct err *err) {
    for (int i = 0; i < COLUMNS; i++) at[i] = -1;
    int places = 0;
    for (; line < end; places++) {
        const char *comma = memchr(line, ',', (size_t)(end - line));
        const size_t n = (size_t)((comma ? comma : end) - line);
        for (int i = 0; i < COLUMNS; i++)
            if (strlen(columns[i].name) == n && !memcmp(columns[i].name, line, n)) at[i] = places;
        line = comma ? comma + 1 : end;
    }
    for (int i = 0; i < COLUMNS; i++)
        if (columns[i].needed && at[i] < 0)
            return err_set(err, "%s: its first line names no column '%s'", path, columns[i].name);
    return places;
}

/* A line of numbers with commas between; fields of columns that are known may be empty, nothing else may stand in them. */
static bool parse_row(struct metrics_row *row, const int at[COLUMNS], int places, const char *line, const char *end) {
    for (int i = STEP + 1; i < COLUMNS; i++) *field(row, i) = NAN;
    double step = NAN;
    int place = 0;
    for (; line <= end; place++) {
        const char *comma = memchr(line, ',', (size_t)(end - line)), *stop = comma ? comma : end;
        for (int i = 0; i < COLUMNS && line < stop; i++) {
            if (at[i] != place) continue;
            char *after;
            *(i == STEP ? &step : field(row, i)) = strtod(line, &after);
            if (after != stop) return false;
        }
        line = stop + 1;
    }
    if (place != places || !(step >= 0 && step < 9e18)) return false;
    row->step = (int64_t)step;
    return !isnan(row->tokens) && !isnan(row->flops);
}

/* `strict`: a row that cannot be read is an error; else it is left out. */
static int read_rows(struct metrics_row **rows, int64_t *count, const char *path, bool strict, struct err *err) {
    int at[COLUMNS];
    char *text;
    size_t size;
    int64_t capacity = 0, number = 1;
    *rows = NULL;
    *count = 0;
    if (file_read(&text, &size, path, (size_t)1 << 32, err) < 0) return -1;
    char *line = text + strcspn(text, "\n"), *end;
    const int places = find_columns(at, text, line, path, err);
    int r = places < 0 ? -1 : 0;
    for (; r == 0 && *line && (end = strchr(line + 1, '\n')); line = end) { /* a line without an end is not yet whole */
        number++;
        if ((r = mem_grow(rows, &capacity, *count + 1, sizeof **rows, "rows of metrics.csv", err)) < 0) break;
        if (parse_row(&(*rows)[*count], at, places, line + 1, end))
            ++*count;
        else if (strict)
            r = err_set(err, "%s line %lld: not a row of a run's metrics", path, (long long)number);
    }
    mem_free(text);
    if (r < 0) {
        mem_free(*rows);
        *rows = NULL;
    }
    return r;
}

int metrics_read(struct metrics_row **rows, int64_t *count, const char *run, struct err *err) {
    char path[FILE_PATH_MAX];
    if (file_join(path, run, "metrics.csv", err) < 0 || read_rows(rows, count, path, true, err) < 0) return -1;
    return *count ? 0 : err_set(err, "%s: no rows yet: let the run make a step", path);
}

/* ---- writing ---- */

/* Rewrite the file without the rows after keep_step, and with the columns of this version. *last: the last one kept. */
static int trim(const char *path, int64_t keep_step, const struct metrics_row *instead, struct metrics_row *last,
                struct err *err) {
    struct metrics_row *rows = NULL;
    struct err unreadable = {{0}};
    char line[LINE_MAX_BYTES];
    int64_t count = 0;
    if (file_exists(path) && read_rows(&rows, &count, path, false, &unreadable) < 0)
        return err_set(err, "%s; move it away to go on without its rows", unreadable.msg);
    struct file_out *out = file_out_open(path, err);
    int r = out ? write_header(out, err) : -1;
    for (int64_t i = 0; r == 0 && i < count; i++) {
        if (rows[i].step < 1 || rows[i].step > keep_step) continue;
        *last = instead && instead->step == rows[i].step ? *instead : rows[i];
        format_row(line, last);
        r = file_out_write(out, line, strlen(line), err);
    }
    mem_free(rows);
    if (r < 0) {
        file_out_abort(out);
        return -1;
    }
    return file_out_commit(out, err);
}

struct metrics *metrics_open(const char *run, int64_t keep_step, const struct metrics_row *instead,
                             struct metrics_row *last, struct err *err) {
    struct metrics *m = mem_alloc(1, sizeof *m, "metrics", err);
    *last = (struct metrics_row){.step = 0};
    if (!m || file_join(m->path, run, "metrics.csv", err) < 0) goto fail;
    if (trim(m->path, keep_step, instead, last, err) < 0 || (m->size = file_size(m->path, err)) < 0) goto fail;
    m->fd = open(m->path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (m->fd >= 0) return m;
    err_set(err, "%s: cannot append: %s", m->path, strerror(errno));
fail:
    mem_free(m);
    return NULL;
}

/* The line, whole or not at all. */
static int put_line(struct metrics *m, struct err *err) {
    const size_t n = strlen(m->line);
    ssize_t k;
    while ((k = fault_now(FAULT_WRITE) ? -1 : write(m->fd, m->line, n)) < 0 && errno == EINTR) {
    }
    if (k == (ssize_t)n) {
        m->size += k;
        m->line[0] = '\0';
        return 0;
    }
    err_set(err, "%s: cannot write: %s; free some space and start the run again", m->path,
            strerror(k < 0 ? errno : ENOSPC));
    if (k > 0 && ftruncate(m->fd, m->size) < 0) return -1; /* a torn line is left, which the next start drops */
    return -1;
}

int metrics_add(struct metrics *m, const struct metrics_row *r, struct err *err) {
    format_row(m->line, r);
    return put_line(m, err);
}

int metrics_sync(struct metrics *m, struct err *err) {
    if (m->line[0] && put_line(m, err) < 0) return -1;
    if (!fault_now(FAULT_FSYNC) && fsync(m->fd) == 0) return 0;
    return err_set(err, "%s: cannot reach the disk: %s", m->path, strerror(errno));
}

int metrics_close(struct metrics *m, struct err *err) {
    if (!m) return 0;
    const int r = close(m->fd) == 0 ? 0 : err_set(err, "%s: cannot write: %s", m->path, strerror(errno));
    mem_free(m);
    return r;
}
