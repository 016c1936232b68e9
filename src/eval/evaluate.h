/* evaluate: asks a model a task's requests in batches and keeps its answers.
 *
 *     evaluate_task(&lm, task, &settings, results, &summary, &err);
 *
 * Tasks of choices and last words. A stop is seen between batches; what was answered is kept, and the same call goes on
 * behind it. */
#ifndef MDM_EVAL_EVALUATE_H
#define MDM_EVAL_EVALUATE_H
#include <stdbool.h>
#include <stdint.h>

#include "eval/results.h"
#include "eval/task.h"

struct lm;

enum evaluate_begin { BEGIN_AUTO, BEGIN_YES, BEGIN_NO };
struct evaluate_settings {
    const char *data; /* DIR with DIR/TASK */
    int likelihood;   /* enum likelihood_method; -1: as published for the task */
    double cfg;       /* NaN: as published */
    int64_t mc;       /* draws; 0: as published */
    int begin;        /* enum evaluate_begin */
    int64_t limit;    /* items of a task; 0: all */
    int64_t seed;
    bool keep_going;
};
struct evaluate_summary {
    int64_t items, skipped; /* items that are there now; rows that were left out */
    bool stopped;
};
bool evaluate_can(const struct task *t);
int evaluate_task(const struct lm *m, const struct task *t, const struct evaluate_settings *s, struct results *r,
                  struct evaluate_summary *summary, struct err *err);

#endif
