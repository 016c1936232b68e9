/* choose: see choose.h. A block of logits leaves a cell for each of its rows; choose_end() puts a row's cells together.
 *
 * Gumbel-max over a vocabulary without taking 32000 logarithms: with W = 1 − U the noise is E = −log(1 − W) >= W. A token of logit l beats the best score S so far only if
 * E < exp((l − S)/temperature), hence only if W is below that too. Tokens are taken in blocks of 64: one exponential,
 * of the block's largest logit, bounds them all and is compared with the leading 16 bits of each W, which come eight
 * tokens to a Philox call. The few tokens that pass draw their other 48 bits and take their logarithms. The bound
 * leaves room for every rounding, so the outcome is that of the plain loop, which the tests run beside it. S is shared
 * by the blocks of a row: whichever a thread happens to see is a bound, so the outcome does not depend on it.
 *
 * Does not know what the rows are for; samplers do. */
#include "compute/choose.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "compute/kernels.h"
#include "compute/linear.h"

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif

enum { LANES = 8, BLOCK = 8 * LANES }; /* Philox calls side by side, and their tokens */
enum { SMALL = 1 << 14 };              /* cells that one thread does sooner */

struct sums { /* Σ exp(z − top), Σ exp(z − top)·(z − top) */
    double sum, moment;
};

struct choose_cell {
    double score; /* of the value */
    struct sums sums;
    float logit;       /* of the value */
    float top, second; /* the two largest logits */
    int32_t id;        /* the value; −1: none that could be the row's */
};

/* ---- noise ---- */

struct choose_noise { /* counter (n, part, high) */
    uint32_t key[2], high[2];
};
enum { LEADING, TRAILING }; /* parts: 16 bits of each of eight tokens; 64 bits (48 used) of each of two */

static struct choose_noise noise_of(const struct choose_row *w) {
    uint32_t r[4];
    rng_bits(r, w->seed, RNG_GUMBEL, w->sample, (uint64_t)w->step << 32 | w->position);
    return (struct choose_noise){{r[0], r[1]}, {r[2], r[3]}};
}

static void draw(uint32_t out[4], const struct choose_noise *s, uint32_t n, uint32_t part) {
    const uint32_t counter[4] = {n, part, s->high[0], s->high[1]};
    rng_philox(out, counter, s->key);
}

static uint32_t leading(uint32_t word, int64_t token) {
    return word >> token % 2 * 16 & 0xffff;
}

static double exponential(const struct choose_noise *s, int64_t token, uint32_t lead) {
    uint32_t r[4];
    draw(r, s, (uint32_t)(token / 2), TRAILING);
    const uint32_t *w = r + token % 2 * 2;
    const uint64_t bits = (uint64_t)lead << 48 | (uint64_t)w[0] << 16 | w[1] >> 16;
    /* The half keeps W from 0; a W that rounds to 1 is the largest double below. */
    return -log1p(-fmin(((double)bits + 0.5) * 0x1p-64, 1 - 0x1p-53));
}

double choose_noise(const struct choose_row *row, int64_t token) {
    const struct choose_noise s = noise_of(row);
    uint32_t r[4];
    draw(r, &s, (uint32_t)(token / 8), LEADING);
    return exponential(&s, token, leading(r[token % 8 / 2], token));
}

/* rng_philox() of the counters first … first + LANES − 1: words[j·LANES + lane] is word j. One loop, so that it is
 * vectorised.
 */
static inline __attribute__((always_inline)) void draw_lanes(uint32_t words[4 * LANES], const struct choose_noise *s,
                                                             uint32_t first) {
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

static inline __attribute__((always_inline)) bool any_at_most(uint32_t words[4 * LANES], uint32_t limit) {
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
static inline __attribute__((always_inline)) double largest(const float *z, int64_t n) {
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

static bool beats(double score, int64_t id, double best_score, int64_t best) {
    return score > best_score || (score == best_score && (best < 0 || id < best));
}

/* The best of the block's tokens first … first + count − 1. At the call *score is that of token `best`, or with −1 one
 * that another block has reached; −1 is returned when no token here reaches it. */
static inline __attribute__((always_inline)) int64_t gumbel_loop(const float *z, int64_t first, int64_t count,
                                                                 const struct choose_noise *s, double temperature,
                                                                 int64_t best, double *score) {
    uint32_t words[4 * LANES];
    for (int64_t at = 0; at < count; at += BLOCK) {
        const int64_t n = count - at < BLOCK ? count - at : BLOCK;
        const uint32_t limit = limit_for(largest(z + at, n), *score, temperature);
        draw_lanes(words, s, (uint32_t)((first + at) / 8));
        if (!any_at_most(words, limit)) continue;
        for (int64_t i = 0; i < n; i++) {
            const int64_t id = first + at + i;
            const uint32_t lead = leading(words[i % 8 / 2 * LANES + i / 8], i);
            if (lead > limit) continue;
            const double x = (double)z[at + i] - temperature * log(exponential(s, id, lead));
            if (!beats(x, id, *score, best)) continue;
            best = id;
            *score = x;
        }
    }
    return best;
}

static int64_t gumbel_plain(const float *z, int64_t first, int64_t count, const struct choose_noise *s,
                            double temperature, int64_t best, double *score) {
    return gumbel_loop(z, first, count, s, temperature, best, score);
}
#ifdef __x86_64__
__attribute__((target("avx2"))) static int64_t gumbel_wide(const float *z, int64_t first, int64_t count,
                                                           const struct choose_noise *s, double temperature,
                                                           int64_t best, double *score) {
    return gumbel_loop(z, first, count, s, temperature, best, score);
}
#else
#define gumbel_wide gumbel_plain
#endif

/* The score of one token by itself: something to reach. */
static double score_of(const float *z, int64_t first, int64_t i, const struct choose_noise *s, double temperature) {
    uint32_t words[4];
    draw(words, s, (uint32_t)((first + i) / 8), LEADING);
    return (double)z[i] - temperature * log(exponential(s, first + i, leading(words[(first + i) % 8 / 2], first + i)));
}

static double load(const double *reached) {
    double score;
    __atomic_load(reached, &score, __ATOMIC_RELAXED);
    return score;
}

static void raise_to(double *reached, double score) {
    double seen = load(reached);
    while (score > seen && !__atomic_compare_exchange(reached, &seen, &score, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

/* ---- confidence ---- */

typedef float f32x8 __attribute__((vector_size(32)));
typedef double f64x8 __attribute__((vector_size(64)));
typedef int64_t i64x8 __attribute__((vector_size(64)));
typedef uint64_t u64x8 __attribute__((vector_size(64)));
enum { STRIDE = 16 };

/* exp(x) for x in [−700, 0], relative error below 1e-14: x = k·log 2 + r, Taylor's polynomial of degree 11 in r. */
static inline __attribute__((always_inline)) f64x8 exp8(f64x8 x) {
    const f64x8 shifted = x * 0x1.71547652b82fep0 + 0x1.8p52; /* k in the low bits */
    const f64x8 k = shifted - 0x1.8p52, r = x - k * 0x1.62e42fefa39efp-1 - k * 0x1.abc9e3b39803fp-56;
    const f64x8 r2 = r * r, r4 = r2 * r2;
    const f64x8 a = (1 + r) + r2 * (1.0 / 2 + r * (1.0 / 6));
    const f64x8 b = (1.0 / 24 + r * (1.0 / 120)) + r2 * (1.0 / 720 + r * (1.0 / 5040));
    const f64x8 c = (1.0 / 40320 + r * (1.0 / 362880)) + r2 * (1.0 / 3628800 + r * (1.0 / 39916800));
    return (a + r4 * (b + r4 * c)) * (f64x8)(((u64x8)shifted + 1023) << 52);
}

static inline __attribute__((always_inline)) double total(const f64x8 v[2]) {
    double all[4];
    for (int i = 0; i < 4; i++) all[i] = (v[0][i] + v[0][i + 4]) + (v[1][i] + v[1][i + 4]);
    return (all[0] + all[1]) + (all[2] + all[3]);
}

/* Over 16 partial sums in a fixed order. Terms below exp(−700) count as that; one NaN makes NaNs of both. */
static inline __attribute__((always_inline)) struct sums sum_exp_loop(const float *z, int64_t V, double max) {
    f64x8 sum[2] = {{0}}, moment[2] = {{0}};
    const f64x8 least = (f64x8){0} - 700;
    float tail[STRIDE];
    for (int64_t v = 0; v < V; v += STRIDE) {
        const float *at = z + v;
        if (V - v < STRIDE) {
            for (int i = 0; i < STRIDE; i++) tail[i] = v + i < V ? z[v + i] : -INFINITY;
            at = tail;
        }
        for (int j = 0; j < 2; j++) {
            f32x8 narrow;
            memcpy(&narrow, at + 8 * j, sizeof narrow);
            f64x8 x = __builtin_convertvector(narrow, f64x8) - max;
            const i64x8 below = x < least;
            x = (f64x8)(((i64x8)least & below) | ((i64x8)x & ~below));
            const f64x8 e = exp8(x);
            sum[j] += e;
            moment[j] += e * x;
        }
    }
    return (struct sums){total(sum), total(moment)};
}

/* The same operations in the same order (no fused multiply-add), so the same sums. */
static struct sums sum_exp_plain(const float *z, int64_t V, double max) {
    return sum_exp_loop(z, V, max);
}
#ifdef __x86_64__
__attribute__((target("avx2"))) static struct sums sum_exp_avx2(const float *z, int64_t V, double max) {
    return sum_exp_loop(z, V, max);
}
__attribute__((target("avx512f,avx512dq"))) static struct sums sum_exp_avx512(const float *z, int64_t V, double max) {
    return sum_exp_loop(z, V, max);
}
#endif

static struct sums sum_exp(int isa, const float *z, int64_t V, double max) {
#ifdef __x86_64__
    if (isa >= CPU_AVX512) return sum_exp_avx512(z, V, max);
    if (isa == CPU_AVX2) return sum_exp_avx2(z, V, max);
#endif
    (void)isa;
    return sum_exp_plain(z, V, max);
}

/* ---- blocks ---- */

static void take_value(const struct choose *c, int64_t i, const float *z, int64_t column, int64_t count, int64_t top,
                       struct choose_cell *cell) {
    const double temperature = c->want[i].temperature;
    int64_t id = isnan(z[top]) ? -1 : column + top;
    cell->score = (double)z[top];
    if (temperature > 0 && id >= 0) {
        cell->score = load(&c->reached[i]);
        if (cell->score > -INFINITY)
            id = -1;
        else
            cell->score = score_of(z, column, top, &c->noise[i], temperature);
        id = (c->isa >= CPU_AVX2 ? gumbel_wide : gumbel_plain)(z, column, count, &c->noise[i], temperature, id,
                                                               &cell->score);
        raise_to(&c->reached[i], cell->score);
    }
    cell->id = (int32_t)id;
    if (id >= 0) cell->logit = z[id - column];
}

static float second_largest(const float *z, int64_t n, int64_t top) {
    float most = -INFINITY;
    for (int64_t i = 0; i < n; i++)
        if (i != top && z[i] > most) most = z[i];
    return most;
}

static void take_row(const struct choose *c, int64_t i, const float *z, int64_t column, int64_t count) {
    const struct choose_row *w = &c->want[i];
    struct choose_cell *cell = &c->cell[i * c->blocks + column / c->width];
    const int64_t top = kernels->argmax(z, count), target = w->target - column;
    *cell = (struct choose_cell){.top = z[top]};
    take_value(c, i, z, column, count, top, cell);
    if (w->confidence != CONFIDENCE_NONE || w->target >= 0) cell->sums = sum_exp(c->isa, z, count, (double)z[top]);
    if (w->confidence == CONFIDENCE_MARGIN) cell->second = second_largest(z, count, top);
    if (w->target >= 0 && target >= 0 && target < count) c->target_logit[i] = z[target];
}

void choose_block(void *context, float *z, int64_t row, int64_t m, int64_t column, int64_t count) {
    const struct choose *c = context;
    BUG_ON(c->pairs && (row % 2 != 0 || m % 2 != 0));
    for (int64_t i = row; i < row + m; i++, z += count) {
        if (!c->pairs) {
            take_row(c, i, z, column, count);
        } else if (i % 2 == 0) {
            kernels->guide(z, z + count, c->want[i / 2].cfg, count);
            take_row(c, i / 2, z, column, count);
        }
    }
}

/* ---- rows ---- */

static int64_t layout(struct choose *c, int64_t n, int64_t V, char *base) {
    char *at = base;
    c->width = linear_column_block(V);
    c->blocks = divide_up(V, c->width);
    c->cell = mem_cut(&at, n * c->blocks * (int64_t)sizeof *c->cell);
    c->noise = mem_cut(&at, n * (int64_t)sizeof *c->noise);
    c->reached = mem_cut(&at, n * (int64_t)sizeof *c->reached);
    c->target_logit = mem_cut(&at, n * (int64_t)sizeof *c->target_logit);
    return at - base;
}

int64_t choose_scratch(int64_t n, int64_t V) {
    return layout(&(struct choose){0}, n, V, NULL);
}

void choose_begin(struct choose *c, const struct choose_row *want, int64_t n, int64_t V, bool pairs, void *scratch) {
    *c = (struct choose){.want = want, .n = n, .V = V, .pairs = pairs, .isa = cpu_choose(NULL)};
    layout(c, n, V, scratch);
    BUG_ON(c->blocks > 1 && c->width % 8 != 0);
    for (int64_t i = 0; i < n; i++) {
        if (want[i].temperature > 0) c->noise[i] = noise_of(&want[i]);
        c->reached[i] = -INFINITY;
        c->target_logit[i] = NAN;
    }
}

/* A row's cells as one: sums relative to the largest logit, NaN if a logit is. Of NaNs alone the id is -1. */
static struct choose_cell put_together(const struct choose_cell *cell, int64_t blocks) {
    struct choose_cell all = {.top = NAN, .second = -INFINITY, .id = -1, .logit = NAN};
    for (int64_t b = 0; b < blocks; b++) {
        const struct choose_cell *x = &cell[b];
        if (x->id >= 0 && (all.id < 0 || beats(x->score, x->id, all.score, all.id))) {
            all.score = x->score;
            all.id = x->id;
            all.logit = x->logit;
        }
        if (!(all.top >= x->top) && !isnan(x->top)) {
            if (all.top > all.second) all.second = all.top;
            all.top = x->top;
        } else if (x->top > all.second) {
            all.second = x->top;
        }
        if (x->second > all.second) all.second = x->second;
    }
    for (int64_t b = 0; b < blocks; b++) {
        const double lower = (double)cell[b].top - (double)all.top, share = exp(lower);
        if (share == 0) continue;
        all.sums.sum += share * cell[b].sums.sum;
        all.sums.moment += share * (cell[b].sums.moment + lower * cell[b].sums.sum);
    }
    return all;
}

static double confidence_of(const struct choose_cell *all, enum confidence kind) {
    switch (kind) {
    case CONFIDENCE_PROBABILITY:
        return exp((double)all->logit - (double)all->top) / all->sums.sum;
    case CONFIDENCE_MARGIN:
        return (1 - exp((double)all->second - (double)all->top)) / all->sums.sum;
    case CONFIDENCE_ENTROPY:
        return all->sums.moment / all->sums.sum - log(all->sums.sum);
    default:
        return 0;
    }
}

void choose_end(const struct choose *c, struct choice *out) {
#pragma omp parallel for schedule(static) if (c->n * c->blocks > SMALL)
    for (int64_t i = 0; i < c->n; i++) {
        const struct choose_row *w = &c->want[i];
        const struct choose_cell all = put_together(c->cell + i * c->blocks, c->blocks);
        out[i] = (struct choice){.id = all.id < 0 ? 0 : all.id,
                                 .position = w->position,
                                 .confidence = confidence_of(&all, w->confidence),
                                 .none = all.id < 0};
        if (w->target >= 0) out[i].loss = log(all.sums.sum) + ((double)all.top - (double)c->target_logit[i]);
    }
}

static int by_confidence(const void *a, const void *b) {
    const struct choice *x = a, *y = b;
    const bool x_nan = isnan(x->confidence), y_nan = isnan(y->confidence);
    if (x_nan != y_nan) return x_nan ? 1 : -1;
    if (!x_nan && x->confidence != y->confidence) return x->confidence > y->confidence ? -1 : 1;
    return x->position < y->position ? -1 : x->position > y->position;
}

void choose_sort(struct choice *v, int64_t n) {
    qsort(v, (size_t)n, sizeof *v, by_confidence);
}
