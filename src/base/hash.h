/* hash: 64-bit FNV-1a with a final mix, for fingerprints and for dealing documents to splits. Not for adversaries. */
#ifndef MDM_BASE_HASH_H
#define MDM_BASE_HASH_H
#include <stddef.h>
#include <stdint.h>

#define HASH_START 0xcbf29ce484222325ull

static inline uint64_t hash_add(uint64_t h, const void *data, size_t n) {
    const unsigned char *p = data;
    for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 0x100000001b3ull;
    return h;
}

/* Every bit of the result depends on every bit of h (the finisher of SplitMix64). */
static inline uint64_t hash_finish(uint64_t h) {
    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9ull;
    h = (h ^ (h >> 27)) * 0x94d049bb133111ebull;
    return h ^ (h >> 31);
}

#endif
