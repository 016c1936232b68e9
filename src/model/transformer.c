/* transformer: planning memory, forward, backward. The equations are in docs/model.md; loops over elements are in
 * compute/, loops over parameters in parts.c.
 *
 * Memory roles: `saved` lives from a layer's forward to its backward (training), one set per layer, or one set in all
 * when only inputs are kept (recompute) or nothing is (inference); `scratch` is dead when a function returns. Names: x
 * is the residual stream (f32), n1 and n2 its norms, qkv the fused projection, y attention's output, xm the stream
 * after attention, a and b the MLP's gate and up products, h = silu(a)·b, or gelu(a). */
#include "model/transformer.h"

#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/num.h"
#include "compute/attention.h"
#include "compute/loss.h"
#include "compute/ops.h"
#include "model/kvstore.h"
#include "model/parts.h"

struct saved { /* what a layer's backward needs */
    float *x, *xm, *rstd1, *rstd2, *lse;
    void *qkv, *y, *a, *b;
};

struct transformer {
    struct config c;
    struct transformer_settings set;
    int64_t E, F, V, W; /* W: width of qkv */
    int L;
    enum dtype t;
    struct parts parts;
    struct saved *saved; /* [n_layer]; sets may share buffers */
    float *cos, *sin;    /* [block_size, D/2] */
    float *x_out;        /* [rows, E]: stream after the last layer (training), within it (inference) */
    void *norm;          /* [rows, E] t: n1, n2 or the normed final rows */
    void *h;             /* [rows, F] t */
    float *rstd_f;
    int32_t *position; /* [rows]: of learned positions */
    struct {           /* logits shifted by one: a token's are those of the row before it */
        int64_t *rows; /* [rows] that the last layer runs for */
        int32_t *from; /* [rows]: which of these a wanted row is */
        float *x;      /* [rows, E]: x_out of the wanted rows */
    } shift;
    struct { /* backward only */
        float *dx, *dx_wanted, *dn, *partial;
        void *dop, *dh, *dqkv, *dy;
    } back;
    void *attention_scratch, *loss_scratch;
    struct attention attention;
    struct keys *past;      /* [max_rows]: one layer of the stores of a batch's sequences; inference only */
    const int64_t *rows;    /* of the last batch: those that the last layer runs for; NULL: all */
    int64_t nrows, nwanted; /* how many; rows of `norm` after the body */
    struct {                /* is a row its sequence's only one, behind a past? */
        bool *all, *last, *wanted, *asked; /* [rows]: of the batch, the last layer, the head, transformer_head_use() */
    } alone;
    char *slab;
};

/* ---- opening ---- */

static void plan_saved(struct transformer *m, char **at) {
    const int64_t n = m->set.max_rows, size = (int64_t)dtype_size(m->t);
    for (int l = 0; l < m->L; l++) {
        struct saved *s = &m->saved[l];
        if (m->set.training || l == 0) s->x = mem_cut(at, n * m->E * 4);
        if (l > 0 && (!m->set.training || m->set.recompute)) { /* share all the rest with layer 0 */
            float *own = m->set.training ? s->x : m->saved[0].x;
            *s = m->saved[0];
            s->x = own;
            continue;
        }
        s->rstd1 = mem_cut(at, n * 4);
        s->rstd2 = mem_cut(at, n * 4);
        s->lse = mem_cut(at, n * m->c.n_head * 4);
        s->xm = m->set.training ? mem_cut(at, n * m->E * 4) : s->x;
        s->qkv = mem_cut(at, n * m->W * size);
        s->y = mem_cut(at, n * m->E * size);
        s->a = mem_cut(at, n * m->F * size);
        if (m->c.mlp == MLP_SWIGLU) s->b = mem_cut(at, n * m->F * size);
    }
}

static int64_t longest_sequence(const struct transformer *m) {
    return m->c.block_size < m->set.max_rows ? m->c.block_size : m->set.max_rows;
}

static void plan_backward(struct transformer *m, char **at) {
    const int64_t n = m->set.max_rows, size = (int64_t)dtype_size(m->t);
    m->back.dx = mem_cut(at, n * m->E * 4);
    m->back.dx_wanted = mem_cut(at, n * m->E * 4);
    m->back.dn = mem_cut(at, n * m->E * 4);
    m->back.partial = mem_cut(at, ops_rmsnorm_scratch(n, m->E) * 4);
    m->back.dop = mem_cut(at, n * m->E * size);
    m->back.dh = mem_cut(at, n * max64(m->F, m->W) * size);
    m->back.dqkv = m->back.dh; /* dh is dead before dqkv is born */
    m->back.dy = mem_cut(at, n * m->E * size);
}

/* Run once with *at NULL to measure, once for real. */
static void plan_memory(struct transformer *m, char **at) {
    const int64_t n = m->set.max_rows, T = longest_sequence(m), size = (int64_t)dtype_size(m->t);
    parts_layout(&m->parts, at);
    m->cos = mem_cut(at, m->c.block_size * m->attention.D / 2 * 4);
    m->sin = mem_cut(at, m->c.block_size * m->attention.D / 2 * 4);
    plan_saved(m, at);
    m->x_out = mem_cut(at, n * m->E * 4);
    if (!m->set.training) m->saved[m->L - 1].xm = m->x_out; /* wanted rows are gathered into it, by threads */
    m->norm = mem_cut(at, n * m->E * size);
    m->h = mem_cut(at, n * m->F * size);
    m->rstd_f = mem_cut(at, n * 4);
    if (m->c.positions == POSITIONS_LEARNED) m->position = mem_cut(at, n * (int64_t)sizeof *m->position);
    if (m->c.shifted) {
        m->shift.rows = mem_cut(at, n * (int64_t)sizeof *m->shift.rows);
        m->shift.from = mem_cut(at, n * (int64_t)sizeof *m->shift.from);
        m->shift.x = mem_cut(at, n * m->E * 4);
    }
    const int64_t keys = m->set.training ? T : m->c.block_size;
    m->attention_scratch = mem_cut(at, attention_scratch(&m->attention, T, keys, m->set.training));
    if (!m->set.training) {
        m->past = mem_cut(at, n * (int64_t)sizeof *m->past);
        m->alone.all = mem_cut(at, n);
        m->alone.last = mem_cut(at, n);
        m->alone.wanted = mem_cut(at, n);
        m->alone.asked = mem_cut(at, n);
    }
    m->loss_scratch = mem_cut(at, loss_scratch(n, m->V, m->E, m->t, m->set.training));
    if (m->set.training) plan_backward(m, at);
}

/* cos and sin of position/base^(2i/D), computed as the published code does: f32 frequencies and angles. */
static void rotary_tables(struct transformer *m) {
    const int64_t half = m->attention.D / 2;
    const bool still = m->c.positions == POSITIONS_LEARNED; /* turned by nothing */
    for (int64_t p = 0; p < m->c.block_size; p++)
        for (int64_t i = 0; i < half; i++) {
            const float frequency = 1.0f / powf((float)m->c.rope_base, (float)(2 * i) / (float)m->attention.D);
            const float angle = still ? 0 : (float)p * frequency;
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

static void describe(struct transformer *m, const struct weights *w, const struct transformer_settings *s) {
    const struct config *c = &w->config;
    m->c = *c;
    m->set = *s;
    m->t = s->precision;
    m->E = c->n_embd;
    m->F = c->intermediate_size;
    m->V = c->padded_vocab_size;
    m->L = (int)c->n_layer;
    m->attention = (struct attention){
        .H = c->n_head, .G = c->n_query_groups, .D = config_head_dim(c), .causal = c->family == FAMILY_ARM, .t = m->t};
    m->W = (c->n_head + 2 * c->n_query_groups) * m->attention.D;
}

/* Takes no memory but the tables. */
static int prepare(struct transformer *m, const struct weights *w, const struct transformer_settings *s,
                   struct err *err) {
    describe(m, w, s);
    m->saved = mem_alloc(m->c.n_layer, sizeof *m->saved, "model", err);
    return m->saved ? parts_open(&m->parts, w, s->residency, m->t, err) : -1;
}

static void free_tables(struct transformer *m) {
    parts_close(&m->parts);
    mem_free(m->saved);
}

static enum linear_products products_of(const struct transformer *m) {
    return m->set.training ? LINEAR_DW : LINEAR_Y;
}

static int64_t chunk_rows(const struct transformer *m) {
    return min64(m->set.max_rows, LOSS_CHUNK);
}

/* What reserve_products() will take. */
static int64_t products_bytes(const struct transformer *m) {
    const struct params *p = &m->parts.w->params;
    const int64_t n = m->set.max_rows;
    int64_t bytes[2] = {0};
    for (int i = 0; i < p->count; i++) {
        const struct param *q = &p->v[i];
        if (q->kind != PARAM_LINEAR || q->bias || q->layer > 0) continue;
        const bool head = q->role == PARAM_HEAD;
        linear_reserve_bytes(bytes, q->rows, q->cols, m->t, n, head ? LINEAR_Y : products_of(m));
        if (head) linear_reserve_bytes(bytes, q->rows, q->cols, m->t, chunk_rows(m), products_of(m));
    }
    return bytes[0] + bytes[1];
}

int64_t transformer_measure(const struct weights *w, const struct transformer_settings *s, struct err *err) {
    struct transformer m = {0};
    char *at = NULL;
    const int status = prepare(&m, w, s, err);
    if (status == 0) plan_memory(&m, &at);
    const int64_t bytes = (int64_t)(uintptr_t)at + (status == 0 ? products_bytes(&m) : 0);
    free_tables(&m);
    return status < 0 ? -1 : bytes;
}

/* So that no forward or training step allocates, however many rows are wanted or masked in it. All layers have the first
 * one's shapes. */
static int reserve_products(struct transformer *m, struct err *err) {
    const int64_t n = m->set.max_rows;
    const struct part *w = parts_enter(&m->parts, 1, PART_WEIGHTS);
    int status = 0;
    for (int role = PARAM_ATTN; role <= PARAM_W3 && status == 0; role++)
        if (linear_rows(&w->linear[role]) > 0) status = linear_reserve(&w->linear[role], n, products_of(m), err);
    parts_leave(&m->parts, 1, PART_WEIGHTS);
    const struct linear *head = &parts_enter(&m->parts, m->L + 1, PART_WEIGHTS)->linear[PARAM_HEAD];
    if (status == 0) status = linear_reserve(head, n, LINEAR_Y, err);
    if (status == 0) status = linear_reserve(head, chunk_rows(m), products_of(m), err);
    parts_leave(&m->parts, m->L + 1, PART_WEIGHTS);
    if (status < 0) return -1;
    return attention_prepare(&m->attention, longest_sequence(m), m->set.training, err);
}

/* Layer norm and GELU have no backward kernels. */
static int check_trainable(const struct config *c, struct err *err) {
    if (c->norm == NORM_RMS && c->positions == POSITIONS_ROTARY && c->mlp == MLP_SWIGLU) return 0;
    return err_set(err, "a model with layer norm, GELU or learned positions (GPT-2) can be run, but not trained");
}

int transformer_open(struct transformer **out, const struct weights *w, const struct transformer_settings *s,
                     struct err *err) {
    BUG_ON(s->max_rows < 1);
    *out = NULL;
    if (s->training && check_trainable(&w->config, err) < 0) return -1;
    struct transformer *m = mem_alloc(1, sizeof *m, "model", err);
    char *at = NULL;
    if (!m) return -1;
    if (prepare(m, w, s, err) < 0) goto fail;
    plan_memory(m, &at);
    m->slab = mem_alloc((int64_t)(uintptr_t)at, 1, "activations and packed weights", err);
    if (!m->slab) goto fail;
    at = m->slab;
    plan_memory(m, &at);
    rotary_tables(m);
    m->attention.cos = m->cos;
    m->attention.sin = m->sin;
    if (parts_bind(&m->parts, err) < 0 || reserve_products(m, err) < 0) goto fail;
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

void transformer_refresh(struct transformer *m) {
    parts_refresh(&m->parts);
}

/* ---- forward ---- */

static int64_t batch_wanted(const struct batch *b) {
    return b->wanted ? b->nwanted : b->n;
}

static struct kvstore *past_of(const struct batch *b, int64_t s) {
    return b->past ? b->past[s] : NULL;
}

static int64_t past_length(const struct batch *b, int64_t s) {
    return past_of(b, s) ? kvstore_length(past_of(b, s)) : 0;
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
    BUG_ON(b->n < 1 || b->n > m->set.max_rows || batch_wanted(b) > b->n);
    BUG_ON(b->starts[0] != 0 || b->starts[b->nseq] != b->n);
    for (int64_t s = 0; s < b->nseq; s++) {
        const int64_t T = b->starts[s + 1] - b->starts[s];
        BUG_ON(T < !past_of(b, s) || T > m->c.block_size);
    }
    if (b->past) check_past(m, b);
    const int64_t ids = config_embedding_rows(&m->c);
    for (int64_t i = 0; i < b->n; i++) BUG_ON(b->tokens[i] < 0 || b->tokens[i] >= ids);
}

/* Which rows the last layer runs for. Shifted: the row before each wanted one; a sequence's first has none and takes
 * itself, so the first two of a sequence may be the same. */
static void choose_rows(struct transformer *m, const struct batch *b) {
    m->rows = b->wanted;
    m->nrows = m->nwanted = batch_wanted(b);
    if (!m->c.shifted) return;
    m->rows = m->shift.rows;
    m->nrows = 0;
    for (int64_t k = 0, s = 0; k < m->nwanted; k++) {
        const int64_t i = b->wanted ? b->wanted[k] : k;
        while (b->starts[s + 1] <= i) s++;
        const int64_t row = i > b->starts[s] ? i - 1 : i;
        BUG_ON(row == i && past_length(b, s) > 0); /* what comes before is not in the batch */
        if (m->nrows == 0 || m->shift.rows[m->nrows - 1] != row) m->shift.rows[m->nrows++] = row;
        m->shift.from[k] = (int32_t)(m->nrows - 1);
    }
}

/* After choose_rows(). */
static void find_alone(struct transformer *m, const struct batch *b) {
    if (m->set.training) return;
    for (int64_t s = 0; s < b->nseq; s++)
        for (int64_t i = b->starts[s]; i < b->starts[s + 1]; i++)
            m->alone.all[i] = past_of(b, s) && b->starts[s + 1] - b->starts[s] == 1;
    for (int64_t i = 0; i < m->nrows; i++) m->alone.last[i] = m->alone.all[m->rows ? m->rows[i] : i];
    for (int64_t i = 0; i < m->nwanted; i++) m->alone.wanted[i] = m->alone.last[m->c.shifted ? m->shift.from[i] : i];
}

/* How many rows from i on are multiplied alike. Rows that each go on a sequence read a weight once for all of them
 * (linear_thin); that a row is one follows from its own sequence, so its bits do not depend on its company. */
static int64_t run_of(const bool *alone, int64_t i, int64_t n) {
    if (!alone) return n - i;
    int64_t end = i + 1;
    while (end < n && alone[end] == alone[i]) end++;
    return end - i;
}

/* y[n,N] = x[n,K]·Wᵀ + bias, or += when add. */
static void multiply(void *y, enum dtype yt, const void *x, const struct linear *w, const bool *alone, int64_t n,
                     bool add) {
    const int64_t from = linear_cols(w) * (int64_t)dtype_size(linear_type(w)),
                  to = linear_rows(w) * (int64_t)dtype_size(yt);
    for (int64_t i = 0, count; i < n; i += count) {
        count = run_of(alone, i, n);
        (alone && alone[i] ? linear_thin : linear_forward)((char *)y + i * to, yt, (const char *)x + i * from, w, count,
                                                           add);
    }
}

static void norm(struct transformer *m, float *rstd, const float *x, const struct part *w, enum param_role role,
                 int64_t n) {
    const float *scale = w->vector[role][0], eps = (float)m->c.norm_eps;
    if (m->c.norm == NORM_RMS)
        ops_rmsnorm(m->norm, m->t, rstd, x, scale, n, m->E, eps);
    else
        ops_layernorm(m->norm, m->t, x, scale, w->vector[role][1], n, m->E, eps);
}

static void embed(struct transformer *m, const struct batch *b) {
    const struct part *w = parts_enter(&m->parts, 0, PART_WEIGHTS);
    const struct weight *wte = &w->table[PARAM_WTE], *wpe = &w->table[PARAM_WPE];
    ops_embed(m->saved[0].x, wte->data, wte->type, b->tokens, b->n, m->E);
    if (m->c.positions == POSITIONS_LEARNED) {
        for (int64_t s = 0; s < b->nseq; s++)
            for (int64_t i = b->starts[s]; i < b->starts[s + 1]; i++)
                m->position[i] = (int32_t)(i - b->starts[s] + past_length(b, s));
        ops_embed_add(m->saved[0].x, wpe->data, wpe->type, m->position, b->n, m->E);
    }
    parts_leave(&m->parts, 0, PART_WEIGHTS);
}

/* The second half of a layer on n rows: out = xm + W3·h(n2). out may be xm. */
static void mlp_forward(struct transformer *m, int l, const struct part *w, float *out, const bool *alone, int64_t n) {
    struct saved *s = &m->saved[l];
    norm(m, s->rstd2, s->xm, w, PARAM_NORM_2, n);
    multiply(s->a, m->t, m->norm, &w->linear[PARAM_W1], alone, n, false);
    if (m->c.mlp == MLP_SWIGLU) {
        multiply(s->b, m->t, m->norm, &w->linear[PARAM_W2], alone, n, false);
        ops_swiglu(m->h, s->a, s->b, m->t, n, m->F);
    } else {
        ops_gelu(m->h, s->a, m->t, n, m->F);
    }
    if (!out) return; /* recomputing: only a and b were wanted */
    if (out != s->xm) ops_convert(out, DTYPE_F32, s->xm, DTYPE_F32, n * m->E);
    multiply(out, DTYPE_F32, m->h, &w->linear[PARAM_W3], alone, n, true);
}

/* What attention sees of the batch in layer l. */
static struct attention_batch attention_batch(struct transformer *m, int l, const struct batch *b, const int64_t *rows,
                                              int64_t n) {
    for (int64_t s = 0; b->past && s < b->nseq; s++)
        m->past[s] = b->past[s] ? kvstore_layer(b->past[s], l) : (struct keys){0};
    return (struct attention_batch){.n = b->n,
                                    .nseq = b->nseq,
                                    .starts = b->starts,
                                    .rows = rows,
                                    .nrows = n,
                                    .past = b->past ? m->past : NULL,
                                    .append = b->append};
}

/* The first half: xm = x + proj(attention(n1)), for the rows given in the last layer. x and xm may be one buffer. */
static void attention_half(struct transformer *m, int l, const struct part *w, const struct batch *b,
                           const int64_t *rows, const bool *alone, int64_t n) {
    struct saved *s = &m->saved[l];
    norm(m, s->rstd1, s->x, w, PARAM_NORM_1, b->n);
    multiply(s->qkv, m->t, m->norm, &w->linear[PARAM_ATTN], m->alone.all, b->n, false);
    const struct attention_batch ab = attention_batch(m, l, b, rows, n);
    attention_forward(s->y, s->lse, s->qkv, &m->attention, &ab, m->attention_scratch);
    if (rows)
        ops_gather(s->xm, s->x, DTYPE_F32, rows, n, m->E);
    else if (s->xm != s->x)
        ops_convert(s->xm, DTYPE_F32, s->x, DTYPE_F32, n * m->E);
    multiply(s->xm, DTYPE_F32, s->y, &w->linear[PARAM_PROJ], alone, n, true);
}

/* Embedding and all layers; returns the wanted rows of the stream, NULL when there are none. */
static const float *run_layers(struct transformer *m, const struct batch *b) {
    float *out = NULL;
    check_batch(m, b);
    choose_rows(m, b);
    find_alone(m, b);
    embed(m, b);
    for (int l = 0; l < m->L; l++) {
        const bool last = l == m->L - 1;
        const int64_t *rows = last ? m->rows : NULL, n = last ? m->nrows : b->n;
        if (n == 0 && !b->append) return NULL;
        const struct part *w = parts_enter(&m->parts, l + 1, PART_WEIGHTS);
        out = m->set.training ? (last ? m->x_out : m->saved[l + 1].x) : m->saved[l].xm;
        const bool *alone = last ? m->alone.last : m->alone.all;
        attention_half(m, l, w, b, rows, alone, n);
        mlp_forward(m, l, w, out, alone, n);
        parts_leave(&m->parts, l + 1, PART_WEIGHTS);
    }
    for (int64_t s = 0; b->append && s < b->nseq; s++)
        if (past_of(b, s)) kvstore_appended(b->past[s], b->starts[s + 1] - b->starts[s]);
    if (m->nwanted == 0) return NULL;
    if (!m->c.shifted) return out;
    ops_embed(m->shift.x, out, DTYPE_F32, m->shift.from, m->nwanted, m->E);
    return m->shift.x;
}

void transformer_body(struct transformer *m, const struct batch *b) {
    const float *x = run_layers(m, b);
    if (!x) return;
    norm(m, m->rstd_f, x, parts_enter(&m->parts, m->L + 1, PART_WEIGHTS), PARAM_LN_F, m->nwanted);
    parts_leave(&m->parts, m->L + 1, PART_WEIGHTS);
}

struct later_rows { /* a consumer of the rows from `first` on */
    linear_use *use;
    void *context;
    int64_t first;
};

static void use_later_rows(void *context, float *z, int64_t row, int64_t m, int64_t column, int64_t count) {
    const struct later_rows *r = context;
    r->use(r->context, z, r->first + row, m, column, count);
}

void transformer_head_use(struct transformer *m, const int64_t *rows, int64_t count, linear_use *use, void *context) {
    void *x = m->saved[0].x; /* the stream: dead since the last layer */
    BUG_ON(m->set.training || count > m->set.max_rows);
    for (int64_t i = 0; i < count; i++) {
        BUG_ON(rows[i] < 0 || rows[i] >= m->nwanted);
        m->alone.asked[i] = m->alone.wanted[rows[i]];
    }
    ops_gather(x, m->norm, m->t, rows, count, m->E);
    const struct part *w = parts_enter(&m->parts, m->L + 1, PART_WEIGHTS);
    struct later_rows r = {use, context, 0};
    for (int64_t n; r.first < count; r.first += n) {
        const char *from = (const char *)x + r.first * m->E * (int64_t)dtype_size(m->t);
        n = run_of(m->alone.asked, r.first, count);
        (m->alone.asked[r.first] ? linear_thin_use : linear_forward_use)(from, &w->linear[PARAM_HEAD], n,
                                                                         use_later_rows, &r);
    }
    parts_leave(&m->parts, m->L + 1, PART_WEIGHTS);
}

void transformer_logits(struct transformer *m, const struct batch *b, float *logits) {
    transformer_body(m, b);
    const struct part *w = parts_enter(&m->parts, m->L + 1, PART_WEIGHTS);
    multiply(logits, DTYPE_F32, m->norm, &w->linear[PARAM_HEAD], m->alone.wanted, m->nwanted, false);
    parts_leave(&m->parts, m->L + 1, PART_WEIGHTS);
}

void transformer_row_losses(struct transformer *m, const int32_t *targets, float *loss) {
    const struct part *w = parts_enter(&m->parts, m->L + 1, PART_WEIGHTS);
    float *ones = m->rstd_f; /* dead since the norm */
    for (int64_t i = 0; i < m->nwanted; i++) ones[i] = 1.0f;
    loss_cross_entropy(loss, NULL, NULL, m->norm, &w->linear[PARAM_HEAD], targets, ones, m->nwanted, m->loss_scratch);
    parts_leave(&m->parts, m->L + 1, PART_WEIGHTS);
}

/* ---- backward ---- */

/* dw and db += of a linear of which dy is the output's gradient, x the input. */
static void weight_gradient(const struct part *w, enum param_role role, const void *dy, const void *x, int64_t n) {
    float *db = w->vector[role][1] ? w->gradient[role][1] : NULL;
    linear_backward_weight(w->gradient[role][0], db, dy, x, &w->linear[role], n);
}

/* dx: gradient of the layer's output on n rows; becomes the gradient of xm. */
static void mlp_backward(struct transformer *m, int l, const struct part *w, float *dx, int64_t n) {
    struct saved *s = &m->saved[l];
    ops_convert(m->back.dop, m->t, dx, DTYPE_F32, n * m->E);
    linear_backward_data(m->back.dh, m->t, m->back.dop, &w->linear[PARAM_W3], n, false);
    ops_swiglu_backward(s->a, s->b, m->h, m->back.dh, m->t, n, m->F); /* a and b become their gradients */
    weight_gradient(w, PARAM_W3, m->back.dop, m->h, n);
    norm(m, NULL, s->xm, w, PARAM_NORM_2, n);
    weight_gradient(w, PARAM_W1, s->a, m->norm, n);
    weight_gradient(w, PARAM_W2, s->b, m->norm, n);
    linear_backward_data(m->back.dn, DTYPE_F32, s->a, &w->linear[PARAM_W1], n, false);
    linear_backward_data(m->back.dn, DTYPE_F32, s->b, &w->linear[PARAM_W2], n, true);
    ops_rmsnorm_backward(dx, w->gradient[PARAM_NORM_2][0], m->back.dn, s->xm, w->vector[PARAM_NORM_2][0], s->rstd2, n,
                         m->E, m->back.partial);
}

/* dx: gradient of xm on n rows (those of the last layer). Returns the gradient of x on all rows. */
static float *attention_half_backward(struct transformer *m, int l, const struct part *w, const struct batch *b,
                                      const int64_t *rows, float *dx, int64_t n) {
    struct saved *s = &m->saved[l];
    ops_convert(m->back.dop, m->t, dx, DTYPE_F32, n * m->E);
    linear_backward_data(m->back.dy, m->t, m->back.dop, &w->linear[PARAM_PROJ], n, false);
    weight_gradient(w, PARAM_PROJ, m->back.dop, s->y, n);
    const struct attention_batch ab = attention_batch(m, l, b, rows, n);
    attention_backward(m->back.dqkv, m->back.dy, s->y, s->lse, s->qkv, &m->attention, &ab, m->attention_scratch);
    norm(m, NULL, s->x, w, PARAM_NORM_1, b->n);
    weight_gradient(w, PARAM_ATTN, m->back.dqkv, m->norm, b->n);
    linear_backward_data(m->back.dn, DTYPE_F32, m->back.dqkv, &w->linear[PARAM_ATTN], b->n, false);
    if (rows) {
        ops_zero(m->back.dx, b->n * m->E * 4);
        ops_scatter_add(m->back.dx, dx, rows, n, m->E);
        dx = m->back.dx;
    }
    ops_rmsnorm_backward(dx, w->gradient[PARAM_NORM_1][0], m->back.dn, s->x, w->vector[PARAM_NORM_1][0], s->rstd1, b->n,
                         m->E, m->back.partial);
    return dx;
}

/* Last norm, head and loss, forward and backward: leaves the gradient of x on the rows of the last layer in dx. */
static double head_and_loss(struct transformer *m, const float *x, const int32_t *targets, const float *weight,
                            float *dx) {
    const int uses = PART_WEIGHTS | PART_GRADIENT;
    const struct part *w = parts_enter(&m->parts, m->L + 1, uses);
    norm(m, m->rstd_f, x, w, PARAM_LN_F, m->nwanted);
    const double loss = loss_cross_entropy(NULL, m->back.dn, w->gradient[PARAM_HEAD][0], m->norm,
                                           &w->linear[PARAM_HEAD], targets, weight, m->nwanted, m->loss_scratch);
    float *to = m->c.shifted ? m->back.dx : dx; /* of the wanted rows */
    ops_zero(to, m->nwanted * m->E * 4);
    ops_rmsnorm_backward(to, w->gradient[PARAM_LN_F][0], m->back.dn, x, w->vector[PARAM_LN_F][0], m->rstd_f, m->nwanted,
                         m->E, m->back.partial);
    parts_leave(&m->parts, m->L + 1, uses);
    if (m->c.shifted) {
        ops_zero(dx, m->nrows * m->E * 4);
        ops_embed_backward(dx, to, m->shift.from, m->nwanted, m->E);
    }
    return loss;
}

double transformer_train(struct transformer *m, const struct batch *b, const int32_t *targets, const float *weight,
                         float *grad) {
    const int uses = PART_WEIGHTS | PART_GRADIENT;
    BUG_ON(!m->set.training);
    m->parts.grad = grad;
    const float *x = run_layers(m, b);
    if (!x) return 0;
    float *dx = m->rows ? m->back.dx_wanted : m->back.dx;
    const double loss = head_and_loss(m, x, targets, weight, dx);
    for (int l = m->L - 1; l >= 0; l--) {
        const bool last = l == m->L - 1;
        const int64_t *rows = last ? m->rows : NULL, n = last ? m->nrows : b->n;
        const struct part *w = parts_enter(&m->parts, l + 1, uses);
        if (m->set.recompute && !last) {
            attention_half(m, l, w, b, rows, NULL, n);
            mlp_forward(m, l, w, NULL, NULL, n);
        }
        mlp_backward(m, l, w, dx, n);
        dx = attention_half_backward(m, l, w, b, rows, dx, n);
        parts_leave(&m->parts, l + 1, uses);
    }
    const struct part *w = parts_enter(&m->parts, 0, PART_GRADIENT);
    ops_embed_backward(w->gradient[PARAM_WTE][0], dx, b->tokens, b->n, m->E);
    parts_leave(&m->parts, 0, PART_GRADIENT);
    return loss;
}

/* Keys that the queries of all rows see, and those of the wanted rows. */
static void count_keys(const struct config *c, const struct batch *b, double *all, double *wanted) {
    int64_t k = 0;
    *all = *wanted = 0;
    for (int64_t s = 0; s < b->nseq; s++)
        for (int64_t i = b->starts[s]; i < b->starts[s + 1]; i++) {
            const double seen =
                (double)(c->family == FAMILY_ARM ? i + 1 - b->starts[s] : b->starts[s + 1] - b->starts[s]);
            const bool is_wanted = !b->wanted || (k < b->nwanted && b->wanted[k] == i);
            *all += seen;
            *wanted += is_wanted ? seen : 0;
            k += is_wanted;
        }
}

double transformer_train_flops(const struct weights *w, const struct batch *b) {
    const struct config *c = &w->config;
    const double n = (double)b->n, nwanted = (double)batch_wanted(b), L = (double)c->n_layer;
    double keys, keys_wanted, forward = 0;
    for (int i = 0; i < w->params.count; i++) {
        const struct param *p = &w->params.v[i];
        const bool some = p->layer == c->n_layer - 1 ? p->role != PARAM_ATTN : p->role == PARAM_HEAD;
        if (p->kind == PARAM_LINEAR && !p->bias)
            forward += 2 * (double)p->rows * (double)p->cols * (some ? nwanted : n);
    }
    count_keys(c, b, &keys, &keys_wanted);
    forward += 4 * (double)c->n_embd * (keys * (L - 1) + keys_wanted);
    return 3 * forward;
}
