/* sampler_causal: left to right, for autoregressive models: a step adds one token behind the others, until the end id has
 * been written or the room is full. Positions alone name its random numbers, since each is written once. */
#include "infer/sampler.h"

static int64_t want(const struct sequence *s, int64_t *positions) {
    positions[0] = s->r->n;
    return 1;
}

static void take(struct sequence *s, struct choice *choices, int64_t n) {
    (void)n; /* one */
    s->r->ids[s->r->n++] = choices[0].id;
    s->r->written++;
}

static bool ended(const struct sequence *s) {
    const struct request *r = s->r;
    return r->n == r->room || (s->step > 0 && r->ids[r->n - 1] == r->end_id);
}

const struct sampler sampler_causal = {
    .name = "causal", .family = FAMILY_ARM, .causal = true, .want = want, .take = take, .ended = ended};
