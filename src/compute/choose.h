/* choose: what is wanted of rows of logits, taken from blocks of them while the head makes them: a value, how sure the
 * model is of it, the cross-entropy of a target. The logits are never stored.
 *
 *     choose_begin(&c, want, n, V, false, scratch);          // choose_scratch(n, V) bytes
 *     linear_forward_use(x, &head, n, choose_block, &c);
 *     choose_end(&c, out);
 *
 * The value is argmax exp(logit) / (−log U)^temperature over the vocabulary (Gumbel-max), taken as the argmax of
 * logit − temperature·log(−log U) in double; temperature 0 is the plain argmax. The first of equals wins, a NaN never.
 *
 * The noise U is a pure function of (seed, sample, step, position, token), so a choice depends neither on threads nor
 * on the batch. r = rng_bits(seed, RNG_GUMBEL, sample, step << 32 | position) keys a Philox stream of the row: key
 * r[0], r[1], upper half of the counter r[2], r[3].
 *
 * With guidance rows come in pairs, the one with the prompt before the one without it, and u + (cfg + 1)·(c − u) takes
 * their place before anything else is done. */
#ifndef MDM_COMPUTE_CHOOSE_H
#define MDM_COMPUTE_CHOOSE_H
#include <stdbool.h>
#include <stdint.h>

/* Of the softmax p of the logits, without noise and temperature; computed in double. */
enum confidence {
    CONFIDENCE_NONE,        /* 0: not asked for */
    CONFIDENCE_PROBABILITY, /* p of the value */
    CONFIDENCE_MARGIN,      /* the largest p − the second largest */
    CONFIDENCE_ENTROPY,     /* Σ p·log p: the negative entropy */
};

struct choose_row { /* what is wanted of one row */
    uint64_t seed, sample;
    uint32_t step, position;
    double temperature; /* >= 0 */
    float cfg;          /* with pairs: the strength of guidance */
    int32_t target;     /* its cross-entropy is wanted; −1: none */
    enum confidence confidence;
};

struct choice {
    int32_t id;
    uint32_t position; /* as asked */
    double confidence;
    double loss; /* cross-entropy of the target; 0 when there is none */
    bool none;   /* all logits are NaN: the id is 0 for want of another */
};

struct choose_cell;  /* what one block gave for a row */
struct choose_noise; /* the stream of a row */
struct choose {
    const struct choose_row *want; /* [n] */
    int64_t n, V;
    bool pairs;
    int isa;                    /* enum cpu_isa */
    int64_t width, blocks;      /* of the head's blocks */
    struct choose_cell *cell;   /* [n, blocks] */
    struct choose_noise *noise; /* [n] */
    double *reached;            /* [n] a score of the row, for blocks to come */
    float *target_logit;        /* [n] */
};

/* Bytes of scratch for up to n wants. */
int64_t choose_scratch(int64_t n, int64_t V);
/* want[n] is borrowed until the end. Needs kernels_init(). */
void choose_begin(struct choose *c, const struct choose_row *want, int64_t n, int64_t V, bool pairs, void *scratch);
/* A linear_use: rows [row, row + m) of the product, 2n in all with pairs, else n. */
void choose_block(void *c, float *z, int64_t row, int64_t m, int64_t column, int64_t count);
/* out[n]. */
void choose_end(const struct choose *c, struct choice *out);

/* −log U of one token: exponentially distributed, in (0, 37]. */
double choose_noise(const struct choose_row *row, int64_t token);

/* Falling confidence, equal ones by rising position; a NaN comes last. */
void choose_sort(struct choice *v, int64_t n);

#endif
