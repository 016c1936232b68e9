/* results_metrics: metrics of an item from its line of samples, and of a task from all of them (docs/evaluation.md). */
#ifndef MDM_EVAL_RESULTS_METRICS_H
#define MDM_EVAL_RESULTS_METRICS_H
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "eval/task.h"

struct err;

enum { RESULTS_METRICS = 6, RESULTS_GROUP = 128 };
extern const struct results_metric {
    unsigned bit; /* of enum task_metric */
    const char *name;
    bool higher_is_better;
} results_metrics[RESULTS_METRICS];

struct results_item {          /* what an item adds to its group */
    double x[RESULTS_METRICS]; /* perplexities: log-likelihoods */
    double weight;             /* tokens of a chunk; else 1 */
    double noise;              /* variance of the chunk's log-likelihood by its masks; NaN: it was asked once */
};
struct results_group {        /* items with metrics of their own */
    char name[RESULTS_GROUP]; /* "": the whole task */
    struct results_item *v;
    int64_t n, capacity;
    double perplexity_error; /* of last words */
};
struct results_groups {         /* zero-initialise */
    struct results_group whole; /* all items, group by group */
    struct results_group *v;    /* none: the task has no groups */
    int64_t n, capacity;
};

/* Computes the item's metrics from "filtered_resps", "target", "arguments" and, of chats, "seconds_of_turns", and puts
 * them into the object. */
int results_metrics_of(json_t *sample, const struct task *t, const char *where, struct err *err);
int results_groups_read(struct results_groups *g, const struct task *t, const char *path, struct err *err);
void results_groups_free(struct results_groups *g);
/* The mean, or what is made of it; and its standard error (NaN for fewer than two items). */
double results_value(const struct results_group *g, int metric);
double results_error(const struct results_group *g, const struct task *t, int metric);
/* Has the group the metric? */
bool results_told(const struct results_group *g, const struct task *t, int metric);
json_t *results_group_json(const struct results_group *g, const struct task *t); /* NULL: no memory */

#endif
