/* settings: what every training can be told, as rows of a run's table, and what the trainer makes of it. */
#ifndef MDM_TRAIN_SETTINGS_H
#define MDM_TRAIN_SETTINGS_H
#include "train/run.h"
#include "train/trainer.h"

struct training {
    int precision; /* 0 bf16, 1 f32 */
    int shard;     /* enum shard */
    int wire;      /* 0 f32, 1 bf16 */
    double lr, min_lr /* NaN: a tenth of lr */, beta1, beta2, eps, weight_decay, clip;
    int64_t batch, micro_batch, sum_groups, warmup, seed, threads, save_every, eval_every, keep, mc, valid_sequences;
    bool recompute, stratified, complementary;
    double bell, flatten, decay; /* objective.h, schedule.h */
    int optimizer;               /* 0 AdamW, 1 Muon */
    int recipe;                  /* 0 the published one, 1 fast */
    double momentum;             /* of Muon */
};
#define TRAINING_BATCH 1000000                     /* the most sequences of a step */
#define TRAINING_SEED INT64_C(9000000000000000000) /* the largest seed */
#define RECIPE_FAST_LR 4e-3                        /* peak learning rate of the fast recipe */
extern const char *const recipe_names[];           /* ends with NULL */
const char *recipe_list(void);                     /* with '|' between: for option tables */
extern const struct training training_defaults;

enum { TRAINING_SETTINGS = 30 };
/* The rows, pointing into a. Returns TRAINING_SETTINGS. */
int training_table(struct setting out[TRAINING_SETTINGS], struct training *a);
/* What --recipe says of other settings, as if the command line had said it; before run_open(). */
int training_recipe(struct opt_given *given, const struct training *a, struct err *err);
/* Trainer's settings of a training of `steps` steps; what they do not say (config, run, length …) is left at 0. */
struct trainer_settings training_settings(const struct training *a, int64_t steps);

/* How often a step has each of its sequences. */
int64_t training_views(const struct training *a);
/* The rules between them. */
int training_check(const struct training *a, const struct trainer_settings *s, struct err *err);

#endif
