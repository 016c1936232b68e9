/* sampler_confidence: a step writes the positions that the model is most sure of, int(open · (1 − times[i + 1]/times[i]))
 * in float32 (arXiv 2410.18514; "greddy" in its code). The published code ranks over the whole batch at once; here each
 * sequence is ranked by itself, so that company changes nothing. A step that writes none needs no forward.
 *
 * Sure by: the probability of the value; how far it is ahead of the second; the entropy of all. */
#include "infer/sampler.h"

static int64_t count_of(const struct sequence *s, int64_t open) {
    return s->step == s->r->steps - 1 ? open : (int64_t)((float)open * sampler_share(s->step, s->r->steps));
}

static int64_t want(const struct sequence *s, int64_t *positions) {
    const int64_t open = sampler_open_positions(s, positions);
    return count_of(s, open) > 0 ? open : 0;
}

static void take(struct sequence *s, struct choice *choices, int64_t n) {
    sampler_write_best(s, choices, n, count_of(s, n));
}

const struct sampler sampler_confidence = {
    .name = "confidence", .family = FAMILY_MDM, .confidence = CONFIDENCE_PROBABILITY, .want = want, .take = take};
const struct sampler sampler_margin = {
    .name = "margin", .family = FAMILY_MDM, .confidence = CONFIDENCE_MARGIN, .want = want, .take = take};
const struct sampler sampler_entropy = {
    .name = "entropy", .family = FAMILY_MDM, .confidence = CONFIDENCE_ENTROPY, .want = want, .take = take};
