/* points: one table, comma-separated without quotes. */
#include "scaling/points.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"

enum { FAMILY, FLOPS, PARAMS, LOSS, NEEDED, ERROR = NEEDED, COLUMNS, FIELDS = 64 };
static const char *const column_names[COLUMNS] = {"family", "flops", "params", "loss", "loss_error"};

struct points_file {
    const char *path;
    int64_t line;
    int columns;
    int at[COLUMNS]; /* which field a column is; -1: none */
};

/* Cuts a line up at its commas; spaces around a field go. */
static int split(char *line, char *fields[FIELDS]) {
    int n = 0;
    for (char *s = line; s && n < FIELDS; n++) {
        char *comma = strchr(s, ',');
        if (comma) *comma = 0;
        s += strspn(s, " \t");
        size_t length = strlen(s);
        while (length > 0 && strchr(" \t\r", s[length - 1])) s[--length] = 0;
        fields[n] = s;
        s = comma ? comma + 1 : NULL;
    }
    return n;
}

static int read_header(struct points_file *t, char *line, struct err *err) {
    char *fields[FIELDS];
    t->columns = split(line, fields);
    for (int c = 0; c < COLUMNS; c++) {
        t->at[c] = -1;
        for (int i = 0; i < t->columns; i++) {
            if (strcmp(fields[i], column_names[c]) != 0) continue;
            if (t->at[c] >= 0)
                return err_set(err, "%s line %lld: two columns \"%s\": expected one", t->path, (long long)t->line,
                               column_names[c]);
            t->at[c] = i;
        }
        if (t->at[c] < 0 && c < NEEDED)
            return err_set(err, "%s line %lld: no column \"%s\": expected family,flops,params,loss with commas between",
                           t->path, (long long)t->line, column_names[c]);
    }
    return 0;
}

static int read_number(const struct points_file *t, double *out, int column, const char *field, struct err *err) {
    char *end;
    const bool nought = column == ERROR;
    *out = strtod(field, &end);
    if (end != field && *end == 0 && !strpbrk(field, "xX") && isfinite(*out) && (nought ? *out >= 0 : *out > 0))
        return 0;
    return err_set(err, "%s line %lld: \"%s\" must be a number %s, found '%.40s'", t->path, (long long)t->line,
                   column_names[column], nought ? "of at least 0, or nan or empty" : "above 0", field);
}

/* One validated sequence has no standard error: 'mdm scale run' writes nan. */
static int read_error(const struct points_file *t, double *out, char *const *fields, struct err *err) {
    const char *field = t->at[ERROR] < 0 ? "" : fields[t->at[ERROR]];
    *out = 0;
    if (!*field || !strcmp(field + (*field == '-'), "nan")) return 0;
    return read_number(t, out, ERROR, field, err);
}

static int read_family(const struct points_file *t, struct scale_points *p, const char *name, struct err *err) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    for (int i = 0; i < p->families; i++)
        if (!strcmp(p->names[i], name)) return i;
    if (!*name || strlen(name) >= SCALE_NAME || name[strspn(name, allowed)])
        return err_set(err,
                       "%s line %lld: \"family\" must be a name of 1 to %d letters, digits, '_', '-' or '.', found "
                       "'%.40s'",
                       t->path, (long long)t->line, SCALE_NAME - 1, name);
    if (p->families == SCALE_FAMILIES)
        return err_set(err, "%s line %lld: more than %d families", t->path, (long long)t->line, SCALE_FAMILIES);
    memcpy(p->names[p->families], name, strlen(name) + 1);
    return p->families++;
}

static int read_point(const struct points_file *t, struct scale_points *p, char *line, struct err *err) {
    char *fields[FIELDS];
    const int n = split(line, fields);
    if (n > t->columns)
        return err_set(err, "%s line %lld: %d fields, the header has %d: is a comma in a number? Decimals have a point",
                       t->path, (long long)t->line, n, t->columns);
    for (int c = 0; c < COLUMNS; c++)
        if (t->at[c] >= n)
            return err_set(err, "%s line %lld: %d fields, no \"%s\"", t->path, (long long)t->line, n, column_names[c]);
    struct scale_point point = {.line = t->line};
    point.family = read_family(t, p, fields[t->at[FAMILY]], err);
    if (point.family < 0 || read_number(t, &point.flops, FLOPS, fields[t->at[FLOPS]], err) < 0 ||
        read_number(t, &point.params, PARAMS, fields[t->at[PARAMS]], err) < 0 ||
        read_number(t, &point.loss, LOSS, fields[t->at[LOSS]], err) < 0 ||
        read_error(t, &point.error, fields, err) < 0 ||
        mem_grow(&p->v, &p->capacity, p->n + 1, sizeof *p->v, "points", err) < 0)
        return -1;
    point.budget = point.flops;
    p->v[p->n++] = point;
    return 0;
}

static int compare(const void *a, const void *b) {
    const struct scale_point *x = a, *y = b;
    if (x->family != y->family) return x->family < y->family ? -1 : 1;
    if (x->budget != y->budget) return x->budget < y->budget ? -1 : 1;
    if (x->params != y->params) return x->params < y->params ? -1 : 1;
    return x->line < y->line ? -1 : 1;
}

/* Sorts the points, and makes one budget of those that differ by little. */
static void group_budgets(struct scale_points *p) {
    qsort(p->v, (size_t)p->n, sizeof *p->v, compare);
    for (int64_t i = 0, end; i < p->n; i = end) {
        const struct scale_point least = p->v[i];
        double above = 0; /* so that the mean of equal budgets is the budget itself */
        for (end = i;
             end < p->n && p->v[end].family == least.family && p->v[end].flops <= SCALE_SAME_BUDGET * least.flops;
             end++)
            above += p->v[end].flops - least.flops;
        for (int64_t k = i; k < end; k++) p->v[k].budget = least.flops + above / (double)(end - i);
    }
    qsort(p->v, (size_t)p->n, sizeof *p->v, compare);
}

int scale_points_read(struct scale_points *p, const char *path, struct err *err) {
    char in_folder[FILE_PATH_MAX], *text;
    size_t size;
    *p = (struct scale_points){0};
    if (file_is_dir(path)) {
        if (file_join(in_folder, path, "points.csv", err) < 0) return -1;
        if (!file_exists(in_folder))
            return err_set(err, "%s is not there: 'mdm scale run --out %s' makes it", in_folder, path);
        path = in_folder;
    }
    if (file_read(&text, &size, path, (size_t)64 << 20, err) < 0) return -1;
    struct points_file t = {.path = path};
    bool header = false;
    int r = strlen(text) == size ? 0 : err_set(err, "%s: not a text file: it has zero bytes", path);
    char *start = text + (size >= 3 && !memcmp(text, "\xef\xbb\xbf", 3) ? 3 : 0); /* spreadsheets write such a mark */
    for (char *line = start, *next; r == 0 && line; line = next) {
        next = strchr(line, '\n');
        if (next) *next++ = 0;
        t.line++;
        if (line[strspn(line, " \t\r")] == 0 || *line == '#') continue;
        r = header ? read_point(&t, p, line, err) : read_header(&t, line, err);
        header = true;
    }
    mem_free(text);
    if (r == 0 && p->n == 0) r = err_set(err, "%s: no points: expected lines of family,flops,params,loss", path);
    if (r < 0)
        scale_points_free(p);
    else
        group_budgets(p);
    return r;
}

void scale_points_free(struct scale_points *p) {
    mem_free(p->v);
    *p = (struct scale_points){0};
}
