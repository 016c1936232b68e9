/* row_buffer: a row under test: its elements in its own type, what they should be in double, and guards on both sides.
 * Shared by the kernel tests; each test program includes it once. */
#ifndef MDM_TESTS_KERNELS_ROW_BUFFER_H
#define MDM_TESTS_KERNELS_ROW_BUFFER_H
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "compute/ref.h"
#include "compute/kernels.h"

enum { GUARD = 64, GUARD_BYTE = 0xa5 };

struct row {
    enum dtype t;
    int64_t n;
    unsigned char *base;
    void *p;   /* n elements; `shift` elements off 64-byte alignment, guards around */
    double *d; /* the same in double; tests turn it into what is expected */
};

static uint64_t row_serial; /* every row gets other numbers */

static inline struct row row_new(enum dtype t, int64_t n, int shift) {
    struct row r = {.t = t, .n = n};
    const size_t size = dtype_size(t), bytes = (size_t)n * size + (size_t)shift * size + 2 * GUARD;
    if (posix_memalign((void **)&r.base, 64, bytes)) abort();
    memset(r.base, GUARD_BYTE, bytes);
    r.p = r.base + GUARD + (size_t)shift * size;
    r.d = calloc((size_t)n + 1, sizeof *r.d);
    if (!r.d) abort();
    return r;
}

/* Numbers like low + (high − low)·u, as the type holds them. */
static inline struct row row_uniform(enum dtype t, int64_t n, int shift, double low, double high) {
    struct row r = row_new(t, n, shift);
    row_serial++;
    for (int64_t i = 0; i < n; i++) r.d[i] = low + (high - low) * rng_uniform(42, RNG_TEST, row_serial, (uint64_t)i);
    ref_narrow(r.p, t, r.d, n);
    ref_widen(r.d, r.p, t, n);
    return r;
}

static inline struct row row_normal(enum dtype t, int64_t n, int shift) {
    struct row r = row_new(t, n, shift);
    float *f = malloc(((size_t)n + 2) * sizeof *f);
    if (!f) abort();
    rng_normal(f, n, 42, RNG_TEST, ++row_serial, 0);
    for (int64_t i = 0; i < n; i++) r.d[i] = f[i];
    free(f);
    ref_narrow(r.p, t, r.d, n);
    ref_widen(r.d, r.p, t, n);
    return r;
}

static inline void row_free(struct row *r) {
    free(r->base);
    free(r->d);
}

/* Bytes written outside the row? */
static inline int row_guards_broken(const struct row *r) {
    const unsigned char *start = r->p, *end = start + (size_t)r->n * dtype_size(r->t);
    for (const unsigned char *g = r->base; g < start; g++)
        if (*g != GUARD_BYTE) return 1;
    for (int i = 0; i < GUARD; i++)
        if (end[i] != GUARD_BYTE) return 1;
    return 0;
}

/* Largest |got − d| − (relative·|d| + absolute), in a row whose elements should be d; a bf16 row may be off by its own
 * rounding. NaN and infinities must be met exactly. Prints the worst element and returns 1 when beyond. */
static inline int row_wrong(const struct row *r, double relative, double absolute, const char *what) {
    if (r->t == DTYPE_BF16) relative += 1.0 / 256 + relative / 256;
    double *got = malloc(((size_t)r->n + 1) * sizeof *got);
    if (!got) abort();
    ref_widen(got, r->p, r->t, r->n);
    int64_t worst = -1;
    double by = 0;
    for (int64_t i = 0; i < r->n; i++) {
        const double want = r->d[i];
        double over = fabs(got[i] - want) - (relative * fabs(want) + absolute);
        if (isnan(want) || isinf(want) || isnan(got[i]) || isinf(got[i]))
            over = (isnan(want) && isnan(got[i])) || want == got[i] ? 0 : INFINITY;
        if (over > by) by = over, worst = i;
    }
    if (worst >= 0)
        printf("%s: element %lld of %lld: got %.9g, expected %.9g\n", what, (long long)worst, (long long)r->n,
               got[worst], r->d[worst]);
    free(got);
    if (row_guards_broken(r)) {
        printf("%s: wrote outside its row of %lld\n", what, (long long)r->n);
        return 1;
    }
    return worst >= 0;
}

#endif
