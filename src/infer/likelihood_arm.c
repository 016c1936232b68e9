/* likelihood_arm: likelihoods of autoregressive models. Items with the same prefix share it: it is read once into a store,
 * with the logits of its last row for the first token of every target; then the targets branch off the store, many in
 * one forward. A target of one token needs no second forward.
 *
 * Every prefix goes through a store, shared or not, so that an item's bits do not depend on the others. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "infer/engine.h"
#include "infer/likelihood.h"
#include "infer/scheduler.h"
#include "model/kvstore.h"
#include "model/weights.h"

enum { SHARE = 64 }; /* most items of one reading of a prefix: their choices must fit into a batch */

struct wanted_row { /* of the batch */
    int64_t item, at;
};

struct reading {        /* a prefix in the batch, and its items */
    int64_t first, end; /* of order */
    struct kvstore *past;
};

struct arm_run {
    struct engine *e;
    const struct likelihood_settings *s;
    const struct likelihood_item *items;
    struct likelihood_result *out;
    int64_t *order;          /* [n]: long prefixes first, equal ones side by side */
    struct wanted_row *row;  /* [nrow] of max_rows */
    struct reading *reading; /* [nreading] of max_rows: those under way, whose stores stay for the next ones */
    int64_t nrow, nreading, nstores;
    int64_t store_bytes;
    int64_t *rows; /* [longest target] */
};

static int compare_ids(const int32_t *a, int64_t n, const int32_t *b, int64_t m) {
    for (int64_t i = 0; i < n && i < m; i++)
        if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
    return (n > m) - (n < m);
}

static int compare_prefixes(const struct likelihood_item *a, const struct likelihood_item *b) {
    if (a->nprefix != b->nprefix) return a->nprefix > b->nprefix ? -1 : 1;
    return compare_ids(a->prefix, a->nprefix, b->prefix, b->nprefix);
}

static int by_prefix(const void *x, const void *y, void *items) {
    const int64_t i = *(const int64_t *)x, k = *(const int64_t *)y;
    const struct likelihood_item *a = (const struct likelihood_item *)items + i,
                                 *b = (const struct likelihood_item *)items + k;
    int c = compare_prefixes(a, b);
    if (c == 0) c = compare_ids(a->target, a->ntarget, b->target, b->ntarget);
    return c ? c : (i > k) - (i < k);
}

/* Runs the batch and adds the losses to their items. */
static void collect(struct arm_run *r) {
    engine_run(r->e);
    for (int64_t i = 0; i < r->nrow; i++) {
        const struct choice *c = &r->e->choice[r->row[i].at];
        struct likelihood_result *out = &r->out[r->row[i].item];
        out->nll += c->loss;
        if (c->none || c->id != r->e->want[r->row[i].at].target) out->is_greedy = false;
    }
    engine_begin(r->e);
    r->nrow = 0;
}

static void want(struct arm_run *r, int64_t item, int64_t at, int32_t target) {
    r->e->want[at] = (struct choose_row){.target = target};
    r->row[r->nrow++] = (struct wanted_row){item, at};
}

/* A store for the prefix of the next reading: that of an earlier batch, whose prefix was no shorter, or a new one. 1; 0:
 * what is under way must be done first; -1. */
static int take_store(struct arm_run *r, int64_t capacity, struct err *err) {
    const struct config *c = &r->e->weights->config;
    struct reading *next = &r->reading[r->nreading];
    if (r->nreading < r->nstores) return 1;
    const int64_t bytes = kvstore_bytes(c, capacity, DTYPE_F32);
    if (r->nreading > 0 && r->store_bytes + bytes > SCHEDULER_STORES) return 0;
    if (kvstore_open(&next->past, c, capacity, DTYPE_F32, err) < 0) return r->nreading > 0 ? 0 : -1;
    r->store_bytes += bytes;
    r->nstores++;
    return 1;
}

/* Adds the prefix that order[i] and those after it share, with its last row's choices for each. How many items; 0: the
 * batch is full; -1. */
static int64_t add_prefix(struct arm_run *r, int64_t i, int64_t n, struct err *err) {
    const struct likelihood_item *it = &r->items[r->order[i]];
    const int64_t last = it->nprefix - 1, most = r->e->set.max_rows, share = SHARE < most ? SHARE : most;
    int64_t end = i + 1;
    while (end < n && end - i < share && compare_prefixes(it, &r->items[r->order[end]]) == 0) end++;
    if (r->nrow >= most || !engine_has_room(r->e, it->nprefix > end - i ? it->nprefix : end - i, 0)) return 0;
    const int status = take_store(r, it->nprefix, err);
    if (status <= 0) return status;
    struct reading *reading = &r->reading[r->nreading++];
    reading->first = i;
    reading->end = end;
    kvstore_truncate(reading->past, 0);
    int64_t at =
        engine_add(r->e, &(struct engine_sequence){
                             .ids = it->prefix, .n = it->nprefix, .past = reading->past, .rows = &last, .nrows = 1});
    for (int64_t k = i; k < end; k++) { /* equal first tokens are side by side */
        const int32_t token = r->items[r->order[k]].target[0];
        if (k > i && token != r->items[r->order[k - 1]].target[0]) at = engine_again(r->e, at, 1);
        BUG_ON(at < 0);
        want(r, r->order[k], at, token);
    }
    return end - i;
}

/* What follows the first token of a target. */
static void add_target(struct arm_run *r, int64_t item, struct kvstore *past) {
    const struct likelihood_item *it = &r->items[item];
    const int64_t n = it->ntarget - 1;
    if (n == 0) return;
    if (!engine_has_room(r->e, n, 0)) collect(r);
    for (int64_t k = 0; k < n; k++) r->rows[k] = k;
    const int64_t at =
        engine_add(r->e, &(struct engine_sequence){
                             .ids = it->target, .n = n, .past = past, .branch = true, .rows = r->rows, .nrows = n});
    for (int64_t k = 0; k < n; k++) want(r, item, at + k, it->target[k + 1]);
}

static int run_all(struct arm_run *r, int64_t n, struct err *err) {
    int64_t i = 0;
    while (i < n) {
        int64_t count;
        engine_begin(r->e);
        for (r->nreading = 0; i < n && (count = add_prefix(r, i, n, err)) > 0;) i += count;
        if (i < n && count < 0) return -1;
        collect(r);
        for (int64_t k = 0; k < r->nreading; k++) {
            const struct reading *p = &r->reading[k];
            kvstore_commit(p->past, r->items[r->order[p->first]].nprefix);
            for (int64_t j = p->first; j < p->end; j++) add_target(r, r->order[j], p->past);
        }
        collect(r);
        if (r->s->progress) r->s->progress(r->s->ctx, i);
    }
    return 0;
}

int likelihood_arm(struct engine *e, const struct likelihood_settings *s, const struct likelihood_item *items,
                   int64_t n, struct likelihood_result *out, struct err *err) {
    struct arm_run r = {.e = e, .s = s, .items = items, .out = out};
    int64_t longest = 1;
    for (int64_t i = 0; i < n; i++)
        if (items[i].ntarget > longest) longest = items[i].ntarget;
    r.order = mem_alloc(n, sizeof *r.order, "likelihood", err);
    r.row = mem_alloc(e->set.max_rows + SHARE, sizeof *r.row, "likelihood", err);
    r.reading = mem_alloc(e->set.max_rows, sizeof *r.reading, "likelihood", err);
    r.rows = mem_alloc(longest, sizeof *r.rows, "likelihood", err);
    int status = r.order && r.row && r.reading && r.rows ? 0 : -1;
    for (int64_t i = 0; i < n && status == 0; i++) {
        r.order[i] = i;
        out[i] = (struct likelihood_result){.is_greedy = true};
    }
    if (status == 0) {
        qsort_r(r.order, (size_t)n, sizeof *r.order, by_prefix, (void *)items);
        status = run_all(&r, n, err);
    }
    for (int64_t i = 0; i < r.nstores; i++) kvstore_close(r.reading[i].past);
    mem_free(r.order);
    mem_free(r.row);
    mem_free(r.reading);
    mem_free(r.rows);
    return status;
}
