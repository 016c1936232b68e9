/* results_table: the table that lm-evaluation-harness prints. */
#ifndef MDM_EVAL_RESULTS_TABLE_H
#define MDM_EVAL_RESULTS_TABLE_H
#include <stdint.h>
#include <stdio.h>

#include "eval/results_metrics.h"

struct err;

struct results_row;    /* a metric */
struct results_table { /* zero-initialise */
    struct results_row *v;
    int64_t n, capacity;
};

/* Rows of a task, and of its groups under it. */
int results_table_add(struct results_table *table, const struct results_groups *g, const struct task *t,
                      struct err *err);
void results_table_print(const struct results_table *table, FILE *out);
void results_table_free(struct results_table *table);

#endif
