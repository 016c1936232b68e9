/* pace: how fast this machine trains a model, by training it for a moment on random ids. */
#ifndef MDM_TRAIN_PACE_H
#define MDM_TRAIN_PACE_H
#include "compute/kernels.h"
#include "model/config.h"

/* Tokens per second of forward and backward passes over sequences of `length`, in a micro-batch of the size that a
 * training would take for a step of `batch`. The optimizer's share and validation are left out. -1 with err. */
double pace_of_training(const struct config *c, enum dtype precision, int64_t length, int64_t batch, struct err *err);

#endif
