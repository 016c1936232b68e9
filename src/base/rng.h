/* rng: counter-based random numbers, Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011).
 *
 * A number is a pure function of (seed, purpose, sample, index): no state, so masks and noise are the same for any
 * number of threads, ranks and micro-batches, and after a resume. */
#ifndef MDM_BASE_RNG_H
#define MDM_BASE_RNG_H
#include <stdint.h>

/* One per use, so that no two uses share numbers. Append only: the values are part of a run's identity. What sample and
 * index stand for is said here where it is simple, else where the purpose is used. */
enum rng_purpose {
    RNG_INIT = 1, /* weights: sample = number of the parameter, index = element */
    RNG_TIME,    /* t of a training sequence: sample = its number in the run, or with masks in pairs that of the pair */
    RNG_MASK,    /* mask of a training token: sample = sequence, index = position */
    RNG_LENGTH,  /* random length: sample = sequence, index 0: is it cut, 1: to which length */
    RNG_SHUFFLE, /* order of blocks: data/loader.c; of a fine-tuning set's examples: sample = epoch */
    RNG_REVEAL,  /* sampler, is a position revealed: sample = sequence, index = step << 32 | position */
    RNG_GUMBEL,  /* sampler, noise of a token: compute/choose.h */
    RNG_MC_TIME, /* likelihood, time of a batch of draws: sample = item, index = batch */
    RNG_MC_MASK, /* likelihood, mask of a target token: sample = item, index = draw << 32 | position */
    RNG_VALID_TIME, /* validation: as RNG_TIME */
    RNG_VALID_MASK, /* validation: as RNG_MASK */
    RNG_MIX,        /* which source a block comes from: data/loader.c */
    RNG_BOOTSTRAP,  /* scaling law, the residuals of a fit's replicate: sample = replicate, index = try << 48 | point */
    RNG_DROP,       /* is the prompt of a group dropped: sample = number of the group in the run */
    RNG_HOLD_OUT,   /* does a record of a fine-tuning set go to validation: sample = number of the record */
    RNG_STRATUM,    /* which stratum the t of a training sequence is from: sample = step */
    RNG_ERROR,      /* scaling law, the error of a point's loss: as RNG_BOOTSTRAP */
    RNG_TEST = 1000
};

/* The bare generator, for the known-answer test. */
void rng_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);
/* 128 random bits of (seed, purpose, sample, index). */
void rng_bits(uint32_t out[4], uint64_t seed, enum rng_purpose purpose, uint64_t sample, uint64_t index);
/* Uniform in [0, 1) with 53 bits. */
double rng_uniform(uint64_t seed, enum rng_purpose purpose, uint64_t sample, uint64_t index);
/* Uniform integer in [0, n), n >= 1; no value is off its share by more than 2^-128. */
uint64_t rng_below(uint64_t seed, enum rng_purpose purpose, uint64_t sample, uint64_t index, uint64_t n);
/* Where i in [0, n) goes in a permutation of [0, n) that is a function of (seed, purpose, sample): no table, no state. */
uint64_t rng_permute(uint64_t i, uint64_t n, uint64_t seed, enum rng_purpose purpose, uint64_t sample);
/* n standard normal floats, element i a function of (…, sample, first + i) (Box-Muller on pairs). */
void rng_normal(float *out, int64_t n, uint64_t seed, enum rng_purpose purpose, uint64_t sample, uint64_t first);

#endif
