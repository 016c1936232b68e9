/* reserve: what a training reserves on each of its ranks, and into how many passes it cuts a step: what the trainer opens
 * with, and what `mdm plan` (scaling/plan.h) tells of ranks that are not here. */
#ifndef MDM_TRAIN_RESERVE_H
#define MDM_TRAIN_RESERVE_H
#include "model/transformer.h"
#include "train/trainer.h"

#define RESERVE_SHARE 0.92 /* of a memory may be reserved; the rest is the program's, its libraries' and the system's */

struct reserve {
    int64_t micro; /* examples of a forward pass */
    bool recompute;
    int64_t leaves; /* groups of a step's examples, each of which is added up by itself */
    /* bytes: */
    int64_t state;       /* master weights and moments; Muon's room */
    int64_t gradient;    /* and room for what arrives of other ranks */
    int64_t images;      /* weights in use, where they are not the master weights */
    int64_t activations; /* of the network; packed weights and what products copy */
    bool fits;           /* into its share of the memory that was asked for */
};

/* Rank `rank` of `ranks`; rows of the longest example. w: of s->config, data or none (weights_flat()), with the types that
 * shards have (sharded_types()). The micro-batch is the one that fits beside parameters, gradient and moments: halving it
 * costs little while products stay large, then comes recomputation, then halving to the end. */
int reserve_memory(struct reserve *out, const struct trainer_settings *s, const struct weights *w, int64_t rows,
                   int ranks, int rank, int64_t memory, struct err *err);
/* More than the whole memory is an error: under a container's limit it is given all the same, and its use ends the program
 * without a word. */
int reserve_check(const struct reserve *r, const struct trainer_settings *s, int64_t memory, struct err *err);
/* The rank that needs most: its slices may be a piece longer than another's, or its groups stand in more blocks. */
int reserve_neediest(const struct trainer_settings *s, const struct weights *w, int ranks);
/* Groups of a step of passes of `micro` examples: without --sum-groups one a rank, or one a micro-batch where gradients
 * are scattered after each. */
int64_t reserve_leaves(const struct trainer_settings *s, int64_t micro, int ranks);
int64_t reserve_bytes(const struct reserve *r); /* of all */
/* Micro-batch that fills about 8192 rows. */
int64_t reserve_micro_batch(int64_t batch, int64_t length);

#endif
