/* validation: the loss over held-out examples, and its standard error.
 *
 * Every draw of every example has a loss by itself, all are summed in one order: the same bits for any number of ranks and
 * any micro-batch. A stop leaves those that there are in RUN/validation.part, and the next start makes up for the rest, so
 * that one that is longer than the time between stops comes to an end. */
#ifndef MDM_TRAIN_VALIDATION_H
#define MDM_TRAIN_VALIDATION_H
#include "base/file.h"
#include "comm/comm.h"
#include "train/objective.h"
#include "train/trainer.h"

struct sharded;
struct transformer;

struct validation_size {
    int64_t examples, draws; /* of each */
};
/* What a validation reads; where the settings leave it open, as much as takes about a twentieth of the time of the steps:
 * examples, spread evenly over the source, come first, then up to 128 draws of each (mdm). At least 64 passes, at most 4096. */
struct validation_size validation_size(const struct trainer_settings *s, const struct source *source);

/* What it works with. Borrowed. */
struct validation_means {
    struct transformer *model;
    struct prepared *prepared; /* room for a micro-batch; what was in it is gone afterwards */
    struct sharded *sharded;
    bool together; /* all ranks go through every pass: each holds a part of the weights only */
    int64_t micro; /* examples of a pass */
    int64_t rows;  /* most of a pass */
};

struct validation {
    struct validation_size size;
    struct validation_means with;
    const struct source *source;
    struct objective objective;
    char path[FILE_PATH_MAX];
    struct validation_part *part;
    double *losses; /* behind it: of each draw; NaN: not there yet */
    float *row_losses;
};

/* training: what the run trains on. Validation is the bound of the likelihood whatever that is, without random lengths and
 * drops. */
int validation_open(struct validation *v, const struct trainer_settings *s, const struct objective *training,
                    const struct source *source, const struct validation_means *with, struct err *err);
void validation_close(struct validation *v); /* of zeros: nothing */
/* By all ranks, of the weights after `step`, whose smoothed loss tells them from others of that step. COMM_STOP: loss and
 * error are NaN; so is the error of a single group of examples. */
enum comm_word validation_run(struct validation *v, int64_t step, double smoothed, double *loss, double *error,
                              struct err *err);

#endif
