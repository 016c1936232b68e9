/* loglik: texts to ids, equal requests to one; the numbers are infer/likelihood's. */
#include "eval/loglik.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "infer/engine.h"
#include "model/lm.h"
#include "text/prompt.h"

enum { COMPANY = 64 }; /* sequences of the model's longest that a forward should hold, if they are not too many rows */

struct asked { /* ids [start, start + nprefix + ntarget) of the pool */
    int64_t start, nprefix, ntarget;
};

struct loglik {
    const struct lm *model;
    struct loglik_settings s;
    struct engine engine;
    struct asked *asked; /* [n] */
    int64_t n, capacity;
    struct ids pool, prefix, target;
};

bool loglik_is_published(const struct lm *m) {
    const char *naming = weights_naming(&m->weights.files);
    return !naming || !strcmp(naming, "published") || !strcmp(naming, "checkpoint");
}

int loglik_open(struct loglik **out, const struct lm *m, const struct loglik_settings *s, struct err *err) {
    const bool guided = s->likelihood.cfg > 0 && m->weights.config.family == FAMILY_MDM;
    BUG_ON(!m->tokenizer);
    struct loglik *l = *out = mem_alloc(1, sizeof *l, "requests", err);
    if (!l) return -1;
    l->model = m;
    l->s = *s;
    const struct engine_settings es = {.precision = m->precision,
                                       .max_rows = engine_rows(COMPANY, m->weights.config.block_size, guided),
                                       .guided = guided};
    if (engine_open(&l->engine, &m->weights, &es, err) == 0 && likelihood_check(&l->engine, &s->likelihood, err) == 0)
        return 0;
    loglik_close(l);
    *out = NULL;
    return -1;
}

void loglik_close(struct loglik *l) {
    if (!l) return;
    engine_close(&l->engine);
    mem_free(l->asked);
    ids_free(&l->pool);
    ids_free(&l->prefix);
    ids_free(&l->target);
    mem_free(l);
}

int64_t loglik_count(const struct loglik *l) {
    return l->n;
}

void loglik_drop(struct loglik *l, int64_t count) {
    BUG_ON(count < 0 || count > l->n);
    if (count == l->n) return;
    l->pool.n = l->asked[count].start;
    l->n = count;
}

struct engine *loglik_engine(struct loglik *l) {
    return &l->engine;
}

/* Drops the tokens at the left of the prefix that do not fit. An autoregressive model never reads the last token of the
 * target; the harness counts so too. */
static void cut(const struct loglik *l, struct likelihood_item *it) {
    const struct config *c = &l->model->weights.config;
    const int64_t most = c->block_size + (c->family == FAMILY_ARM), over = it->nprefix + it->ntarget - most,
                  least = c->family == FAMILY_ARM;
    if (over <= 0) return;
    const int64_t gone = over < it->nprefix - least ? over : it->nprefix - least;
    it->prefix += gone;
    it->nprefix -= gone;
}

static int keep(struct loglik *l, const struct likelihood_item *it, struct err *err) {
    const int64_t start = l->pool.n;
    if (mem_grow(&l->asked, &l->capacity, l->n + 1, sizeof *l->asked, "requests", err) < 0) return -1;
    int status = 0;
    for (int64_t i = 0; i < it->nprefix && status == 0; i++) status = ids_push(&l->pool, it->prefix[i], err);
    for (int64_t i = 0; i < it->ntarget && status == 0; i++) status = ids_push(&l->pool, it->target[i], err);
    if (status < 0) {
        l->pool.n = start;
        return -1;
    }
    l->asked[l->n++] = (struct asked){start, it->nprefix, it->ntarget};
    return 0;
}

int loglik_add(struct loglik *l, const char *context, const char *continuation, struct err *err) {
    l->prefix.n = l->target.n = 0;
    if (prompt_pair(l->model->tokenizer, l->s.begin, context, continuation, &l->prefix, &l->target, err) < 0) return -1;
    struct likelihood_item it = {
        .prefix = l->prefix.v, .target = l->target.v, .nprefix = l->prefix.n, .ntarget = l->target.n};
    if (it.ntarget == 0)
        return err_set(err, "the answer '%.40s' adds no token to its context: one token spans both", continuation);
    if (l->s.cut) cut(l, &it);
    if (likelihood_check_item(&l->engine, &l->s.likelihood, &it, err) < 0) return -1;
    return keep(l, &it, err);
}

double loglik_work(const struct loglik *l) {
    const struct likelihood_settings *s = &l->s.likelihood;
    double work = 0;
    for (int64_t i = 0; i < l->n; i++) {
        const struct asked *a = &l->asked[i];
        const double masks = exp2(fmin((double)a->ntarget, 30)) - 1;
        double forwards = 1;
        if (l->model->weights.config.family == FAMILY_MDM)
            forwards = (s->method == LIKELIHOOD_CHAIN ? (double)a->ntarget : fmin((double)s->mc_draws, masks)) *
                       (s->cfg > 0 ? 2 : 1);
        work += (double)(a->nprefix + a->ntarget) * forwards;
    }
    return work;
}

/* ---- running ---- */

static struct likelihood_item item_of(const struct loglik *l, int64_t i) {
    const struct asked *a = &l->asked[i];
    const int32_t *ids = l->pool.v + a->start;
    const uint64_t hash = hash_add(HASH_START, ids, (size_t)(a->nprefix + a->ntarget) * sizeof *ids);
    return (struct likelihood_item){ids, ids + a->nprefix, a->nprefix, a->ntarget,
                                    hash_finish(hash + (uint64_t)a->nprefix)};
}

static int compare(const struct loglik *l, int64_t i, int64_t k) {
    const struct asked *a = &l->asked[i], *b = &l->asked[k];
    const int64_t n = a->nprefix + a->ntarget;
    if (a->nprefix != b->nprefix) return a->nprefix > b->nprefix ? -1 : 1;
    if (a->ntarget != b->ntarget) return a->ntarget > b->ntarget ? -1 : 1;
    return memcmp(l->pool.v + a->start, l->pool.v + b->start, (size_t)n * sizeof *l->pool.v);
}

static int by_ids(const void *x, const void *y, void *l) {
    const int64_t i = *(const int64_t *)x, k = *(const int64_t *)y;
    const int c = compare(l, i, k);
    return c ? c : (i > k) - (i < k);
}

/* Different requests in items[], request order[i] as item which[i]; how many. Long ones come first, and those of one
 * length and context side by side. */
static int64_t unite(struct loglik *l, int64_t *order, int64_t *which, struct likelihood_item *items) {
    int64_t n = 0;
    for (int64_t i = 0; i < l->n; i++) order[i] = i;
    qsort_r(order, (size_t)l->n, sizeof *order, by_ids, l);
    for (int64_t i = 0; i < l->n; i++) {
        if (i == 0 || compare(l, order[i - 1], order[i]) != 0) items[n++] = item_of(l, order[i]);
        which[i] = n - 1;
    }
    return n;
}

int loglik_run(struct loglik *l, struct loglik_result *out, struct err *err) {
    int64_t *order = mem_alloc(l->n, sizeof *order, "requests", err),
            *which = mem_alloc(l->n, sizeof *which, "requests", err);
    struct likelihood_item *items = mem_alloc(l->n, sizeof *items, "requests", err);
    struct likelihood_result *results = mem_alloc(l->n, sizeof *results, "requests", err);
    int status = order && which && items && results ? 0 : -1;
    if (status == 0) {
        const int64_t n = unite(l, order, which, items);
        status = likelihood(&l->engine, &l->s.likelihood, items, n, results, err);
    }
    for (int64_t i = 0; i < l->n && status == 0; i++) {
        const struct likelihood_result *r = &results[which[i]];
        out[order[i]] = (struct loglik_result){-r->nll, r->is_greedy};
    }
    if (status == 0) loglik_drop(l, 0);
    mem_free(order);
    mem_free(which);
    mem_free(items);
    mem_free(results);
    return status;
}
