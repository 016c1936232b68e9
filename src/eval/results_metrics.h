/* results_metrics: metrics of an item from its line of samples, and of a task from all of them (docs/evaluation.md). */
#ifndef MDM_EVAL_RESULTS_METRICS_H
#define MDM_EVAL_RESULTS_METRICS_H
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "eval/task.h"

struct err;

enum { RESULTS_METRICS = 3 };
extern const struct results_metric {
    unsigned bit; /* of enum task_metric */
    const char *name;
    bool higher_is_better;
} results_metrics[RESULTS_METRICS];

struct results_sums { /* of an item's values x: Σx, Σx² about the first */
    int64_t n;
    struct {
        double first, sum, squares;
    } of[RESULTS_METRICS];
    double perplexity_error;
};

/* Computes the item's metrics from "filtered_resps", "target" and "arguments", and puts them into the object. */
int results_metrics_of(json_t *sample, const struct task *t, const char *where, struct err *err);
int results_sums_read(struct results_sums *s, const struct task *t, const char *path, struct err *err);
/* The mean, or what is made of it; and its standard error (NaN for fewer than two items). */
double results_value(const struct results_sums *s, int metric);
double results_error(const struct results_sums *s, int metric);
json_t *results_sums_json(const struct results_sums *s, const struct task *t); /* NULL: no memory */
/* The harness's table. */
void results_table_head(FILE *out);
void results_table_rows(FILE *out, const struct results_sums *s, const struct task *t);

#endif
