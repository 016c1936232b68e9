/* attention: tiles of ATTENTION_ROWS query rows, the last one of fewer, against all keys of their sequence.
 *
 * One task is one (sequence, group): keys and values are gathered once (rotated, zero-padded to PAD rows), then each
 * query head of the group goes over its tiles: S = Q·Kᵀ, softmax by row, Y = P·V. Backward computes S again from the
 * saved log-sum-exp. A task writes its own part of the output, so results do not depend on threads or on other
 * sequences. The scale 1/√D is folded into Q. */
#include "compute/attention.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/mem.h"
#include "compute/gemm.h"

enum { PAD = 32 }; /* of key rows */
/* Work below which one thread does it all, in multiply-adds. */
#define PARALLEL_WORK (INT64_C(1) << 21)

static int64_t pad(int64_t n) {
    return (n + PAD - 1) / PAD * PAD;
}

/* Query rows of a tile for m of them, padding included. */
static int64_t tile_rows(int64_t m) {
    int64_t R = ATTENTION_ROWS;
    while (R / 2 >= m && R > GEMM_ROW_STEP) R /= 2;
    return R;
}

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Type of tiles: what products really multiply. */
static enum dtype tile_type(const struct attention *a) {
    return a->t == DTYPE_BF16 && gemm_native_bf16() ? DTYPE_BF16 : DTYPE_F32;
}

static int64_t row_width(const struct attention *a) {
    return (a->H + 2 * a->G) * a->D;
}

/* Upper bound of a batch's multiply-adds in one direction. */
static int64_t work(const struct attention *a, const struct attention_batch *b) {
    int64_t scores = 0;
    for (int64_t s = 0; s < b->nseq; s++)
        scores += (b->starts[s + 1] - b->starts[s]) * (b->starts[s + 1] - b->starts[s]);
    return 2 * scores * a->H * a->D;
}

/* One thread's buffers, cut from scratch. Letters: R query rows of a tile, T padded sequence length. Operands of
 * products have rows of gemm_stride() elements, written [R, D+] here. */
struct tile {
    void *k, *v;    /* [T, D+] tile type */
    void *q, *dy;   /* [R, D+] tile type */
    float *s, *ds;  /* [R, T+]; ds holds dP, then dS */
    void *p, *dsn;  /* [R, T+] P and dS in the tile type: s and ds themselves when that is f32 */
    float *o;       /* [R, D] result of a product */
    float *dk, *dv; /* [T, D] */
};

static int64_t tile_layout(struct tile *t, const struct attention *a, int64_t T, bool backward, char *base) {
    const enum dtype tt = tile_type(a);
    const int64_t size = (int64_t)dtype_size(tt), D = a->D, R = ATTENTION_ROWS, Tp = pad(T);
    const int64_t vector = gemm_stride(D, tt) * size, scores = gemm_stride(Tp, tt) * 4,
                  narrow = gemm_stride(Tp, tt) * size; /* bytes of rows */
    char *at = base;
    t->k = mem_cut(&at, Tp * vector);
    t->v = mem_cut(&at, Tp * vector);
    t->q = mem_cut(&at, R * vector);
    t->s = mem_cut(&at, R * scores);
    t->o = mem_cut(&at, R * D * 4);
    t->p = tt == DTYPE_F32 ? (void *)t->s : mem_cut(&at, R * narrow);
    if (backward) {
        t->dy = mem_cut(&at, R * vector);
        t->ds = mem_cut(&at, R * scores);
        t->dsn = tt == DTYPE_F32 ? (void *)t->ds : mem_cut(&at, R * narrow);
        t->dk = mem_cut(&at, Tp * D * 4);
        t->dv = mem_cut(&at, Tp * D * 4);
    }
    return at - base;
}

int64_t attention_scratch(const struct attention *a, int64_t T, bool backward) {
    return gemm_threads() * tile_layout(&(struct tile){0}, a, T, backward, NULL);
}

/* Longest sequence of a batch: the stride between threads' buffers follows from it. */
static int64_t longest(const struct attention_batch *b) {
    int64_t T = 0;
    for (int64_t s = 0; s < b->nseq; s++)
        if (b->starts[s + 1] - b->starts[s] > T) T = b->starts[s + 1] - b->starts[s];
    return T;
}

static struct tile my_tile(const struct attention *a, const struct attention_batch *b, bool backward, void *scratch) {
    struct tile t = {0};
    const int64_t bytes = tile_layout(&t, a, longest(b), backward, NULL);
    tile_layout(&t, a, longest(b), backward, (char *)scratch + omp_get_thread_num() * bytes);
    return t;
}

/* Task: rows of one sequence and one group. Query row i (of y) belongs to row `row(i)` of qkv. */
struct task {
    const struct attention *a;
    const struct attention_batch *b;
    int64_t start, T;    /* the sequence's rows of qkv */
    int64_t first, last; /* its wanted rows: y rows [first, last) */
    int64_t group;
    struct tile tile;
};

static int64_t lower_bound(const int64_t *v, int64_t n, int64_t x) {
    int64_t lo = 0, hi = n;
    while (lo < hi) {
        const int64_t mid = lo + (hi - lo) / 2;
        if (v[mid] < x)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void task_init(struct task *k, const struct attention *a, const struct attention_batch *b, int64_t number) {
    const int64_t seq = number / a->G;
    k->a = a;
    k->b = b;
    k->group = number % a->G;
    k->start = b->starts[seq];
    k->T = b->starts[seq + 1] - k->start;
    k->first = b->rows ? lower_bound(b->rows, b->nrows, k->start) : k->start;
    k->last = b->rows ? lower_bound(b->rows, b->nrows, k->start + k->T) : k->start + k->T;
}

static int64_t task_row(const struct task *k, int64_t i) {
    return k->b->rows ? k->b->rows[i] : i;
}

/* Element offset, in a row of qkv, of part `j` of the group: queries 0 … H/G-1, then key, then value. */
static int64_t part(const struct task *k, int64_t j) {
    return (k->group * (k->a->H / k->a->G + 2) + j) * k->a->D;
}

static const char *element(const void *base, enum dtype t, int64_t i) {
    return (const char *)base + i * (int64_t)dtype_size(t);
}

/* Keys and values of the task, rotated, into the tile; rows up to the padded length are zero. */
static void gather_kv(const struct task *k, const void *qkv) {
    const struct attention *a = k->a;
    const int64_t D = a->D, W = row_width(a), Tp = pad(k->T), kj = part(k, a->H / a->G), vj = kj + D;
    const enum dtype tt = tile_type(a);
    const int64_t row_bytes = gemm_stride(D, tt) * (int64_t)dtype_size(tt);
    for (int64_t i = 0; i < k->T; i++) {
        const int64_t r = (k->start + i) * W;
        kernels->rotate((char *)k->tile.k + i * row_bytes, tt, element(qkv, a->t, r + kj), a->t, a->cos + i * D / 2,
                        a->sin + i * D / 2, D, 1.0f);
        kernels->convert((char *)k->tile.v + i * row_bytes, tt, element(qkv, a->t, r + vj), a->t, D);
    }
    memset((char *)k->tile.k + k->T * row_bytes, 0, (size_t)((Tp - k->T) * row_bytes));
    memset((char *)k->tile.v + k->T * row_bytes, 0, (size_t)((Tp - k->T) * row_bytes));
}

/* Rotated, scaled queries of head `head` of the group for y rows [i0, i0+m), zero-padded to tile_rows(m) rows. */
static void gather_q(const struct task *k, const void *qkv, int64_t head, int64_t i0, int64_t m) {
    const struct attention *a = k->a;
    const int64_t D = a->D, W = row_width(a);
    const enum dtype tt = tile_type(a);
    const int64_t row_bytes = gemm_stride(D, tt) * (int64_t)dtype_size(tt);
    const float scale = 1.0f / sqrtf((float)D);
    for (int64_t i = 0; i < m; i++) {
        const int64_t row = task_row(k, i0 + i), position = row - k->start;
        kernels->rotate((char *)k->tile.q + i * row_bytes, tt, element(qkv, a->t, row * W + part(k, head)), a->t,
                        a->cos + position * D / 2, a->sin + position * D / 2, D, scale);
    }
    memset((char *)k->tile.q + m * row_bytes, 0, (size_t)((tile_rows(m) - m) * row_bytes));
}

/* The products of a tile of R rows against T keys; operands and scores have rows of gemm_stride() elements. */
static struct gemm_shape score_shape(int64_t R, int64_t T, int64_t D, enum dtype t) { /* [R,T] = Q·Kᵀ or dY·Vᵀ */
    return (struct gemm_shape){.M = R,
                               .N = T,
                               .K = D,
                               .lda = gemm_stride(D, t),
                               .ldb = gemm_stride(D, t),
                               .ldc = gemm_stride(T, t),
                               .trans_b = true,
                               .type = t,
                               .c_type = DTYPE_F32};
}

static struct gemm_shape mix_shape(int64_t R, int64_t T, int64_t D, enum dtype t) { /* [R,D] = P·V or dS·K */
    return (struct gemm_shape){.M = R,
                               .N = D,
                               .K = T,
                               .lda = gemm_stride(T, t),
                               .ldb = gemm_stride(D, t),
                               .ldc = D,
                               .type = t,
                               .c_type = DTYPE_F32};
}

static struct gemm_shape key_shape(int64_t R, int64_t T, int64_t D, enum dtype t) { /* [T,D] += Pᵀ·dY or dSᵀ·Q */
    return (struct gemm_shape){.M = T,
                               .N = D,
                               .K = R,
                               .lda = gemm_stride(T, t),
                               .ldb = gemm_stride(D, t),
                               .ldc = D,
                               .trans_a = true,
                               .add = true,
                               .type = t,
                               .c_type = DTYPE_F32};
}

static void multiply(struct gemm_shape shape, const void *A, const void *B, float *C) {
    gemm_run(gemm_get(&shape), A, B, C);
}

int attention_prepare(const struct attention *a, int64_t T, bool backward, struct err *err) {
    const enum dtype tt = tile_type(a);
    for (int64_t R = GEMM_ROW_STEP; R <= tile_rows(T); R *= 2)
        for (int64_t keys = PAD; keys <= pad(T); keys += PAD) {
            const struct gemm_shape s[] = {score_shape(R, keys, a->D, tt), mix_shape(R, keys, a->D, tt),
                                           key_shape(R, keys, a->D, tt)};
            for (int i = 0; i < (backward ? 3 : 2); i++)
                if (gemm_prepare(&s[i], err) < 0) return -1;
        }
    return 0;
}

/* Keys that y row i may see. */
static int64_t keys_seen(const struct task *k, int64_t i) {
    return k->a->causal ? task_row(k, i) - k->start + 1 : k->T;
}

static void forward_tile(const struct task *k, void *y, float *lse, const void *qkv, int64_t head, int64_t i0,
                         int64_t m) {
    const struct attention *a = k->a;
    const struct tile *t = &k->tile;
    const enum dtype tt = tile_type(a);
    const int64_t D = a->D, mp = tile_rows(m), seen = pad(keys_seen(k, i0 + m - 1)),
                  h = k->group * (a->H / a->G) + head;
    const int64_t ls = gemm_stride(seen, tt), p_bytes = gemm_stride(seen, tt) * (int64_t)dtype_size(tt);
    gather_q(k, qkv, head, i0, m);
    multiply(score_shape(mp, seen, D, tt), t->q, t->k, t->s);
    for (int64_t i = 0; i < m; i++)
        kernels->softmax((char *)t->p + i * p_bytes, tt, &lse[(i0 + i) * a->H + h], t->s + i * ls, keys_seen(k, i0 + i),
                         seen);
    memset((char *)t->p + m * p_bytes, 0, (size_t)((mp - m) * p_bytes));
    multiply(mix_shape(mp, seen, D, tt), t->p, t->v, t->o);
    for (int64_t i = 0; i < m; i++)
        kernels->convert((char *)y + ((i0 + i) * a->H + h) * D * (int64_t)dtype_size(a->t), a->t, t->o + i * D,
                         DTYPE_F32, D);
}

void attention_forward(void *y, float *lse, const void *qkv, const struct attention *a, const struct attention_batch *b,
                       void *scratch) {
#pragma omp parallel for schedule(dynamic) if (work(a, b) > PARALLEL_WORK)
    for (int64_t number = 0; number < b->nseq * a->G; number++) {
        struct task k;
        task_init(&k, a, b, number);
        if (k.first == k.last) continue;
        k.tile = my_tile(a, b, false, scratch);
        gather_kv(&k, qkv);
        for (int64_t head = 0; head < a->H / a->G; head++)
            for (int64_t i = k.first; i < k.last; i += ATTENTION_ROWS)
                forward_tile(&k, y, lse, qkv, head, i, min64(ATTENTION_ROWS, k.last - i));
    }
}

static void backward_tile(const struct task *k, void *dqkv, const void *dy, const void *y, const float *lse,
                          const void *qkv, int64_t head, int64_t i0, int64_t m) {
    const struct attention *a = k->a;
    const struct tile *t = &k->tile;
    const enum dtype tt = tile_type(a);
    const int64_t size = (int64_t)dtype_size(tt), D = a->D, W = row_width(a), mp = tile_rows(m),
                  seen = pad(keys_seen(k, i0 + m - 1));
    const int64_t h = k->group * (a->H / a->G) + head, ls = gemm_stride(seen, tt), vector = gemm_stride(D, tt) * size,
                  p_bytes = gemm_stride(seen, tt) * size;
    gather_q(k, qkv, head, i0, m);
    for (int64_t i = 0; i < m; i++)
        kernels->convert((char *)t->dy + i * vector, tt, element(dy, a->t, ((i0 + i) * a->H + h) * D), a->t, D);
    memset((char *)t->dy + m * vector, 0, (size_t)((mp - m) * vector));
    multiply(score_shape(mp, seen, D, tt), t->q, t->k, t->s);
    multiply(score_shape(mp, seen, D, tt), t->dy, t->v, t->ds);
    for (int64_t i = 0; i < m; i++) {
        const int64_t at = ((i0 + i) * a->H + h) * D;
        const float delta = kernels->dot(element(dy, a->t, at), a->t, element(y, a->t, at), a->t, D);
        kernels->softmax_backward((char *)t->p + i * p_bytes, (char *)t->dsn + i * p_bytes, tt, t->s + i * ls,
                                  t->ds + i * ls, lse[(i0 + i) * a->H + h], delta, keys_seen(k, i0 + i), seen);
    }
    memset((char *)t->p + m * p_bytes, 0, (size_t)((mp - m) * p_bytes));
    memset((char *)t->dsn + m * p_bytes, 0, (size_t)((mp - m) * p_bytes));
    multiply(key_shape(mp, seen, D, tt), t->p, t->dy, t->dv);
    multiply(key_shape(mp, seen, D, tt), t->dsn, t->q, t->dk);
    multiply(mix_shape(mp, seen, D, tt), t->dsn, t->k, t->o);
    const float scale = 1.0f / sqrtf((float)D);
    for (int64_t i = 0; i < m; i++) {
        const int64_t row = task_row(k, i0 + i), position = row - k->start;
        kernels->rotate_back((char *)dqkv + (row * W + part(k, head)) * (int64_t)dtype_size(a->t), a->t, t->o + i * D,
                             a->cos + position * D / 2, a->sin + position * D / 2, D, scale);
    }
}

void attention_backward(void *dqkv, const void *dy, const void *y, const float *lse, const void *qkv,
                        const struct attention *a, const struct attention_batch *b, void *scratch) {
    const int64_t D = a->D, W = row_width(a), size = (int64_t)dtype_size(a->t), queries = a->H / a->G;
#pragma omp parallel for schedule(dynamic) if (work(a, b) > PARALLEL_WORK)
    for (int64_t number = 0; number < b->nseq * a->G; number++) {
        struct task k;
        task_init(&k, a, b, number);
        k.tile = my_tile(a, b, true, scratch);
        const int64_t Tp = pad(k.T);
        if (b->rows) /* queries that nobody wanted have no gradient */
            for (int64_t i = 0; i < k.T; i++)
                memset((char *)dqkv + ((k.start + i) * W + part(&k, 0)) * size, 0, (size_t)(queries * D * size));
        memset(k.tile.dk, 0, (size_t)(Tp * D) * 4);
        memset(k.tile.dv, 0, (size_t)(Tp * D) * 4);
        gather_kv(&k, qkv);
        for (int64_t head = 0; head < queries; head++)
            for (int64_t i = k.first; i < k.last; i += ATTENTION_ROWS)
                backward_tile(&k, dqkv, dy, y, lse, qkv, head, i, min64(ATTENTION_ROWS, k.last - i));
        for (int64_t i = 0; i < k.T; i++) {
            const int64_t r = (k.start + i) * W;
            kernels->rotate_back((char *)dqkv + (r + part(&k, queries)) * size, a->t, k.tile.dk + i * D,
                                 a->cos + i * D / 2, a->sin + i * D / 2, D, 1.0f);
            kernels->convert((char *)dqkv + (r + part(&k, queries + 1)) * size, a->t, k.tile.dv + i * D, DTYPE_F32, D);
        }
    }
}

/* Decoding: the group's queries of all new rows are one small product against the cache. f32 throughout: decoding is
 * bound by reading the cache, not by arithmetic. */
static void cached_group(void *y, float *kc, float *vc, int64_t past, const void *qkv, const struct attention *a,
                         int64_t start, int64_t T, int64_t group, struct tile *t) {
    const int64_t D = a->D, W = row_width(a), queries = a->H / a->G, total = past + T, stride = a->G * D,
                  seen = pad(total);
    const int64_t base = group * (queries + 2) * D;
    for (int64_t i = 0; i < T; i++) {
        const int64_t r = (start + i) * W + base + queries * D, position = past + i;
        kernels->rotate(kc + position * stride + group * D, DTYPE_F32, element(qkv, a->t, r), a->t,
                        a->cos + position * D / 2, a->sin + position * D / 2, D, 1.0f);
        kernels->convert(vc + position * stride + group * D, DTYPE_F32, element(qkv, a->t, r + D), a->t, D);
    }
    for (int64_t i = 0; i < T; i++) {
        const int64_t position = past + i;
        float *q = t->q, lse;
        for (int64_t j = 0; j < queries; j++)
            kernels->rotate(q + j * D, DTYPE_F32, element(qkv, a->t, (start + i) * W + base + j * D), a->t,
                            a->cos + position * D / 2, a->sin + position * D / 2, D, 1.0f / sqrtf((float)D));
        gemm_run(gemm_get(&(struct gemm_shape){.M = queries,
                                               .N = seen,
                                               .K = D,
                                               .lda = D,
                                               .ldb = stride,
                                               .ldc = seen,
                                               .trans_b = true,
                                               .type = DTYPE_F32,
                                               .c_type = DTYPE_F32}),
                 q, kc + group * D, t->s);
        for (int64_t j = 0; j < queries; j++)
            kernels->softmax(t->s + j * seen, DTYPE_F32, &lse, t->s + j * seen, position + 1, seen);
        gemm_run(gemm_get(&(struct gemm_shape){.M = queries,
                                               .N = D,
                                               .K = seen,
                                               .lda = seen,
                                               .ldb = stride,
                                               .ldc = D,
                                               .type = DTYPE_F32,
                                               .c_type = DTYPE_F32}),
                 t->s, vc + group * D, t->o);
        for (int64_t j = 0; j < queries; j++)
            kernels->convert((char *)y + ((start + i) * a->H + group * queries + j) * D * (int64_t)dtype_size(a->t),
                             a->t, t->o + j * D, DTYPE_F32, D);
    }
}

int64_t attention_cached_scratch(const struct attention *a, int64_t length) {
    const int64_t R = a->H / a->G;
    return gemm_threads() * (R * (2 * a->D + pad(length)) * 4 + 192);
}

void attention_cached(void *y, float *const *k, float *const *v, const int64_t *past, const void *qkv,
                      const struct attention *a, const struct attention_batch *b, int64_t length, void *scratch) {
    const int64_t R = a->H / a->G, mine = attention_cached_scratch(a, length) / gemm_threads();
#pragma omp parallel for schedule(dynamic) if (2 * b->n * length * a->H * a->D > PARALLEL_WORK)
    for (int64_t number = 0; number < b->nseq * a->G; number++) {
        const int64_t seq = number / a->G, start = b->starts[seq];
        float *at = (float *)((char *)scratch + omp_get_thread_num() * mine);
        struct tile t = {.q = at, .o = at + R * a->D, .s = at + 2 * R * a->D};
        cached_group(y, k[seq], v[seq], past[seq], qkv, a, start, b->starts[seq + 1] - start, number % a->G, &t);
    }
}
