/* finetune: what can be learned from which kind of file, with the published settings, as a table (docs/finetuning.md).
 *
 *     const struct finetune_task *task = finetune_find("gsm8k", &err);
 *     finetune_group(task, params_body(&config));        // 16
 */
#ifndef MDM_TRAIN_FINETUNE_H
#define MDM_TRAIN_FINETUNE_H
#include <stdbool.h>
#include <stdint.h>

#include "data/tuning.h"

struct err;

struct finetune_task {
    const char *name;
    enum tuning_form form;
    int64_t batch;
    double epochs;
    int64_t warmup; /* steps; 0: a hundredth of the run */
    int64_t length; /* the longest example, in ids; 0: the model's block */
    bool whole;     /* a record that has a longer one is left out altogether */
    bool fill;      /* mdm: all examples are as long */
    bool by_size;   /* groups of 16, 8 or 4 by the model's size; else of 16 */
    bool chat;      /* has a template */
};
extern const struct finetune_task finetune_tasks[]; /* ends with a NULL name */
const char *finetune_names(void);                   /* with '|' between: for option tables */

/* The task of that name, or NULL with err, which lists them. */
const struct finetune_task *finetune_find(const char *name, struct err *err);
/* Examples of a denominator group for a model with this many parameters beside embedding and head. */
int64_t finetune_group(const struct finetune_task *t, int64_t body);
/* The task's warm-up, but at most half of the run. */
int64_t finetune_warmup(const struct finetune_task *t, int64_t steps);

#endif
