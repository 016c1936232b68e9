/* asking: how a model is asked the items of one kind of task. evaluate.c gathers items, and knows no more of the kinds:
 *
 *     a->open(&self, &model, task, &settings, &err);
 *     while (there are items && a->work(self, &batch) < batch) a->ask(self, &item, &err);
 *     a->answer(self, &answers, &err);              // of all that was asked, in that order
 *     a->close(self);
 */
#ifndef MDM_EVAL_ASKING_H
#define MDM_EVAL_ASKING_H
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "eval/evaluate.h"

struct asking {
    /* What the numbers of the task depend on beside the model; NULL: no memory. */
    json_t *(*settings)(const struct lm *m, const struct task *t, const struct evaluate_settings *s);
    int (*open)(void **self, const struct lm *m, const struct task *t, const struct evaluate_settings *s,
                struct err *err);
    void (*close)(void *self); /* NULL is fine */
    /* The next item of the files; NULL: task_items_next(). */
    int (*next)(void *self, struct task_items *items, struct task_item *item, struct err *err);
    /* Asks for the item's answers; how many they will be, or -1 with err: it cannot be asked. */
    int (*ask)(void *self, const struct task_item *item, struct err *err);
    void (*unask)(void *self); /* the last item that was asked: another rank answers it */
    /* The work that is asked for, in a unit of the kind's own, and how much of it is a batch: what a kill -9 loses. Whole
     * numbers, so that an item's share is the same whatever was asked before. */
    double (*work)(const void *self, double *batch);
    /* Answers, and forgets what was asked; they are valid until the next call. 1: a stop was asked for, there are none. */
    int (*answer)(void *self, const struct results_answer **answers, struct err *err);
};
enum { ASKING_TOKENS = 1 << 17 }; /* of the forwards of a batch whose likelihoods are asked for, about */

extern const struct asking asking_loglik, asking_generation, asking_perplexity;

/* Does the begin id stand before every context? */
bool asking_begin(const struct lm *m, const struct evaluate_settings *s);

#endif
