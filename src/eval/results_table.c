/* results_table: rows are kept until all are there, since a column is as wide as what is longest in it. */
#include "eval/results_table.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "eval/pystring.h"

struct results_row {
    char name[RESULTS_GROUP + 4]; /* "": the metric is one more of the row above */
    const char *version;
    const struct results_metric *metric;
    double value, error; /* error: NaN where there is none */
};

static int add_rows(struct results_table *table, const struct results_group *g, const struct task *t, struct err *err) {
    bool first = true;
    for (int m = 0; m < RESULTS_METRICS; m++) {
        if (!results_told(g, t, m)) continue;
        if (mem_grow(&table->v, &table->capacity, table->n + 1, sizeof *table->v, "rows of a table", err) < 0)
            return -1;
        struct results_row *row = &table->v[table->n++];
        *row = (struct results_row){.version = first ? t->version : "",
                                    .metric = &results_metrics[m],
                                    .value = results_value(g, m),
                                    .error = results_error(g, t, m)};
        if (first) snprintf(row->name, sizeof row->name, *g->name ? " - %s" : "%s", *g->name ? g->name : t->name);
        first = false;
    }
    return 0;
}

int results_table_add(struct results_table *table, const struct results_groups *g, const struct task *t,
                      struct err *err) {
    int status = add_rows(table, &g->whole, t, err);
    for (int64_t i = 0; i < g->n && status == 0; i++) status = add_rows(table, &g->v[i], t, err);
    return status;
}

static int wider(int a, int b) {
    return a > b ? a : b;
}

static int characters(const char *s) {
    return (int)py_length(s, (int64_t)strlen(s));
}

static void centred(FILE *out, const char *text, int width) {
    const int n = width - (int)strlen(text), left = n / 2;
    fprintf(out, "|%*s%s%*s", left, "", text, n - left, "");
}

static void ruled(FILE *out, int width) {
    fputc('|', out);
    while (width-- > 1) fputc('-', out);
    fputc(':', out);
}

void results_table_print(const struct results_table *table, FILE *out) {
    int name = 16, value = 9, error = 7;
    for (int i = 0; i < table->n; i++) {
        const struct results_row *row = &table->v[i];
        name = wider(name, characters(row->name));
        value = wider(value, snprintf(NULL, 0, "%.4f", row->value));
        error = wider(error, isfinite(row->error) ? snprintf(NULL, 0, "%.4f", row->error) : 0);
    }
    centred(out, "Tasks", name);
    fputs("|Version|Filter|n-shot|  Metric  |   ", out);
    centred(out, "Value", value);
    fputs("|   ", out);
    centred(out, "Stderr", error);
    fputs("|\n|", out);
    for (int i = 0; i < name; i++) fputc('-', out);
    fputs("|------:|------|-----:|----------|---", out);
    ruled(out, value);
    fputs("|---", out);
    ruled(out, error);
    fputs("|\n", out);
    for (int k = 0; k < table->n; k++) {
        const struct results_row *row = &table->v[k];
        fprintf(out, "|%s%*s|%7s|%-6s|%6s|%-10s|%-3s|%*.4f|%-3s|", row->name, name - characters(row->name), "",
                row->version, "none", "0", row->metric->name, row->metric->higher_is_better ? "↑  " : "↓  ", value,
                row->value, "±  ");
        if (isfinite(row->error))
            fprintf(out, "%*.4f|\n", error, row->error);
        else
            fprintf(out, "%*s|\n", error, "N/A");
    }
}

void results_table_free(struct results_table *table) {
    mem_free(table->v);
    *table = (struct results_table){0};
}
