/* choose: from rows of logits to token values and confidences, and the order in which positions are revealed.
 *
 *     choose_rows(out, logits, n, V, keys, &(struct choose_settings){.seed = 1, .temperature = 0.7, .confidence =
 * true});
 *
 * The value of a row is argmax exp(logit) / (−log U)^temperature over the vocabulary (Gumbel-max, SPEC §5), taken as
 * the argmax of logit − temperature·log(−log U) in double; temperature 0 is the plain argmax. The first of equals wins,
 * a NaN never.
 *
 * The noise U is a pure function of (seed, sample, step, position, token), so a choice depends neither on threads nor
 * on the batch. r = rng_bits(seed, RNG_GUMBEL, sample, step << 32 | position) keys a Philox stream of the row: key
 * r[0], r[1], upper half of the counter r[2], r[3]. */
#ifndef MDM_INFER_CHOOSE_H
#define MDM_INFER_CHOOSE_H
#include <stdbool.h>
#include <stdint.h>

struct choose_key { /* names the noise of one row */
    uint64_t sample;
    uint32_t step, position;
};

struct choose_settings {
    uint64_t seed;
    double temperature; /* >= 0 */
    bool confidence;    /* wanted; false saves a pass over the row */
};

struct choice {
    int32_t id;
    double confidence; /* softmax probability of the value, without noise and temperature; 0 when not asked for */
};

/* out[n] from logits[n, V]; keys[n] may be NULL at temperature 0. Needs kernels_init(). */
void choose_rows(struct choice *out, const float *logits, int64_t n, int64_t V, const struct choose_key *keys,
                 const struct choose_settings *s);

/* −log U of one token: exponentially distributed, in (0, 37]. */
double choose_noise(uint64_t seed, const struct choose_key *key, int64_t token);

struct choose_order {
    double confidence;
    int64_t position;
};
/* Falling confidence, equal ones by rising position; a NaN comes last. */
void choose_sort(struct choose_order *v, int64_t n);

#endif
