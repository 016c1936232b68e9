/* rng: counter-based random numbers, Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3",
 * 2011).
 *
 * A number is a pure function of (seed, purpose, sample, index): no state, so masks and noise are the same for any
 * number of threads, ranks and micro-batches, and after a resume. */
#ifndef MDM_BASE_RNG_H
#define MDM_BASE_RNG_H
#include <stdint.h>

enum rng_purpose { /* one per use, so that no two uses share numbers; append only: the values are part of the run's
                      identity */
                   RNG_INIT = 1,   /* weights: sample = parameter number, index = element */
                   RNG_TIME,       /* t of a training sequence: sample = sequence number in the run */
                   RNG_MASK,       /* mask of a training token: sample = sequence, index = position */
                   RNG_LENGTH,     /* random length: sample = micro-batch number */
                   RNG_SHUFFLE,    /* order of blocks: sample = window or epoch */
                   RNG_REVEAL,     /* sampler: whether a position is revealed: sample = sequence, index = step << 32 |
                                      position */
                   RNG_GUMBEL,     /* sampler: noise of a token value: sample = sequence, index = see infer/choose.h */
                   RNG_MC_TIME,    /* likelihood: u0 of a batch of draws */
                   RNG_MC_MASK,    /* likelihood: mask of a target token */
                   RNG_VALID_TIME, /* validation: as RNG_TIME */
                   RNG_VALID_MASK,
                   RNG_MIX, /* which source a block comes from */
                   RNG_TEST = 1000
};

/* The bare generator, for the known-answer test. */
void rng_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);
/* 128 random bits of (seed, purpose, sample, index). */
void rng_bits(uint32_t out[4], uint64_t seed, enum rng_purpose purpose, uint64_t sample, uint64_t index);
/* Uniform in [0, 1) with 53 bits, and in (0, 1) for logarithms (never 0, never 1). */
double rng_uniform(uint64_t seed, enum rng_purpose purpose, uint64_t sample, uint64_t index);
double rng_uniform_open(uint64_t seed, enum rng_purpose purpose, uint64_t sample, uint64_t index);
/* Uniform integer in [0, n), n >= 1, without modulo bias beyond 2^-64. */
uint64_t rng_below(uint64_t seed, enum rng_purpose purpose, uint64_t sample, uint64_t index, uint64_t n);
/* n standard normal floats, element i a function of (…, sample, first + i) (Box-Muller on pairs). */
void rng_normal(float *out, int64_t n, uint64_t seed, enum rng_purpose purpose, uint64_t sample, uint64_t first);

#endif
