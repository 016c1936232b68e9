/* choose: Gumbel-max over a vocabulary without taking 32000 logarithms.
 *
 * With W = 1 − U the noise is E = −log(1 − W) >= W. A token of logit l beats the best score S so far only if
 * E < exp((l − S)/temperature), hence only if W is below that too. Tokens are taken in blocks of 64: one exponential,
 * of the block's largest logit, bounds them all and is compared with the leading 16 bits of each W, which come eight
 * tokens to a Philox call. The few tokens that pass draw their other 48 bits and take their logarithms. The bound
 * leaves room for every rounding, so the outcome is that of the plain loop, which the tests run beside it.
 *
 * Does not know what the rows are for; samplers do. */
#include "infer/choose.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/rng.h"
#include "compute/kernels.h"

enum { LANES = 8, BLOCK = 8 * LANES }; /* Philox calls side by side, and their tokens */
enum { SMALL = 1 << 14 };              /* logits that one thread does sooner */

/* ---- noise ---- */

struct noise { /* the stream of one row: counter (n, part, high) */
    uint32_t key[2], high[2];
};
enum { LEADING, TRAILING }; /* parts: 16 bits of each of eight tokens; 64 bits (48 used) of each of two */

static struct noise noise_of(uint64_t seed, const struct choose_key *k) {
    uint32_t r[4];
    rng_bits(r, seed, RNG_GUMBEL, k->sample, (uint64_t)k->step << 32 | k->position);
    return (struct noise){{r[0], r[1]}, {r[2], r[3]}};
}

static void draw(uint32_t out[4], const struct noise *s, uint32_t n, uint32_t part) {
    const uint32_t counter[4] = {n, part, s->high[0], s->high[1]};
    rng_philox(out, counter, s->key);
}

static uint32_t leading(uint32_t word, int64_t token) {
    return word >> token % 2 * 16 & 0xffff;
}

static double exponential(const struct noise *s, int64_t token, uint32_t lead) {
    uint32_t r[4];
    draw(r, s, (uint32_t)(token / 2), TRAILING);
    const uint32_t *w = r + token % 2 * 2;
    const uint64_t bits = (uint64_t)lead << 48 | (uint64_t)w[0] << 16 | w[1] >> 16;
    /* The half keeps W from 0; a W that rounds to 1 is the largest double below. */
    return -log1p(-fmin(((double)bits + 0.5) * 0x1p-64, 1 - 0x1p-53));
}

double choose_noise(uint64_t seed, const struct choose_key *key, int64_t token) {
    const struct noise s = noise_of(seed, key);
    uint32_t r[4];
    draw(r, &s, (uint32_t)(token / 8), LEADING);
    return exponential(&s, token, leading(r[token % 8 / 2], token));
}

/* rng_philox() of the counters first … first + LANES − 1: words[j·LANES + lane] is word j. One loop, so that it is
 * vectorised.
 */
static void draw_lanes(uint32_t words[4 * LANES], const struct noise *s, uint32_t first) {
    uint32_t c0[LANES], c1[LANES], c2[LANES], c3[LANES], k0 = s->key[0], k1 = s->key[1];
    for (int i = 0; i < LANES; i++) {
        c0[i] = first + (uint32_t)i;
        c1[i] = LEADING;
        c2[i] = s->high[0];
        c3[i] = s->high[1];
    }
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < LANES; i++) {
            const uint64_t a = (uint64_t)0xD2511F53 * c0[i], b = (uint64_t)0xCD9E8D57 * c2[i];
            c0[i] = (uint32_t)(b >> 32) ^ c1[i] ^ k0;
            c1[i] = (uint32_t)b;
            c2[i] = (uint32_t)(a >> 32) ^ c3[i] ^ k1;
            c3[i] = (uint32_t)a;
        }
        k0 += 0x9E3779B9;
        k1 += 0xBB67AE85;
    }
    memcpy(words, c0, sizeof c0);
    memcpy(words + LANES, c1, sizeof c1);
    memcpy(words + 2 * LANES, c2, sizeof c2);
    memcpy(words + 3 * LANES, c3, sizeof c3);
}

/* ---- value ---- */

typedef uint16_t u16x8 __attribute__((vector_size(16)));

static bool any_at_most(uint32_t words[4 * LANES], uint32_t limit) {
    const u16x8 most = (u16x8){0} + (uint16_t)limit;
    u16x8 v, any = {0};
    for (int i = 0; i < 4 * LANES; i += 4) {
        memcpy(&v, words + i, sizeof v);
        any |= (u16x8)(v <= most);
    }
    uint64_t parts[2];
    memcpy(parts, &any, sizeof parts);
    return (parts[0] | parts[1]) != 0;
}

/* No token whose logit is at most `logit` and whose leading bits are above the result can reach `score`. */
static uint32_t limit_for(double logit, double score, double temperature) {
    const double slack = 1e-12 * (fabs(logit) + fabs(score));
    const double most = 65536 * exp((logit - score + slack) / temperature + 1e-9);
    return most < 65535 ? (uint32_t)most : 65535; /* a NaN: no bound */
}

typedef float f32x4 __attribute__((vector_size(16)));
typedef int32_t i32x4 __attribute__((vector_size(16)));

/* Of a block's logits; what is not there, and NaNs, count as −infinity. */
static double largest(const float *z, int64_t n) {
    float padded[BLOCK];
    if (n < BLOCK) {
        for (int64_t i = 0; i < BLOCK; i++) padded[i] = i < n ? z[i] : -INFINITY;
        z = padded;
    }
    f32x4 most = (f32x4){0} - INFINITY, x;
    for (int i = 0; i < BLOCK; i += 4) {
        memcpy(&x, z + i, sizeof x);
        const i32x4 more = x > most;
        most = (f32x4)(((i32x4)x & more) | ((i32x4)most & ~more));
    }
    float m = most[0];
    for (int i = 1; i < 4; i++) m = most[i] > m ? most[i] : m;
    return (double)m;
}

static int64_t gumbel_max(const float *z, int64_t V, int64_t start, const struct noise *s, double temperature) {
    uint32_t words[4 * LANES];
    int64_t best = start;
    draw(words, s, (uint32_t)(start / 8), LEADING);
    double score = (double)z[start] - temperature * log(exponential(s, start, leading(words[start % 8 / 2], start)));
    for (int64_t first = 0; first < V; first += BLOCK) {
        const int64_t n = V - first < BLOCK ? V - first : BLOCK;
        const uint32_t limit = limit_for(largest(z + first, n), score, temperature);
        draw_lanes(words, s, (uint32_t)(first / 8));
        if (!any_at_most(words, limit)) continue;
        for (int64_t i = 0; i < n; i++) {
            const uint32_t lead = leading(words[i % 8 / 2 * LANES + i / 8], i);
            if (lead > limit) continue;
            const double x = (double)z[first + i] - temperature * log(exponential(s, first + i, lead));
            if (x < score || (x == score && first + i > best) || isnan(x)) continue;
            best = first + i;
            score = x;
        }
    }
    return best;
}

/* ---- confidence ---- */

typedef double f64x4 __attribute__((vector_size(32)));
typedef int64_t i64x4 __attribute__((vector_size(32)));
typedef uint64_t u64x4 __attribute__((vector_size(32)));
enum { STRIDE = 16 };

/* exp(x) for x in [−700, 0], relative error below 1e-14: x = k·log 2 + r, Taylor's polynomial of degree 11 in r. */
static inline __attribute__((always_inline)) f64x4 exp4(f64x4 x) {
    const f64x4 shifted = x * 0x1.71547652b82fep0 + 0x1.8p52; /* k in the low bits */
    const f64x4 k = shifted - 0x1.8p52, r = x - k * 0x1.62e42fefa39efp-1 - k * 0x1.abc9e3b39803fp-56;
    const f64x4 r2 = r * r, r4 = r2 * r2;
    const f64x4 a = (1 + r) + r2 * (1.0 / 2 + r * (1.0 / 6));
    const f64x4 b = (1.0 / 24 + r * (1.0 / 120)) + r2 * (1.0 / 720 + r * (1.0 / 5040));
    const f64x4 c = (1.0 / 40320 + r * (1.0 / 362880)) + r2 * (1.0 / 3628800 + r * (1.0 / 39916800));
    return (a + r4 * (b + r4 * c)) * (f64x4)(((u64x4)shifted + 1023) << 52);
}

/* Σ exp(z − max) over 16 partial sums in a fixed order. Terms below exp(−700), and NaNs, count as that. */
static inline __attribute__((always_inline)) double sum_exp_loop(const float *z, int64_t V, double max) {
    f64x4 sum[4] = {{0}};
    const f64x4 least = (f64x4){0} - 700;
    float tail[STRIDE];
    for (int64_t v = 0; v < V; v += STRIDE) {
        const float *at = z + v;
        if (V - v < STRIDE) {
            for (int i = 0; i < STRIDE; i++) tail[i] = v + i < V ? z[v + i] : -INFINITY;
            at = tail;
        }
        for (int j = 0; j < 4; j++) {
            f32x4 narrow;
            memcpy(&narrow, at + 4 * j, sizeof narrow);
            const f64x4 x = __builtin_convertvector(narrow, f64x4) - max;
            const i64x4 above = x > least;
            sum[j] += exp4((f64x4)(((i64x4)x & above) | ((i64x4)least & ~above)));
        }
    }
    const f64x4 total = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    return (total[0] + total[1]) + (total[2] + total[3]);
}

/* The same operations in the same order (no fused multiply-add), so the same sum. */
static double sum_exp_plain(const float *z, int64_t V, double max) {
    return sum_exp_loop(z, V, max);
}
#ifdef __x86_64__
__attribute__((target("avx2"))) static double sum_exp_wide(const float *z, int64_t V, double max) {
    return sum_exp_loop(z, V, max);
}
#else
#define sum_exp_wide sum_exp_plain
#endif

/* ---- rows ---- */

void choose_rows(struct choice *out, const float *logits, int64_t n, int64_t V, const struct choose_key *keys,
                 const struct choose_settings *s) {
    const bool wide = cpu_choose(NULL) >= CPU_AVX2;
#pragma omp parallel for schedule(dynamic) if (n * V > SMALL)
    for (int64_t i = 0; i < n; i++) {
        const float *z = logits + i * V;
        const int64_t top = kernels->argmax(z, V, NULL);
        int64_t id = top;
        if (s->temperature > 0) {
            const struct noise noise = noise_of(s->seed, &keys[i]);
            id = gumbel_max(z, V, top, &noise, s->temperature);
        }
        out[i] = (struct choice){.id = (int32_t)id};
        if (!s->confidence) continue;
        const double max = (double)z[top], sum = (wide ? sum_exp_wide : sum_exp_plain)(z, V, max);
        out[i].confidence = exp((double)z[id] - max) / sum;
    }
}

static int by_confidence(const void *a, const void *b) {
    const struct choose_order *x = a, *y = b;
    const bool x_nan = isnan(x->confidence), y_nan = isnan(y->confidence);
    if (x_nan != y_nan) return x_nan ? 1 : -1;
    if (!x_nan && x->confidence != y->confidence) return x->confidence > y->confidence ? -1 : 1;
    return x->position < y->position ? -1 : x->position > y->position;
}

void choose_sort(struct choose_order *v, int64_t n) {
    qsort(v, (size_t)n, sizeof *v, by_confidence);
}
