/* trainer: the pretraining loop: blocks → objective → network → gradient → AdamW, with logging, validation,
 * checkpoints, exact resume and a clean stop. The same loop serves both families; it speaks to other processes only
 * through comm/. */
#ifndef MDM_TRAIN_TRAINER_H
#define MDM_TRAIN_TRAINER_H
#include <stdbool.h>
#include "base/file.h"
#include "data/loader.h"
#include "model/config.h"
#include "train/objective.h"
#include "train/schedule.h"

struct trainer_settings {
    struct config config;
    const char *run; /* folder of checkpoints and metrics */
    enum dtype precision;
    uint64_t seed;
    int64_t batch, micro_batch; /* sequences per step; per forward (0: by memory and length) */
    int64_t length;
    double random_length;
    struct schedule schedule;
    double beta1, beta2, eps, weight_decay, clip;
    bool recompute;
    int64_t save_every, eval_every, log_every, keep;
    int64_t valid_sequences, mc; /* validation: blocks, mask draws of each */
    double machine_rate;         /* FLOP/s of a big product (linear_rate()), for MFU; 0: MFU is not known */
};
enum trainer_end { TRAINER_DONE, TRAINER_STOPPED, TRAINER_DIVERGED };
struct trainer_result {
    enum trainer_end end;
    int64_t step;
    double loss, valid_loss, seconds, tokens_per_s, mfu;
    char message[FILE_PATH_MAX + 256]; /* one line for the person: how it ended and how to go on */
};

/* Runs (or resumes) to schedule.steps; valid may be NULL. On TRAINER_DONE the final weights are in
 * RUN/model.safetensors. */
int trainer_run(const struct trainer_settings *s, struct loader *train, struct loader *valid,
                struct trainer_result *result, struct err *err);
/* Micro-batch that fills about 8192 rows. */
int64_t trainer_micro_batch(int64_t batch, int64_t length);

#endif
