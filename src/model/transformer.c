/* transformer: planning memory, forward, backward. The equations are in docs/model.md; loops over elements are in
 * compute/.
 *
 * Memory roles: `saved` lives from a layer's forward to its backward (training), one set per layer, or one set in all
 * when only inputs are kept (recompute) or nothing is (inference); `scratch` is dead when a function returns. Names: x
 * is the residual stream (f32), n1 and n2 its norms, qkv the fused projection, y attention's output, xm the stream
 * after attention, a and b the MLP's gate and up products, h = silu(a)·b. */
#include "model/transformer.h"

#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "compute/attention.h"
#include "compute/loss.h"
#include "compute/linear.h"
#include "compute/ops.h"
#include "model/kvstore.h"

struct layer { /* one layer's weights, ready for products */
    const float *norm_1, *norm_2;
    struct linear attn, proj, w1, w2, w3;
    int64_t g_norm_1, g_attn, g_proj, g_norm_2, g_w1, g_w2, g_w3; /* places in the flat gradient */
};

struct saved { /* what a layer's backward needs */
    float *x, *xm, *rstd1, *rstd2, *lse;
    void *qkv, *y, *a, *b;
};

struct transformer {
    struct config c;
    struct transformer_settings set;
    int64_t E, F, V, W; /* W: width of qkv */
    enum dtype t;
    struct layer *layers;
    struct saved *saved; /* [n_layer]; sets may share buffers */
    const void *wte;
    enum dtype wte_type;
    const float *ln_f;
    struct linear head;
    int64_t g_wte, g_ln_f, g_head;
    float *cos, *sin; /* [block_size, D/2] */
    float *x_out;     /* [rows, E]: stream after the last layer (training), within it (inference) */
    void *norm;       /* [rows, E] t: n1, n2 or the normed final rows */
    void *h;          /* [rows, F] t */
    float *rstd_f;
    struct { /* backward only */
        float *dx, *dx_wanted, *dn, *partial;
        void *dop, *dh, *dqkv, *dy;
    } back;
    void *attention_scratch, *loss_scratch;
    struct attention attention;
    struct keys *past; /* [max_rows]: one layer of the stores of a batch's sequences; inference only */
    int64_t nwanted;   /* of the last body call: rows of `norm` */
    char *slab;
    int64_t bytes;
};

/* ---- opening ---- */

/* Cuts one slab: run once with base NULL to measure, once for real. */
struct plan {
    char *base;
    int64_t at;
};

static void *take(struct plan *p, int64_t elements, size_t size) {
    void *v = p->base ? p->base + p->at : NULL;
    p->at += (elements * (int64_t)size + 63) / 64 * 64;
    return v;
}

static int64_t wanted_rows(const struct transformer *m) {
    return m->set.max_wanted > 0 ? m->set.max_wanted : m->set.max_rows;
}

static void plan_saved(struct transformer *m, struct plan *p) {
    const int64_t n = m->set.max_rows, L = m->c.n_layer;
    const size_t size = dtype_size(m->t);
    for (int64_t l = 0; l < L; l++) {
        struct saved *s = &m->saved[l];
        if (m->set.training || l == 0) s->x = take(p, n * m->E, 4);
        if (l > 0 && (!m->set.training || m->set.recompute)) { /* share all the rest with layer 0 */
            float *own = m->set.training ? s->x : m->saved[0].x;
            *s = m->saved[0];
            s->x = own;
            continue;
        }
        s->rstd1 = take(p, n, 4);
        s->rstd2 = take(p, n, 4);
        s->lse = take(p, n * m->c.n_head, 4);
        s->xm = m->set.training ? take(p, n * m->E, 4) : s->x;
        s->qkv = take(p, n * m->W, size);
        s->y = take(p, n * m->E, size);
        s->a = take(p, n * m->F, size);
        s->b = take(p, n * m->F, size);
    }
}

static int64_t max64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static int64_t longest_sequence(const struct transformer *m) {
    return m->c.block_size < m->set.max_rows ? m->c.block_size : m->set.max_rows;
}

static void plan_memory(struct transformer *m, struct plan *p) {
    const int64_t n = m->set.max_rows, T = longest_sequence(m);
    const size_t size = dtype_size(m->t);
    m->cos = take(p, m->c.block_size * m->attention.D / 2, 4);
    m->sin = take(p, m->c.block_size * m->attention.D / 2, 4);
    plan_saved(m, p);
    m->x_out = take(p, (m->set.training ? n : wanted_rows(m)) * m->E, 4);
    if (!m->set.training) m->saved[m->c.n_layer - 1].xm = m->x_out; /* wanted rows are gathered into it, by threads */
    m->norm = take(p, n * m->E, size);
    m->h = take(p, n * m->F, size);
    m->rstd_f = take(p, n, 4);
    const int64_t keys = m->set.training ? T : m->c.block_size;
    m->attention_scratch = take(p, attention_scratch(&m->attention, T, keys, m->set.training), 1);
    if (!m->set.training) m->past = take(p, n, sizeof *m->past);
    m->loss_scratch = take(p, loss_scratch(wanted_rows(m), m->V, m->E, m->t, m->set.training), 1);
    if (!m->set.training) return;
    m->back.dx = take(p, n * m->E, 4);
    m->back.dx_wanted = take(p, n * m->E, 4);
    m->back.dn = take(p, n * m->E, 4);
    m->back.partial = take(p, ops_rmsnorm_scratch(n, m->E), 4);
    m->back.dop = take(p, n * m->E, size);
    m->back.dh = take(p, n * max64(m->F, m->W), size);
    m->back.dqkv = m->back.dh; /* dh is dead before dqkv is born */
    m->back.dy = take(p, n * m->E, size);
}

static const struct param *find_param(const struct weights *w, enum param_role role, int layer, int *index) {
    *index = params_index(&w->params, role, layer);
    return &w->params.v[*index];
}

/* One matrix; its packed form comes from the slab. */
static int plan_matrix(struct transformer *m, struct plan *p, const struct weights *w, enum param_role role, int layer,
                       struct linear *out, int64_t *offset, struct err *err) {
    int i;
    const struct param *q = find_param(w, role, layer, &i);
    const int64_t bytes = linear_bytes(q->rows, q->cols, w->v[i].type, m->t);
    void *packed = take(p, bytes, 1);
    *offset = q->offset;
    if (!p->base) return 0;
    return linear_init(out, q->rows, q->cols, w->v[i].data, w->v[i].type, NULL, m->t, bytes ? packed : NULL, err);
}

/* Norm weights are used as f32: in place, or widened once. */
static void plan_vector(struct plan *p, const struct weights *w, enum param_role role, int layer, const float **out,
                        int64_t *offset) {
    int i;
    const struct param *q = find_param(w, role, layer, &i);
    *offset = q->offset;
    if (w->v[i].type == DTYPE_F32) {
        *out = w->v[i].data;
        return;
    }
    float *wide = take(p, q->rows, 4);
    if (wide) kernels->convert(wide, DTYPE_F32, w->v[i].data, w->v[i].type, q->rows);
    *out = wide;
}

static int plan_weights(struct transformer *m, struct plan *p, const struct weights *w, struct err *err) {
    int i;
    find_param(w, PARAM_WTE, -1, &i);
    m->wte = w->v[i].data;
    m->wte_type = w->v[i].type;
    m->g_wte = w->params.v[i].offset;
    plan_vector(p, w, PARAM_LN_F, -1, &m->ln_f, &m->g_ln_f);
    if (plan_matrix(m, p, w, PARAM_HEAD, -1, &m->head, &m->g_head, err) < 0) return -1;
    for (int l = 0; l < m->c.n_layer; l++) {
        struct layer *y = &m->layers[l];
        plan_vector(p, w, PARAM_NORM_1, l, &y->norm_1, &y->g_norm_1);
        plan_vector(p, w, PARAM_NORM_2, l, &y->norm_2, &y->g_norm_2);
        if (plan_matrix(m, p, w, PARAM_ATTN, l, &y->attn, &y->g_attn, err) < 0 ||
            plan_matrix(m, p, w, PARAM_PROJ, l, &y->proj, &y->g_proj, err) < 0 ||
            plan_matrix(m, p, w, PARAM_W1, l, &y->w1, &y->g_w1, err) < 0 ||
            plan_matrix(m, p, w, PARAM_W2, l, &y->w2, &y->g_w2, err) < 0 ||
            plan_matrix(m, p, w, PARAM_W3, l, &y->w3, &y->g_w3, err) < 0)
            return -1;
    }
    return 0;
}

/* cos and sin of position/base^(2i/D), computed as the published code does: f32 frequencies and angles. */
static void rotary_tables(struct transformer *m) {
    const int64_t half = m->attention.D / 2;
    for (int64_t p = 0; p < m->c.block_size; p++)
        for (int64_t i = 0; i < half; i++) {
            const float frequency = 1.0f / powf((float)m->c.rope_base, (float)(2 * i) / (float)m->attention.D);
            const float angle = (float)p * frequency;
            float *cs[2] = {&m->cos[p * half + i], &m->sin[p * half + i]};
            *cs[0] = cosf(angle);
            *cs[1] = sinf(angle);
            for (int k = 0; k < 2 && m->c.rope_bf16; k++) {
                uint16_t narrow;
                kernels->convert(&narrow, DTYPE_BF16, cs[k], DTYPE_F32, 1);
                kernels->convert(cs[k], DTYPE_F32, &narrow, DTYPE_BF16, 1);
            }
        }
}

/* Shapes only: no layer tables, no memory yet. */
static void describe(struct transformer *m, const struct weights *w, const struct transformer_settings *s) {
    const struct config *c = &w->config;
    m->c = *c;
    m->set = *s;
    m->t = s->precision;
    m->E = c->n_embd;
    m->F = c->intermediate_size;
    m->V = c->padded_vocab_size;
    m->attention = (struct attention){
        .H = c->n_head, .G = c->n_query_groups, .D = config_head_dim(c), .causal = c->family == FAMILY_ARM, .t = m->t};
    m->W = (c->n_head + 2 * c->n_query_groups) * m->attention.D;
}

static int allocate_tables(struct transformer *m, struct err *err) {
    m->layers = mem_alloc(m->c.n_layer, sizeof *m->layers, "model", err);
    m->saved = mem_alloc(m->c.n_layer, sizeof *m->saved, "model", err);
    return m->layers && m->saved ? 0 : -1;
}

static void free_tables(struct transformer *m) {
    mem_free(m->layers);
    mem_free(m->saved);
}

int64_t transformer_measure(const struct weights *w, const struct transformer_settings *s) {
    struct transformer m = {0};
    struct plan p = {0};
    struct err err = {{0}};
    describe(&m, w, s);
    if (allocate_tables(&m, &err) == 0 && plan_weights(&m, &p, w, &err) == 0) plan_memory(&m, &p);
    free_tables(&m);
    return p.at;
}

/* So that no forward or training step allocates, however many rows are wanted or masked in it. All layers have the first
 * one's shapes. */
static int reserve_products(struct transformer *m, struct err *err) {
    const struct layer *w = m->layers;
    const struct linear *all[] = {&w->attn, &w->proj, &w->w1, &w->w2, &w->w3};
    const int64_t n = m->set.max_rows, wanted = wanted_rows(m), chunk = wanted < LOSS_CHUNK ? wanted : LOSS_CHUNK;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (linear_reserve(all[i], n, m->set.training, err) < 0) return -1;
    if (linear_reserve(&m->head, wanted, false, err) < 0) return -1;
    if (!m->set.training) return 0;
    if (linear_reserve(&m->head, chunk, true, err) < 0) return -1;
    return attention_prepare(&m->attention, longest_sequence(m), true, err);
}

int transformer_open(struct transformer **out, const struct weights *w, const struct transformer_settings *s,
                     struct err *err) {
    BUG_ON(s->max_rows < 1);
    const struct config *c = &w->config;
    *out = NULL;
    if (c->norm != NORM_RMS || c->positions != POSITIONS_ROTARY || c->mlp != MLP_SWIGLU || c->attn_bias ||
        c->proj_bias || c->mlp_bias || c->shifted)
        return err_set(err, "a network of this shape can be read, but not computed");
    struct transformer *m = mem_alloc(1, sizeof *m, "model", err);
    if (!m) return -1;
    describe(m, w, s);
    struct plan p = {0};
    if (allocate_tables(m, err) < 0 || plan_weights(m, &p, w, err) < 0) goto fail;
    plan_memory(m, &p);
    m->bytes = p.at;
    m->slab = mem_alloc(p.at, 1, "activations and packed weights", err);
    if (!m->slab) goto fail;
    p = (struct plan){.base = m->slab};
    if (plan_weights(m, &p, w, err) < 0) goto fail;
    plan_memory(m, &p);
    rotary_tables(m);
    m->attention.cos = m->cos;
    m->attention.sin = m->sin;
    if (reserve_products(m, err) < 0) goto fail;
    *out = m;
    return 0;
fail:
    transformer_close(m);
    return -1;
}

void transformer_close(struct transformer *m) {
    if (!m) return;
    free_tables(m);
    mem_free(m->slab);
    mem_free(m);
}

int64_t transformer_bytes(const struct transformer *m) {
    return m->bytes;
}

void transformer_refresh(struct transformer *m) {
    linear_refresh(&m->head);
    for (int64_t l = 0; l < m->c.n_layer; l++) {
        struct layer *y = &m->layers[l];
        linear_refresh(&y->attn);
        linear_refresh(&y->proj);
        linear_refresh(&y->w1);
        linear_refresh(&y->w2);
        linear_refresh(&y->w3);
    }
}

/* ---- forward ---- */

static int64_t batch_wanted(const struct batch *b) {
    return b->wanted ? b->nwanted : b->n;
}

static struct kvstore *past_of(const struct batch *b, int64_t s) {
    return b->past ? b->past[s] : NULL;
}

static void check_past(const struct transformer *m, const struct batch *b) {
    BUG_ON(m->set.training || b->nseq > m->set.max_rows);
    for (int64_t s = 0; s < b->nseq; s++) {
        const struct kvstore *past = b->past[s];
        if (!past) continue;
        const int64_t end = kvstore_length(past) + b->starts[s + 1] - b->starts[s];
        BUG_ON(!kvstore_fits(past, &m->c) || end > m->c.block_size || (b->append && end > kvstore_capacity(past)));
    }
}

static void check_batch(const struct transformer *m, const struct batch *b) {
    BUG_ON(b->n < 1 || b->n > m->set.max_rows || batch_wanted(b) > wanted_rows(m));
    BUG_ON(b->starts[0] != 0 || b->starts[b->nseq] != b->n);
    for (int64_t s = 0; s < b->nseq; s++) {
        const int64_t T = b->starts[s + 1] - b->starts[s];
        BUG_ON(T < !past_of(b, s) || T > m->c.block_size);
    }
    if (b->past) check_past(m, b);
    for (int64_t i = 0; i < b->n; i++) BUG_ON(b->tokens[i] < 0 || b->tokens[i] >= config_embedding_rows(&m->c));
}

/* The second half of a layer on n rows: out = xm + W3·(silu(W1·n2) ⊙ W2·n2). out may be xm. */
static void mlp_forward(struct transformer *m, int64_t l, float *out, int64_t n) {
    const struct layer *w = &m->layers[l];
    struct saved *s = &m->saved[l];
    ops_rmsnorm(m->norm, m->t, s->rstd2, s->xm, w->norm_2, n, m->E, (float)m->c.norm_eps);
    linear_forward(s->a, m->t, m->norm, &w->w1, n, false);
    linear_forward(s->b, m->t, m->norm, &w->w2, n, false);
    ops_swiglu(m->h, s->a, s->b, m->t, n, m->F);
    if (!out) return; /* recomputing: only a and b were wanted */
    if (out != s->xm) ops_convert(out, DTYPE_F32, s->xm, DTYPE_F32, n * m->E);
    linear_forward(out, DTYPE_F32, m->h, &w->w3, n, true);
}

/* What attention sees of the batch in layer l. */
static struct attention_batch attention_batch(struct transformer *m, int64_t l, const struct batch *b,
                                              const int64_t *wanted, int64_t n) {
    for (int64_t s = 0; b->past && s < b->nseq; s++)
        m->past[s] = b->past[s] ? kvstore_layer(b->past[s], l) : (struct keys){0};
    return (struct attention_batch){.n = b->n,
                                    .nseq = b->nseq,
                                    .starts = b->starts,
                                    .rows = wanted,
                                    .nrows = n,
                                    .past = b->past ? m->past : NULL,
                                    .append = b->append};
}

/* The first half: xm = x + proj(attention(n1)), for the wanted rows in the last layer. x and xm may be one buffer. */
static void attention_half(struct transformer *m, int64_t l, const struct batch *b, const int64_t *wanted, int64_t n) {
    const struct layer *w = &m->layers[l];
    struct saved *s = &m->saved[l];
    ops_rmsnorm(m->norm, m->t, s->rstd1, s->x, w->norm_1, b->n, m->E, (float)m->c.norm_eps);
    linear_forward(s->qkv, m->t, m->norm, &w->attn, b->n, false);
    const struct attention_batch ab = attention_batch(m, l, b, wanted, n);
    attention_forward(s->y, s->lse, s->qkv, &m->attention, &ab, m->attention_scratch);
    if (wanted)
        ops_gather(s->xm, s->x, DTYPE_F32, wanted, n, m->E);
    else if (s->xm != s->x)
        ops_convert(s->xm, DTYPE_F32, s->x, DTYPE_F32, n * m->E);
    linear_forward(s->xm, DTYPE_F32, s->y, &w->proj, n, true);
}

/* All layers; leaves the normed wanted rows in m->norm and their number in m->nwanted. */
void transformer_body(struct transformer *m, const struct batch *b) {
    const int64_t L = m->c.n_layer;
    int64_t n = b->n;
    check_batch(m, b);
    ops_embed(m->saved[0].x, m->wte, m->wte_type, b->tokens, b->n, m->E);
    float *out = NULL;
    for (int64_t l = 0; l < L; l++) {
        const int64_t *wanted = l == L - 1 ? b->wanted : NULL;
        if (wanted) n = b->nwanted;
        if (n == 0 && !b->append) break;
        out = m->set.training ? (l == L - 1 ? m->x_out : m->saved[l + 1].x) : m->saved[l].xm;
        attention_half(m, l, b, wanted, n);
        mlp_forward(m, l, out, n);
    }
    m->nwanted = n;
    if (n > 0) ops_rmsnorm(m->norm, m->t, m->rstd_f, out, m->ln_f, n, m->E, (float)m->c.norm_eps);
    for (int64_t s = 0; b->append && s < b->nseq; s++)
        if (past_of(b, s)) kvstore_appended(b->past[s], b->starts[s + 1] - b->starts[s]);
}

void transformer_head(struct transformer *m, int64_t first, int64_t count, float *logits) {
    BUG_ON(first < 0 || count < 0 || first + count > m->nwanted);
    linear_forward(logits, DTYPE_F32, (char *)m->norm + first * m->E * (int64_t)dtype_size(m->t), &m->head, count,
                   false);
}

void transformer_head_use(struct transformer *m, const int64_t *rows, int64_t count, linear_use *use, void *context) {
    void *x = m->saved[0].x; /* the stream: dead since the last layer */
    BUG_ON(m->set.training || count > m->set.max_rows);
    for (int64_t i = 0; i < count; i++) BUG_ON(rows[i] < 0 || rows[i] >= m->nwanted);
    ops_gather(x, m->norm, m->t, rows, count, m->E);
    linear_forward_use(x, &m->head, count, use, context);
}

void transformer_logits(struct transformer *m, const struct batch *b, float *logits) {
    transformer_body(m, b);
    transformer_head(m, 0, m->nwanted, logits);
}

void transformer_row_losses(struct transformer *m, const int32_t *targets, float *loss) {
    float *ones = m->rstd_f; /* dead since the norm */
    for (int64_t i = 0; i < m->nwanted; i++) ones[i] = 1.0f;
    loss_cross_entropy(loss, NULL, NULL, m->norm, &m->head, targets, ones, m->nwanted, m->loss_scratch);
}

/* ---- backward ---- */

/* dx: gradient of the layer's output on n rows; becomes the gradient of xm. */
static void mlp_backward(struct transformer *m, int64_t l, float *dx, int64_t n, float *grad) {
    const struct layer *w = &m->layers[l];
    struct saved *s = &m->saved[l];
    ops_convert(m->back.dop, m->t, dx, DTYPE_F32, n * m->E);
    linear_backward_data(m->back.dh, m->t, m->back.dop, &w->w3, n, false);
    ops_swiglu_backward(s->a, s->b, m->h, m->back.dh, m->t, n, m->F); /* a and b become their gradients */
    linear_backward_weight(grad + w->g_w3, NULL, m->back.dop, m->h, &w->w3, n);
    ops_rmsnorm(m->norm, m->t, NULL, s->xm, w->norm_2, n, m->E, (float)m->c.norm_eps);
    linear_backward_weight(grad + w->g_w1, NULL, s->a, m->norm, &w->w1, n);
    linear_backward_weight(grad + w->g_w2, NULL, s->b, m->norm, &w->w2, n);
    linear_backward_data(m->back.dn, DTYPE_F32, s->a, &w->w1, n, false);
    linear_backward_data(m->back.dn, DTYPE_F32, s->b, &w->w2, n, true);
    ops_rmsnorm_backward(dx, grad + w->g_norm_2, m->back.dn, s->xm, w->norm_2, s->rstd2, n, m->E, m->back.partial);
}

/* dx: gradient of xm on n rows (the wanted ones in the last layer). Returns the gradient of x on all rows. */
static float *attention_half_backward(struct transformer *m, int64_t l, const struct batch *b, const int64_t *wanted,
                                      float *dx, int64_t n, float *grad) {
    const struct layer *w = &m->layers[l];
    struct saved *s = &m->saved[l];
    ops_convert(m->back.dop, m->t, dx, DTYPE_F32, n * m->E);
    linear_backward_data(m->back.dy, m->t, m->back.dop, &w->proj, n, false);
    linear_backward_weight(grad + w->g_proj, NULL, m->back.dop, s->y, &w->proj, n);
    const struct attention_batch ab = attention_batch(m, l, b, wanted, n);
    attention_backward(m->back.dqkv, m->back.dy, s->y, s->lse, s->qkv, &m->attention, &ab, m->attention_scratch);
    ops_rmsnorm(m->norm, m->t, NULL, s->x, w->norm_1, b->n, m->E, (float)m->c.norm_eps);
    linear_backward_weight(grad + w->g_attn, NULL, m->back.dqkv, m->norm, &w->attn, b->n);
    linear_backward_data(m->back.dn, DTYPE_F32, m->back.dqkv, &w->attn, b->n, false);
    if (wanted) {
        ops_zero(m->back.dx, b->n * m->E * 4);
        ops_scatter_add(m->back.dx, dx, wanted, n, m->E);
        dx = m->back.dx;
    }
    ops_rmsnorm_backward(dx, grad + w->g_norm_1, m->back.dn, s->x, w->norm_1, s->rstd1, b->n, m->E, m->back.partial);
    return dx;
}

double transformer_train(struct transformer *m, const struct batch *b, const int32_t *targets, const float *weight,
                         float *grad) {
    BUG_ON(!m->set.training);
    const int64_t L = m->c.n_layer;
    transformer_body(m, b);
    if (m->nwanted == 0) return 0;
    float *dx = b->wanted ? m->back.dx_wanted : m->back.dx;
    const double loss = loss_cross_entropy(NULL, m->back.dn, grad + m->g_head, m->norm, &m->head, targets, weight,
                                           m->nwanted, m->loss_scratch);
    ops_zero(dx, m->nwanted * m->E * 4);
    ops_rmsnorm_backward(dx, grad + m->g_ln_f, m->back.dn, m->x_out, m->ln_f, m->rstd_f, m->nwanted, m->E,
                         m->back.partial);
    for (int64_t l = L - 1; l >= 0; l--) {
        const int64_t *wanted = l == L - 1 ? b->wanted : NULL;
        const int64_t n = wanted ? b->nwanted : b->n;
        if (m->set.recompute && l < L - 1) {
            attention_half(m, l, b, wanted, n);
            mlp_forward(m, l, NULL, n);
        }
        mlp_backward(m, l, dx, n, grad);
        dx = attention_half_backward(m, l, b, wanted, dx, n, grad);
    }
    ops_embed_backward(grad + m->g_wte, dx, b->tokens, b->n, m->E);
    return loss;
}

double transformer_train_flops(const struct config *c, const struct batch *b) {
    const double E = (double)c->n_embd, F = (double)c->intermediate_size, D = (double)config_head_dim(c);
    const double row = 2 * (E * (double)(c->n_head + 2 * c->n_query_groups) * D + E * E + 3 * E * F);
    double forward_flops =
        (double)b->n * row * (double)c->n_layer + 2 * E * (double)c->padded_vocab_size * (double)batch_wanted(b);
    for (int64_t s = 0; s < b->nseq; s++) {
        const double T = (double)(b->starts[s + 1] - b->starts[s]);
        forward_flops += 4 * T * (c->family == FAMILY_ARM ? (T + 1) / 2 : T) * E * (double)c->n_layer;
    }
    return 3 * forward_flops;
}
