/* generate_mdm: the two samplers of masked diffusion (SPEC §5), on any number of sequences of any lengths at once.
 *
 * A sequence comes in as ids with mask ids wherever the model is to write: after a prompt, or in the middle of a text.
 *
 *     generate_mdm(&engine, &settings, ids, NULL, starts, nseq, &stats, &err);     // ids now hold the result
 *
 * Sequence s is sample `first_sample + s`; its result depends on (settings, sample, its ids) alone: not on its
 * companions, nor on threads. Times, probabilities and counts are in float32 as in the published code. */
#ifndef MDM_INFER_GENERATE_MDM_H
#define MDM_INFER_GENERATE_MDM_H
#include <stdint.h>

struct engine;
struct err;

enum sampler { SAMPLER_ANCESTRAL, SAMPLER_CONFIDENCE };

struct generate_mdm {
    enum sampler sampler;
    int64_t steps;
    double temperature, cfg;
    uint64_t seed, first_sample;
    /* After every step of every sequence, with its ids; NULL: none. */
    void (*step)(void *ctx, int64_t seq, int64_t step, const int32_t *ids);
    void *ctx;
};

struct generate_stats {
    int64_t nfe;         /* as published: steps, doubled by guidance */
    int64_t evaluations; /* forwards of single sequences really run, guided copies counted; steps that reveal nothing
                            need none */
    int64_t tokens;      /* written */
};

/* ids[starts[nseq]], sequence s at [starts[s], starts[s + 1]). prompt: 1 on the tokens that guidance takes away; NULL:
 * every token that is not a mask at the start. stats may be NULL. */
int generate_mdm(struct engine *e, const struct generate_mdm *g, int32_t *ids, const uint8_t *prompt,
                 const int64_t *starts, int64_t nseq, struct generate_stats *stats, struct err *err);

/* times[i] of `steps` steps, i in 0 … steps: linspace(1, 1e-5, steps + 1) in float32. */
float generate_time(int64_t i, int64_t steps);
/* How many of `masked` positions the confidence sampler reveals in step i. */
int64_t generate_count(int64_t masked, int64_t i, int64_t steps);

#endif
