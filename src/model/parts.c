/* parts: see parts.h. Binding a part fills its struct from the weights of its rows. */
#include "model/parts.h"

#include "base/err.h"
#include "base/mem.h"

/* The place of a part among p->v: its own, or with a residency that of the embedding, of all layers, of the head. */
static int slot_of(const struct parts *p, int part) {
    if (!p->residency) return part;
    return part == 0 ? 0 : part < p->count - 1 ? 1 : 2;
}

static bool tied(const struct parts *p, int part) {
    return part == p->count - 1 && p->w->config.tied_head;
}

int parts_open(struct parts *p, const struct weights *w, const struct residency *residency, enum dtype t,
               struct err *err) {
    *p = (struct parts){.w = w, .residency = residency, .t = t, .count = params_parts(&w->params)};
    p->v = mem_alloc(residency ? 3 : p->count, sizeof *p->v, "model", err);
    p->packed = mem_alloc(w->params.count, sizeof *p->packed, "model", err);
    return p->v && p->packed ? 0 : -1;
}

void parts_close(struct parts *p) {
    mem_free(p->v);
    mem_free(p->packed);
}

void parts_layout(struct parts *p, char **at) {
    const struct params *table = &p->w->params;
    for (int i = 0; i < table->count; i++) {
        const struct param *q = &table->v[i];
        if (q->kind != PARAM_LINEAR || q->bias) continue;
        if (p->residency && q->layer > 0) {
            p->packed[i] = p->packed[i - table->layer_rows];
            continue;
        }
        const int64_t bytes = linear_bytes(q->rows, q->cols, p->w->v[i].type, p->t);
        p->packed[i] = bytes ? mem_cut(at, bytes) : NULL;
    }
}

/* v: one weight per row of the part. */
static int bind(struct parts *p, int part, const struct weight *v, struct err *err) {
    const struct params *table = &p->w->params;
    const struct param_part rows = params_part(table, part);
    struct part *to = &p->v[slot_of(p, part)];
    for (int k = 0; k < rows.count; k++) {
        const int i = rows.first + k;
        const struct param *q = &table->v[i];
        BUG_ON(v[k].type != p->w->v[i].type || (q->cols == 1 && v[k].type != DTYPE_F32));
        if (q->cols == 1)
            to->vector[q->role][q->bias] = v[k].data;
        else if (q->kind == PARAM_EMBEDDING)
            to->table[q->role] = v[k];
        else {
            const bool bias = params_bias(table, q->role, q->layer) >= 0;
            if (linear_init(&to->linear[q->role], q->rows, q->cols, v[k].data, v[k].type, bias ? v[k + 1].data : NULL,
                            p->t, p->packed[i], err) < 0)
                return -1;
        }
    }
    return 0;
}

int parts_bind(struct parts *p, struct err *err) {
    if (p->residency) return 0;
    for (int part = 0; part < p->count; part++)
        if (bind(p, part, p->w->v + params_part(&p->w->params, part).first, err) < 0) return -1;
    return 0;
}

void parts_refresh(struct parts *p) {
    if (p->residency) return;
    for (int i = 0; i < p->w->params.count; i++) {
        const struct param *q = &p->w->params.v[i];
        if (q->kind == PARAM_LINEAR && !q->bias) linear_refresh(&p->v[q->part].linear[q->role]);
    }
}

/* ---- coming and going ---- */

static struct resident ask(const struct parts *p, int part, int uses) {
    const struct param_part rows = params_part(&p->w->params, part);
    struct resident r = {0};
    if (p->residency)
        p->residency->enter(p->residency->context, part, uses, &r);
    else
        r = (struct resident){p->w->v + rows.first, uses & PART_GRADIENT ? p->grad + rows.offset : NULL};
    return r;
}

/* embedding: what a tied head shares. */
static void aim_gradients(const struct parts *p, int part, const struct resident *r, const struct resident *embedding) {
    const struct params *table = &p->w->params;
    const struct param_part rows = params_part(table, part);
    struct part *to = &p->v[slot_of(p, part)];
    for (int i = rows.first; i < rows.first + rows.count; i++) {
        const struct param *q = &table->v[i];
        const bool shared = tied(p, part) && q->role == PARAM_HEAD;
        to->gradient[q->role][q->bias] = shared ? embedding->gradient : r->gradient + (q->offset - rows.offset);
    }
}

const struct part *parts_enter(struct parts *p, int part, int uses) {
    struct err err = {{0}};
    struct resident embedding = {0};
    if (tied(p, part)) embedding = ask(p, 0, uses);
    const struct resident r = ask(p, part, uses);
    /* Same shapes and memory as when the transformer was opened: nothing is left that could be missing. */
    if (p->residency && uses & PART_WEIGHTS) BUG_ON(bind(p, part, r.weights, &err) < 0);
    if (uses & PART_GRADIENT) aim_gradients(p, part, &r, &embedding);
    return &p->v[slot_of(p, part)];
}

void parts_leave(struct parts *p, int part, int uses) {
    if (!p->residency) return;
    p->residency->leave(p->residency->context, part, uses);
    if (tied(p, part)) p->residency->leave(p->residency->context, 0, uses);
}
