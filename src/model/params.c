/* params: builds the table of parameters from a config. Nothing here reads or writes files. */
#include "model/params.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"

enum { OFFSET_MULTIPLE = 16, RANDOM_PIECE = 1 << 16 };

enum dim { ONE, E, F, V, QKV, IDS, POSITIONS }; /* QKV: (H + 2G)·D; IDS: rows of the embedding */
enum init { ONES, WIDE, NARROW };
enum { /* what a shape has */
       LEARNED = 1,
       SWIGLU = 2,
       GELU = 4,
       LAYER_NORM = 8,
       ATTN_BIAS = 16,
       PROJ_BIAS = 32,
       MLP_BIAS = 64,
};

/* In the order of the flat buffer, a row's bias behind it. */
static const struct row {
    enum param_role role;
    const char *name; /* without .weight; of a layer: what follows transformer.h.N. */
    enum param_kind kind;
    enum dim rows, cols;
    enum init init;
    int when, bias; /* what gives a model this row (0: all have it), and a bias to it (0: nothing) */
} table[] = {
    {PARAM_WTE, "transformer.wte", PARAM_EMBEDDING, IDS, E, WIDE, 0, 0},
    {PARAM_WPE, "transformer.wpe", PARAM_EMBEDDING, POSITIONS, E, WIDE, LEARNED, 0},
    {PARAM_NORM_1, "norm_1", PARAM_NORM, E, ONE, ONES, 0, LAYER_NORM},
    {PARAM_ATTN, "attn.attn", PARAM_LINEAR, QKV, E, WIDE, 0, ATTN_BIAS},
    {PARAM_PROJ, "attn.proj", PARAM_LINEAR, E, E, NARROW, 0, PROJ_BIAS},
    {PARAM_NORM_2, "norm_2", PARAM_NORM, E, ONE, ONES, 0, LAYER_NORM},
    {PARAM_W1, "mlp.swiglu.w1", PARAM_LINEAR, F, E, WIDE, SWIGLU, MLP_BIAS},
    {PARAM_W2, "mlp.swiglu.w2", PARAM_LINEAR, F, E, WIDE, SWIGLU, MLP_BIAS},
    {PARAM_W3, "mlp.swiglu.w3", PARAM_LINEAR, E, F, NARROW, SWIGLU, MLP_BIAS},
    {PARAM_W1, "mlp.fc", PARAM_LINEAR, F, E, WIDE, GELU, MLP_BIAS},
    {PARAM_W3, "mlp.proj", PARAM_LINEAR, E, F, NARROW, GELU, MLP_BIAS},
    {PARAM_LN_F, "transformer.ln_f", PARAM_NORM, E, ONE, ONES, 0, LAYER_NORM},
    {PARAM_HEAD, "lm_head", PARAM_LINEAR, V, E, WIDE, 0, 0},
};
enum { TABLE = sizeof table / sizeof table[0] };

enum place { BEFORE, LAYER, AFTER };
static enum place place_of(enum param_role role) {
    return role < PARAM_NORM_1 ? BEFORE : role <= PARAM_W3 ? LAYER : AFTER;
}

static int features(const struct config *c) {
    return (c->positions == POSITIONS_LEARNED ? LEARNED : 0) | (c->mlp == MLP_SWIGLU ? SWIGLU : GELU) |
           (c->norm == NORM_LAYER ? LAYER_NORM : 0) | (c->attn_bias ? ATTN_BIAS : 0) | (c->proj_bias ? PROJ_BIAS : 0) |
           (c->mlp_bias ? MLP_BIAS : 0);
}

static bool has(const struct config *c, int what) {
    return !what || features(c) & what;
}

static int64_t size(const struct config *c, enum dim d) {
    const int64_t sizes[] = {
        [ONE] = 1,
        [E] = c->n_embd,
        [F] = c->intermediate_size,
        [V] = c->padded_vocab_size,
        [QKV] = (c->n_head + 2 * c->n_query_groups) * config_head_dim(c),
        [IDS] = config_embedding_rows(c),
        [POSITIONS] = c->block_size,
    };
    return sizes[d];
}

static struct param describe(const struct config *c, const struct row *r, int layer, bool bias) {
    const double e = (double)c->n_embd, wide = sqrt(2.0 / (5.0 * e)), narrow = 1 / (sqrt(e) * (double)c->n_layer);
    struct param p = {.role = r->role,
                      .kind = r->kind,
                      .bias = bias,
                      .layer = layer,
                      .part = layer >= 0                    ? layer + 1
                              : place_of(r->role) == BEFORE ? 0
                                                            : (int)c->n_layer + 1,
                      .rows = size(c, r->rows),
                      .cols = bias ? 1 : size(c, r->cols),
                      .init_mean = r->init == ONES && !bias,
                      .init_std = bias || r->init == ONES ? 0
                                  : r->init == WIDE       ? wide
                                                          : narrow};
    char number[32] = "";
    if (layer >= 0) snprintf(number, sizeof number, "transformer.h.%d.", layer);
    snprintf(p.name, sizeof p.name, "%s%s.%s", number, r->name, bias ? "bias" : "weight");
    return p;
}

static void add(struct params *p, const struct config *c, const struct row *r, int layer) {
    for (int bias = 0; bias <= (r->bias && has(c, r->bias)); bias++) {
        struct param row = describe(c, r, layer, bias);
        if (r->role == PARAM_HEAD && c->tied_head) {
            row.offset = p->v[0].offset;
        } else {
            row.offset = p->total;
            p->total += round_up(row.rows * row.cols, OFFSET_MULTIPLE);
        }
        if (layer <= 0) p->first[r->role][bias] = p->count;
        p->v[p->count++] = row;
    }
}

static void add_all(struct params *p, const struct config *c, enum place place, int layer) {
    for (int i = 0; i < TABLE; i++)
        if (place_of(table[i].role) == place && has(c, table[i].when)) add(p, c, &table[i], layer);
}

int params_init(struct params *p, const struct config *c, struct err *err) {
    *p = (struct params){.layers = (int)c->n_layer};
    p->v = mem_alloc(2 * TABLE * (c->n_layer + 1), sizeof *p->v, "the table of parameters", err);
    if (!p->v) return -1;
    for (int i = 0; i < PARAM_ROLES; i++) p->first[i][0] = p->first[i][1] = -1;
    add_all(p, c, BEFORE, -1);
    const int before = p->count;
    for (int layer = 0; layer < p->layers; layer++) add_all(p, c, LAYER, layer);
    p->layer_rows = (p->count - before) / p->layers;
    add_all(p, c, AFTER, -1);
    return 0;
}

void params_free(struct params *p) {
    mem_free(p->v);
    *p = (struct params){0};
}

static int find(const struct params *p, enum param_role role, int layer, bool bias) {
    BUG_ON(place_of(role) == LAYER ? layer < 0 || layer >= p->layers : layer != -1);
    const int first = p->first[role][bias];
    return first < 0 || layer < 0 ? first : first + layer * p->layer_rows;
}

int params_index(const struct params *p, enum param_role role, int layer) {
    return find(p, role, layer, false);
}

int params_bias(const struct params *p, enum param_role role, int layer) {
    return find(p, role, layer, true);
}

struct param_part params_part(const struct params *p, int part) {
    const int layers = p->first[PARAM_NORM_1][0], head = p->first[PARAM_LN_F][0];
    BUG_ON(part < 0 || part > p->layers + 1);
    struct param_part r = {.first = 0, .count = layers};
    if (part > 0) r = (struct param_part){.first = layers + (part - 1) * p->layer_rows, .count = p->layer_rows};
    if (part > p->layers) r.count = p->count - head;
    const int next = r.first + r.count;
    r.offset = p->v[r.first].offset;
    r.floats = (next < p->count ? p->v[next].offset : p->total) - r.offset;
    return r;
}

static int64_t count(const struct config *c, bool body) {
    int64_t n = 0;
    for (int i = 0; i < TABLE; i++) {
        const struct row *r = &table[i];
        const bool outside = r->kind == PARAM_EMBEDDING || r->role == PARAM_HEAD;
        if (!has(c, r->when) || (body && outside) || (r->role == PARAM_HEAD && c->tied_head)) continue;
        const int64_t rows = size(c, r->rows), each = rows * size(c, r->cols) + (r->bias && has(c, r->bias) ? rows : 0);
        n += place_of(r->role) == LAYER ? each * c->n_layer : each;
    }
    return n;
}

int64_t params_all(const struct config *c) {
    return count(c, false);
}

int64_t params_body(const struct config *c) {
    return count(c, true);
}

/* Numbers [first, first + n) of parameter i; n is at most a piece. */
static void draw(float *w, const struct param *q, int i, uint64_t seed, int64_t first, int64_t n) {
    const float std = (float)q->init_std, mean = (float)q->init_mean;
    if (std > 0) rng_normal(w, n, seed, RNG_INIT, (uint64_t)i, (uint64_t)first);
    for (int64_t k = 0; k < n; k++) w[k] = std > 0 ? w[k] * std : mean;
}

/* Pieces have a fixed size and every number depends on its place alone: neither threads nor the range change it. */
void params_random_range(float *out, const struct params *p, uint64_t seed, int64_t first, int64_t end) {
    for (int i = 0; i < p->count; i++) {
        const struct param *q = &p->v[i];
        if (q->role == PARAM_HEAD && q->offset == p->v[0].offset) continue; /* tied: the embedding's memory */
        const int64_t n = q->rows * q->cols, from = first > q->offset ? first - q->offset : 0,
                      to = end - q->offset < n ? end - q->offset : n;
        if (from >= to) continue;
#pragma omp parallel for schedule(static)
        for (int64_t at = from / RANDOM_PIECE * RANDOM_PIECE; at < to; at += RANDOM_PIECE) {
            const int64_t stop = at + RANDOM_PIECE < n ? at + RANDOM_PIECE : n;
            if (at >= from && stop <= to) {
                draw(out + (q->offset + at - first), q, i, seed, at, stop - at);
                continue;
            }
            float piece[RANDOM_PIECE]; /* only some of it is wanted */
            const int64_t a = at > from ? at : from, b = stop < to ? stop : to;
            draw(piece, q, i, seed, at, stop - at);
            memcpy(out + (q->offset + a - first), piece + (a - at), (size_t)(b - a) * sizeof *piece);
        }
    }
}

void params_random(float *flat, const struct params *p, uint64_t seed) {
    params_random_range(flat, p, seed, 0, p->total);
}
