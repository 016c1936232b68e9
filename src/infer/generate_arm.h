/* generate_arm: token by token with a key/value cache, for prompts of any lengths at once (SPEC §5).
 *
 * Sequence s owns ids[starts[s], starts[s + 1]): its prompt stands at the front, the rest is room up to its total
 * length. It ends at the end id or when the room is full. The result depends on (settings, sample, prompt) alone. */
#ifndef MDM_INFER_GENERATE_ARM_H
#define MDM_INFER_GENERATE_ARM_H
#include <stdint.h>
#include "infer/generate_mdm.h"

struct generate_arm {
    double temperature;
    int32_t end_id; /* -1: none */
    uint64_t seed, first_sample;
    void (*step)(void *ctx, int64_t seq,
                 int64_t length); /* after every token: sequence `seq` now has `length`; NULL: none */
    void *ctx;
};

/* lengths[nseq]: of the prompts, at least 1; then of the results. stats: nfe is the most tokens any sequence got. */
int generate_arm(struct engine *e, const struct generate_arm *g, int32_t *ids, const int64_t *starts, int64_t *lengths,
                 int64_t nseq, struct generate_stats *stats, struct err *err);

#endif
