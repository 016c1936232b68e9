/* likelihood: Monte Carlo and chain-rule likelihoods of masked diffusion, the ordinary one of autoregressive models.
 *
 * All of them are sums of weighted cross-entropies: sequences with some rows wanted go into one ragged batch after the
 * other, whatever item they come from, and each row's loss is added to its item in the order of the rows.
 *
 * The masked loss of a Monte Carlo draw depends on its mask alone, so equal masks are run once, with the sum of their
 * weights. A target of n tokens has 2^n − 1 masks with a loss at most: a one-word answer costs one forward, not 1024.
 */
#include "infer/likelihood.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"
#include "infer/choose.h"
#include "infer/engine.h"
#include "model/weights.h"

const char likelihood_methods[] = "mc|chain";

enum { SMALL = 1 << 12 }; /* random numbers or logits that one thread does sooner */

struct row {                /* a wanted row of the batch */
    int64_t item, position; /* position in the target */
    double weight;
};

struct run {
    struct engine *e;
    const struct likelihood_settings *s;
    const struct likelihood_item *items;
    struct likelihood_result *out;
    int32_t mask;
    /* the batch's wanted rows: [max_rows] */
    struct row *row;
    int32_t *target;
    float *loss;
    struct choice *choice;
    /* one sequence: [longest] */
    int32_t *ids;
    uint8_t *prompt;
    int64_t *rows;
    void (*flush)(struct run *r);
};

int64_t likelihood_length(const struct likelihood_item *item, const struct likelihood_settings *s) {
    const int64_t n = item->nprefix + item->ntarget;
    return n > s->pad ? n : s->pad;
}

/* The sequence of an item in r->ids: prefix, target and padding masks. Returns its length. */
static int64_t lay_out(struct run *r, const struct likelihood_item *it) {
    const int64_t n = likelihood_length(it, r->s), used = it->nprefix + it->ntarget;
    memcpy(r->ids, it->prefix, (size_t)it->nprefix * sizeof *r->ids);
    memcpy(r->ids + it->nprefix, it->target, (size_t)it->ntarget * sizeof *r->ids);
    for (int64_t i = used; i < n; i++) r->ids[i] = r->mask;
    for (int64_t i = 0; i < n; i++) r->prompt[i] = i < it->nprefix;
    return n;
}

/* Adds r->ids[n] of an item with r->rows[nrows] wanted, all with one weight; runs the batch first when it is full. */
static void submit(struct run *r, int64_t item, int64_t n, int64_t nrows, double weight) {
    const struct likelihood_item *it = &r->items[item];
    if (!engine_add(r->e, r->ids, n, r->prompt, r->rows, nrows)) {
        r->flush(r);
        BUG_ON(!engine_add(r->e, r->ids, n, r->prompt, r->rows, nrows));
    }
    const int64_t first = r->e->nwanted - nrows, shift = r->e->weights->config.family == FAMILY_ARM;
    for (int64_t i = 0; i < nrows; i++) {
        const int64_t position = r->rows[i] + shift - it->nprefix;
        r->row[first + i] = (struct row){item, position, weight};
        r->target[first + i] = it->target[position];
    }
}

static void add_losses(struct run *r) {
    engine_losses(r->e, r->target, r->loss);
    for (int64_t i = 0; i < r->e->nwanted; i++) r->out[r->row[i].item].nll += r->row[i].weight * (double)r->loss[i];
    engine_begin(r->e, r->s->cfg);
}

/* ---- chain ---- */

static void chain(struct run *r, int64_t item) {
    const struct likelihood_item *it = &r->items[item];
    for (int64_t i = 0; i < it->ntarget; i++) {
        const int64_t n = lay_out(r, it);
        for (int64_t j = i; j < it->ntarget; j++) r->ids[it->nprefix + j] = r->mask;
        r->rows[0] = it->nprefix + i;
        submit(r, item, n, 1, 1);
    }
}

/* ---- Monte Carlo ---- */

struct draws { /* of one item: masks as bit strings of `words` words, and their weights 1/t */
    int64_t n, words;
    uint64_t *bits;
    double *weight;
    int64_t *order;
};

static int draws_open(struct draws *d, int64_t n, int64_t longest_target, struct err *err) {
    *d = (struct draws){.n = n, .words = (longest_target + 63) / 64};
    d->bits = mem_alloc(n * d->words, sizeof *d->bits, "masks", err);
    d->weight = mem_alloc(n, sizeof *d->weight, "masks", err);
    d->order = mem_alloc(n, sizeof *d->order, "masks", err);
    return d->bits && d->weight && d->order ? 0 : -1;
}

static void draws_close(struct draws *d) {
    mem_free(d->bits);
    mem_free(d->weight);
    mem_free(d->order);
}

static void draw_masks(struct draws *d, const struct likelihood_settings *s, int64_t item, int64_t ntarget) {
    const uint64_t sample = s->first_sample + (uint64_t)item;
    memset(d->bits, 0, (size_t)(d->n * d->words) * sizeof *d->bits);
#pragma omp parallel for if (d->n * ntarget > SMALL)
    for (int64_t i = 0; i < d->n; i++) {
        const int64_t batch = i / s->mc_batch, j = i % s->mc_batch;
        double t = rng_uniform(s->seed, RNG_MC_TIME, sample, (uint64_t)batch) + (double)j / (double)s->mc_batch;
        if (t >= 1) t -= 1;
        for (int64_t k = 0; k < ntarget; k++)
            if (rng_uniform(s->seed, RNG_MC_MASK, sample, (uint64_t)i << 32 | (uint64_t)k) < t)
                d->bits[i * d->words + k / 64] |= (uint64_t)1 << k % 64;
        d->weight[i] = 1 / t;
        d->order[i] = i;
    }
}

static int compare_masks(const struct draws *d, int64_t a, int64_t b) {
    return memcmp(d->bits + a * d->words, d->bits + b * d->words, (size_t)d->words * sizeof *d->bits);
}

static int by_mask(const void *x, const void *y, void *ctx) {
    const int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
    const int c = compare_masks(ctx, a, b);
    return c ? c : (a > b) - (a < b);
}

static void mc(struct run *r, int64_t item, struct draws *d) {
    const struct likelihood_item *it = &r->items[item];
    draw_masks(d, r->s, item, it->ntarget);
    qsort_r(d->order, (size_t)d->n, sizeof *d->order, by_mask, d);
    for (int64_t i = 0, next; i < d->n; i = next) {
        const uint64_t *bits = d->bits + d->order[i] * d->words;
        double weight = 0;
        for (next = i; next < d->n && compare_masks(d, d->order[i], d->order[next]) == 0; next++)
            weight += d->weight[d->order[next]];
        int64_t nrows = 0;
        for (int64_t k = 0; k < it->ntarget; k++)
            if (bits[k / 64] >> k % 64 & 1) r->rows[nrows++] = it->nprefix + k;
        if (nrows == 0) continue;
        const int64_t n = lay_out(r, it);
        for (int64_t k = 0; k < nrows; k++) r->ids[r->rows[k]] = r->mask;
        submit(r, item, n, nrows, weight / (double)d->n);
    }
}

/* ---- greedy ---- */

static void choose_greedy(void *ctx, int64_t first, int64_t count, const float *logits) {
    struct run *r = ctx;
    choose_rows(r->choice + first, logits, count, r->e->V, NULL, &(struct choose_settings){.confidence = true});
}

struct greedy {
    struct run run; /* first: flush gets it as a run */
    uint8_t *shown; /* 1 where a target's token stands already; of all items, one after another */
    int64_t *first; /* [n + 1]: where each item's begin */
};

/* Every sequence shows its most confident position, the first of equals. A wrong value there settles the item. */
static void show_best(struct run *r) {
    struct greedy *g = (struct greedy *)r;
    engine_run(r->e, choose_greedy, r);
    for (int64_t i = 0, best = 0; i < r->e->nwanted; i++) {
        const int64_t item = r->row[i].item;
        if (r->choice[i].confidence > r->choice[best].confidence) best = i;
        if (i + 1 < r->e->nwanted && r->row[i + 1].item == item) continue;
        if (r->choice[best].id == r->target[best])
            g->shown[g->first[item] + r->row[best].position] = 1;
        else
            r->out[item].is_greedy = false;
        best = i + 1;
    }
    engine_begin(r->e, r->s->cfg);
}

/* One round over the items that are still undecided; false when there are none. */
static bool greedy_round(struct greedy *g, int64_t n) {
    struct run *r = &g->run;
    bool any = false;
    for (int64_t item = 0; item < n; item++) {
        const struct likelihood_item *it = &r->items[item];
        int64_t nrows = 0;
        if (!r->out[item].is_greedy) continue;
        const int64_t length = lay_out(r, it);
        for (int64_t k = 0; k < it->ntarget; k++)
            if (!g->shown[g->first[item] + k]) r->rows[nrows++] = it->nprefix + k;
        if (nrows == 0) continue;
        for (int64_t k = 0; k < nrows; k++) r->ids[r->rows[k]] = r->mask;
        submit(r, item, length, nrows, 0);
        any = true;
    }
    r->flush(r);
    return any;
}

static int greedy(const struct run *base, int64_t n, struct err *err) {
    struct greedy g = {.run = *base};
    g.run.flush = show_best;
    g.first = mem_alloc(n + 1, sizeof *g.first, "greedy decoding", err);
    for (int64_t i = 0; g.first && i < n; i++) g.first[i + 1] = g.first[i] + base->items[i].ntarget;
    if (g.first) g.shown = mem_alloc(g.first[n], sizeof *g.shown, "greedy decoding", err);
    if (g.shown) {
        for (int64_t i = 0; i < n; i++) base->out[i].is_greedy = true;
        engine_begin(base->e, base->s->cfg);
        while (greedy_round(&g, n)) {
        }
    }
    const int status = g.shown ? 0 : -1;
    mem_free(g.first);
    mem_free(g.shown);
    return status;
}

/* ---- autoregressive ---- */

static void take_arm(void *ctx, int64_t first, int64_t count, const float *logits) {
    struct run *r = ctx;
    const int64_t V = r->e->V;
#pragma omp parallel for if (count * V > SMALL)
    for (int64_t i = 0; i < count; i++) {
        const float *z = logits + i * V;
        r->loss[first + i] = kernels->cross_entropy(z, V, r->target[first + i]);
        r->choice[first + i].id = (int32_t)kernels->argmax(z, V, NULL);
    }
}

static void add_arm(struct run *r) {
    engine_run(r->e, take_arm, r);
    for (int64_t i = 0; i < r->e->nwanted; i++) {
        struct likelihood_result *out = &r->out[r->row[i].item];
        out->nll += (double)r->loss[i];
        if (r->choice[i].id != r->target[i]) out->is_greedy = false;
    }
    engine_begin(r->e, 0);
}

static void arm(struct run *r, int64_t item) {
    const struct likelihood_item *it = &r->items[item];
    r->out[item].is_greedy = true;
    lay_out(r, it);
    for (int64_t i = 0; i < it->ntarget; i++) r->rows[i] = it->nprefix + i - 1;
    submit(r, item, it->nprefix + it->ntarget - 1, it->ntarget, 1);
}

/* ---- all ---- */

static int check_item(const struct engine *e, const struct likelihood_settings *s, const struct likelihood_item *it,
                      struct err *err) {
    const struct config *c = &e->weights->config;
    const bool is_arm = c->family == FAMILY_ARM;
    if (it->ntarget < 1) return err_set(err, "the target is empty: nothing to score");
    if (is_arm && it->nprefix < 1)
        return err_set(err, "the prefix is empty: an autoregressive model needs a token to go on from");
    if (engine_check_length(e, likelihood_length(it, s) - is_arm, "prefix and target", err) < 0) return -1;
    if (engine_check_ids(e, it->prefix, it->nprefix, "prefix", err) < 0) return -1;
    for (int64_t i = 0; i < it->ntarget; i++)
        if (it->target[i] < 0 || it->target[i] >= e->V || (!is_arm && it->target[i] == c->mask_id))
            return err_set(err, "target: token %lld is %d, which this model cannot write: its ids are 0 ... %lld",
                           (long long)i + 1, it->target[i], (long long)e->V - 1);
    return 0;
}

static int check(const struct engine *e, const struct likelihood_settings *s, const struct likelihood_item *items,
                 int64_t n, int64_t *longest, int64_t *longest_target, struct err *err) {
    const bool is_arm = e->weights->config.family == FAMILY_ARM;
    *longest = *longest_target = 1;
    if (is_arm && (s->cfg > 0 || s->pad > 0))
        return err_set(err, "guidance and padding belong to masked diffusion; this model is autoregressive");
    if (!is_arm && s->method == LIKELIHOOD_MC && (s->mc_batch < 1 || s->mc_draws < 1 || s->mc_draws % s->mc_batch))
        return err_set(err, "the number of draws must be a multiple of their batch, found %lld and %lld",
                       (long long)s->mc_draws, (long long)s->mc_batch);
    for (int64_t i = 0; i < n; i++) {
        if (check_item(e, s, &items[i], err) < 0) return err_prefix(err, "item %lld", (long long)i + 1);
        const int64_t length = likelihood_length(&items[i], s);
        if (length > *longest) *longest = length;
        if (items[i].ntarget > *longest_target) *longest_target = items[i].ntarget;
    }
    return 0;
}

static int score_mdm(struct run *r, int64_t n, int64_t longest_target, struct err *err) {
    struct draws d = {0};
    int status = 0;
    if (r->s->method == LIKELIHOOD_MC) status = draws_open(&d, r->s->mc_draws, longest_target, err);
    r->flush = add_losses;
    engine_begin(r->e, r->s->cfg);
    for (int64_t i = 0; i < n && status == 0; i++) {
        if (r->s->method == LIKELIHOOD_MC)
            mc(r, i, &d);
        else
            chain(r, i);
    }
    r->flush(r);
    draws_close(&d);
    return status == 0 && r->s->greedy ? greedy(r, n, err) : status;
}

static int score(struct run *r, int64_t n, int64_t longest_target, struct err *err) {
    memset(r->out, 0, (size_t)n * sizeof *r->out);
    if (r->e->weights->config.family == FAMILY_MDM) return score_mdm(r, n, longest_target, err);
    r->flush = add_arm;
    engine_begin(r->e, 0);
    for (int64_t i = 0; i < n; i++) arm(r, i);
    r->flush(r);
    return 0;
}

int likelihood(struct engine *e, const struct likelihood_settings *s, const struct likelihood_item *items, int64_t n,
               struct likelihood_result *out, struct err *err) {
    int64_t longest = 1, longest_target = 1;
    if (check(e, s, items, n, &longest, &longest_target, err) < 0) return -1;
    struct run r = {.e = e, .s = s, .items = items, .out = out, .mask = (int32_t)e->weights->config.mask_id};
    r.row = mem_alloc(e->set.max_rows, sizeof *r.row, "likelihood", err);
    r.target = mem_alloc(e->set.max_rows, sizeof *r.target, "likelihood", err);
    r.loss = mem_alloc(e->set.max_rows, sizeof *r.loss, "likelihood", err);
    r.choice = mem_alloc(e->set.max_rows, sizeof *r.choice, "likelihood", err);
    r.ids = mem_alloc(longest, sizeof *r.ids, "likelihood", err);
    r.prompt = mem_alloc(longest, sizeof *r.prompt, "likelihood", err);
    r.rows = mem_alloc(longest, sizeof *r.rows, "likelihood", err);
    const bool ready = r.row && r.target && r.loss && r.choice && r.ids && r.prompt && r.rows;
    const int status = ready ? score(&r, n, longest_target, err) : -1;
    mem_free(r.row);
    mem_free(r.target);
    mem_free(r.loss);
    mem_free(r.choice);
    mem_free(r.ids);
    mem_free(r.prompt);
    mem_free(r.rows);
    return status;
}
