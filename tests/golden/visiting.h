/* visiting: a residency that serves every part from one buffer: copied in when it is entered, NaN when it has left;
 * gradients likewise, added up where they belong. What was not asked for, or used too late, shows as NaN.
 *
 *     struct visiting v;
 *     visiting_open(&v, &weights, &settings);      // sets settings.residency
 *     transformer_open(&m, &weights, &settings, …); … transformer_train(m, …, NULL);     // v.gradient
 *     visiting_close(&v);
 */
#ifndef MDM_TESTS_VISITING_H
#define MDM_TESTS_VISITING_H
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/transformer.h"

struct visiting {
    const struct weights *w;
    struct residency residency;
    struct visit { /* a part, and beside it the embedding that a tied head shares */
        int part, uses;
        char *data;          /* [bytes] elements of the part's weights */
        float *gradient;     /* [floats] */
        struct weight *rows; /* [rows] */
    } visits[2];
    size_t bytes, floats;
    float *gradient; /* flat */
    int entered;
};

static inline size_t visiting_size(const struct visiting *v, int row) {
    const struct param *p = &v->w->params.v[row];
    return (size_t)(p->rows * p->cols) * dtype_size(v->w->v[row].type);
}

/* All bits set are a NaN in every type. */
static inline void visiting_poison(struct visiting *v, struct visit *x) {
    memset(x->data, 0xff, v->bytes);
    memset(x->gradient, 0xff, v->floats * sizeof(float));
    x->part = -1;
}

static inline void visiting_enter(void *context, int part, int uses, struct resident *r) {
    struct visiting *v = context;
    const struct param_part of = params_part(&v->w->params, part);
    struct visit *x = &v->visits[v->visits[0].part >= 0];
    char *at = x->data;
    if (x->part >= 0 || (x != v->visits && !v->w->config.tied_head)) abort(); /* one at a time */
    x->part = part;
    x->uses = uses;
    v->entered++;
    for (int k = 0; k < of.count; k++) {
        const int row = of.first + k;
        const size_t size = visiting_size(v, row);
        x->rows[k] = (struct weight){at, v->w->v[row].type};
        if (uses & PART_WEIGHTS) memcpy(at, v->w->v[row].data, size);
        at += (size + 63) / 64 * 64;
    }
    if (uses & PART_GRADIENT) memset(x->gradient, 0, (size_t)of.floats * sizeof(float));
    *r = (struct resident){uses & PART_WEIGHTS ? x->rows : NULL, uses & PART_GRADIENT ? x->gradient : NULL};
}

static inline void visiting_leave(void *context, int part, int uses) {
    struct visiting *v = context;
    const struct param_part of = params_part(&v->w->params, part);
    struct visit *x = &v->visits[v->visits[0].part != part];
    if (x->part != part || x->uses != uses) abort();
    if (uses & PART_GRADIENT)
        for (int64_t i = 0; i < of.floats; i++) v->gradient[of.offset + i] += x->gradient[i];
    visiting_poison(v, x);
}

static inline void visiting_open(struct visiting *v, const struct weights *w, struct transformer_settings *s) {
    const struct params *p = &w->params;
    *v = (struct visiting){.w = w};
    v->residency = (struct residency){v, visiting_enter, visiting_leave};
    for (int part = 0; part < params_parts(p); part++) {
        const struct param_part of = params_part(p, part);
        size_t bytes = 0;
        for (int k = 0; k < of.count; k++) bytes += (visiting_size(v, of.first + k) + 63) / 64 * 64;
        if (bytes > v->bytes) v->bytes = bytes;
        if ((size_t)of.floats > v->floats) v->floats = (size_t)of.floats;
    }
    v->gradient = calloc((size_t)p->total, sizeof(float));
    for (int k = 0; k < 2; k++) {
        struct visit *x = &v->visits[k];
        x->rows = calloc((size_t)p->count, sizeof *x->rows);
        x->gradient = malloc(v->floats * sizeof(float));
        if (posix_memalign((void **)&x->data, 64, v->bytes) || !v->gradient || !x->rows || !x->gradient) abort();
        visiting_poison(v, x);
    }
    s->residency = &v->residency;
}

static inline void visiting_close(struct visiting *v) {
    for (int k = 0; k < 2; k++) {
        free(v->visits[k].data);
        free(v->visits[k].gradient);
        free(v->visits[k].rows);
    }
    free(v->gradient);
}

#endif
