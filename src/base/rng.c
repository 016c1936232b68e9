/* rng: Philox4x32-10 and the few distributions made from it. Holds no state and draws nothing by itself.
 *
 * The 128-bit counter is (index, sample), low word first; the 64-bit key is a bijective scrambling of
 * seed + purpose * 2^64/phi: the purposes of one seed never share a key, nor do those of seeds that lie near each other,
 * as the ones people choose do. */
#include "base/rng.h"

#include <math.h>

#include "base/err.h"

void rng_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53 * c0, b = (uint64_t)0xCD9E8D57 * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)a;
        k0 += 0x9E3779B9;
        k1 += 0xBB67AE85;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* The finalizer of MurmurHash3 with Stafford's constants (variant 13): a bijection of 64 bits. */
static uint64_t scramble(uint64_t x) {
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9;
    x = (x ^ x >> 27) * 0x94D049BB133111EB;
    return x ^ x >> 31;
}

void rng_bits(uint32_t out[4], uint64_t seed, enum rng_purpose purpose, uint64_t sample, uint64_t index) {
    uint64_t k = scramble(seed + (uint64_t)purpose * 0x9E3779B97F4A7C15);
    const uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)sample, (uint32_t)(sample >> 32)};
    const uint32_t key[2] = {(uint32_t)k, (uint32_t)(k >> 32)};
    rng_philox(out, counter, key);
}

static uint64_t join(const uint32_t w[2]) {
    return (uint64_t)w[1] << 32 | w[0];
}
static double closed_open(uint64_t x) {
    return (double)(x >> 11) * 0x1p-53;
}
static double open_open(uint64_t x) {
    return ((double)(x >> 12) + 0.5) * 0x1p-52;
}

double rng_uniform(uint64_t seed, enum rng_purpose purpose, uint64_t sample, uint64_t index) {
    uint32_t w[4];
    rng_bits(w, seed, purpose, sample, index);
    return closed_open(join(w));
}

uint64_t rng_below(uint64_t seed, enum rng_purpose purpose, uint64_t sample, uint64_t index, uint64_t n) {
    BUG_ON(n == 0);
    uint32_t w[4];
    rng_bits(w, seed, purpose, sample, index);
    /* floor(n * x / 2^128) for the 128-bit x: off from uniform by at most n / 2^128. */
    unsigned __int128 low = (unsigned __int128)join(w) * n >> 64;
    return (uint64_t)(((unsigned __int128)join(w + 2) * n + low) >> 64);
}

/* A Feistel network on 2^(2·half) >= n numbers, followed until it lands below n. The domain is at least 2^10 so that short
 * ranges are mixed as well as long ones. */
uint64_t rng_permute(uint64_t i, uint64_t n, uint64_t seed, enum rng_purpose purpose, uint64_t sample) {
    int half = 5;
    while (half < 31 && (1ull << (2 * half)) < n) half++;
    uint64_t mask = (1ull << half) - 1;
    do {
        uint64_t left = i >> half, right = i & mask;
        for (uint64_t round = 0; round < 6; round++) {
            uint32_t bits[4];
            rng_bits(bits, seed, purpose, sample, round << 32 | right);
            uint64_t next = left ^ (bits[0] & mask);
            left = right, right = next;
        }
        i = left << half | right;
    } while (i >= n);
    return i;
}

void rng_normal(float *out, int64_t n, uint64_t seed, enum rng_purpose purpose, uint64_t sample, uint64_t first) {
    for (int64_t i = 0; i < n;) {
        uint64_t at = first + (uint64_t)i;
        uint32_t w[4];
        rng_bits(w, seed, purpose, sample, at / 2);
        double r = sqrt(-2 * log(open_open(join(w)))), s, c;
        sincos(2 * M_PI * closed_open(join(w + 2)), &s, &c);
        if (at % 2 == 0) out[i++] = (float)(r * c);
        if (i < n) out[i++] = (float)(r * s);
    }
}
