/* bootstrap: Python's random numbers are those of the Mersenne Twister (Matsumoto and Nishimura, "Mersenne Twister: a
 * 623-dimensionally equidistributed uniform pseudorandom number generator", 1998). rng.h's would be as good, but only
 * with these are our standard errors the harness's. */
#include "eval/bootstrap.h"

#include <math.h>

#include "base/mem.h"

enum { WORDS = 624, SHIFT = 397, DRAWS = 1000 };

struct twister {
    uint32_t v[WORDS];
    int at;
};

/* random.seed(i) for 0 <= i < 2^32: the authors' init_by_array() with the one key i. */
static void seed(struct twister *t, uint32_t key) {
    uint32_t *v = t->v;
    v[0] = 19650218;
    for (uint32_t i = 1; i < WORDS; i++) v[i] = 1812433253u * (v[i - 1] ^ (v[i - 1] >> 30)) + i;
    uint32_t i = 1;
    for (int k = 0; k < WORDS; k++) {
        v[i] = (v[i] ^ ((v[i - 1] ^ (v[i - 1] >> 30)) * 1664525u)) + key;
        if (++i == WORDS) v[0] = v[WORDS - 1], i = 1;
    }
    for (int k = 0; k < WORDS - 1; k++) {
        v[i] = (v[i] ^ ((v[i - 1] ^ (v[i - 1] >> 30)) * 1566083941u)) - i;
        if (++i == WORDS) v[0] = v[WORDS - 1], i = 1;
    }
    v[0] = 0x80000000u;
    t->at = WORDS; /* the next number fills anew */
}

static void refill(struct twister *t) {
    uint32_t *v = t->v;
    for (int i = 0; i < WORDS; i++) {
        const uint32_t y = (v[i] & 0x80000000u) | (v[(i + 1) % WORDS] & 0x7fffffffu);
        v[i] = v[(i + SHIFT) % WORDS] ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfu : 0);
    }
    t->at = 0;
}

static uint32_t next(struct twister *t) {
    if (t->at == WORDS) refill(t);
    uint32_t y = t->v[t->at++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

/* random.random(): 53 bits. */
static double uniform(struct twister *t) {
    const uint32_t high = next(t) >> 5, low = next(t) >> 6;
    return (high * 67108864.0 + low) / 9007199254740992.0;
}

static void draw_round(double *out, uint32_t round, const double *loglik, int64_t n) {
    struct twister t = {.at = WORDS};
    seed(&t, round);
    for (int draw = 0; draw < DRAWS; draw++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++) sum += loglik[(int64_t)(uniform(&t) * (double)n)];
        out[draw] = exp(-(sum / (double)n));
    }
}

int bootstrap_perplexity(double *error, const double *loglik, int64_t n, int rounds, struct err *err) {
    *error = NAN;
    if (n < 2) return 0;
    const int64_t draws = (int64_t)rounds * DRAWS;
    double *of = mem_alloc(draws, sizeof *of, "draws of the bootstrap", err), sum = 0, squares = 0;
    if (!of) return -1;
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < rounds; i++) draw_round(of + (int64_t)i * DRAWS, (uint32_t)i, loglik, n);
    for (int64_t i = 0; i < draws; i++) sum += of[i];
    const double mean = sum / (double)draws;
    for (int64_t i = 0; i < draws; i++) squares += (of[i] - mean) * (of[i] - mean);
    *error = sqrt(squares / (double)(draws - 1));
    mem_free(of);
    return 0;
}
