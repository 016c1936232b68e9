/* evaluate: asks a model a task's requests in batches and keeps its answers.
 *
 *     evaluate_task(&lm, task, &settings, results, &summary, &err);
 *
 * How a kind of task is asked is eval/asking.h's. A stop is seen between batches, or while texts are written; what was
 * answered is kept, and the same call goes on behind it. Of several ranks each answers its share of every batch, and rank 0
 * keeps all answers, in the order of the items. */
#ifndef MDM_EVAL_EVALUATE_H
#define MDM_EVAL_EVALUATE_H
#include <stdbool.h>
#include <stdint.h>

#include "eval/results.h"
#include "eval/task.h"

struct chat_template;
struct lm;
struct sampler;

enum evaluate_begin { BEGIN_AUTO, BEGIN_YES, BEGIN_NO };
struct evaluate_settings {
    const char *data; /* DIR with DIR/TASK */
    int likelihood;   /* enum likelihood_method; -1: as published for the task */
    double cfg;       /* NaN: as published */
    int64_t mc;       /* draws; 0: as published */
    int begin;        /* enum evaluate_begin */
    int64_t limit;    /* items of a task, or of each of its groups, of perplexity chunks; 0: all */
    int64_t seed;
    bool keep_going;
    /* Texts to be written. */
    const struct sampler *sampler; /* mdm; NULL: as published */
    int64_t steps, length;         /* 0: as published, the length at most the model's longest */
    int64_t batch;                 /* texts written together; 0: as many as are of use, of mtbench one */
    double temperature;            /* NaN: as published */
    /* mtbench */
    const struct chat_template *template;
    const char *system;   /* NULL: the template's */
    const char *model_id; /* of the answers */
    int turns;            /* to be answered: 1 or 2 */
    /* perplexity; its chunks are `length` long, 0: the model's longest */
    struct task_documents documents;
};
enum { EVALUATE_BATCH = 64 }; /* items that a rank answers together, at most */
struct evaluate_summary {
    int64_t skipped; /* rows and items that were left out */
    bool stopped;
    bool nothing; /* evaluate_task() failed because there is no item, or all were left out, and is to keep going */
};
/* Are the files of all these tasks there, and whole, and do the settings suit them? Known before the first is asked. */
int evaluate_check(const struct lm *m, const struct task *const *list, int n, const struct evaluate_settings *s,
                   struct err *err);
int evaluate_task(const struct lm *m, const struct task *t, const struct evaluate_settings *s, struct results *r,
                  struct evaluate_summary *summary, struct err *err);

#endif
