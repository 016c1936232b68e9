/* loader: chunk folders → training blocks, in an order that is a pure function of (files, seed, position).
 *
 *     struct loader *l;
 *     loader_open(&l, sources, n, &settings, &err);
 *     loader_block(l, number, tokens, &err);        // block `number` of the endless stream, tokens[take]
 *
 * The stream is a function of the block's number, so resuming is one addition and the "position" in a checkpoint is
 * that number: O(1). Block b of the run: its source is drawn by weight (RNG_MIX, exact proportions over any 1000
 * blocks), then the k-th block of that source; within a source blocks are shuffled inside a window of `window` chunk
 * files, as the published loader does it, with a new order every epoch. A block never crosses a chunk file; the tail of a file shorter than a
 * block is not used, except in a source with less than one block, which is an error that says so. For validation the
 * window is 0: the sources one behind the other, in order, whatever weights and seed are. */
#ifndef MDM_DATA_LOADER_H
#define MDM_DATA_LOADER_H
#include <stdint.h>
#include "data/chunkset.h"

struct err;
struct loader;

struct loader_source {
    const char *path; /* folder or one file, see chunkset.h */
    double weight;    /* > 0, relative; ignored with one source and without a window */
};
struct loader_settings {
    enum split split;
    int64_t block;         /* tokens per block: 2049 = length 2048 + next-token target */
    int64_t vocab;         /* ids must be below */
    const char *tokenizer; /* digest that the sources' manifests must name; NULL: any, but all the same */
    int window;            /* chunk files per shuffle window; 0: in order, nothing is mixed (validation) */
    uint64_t seed;
    int64_t take; /* the first `take` tokens of a block are given: mdm has no use for the last target; 0: all */
};

/* Sources that hold nothing for validation are passed over there; *l is NULL when none of them does. */
int loader_open(struct loader **l, const struct loader_source *sources, int n, const struct loader_settings *s,
                struct err *err);
void loader_close(struct loader *l);
int loader_block(struct loader *l, int64_t number, int32_t *tokens /* [loader_take(l)] */, struct err *err);
int64_t loader_take(const struct loader *l);
int64_t loader_blocks(const struct loader *l); /* blocks in one pass over all sources */
double loader_epoch(const struct loader *l,
                    int64_t number); /* passes over the data (most-used source) before block number */
/* Hash of what the stream of blocks is made of: chunksets' fingerprints and shares of the mixture. A resumed run refuses
 * other data. */
uint64_t loader_fingerprint(const struct loader *l);

#endif
