/* source: where a run's examples come from. An example is ids, of which the first `prompt` are given (neither noised nor
 * predicted); a source is a function from numbers 0, 1, 2, … without end to examples, so that resuming is one addition
 * and ranks need not speak about data. The trainer knows nothing else of data.
 *
 *     struct source s = source_of_blocks(loader);            // pretraining
 *     s.read(s.context, number, ids, &e, &err);              // ids[s.longest]
 *
 * Examples [k·group, (k + 1)·group) are a denominator group: their loss is divided by what the group has to predict
 * (docs/model.md, "Groups"). Pretraining has groups of one.
 *
 * Whoever makes a source owns what its context points to. A source is read by one thread at a time. */
#ifndef MDM_DATA_SOURCE_H
#define MDM_DATA_SOURCE_H
#include <stdint.h>

struct err;
struct loader;

struct example {
    int64_t n;      /* ids, 1 … longest; of a source for an ARM, which predicts no first id, at least 2 */
    int64_t prompt; /* 0 … n - 1 */
};

struct source {
    void *context;
    /* The example and its ids, or with ids NULL its lengths alone (the denominator of a group needs those of all). */
    int (*read)(void *context, int64_t number, int32_t *ids, struct example *e, struct err *err);
    /* Passes over the data before example `number`. */
    double (*epoch)(const void *context, int64_t number);
    int64_t size;         /* examples in one pass */
    int64_t longest;      /* ids of the longest example */
    int64_t group;        /* examples of a denominator group */
    int32_t pad;          /* follows the shorter examples of a group up to its longest (mdm); unused in groups of one */
    uint64_t fingerprint; /* of all that read() gives: a resumed run refuses a source with another one */
};

/* The blocks of a loader (borrowed) as examples without prompts. */
struct source source_of_blocks(struct loader *l);
/* Each example of s (borrowed) twice, one after the other; groups and passes are of twice as many. */
struct source source_in_pairs(const struct source *s);

#endif
