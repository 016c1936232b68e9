/* objective: turns blocks of tokens into what the network trains on: inputs, wanted rows, targets and weights (SPEC
 * §3). One of the two seams between MDM and ARM.
 *
 * MDM: t ~ U(0,1) per sequence; p = (1 − 1e-3)·t + 1e-3; a token is masked with probability p and weighs 1/p.
 * ARM: every position predicts the next token with weight 1.
 * Both: weights are divided by the sequence's length and by the number of sequences of the whole step, so that any
 * split into micro-batches or ranks has the same gradient. Random length (ours: per sequence, since batches are ragged;
 * the published code cuts a whole micro-batch: same expectation).
 *
 * All draws are functions of (seed, number of the sequence in the run). */
#ifndef MDM_TRAIN_OBJECTIVE_H
#define MDM_TRAIN_OBJECTIVE_H
#include "base/rng.h"
#include "model/transformer.h"

#define OBJECTIVE_EPS 1e-3 /* smallest mask probability */

struct objective {
    enum family family;
    int32_t mask_id;
    uint64_t seed;
    int64_t length;              /* tokens of a full sequence */
    double random_length;        /* probability of a cut to U{1 … length} */
    int64_t step_sequences;      /* sequences that share one optimizer step: the mean's denominator */
    enum rng_purpose time, mask; /* RNG_TIME, RNG_MASK, or the validation pair */
};

struct prepared { /* a micro-batch under construction; arrays hold max_sequences · length */
    struct batch batch;
    int32_t *tokens, *targets;
    int64_t *starts, *wanted;
    float *weight;
    int64_t max_rows;
};

int prepared_open(struct prepared *p, int64_t max_sequences, int64_t length, struct err *err);
void prepared_close(struct prepared *p);
void prepared_clear(struct prepared *p);
/* Append sequence `number` of the run: block[length + 1]. */
void objective_add(const struct objective *o, struct prepared *p, const int32_t *block, uint64_t number);
/* Length that sequence `number` gets. */
int64_t objective_length(const struct objective *o, uint64_t number);
/* Mean length under random_length (SPEC §3's budget formula). */
double objective_mean_length(int64_t length, double random_length);

#endif
