/* shards: what each rank of a run has in its charge of the buffers that are as large as the model.
 *
 * Every part of the model (params.h) is cut into a slice for each rank. A rank adds up the gradients of its slices, takes
 * the norm there, and writes them to checkpoints. What it *keeps* of weights and moments are these slices behind one
 * another, or, where nothing is sharded, all of the flat buffer; AdamW steps what is kept (Muon: muon.h).
 *
 * Slices begin at multiples of SHARDS_PIECE in their part, and sums over pieces are the same whoever makes them. */
#ifndef MDM_TRAIN_SHARDS_H
#define MDM_TRAIN_SHARDS_H
#include <stdbool.h>
#include <stdint.h>

#include "model/params.h"

/* What is sharded: nothing; moments and master weights; and weights in use and gradients too. */
enum shard { SHARD_NONE, SHARD_OPTIMIZER, SHARD_FULL };
enum { SHARDS_PIECE = 1024 };

struct shards {
    const struct params *params; /* borrowed */
    bool whole;                  /* this rank keeps all elements */
    int parts, ranks, me;
    int64_t *first; /* [parts][ranks + 1]: where slices begin in the flat buffer, gaps between parameters included */
    int64_t *at;    /* [parts]: where those of this rank stand in what it keeps */
    int64_t kept;   /* elements that this rank keeps */
    double *sums;   /* of squares: [pieces of all ranks], in the order of ranks */
};

int shards_open(struct shards *s, const struct params *p, enum shard shard, struct err *err);
void shards_close(struct shards *s);
/* Of a part: [ranks + 1]. */
const int64_t *shards_slices(const struct shards *s, int part);
/* How many elements a rank of `ranks` keeps; how many its longest slice of a part has. */
int64_t shards_measure(const struct params *p, enum shard shard, int ranks, int rank);
int64_t shards_longest(const struct params *p, int part, int ranks);

/* What this rank keeps, in ranges that follow one another in the flat buffer and in what is kept. */
struct shard_range {
    int64_t first, n, at; /* in the flat buffer, length, in what is kept */
};
int shards_ranges(const struct shards *s);
struct shard_range shards_range(const struct shards *s, int i);

/* What a rank of `ranks` has in its charge of elements [first, end) of a part; at: in its slice of the part. */
struct shard_range shards_cut(const struct params *p, int part, int ranks, int rank, int64_t first, int64_t end);

/* Norm of a gradient of which each rank has its slices: element f of the flat buffer at v[f], or, when `kept`, where it
 * stands in what a rank of a sharded run keeps. With all ranks; the same bits for any number of them. */
double shards_norm(struct shards *s, const float *v, bool kept);

#endif
