/* linear: see linear.h. First the weight, then buffers, products by rows (Y and dX) and the weight gradient.
 *
 * Rows are processed in blocks of 24 · 2^i (a shorter tail goes through a zero-padded copy). Weight gradients sum over
 * blocks of the same sizes. So a product of any number of rows meets the shapes that linear_reserve() made. */
#include "compute/linear.h"

#include <omp.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/progress.h"
#include "compute/gemm.h"
#include "compute/tasks.h"

/* Work below which a parallel region costs more than it saves, in multiply-adds (about 50 µs of one core). */
#define PARALLEL_WORK (INT64_C(1) << 21)
enum { TILE = 384, TILE_MIN = 48, THIN_ROWS = 32 };

/* ---- the weight ---- */

int64_t linear_column_block(int64_t N) {
    const int64_t blocks = divide_up(N, TILE);
    return min64(N, round_up(divide_up(N, blocks), GEMM_PANEL));
}

static bool packs(enum dtype t) {
    return t == DTYPE_BF16 && gemm_native_bf16();
}

static struct pack pack_forward(int64_t N, int64_t K) {
    return pack_shape(N, K, linear_column_block(N));
}

int64_t linear_bytes(int64_t N, int64_t K, enum dtype source_type, enum dtype t) {
    const struct pack p = pack_forward(N, K);
    if (packs(t)) return pack_bytes(&p);
    return source_type == t ? 0 : round_up(N * K * (int64_t)dtype_size(t), 64);
}

/* Of this shape, but without numbers. */
static struct linear shaped(int64_t N, int64_t K, enum dtype t) {
    return (struct linear){
        .N = N, .K = K, .t = t, .forward = pack_forward(N, K), .backward = pack_shape(K, N, linear_column_block(K))};
}

int linear_init(struct linear *w, int64_t N, int64_t K, const void *source, enum dtype source_type, const float *bias,
                enum dtype t, void *packed, struct err *err) {
    if (N < 1 || K < 1) return err_set(err, "weight matrix: shape [%lld, %lld] is empty", (long long)N, (long long)K);
    BUG_ON(!packed && linear_bytes(N, K, source_type, t) > 0);
    *w = shaped(N, K, t);
    w->source = source;
    w->source_type = source_type;
    w->bias = bias;
    w->packed = packed;
    if (packs(t) && pack_prepare(&w->forward, source_type, K, true, err) < 0) return -1;
    linear_refresh(w);
    return 0;
}

void linear_refresh(struct linear *w) {
    if (!w->packed) return;
    if (packs(w->t)) {
        pack(&w->forward, w->packed, w->source, w->source_type, w->K, true);
        return;
    }
    const int64_t step = w->K * (int64_t)dtype_size(w->t);
#pragma omp parallel for schedule(static) if (w->N * w->K > PARALLEL_WORK / 16)
    for (int64_t i = 0; i < w->N; i++) linear_row((char *)w->packed + i * step, w->t, w, i);
}

int64_t linear_rows(const struct linear *w) {
    return w->N;
}

int64_t linear_cols(const struct linear *w) {
    return w->K;
}

enum dtype linear_type(const struct linear *w) {
    return w->t;
}

const float *linear_bias(const struct linear *w) {
    return w->bias;
}

void linear_row(void *out, enum dtype t, const struct linear *w, int64_t i) {
    const char *row = (const char *)w->source + i * w->K * (int64_t)dtype_size(w->source_type);
    kernels->convert(out, t, row, w->source_type, w->K);
}

/* ---- buffers ---- */

/* One product runs at a time, so all weights share them. */
static struct buffers {
    struct buffer {
        char *data;
        int64_t bytes;
    } copy[2],  /* operands in another type or with another row stride */
        *block; /* [gemm_threads()] padded or narrowed blocks */
} buffers;

static void free_buffers(struct buffers *b) {
    for (int i = 0; i < 2; i++) mem_free(b->copy[i].data);
    for (int i = 0; b->block && i < gemm_threads(); i++) mem_free(b->block[i].data);
    mem_free(b->block);
}

static int reserve(struct buffer *b, int64_t bytes, struct err *err) {
    if (b->bytes >= bytes) return 0;
    char *more = mem_alloc(bytes, 1, "operands of products", err);
    if (!more) return -1; /* models that are open keep what they have */
    mem_free(b->data);    /* contents are not kept */
    b->data = more;
    b->bytes = bytes;
    return 0;
}

static char *reserved(const struct buffer *b, int64_t bytes) {
    BUG_ON(b->bytes < bytes); /* linear_reserve() was not called, or with fewer rows */
    return b->data;
}

/* A matrix of the type that products multiply, with row stride ld. */
struct operand {
    const char *data;
    int64_t ld;
};

/* x [n, cols] of type `from`, copied into a buffer as products multiply it, with rows of gemm_stride(), then zero rows
 * up to `padded`. */
static struct operand spread(const void *x, enum dtype from, enum dtype to, int64_t n, int64_t padded, int64_t cols,
                             const struct buffer *b) {
    const int64_t ld = gemm_stride(cols, to), step = cols * (int64_t)dtype_size(from), size = (int64_t)dtype_size(to);
    char *copy = reserved(b, padded * ld * size);
#pragma omp parallel for schedule(static) if (n * cols > PARALLEL_WORK / 64)
    for (int64_t i = 0; i < n; i++) kernels->convert(copy + i * ld * size, to, (const char *)x + i * step, from, cols);
    memset(copy + n * ld * size, 0, (size_t)((padded - n) * ld * size));
    return (struct operand){copy, ld};
}

static int64_t spread_bytes(int64_t n, int64_t cols, enum dtype to) {
    return n * gemm_stride(cols, to) * (int64_t)dtype_size(to);
}

/* Are activations of type t widened for products? */
static bool widened(enum dtype t) {
    return gemm_type(t) != t;
}

/* x [n, cols] of type t as the product takes it: itself, or widened. */
static struct operand operand(const void *x, enum dtype t, int64_t n, int64_t cols) {
    return widened(t) ? spread(x, t, gemm_type(t), n, n, cols, &buffers.copy[0]) : (struct operand){x, cols};
}

static int64_t operand_stride(int64_t cols, enum dtype t) {
    return widened(t) ? gemm_stride(cols, gemm_type(t)) : cols;
}

/* Is W, where it is not packed in blocks, copied for a product? Yes to widen it, and for `by_column` products where its
 * columns share cache sets (bench/SPEED.md, strides). */
static bool weight_copied(const struct linear *w, bool by_column) {
    enum { CONFLICT = 256 };
    return widened(w->t) || (by_column && w->t == DTYPE_F32 && w->K % CONFLICT == 0);
}

/* W row-major in the type that products use, where that is not packed in blocks. */
static struct operand plain_weight(const struct linear *w, bool by_column) {
    const void *source = w->packed ? w->packed : w->source;
    if (!weight_copied(w, by_column)) return (struct operand){source, w->K};
    return spread(source, w->t, gemm_type(w->t), w->N, w->N, w->K, &buffers.copy[1]);
}

static int64_t weight_stride(const struct linear *w, bool by_column) {
    return weight_copied(w, by_column) ? gemm_stride(w->K, gemm_type(w->t)) : w->K;
}

/* ---- products by rows ---- */

/* One product cut into row × column tiles. B's tile j starts at b + j·b_step bytes. */
struct product {
    struct gemm_shape shape; /* M and N are set per tile */
    const char *a, *b;
    char *c;
    int64_t M, N, b_step;
    enum dtype c_type; /* of c in memory; shape.c_type is what the primitive writes */
    const float *bias; /* [N] or NULL: added to what the primitive writes, which is f32 then */
    linear_use *use;   /* gets the blocks instead of c, unless NULL */
    void *context;     /* its own */
};

/* The largest block of rows, 24 · 2^i up to TILE, that n rows fill; GEMM_ROW_STEP when they fill none. */
static int64_t row_block(int64_t n) {
    int64_t block = TILE;
    while (block > n && block > GEMM_ROW_STEP) block /= 2;
    return block;
}

static int64_t tiles(int64_t n, int64_t size) {
    return divide_up(n, size);
}

/* Rows follow the number of threads, since a row has the same bits in any block; columns are as W is packed. */
static void tile_sizes(int64_t M, int64_t N, int64_t width, int64_t *nrows, int64_t *cols) {
    *cols = width;
    *nrows = TILE;
    while (*nrows > TILE_MIN && !tasks_share_well(tiles(M, *nrows) * tiles(N, *cols))) *nrows /= 2;
}

/* Is a block of n columns written into a buffer first? Where it is used instead of stored or the result has another
 * type, and where the weights are packed: oneDNN has no fast primitive for those and a result with gaps in its rows. */
static bool buffered(const struct product *p, int64_t n) {
    return p->use || p->shape.c_type != p->c_type || (p->shape.packed && n != p->shape.ldc);
}

/* The primitive for a block of m rows and n columns of the product. */
static struct gemm_shape block_shape(const struct product *p, int64_t m, int64_t n) {
    struct gemm_shape s = p->shape;
    s.M = m;
    s.N = n;
    if (buffered(p, n)) s.ldc = n;
    return s;
}

/* Rows [r, r+m) × columns [q, q+n) of the product, m <= GEMM_ROW_STEP · 2^i: one primitive, through buffers where rows
 * must be padded to `block` or the result is buffered(). */
static void run_block(const struct product *p, int64_t r, int64_t m, int64_t block, int64_t q, int64_t n) {
    const struct gemm_shape *s = &p->shape, shape = block_shape(p, block, n);
    const int64_t size_a = (int64_t)dtype_size(s->type), size_c = (int64_t)dtype_size(p->c_type),
                  size_w = (int64_t)dtype_size(s->c_type), ld = shape.ldc; /* of what the primitive writes */
    const bool tail = m < block;
    const char *a = p->a + r * s->lda * size_a, *b = p->b + q / linear_column_block(p->N) * p->b_step;
    char *c = p->use ? NULL : p->c + (r * s->ldc + q) * size_c, *written = c;
    if (tail || buffered(p, n)) {
        const int64_t c_bytes = round_up(block * ld * size_w, 64),
                      a_bytes = tail ? ((block - 1) * s->lda + s->K) * size_a : 0;
        written = reserved(&buffers.block[omp_get_thread_num()], c_bytes + a_bytes);
        if (tail) {
            char *copy = written + c_bytes;
            memcpy(copy, a, (size_t)((m - 1) * s->lda + s->K) * (size_t)size_a);
            for (int64_t i = m; i < block; i++) memset(copy + i * s->lda * size_a, 0, (size_t)(s->K * size_a));
            a = copy;
        }
        if (s->add) {
            for (int64_t i = 0; i < m; i++) memcpy(written + i * ld * 4, c + i * s->ldc * 4, (size_t)(n * 4));
            for (int64_t i = m; i < block; i++) memset(written + i * ld * 4, 0, (size_t)(n * 4));
        }
    }
    gemm_run(gemm_get(&shape), a, b, written);
    for (int64_t i = 0; p->bias && i < m; i++) kernels->add((float *)(void *)written + i * ld, p->bias + q, n);
    if (p->use)
        p->use(p->context, (float *)(void *)written, r, m, q, n);
    else if (written != c)
        for (int64_t i = 0; i < m; i++)
            kernels->convert(c + i * s->ldc * size_c, p->c_type, written + i * ld * size_w, s->c_type, n);
}

/* A product and how it is cut. */
struct product_tiles {
    const struct product *p;
    int64_t rows, cols, down;
};

static void run_tile(void *context, int64_t i) {
    const struct product_tiles *t = context;
    const struct product *p = t->p;
    const int64_t r = i % t->down * t->rows, q = i / t->down * t->cols, m = min64(t->rows, p->M - r);
    for (int64_t at = 0, block; at < m; at += block) {
        block = row_block(m - at);
        run_block(p, r + at, min64(block, m - at), block, q, min64(t->cols, p->N - q));
    }
}

static void run_product(const struct product *p) {
    struct product_tiles t = {.p = p};
    tile_sizes(p->M, p->N, linear_column_block(p->N), &t.rows, &t.cols);
    t.down = tiles(p->M, t.rows);
    tasks_run(run_tile, &t, t.down * tiles(p->N, t.cols), p->M * p->N * p->shape.K > PARALLEL_WORK);
}

/* Where a product's result goes: what it is, how it is added to. */
static void set_result(struct product *p, void *c, enum dtype c_type, bool add) {
    BUG_ON(add && c_type != DTYPE_F32);
    p->c = c;
    p->c_type = c_type;
    p->shape.c_type = p->bias                      ? DTYPE_F32
                      : p->shape.type == DTYPE_F32 ? DTYPE_F32
                                                   : c_type; /* f32 products write f32 */
    p->shape.add = add;
}

/* What does not depend on rows and results. */
static struct product forward_product(const struct linear *w) {
    const bool packed = packs(w->t);
    const int64_t ldb = packed ? w->K : weight_stride(w, false);
    return (struct product){.shape = {.K = w->K,
                                      .lda = operand_stride(w->K, w->t),
                                      .ldb = ldb,
                                      .ldc = w->N,
                                      .trans_b = true,
                                      .packed = packed,
                                      .type = gemm_type(w->t),
                                      .c_type = DTYPE_F32},
                            .N = w->N,
                            .c_type = DTYPE_F32,
                            .bias = w->bias,
                            .b_step = packed ? w->forward.block_bytes
                                             : linear_column_block(w->N) * ldb * (int64_t)dtype_size(gemm_type(w->t))};
}

static struct product backward_product(const struct linear *w) {
    const bool packed = packs(w->t);
    return (struct product){.shape = {.K = w->N,
                                      .lda = operand_stride(w->N, w->t),
                                      .ldb = packed ? w->K : weight_stride(w, true),
                                      .ldc = w->K,
                                      .packed = packed,
                                      .type = gemm_type(w->t),
                                      .c_type = DTYPE_F32},
                            .N = w->K,
                            .c_type = DTYPE_F32,
                            .b_step = packed ? w->backward.block_bytes
                                             : linear_column_block(w->K) * (int64_t)dtype_size(gemm_type(w->t))};
}

static void run_forward(struct product *p, const void *x, const struct linear *w, int64_t n) {
    p->M = n;
    p->a = operand(x, w->t, n, w->K).data;
    p->b = packs(w->t) ? w->packed : plain_weight(w, false).data;
    run_product(p);
}

void linear_forward(void *y, enum dtype yt, const void *x, const struct linear *w, int64_t n, bool add) {
    if (n == 0) return;
    struct product p = forward_product(w);
    set_result(&p, y, yt, add);
    run_forward(&p, x, w, n);
}

void linear_forward_use(const void *x, const struct linear *w, int64_t n, linear_use *use, void *context) {
    if (n == 0) return;
    struct product p = forward_product(w);
    p.use = use;
    p.context = context;
    run_forward(&p, x, w, n);
}

/* ---- thin products ---- */

/* z[m,count] = rows of x, as run_thin() has them, by columns [q, q+count) of the product, which begin a panel where W is
 * packed: then its blocks are whole panels, one behind the other. */
static void thin_dots(float *z, const void *x, int64_t m, const struct linear *w, int64_t q, int64_t count) {
    if (packs(w->t)) {
        kernels->dots_packed(z, count, x, m, (const char *)w->packed + gemm_packed_bytes(q, w->K), count, w->K);
    } else {
        const char *rows = w->packed ? w->packed : w->source;
        kernels->dots(z, count, x, m, rows + q * w->K * (int64_t)dtype_size(w->t), w->t, count, w->K);
    }
}

/* Of a thread, for a block of `count` columns. */
static int64_t thin_bytes(int64_t count) {
    return THIN_ROWS * count * 4;
}

/* Columns [q, q+count) of the product, all its rows. */
static void run_thin_block(const struct product *p, const struct linear *w, int64_t q, int64_t count) {
    float *z = (float *)(void *)reserved(&buffers.block[omp_get_thread_num()], thin_bytes(count));
    const int64_t size_a = (int64_t)dtype_size(p->shape.type), size_c = (int64_t)dtype_size(p->c_type);
    for (int64_t r = 0, m; r < p->M; r += m) {
        m = min64(THIN_ROWS, p->M - r);
        thin_dots(z, p->a + r * w->K * size_a, m, w, q, count);
        for (int64_t i = 0; p->bias && i < m; i++) kernels->add(z + i * count, p->bias + q, count);
        if (p->use) {
            p->use(p->context, z, r, m, q, count);
            continue;
        }
        for (int64_t i = 0; i < m; i++) {
            char *c = p->c + ((r + i) * w->N + q) * size_c;
            if (p->shape.add)
                kernels->add((float *)(void *)c, z + i * count, count);
            else
                kernels->convert(c, p->c_type, z + i * count, DTYPE_F32, count);
        }
    }
}

/* Columns that a thread takes at once: as many as are used at once, fewer where threads would be idle. */
static int64_t thin_columns(const struct linear *w) {
    const int64_t share = divide_up(w->N, gemm_threads());
    return min64(linear_column_block(w->N), max64(GEMM_PANEL, round_up(share, GEMM_PANEL)));
}

/* Activations are read as the weight is kept: bf16 where it is packed, else f32, widened if need be. A thread reads
 * neighbouring columns, so that memory sees few long streams. */
static void run_thin(struct product *p, const void *x, const struct linear *w, int64_t n, int64_t width) {
    enum { PARALLEL_BYTES = 1 << 18 };
    p->M = n;
    p->a = x;
    if (widened(w->t)) {
        p->a = reserved(&buffers.copy[0], n * w->K * 4);
        kernels->convert(buffers.copy[0].data, DTYPE_F32, x, w->t, n * w->K);
    }
#pragma omp parallel for schedule(static)                                                                              \
    num_threads(gemm_team()) if (w->N * w->K * (int64_t)dtype_size(w->t) > PARALLEL_BYTES)
    for (int64_t q = 0; q < w->N; q += width) run_thin_block(p, w, q, min64(width, w->N - q));
}

void linear_thin(void *y, enum dtype yt, const void *x, const struct linear *w, int64_t n, bool add) {
    if (n == 0) return;
    struct product p = forward_product(w);
    set_result(&p, y, yt, add);
    run_thin(&p, x, w, n, thin_columns(w));
}

void linear_thin_use(const void *x, const struct linear *w, int64_t n, linear_use *use, void *context) {
    if (n == 0) return;
    struct product p = forward_product(w);
    p.use = use;
    p.context = context;
    run_thin(&p, x, w, n, linear_column_block(w->N));
}

/* ---- the gradient of x ---- */

/* W as the right side of dX = dY·W; the forward product has it packed the other way round. Done for each call: packing
 * rows is fast, and a second packed copy of all weights would be a tenth more memory. */
static const char *backward_weight(const struct linear *w) {
    if (!packs(w->t)) return plain_weight(w, true).data;
    char *to = reserved(&buffers.copy[1], pack_bytes(&w->backward));
    pack(&w->backward, to, w->source, w->source_type, w->K, false);
    return to;
}

void linear_backward_data(void *dx, enum dtype xt, const void *dy, const struct linear *w, int64_t n, bool add) {
    if (n == 0) return;
    struct product p = backward_product(w);
    set_result(&p, dx, xt, add);
    p.M = n;
    p.a = operand(dy, w->t, n, w->N).data;
    p.b = backward_weight(w);
    run_product(&p);
}

/* ---- the weight gradient ---- */

/* Its operands, and the tiles of the result that threads take. */
struct outer {
    float *dw;
    struct operand dy, x;           /* rows up to `whole` */
    struct operand dy_tail, x_tail; /* GEMM_ROW_STEP rows: the others, then zeros */
    enum dtype t;
    int64_t whole, n, N, K, tile_n, tile_k; /* whole and n: multiples of GEMM_ROW_STEP */
};

static int64_t outer_tiles(const struct outer *o) {
    return tiles(o->N, o->tile_n) * tiles(o->K, o->tile_k);
}

/* bf16 operands are multiplied where they lie, in tiles of about equal sizes; float32 ones are copied to rows whose
 * columns do not share cache sets. Tiles follow the number of threads: each element is summed over the same blocks of
 * rows in any of them. */
static struct outer outer_shape(const struct linear *w) {
    enum { TILE_K = 512, TILE_K_MIN = 96, TASKS = 8, TILE_N_MIN = 64 };
    const int64_t N = w->N, K = w->K;
    struct outer o = {.t = gemm_type(w->t), .N = N, .K = K, .tile_n = TILE, .tile_k = TILE};
    o.dy.ld = gemm_stride(N, o.t);
    o.x.ld = gemm_stride(K, o.t);
    if (o.t == DTYPE_BF16) {
        const int64_t tasks = max64(TASKS, gemm_threads());
        int64_t across = tiles(K, TILE_K);
        while (N * across / tasks < TILE_N_MIN / 2 && K / across > 2 * TILE_K_MIN) across *= 2;
        o.tile_k = tiles(K, across);
        o.tile_n = max64(TILE_N_MIN, min64(TILE, (N * across / tasks + 31) / 32 * 32));
        return o;
    }
    while (o.tile_n > TILE_MIN && !tasks_share_well(outer_tiles(&o))) o.tile_n /= 2;
    while (o.tile_k > TILE_K_MIN && outer_tiles(&o) < 2 * gemm_threads() && !tasks_share_well(outer_tiles(&o)))
        o.tile_k /= 2;
    return o;
}

/* The primitive that adds `n` rows' part to a tile of N × K. */
static struct gemm_shape outer_gemm(const struct outer *o, int64_t n, int64_t N, int64_t K) {
    return (struct gemm_shape){.M = N,
                               .N = K,
                               .K = n,
                               .lda = o->dy.ld,
                               .ldb = o->x.ld,
                               .ldc = o->K,
                               .trans_a = true,
                               .add = true,
                               .type = o->t,
                               .c_type = DTYPE_F32};
}

/* Tile i of dw, summed over blocks of rows of the operands. */
static void run_outer(void *context, int64_t i) {
    const struct outer *o = context;
    const int64_t across = tiles(o->K, o->tile_k), r = i / across * o->tile_n, q = i % across * o->tile_k;
    const int64_t size = (int64_t)dtype_size(o->t), N = min64(o->tile_n, o->N - r), K = min64(o->tile_k, o->K - q);
    for (int64_t at = 0, block; at < o->n; at += block) {
        const bool tail = at == o->whole;
        const char *dy = tail ? o->dy_tail.data : o->dy.data + at * o->dy.ld * size,
                   *x = tail ? o->x_tail.data : o->x.data + at * o->x.ld * size;
        block = tail ? GEMM_ROW_STEP : row_block(o->whole - at);
        const struct gemm_shape s = outer_gemm(o, block, N, K);
        gemm_run(gemm_get(&s), dy + r * size, x + q * size, o->dw + r * o->K + q);
    }
}

/* The rows of x [n, cols] bf16 beyond a multiple of GEMM_ROW_STEP, with zeros behind them. */
static struct operand tail_rows(const void *x, int64_t n, int64_t cols, const struct buffer *b) {
    const int64_t row = cols * 2, whole = n / GEMM_ROW_STEP * GEMM_ROW_STEP;
    char *tail = reserved(b, GEMM_ROW_STEP * row);
    if (n > whole) memcpy(tail, (const char *)x + whole * row, (size_t)((n - whole) * row));
    memset(tail + (n - whole) * row, 0, (size_t)((whole + GEMM_ROW_STEP - n) * row));
    return (struct operand){tail, cols};
}

static int64_t padded_rows(int64_t n) {
    return round_up(n, GEMM_ROW_STEP);
}

/* Each strip of columns goes through the rows in their order. */
static void add_columns(float *db, const char *dy, enum dtype t, int64_t n, int64_t N) {
    enum { STRIP = 256 };
#pragma omp parallel for schedule(static) if (n * N > PARALLEL_WORK / 64)
    for (int64_t q = 0; q < N; q += STRIP)
        for (int64_t i = 0; i < n; i++)
            kernels->add_scaled(db + q, 1.0f, dy + (i * N + q) * (int64_t)dtype_size(t), t, min64(STRIP, N - q));
}

void linear_backward_weight(float *dw, float *db, const void *dy, const void *x, const struct linear *w, int64_t n) {
    if (n == 0) return;
    struct outer o = outer_shape(w);
    o.dw = dw;
    o.n = padded_rows(n);
    if (o.t == DTYPE_BF16) {
        o.whole = n / GEMM_ROW_STEP * GEMM_ROW_STEP;
        o.dy.data = dy;
        o.x.data = x;
        o.dy_tail = tail_rows(dy, n, w->N, &buffers.copy[0]);
        o.x_tail = tail_rows(x, n, w->K, &buffers.copy[1]);
    } else {
        o.whole = o.n;
        o.dy = spread(dy, w->t, o.t, n, o.n, w->N, &buffers.copy[0]);
        o.x = spread(x, w->t, o.t, n, o.n, w->K, &buffers.copy[1]);
    }
    tasks_run(run_outer, &o, outer_tiles(&o), o.n * o.N * o.K > PARALLEL_WORK);
    if (db) add_columns(db, dy, w->t, n, w->N);
}

/* ---- reserving ---- */

static int reserve_blocks(int64_t bytes, struct err *err) {
    for (int i = 0; i < gemm_threads(); i++)
        if (reserve(&buffers.block[i], bytes, err) < 0) return -1;
    return 0;
}

/* Every primitive that up to n rows can meet, and the threads' blocks. p's result is overwritten. A block that is used
 * instead of stored is written as one whose type differs from what the primitive writes, or as any packed one. */
static int reserve_product(struct product *p, int64_t n, struct err *err) {
    static const struct {
        enum dtype c_type;
        bool add;
    } results[] = {{DTYPE_F32, false}, {DTYPE_F32, true}, {DTYPE_BF16, false}};
    const int64_t width = linear_column_block(p->N), widths[] = {width, (p->N - 1) % width + 1};
    for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
        set_result(p, NULL, results[i].c_type, results[i].add);
        for (int64_t block = row_block(n); block >= GEMM_ROW_STEP; block /= 2)
            for (int j = 0; j < 2; j++) {
                const struct gemm_shape s = block_shape(p, block, widths[j]);
                if (gemm_prepare(&s, err) < 0) return -1;
            }
    }
    const int64_t bytes = max64(row_block(n) * width, GEMM_ROW_STEP * p->N) * 4 + 64 +
                          GEMM_ROW_STEP * p->shape.lda * (int64_t)dtype_size(p->shape.type);
    return reserve_blocks(bytes, err);
}

static int reserve_outer(const struct outer *o, int64_t n, struct err *err) {
    const int64_t N[] = {min64(o->tile_n, o->N), (o->N - 1) % o->tile_n + 1},
                  K[] = {min64(o->tile_k, o->K), (o->K - 1) % o->tile_k + 1};
    for (int64_t block = row_block(padded_rows(n)); block >= GEMM_ROW_STEP; block /= 2)
        for (int i = 0; i < 4; i++) {
            const struct gemm_shape s = outer_gemm(o, block, N[i / 2], K[i % 2]);
            if (gemm_prepare(&s, err) < 0) return -1;
        }
    return 0;
}

void linear_reserve_bytes(int64_t bytes[2], int64_t N, int64_t K, enum dtype type, int64_t n,
                          enum linear_products which) {
    const struct linear w = shaped(N, K, type);
    const enum dtype t = gemm_type(type);
    const bool packed = packs(type), wide = widened(type), copied = which >= LINEAR_DX && weight_copied(&w, true);
    const int64_t rows = packed ? GEMM_ROW_STEP : padded_rows(n); /* of dy and x that dW copies */
    if (wide) bytes[0] = max64(bytes[0], spread_bytes(n, which >= LINEAR_DX ? max64(N, K) : K, t));
    if (!packed && (copied || weight_copied(&w, false))) bytes[1] = max64(bytes[1], spread_bytes(N, K, t));
    if (packed && which >= LINEAR_DX) bytes[1] = max64(bytes[1], pack_bytes(&w.backward));
    if (which < LINEAR_DW) return;
    bytes[0] = max64(bytes[0], spread_bytes(rows, max64(N, K), t));
    bytes[1] = max64(bytes[1], spread_bytes(rows, K, t));
}

int linear_reserve(const struct linear *w, int64_t n, enum linear_products which, struct err *err) {
    const bool packed = packs(w->t);
    int64_t copy[2] = {0};
    linear_reserve_bytes(copy, w->N, w->K, w->t, n, which);
    if (!buffers.block &&
        !(buffers.block = mem_alloc(gemm_threads(), sizeof *buffers.block, "operands of products", err)))
        return -1;
    struct product y = forward_product(w), dx = backward_product(w);
    if (reserve_product(&y, n, err) < 0 || reserve_blocks(thin_bytes(linear_column_block(w->N)), err) < 0) return -1;
    if (which >= LINEAR_DX) {
        if (packed && pack_prepare(&w->backward, w->source_type, w->K, false, err) < 0) return -1;
        if (reserve_product(&dx, n, err) < 0) return -1;
    }
    if (which >= LINEAR_DW) {
        const struct outer o = outer_shape(w);
        if (reserve_outer(&o, n, err) < 0) return -1;
    }
    for (int i = 0; i < 2; i++)
        if (reserve(&buffers.copy[i], copy[i], err) < 0) return -1;
    return 0;
}

/* ---- the yardstick ---- */

double linear_rate(enum dtype t, struct err *err) {
    enum { SIDE = 2048, TRIES = 4 };
    const int64_t bytes = linear_bytes(SIDE, SIDE, t, t);
    void *x = mem_alloc(SIDE * SIDE, dtype_size(t), "the yardstick of speed", err),
         *source = mem_alloc(SIDE * SIDE, dtype_size(t), "the yardstick of speed", err);
    void *packed = mem_alloc(bytes, 1, "the yardstick of speed", err);
    float *y = mem_alloc(SIDE * SIDE, 4, "the yardstick of speed", err);
    double best = -1;
    struct linear w;
    const struct buffers others = buffers; /* a small model needs less than this, and keeps what it has */
    buffers = (struct buffers){0};
    if (x && source && packed && y &&
        linear_init(&w, SIDE, SIDE, source, t, NULL, t, bytes ? packed : NULL, err) == 0 &&
        linear_reserve(&w, SIDE, LINEAR_Y, err) == 0)
        for (int i = 0; i <= TRIES; i++) { /* the first one warms up */
            const double began = clock_seconds();
            linear_forward(y, DTYPE_F32, x, &w, SIDE, false);
            const double rate = 2.0 * SIDE * SIDE * SIDE / (clock_seconds() - began);
            if (i > 0 && rate > best) best = rate;
        }
    free_buffers(&buffers);
    buffers = others;
    mem_free(x);
    mem_free(source);
    mem_free(packed);
    mem_free(y);
    return best;
}
