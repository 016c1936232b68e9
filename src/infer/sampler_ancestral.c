/* sampler_ancestral: each open position is written in step i with probability 1 − times[i + 1]/times[i] (arXiv
 * 2410.18514; "origin" in its code). Which ones is drawn before any logits are needed: only those rows reach the head,
 * and a step with none needs no forward. */
#include "base/rng.h"
#include "infer/sampler.h"

static int64_t want(const struct sequence *s, int64_t *positions) {
    const struct request *r = s->r;
    const double share = (double)sampler_share(s->step, r->steps);
    const int64_t open = sampler_open_positions(s, positions);
    int64_t n = 0;
    for (int64_t k = 0; k < open; k++) {
        const uint64_t index = (uint64_t)s->step << 32 | (uint64_t)positions[k];
        if (share < 1 && rng_uniform(r->seed, RNG_REVEAL, r->sample, index) >= share) continue;
        positions[n++] = positions[k];
    }
    return n;
}

static void take(struct sequence *s, struct choice *choices, int64_t n) {
    for (int64_t i = 0; i < n; i++) sampler_write(s, &choices[i]);
}

const struct sampler sampler_ancestral = {.name = "ancestral", .family = FAMILY_MDM, .want = want, .take = take};
