/* train_examples: a source of a few examples in memory, with prompts and groups, and a tiny network outside any
 * trainer, for the tests of train/. */
#ifndef MDM_TESTS_TRAIN_EXAMPLES_H
#define MDM_TESTS_TRAIN_EXAMPLES_H
#include "train_help.h"

#include "data/source.h"
#include "model/transformer.h"

struct few {
    const struct example *v; /* their ids are few_id() of number and place */
    int64_t n;
    int64_t fails_at; /* number that cannot be read; -1: none */
};

static inline int32_t few_id(int64_t number, int64_t i) {
    return (int32_t)((number * 17 + i * i * 5 + 3) % 40);
}

static inline int few_read(void *context, int64_t number, int32_t *ids, struct example *e, struct err *err) {
    const struct few *f = context;
    if (ids && number == f->fails_at) return err_set(err, "example %lld cannot be read", (long long)number);
    *e = f->v[number % f->n];
    for (int64_t i = 0; ids && i < e->n; i++) ids[i] = few_id(number, i);
    return 0;
}

static inline double few_epoch(const void *context, int64_t number) {
    return (double)number / (double)((const struct few *)context)->n;
}

static inline struct source few_source(struct few *f, int64_t group) {
    struct source s = {
        .context = f, .read = few_read, .epoch = few_epoch, .size = f->n, .group = group, .pad = 41, .fingerprint = 7};
    for (int64_t i = 0; i < f->n; i++)
        if (f->v[i].n > s.longest) s.longest = f->v[i].n;
    return s;
}
/* A tiny network and what it takes to run it. */
struct net {
    struct config config;
    struct weights weights;
    struct params params;
    struct transformer *model;
    float *w, *grad;
};

static inline void net_open(struct net *n, enum family family, uint64_t seed) {
    struct err err = {{0}};
    char path[FILE_PATH_MAX];
    *n = (struct net){.config = tiny_run(path, "net", family, 1).config};
    must(params_init(&n->params, &n->config, &err), &err);
    n->w = calloc((size_t)n->params.total, 4);
    n->grad = calloc((size_t)n->params.total, 4);
    params_random(n->w, &n->params, seed);
    must(weights_flat(&n->weights, &n->config, n->w, &err), &err);
    must(transformer_open(&n->model, &n->weights,
                          &(struct transformer_settings){.precision = DTYPE_F32, .max_rows = 64, .training = true},
                          &err),
         &err);
    transformer_refresh(n->model);
}

static inline void net_close(struct net *n) {
    transformer_close(n->model);
    weights_free(&n->weights);
    params_free(&n->params);
    free(n->w);
    free(n->grad);
}

#endif
