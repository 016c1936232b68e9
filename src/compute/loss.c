/* loss: see loss.h. One chunk: pass 1 takes the exponentials of each block of logits as it is made; then every row's
 * sum, factor and loss; then the two gradient products. */
#include "compute/loss.h"

#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/num.h"
#include "compute/gemm.h"

/* What a chunk of rows keeps in scratch. Blocks are linear_column_block() columns wide. */
struct loss_chunk {
    const struct linear *head;
    const int32_t *targets;
    int64_t V, E, width, blocks;
    enum dtype t;        /* of x, P and W[target] */
    float *zt, *ce;      /* [rows] logit of the target; cross-entropy */
    float *sum, *shift;  /* [rows, blocks] of kernels->sum_exp() */
    float *factor, *own; /* [rows] weight/(1 + S), −weight·S/(1 + S) */
    char *wt;            /* [rows, E] W[target] as products see it */
    char *p, *x;         /* [rows, V] exponentials P; [rows, E] factor·X: NULL without gradients */
};

/* Rows of each chunk but the last when there are n > 0: about equal shares, in steps that products like. */
static int64_t chunk_rows(int64_t n) {
    _Static_assert(LOSS_CHUNK % GEMM_ROW_STEP == 0, "shares are rounded up to steps");
    const int64_t chunks = divide_up(n, LOSS_CHUNK), share = divide_up(n, chunks);
    return round_up(share, GEMM_ROW_STEP);
}

/* For n rows at most, all of a batch. */
static int64_t chunk_layout(struct loss_chunk *c, int64_t n, int64_t V, int64_t E, enum dtype t, bool backward,
                            char *base) {
    const int64_t nrows = n < LOSS_CHUNK ? n : LOSS_CHUNK, size = (int64_t)dtype_size(t);
    const int64_t width = linear_column_block(V), blocks = divide_up(V, width);
    char *at = base;
    *c = (struct loss_chunk){.V = V, .E = E, .width = width, .blocks = blocks, .t = t};
    c->zt = mem_cut(&at, nrows * 4);
    c->ce = mem_cut(&at, nrows * 4);
    c->sum = mem_cut(&at, nrows * blocks * 4);
    c->shift = mem_cut(&at, nrows * blocks * 4);
    c->factor = mem_cut(&at, nrows * 4);
    c->own = mem_cut(&at, nrows * 4);
    c->wt = mem_cut(&at, nrows * E * size);
    if (backward) {
        c->x = mem_cut(&at, nrows * E * size);
        c->p = mem_cut(&at, nrows * V * size);
    }
    return at - base;
}

int64_t loss_scratch(int64_t n, int64_t V, int64_t E, enum dtype t, bool backward) {
    return chunk_layout(&(struct loss_chunk){0}, n, V, E, t, backward, NULL);
}

/* Row i's W[target] and logit of it, by themselves: every block of logits is measured against that. */
static void take_target(const struct loss_chunk *c, int64_t i, const char *x) {
    const int64_t row_bytes = c->E * (int64_t)dtype_size(c->t);
    linear_row(c->wt + i * row_bytes, c->t, c->head, c->targets[i]);
    c->zt[i] = kernels->dot(x + i * row_bytes, c->t, c->wt + i * row_bytes, c->t, c->E);
}

/* A block of logits becomes exponentials; the target's is left out. */
static void take_block(void *context, float *z, int64_t row, int64_t m, int64_t column, int64_t count) {
    const struct loss_chunk *c = context;
    const int64_t V = c->V, size = (int64_t)dtype_size(c->t), block = column / c->width;
    for (int64_t i = row; i < row + m; i++, z += count) {
        const int64_t t = c->targets[i] - column, at = i * c->blocks + block;
        if (t >= 0 && t < count) z[t] = -INFINITY;
        c->sum[at] =
            kernels->sum_exp(c->p ? c->p + (i * V + column) * size : NULL, c->t, &c->shift[at], z, count, c->zt[i]);
    }
}

/* A row whose logits pass the target's by more than floats can hold keeps its exponentials relative to the largest. */
static void finish_row(const struct loss_chunk *c, int64_t i, float weight) {
    const int64_t V = c->V, size = (int64_t)dtype_size(c->t);
    const float *shift = c->shift + i * c->blocks, *sum = c->sum + i * c->blocks;
    float top = 0;
    for (int64_t b = 0; b < c->blocks; b++)
        if (shift[b] > top) top = shift[b];
    double others = 0;
    for (int64_t b = 0; b < c->blocks; b++) {
        const double back = shift[b] == top ? 1 : exp((double)shift[b] - top);
        others += sum[b] * back;
        if (back == 1 || !c->p) continue;
        const int64_t first = b * c->width, count = V - first < c->width ? V - first : c->width;
        kernels->scale(c->p + (i * V + first) * size, c->t, (float)back, count);
    }
    const double all = exp(-(double)top) + others;
    c->ce[i] = (float)(top + log(all));
    c->factor[i] = (float)(weight / all);
    c->own[i] = (float)(-weight * (others / all));
}

static void backward(const struct loss_chunk *c, float *dx, float *dw, const char *x, int64_t m) {
    const int64_t E = c->E, size = (int64_t)dtype_size(c->t);
    linear_backward_data(dx, DTYPE_F32, c->p, c->head, m, false);
#pragma omp parallel for schedule(static) if (m * E > 1 << 14)
    for (int64_t i = 0; i < m; i++) {
        kernels->scale(dx + i * E, DTYPE_F32, c->factor[i], E);
        kernels->add_scaled(dx + i * E, c->own[i], c->wt + i * E * size, c->t, E);
        memcpy(c->x + i * E * size, x + i * E * size, (size_t)(E * size));
        kernels->scale(c->x + i * E * size, c->t, c->factor[i], E);
    }
    linear_backward_weight(dw, NULL, c->p, c->x, c->head, m);
    for (int64_t i = 0; i < m; i++) /* targets may be equal: one thread */
        kernels->add_scaled(dw + c->targets[i] * E, c->own[i], x + i * E * size, c->t, E);
}

double loss_cross_entropy(float *loss, float *dx, float *dw, const void *x, const struct linear *head,
                          const int32_t *targets, const float *weight, int64_t n, void *scratch) {
    const int64_t E = linear_cols(head), row_bytes = E * (int64_t)dtype_size(linear_type(head));
    struct loss_chunk c;
    double sum = 0;
    BUG_ON(linear_bias(head)); /* its gradient would need the factor that goes to x */
    chunk_layout(&c, n, linear_rows(head), E, linear_type(head), dw != NULL, scratch);
    c.head = head;
    for (int64_t first = 0, m; first < n; first += m) {
        m = chunk_rows(n) < n - first ? chunk_rows(n) : n - first;
        const char *xc = (const char *)x + first * row_bytes;
        c.targets = targets + first;
#pragma omp parallel for schedule(static) if (m * E > 1 << 14)
        for (int64_t i = 0; i < m; i++) take_target(&c, i, xc);
        linear_forward_use(xc, head, m, take_block, &c);
#pragma omp parallel for schedule(static) if (m * c.blocks > 1 << 14)
        for (int64_t i = 0; i < m; i++) finish_row(&c, i, weight[first + i]);
        for (int64_t i = 0; i < m; i++) {
            if (loss) loss[first + i] = c.ce[i];
            sum += (double)weight[first + i] * c.ce[i];
        }
        if (dw) backward(&c, dx + first * E, dw, xc, m);
    }
    return sum;
}
