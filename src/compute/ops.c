/* ops: loops of row kernels over tensors, shared among threads. An element is written by one thread; sums over many
 * rows or elements are cut at places that depend on the sizes only and put together in order, so that the number of
 * threads never shows. Tensors below SMALL elements stay on the calling thread: starting the others would take longer.
 */
#include "compute/ops.h"

#include <omp.h>
#include <string.h>

#include "base/num.h"

enum {
    SMALL = 1 << 14,  /* elements */
    PIECE = 1 << 14,  /* elements of a flat array that one turn takes */
    COLUMNS = 1 << 8, /* columns of dw that one turn adds up */
    SUMS = 1 << 10,   /* partial sums of sum_squares, at most */
};

static const char *row_of(const void *base, enum dtype t, int64_t i, int64_t width) {
    return (const char *)base + i * width * (int64_t)dtype_size(t);
}

static char *row_to(void *base, enum dtype t, int64_t i, int64_t width) {
    return (char *)base + i * width * (int64_t)dtype_size(t);
}

/* ---- rows ---- */

void ops_embed(float *x, const void *table, enum dtype t, const int32_t *ids, int64_t n, int64_t E) {
#pragma omp parallel for schedule(static) if (n * E > SMALL)
    for (int64_t i = 0; i < n; i++) kernels->convert(x + i * E, DTYPE_F32, row_of(table, t, ids[i], E), t, E);
}

void ops_embed_add(float *x, const void *table, enum dtype t, const int32_t *ids, int64_t n, int64_t E) {
#pragma omp parallel for schedule(static) if (n * E > SMALL)
    for (int64_t i = 0; i < n; i++) kernels->add_scaled(x + i * E, 1, row_of(table, t, ids[i], E), t, E);
}

void ops_embed_backward(float *dtable, const float *dx, const int32_t *ids, int64_t n, int64_t E) {
#pragma omp parallel if (n * E > SMALL)
    { /* two tokens may be the same, so threads take columns, whole cache lines of them */
        const int64_t share = round_up(E / omp_get_num_threads(), 16), from = min64(E, omp_get_thread_num() * share);
        const int64_t to = omp_get_thread_num() == omp_get_num_threads() - 1 ? E : min64(E, from + share);
        for (int64_t i = 0; i < n; i++) kernels->add(dtable + ids[i] * E + from, dx + i * E + from, to - from);
    }
}

void ops_rmsnorm(void *y, enum dtype t, float *rstd, const float *x, const float *w, int64_t n, int64_t E, float eps) {
#pragma omp parallel for schedule(static) if (n * E > SMALL)
    for (int64_t i = 0; i < n; i++)
        kernels->rmsnorm(row_to(y, t, i, E), t, rstd ? rstd + i : NULL, x + i * E, w, E, eps);
}

void ops_layernorm(void *y, enum dtype t, const float *x, const float *w, const float *b, int64_t n, int64_t E,
                   float eps) {
#pragma omp parallel for schedule(static) if (n * E > SMALL)
    for (int64_t i = 0; i < n; i++) kernels->layernorm(row_to(y, t, i, E), t, x + i * E, w, b, E, eps);
}

static int64_t groups(int64_t n) {
    return divide_up(n, OPS_GROUP);
}

int64_t ops_rmsnorm_scratch(int64_t n, int64_t E) {
    return groups(n) * E;
}

void ops_rmsnorm_backward(float *dx, float *dw, const float *dy, const float *x, const float *w, const float *rstd,
                          int64_t n, int64_t E, float *partial) {
#pragma omp parallel if (n * E > SMALL)
    {
#pragma omp for schedule(static)
        for (int64_t g = 0; g < groups(n); g++) {
            float *sum = partial + g * E;
            memset(sum, 0, (size_t)E * sizeof *sum);
            for (int64_t i = g * OPS_GROUP; i < min64(n, (g + 1) * OPS_GROUP); i++)
                kernels->rmsnorm_backward(dx + i * E, sum, dy + i * E, x + i * E, w, rstd[i], E);
        }
#pragma omp for schedule(static)
        for (int64_t c = 0; c < E; c += COLUMNS)
            for (int64_t g = 0; g < groups(n); g++) kernels->add(dw + c, partial + g * E + c, min64(COLUMNS, E - c));
    }
}

void ops_gelu(void *h, const void *a, enum dtype t, int64_t n, int64_t F) {
#pragma omp parallel for schedule(static) if (n * F > SMALL)
    for (int64_t i = 0; i < n; i++) kernels->gelu(row_to(h, t, i, F), row_of(a, t, i, F), t, F);
}

void ops_swiglu(void *h, const void *a, const void *b, enum dtype t, int64_t n, int64_t F) {
#pragma omp parallel for schedule(static) if (n * F > SMALL)
    for (int64_t i = 0; i < n; i++) kernels->swiglu(row_to(h, t, i, F), row_of(a, t, i, F), row_of(b, t, i, F), t, F);
}

void ops_swiglu_backward(void *a_to_da, void *b_to_db, void *h, const void *dh, enum dtype t, int64_t n, int64_t F) {
#pragma omp parallel for schedule(static) if (n * F > SMALL)
    for (int64_t i = 0; i < n; i++)
        kernels->swiglu_backward(row_to(a_to_da, t, i, F), row_to(b_to_db, t, i, F), row_to(h, t, i, F),
                                 row_of(dh, t, i, F), t, F);
}

void ops_gather(void *y, const void *x, enum dtype t, const int64_t *index, int64_t n, int64_t E) {
#pragma omp parallel for schedule(static) if (n * E > SMALL)
    for (int64_t i = 0; i < n; i++) memcpy(row_to(y, t, i, E), row_of(x, t, index[i], E), (size_t)E * dtype_size(t));
}

void ops_scatter_add(float *y, const float *x, const int64_t *index, int64_t n, int64_t E) {
#pragma omp parallel for schedule(static) if (n * E > SMALL)
    for (int64_t i = 0; i < n; i++) kernels->add(y + index[i] * E, x + i * E, E);
}

/* Squares of SIDE, so that what a cache line brings is used while it is there. */
void ops_transpose(void *y, const void *x, size_t size, int64_t rows, int64_t cols, int64_t ldx) {
    enum { SIDE = 32 };
    char *to = y;
    const char *from = x;
#pragma omp parallel for schedule(static) if (rows * cols > SMALL)
    for (int64_t i = 0; i < rows; i += SIDE)
        for (int64_t k = 0; k < cols; k += SIDE)
            for (int64_t r = i; r < min64(rows, i + SIDE); r++)
                for (int64_t c = k; c < min64(cols, k + SIDE); c++)
                    memcpy(to + (size_t)(r * cols + c) * size, from + (size_t)(c * ldx + r) * size, size);
}

/* ---- flat arrays ---- */

void ops_convert(void *y, enum dtype yt, const void *x, enum dtype xt, int64_t n) {
#pragma omp parallel for schedule(static) if (n > SMALL)
    for (int64_t i = 0; i < n; i += PIECE)
        kernels->convert(row_to(y, yt, i, 1), yt, row_of(x, xt, i, 1), xt, min64(PIECE, n - i));
}

void ops_round(float *x, enum dtype t, int64_t n) {
    enum { STEP = 1 << 9 }; /* of floats at most, in the nearest cache */
#pragma omp parallel for schedule(static) if (n > SMALL)
    for (int64_t i = 0; i < n; i += STEP) {
        float rounded[STEP];
        kernels->convert(rounded, t, x + i, DTYPE_F32, min64(STEP, n - i));
        kernels->convert(x + i, DTYPE_F32, rounded, t, min64(STEP, n - i));
    }
}

void ops_add(float *y, const float *x, int64_t n) {
#pragma omp parallel for schedule(static) if (n > SMALL)
    for (int64_t i = 0; i < n; i += PIECE) kernels->add(y + i, x + i, min64(PIECE, n - i));
}

void ops_add_scaled(float *y, float a, const float *x, int64_t n) {
#pragma omp parallel for schedule(static) if (n > SMALL)
    for (int64_t i = 0; i < n; i += PIECE) kernels->add_scaled(y + i, a, x + i, DTYPE_F32, min64(PIECE, n - i));
}

void ops_scale(float *y, float a, int64_t n) {
#pragma omp parallel for schedule(static) if (n > SMALL)
    for (int64_t i = 0; i < n; i += PIECE) kernels->scale(y + i, DTYPE_F32, a, min64(PIECE, n - i));
}

void ops_zero(void *y, int64_t bytes) {
    enum { BYTES = PIECE * 4 };
#pragma omp parallel for schedule(static) if (bytes > BYTES)
    for (int64_t i = 0; i < bytes; i += BYTES) memset((char *)y + i, 0, (size_t)min64(BYTES, bytes - i));
}

void ops_square_sums(double *sums, const float *x, int64_t n, int64_t piece) {
#pragma omp parallel for schedule(static) if (n > SMALL)
    for (int64_t i = 0; i < n; i += piece) sums[i / piece] = kernels->sum_squares(x + i, min64(piece, n - i));
}

double ops_sum_squares(const float *x, int64_t n) {
    const int64_t least = divide_up(n, SUMS), piece = least > PIECE ? round_up(least, 64) : PIECE;
    double partial[SUMS], sum = 0;
    ops_square_sums(partial, x, n, piece);
    for (int64_t i = 0; i < n; i += piece) sum += partial[i / piece];
    return sum;
}

void ops_adamw(float *w, float *m, float *v, const float *g, int64_t n, const struct adamw *s) {
#pragma omp parallel for schedule(static) if (n > SMALL)
    for (int64_t i = 0; i < n; i += PIECE) kernels->adamw(w + i, m + i, v + i, g + i, min64(PIECE, n - i), s);
}
