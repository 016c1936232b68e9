/* muon: the matrices that it steps, and its iteration out of the products that layers have. */
#include "train/muon.h"

#include <math.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/num.h"
#include "comm/comm.h"
#include "compute/linear.h"
#include "compute/ops.h"
#include "train/optimizer.h"

enum { ITERATIONS = 5, SQUARES = sizeof((struct muon *)0)->square / sizeof(float *) };
/* Of the quintic whose slope at 0 is as large as convergence allows. */
static const float A = 3.4445f, B = -4.7750f, C = 2.0315f;
#define UPDATE_RMS 0.2 /* about that of AdamW's updates */

bool muon_takes(const struct param *q) {
    return q->kind == PARAM_LINEAR && q->layer >= 0 && !q->bias;
}

static bool wide(int64_t rows, int64_t cols) {
    return rows <= cols;
}

static int64_t shorter(const struct param *q) {
    return min64(q->rows, q->cols);
}

/* Products of squares with the rows of a matrix: of a wide one with squares only; else its own XᵀX and X·Q are such. */
static enum linear_products of_squares(const struct param *q) {
    return wide(q->rows, q->cols) ? LINEAR_Y : LINEAR_DW;
}

double muon_flops(int64_t rows, int64_t cols) {
    const double n = (double)min64(rows, cols), k = (double)max64(rows, cols);
    return 2 * n * n * (2 * k + (ITERATIONS + 3 * (ITERATIONS - 1)) * n); /* S and Q·X; S², Q, P·S, P·S·P */
}

struct sizes {
    int64_t matrix, square; /* floats of the largest matrix, and of the largest square on a shorter side */
    int64_t pieces;         /* of what a rank keeps of a round's matrices, at most */
    int64_t copied[2];      /* bytes that products take */
    int count;
};

static struct sizes measure(const struct params *p, bool whole, int ranks, int rank) {
    struct sizes s = {0};
    int64_t held = 0; /* of a round */
    for (int i = 0; i < p->count; i++) {
        const struct param *q = &p->v[i];
        const int64_t n = q->rows * q->cols;
        if (!muon_takes(q)) continue;
        if (s.count++ % ranks == 0) held = 0;
        held += shards_cut(p, q->part, ranks, rank, q->offset, q->offset + n).n;
        s.matrix = max64(s.matrix, n);
        s.square = max64(s.square, shorter(q) * shorter(q));
        if (!whole) s.pieces = max64(s.pieces, held);
        if (wide(q->rows, q->cols)) linear_reserve_bytes(s.copied, q->rows, q->cols, DTYPE_F32, q->rows, LINEAR_DX);
        linear_reserve_bytes(s.copied, shorter(q), shorter(q), DTYPE_F32, q->rows, of_squares(q));
    }
    return s;
}

int64_t muon_bytes(const struct params *p, enum shard shard, int ranks, int rank) {
    const struct sizes s = measure(p, shard == SHARD_NONE, ranks, rank);
    return 4 * (2 * s.matrix + SQUARES * s.square + s.pieces) + s.copied[0] + s.copied[1];
}

/* X [n,k] f32 as a weight of products; as it lies there, so nothing can be missing. */
static struct linear as_weight(const float *x, int64_t n, int64_t k) {
    struct linear w;
    struct err none = {{0}};
    BUG_ON(linear_bytes(n, k, DTYPE_F32, DTYPE_F32) != 0);
    BUG_ON(linear_init(&w, n, k, x, DTYPE_F32, NULL, DTYPE_F32, NULL, &none) < 0);
    return w;
}

static int reserve(const struct muon *muon, const struct param *q, struct err *err) {
    const struct linear square = as_weight(muon->square[0], shorter(q), shorter(q));
    if (linear_reserve(&square, q->rows, of_squares(q), err) < 0) return -1;
    if (!wide(q->rows, q->cols)) return 0;
    const struct linear x = as_weight(muon->x, q->rows, q->cols);
    return linear_reserve(&x, q->rows, LINEAR_DX, err);
}

int muon_open(struct muon *muon, const struct shards *s, double momentum, struct err *err) {
    const struct params *p = s->params;
    const struct sizes n = measure(p, s->whole, s->ranks, s->me);
    int r = 0;
    *muon = (struct muon){.shards = s, .momentum = momentum};
    muon->v = mem_alloc(n.count, sizeof *muon->v, "matrices", err);
    muon->x = mem_alloc(n.matrix, 4, "orthogonal updates", err);
    muon->y = mem_alloc(n.matrix, 4, "orthogonal updates", err);
    for (int i = 0; i < SQUARES; i++)
        if (!(muon->square[i] = mem_alloc(n.square, 4, "orthogonal updates", err))) return -1;
    muon->pieces = mem_alloc(n.pieces, 4, "orthogonal updates", err);
    if (!muon->v || !muon->x || !muon->y || !muon->pieces) return -1;
    for (int i = 0; r == 0 && i < p->count; i++) {
        const struct param *q = &p->v[i];
        if (!muon_takes(q)) continue;
        muon->v[muon->count++] = (struct muon_matrix){q->part, q->offset, q->rows, q->cols};
        r = reserve(muon, q, err);
    }
    return r;
}

void muon_close(struct muon *muon) {
    mem_free(muon->v);
    mem_free(muon->x);
    mem_free(muon->y);
    for (int i = 0; i < SQUARES; i++) mem_free(muon->square[i]);
    mem_free(muon->pieces);
    *muon = (struct muon){0};
}

/* to = a·b, of n × n, b symmetric. */
static void multiply(float *to, const float *a, const float *b, int64_t n) {
    const struct linear weight = as_weight(b, n, n);
    linear_forward(to, DTYPE_F32, a, &weight, n, false);
}

/* p = A + B·s + C·s². */
static void polynomial(float *p, const float *s, int64_t n) {
    multiply(p, s, s, n);
    ops_scale(p, C, n * n);
    ops_add_scaled(p, B, s, n * n);
    for (int64_t i = 0; i < n; i++) p[i * n + i] += A;
}

static void swap(float **a, float **b) {
    float *c = *a;
    *a = *b;
    *b = c;
}

/* Q of S [n,n] in square[0], which is lost: in one of the others. */
static const float *iterate(float *const square[SQUARES], int64_t n) {
    float *s = square[0], *p = square[1], *q = square[2], *other = square[3];
    polynomial(q, s, n);
    ops_convert(p, DTYPE_F32, q, DTYPE_F32, n * n);
    for (int i = 1; i < ITERATIONS; i++) {
        multiply(other, p, s, n);
        multiply(s, other, p, n);
        polynomial(p, s, n);
        multiply(other, p, q, n);
        swap(&q, &other);
    }
    return q;
}

float *muon_orthogonal(const struct muon *muon, const struct muon_matrix *a) {
    const int64_t n = min64(a->rows, a->cols), all = a->rows * a->cols;
    float *x = muon->x, *y = muon->y, *s = muon->square[0];
    ops_scale(x, (float)(1 / (sqrt(ops_sum_squares(x, all)) + 1e-7)), all);
    if (wide(a->rows, a->cols)) {
        const struct linear X = as_weight(x, a->rows, a->cols);
        linear_forward(s, DTYPE_F32, x, &X, n, false); /* X·Xᵀ */
        linear_backward_data(y, DTYPE_F32, iterate(muon->square, n), &X, n, false);
    } else { /* the same of Xᵀ */
        const struct linear S = as_weight(s, n, n);
        ops_zero(s, n * n * (int64_t)sizeof *s);
        linear_backward_weight(s, NULL, x, x, &S, a->rows); /* Xᵀ·X */
        const struct linear Q = as_weight(iterate(muon->square, n), n, n);
        linear_forward(y, DTYPE_F32, x, &Q, a->rows, false);
    }
    return y;
}

struct rates {
    double grad_scale, lr, weight_decay;
};

/* m and u of n elements; u may be NULL. */
static void blend(const struct muon *muon, float *u, float *m, const float *grad, double grad_scale, int64_t n) {
    const float mu = (float)muon->momentum, fresh = (float)((1 - muon->momentum) * grad_scale);
    ops_scale(m, mu, n);
    ops_add_scaled(m, fresh, grad, n);
    if (!u) return;
    ops_convert(u, DTYPE_F32, m, DTYPE_F32, n);
    ops_scale(u, mu, n);
    ops_add_scaled(u, fresh, grad, n);
}

/* n weights of a matrix, of whose orthogonal(u) o are the same elements. */
static void apply(const struct muon_matrix *a, float *w, const float *o, const struct rates *r, int64_t n) {
    ops_scale(w, (float)(1 - r->lr * r->weight_decay), n);
    ops_add_scaled(w, (float)(-r->lr * UPDATE_RMS * sqrt((double)max64(a->rows, a->cols))), o, n);
}

/* The matrices of a round: rank r's is a[r], of count. */
static void round_of_whole(const struct muon *muon, const struct muon_matrix *a, int count, float *w, float *m,
                           const float *grad, const struct rates *rates) {
    const int me = muon->shards->me, ranks = muon->shards->ranks;
    struct comm_piece to[COMM_RANKS] = {{0}}, from[COMM_RANKS] = {{0}};
    for (int r = 0; r < count; r++) {
        const int64_t n = a[r].rows * a[r].cols, at = a[r].offset;
        blend(muon, r == me ? muon->x : NULL, m + at, grad + at, rates->grad_scale, n);
        if (r == me)
            apply(&a[r], w + at, muon_orthogonal(muon, &a[r]), rates, n);
        else
            from[r] = (struct comm_piece){w + at, n * (int64_t)sizeof *w};
    }
    for (int r = 0; me < count && r < ranks; r++)
        if (r != me) to[r] = (struct comm_piece){w + a[me].offset, a[me].rows * a[me].cols * (int64_t)sizeof *w};
    comm_exchange(to, from);
}

/* What this rank keeps, or another, of a matrix. */
static struct shard_range cut(const struct muon *muon, const struct muon_matrix *a, int rank) {
    const struct shards *s = muon->shards;
    return shards_cut(s->params, a->part, s->ranks, rank, a->offset, a->offset + a->rows * a->cols);
}

/* A whole matrix at v as pieces of all ranks. */
static void cut_up(struct comm_piece *pieces, const struct muon *muon, const struct muon_matrix *a, float *v) {
    for (int r = 0; r < muon->shards->ranks; r++) {
        const struct shard_range c = cut(muon, a, r);
        pieces[r] = (struct comm_piece){v + (c.first - a->offset), c.n * (int64_t)sizeof *v};
    }
}

static void round_of_pieces(const struct muon *muon, const struct muon_matrix *a, int count, float *w, float *m,
                            const float *grad, bool kept, const struct rates *rates) {
    const struct shards *s = muon->shards;
    struct comm_piece mine[COMM_RANKS] = {{0}};  /* of each rank's matrix, what this one keeps */
    struct comm_piece whole[COMM_RANKS] = {{0}}; /* of this rank's matrix, what each keeps */
    float *u = muon->pieces;
    for (int r = 0; r < count; r++) {
        const struct shard_range c = cut(muon, &a[r], s->me);
        const int64_t at = s->at[a[r].part] + c.at;
        blend(muon, u, m + at, grad + (kept ? at : c.first), rates->grad_scale, c.n);
        mine[r] = (struct comm_piece){u, c.n * (int64_t)sizeof *u};
        u += c.n;
    }
    if (s->me < count) cut_up(whole, muon, &a[s->me], muon->x);
    comm_exchange(mine, whole);
    if (s->me < count) cut_up(whole, muon, &a[s->me], muon_orthogonal(muon, &a[s->me]));
    comm_exchange(whole, mine);
    for (int r = 0; r < count; r++) {
        const struct shard_range c = cut(muon, &a[r], s->me);
        apply(&a[r], w + s->at[a[r].part] + c.at, mine[r].data, rates, c.n);
    }
}

void muon_step(const struct muon *muon, const struct optimizer *adamw, float *w, float *m, const float *grad, bool kept,
               double norm, double lr) {
    const int ranks = muon->shards->ranks;
    const struct rates r = {(double)optimizer_scale(adamw, norm), lr, adamw->weight_decay};
    for (int i = 0; i < muon->count; i += ranks) {
        const int count = muon->count - i < ranks ? muon->count - i : ranks;
        if (muon->shards->whole)
            round_of_whole(muon, muon->v + i, count, w, m, grad, &r);
        else
            round_of_pieces(muon, muon->v + i, count, w, m, grad, kept, &r);
    }
}
