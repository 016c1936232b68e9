/* training: what `pretrain` and `finetune` do alike around a run. */
#ifndef MDM_CMD_TRAINING_H
#define MDM_CMD_TRAINING_H
#include <stdbool.h>

#include "train/run.h"
#include "train/trainer.h"

struct tokenizer;

/* Has the run in this folder a checkpoint, so that what it once started from is needed no more? */
bool training_begun(const char *folder);
/* A resumed run's own, else the one named, else the one in `beside`, else NULL. `given`: --tokenizer, `named`, is on the
 * command line. */
int training_tokenizer(struct tokenizer **t, const struct run *r, const char *named, bool given, const char *beside,
                       struct err *err);
/* A run can be made longer, not shorter. */
int training_check_steps(const struct run *r, int64_t steps, struct err *err);
/* trainer_open() after all else was opened, with this status, on each rank; measures the machine. */
int training_open(struct trainer **t, int status, struct trainer_settings *s, const struct source *train,
                  const struct source *valid, struct err *err);
/* "mdm, 22.7 M parameters (N = 6.3 M), 100 steps of 16 WHAT, bf16, 2 threads". */
void training_tell(const struct trainer_settings *s, const char *what);
int training_write(struct run *r, const struct trainer_settings *s, const struct tokenizer *tokenizer,
                   const struct trainer *trainer, struct err *err);
/* How it ended, for the person, and the exit status. status < 0: err says why. A stop before the first step (while data
 * is read) has nothing to save; later on it counts as one only when the run was saved. */
int training_end(const char *command, int status, const struct trainer_result *result, const struct err *err);

#endif
