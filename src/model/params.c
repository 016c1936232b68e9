/* params: builds the table of parameters from a config. A layer's parameters are the roles PARAM_NORM_1 … PARAM_W3 in
 * that order; nothing here reads or writes files. */
#include "model/params.h"

#include <math.h>
#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"

enum { LAYER_ROLES = PARAM_W3 - PARAM_NORM_1 + 1, OFFSET_MULTIPLE = 16, RANDOM_PIECE = 1 << 16 };

static struct param describe(const struct config *c, enum param_role role, int layer) {
    int64_t E = c->n_embd, F = c->intermediate_size, V = c->padded_vocab_size;
    int64_t qkv = (c->n_head + 2 * c->n_query_groups) * config_head_dim(c);
    double wide = sqrt(2.0 / (5.0 * (double)E)), narrow = 1 / (sqrt((double)E) * (double)c->n_layer);
    const struct {
        const char *name; /* of a layer: what follows transformer.h.N. */
        int64_t rows, cols;
        double std;
    } table[] =
        {
            [PARAM_WTE] = {"transformer.wte.weight", V + (c->family == FAMILY_MDM), E, wide},
            [PARAM_NORM_1] = {"norm_1.weight", E, 1, 0},
            [PARAM_ATTN] = {"attn.attn.weight", qkv, E, wide},
            [PARAM_PROJ] = {"attn.proj.weight", E, E, narrow},
            [PARAM_NORM_2] = {"norm_2.weight", E, 1, 0},
            [PARAM_W1] = {"mlp.swiglu.w1.weight", F, E, wide},
            [PARAM_W2] = {"mlp.swiglu.w2.weight", F, E, wide},
            [PARAM_W3] = {"mlp.swiglu.w3.weight", E, F, narrow},
            [PARAM_LN_F] = {"transformer.ln_f.weight", E, 1, 0},
            [PARAM_HEAD] = {"lm_head.weight", V, E, wide},
        },
      *t = &table[role];
    struct param p = {.role = role, .layer = layer, .rows = t->rows, .cols = t->cols, .init_std = t->std};
    if (layer < 0)
        snprintf(p.name, sizeof p.name, "%s", t->name);
    else
        snprintf(p.name, sizeof p.name, "transformer.h.%d.%s", layer, t->name);
    return p;
}

static void add(struct params *p, const struct config *c, enum param_role role, int layer) {
    struct param row = describe(c, role, layer);
    if (role == PARAM_HEAD && c->tied_head) {
        row.offset = p->v[0].offset;
    } else {
        row.offset = p->total;
        p->total += (row.rows * row.cols + OFFSET_MULTIPLE - 1) / OFFSET_MULTIPLE * OFFSET_MULTIPLE;
    }
    p->v[p->count++] = row;
}

int params_init(struct params *p, const struct config *c, struct err *err) {
    *p = (struct params){0};
    p->v = mem_alloc(c->n_layer * LAYER_ROLES + 3, sizeof *p->v, "the table of parameters", err);
    if (!p->v) return -1;
    add(p, c, PARAM_WTE, -1);
    for (int layer = 0; layer < c->n_layer; layer++)
        for (int role = PARAM_NORM_1; role <= PARAM_W3; role++) add(p, c, (enum param_role)role, layer);
    add(p, c, PARAM_LN_F, -1);
    add(p, c, PARAM_HEAD, -1);
    return 0;
}

void params_free(struct params *p) {
    mem_free(p->v);
    *p = (struct params){0};
}

int params_index(const struct params *p, const struct config *c, enum param_role role, int layer) {
    bool inside = role >= PARAM_NORM_1 && role <= PARAM_W3;
    BUG_ON(inside ? layer < 0 || layer >= c->n_layer : layer != -1);
    int i = inside               ? 1 + layer * LAYER_ROLES + (int)(role - PARAM_NORM_1)
            : role == PARAM_WTE  ? 0
            : role == PARAM_LN_F ? p->count - 2
                                 : p->count - 1;
    BUG_ON(p->v[i].role != role || p->v[i].layer != layer);
    return i;
}

/* Pieces have a fixed size and every number depends on its place alone: threads change nothing. */
void params_random(float *flat, const struct params *p, uint64_t seed) {
    for (int i = 0; i < p->count; i++) {
        const struct param *q = &p->v[i];
        if (q->role == PARAM_HEAD && q->offset == p->v[0].offset) continue; /* tied: the embedding's memory */
        int64_t n = q->rows * q->cols;
        float *w = flat + q->offset, std = (float)q->init_std;
#pragma omp parallel for schedule(static)
        for (int64_t first = 0; first < n; first += RANDOM_PIECE) {
            int64_t end = first + RANDOM_PIECE < n ? first + RANDOM_PIECE : n;
            if (std > 0) rng_normal(w + first, end - first, seed, RNG_INIT, (uint64_t)i, (uint64_t)first);
            for (int64_t k = first; k < end; k++) w[k] = std > 0 ? w[k] * std : 1;
        }
    }
}
