/* attention: tiles of ATTENTION_ROWS query rows, the last one of fewer, against all keys that they see.
 *
 * One task is one (sequence, group). Without a past, keys and values are gathered once (rotated, zero-padded to PAD
 * rows), then each query head of the group goes over its tiles: S = Q·Kᵀ, softmax by row, Y = P·V, the products by
 * oneDNN. Backward computes S again from the saved log-sum-exp. With a past, the keys of the batch's rows go behind it
 * in the store or, when they are not to be kept, into a store of the thread's own; all query heads of the group share a
 * tile, since reading the keys is what costs; and the products are those of stored keys (keys.h), in which a row is
 * summed in the order of positions, whatever its companions: so it has the same bits however its sequence was cut.
 * A task writes its own part of the output, so results do not depend on threads or on other sequences. The scale 1/√D
 * is folded into Q. */
#include "compute/attention.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/num.h"
#include "compute/gemm.h"
#include "compute/tasks.h"

enum { PAD = 32 }; /* of key rows */
/* Work below which one thread does it all, in multiply-adds. */
#define PARALLEL_WORK (INT64_C(1) << 21)
enum {
    READ_WORK = 8, /* rows whose arithmetic takes as long as reading the keys */
    AHEAD = 8,     /* rows of one head that are asked for before their turn */
};

static int64_t pad(int64_t n) {
    return round_up(n, PAD);
}

/* Query rows of a tile for m of them, padding included. */
static int64_t tile_rows(int64_t m) {
    int64_t R = ATTENTION_ROWS;
    while (R / 2 >= m && R > GEMM_ROW_STEP) R /= 2;
    return R;
}

/* Type of tiles: what products really multiply. */
static enum dtype tile_type(const struct attention *a) {
    return a->t == DTYPE_BF16 && gemm_native_bf16() ? DTYPE_BF16 : DTYPE_F32;
}

static int64_t row_width(const struct attention *a) {
    return (a->H + 2 * a->G) * a->D;
}

static int64_t own(const struct attention_batch *b, int64_t seq) {
    return b->starts[seq + 1] - b->starts[seq];
}

static const struct keys *past_of(const struct attention_batch *b, int64_t seq) {
    return b->past && b->past[seq].data ? &b->past[seq] : NULL;
}

static int64_t past_length(const struct attention_batch *b, int64_t seq) {
    const struct keys *past = past_of(b, seq);
    return past ? past->length : 0;
}

/* Upper bound of a batch's multiply-adds in one direction. */
static int64_t work(const struct attention *a, const struct attention_batch *b) {
    int64_t scores = 0;
    for (int64_t s = 0; s < b->nseq; s++) {
        const int64_t T = own(b, s), rows = past_of(b, s) && T < READ_WORK ? READ_WORK : T;
        scores += rows * (past_length(b, s) + T);
    }
    return 2 * scores * a->H * a->D;
}

/* One thread's buffers, cut from scratch. Letters: R query rows of a tile, T padded sequence length, S padded number of
 * keys. Operands of oneDNN's products have rows of gemm_stride() elements, written [R, D+] here. */
struct tile {
    void *k, *v;    /* [T, D+] tile type; with a past: both are the memory of the batch's own `struct keys` */
    void *q, *dy;   /* [R, D+] tile type; with a past: f32 */
    float *s, *ds;  /* [R, S+]; ds holds dP, then dS */
    void *p, *dsn;  /* [R, S+] P and dS in the tile type: s and ds themselves when that is f32 */
    float *o;       /* [R, D] result of a product */
    float *dk, *dv; /* [T, D] */
};

static int64_t tile_layout(struct tile *t, const struct attention *a, int64_t T, int64_t keys, bool backward,
                           char *base) {
    const enum dtype tt = tile_type(a);
    const int64_t size = (int64_t)dtype_size(tt), D = a->D, R = ATTENTION_ROWS, Tp = pad(T);
    /* scores of the batch's own keys begin where the past's end, and run to a multiple of PAD from there */
    const int64_t Sp = pad(keys) + PAD;
    const int64_t vector = gemm_stride(D, tt) * size, scores = gemm_stride(Sp, DTYPE_F32) * 4,
                  narrow = gemm_stride(Tp, tt) * size; /* bytes of rows */
    char *at = base;
    t->k = mem_cut(&at, max64(2 * Tp * vector, keys_bytes(1, D, T, DTYPE_F32)));
    t->v = (void *)((uintptr_t)t->k + (uintptr_t)(Tp * vector)); /* NULL while measuring */
    t->q = mem_cut(&at, R * gemm_stride(D, DTYPE_F32) * 4);
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

int64_t attention_scratch(const struct attention *a, int64_t T, int64_t keys, bool backward) {
    return gemm_threads() * tile_layout(&(struct tile){0}, a, T, keys, backward, NULL);
}

/* Longest sequence of a batch and most keys: the stride between threads' buffers follows from them. */
static struct tile my_tile(const struct attention *a, const struct attention_batch *b, bool backward, void *scratch) {
    struct tile t = {0};
    int64_t T = 0, keys = 0;
    for (int64_t s = 0; s < b->nseq; s++) {
        T = max64(T, own(b, s));
        keys = max64(keys, past_length(b, s) + own(b, s));
    }
    const int64_t bytes = tile_layout(&t, a, T, keys, backward, NULL);
    tile_layout(&t, a, T, keys, backward, (char *)scratch + omp_get_thread_num() * bytes);
    return t;
}

/* Task: rows of one sequence and one group. Query row i (of y) belongs to row task_row(i) of qkv. */
struct attention_task {
    const struct attention *a;
    const struct attention_batch *b;
    const struct keys *past; /* NULL: none */
    struct keys own;         /* with a past: where the keys of the batch's rows are, behind the past or in the tile */
    int64_t own_group;       /* the group's number in it */
    int64_t before;          /* positions of the past */
    int64_t start, T;        /* the sequence's rows of qkv */
    int64_t first, last;     /* its wanted rows: y rows [first, last) */
    int64_t group, shared;   /* query heads that share a tile */
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

static void task_init(struct attention_task *k, const struct attention *a, const struct attention_batch *b,
                      int64_t number) {
    const int64_t seq = number / a->G;
    k->a = a;
    k->b = b;
    k->group = number % a->G;
    k->past = past_of(b, seq);
    k->before = past_length(b, seq);
    k->shared = k->past ? a->H / a->G : 1;
    k->start = b->starts[seq];
    k->T = own(b, seq);
    k->first = b->rows ? lower_bound(b->rows, b->nrows, k->start) : k->start;
    k->last = b->rows ? lower_bound(b->rows, b->nrows, k->start + k->T) : k->start + k->T;
}

static int64_t task_row(const struct attention_task *k, int64_t i) {
    return k->b->rows ? k->b->rows[i] : i;
}

/* Element offset, in a row of qkv, of part `j` of the group: queries 0 … H/G-1, then key, then value. */
static int64_t part(const struct attention_task *k, int64_t j) {
    return (k->group * (k->a->H / k->a->G + 2) + j) * k->a->D;
}

static const char *element(const void *base, enum dtype t, int64_t i) {
    return (const char *)base + i * (int64_t)dtype_size(t);
}

/* Rows of one head lie too far apart for the processor to foresee the next one. `at`: element of base, D of them. */
static void ask_for(const struct attention *a, const void *base, int64_t at) {
    const char *row = element(base, a->t, at);
    for (int64_t b = 0; b < a->D * (int64_t)dtype_size(a->t); b += 64) __builtin_prefetch(row + b);
}

static int64_t row_position(const struct attention_task *k, int64_t row) {
    return k->before + row - k->start;
}

/* y[D] = scale·x, turned by its position where the model rotates. */
static void turn(const struct attention_task *k, void *y, enum dtype yt, const void *x, int64_t position, float scale) {
    const struct attention *a = k->a;
    if (a->cos) {
        const int64_t at = position * (a->D / 2);
        kernels->rotate(y, yt, x, a->t, a->cos + at, a->sin + at, a->D, scale);
        return;
    }
    kernels->convert(y, yt, x, a->t, a->D);
    if (scale != 1.0f) kernels->scale(y, yt, scale, a->D);
}

/* The gradient's way back. x is changed. */
static void turn_back(const struct attention_task *k, void *y, float *x, int64_t position, float scale) {
    const struct attention *a = k->a;
    if (a->cos) {
        const int64_t at = position * (a->D / 2);
        kernels->rotate_back(y, a->t, x, a->cos + at, a->sin + at, a->D, scale);
        return;
    }
    if (scale != 1.0f) kernels->scale(x, DTYPE_F32, scale, a->D);
    kernels->convert(y, a->t, x, DTYPE_F32, a->D);
}

/* Keys and values of the task, rotated, into the tile; rows up to the padded length are zero. */
static void gather_kv(const struct attention_task *k, const void *qkv) {
    const struct attention *a = k->a;
    const int64_t D = a->D, W = row_width(a), Tp = pad(k->T), kj = part(k, a->H / a->G), vj = kj + D;
    const enum dtype tt = tile_type(a);
    const int64_t row_bytes = gemm_stride(D, tt) * (int64_t)dtype_size(tt);
    for (int64_t i = 0; i < k->T; i++) {
        const int64_t r = (k->start + i) * W;
        if (i + AHEAD < k->T) {
            ask_for(a, qkv, r + AHEAD * W + kj);
            ask_for(a, qkv, r + AHEAD * W + vj);
        }
        turn(k, (char *)k->tile.k + i * row_bytes, tt, element(qkv, a->t, r + kj), i, 1.0f);
        kernels->convert((char *)k->tile.v + i * row_bytes, tt, element(qkv, a->t, r + vj), a->t, D);
    }
    memset((char *)k->tile.k + k->T * row_bytes, 0, (size_t)((Tp - k->T) * row_bytes));
    memset((char *)k->tile.v + k->T * row_bytes, 0, (size_t)((Tp - k->T) * row_bytes));
}

/* The same for a task with a past: as stored keys, behind the past when they may be kept. */
static void store_kv(struct attention_task *k, const void *qkv) {
    const struct attention *a = k->a;
    const int64_t D = a->D, W = row_width(a), kj = part(k, a->H / a->G), vj = kj + D;
    if (k->b->append) {
        BUG_ON(k->before + k->T > k->past->capacity);
        k->own = *k->past;
        k->own_group = k->group;
    } else {
        k->own = (struct keys){.data = k->tile.k, .capacity = k->T, .t = k->past->t};
        k->own_group = 0;
    }
    for (int64_t i = 0; i < k->T; i++) {
        const int64_t r = (k->start + i) * W, at = k->own.length + i;
        turn(k, k->tile.o, k->own.t, element(qkv, a->t, r + kj), k->before + i, 1.0f);
        keys_put(&k->own, D, k->own_group, at, k->tile.o);
        kernels->convert(keys_value(&k->own, D, k->own_group, at), k->own.t, element(qkv, a->t, r + vj), a->t, D);
    }
}

/* A tile: m queries, each a y row and a head. From query `first` of the task on, counted with the heads that share tiles
 * inside and the rows outside. */
struct query {
    int64_t i, head; /* y row; head of the group */
};

static struct query query_of(const struct attention_task *k, int64_t head, int64_t number) {
    return (struct query){.i = k->first + number / k->shared, .head = head + number % k->shared};
}

/* Rotated, scaled queries of a tile in type t, zero-padded to tile_rows(m) rows where oneDNN multiplies them. */
static void gather_q(const struct attention_task *k, const void *qkv, enum dtype t, int64_t head, int64_t number,
                     int64_t m) {
    const struct attention *a = k->a;
    const int64_t W = row_width(a), row_bytes = gemm_stride(a->D, t) * (int64_t)dtype_size(t);
    const float scale = 1.0f / sqrtf((float)a->D);
    for (int64_t u = 0; u < m; u++) {
        const struct query q = query_of(k, head, number + u);
        const int64_t row = task_row(k, q.i);
        if (u + AHEAD < m) ask_for(a, qkv, task_row(k, query_of(k, head, number + u + AHEAD).i) * W + part(k, q.head));
        turn(k, (char *)k->tile.q + u * row_bytes, t, element(qkv, a->t, row * W + part(k, q.head)),
             row_position(k, row), scale);
    }
    if (!k->past) memset((char *)k->tile.q + m * row_bytes, 0, (size_t)((tile_rows(m) - m) * row_bytes));
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
static int64_t keys_seen(const struct attention_task *k, int64_t i) {
    return k->a->causal ? row_position(k, task_row(k, i)) + 1 : k->before + k->T;
}

/* p[m, S+] = softmax of the scores of a tile's queries, which are in s, over the keys that each may see; S = seen. */
static void softmax_rows(const struct attention_task *k, void *p, enum dtype t, float *lse, int64_t head,
                         int64_t number, int64_t m, int64_t seen) {
    const int64_t ls = gemm_stride(seen, t), p_bytes = ls * (int64_t)dtype_size(t);
    for (int64_t u = 0; u < m; u++) {
        const struct query q = query_of(k, head, number + u);
        kernels->softmax((char *)p + u * p_bytes, t, &lse[q.i * k->a->H + k->group * (k->a->H / k->a->G) + q.head],
                         k->tile.s + u * ls, keys_seen(k, q.i), seen);
    }
}

/* o = softmax(q·Kᵀ)·V of a tile, by oneDNN. `seen`: most keys that one of its queries sees. */
static void mix_gathered(const struct attention_task *k, float *lse, int64_t head, int64_t number, int64_t m,
                         int64_t seen) {
    const struct tile *t = &k->tile;
    const enum dtype tt = tile_type(k->a);
    const int64_t D = k->a->D, mp = tile_rows(m), Sp = pad(seen),
                  p_bytes = gemm_stride(Sp, tt) * (int64_t)dtype_size(tt);
    multiply(score_shape(mp, Sp, D, tt), t->q, t->k, t->s);
    softmax_rows(k, t->p, tt, lse, head, number, m, Sp);
    memset((char *)t->p + m * p_bytes, 0, (size_t)((mp - m) * p_bytes));
    multiply(mix_shape(mp, Sp, D, tt), t->p, t->v, t->o);
}

/* The same with stored keys: the past's, then the batch's. */
static void mix_stored(const struct attention_task *k, float *lse, int64_t head, int64_t number, int64_t m,
                       int64_t seen) {
    const struct tile *t = &k->tile;
    const int64_t D = k->a->D, lq = gemm_stride(D, DTYPE_F32), Sp = pad(seen) + PAD, ls = gemm_stride(Sp, DTYPE_F32);
    const int64_t stored = k->b->append ? seen : min64(seen, k->before), rest = seen - stored;
    keys_scores(t->s, ls, t->q, lq, m, k->past, D, k->group, stored);
    keys_scores(t->s + stored, ls, t->q, lq, m, &k->own, D, k->own_group, rest);
    softmax_rows(k, t->s, DTYPE_F32, lse, head, number, m, Sp);
    memset(t->o, 0, (size_t)(m * D) * 4);
    keys_mix(t->o, t->s, ls, m, k->past, D, k->group, stored);
    keys_mix(t->o, t->s + stored, ls, m, &k->own, D, k->own_group, rest);
}

static void forward_tile(const struct attention_task *k, void *y, float *lse, const void *qkv, int64_t head,
                         int64_t number, int64_t m) {
    const struct attention *a = k->a;
    const int64_t D = a->D, seen = keys_seen(k, query_of(k, head, number + m - 1).i);
    gather_q(k, qkv, k->past ? DTYPE_F32 : tile_type(a), head, number, m);
    (k->past ? mix_stored : mix_gathered)(k, lse, head, number, m, seen);
    for (int64_t u = 0; u < m; u++) {
        const struct query q = query_of(k, head, number + u);
        const int64_t at = (q.i * a->H + k->group * (a->H / a->G) + q.head) * D;
        kernels->convert((char *)y + at * (int64_t)dtype_size(a->t), a->t, k->tile.o + u * D, DTYPE_F32, D);
    }
}

/* What all tasks of a call share. */
struct call {
    const struct attention *a;
    const struct attention_batch *b;
    const void *qkv, *dy, *y; /* dy, y, lse: backward */
    const float *lse;
    void *out; /* y or dqkv */
    float *lse_out;
    void *scratch;
    int64_t parts; /* forward: tasks of a (sequence, group), each with a share of its tiles */
};

static void forward_task(void *context, int64_t number) {
    const struct call *c = context;
    const struct attention *a = c->a;
    struct attention_task k;
    task_init(&k, a, c->b, number / c->parts);
    const int64_t queries = (k.last - k.first) * k.shared, tiles = divide_up(queries, ATTENTION_ROWS),
                  share = number % c->parts, from = tiles * share / c->parts * ATTENTION_ROWS,
                  to = min64(queries, tiles * (share + 1) / c->parts * ATTENTION_ROWS);
    if (from >= to && !(k.past && c->b->append)) return;
    k.tile = my_tile(a, c->b, false, c->scratch);
    if (k.past)
        store_kv(&k, c->qkv);
    else
        gather_kv(&k, c->qkv);
    for (int64_t head = 0; head < a->H / a->G; head += k.shared)
        for (int64_t i = from; i < to; i += ATTENTION_ROWS)
            forward_tile(&k, c->out, c->lse_out, c->qkv, head, i, min64(ATTENTION_ROWS, to - i));
}

/* Where threads are many, tiles of one (sequence, group) go to several, each of which gathers the keys again; not those of
 * a past, which are written by one. A tile's bits are its own. */
static int64_t forward_parts(const struct attention *a, const struct attention_batch *b) {
    enum { MOST = 8 };
    const int64_t tasks = b->nseq * a->G;
    int64_t parts = 1;
    if (b->past || tasks >= 2 * gemm_threads()) return 1;
    while (parts < MOST && !tasks_share_well(parts * tasks)) parts++;
    return parts;
}

void attention_forward(void *y, float *lse, const void *qkv, const struct attention *a, const struct attention_batch *b,
                       void *scratch) {
    struct call c = {.a = a, .b = b, .qkv = qkv, .out = y, .lse_out = lse, .scratch = scratch};
    c.parts = forward_parts(a, b);
    tasks_run(forward_task, &c, b->nseq * a->G * c.parts, work(a, b) > PARALLEL_WORK);
}

static void backward_tile(const struct attention_task *k, void *dqkv, const void *dy, const void *y, const float *lse,
                          const void *qkv, int64_t head, int64_t number, int64_t m) {
    const struct attention *a = k->a;
    const struct tile *t = &k->tile;
    const enum dtype tt = tile_type(a);
    const int64_t size = (int64_t)dtype_size(tt), D = a->D, W = row_width(a), mp = tile_rows(m), i0 = k->first + number,
                  seen = pad(keys_seen(k, i0 + m - 1));
    const int64_t h = k->group * (a->H / a->G) + head, ls = gemm_stride(seen, tt), vector = gemm_stride(D, tt) * size,
                  p_bytes = gemm_stride(seen, tt) * size;
    gather_q(k, qkv, tt, head, number, m);
    for (int64_t i = 0; i < m; i++) {
        const int64_t at = ((i0 + i) * a->H + h) * D;
        if (i + AHEAD < m) {
            ask_for(a, dy, at + AHEAD * a->H * D);
            ask_for(a, y, at + AHEAD * a->H * D); /* for delta */
        }
        kernels->convert((char *)t->dy + i * vector, tt, element(dy, a->t, at), a->t, D);
    }
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
        const int64_t row = task_row(k, i0 + i);
        turn_back(k, (char *)dqkv + (row * W + part(k, head)) * (int64_t)dtype_size(a->t), t->o + i * D, row - k->start,
                  scale);
    }
}

static void backward_task(void *context, int64_t number) {
    const struct call *c = context;
    const struct attention *a = c->a;
    const int64_t D = a->D, W = row_width(a), size = (int64_t)dtype_size(a->t), queries = a->H / a->G;
    char *dqkv = c->out;
    struct attention_task k;
    task_init(&k, a, c->b, number);
    k.tile = my_tile(a, c->b, true, c->scratch);
    const int64_t Tp = pad(k.T);
    if (c->b->rows) /* queries that nobody wanted have no gradient */
        for (int64_t i = 0; i < k.T; i++)
            memset(dqkv + ((k.start + i) * W + part(&k, 0)) * size, 0, (size_t)(queries * D * size));
    memset(k.tile.dk, 0, (size_t)(Tp * D) * 4);
    memset(k.tile.dv, 0, (size_t)(Tp * D) * 4);
    gather_kv(&k, c->qkv);
    for (int64_t head = 0; head < queries; head++)
        for (int64_t i = 0; i < k.last - k.first; i += ATTENTION_ROWS)
            backward_tile(&k, dqkv, c->dy, c->y, c->lse, c->qkv, head, i, min64(ATTENTION_ROWS, k.last - k.first - i));
    for (int64_t i = 0; i < k.T; i++) {
        const int64_t r = (k.start + i) * W;
        turn_back(&k, dqkv + (r + part(&k, queries)) * size, k.tile.dk + i * D, i, 1.0f);
        kernels->convert(dqkv + (r + part(&k, queries + 1)) * size, a->t, k.tile.dv + i * D, DTYPE_F32, D);
    }
}

void attention_backward(void *dqkv, const void *dy, const void *y, const float *lse, const void *qkv,
                        const struct attention *a, const struct attention_batch *b, void *scratch) {
    BUG_ON(b->past);
    struct call c = {.a = a, .b = b, .qkv = qkv, .dy = dy, .y = y, .lse = lse, .out = dqkv, .scratch = scratch};
    tasks_run(backward_task, &c, b->nseq * a->G, work(a, b) > PARALLEL_WORK);
}
