/* pace: how fast this machine trains a model, by training it for a moment on random ids; how fast it reads and writes
 * memory, makes matrices orthogonal for Muon, and what the network between ranks does. */
#ifndef MDM_TRAIN_PACE_H
#define MDM_TRAIN_PACE_H
#include "compute/kernels.h"
#include "model/config.h"

struct pace {
    double tokens_per_s; /* of all passes: what an mdm computes of one hangs on its masks */
    double flops_per_s;  /* of the best pass, products that run: transformer_train_flops() */
    int64_t sequences;   /* of a pass */
};

/* Forward and backward passes over sequences of `length`, in a micro-batch of the size that a training would take for a
 * step of `batch`. The optimizer's share and validation are left out. -1 with err. */
int pace_of_training(struct pace *pace, const struct config *c, enum dtype precision, int64_t length, int64_t batch,
                     struct err *err);
/* The same of a model that would take too long or too much memory: of one with its shapes, two of its layers, and as many
 * of the `sequences` of a micro-batch as make products large: more of them add time only. Tokens per second are that small
 * one's. */
int pace_of_shape(struct pace *pace, const struct config *c, enum dtype precision, int64_t length, int64_t sequences,
                  struct err *err);
/* FLOP/s of Muon's products (muon_flops()) over the matrices of a layer of c. -1 with err. */
double pace_of_muon(const struct config *c, struct err *err);
/* Bytes per second of the optimizer's step, which reads four floats of a parameter and writes three. -1 with err. */
double pace_of_memory(struct err *err);
/* By all ranks, two or more: seconds of an exchange of a few bytes, and bytes per second that a rank sends, and receives, in
 * exchanges of many. -1, on all of them, with err. */
int pace_of_network(double *word, double *bytes_per_s, struct err *err);
/* By all ranks, two or more: the share of computing, passes as pace_of_shape() has them, that is lost while something is on
 * its way behind it. bytes_per_s: of pace_of_network(), the same on all ranks. -1, on all of them, with err. */
int pace_of_overlap(double *share, const struct config *c, enum dtype precision, int64_t length, int64_t sequences,
                    double bytes_per_s, struct err *err);

#endif
