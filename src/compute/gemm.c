/* gemm: see gemm.h. Primitives of oneDNN's v2 C API, as Debian 12 packages it, in a hash table by shape. */
#include "compute/gemm.h"

#include <malloc.h>
#include <oneapi/dnnl/dnnl.h>
#include <omp.h>
#include <pthread.h>
#include <string.h>

#include "base/cpu.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/num.h"

enum { BUCKETS = 4096 };

struct gemm {
    struct gemm_shape shape;
    struct gemm *next;
    dnnl_primitive_t primitive;
    dnnl_primitive_desc_t desc;
    int64_t scratch_bytes;
    struct gemm_memory { /* one per thread: handles are set before each run */
        dnnl_memory_t a, b, c, scratch;
    } * memory;
};

static struct {
    dnnl_engine_t engine;
    int threads;
    bool native_bf16;
    struct gemm *buckets[BUCKETS];
    struct packing *packings;
    int slow;      /* primitives that oneDNN has no fast code for */
    uint64_t warm; /* flavours of primitives that have run, a bit each */
    struct thread_state {
        dnnl_stream_t stream;
        void *scratch; /* primitives' scratchpad */
        int64_t scratch_bytes;
    } * thread;
} mm;

/* ---- oneDNN's answers ---- */

static int no_memory(struct err *err) {
    return err_set(err, "out of memory: oneDNN has too little for a matrix product (%lld bytes are in use)",
                   (long long)mem_in_use());
}

/* Running out of memory is the world's fault; anything else is ours. */
static int try(dnnl_status_t status, const char *what, struct err *err) {
    if (status == dnnl_success) return 0;
    if (status != dnnl_out_of_memory) err_bug("oneDNN", (int)status, what);
    return no_memory(err);
}

/* oneDNN cannot always say that it runs out of memory, so see first that there is room for the code that it writes and
 * for what its products copy. */
static int need_room(struct err *err) {
    enum { ROOM = 16 << 20, EACH = 4 << 20 };
    void *p = mem_alloc(ROOM + (int64_t)mm.threads * EACH, 1, "matrix products", err);
    mem_free(p);
    return p ? 0 : no_memory(err);
}

static void check(dnnl_status_t status, const char *what) {
    struct err err = {{0}};
    if (try(status, what, &err) < 0) err_bug(__FILE__, __LINE__, err.msg);
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

/* The layout that oneDNN chooses for its AVX-512 kernels, whatever the number of A's rows. */
static dnnl_memory_desc_t packed_desc(int64_t N, int64_t K) {
    dnnl_memory_desc_t md;
    const dnnl_dims_t dims = {K, N};
    _Static_assert(GEMM_PANEL == 64, "as the tag says");
    check(dnnl_memory_desc_init_by_tag(&md, 2, dims, dnnl_bf16, dnnl_BA16a64b2a), "memory_desc_init_by_tag");
    return md;
}

/* ---- start ---- */

/* Does this machine and build of oneDNN multiply bf16? */
static bool probe_bf16(void) {
    if (cpu_choose(&(struct err){{0}}) != CPU_AVX512BF16) return false;
    dnnl_memory_desc_t a = matrix_desc(64, 64, 64, false, DTYPE_BF16), b = a,
                       c = matrix_desc(64, 64, 64, false, DTYPE_F32);
    dnnl_matmul_desc_t d;
    dnnl_primitive_desc_t pd;
    if (dnnl_matmul_desc_init(&d, &a, &b, NULL, &c) != dnnl_success) return false;
    if (dnnl_primitive_desc_create(&pd, &d, NULL, mm.engine, NULL) != dnnl_success) return false;
    dnnl_primitive_desc_destroy(pd);
    return true;
}

static void *wait_for(void *mutex) {
    pthread_mutex_lock(mutex);
    pthread_mutex_unlock(mutex);
    return NULL;
}

/* Where OpenMP cannot have its threads it ends the program: see first whether so many can live at once. Its own start
 * with the first product that is prepared, so that a program may still fork before. */
static int try_threads(int n, struct err *err) {
    pthread_mutex_t hold = PTHREAD_MUTEX_INITIALIZER;
    pthread_t *thread = mem_alloc(n, sizeof *thread, "threads", err);
    int others = 0;
    if (!thread) return -1;
    pthread_mutex_lock(&hold);
    while (others < n - 1 && pthread_create(&thread[others], NULL, wait_for, &hold) == 0) others++;
    pthread_mutex_unlock(&hold);
    for (int i = 0; i < others; i++) pthread_join(thread[i], NULL);
    mem_free(thread);
    if (others < n - 1)
        return err_set(err,
                       "threads: %d were asked for, %d can be started: raise the limit of memory or of processes, "
                       "or give --threads",
                       n, others + 1);
    return 0;
}

static int start(int threads, struct err *err) {
    /* glibc gives each thread that allocates an arena of 64 MB of address space: where that is limited, it is taken from
     * what need_room() has found. Threads allocate next to nothing here. */
    mallopt(M_ARENA_MAX, 1);
    if (dnnl_engine_create(&mm.engine, dnnl_cpu, 0) != dnnl_success)
        return err_set(err, "oneDNN: cannot create a CPU engine: is libdnnl2 installed whole?");
    mm.threads = threads;
    mm.native_bf16 = probe_bf16();
    mm.thread = mem_alloc(threads, sizeof *mm.thread, "matrix products", err);
    if (!mm.thread) return -1;
    for (int t = 0; t < threads; t++)
        if (try(dnnl_stream_create(&mm.thread[t].stream, mm.engine, dnnl_stream_default_flags), "stream_create", err) <
            0)
            return -1;
    omp_set_num_threads(threads);
    return try_threads(threads, err);
}

/* Of a start that failed, perhaps halfway. */
static void stop(void) {
    for (int t = 0; mm.thread && t < mm.threads; t++)
        if (mm.thread[t].stream) dnnl_stream_destroy(mm.thread[t].stream);
    mem_free(mm.thread);
    if (mm.engine) dnnl_engine_destroy(mm.engine);
    mm.thread = NULL;
    mm.engine = NULL;
}

int gemm_init(int threads, struct err *err) {
    BUG_ON(threads < 1 || !kernels);
    if (mm.engine) { /* again, perhaps with another number of threads: primitives hold one memory per thread */
        if (threads <= mm.threads) {
            omp_set_num_threads(threads);
            return 0;
        }
        return err_set(err, "threads: products were started with %d threads; %d need a new process", mm.threads,
                       threads);
    }
    if (start(threads, err) == 0) return 0;
    stop(); /* it may be tried again */
    return -1;
}

int gemm_threads(void) {
    return mm.threads;
}

int gemm_team(void) {
    const int wanted = omp_get_max_threads();
    return wanted < mm.threads ? wanted : mm.threads;
}

bool gemm_native_bf16(void) {
    return mm.native_bf16;
}

enum dtype gemm_type(enum dtype t) {
    return t == DTYPE_BF16 && mm.native_bf16 ? DTYPE_BF16 : DTYPE_F32;
}

int gemm_slow(void) {
    return mm.slow;
}

int64_t gemm_stride(int64_t cols, enum dtype t) {
    enum { LINE = 16 }; /* floats in a cache line */
    return t == DTYPE_BF16 ? cols : (divide_up(cols, LINE) | 1) * LINE;
}

/* ---- primitives by shape ---- */

static uint64_t shape_hash(const struct gemm_shape *s) {
    const int64_t f[] = {s->M,
                         s->N,
                         s->K,
                         s->lda,
                         s->ldb,
                         s->ldc,
                         s->trans_a | s->trans_b << 1 | s->add << 2 | s->packed << 3 | (int)s->type << 4 |
                             (int)s->c_type << 6};
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < sizeof f / sizeof *f; i++) h = (h ^ (uint64_t)f[i]) * 1099511628211u, h ^= h >> 29;
    return h;
}

static bool shape_equal(const struct gemm_shape *a, const struct gemm_shape *b) {
    return a->M == b->M && a->N == b->N && a->K == b->K && a->lda == b->lda && a->ldb == b->ldb && a->ldc == b->ldc &&
           a->trans_a == b->trans_a && a->trans_b == b->trans_b && a->add == b->add && a->packed == b->packed &&
           a->type == b->type && a->c_type == b->c_type;
}

static int make_attributes(dnnl_primitive_attr_t *attr, bool add, struct err *err) {
    dnnl_post_ops_t ops;
    if (try(dnnl_primitive_attr_create(attr), "attr_create", err) < 0) return -1;
    check(dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user), "scratchpad_mode");
    if (!add) return 0;
    if (try(dnnl_post_ops_create(&ops), "post_ops_create", err) == 0) {
        int r = try(dnnl_post_ops_append_sum(ops, 1.0f), "append_sum", err);
        if (r == 0) r = try(dnnl_primitive_attr_set_post_ops(*attr, ops), "set_post_ops", err);
        check(dnnl_post_ops_destroy(ops), "post_ops_destroy");
        if (r == 0) return 0;
    }
    dnnl_primitive_attr_destroy(*attr);
    return -1;
}

static int make_memories(struct gemm *g, const dnnl_memory_desc_t *a, const dnnl_memory_desc_t *c, struct err *err) {
    const dnnl_memory_desc_t *b = dnnl_primitive_desc_query_md(g->desc, dnnl_query_weights_md, 0),
                             *scratch = dnnl_primitive_desc_query_md(g->desc, dnnl_query_scratchpad_md, 0);
    g->scratch_bytes = (int64_t)dnnl_memory_desc_get_size(scratch);
    for (int t = 0; t < mm.threads; t++) {
        struct gemm_memory *m = &g->memory[t];
        const dnnl_memory_desc_t *desc[] = {a, b, c, scratch};
        dnnl_memory_t *memory[] = {&m->a, &m->b, &m->c, &m->scratch};
        for (int i = 0; i < 4; i++)
            if (try(dnnl_memory_create(memory[i], desc[i], mm.engine, DNNL_MEMORY_NONE), "memory_create", err) < 0)
                return -1;
    }
    return 0;
}

static int make_primitive(struct gemm *g, struct err *err) {
    const struct gemm_shape *s = &g->shape;
    dnnl_memory_desc_t a = matrix_desc(s->M, s->K, s->lda, s->trans_a, s->type);
    dnnl_memory_desc_t b = s->packed ? packed_desc(s->N, s->K) : matrix_desc(s->K, s->N, s->ldb, s->trans_b, s->type);
    dnnl_memory_desc_t c = matrix_desc(s->M, s->N, s->ldc, false, s->c_type);
    dnnl_matmul_desc_t d;
    check(dnnl_matmul_desc_init(&d, &a, &b, NULL, &c), "matmul_desc_init");
    dnnl_primitive_attr_t attr;
    if (make_attributes(&attr, s->add, err) < 0) return -1;
    int r = try(dnnl_primitive_desc_create(&g->desc, &d, attr, mm.engine, NULL), "matmul primitive_desc_create", err);
    check(dnnl_primitive_attr_destroy(attr), "attr_destroy");
    if (r == 0) r = try(dnnl_primitive_create(&g->primitive, g->desc), "matmul primitive_create", err);
    if (r < 0) return -1;
    const char *implementation;
    check(dnnl_primitive_desc_query(g->desc, dnnl_query_impl_info_str, 0, &implementation), "query impl_info_str");
    mm.slow += strncmp(implementation, "ref", 3) == 0;
    return make_memories(g, &a, &c, err);
}

static void destroy(struct gemm *g) {
    for (int t = 0; g->memory && t < mm.threads; t++) {
        const struct gemm_memory *m = &g->memory[t];
        const dnnl_memory_t memory[] = {m->a, m->b, m->c, m->scratch};
        for (int i = 0; i < 4; i++)
            if (memory[i]) dnnl_memory_destroy(memory[i]);
    }
    if (g->primitive) dnnl_primitive_destroy(g->primitive);
    if (g->desc) dnnl_primitive_desc_destroy(g->desc);
    mem_free(g->memory);
    mem_free(g);
}

static struct gemm *make(const struct gemm_shape *s, struct err *err) {
    struct gemm *g = mem_alloc(1, sizeof *g, "a matrix product", err);
    if (!g) return NULL;
    g->shape = *s;
    g->memory = mem_alloc(mm.threads, sizeof *g->memory, "a matrix product", err);
    if (!g->memory) {
        destroy(g);
        return NULL;
    }
    const int before = one_thread(), r = make_primitive(g, err);
    threads_again(before);
    if (r < 0) {
        destroy(g);
        return NULL;
    }
    return g;
}

static struct gemm **bucket_of(const struct gemm_shape *s) {
    return &mm.buckets[shape_hash(s) % BUCKETS];
}

static struct gemm *find(const struct gemm_shape *s) {
    struct gemm *g = *bucket_of(s);
    while (g && !shape_equal(&g->shape, s)) g = g->next;
    return g;
}

static struct gemm *find_or_make(const struct gemm_shape *s, struct err *err) {
    struct gemm *g = find(s);
    if (g) return g;
    if (need_room(err) < 0 || !(g = make(s, err))) return NULL;
    g->next = *bucket_of(s);
    *bucket_of(s) = g;
    return g;
}

static int reserve_scratch(struct thread_state *t, int64_t bytes, struct err *err) {
    if (t->scratch_bytes >= bytes) return 0;
    void *more = mem_alloc(bytes, 1, "a matrix product's scratch", err);
    if (!more) return -1; /* models that are open keep what they have */
    mem_free(t->scratch);
    t->scratch = more;
    t->scratch_bytes = bytes;
    return 0;
}

const struct gemm *gemm_get(const struct gemm_shape *s) {
    const struct gemm *g = find(s);
    BUG_ON(!g); /* gemm_prepare() was not called */
    return g;
}

void gemm_run(const struct gemm *g, const void *A, const void *B, void *C) {
    const int id = omp_get_thread_num();
    struct thread_state *t = &mm.thread[id];
    struct gemm_memory *m = &g->memory[id];
    BUG_ON(id >= mm.threads);
    check(dnnl_memory_set_data_handle(m->a, (void *)(uintptr_t)A), "set_data_handle");
    check(dnnl_memory_set_data_handle(m->b, (void *)(uintptr_t)B), "set_data_handle");
    check(dnnl_memory_set_data_handle(m->c, C), "set_data_handle");
    if (g->scratch_bytes) check(dnnl_memory_set_data_handle(m->scratch, t->scratch), "set_data_handle");
    const dnnl_exec_arg_t args[] = {
        {DNNL_ARG_SRC, m->a}, {DNNL_ARG_WEIGHTS, m->b}, {DNNL_ARG_DST, m->c}, {DNNL_ARG_SCRATCHPAD, m->scratch}};
    const int before = one_thread();
    check(dnnl_primitive_execute(g->primitive, t->stream, 4, args), "primitive_execute");
    threads_again(before);
}

/* oneDNN writes the code of some kernels when they first run, and each thread's first run has memory to find: let that
 * happen now, once for each kind of product. */
static int warm_up(const struct gemm *g, struct err *err) {
    const struct gemm_shape *s = &g->shape;
    const uint64_t flavour = UINT64_C(1) << (s->trans_a | s->trans_b << 1 | s->add << 2 | s->packed << 3 |
                                             (int)s->type << 4 | (int)s->c_type << 5);
    if (mm.warm & flavour) return 0;
    const int64_t size = (int64_t)dtype_size(s->type), C = s->M * s->ldc * (int64_t)dtype_size(s->c_type),
                  B = s->packed ? gemm_packed_bytes(s->N, s->K) : (s->trans_b ? s->N : s->K) * s->ldb * size;
    char *a = mem_alloc((s->trans_a ? s->K : s->M) * s->lda, (size_t)size, "matrix products", err),
         *b = mem_alloc(B, 1, "matrix products", err), *c = mem_alloc(C, 1, "matrix products", err);
    if (a && b && c && need_room(err) == 0) {
#pragma omp parallel num_threads(mm.threads)
        gemm_run(g, a, b, c); /* one result for all: each writes the same zeros */
        mm.warm |= flavour;
    }
    mem_free(a);
    mem_free(b);
    mem_free(c);
    return mm.warm & flavour ? 0 : -1;
}

int gemm_prepare(const struct gemm_shape *s, struct err *err) {
    const struct gemm *g = find_or_make(s, err);
    for (int t = 0; g && t < mm.threads; t++)
        if (reserve_scratch(&mm.thread[t], g->scratch_bytes, err) < 0) return -1;
    return g ? warm_up(g, err) : -1;
}

/* ---- packed right sides ---- */

int64_t gemm_packed_bytes(int64_t N, int64_t K) {
    return round_up(N, GEMM_PANEL) * round_up(K, 32) * (int64_t)dtype_size(DTYPE_BF16);
}

/* How rows of one kind become packed: a primitive like the products, kept by what it is given. */
struct packing {
    int64_t N, K, ld;
    enum dtype from_type;
    bool transposed;
    struct packing *next;
    dnnl_primitive_t primitive;
    dnnl_primitive_desc_t desc;
    struct packing_memory { /* one per thread */
        dnnl_memory_t from, to, scratch;
    } * memory;
};

static struct packing *find_packing(int64_t N, int64_t K, enum dtype from_type, int64_t ld, bool transposed) {
    struct packing *p = mm.packings;
    while (p && !(p->N == N && p->K == K && p->from_type == from_type && p->ld == ld && p->transposed == transposed))
        p = p->next;
    return p;
}

static void destroy_packing(struct packing *p) {
    for (int t = 0; p->memory && t < mm.threads; t++) {
        const dnnl_memory_t memory[] = {p->memory[t].from, p->memory[t].to, p->memory[t].scratch};
        for (int i = 0; i < 3; i++)
            if (memory[i]) dnnl_memory_destroy(memory[i]);
    }
    if (p->primitive) dnnl_primitive_destroy(p->primitive);
    if (p->desc) dnnl_primitive_desc_destroy(p->desc);
    mem_free(p->memory);
    mem_free(p);
}

static int make_packing(struct packing *p, struct err *err) {
    const dnnl_memory_desc_t from = matrix_desc(p->K, p->N, p->ld, p->transposed, p->from_type),
                             packed = packed_desc(p->N, p->K);
    dnnl_primitive_attr_t attr;
    if (make_attributes(&attr, false, err) < 0) return -1;
    int r = try(dnnl_reorder_primitive_desc_create(&p->desc, &from, mm.engine, &packed, mm.engine, attr),
                "reorder_primitive_desc_create", err);
    check(dnnl_primitive_attr_destroy(attr), "attr_destroy");
    if (r == 0) r = try(dnnl_primitive_create(&p->primitive, p->desc), "reorder primitive_create", err);
    if (r < 0) return -1;
    const dnnl_memory_desc_t *scratch = dnnl_primitive_desc_query_md(p->desc, dnnl_query_scratchpad_md, 0);
    for (int t = 0; t < mm.threads; t++) {
        struct packing_memory *m = &p->memory[t];
        if (try(dnnl_memory_create(&m->from, &from, mm.engine, DNNL_MEMORY_NONE), "memory_create", err) < 0 ||
            try(dnnl_memory_create(&m->to, &packed, mm.engine, DNNL_MEMORY_NONE), "memory_create", err) < 0 ||
            try(dnnl_memory_create(&m->scratch, scratch, mm.engine, DNNL_MEMORY_NONE), "memory_create", err) < 0 ||
            reserve_scratch(&mm.thread[t], (int64_t)dnnl_memory_desc_get_size(scratch), err) < 0)
            return -1;
    }
    return 0;
}

int gemm_prepare_pack(int64_t N, int64_t K, enum dtype from_type, int64_t ld, bool transposed, struct err *err) {
    if (find_packing(N, K, from_type, ld, transposed)) return 0;
    if (need_room(err) < 0) return -1;
    struct packing *p = mem_alloc(1, sizeof *p, "packed weights", err);
    if (!p) return -1;
    *p = (struct packing){
        .N = N, .K = K, .ld = ld, .from_type = from_type, .transposed = transposed, .next = mm.packings};
    p->memory = mem_alloc(mm.threads, sizeof *p->memory, "packed weights", err);
    if (p->memory && make_packing(p, err) == 0) {
        mm.packings = p;
        return 0;
    }
    destroy_packing(p);
    return -1;
}

void gemm_pack(void *to, int64_t N, int64_t K, const void *from, enum dtype from_type, int64_t ld, bool transposed) {
    const struct packing *p = find_packing(N, K, from_type, ld, transposed);
    const int id = omp_get_thread_num();
    BUG_ON(!p || id >= mm.threads); /* gemm_prepare_pack() was not called */
    const struct packing_memory *m = &p->memory[id];
    check(dnnl_memory_set_data_handle(m->from, (void *)(uintptr_t)from), "set_data_handle");
    check(dnnl_memory_set_data_handle(m->to, to), "set_data_handle");
    check(dnnl_memory_set_data_handle(m->scratch, mm.thread[id].scratch), "set_data_handle");
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, m->from}, {DNNL_ARG_TO, m->to}, {DNNL_ARG_SCRATCHPAD, m->scratch}};
    const int before = one_thread();
    check(dnnl_primitive_execute(p->primitive, mm.thread[id].stream, 3, args), "reorder execute");
    threads_again(before);
}
