/* matmul: linear layers as blocks of oneDNN matmul primitives (v2 C API, as Debian 12 packages it).
 *
 * Every primitive is run by one thread inside our own parallel loop: oneDNN then does not split the sum, so results do
 * not depend on the number of threads, and the loop is free to balance. Block sizes follow from the shape alone. Rows
 * are processed in blocks of 24 · 2^i (a shorter tail goes through a zero-padded copy): oneDNN's AVX2 kernel takes 6
 * rows at a time and sums left-over rows in another order, and a row must not depend on its place in the batch. Weight
 * gradients sum over blocks of the same sizes. So a product of any number of rows meets the shapes of its first call,
 * and creates no primitive after it. Not here: attention's loops (attention.c) and anything elementwise (kernels.inc). */
#include "compute/matmul.h"

#include <oneapi/dnnl/dnnl.h>
#include <omp.h>
#include <pthread.h>
#include <string.h>

#include "base/cpu.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"

/* Work below which a parallel region costs more than it saves, in multiply-adds (about 50 µs of one core). */
#define PARALLEL_WORK (INT64_C(1) << 21)
enum { TILE = 384, TILE_MIN = 48, TASKS_WANTED = 16, BUCKETS = 4096 };

struct gemm {
    struct gemm_shape shape;
    bool packed; /* B in the primitive's own layout */
    struct gemm *next;
    dnnl_primitive_t primitive;
    dnnl_primitive_desc_t desc;
    size_t scratch_bytes, packed_bytes;
    struct gemm_memory { /* one per thread: handles are set before each run */
        dnnl_memory_t a, b, c, scratch;
    } * memory;
};

static struct {
    dnnl_engine_t engine;
    int threads;
    bool native_bf16;
    pthread_mutex_t lock;
    struct gemm *buckets[BUCKETS];
    int slow; /* primitives that oneDNN has no fast code for */
    struct thread_state {
        dnnl_stream_t stream;
        void *scratch, *block; /* primitive's scratchpad; padded or narrowed blocks */
        int64_t scratch_bytes, block_bytes;
    } * thread;
    void *copy[2]; /* operands in another type or with another row stride */
    int64_t copy_bytes[2];
} mm = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void check(dnnl_status_t status, const char *what) {
    if (status != dnnl_success) err_bug("oneDNN", (int)status, what);
}

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* At least `bytes` at *p; contents are not kept. */
static int try_reserve(void **p, int64_t *have, int64_t bytes, struct err *err) {
    if (*have >= bytes) return 0;
    mem_free(*p);
    *p = mem_alloc(bytes, 1, "matmul blocks", err);
    *have = *p ? bytes : 0;
    return *p ? 0 : -1;
}

/* Running out of memory here is out of reach of err: the sizes are fixed by the model and are met in the first step. */
static void *reserve(void **p, int64_t *have, int64_t bytes) {
    struct err err = {{0}};
    if (try_reserve(p, have, bytes, &err) < 0) err_bug(__FILE__, __LINE__, err.msg);
    return *p;
}

/* ---- primitives by shape ---- */

static dnnl_data_type_t dnnl_type(enum dtype t) {
    return t == DTYPE_F32 ? dnnl_f32 : dnnl_bf16;
}

/* A matrix of rows × cols whose memory has `ld` elements from one stored row to the next; transposed: stored as cols ×
 * rows. */
static dnnl_memory_desc_t matrix_desc(int64_t nrows, int64_t cols, int64_t ld, bool transposed, enum dtype t) {
    dnnl_memory_desc_t md;
    const dnnl_dims_t dims = {nrows, cols};
    const dnnl_dims_t strides = {transposed ? 1 : ld, transposed ? ld : 1};
    check(dnnl_memory_desc_init_by_strides(&md, 2, dims, dnnl_type(t), strides), "memory_desc_init_by_strides");
    return md;
}

static uint64_t shape_hash(const struct gemm_shape *s, bool packed) {
    const int64_t f[] = {s->M,
                         s->N,
                         s->K,
                         s->lda,
                         s->ldb,
                         s->ldc,
                         s->trans_a | s->trans_b << 1 | s->add << 2 | packed << 3 | (int)s->type << 4 |
                             (int)s->c_type << 6};
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < sizeof f / sizeof *f; i++) h = (h ^ (uint64_t)f[i]) * 1099511628211u, h ^= h >> 29;
    return h;
}

static bool shape_equal(const struct gemm_shape *a, const struct gemm_shape *b) {
    return a->M == b->M && a->N == b->N && a->K == b->K && a->lda == b->lda && a->ldb == b->ldb && a->ldc == b->ldc &&
           a->trans_a == b->trans_a && a->trans_b == b->trans_b && a->add == b->add && a->type == b->type &&
           a->c_type == b->c_type;
}

/* `layout`: B's packed layout when it was chosen before, else NULL. */
static void gemm_create(struct gemm *g, const dnnl_memory_desc_t *layout) {
    const struct gemm_shape *s = &g->shape;
    dnnl_memory_desc_t a = matrix_desc(s->M, s->K, s->lda, s->trans_a, s->type);
    dnnl_memory_desc_t b = matrix_desc(s->K, s->N, s->ldb, s->trans_b, s->type);
    dnnl_memory_desc_t c = matrix_desc(s->M, s->N, s->ldc, false, s->c_type);
    const dnnl_dims_t dims_b = {s->K, s->N};
    if (layout)
        b = *layout;
    else if (g->packed)
        check(dnnl_memory_desc_init_by_tag(&b, 2, dims_b, dnnl_type(s->type), dnnl_format_tag_any), "tag any");
    dnnl_matmul_desc_t d;
    check(dnnl_matmul_desc_init(&d, &a, &b, NULL, &c), "matmul_desc_init");
    dnnl_primitive_attr_t attr;
    check(dnnl_primitive_attr_create(&attr), "attr_create");
    check(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user), "scratchpad_mode");
    if (s->add) {
        dnnl_post_ops_t ops;
        check(dnnl_post_ops_create(&ops), "post_ops_create");
        check(dnnl_post_ops_append_sum(ops, 1.0f), "append_sum");
        check(dnnl_primitive_attr_set_post_ops(attr, ops), "set_post_ops");
        check(dnnl_post_ops_destroy(ops), "post_ops_destroy");
    }
    check(dnnl_primitive_desc_create(&g->desc, &d, attr, mm.engine, NULL), "matmul primitive_desc_create");
    check(dnnl_primitive_attr_destroy(attr), "attr_destroy");
    check(dnnl_primitive_create(&g->primitive, g->desc), "matmul primitive_create");
    const char *implementation;
    check(dnnl_primitive_desc_query(g->desc, dnnl_query_impl_info_str, 0, &implementation), "query impl_info_str");
    mm.slow += strncmp(implementation, "ref", 3) == 0;
    const dnnl_memory_desc_t *bd = dnnl_primitive_desc_query_md(g->desc, dnnl_query_weights_md, 0);
    const dnnl_memory_desc_t *sd = dnnl_primitive_desc_query_md(g->desc, dnnl_query_scratchpad_md, 0);
    g->packed_bytes = dnnl_memory_desc_get_size(bd);
    g->scratch_bytes = dnnl_memory_desc_get_size(sd);
    for (int t = 0; t < mm.threads; t++) {
        struct gemm_memory *m = &g->memory[t];
        check(dnnl_memory_create(&m->a, &a, mm.engine, DNNL_MEMORY_NONE), "memory_create");
        check(dnnl_memory_create(&m->b, bd, mm.engine, DNNL_MEMORY_NONE), "memory_create");
        check(dnnl_memory_create(&m->c, &c, mm.engine, DNNL_MEMORY_NONE), "memory_create");
        check(dnnl_memory_create(&m->scratch, sd, mm.engine, DNNL_MEMORY_NONE), "memory_create");
    }
}

/* oneDNN plans and runs with OpenMP's number of threads unless it is called from a parallel region. We always want one:
 * how a sum is split must not depend on the number of threads. Returns the number to go back to. */
static int one_thread(void) {
    const int before = omp_get_max_threads();
    if (before != 1) omp_set_num_threads(1);
    return before;
}

static void threads_again(int before) {
    if (before != 1) omp_set_num_threads(before);
}

/* `layout`: as gemm_create(). */
static struct gemm *find_or_create(const struct gemm_shape *s, bool packed, const dnnl_memory_desc_t *layout) {
    struct gemm **bucket = &mm.buckets[shape_hash(s, packed) % BUCKETS], *g;
    pthread_mutex_lock(&mm.lock);
    for (g = *bucket; g; g = g->next)
        if (g->packed == packed && shape_equal(&g->shape, s)) break;
    if (!g) {
        struct err err = {{0}};
        g = mem_alloc(1, sizeof *g, "matmul primitive", &err);
        if (g) g->memory = mem_alloc(mm.threads, sizeof *g->memory, "matmul primitive", &err);
        if (!g || !g->memory) err_bug(__FILE__, __LINE__, err.msg);
        g->shape = *s;
        g->packed = packed;
        const int before = one_thread();
        gemm_create(g, layout);
        threads_again(before);
        g->next = *bucket;
        *bucket = g;
    }
    pthread_mutex_unlock(&mm.lock);
    return g;
}

/* B's packed layout belongs to its width and K, not to the number of rows of A: asked for with TILE of them. */
static struct gemm *packing_gemm(int64_t width, int64_t K) {
    return find_or_create(&(struct gemm_shape){.M = TILE,
                                               .N = width,
                                               .K = K,
                                               .lda = K,
                                               .ldb = width,
                                               .ldc = width,
                                               .type = DTYPE_BF16,
                                               .c_type = DTYPE_F32},
                          true, NULL);
}

static const dnnl_memory_desc_t *packed_layout(int64_t width, int64_t K) {
    return dnnl_primitive_desc_query_md(packing_gemm(width, K)->desc, dnnl_query_weights_md, 0);
}

static struct gemm *find(const struct gemm_shape *s, bool packed) {
    return find_or_create(s, packed, packed ? packed_layout(s->N, s->K) : NULL);
}

const struct gemm *gemm_get(const struct gemm_shape *s) {
    return find(s, false);
}

void gemm_run(const struct gemm *g, const void *A, const void *B, void *C) {
    const int id = omp_get_thread_num();
    struct thread_state *t = &mm.thread[id];
    struct gemm_memory *m = &g->memory[id];
    check(dnnl_memory_set_data_handle(m->a, (void *)(uintptr_t)A), "set_data_handle");
    check(dnnl_memory_set_data_handle(m->b, (void *)(uintptr_t)B), "set_data_handle");
    check(dnnl_memory_set_data_handle(m->c, C), "set_data_handle");
    if (g->scratch_bytes)
        check(
            dnnl_memory_set_data_handle(m->scratch, reserve(&t->scratch, &t->scratch_bytes, (int64_t)g->scratch_bytes)),
            "set_data_handle");
    const dnnl_exec_arg_t args[] = {
        {DNNL_ARG_SRC, m->a}, {DNNL_ARG_WEIGHTS, m->b}, {DNNL_ARG_DST, m->c}, {DNNL_ARG_SCRATCHPAD, m->scratch}};
    const int before = one_thread();
    check(dnnl_primitive_execute(g->primitive, t->stream, 4, args), "primitive_execute");
    threads_again(before);
}

static void reserve_scratch(const struct gemm *g) {
    for (int t = 0; t < mm.threads && g->scratch_bytes; t++)
        reserve(&mm.thread[t].scratch, &mm.thread[t].scratch_bytes, (int64_t)g->scratch_bytes);
}

void gemm_prepare(const struct gemm_shape *s) {
    reserve_scratch(gemm_get(s));
}

/* ---- start ---- */

/* Does this machine and build of oneDNN multiply bf16? */
static bool probe_bf16(void) {
    if (!cpu_has_bf16() || cpu_choose(&(struct err){{0}}) != CPU_AVX512) return false;
    dnnl_memory_desc_t a = matrix_desc(64, 64, 64, false, DTYPE_BF16), b = a,
                       c = matrix_desc(64, 64, 64, false, DTYPE_F32);
    dnnl_matmul_desc_t d;
    dnnl_primitive_desc_t pd;
    if (dnnl_matmul_desc_init(&d, &a, &b, NULL, &c) != dnnl_success) return false;
    if (dnnl_primitive_desc_create(&pd, &d, NULL, mm.engine, NULL) != dnnl_success) return false;
    dnnl_primitive_desc_destroy(pd);
    return true;
}

int matmul_init(int threads, struct err *err) {
    BUG_ON(threads < 1 || !kernels);
    if (mm.engine) { /* again, perhaps with another number of threads: primitives hold one memory per thread */
        if (threads <= mm.threads) {
            omp_set_num_threads(threads);
            return 0;
        }
        return err_set(err, "threads: matmul was started with %d threads; %d need a new process", mm.threads, threads);
    }
    if (dnnl_engine_create(&mm.engine, dnnl_cpu, 0) != dnnl_success)
        return err_set(err, "oneDNN: cannot create a CPU engine: is libdnnl2 installed whole?");
    mm.threads = threads;
    mm.native_bf16 = probe_bf16();
    mm.thread = mem_alloc(threads, sizeof *mm.thread, "matmul threads", err);
    if (!mm.thread) return -1;
    for (int t = 0; t < threads; t++)
        check(dnnl_stream_create(&mm.thread[t].stream, mm.engine, dnnl_stream_default_flags), "stream_create");
    omp_set_num_threads(threads);
    return 0;
}

int matmul_threads(void) {
    return mm.threads;
}

bool matmul_native_bf16(void) {
    return mm.native_bf16;
}

int matmul_slow_primitives(void) {
    return mm.slow;
}

/* ---- operands ---- */

/* The type that primitives really multiply. */
static enum dtype product_type(enum dtype t) {
    return t == DTYPE_BF16 && mm.native_bf16 ? DTYPE_BF16 : DTYPE_F32;
}

int64_t matmul_stride(int64_t cols, enum dtype t) {
    enum { LINE = 16 }; /* floats in a cache line */
    return t == DTYPE_BF16 ? cols : ((cols + LINE - 1) / LINE | 1) * LINE;
}

/* A matrix of `type` with row stride ld, as a product takes it. */
struct operand {
    const char *data;
    int64_t ld;
};

/* x [n, cols] of type `from`, copied into buffer `slot` as type `to` with matmul_stride(), then zero rows up to
 * `padded`. */
static struct operand spread(const void *x, enum dtype from, enum dtype to, int64_t n, int64_t padded, int64_t cols,
                             int slot) {
    const int64_t ld = matmul_stride(cols, to), step = cols * (int64_t)dtype_size(from), size = (int64_t)dtype_size(to);
    char *copy = reserve(&mm.copy[slot], &mm.copy_bytes[slot], padded * ld * size);
#pragma omp parallel for schedule(static) if (n * cols > PARALLEL_WORK / 64)
    for (int64_t i = 0; i < n; i++) kernels->convert(copy + i * ld * size, to, (const char *)x + i * step, from, cols);
    memset(copy + n * ld * size, 0, (size_t)((padded - n) * ld * size));
    return (struct operand){copy, ld};
}

/* x [n, cols] of type t as the product takes it: itself, or widened. */
static struct operand operand(const void *x, enum dtype t, int64_t n, int64_t cols, int slot) {
    const enum dtype want = product_type(t);
    return want == t ? (struct operand){x, cols} : spread(x, t, want, n, n, cols, slot);
}

int64_t matmul_column_block(int64_t N) {
    const int64_t blocks = (N + TILE - 1) / TILE;
    return min64(N, ((N + blocks - 1) / blocks + 31) / 32 * 32);
}

static bool packs(enum dtype t) {
    return t == DTYPE_BF16 && mm.native_bf16;
}

/* The right side B [K,N] of a product, stored in rows of ld elements (of columns, when transposed), cut into blocks of
 * `width` columns. */
struct packing {
    char *to; /* block i comes to to + i · block_bytes */
    int64_t block_bytes;
    const char *from;
    enum dtype from_type;
    int64_t K, N, ld, width;
    bool transposed;
};

static void pack_block(const struct packing *p, int64_t block) {
    const int64_t first = block * p->width, n = min64(p->width, p->N - first);
    dnnl_memory_desc_t from = matrix_desc(p->K, n, p->ld, p->transposed, p->from_type);
    const dnnl_memory_desc_t *to = packed_layout(n, p->K);
    const char *source = p->from + first * (p->transposed ? p->ld : 1) * (int64_t)dtype_size(p->from_type);
    dnnl_primitive_desc_t pd;
    dnnl_primitive_t reorder;
    dnnl_memory_t a, b;
    check(dnnl_reorder_primitive_desc_create(&pd, &from, mm.engine, to, mm.engine, NULL),
          "reorder_primitive_desc_create");
    check(dnnl_primitive_create(&reorder, pd), "reorder primitive_create");
    check(dnnl_memory_create(&a, &from, mm.engine, (void *)(uintptr_t)source), "memory_create");
    check(dnnl_memory_create(&b, to, mm.engine, p->to + block * p->block_bytes), "memory_create");
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, a}, {DNNL_ARG_TO, b}};
    check(dnnl_primitive_execute(reorder, mm.thread[omp_get_thread_num()].stream, 2, args), "reorder execute");
    dnnl_memory_destroy(a);
    dnnl_memory_destroy(b);
    dnnl_primitive_destroy(reorder);
    dnnl_primitive_desc_destroy(pd);
}

static void pack(const struct packing *p) {
    const int64_t blocks = (p->N + p->width - 1) / p->width;
#pragma omp parallel for schedule(dynamic)
    for (int64_t b = 0; b < blocks; b++) pack_block(p, b);
}

/* Bytes of the packed form of `width` columns and K rows. */
static int64_t packed_bytes(int64_t width, int64_t K) {
    return ((int64_t)packing_gemm(width, K)->packed_bytes + 63) / 64 * 64;
}

int64_t matmul_weight_bytes(int64_t N, int64_t K, enum dtype source_type, enum dtype t) {
    if (!packs(t)) return source_type == t ? 0 : (N * K * (int64_t)dtype_size(t) + 63) / 64 * 64;
    const int64_t width = matmul_column_block(N), blocks = (N + width - 1) / width;
    return blocks * packed_bytes(width, K);
}

int matmul_weight_init(struct matmul_weight *w, int64_t N, int64_t K, const void *source, enum dtype source_type,
                       enum dtype t, void *packed, struct err *err) {
    if (N < 1 || K < 1) return err_set(err, "weight matrix: shape [%lld, %lld] is empty", (long long)N, (long long)K);
    *w = (struct matmul_weight){.N = N, .K = K, .source = source, .source_type = source_type, .t = t, .packed = packed};
    if (packs(t)) w->block_bytes = packed_bytes(matmul_column_block(N), K);
    BUG_ON(!packed && matmul_weight_bytes(N, K, source_type, t) > 0);
    matmul_weight_refresh(w);
    return 0;
}

void matmul_weight_refresh(struct matmul_weight *w) {
    if (!w->packed) return;
    if (packs(w->t)) {
        pack(&(struct packing){.to = w->packed,
                               .block_bytes = w->block_bytes,
                               .from = w->source,
                               .from_type = w->source_type,
                               .K = w->K,
                               .N = w->N,
                               .ld = w->K,
                               .width = matmul_column_block(w->N),
                               .transposed = true});
        return;
    }
    const int64_t K = w->K;
#pragma omp parallel for schedule(static) if (w->N * K > PARALLEL_WORK / 16)
    for (int64_t i = 0; i < w->N; i++)
        kernels->convert((char *)w->packed + i * K * (int64_t)dtype_size(w->t), w->t,
                         (const char *)w->source + i * K * (int64_t)dtype_size(w->source_type), w->source_type, K);
}

/* W row-major in the type that products use, where that does not pack; `by_column` products copy it where its columns
 * share cache sets (bench/SPEED.md, strides). */
static struct operand plain_weight(const struct matmul_weight *w, bool by_column) {
    enum { CONFLICT = 256 };
    const void *source = w->packed ? w->packed : w->source;
    const enum dtype have = w->packed ? w->t : w->source_type, want = product_type(w->t);
    if (have == want && !(by_column && want == DTYPE_F32 && w->K % CONFLICT == 0))
        return (struct operand){source, w->K};
    return spread(source, have, want, w->N, w->N, w->K, 1);
}

/* ---- blocked products ---- */

/* One product cut into row × column tiles. B's tile j starts at b + j·b_step bytes. */
struct product {
    struct gemm_shape shape; /* M and N are set per tile */
    const char *a, *b;
    char *c;
    int64_t M, N, b_step;
    bool packed;
    enum dtype c_type; /* of c in memory; shape.c_type is what the primitive writes */
    matmul_use *use;   /* gets the blocks instead of c, unless NULL */
    void *context;     /* its own */
};

/* The largest block of rows, 24 · 2^i up to TILE, that n rows fill; MATMUL_ROW_STEP when they fill none. */
static int64_t row_block(int64_t n) {
    int64_t block = TILE;
    while (block > n && block > MATMUL_ROW_STEP) block /= 2;
    return block;
}

static void tile_sizes(int64_t M, int64_t N, int64_t width, int64_t *nrows, int64_t *cols) {
    *cols = width;
    *nrows = TILE;
    while (*nrows > TILE_MIN && ((M + *nrows - 1) / *nrows) * ((N + *cols - 1) / *cols) < TASKS_WANTED) *nrows /= 2;
}

/* Is a block of n columns written into a buffer first? Where it is used instead of stored or the result has another
 * type, and where the weights are packed: oneDNN has no fast primitive for those and a result with gaps in its rows. */
static bool buffered(const struct product *p, int64_t n) {
    return p->use || p->shape.c_type != p->c_type || (p->packed && n != p->shape.ldc);
}

/* The primitive for a block of m rows and n columns of the product. */
static struct gemm *block_gemm(const struct product *p, int64_t m, int64_t n) {
    struct gemm_shape s = p->shape;
    s.M = m;
    s.N = n;
    if (buffered(p, n)) s.ldc = n;
    return find(&s, p->packed);
}

/* Rows [r, r+m) × columns [q, q+n) of the product, m <= MATMUL_ROW_STEP · 2^i: one primitive, through buffers where
 * rows must be padded to `block` or the result is buffered(). */
static void run_block(const struct product *p, int64_t r, int64_t m, int64_t block, int64_t q, int64_t n) {
    const struct gemm_shape *s = &p->shape;
    struct thread_state *t = &mm.thread[omp_get_thread_num()];
    const int64_t size_a = (int64_t)dtype_size(s->type), size_c = (int64_t)dtype_size(p->c_type),
                  size_w = (int64_t)dtype_size(s->c_type);
    const bool tail = m < block, through = buffered(p, n);
    const char *a = p->a + r * s->lda * size_a, *b = p->b + q / matmul_column_block(p->N) * p->b_step;
    char *c = p->use ? NULL : p->c + (r * s->ldc + q) * size_c, *written = c;
    const int64_t ld = through ? n : s->ldc; /* of what the primitive writes */
    if (tail || through) {
        const int64_t c_bytes = (block * ld * size_w + 63) / 64 * 64;
        written = t->block; /* prepare_product() saw to its size */
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
    gemm_run(block_gemm(p, block, n), a, b, written);
    if (p->use)
        p->use(p->context, (float *)(void *)written, r, m, q, n);
    else if (written != c)
        for (int64_t i = 0; i < m; i++)
            kernels->convert(c + i * s->ldc * size_c, p->c_type, written + i * ld * size_w, s->c_type, n);
}

/* What any number of rows may meet: the first call creates it, later ones find it. */
static void prepare_product(const struct product *p, int64_t width, int64_t last_width) {
    const struct gemm_shape *s = &p->shape;
    const int64_t size_w = (int64_t)dtype_size(s->c_type),
                  result = buffered(p, width) ? TILE * width * size_w : MATMUL_ROW_STEP * s->ldc * size_w,
                  tail = MATMUL_ROW_STEP * s->lda * (int64_t)dtype_size(s->type) + 64;
    for (int64_t block = TILE; block >= MATMUL_ROW_STEP; block /= 2) {
        reserve_scratch(block_gemm(p, block, width));
        reserve_scratch(block_gemm(p, block, last_width));
    }
    for (int i = 0; i < mm.threads; i++) reserve(&mm.thread[i].block, &mm.thread[i].block_bytes, result + tail);
}

static void run_product(const struct product *p) {
    int64_t tile_rows, tile_cols;
    tile_sizes(p->M, p->N, matmul_column_block(p->N), &tile_rows, &tile_cols);
    const int64_t down = (p->M + tile_rows - 1) / tile_rows, across = (p->N + tile_cols - 1) / tile_cols;
    prepare_product(p, tile_cols, p->N - (across - 1) * tile_cols);
#pragma omp parallel for schedule(dynamic) if (down * across > 1 && p->M * p->N * p->shape.K > PARALLEL_WORK)
    for (int64_t i = 0; i < down * across; i++) {
        const int64_t r = i % down * tile_rows, q = i / down * tile_cols, m = min64(tile_rows, p->M - r);
        for (int64_t at = 0, block; at < m; at += block) {
            block = row_block(m - at);
            run_block(p, r + at, min64(block, m - at), block, q, min64(tile_cols, p->N - q));
        }
    }
}

/* What a primitive that multiplies `product` writes for a result of type t: only bf16 products write bf16. */
static enum dtype written_type(enum dtype t, enum dtype product) {
    return product == DTYPE_F32 ? DTYPE_F32 : t;
}

static struct product forward_product(const void *x, const struct matmul_weight *w, int64_t n) {
    const enum dtype t = product_type(w->t);
    const bool packed = packs(w->t);
    const struct operand a = operand(x, w->t, n, w->K, 0),
                         b = packed ? (struct operand){w->packed, w->K} : plain_weight(w, false);
    return (struct product){
        .shape = {.K = w->K, .lda = a.ld, .ldb = b.ld, .ldc = w->N, .trans_b = true, .type = t, .c_type = DTYPE_F32},
        .a = a.data,
        .b = b.data,
        .M = n,
        .N = w->N,
        .packed = packed,
        .c_type = DTYPE_F32,
        .b_step = packed ? w->block_bytes : matmul_column_block(w->N) * b.ld * (int64_t)dtype_size(t)};
}

void matmul_forward(void *y, enum dtype yt, const void *x, const struct matmul_weight *w, int64_t n, bool add) {
    BUG_ON(add && yt != DTYPE_F32);
    if (n == 0) return;
    struct product p = forward_product(x, w, n);
    p.c = y;
    p.c_type = yt;
    p.shape.c_type = written_type(yt, p.shape.type);
    p.shape.add = add;
    run_product(&p);
}

void matmul_forward_use(const void *x, const struct matmul_weight *w, int64_t n, matmul_use *use, void *context) {
    if (n == 0) return;
    struct product p = forward_product(x, w, n);
    p.use = use;
    p.context = context;
    run_product(&p);
}

/* W packed as the right side of dX = dY·W; the forward product has it packed the other way round. Done for each call:
 * packing rows is fast, and a second packed copy of all weights would be a tenth more memory. */
static struct operand pack_backward(const struct matmul_weight *w, int64_t *block_bytes) {
    const int64_t width = matmul_column_block(w->K), blocks = (w->K + width - 1) / width;
    *block_bytes = packed_bytes(width, w->N);
    struct packing p = {.to = reserve(&mm.copy[1], &mm.copy_bytes[1], blocks * *block_bytes),
                        .block_bytes = *block_bytes,
                        .from = w->source,
                        .from_type = w->source_type,
                        .K = w->N,
                        .N = w->K,
                        .ld = w->K,
                        .width = width};
    pack(&p);
    return (struct operand){p.to, w->K};
}

void matmul_backward_data(void *dx, enum dtype xt, const void *dy, const struct matmul_weight *w, int64_t n, bool add) {
    BUG_ON(add && xt != DTYPE_F32);
    if (n == 0) return;
    const enum dtype t = product_type(w->t);
    const bool packed = packs(w->t);
    int64_t b_step = matmul_column_block(w->K) * (int64_t)dtype_size(t);
    const struct operand a = operand(dy, w->t, n, w->N, 0),
                         b = packed ? pack_backward(w, &b_step) : plain_weight(w, true);
    run_product(&(struct product){
        .shape =
            {.K = w->N, .lda = a.ld, .ldb = b.ld, .ldc = w->K, .add = add, .type = t, .c_type = written_type(xt, t)},
        .a = a.data,
        .b = b.data,
        .c = dx,
        .M = n,
        .N = w->K,
        .packed = packed,
        .c_type = xt,
        .b_step = b_step});
}

/* A weight gradient: its operands, and the tiles of the result that threads take. */
struct outer {
    float *dw;
    struct operand dy, x;           /* rows up to `whole` */
    struct operand dy_tail, x_tail; /* MATMUL_ROW_STEP rows: the others, then zeros */
    enum dtype t;
    int64_t whole, n, N, K, tile_n, tile_k; /* whole and n: multiples of MATMUL_ROW_STEP */
};

/* The primitive that adds `n` rows' part to a tile of N × K. */
static struct gemm *outer_gemm(const struct outer *o, int64_t n, int64_t N, int64_t K) {
    return find(&(struct gemm_shape){.M = N,
                                     .N = K,
                                     .K = n,
                                     .lda = o->dy.ld,
                                     .ldb = o->x.ld,
                                     .ldc = o->K,
                                     .trans_a = true,
                                     .add = true,
                                     .type = o->t,
                                     .c_type = DTYPE_F32},
                false);
}

/* What any number of rows may meet, as prepare_product(). */
static void prepare_outer(const struct outer *o) {
    const int64_t n[] = {min64(o->tile_n, o->N), (o->N - 1) % o->tile_n + 1},
                  k[] = {min64(o->tile_k, o->K), (o->K - 1) % o->tile_k + 1};
    for (int64_t block = TILE; block >= MATMUL_ROW_STEP; block /= 2)
        for (int i = 0; i < 4; i++) reserve_scratch(outer_gemm(o, block, n[i / 2], k[i % 2]));
}

/* The tile at row r and column q of dw, summed over blocks of rows of the operands. */
static void run_outer(const struct outer *o, int64_t r, int64_t q) {
    const int64_t size = (int64_t)dtype_size(o->t), N = min64(o->tile_n, o->N - r), K = min64(o->tile_k, o->K - q);
    for (int64_t at = 0, block; at < o->n; at += block) {
        const bool tail = at == o->whole;
        const char *dy = tail ? o->dy_tail.data : o->dy.data + at * o->dy.ld * size,
                   *x = tail ? o->x_tail.data : o->x.data + at * o->x.ld * size;
        block = tail ? MATMUL_ROW_STEP : row_block(o->whole - at);
        gemm_run(outer_gemm(o, block, N, K), dy + r * size, x + q * size, o->dw + r * o->K + q);
    }
}

/* The rows of x [n, cols] bf16 beyond a multiple of MATMUL_ROW_STEP, with zeros behind them. There may be none; the
 * memory is reserved all the same, so that a later call need not. */
static struct operand tail_rows(const void *x, int64_t n, int64_t cols, int slot) {
    const int64_t row = cols * 2, whole = n / MATMUL_ROW_STEP * MATMUL_ROW_STEP;
    char *tail = reserve(&mm.copy[slot], &mm.copy_bytes[slot], MATMUL_ROW_STEP * row);
    if (n > whole) memcpy(tail, (const char *)x + whole * row, (size_t)((n - whole) * row));
    memset(tail + (n - whole) * row, 0, (size_t)((whole + MATMUL_ROW_STEP - n) * row));
    return (struct operand){tail, cols};
}

/* bf16 operands are multiplied where they lie, in tiles of about equal sizes; float32 ones are copied to rows whose
 * columns do not share cache sets. */
void matmul_backward_weight(float *dw, const void *dy, const void *x, enum dtype type, int64_t n, int64_t N,
                            int64_t K) {
    enum { TILE_K = 512, TASKS = 8, TILE_N_MIN = 64 };
    if (n == 0) return;
    struct outer o = {.dw = dw,
                      .t = product_type(type),
                      .n = (n + MATMUL_ROW_STEP - 1) / MATMUL_ROW_STEP * MATMUL_ROW_STEP,
                      .N = N,
                      .K = K,
                      .tile_n = TILE,
                      .tile_k = TILE};
    if (o.t == DTYPE_BF16) {
        const int64_t across = (K + TILE_K - 1) / TILE_K, even = (N * across / TASKS + 31) / 32 * 32;
        o.tile_k = (K + across - 1) / across;
        o.tile_n = even < TILE_N_MIN ? TILE_N_MIN : min64(even, TILE);
        o.whole = n / MATMUL_ROW_STEP * MATMUL_ROW_STEP;
        o.dy = (struct operand){dy, N};
        o.x = (struct operand){x, K};
        o.dy_tail = tail_rows(dy, n, N, 0);
        o.x_tail = tail_rows(x, n, K, 1);
    } else {
        const int64_t across = (K + TILE - 1) / TILE;
        while (o.tile_n > TILE_MIN && (N + o.tile_n - 1) / o.tile_n * across < TASKS_WANTED) o.tile_n /= 2;
        o.whole = o.n;
        o.dy = spread(dy, type, o.t, n, o.n, N, 0);
        o.x = spread(x, type, o.t, n, o.n, K, 1);
    }
    prepare_outer(&o);
    const int64_t down = (N + o.tile_n - 1) / o.tile_n, across = (K + o.tile_k - 1) / o.tile_k;
#pragma omp parallel for schedule(dynamic) if (down * across > 1 && o.n * N * K > PARALLEL_WORK)
    for (int64_t i = 0; i < down * across; i++) run_outer(&o, i / across * o.tile_n, i % across * o.tile_k);
}

int matmul_reserve(const struct matmul_weight *w, int64_t n, struct err *err) {
    if (packs(w->t)) return 0; /* no buffer of its products grows with the rows */
    const enum dtype t = product_type(w->t);
    const int64_t padded = (n + MATMUL_ROW_STEP - 1) / MATMUL_ROW_STEP * MATMUL_ROW_STEP, size = (int64_t)dtype_size(t),
                  wide = matmul_stride(w->N > w->K ? w->N : w->K, t) * size, narrow = matmul_stride(w->K, t) * size;
    if (try_reserve(&mm.copy[0], &mm.copy_bytes[0], padded * wide, err) < 0) return -1;
    return try_reserve(&mm.copy[1], &mm.copy_bytes[1], (padded > w->N ? padded : w->N) * narrow, err);
}

double matmul_rate(enum dtype t, struct err *err) {
    enum { SIDE = 2048, TRIES = 4 };
    const int64_t bytes = matmul_weight_bytes(SIDE, SIDE, t, t);
    void *x = mem_alloc(SIDE * SIDE, dtype_size(t), "matmul yardstick", err),
         *w = mem_alloc(SIDE * SIDE, dtype_size(t), "matmul yardstick", err);
    void *packed = mem_alloc(bytes, 1, "matmul yardstick", err);
    float *y = mem_alloc(SIDE * SIDE, 4, "matmul yardstick", err);
    double best = -1;
    struct matmul_weight weight;
    if (x && w && packed && y && matmul_weight_init(&weight, SIDE, SIDE, w, t, t, bytes ? packed : NULL, err) == 0)
        for (int i = 0; i <= TRIES; i++) { /* the first one warms up */
            const double began = clock_seconds();
            matmul_forward(y, DTYPE_F32, x, &weight, SIDE, false);
            const double rate = 2.0 * SIDE * SIDE * SIDE / (clock_seconds() - began);
            if (i > 0 && rate > best) best = rate;
        }
    mem_free(x);
    mem_free(w);
    mem_free(packed);
    mem_free(y);
    return best;
}
