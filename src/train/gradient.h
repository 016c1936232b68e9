/* gradient: a step's gradient, added up over groups of examples ("leaves" of comm/tree.h) and over ranks.
 *
 *     gradient_start(&g);
 *     for (leaf = gradient_first(&g, 0); leaf < gradient_first(&g, 1); leaf++) {
 *         float *grad = gradient_enter(&g);          // zeros, to be added to
 *         …
 *         gradient_leave(&g, leaf, loss);
 *     }
 *     gradient_sum(&g, &loss);                       // g.v[0]: each rank the slices in its charge (shards.h)
 *     gradient_gather(&g);                           // g.v[0], on all ranks
 *
 * With as many leaves whatever the ranks, the sum has the same bits. */
#ifndef MDM_TRAIN_GRADIENT_H
#define MDM_TRAIN_GRADIENT_H
#include "comm/tree.h"
#include "comm/wire.h"
#include "train/shards.h"

struct err;

struct gradient {
    const struct shards *shards;
    int64_t n, leaves;
    int buffers;
    float *v[TREE_DEPTH]; /* [n] each: what stands of the tree */
    double loss[TREE_DEPTH];
    struct tree_block stack[TREE_DEPTH];
    int count; /* blocks that stand */
    float *room;
    struct wire wire;
};

/* Bytes that a gradient of n numbers takes on a rank of `ranks`. */
int64_t gradient_bytes(int64_t n, int64_t leaves, enum dtype wire, int ranks, int rank);
/* wire: what travels. */
int gradient_open(struct gradient *g, const struct shards *s, int64_t leaves, enum dtype wire, struct err *err);
void gradient_close(struct gradient *g);
/* First leaf of this rank; with 1: of the next one. */
int64_t gradient_first(const struct gradient *g, int next);
void gradient_start(struct gradient *g);
float *gradient_enter(struct gradient *g);
void gradient_leave(struct gradient *g, int64_t leaf, double loss);
void gradient_sum(struct gradient *g, double *loss);
void gradient_gather(struct gradient *g);
/* How many exchanges that is, of a part. */
int64_t gradient_exchanges(const struct params *p, int part, int64_t leaves, enum dtype wire, int ranks);

#endif
