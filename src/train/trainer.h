/* trainer: the loop: examples → objective → network → gradient → optimizer, with logging, validation, checkpoints, exact
 * resume and a clean stop. The same loop serves both families and every source of examples; it speaks to other
 * processes only through comm/.
 *
 *     struct trainer *t;
 *     trainer_open(&t, &settings, &train, &valid, &err);    // memory, and the newest checkpoint when there is one
 *     trainer_run(t, &result, &err);                        // to the last step, a stop, or divergence
 *     trainer_close(t);
 *
 * Opening changes no file, so all that can be wrong is found before a caller writes. */
#ifndef MDM_TRAIN_TRAINER_H
#define MDM_TRAIN_TRAINER_H
#include <stdbool.h>
#include "base/file.h"
#include "data/source.h"
#include "model/config.h"
#include "train/objective.h"
#include "train/schedule.h"
#include "train/shards.h"

struct trainer;

struct trainer_settings {
    struct config config;
    const char *run; /* folder of checkpoints and metrics */
    enum dtype precision;
    uint64_t seed;
    const struct weights *init; /* what a fresh run starts from; NULL: random weights */
    int64_t batch;       /* examples per step: a whole number of the source's groups, or trainer_open() refuses */
    int64_t micro_batch; /* examples per forward; 0: by memory and length */
    int64_t sum_groups;  /* groups whose gradients are added in the same order by any number of ranks; 0: one a rank,
                            with SHARD_FULL one a micro-batch */
    enum shard shard;    /* what is divided among the ranks; with sum_groups the numbers are the same */
    enum dtype wire;     /* the type of gradients on their way (comm/wire.h) */
    int64_t memory;      /* bytes to plan with; 0: what this process may use of the machine */
    double random_length, drop; /* see objective.h */
    bool stratified, complementary;
    double bell, flatten;
    struct schedule schedule;
    double beta1, beta2, eps, weight_decay, clip;
    bool muon; /* for the layers' matrices: muon.h */
    double momentum;
    bool recompute;
    int64_t save_every, eval_every, keep;
    int64_t valid_examples, mc; /* validation: examples, mask draws of each; 0: see validation_size() */
    double machine_rate;        /* FLOP/s of a big product (linear_rate), for MFU; 0: MFU is not known */
};
enum trainer_end { TRAINER_UNBEGUN, TRAINER_DONE, TRAINER_STOPPED, TRAINER_DIVERGED };
struct trainer_result {
    enum trainer_end end;
    int64_t step;
    double loss, valid_loss, valid_error, seconds, tokens_per_s, mfu;
    char message[FILE_PATH_MAX + 256]; /* one line for the person: how it ended and how to go on */
};

/* valid may be NULL. Settings and sources are borrowed and must outlive the trainer. */
int trainer_open(struct trainer **out, const struct trainer_settings *s, const struct source *train,
                 const struct source *valid, struct err *err);
/* Do so many ranks, sum_groups, batch and micro_batch go together? One line in err when not. */
int trainer_check_groups(const struct trainer_settings *s, int ranks, struct err *err);
void trainer_close(struct trainer *t);         /* NULL is fine */
int64_t trainer_step(const struct trainer *t); /* optimizer steps done so far, in all starts of the run */
/* What was chosen for the memory there is: for tests. */
int64_t trainer_micro(const struct trainer *t);
bool trainer_recomputes(const struct trainer *t);
/* On TRAINER_DONE the final weights are in the folder's RUN_MODEL, in place of any that was there. */
int trainer_run(struct trainer *t, struct trainer_result *result, struct err *err);

#endif
