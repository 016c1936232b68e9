/* sharded: the weights that the network reads where no rank keeps them all (shards.h).
 *
 * An image of a part is gathered from all ranks' slices: matrices in the type that products multiply, so that bf16 takes
 * half the way, vectors and the embedding in f32. SHARD_OPTIMIZER: each rank has images of all parts, made again after
 * each step. SHARD_FULL: images of a few, gathered while the part before is computed, and gradients scattered (scatter.h)
 * while the part behind is; sharded_residency() is what the network asks.
 *
 *     sharded_types(&weights, …)
 *     sharded_open(&s, …)                              // then transformer_open()
 *     sharded_refresh(&s);                             // after weights changed
 *     sharded_start(&s, true); transformer_train(…); sharded_finish(&s);
 *
 * Between start and finish all ranks go through the same parts in the same order, all of them: a rank whose network left
 * out some, because it had nothing to compute, makes up for it in sharded_finish(). */
#ifndef MDM_TRAIN_SHARDED_H
#define MDM_TRAIN_SHARDED_H
#include "model/residency.h"
#include "comm/behind.h"
#include "train/scatter.h"

struct err;

enum { SHARDED_PLACES = 3 }; /* most places of parts, and of gradients, with SHARD_FULL */

struct sharded_image {
    int part, held;     /* -1: none; how often it was entered */
    int64_t used;       /* when last; */
    int64_t ticket;     /* of the job that gathers it (comm/behind.h) */
    void *matrices;     /* [floats of the part] of its type */
    float *vectors;     /* of the part, without gaps, where matrices are narrow */
    struct weight *row; /* [rows of the part] */
};
struct sharded_visit {
    int part, uses; /* residency.h */
};
struct sharded {
    const struct shards *shards;
    struct weights *weights; /* views into images of all parts, or of none */
    struct scatter *scatter;
    const float *kept; /* this rank's slices of the master weights */
    enum dtype t;
    bool full, tied, live;
    int images;
    struct sharded_image *image;
    struct {
        int part;       /* -1: none; */
        int64_t ticket; /* of the job that scatters what it last was */
        float *data;
    } gradient[SHARDED_PLACES];
    struct behind *behind;
    int64_t clock;
    struct sharded_visit *visit; /* what is entered: of a training pass, then of another */
    int training_visits, visits, next, end;
    struct residency residency;
};

/* Marks the types that the weights will have, before anything is measured. */
void sharded_types(struct weights *w, enum dtype t);
int64_t sharded_bytes(const struct weights *w, enum shard shard);
/* How many images (and gradients) of parts there are at once with SHARD_FULL. */
int sharded_places(bool tied);
/* What a training pass of a model of so many parts enters; returns how many, at most 2·parts + 2. */
int sharded_visits(struct sharded_visit *v, int parts, bool tied);
/* scatter: of SHARD_FULL. All are borrowed. */
int sharded_open(struct sharded *s, const struct shards *shards, struct weights *w, const float *kept,
                 struct scatter *scatter, enum shard shard, enum dtype t, struct err *err);
void sharded_close(struct sharded *s);
const struct residency *sharded_residency(const struct sharded *s); /* NULL: the weights are where they seem */
void sharded_refresh(struct sharded *s);
void sharded_start(struct sharded *s, bool training);
void sharded_finish(struct sharded *s);
/* Seconds of communication so far between start and finish, and those of them that nothing was computed meanwhile. */
void sharded_seconds(const struct sharded *s, double *busy, double *waited);

#endif
