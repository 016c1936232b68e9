/* scatter: a step's gradient where no rank has room for all of it. Each rank's gradient of a part is scattered to the ranks
 * that have its slices in their charge (shards.h) as soon as it is made, and added up there.
 *
 *     scatter_start(&g);
 *     for (pass = 0; pass < scatter_passes(&g); pass++) {
 *         …  scatter_part(&g, part, grad);           // each part once, on all ranks, those without a leaf too
 *         scatter_leave(&g, loss);                   // of leaf scatter_leaf(&g)
 *     }
 *     loss = scatter_loss(&g);                       // and the gradient is in g.v[0], as shards are kept
 *
 * In pass p rank r computes leaf p·ranks + r of the tree (comm/tree.h), when there is one: what arrives are neighbours, so
 * few blocks of the tree stand at once, and the sum has the bits of any other division of the leaves. */
#ifndef MDM_TRAIN_SCATTER_H
#define MDM_TRAIN_SCATTER_H
#include "comm/tree.h"
#include "comm/wire.h"
#include "train/shards.h"

struct err;

struct scatter {
    const struct shards *shards;
    int64_t leaves, pass;
    bool in_passes; /* a pass's sum is added to that of those before: not the tree's order, but one buffer */
    int buffers, count;
    float *v[TREE_DEPTH]; /* what stands of the tree: as shards are kept */
    struct tree_block stack[TREE_DEPTH];
    double *loss; /* [leaves] */
    float *room;  /* [ranks, turn]: what arrives */
    int64_t turn;
    struct wire wire;
};

/* Bytes that this takes on a rank of `ranks` that keeps `kept` elements. */
int64_t scatter_bytes(const struct params *p, int64_t kept, int64_t leaves, bool in_passes, enum dtype wire, int ranks);
/* How many exchanges scatter_part() is. */
int64_t scatter_exchanges(const struct params *p, int part, int ranks);
int scatter_open(struct scatter *g, const struct shards *s, int64_t leaves, bool in_passes, enum dtype wire,
                 struct err *err);
void scatter_close(struct scatter *g);
int64_t scatter_passes(const struct scatter *g);
int64_t scatter_leaf(const struct scatter *g); /* of this rank in this pass; there is none when it is >= leaves */
void scatter_start(struct scatter *g);
/* grad: of a whole part, laid out as in the flat buffer; lost. */
void scatter_part(struct scatter *g, int part, float *grad);
void scatter_leave(struct scatter *g, double loss);
double scatter_loss(const struct scatter *g);

#endif
