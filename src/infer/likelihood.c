/* likelihood: Monte Carlo and chain-rule likelihoods of masked diffusion (those of autoregressive models: likelihood_arm.c).
 *
 * Both are sums of weighted cross-entropies: sequences with some rows wanted go into one ragged batch after the other,
 * whatever item they come from, and each row's loss is added to its item in the order of the rows.
 *
 * The masked loss of a Monte Carlo draw depends on its mask alone, so equal masks are run once, with the sum of their
 * weights. A target of n tokens has 2^n − 1 masks with a loss at most: a one-word answer costs one forward, not 1024.
 * Answers of one length to one question have inputs in common: a batch runs each once, for all their targets. */
#include "infer/likelihood.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "infer/engine.h"
#include "infer/scheduler.h"
#include "model/weights.h"

const char likelihood_methods[] = "mc|chain";

enum { SMALL = 1 << 12 }; /* random numbers that one thread does sooner */

struct scored_row {   /* a wanted row of the batch */
    int64_t item, at; /* its place among the engine's choices */
    double weight;
};

struct scored_input { /* a sequence of a batch */
    int64_t batch;    /* its number; of another one: the place is free */
    uint64_t hash;
    int64_t start, n, nprefix, nrows, at; /* among the engine's tokens, choices */
};

struct scoring {
    struct engine *e;
    const struct likelihood_settings *s;
    const struct likelihood_item *items;
    struct likelihood_result *out;
    int32_t mask;
    struct scored_row *row; /* [nrow] of max_rows: the batch's wanted rows in the order of their losses */
    int64_t nrow;
    struct scored_input *input; /* [input_mask + 1]: a hash table of the batch's sequences */
    int64_t input_mask, batch;
    /* one sequence: [longest] */
    int32_t *ids;
    uint8_t *prompt;
    int64_t *rows;
    int32_t *targets;
};

/* Tokens of one forward for item, padding included. */
static int64_t length_of(const struct likelihood_item *item, const struct likelihood_settings *s) {
    const int64_t n = item->nprefix + item->ntarget;
    return n > s->pad ? n : s->pad;
}

/* The sequence of an item in r->ids: prefix, target and padding masks. Returns its length. */
static int64_t lay_out(struct scoring *r, const struct likelihood_item *it) {
    const int64_t n = length_of(it, r->s), used = it->nprefix + it->ntarget;
    if (it->nprefix > 0) memcpy(r->ids, it->prefix, (size_t)it->nprefix * sizeof *r->ids);
    memcpy(r->ids + it->nprefix, it->target, (size_t)it->ntarget * sizeof *r->ids);
    for (int64_t i = used; i < n; i++) r->ids[i] = r->mask;
    for (int64_t i = 0; i < n; i++) r->prompt[i] = i < it->nprefix;
    return n;
}

/* Runs the batch and adds its losses to their items. */
static void flush(struct scoring *r) {
    engine_run(r->e);
    for (int64_t i = 0; i < r->nrow; i++) {
        const struct scored_row *row = &r->row[i];
        const struct choice *c = &r->e->choice[row->at];
        r->out[row->item].nll += row->weight * c->loss;
    }
    if (r->nrow > 0 && r->s->progress) r->s->progress(r->s->ctx, r->row[r->nrow - 1].item);
    engine_begin(r->e);
    r->nrow = 0;
    r->batch++;
}

/* Where the sequence r->ids[n] with rows r->rows[nrows] wanted is in the table, or shall be. */
static struct scored_input *find_input(struct scoring *r, int64_t n, int64_t nprefix, int64_t nrows) {
    const uint64_t ids = hash_add(HASH_START, r->ids, (size_t)n * sizeof *r->ids),
                   hash = hash_finish(hash_add(ids, r->rows, (size_t)nrows * sizeof *r->rows));
    for (int64_t i = (int64_t)(hash & (uint64_t)r->input_mask);; i = (i + 1) & r->input_mask) {
        struct scored_input *in = &r->input[i];
        if (in->batch != r->batch) {
            *in = (struct scored_input){.hash = hash, .n = n, .nprefix = nprefix, .nrows = nrows};
            return in;
        }
        if (in->hash != hash || in->n != n || in->nprefix != nprefix || in->nrows != nrows) continue;
        if (memcmp(r->e->tokens + in->start, r->ids, (size_t)n * sizeof *r->ids) == 0 &&
            engine_wants_rows(r->e, in->at, in->start, r->rows, nrows))
            return in;
    }
}

/* Puts r->ids[n] with r->rows[nrows] into the batch, or more choices of the same. -1: it is full. */
static int64_t add_input(struct scoring *r, int64_t n, int64_t nprefix, int64_t nrows) {
    struct scored_input *in = find_input(r, n, nprefix, nrows);
    if (in->batch == r->batch) return engine_again(r->e, in->at, nrows);
    if (!engine_has_room(r->e, n, r->s->cfg)) return -1;
    in->batch = r->batch;
    in->start = r->e->n;
    in->at = engine_add(
        r->e, &(struct engine_sequence){
                  .ids = r->ids, .n = n, .prompt = r->prompt, .cfg = r->s->cfg, .rows = r->rows, .nrows = nrows});
    return in->at;
}

/* Adds r->ids[n] of an item with the rows of its tokens at r->rows[nrows] wanted, all with one weight; runs the batch
 * first when it is full. The positions become rows. */
static void submit(struct scoring *r, int64_t item, int64_t n, int64_t nrows, double weight) {
    const struct likelihood_item *it = &r->items[item];
    int32_t *targets = r->targets;
    for (int64_t i = 0; i < nrows; i++) {
        targets[i] = it->target[r->rows[i] - it->nprefix];
        r->rows[i] = engine_row_of(r->e, r->rows[i]);
    }
    int64_t at = add_input(r, n, it->nprefix, nrows);
    if (at < 0) {
        flush(r);
        at = add_input(r, n, it->nprefix, nrows);
    }
    BUG_ON(at < 0);
    for (int64_t i = 0; i < nrows; i++) {
        r->e->want[at + i] = (struct choose_row){.cfg = (float)r->s->cfg, .target = targets[i]};
        r->row[r->nrow++] = (struct scored_row){item, at + i, weight};
    }
}

/* ---- chain ---- */

static void chain(struct scoring *r, int64_t item) {
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

static void draw_masks(struct draws *d, const struct likelihood_settings *s, uint64_t sample, int64_t ntarget) {
    memset(d->bits, 0, (size_t)(d->n * d->words) * sizeof *d->bits);
#pragma omp parallel for if (d->n * ntarget > SMALL)
    for (int64_t i = 0; i < d->n; i++) {
        const int64_t batch = i / s->mc_batch, j = i % s->mc_batch;
        double t = rng_uniform(s->seed, RNG_MC_TIME, sample, (uint64_t)batch) + (double)j / (double)s->mc_batch;
        if (t >= 1) t -= 1;
        t = s->floor + (1 - s->floor) * t;
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

static void mc(struct scoring *r, int64_t item, struct draws *d) {
    const struct likelihood_item *it = &r->items[item];
    draw_masks(d, r->s, it->sample, it->ntarget);
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

/* Greedy decoding of a target as a sampler: a step writes the most confident open place of it, and a wrong value there
 * settles the item. */
struct greedy {
    const struct likelihood_item *item;
    struct likelihood_result *result;
};

static int64_t greedy_want(const struct sequence *s, int64_t *positions) {
    const struct likelihood_item *it = ((const struct greedy *)s->r->ctx)->item;
    int64_t n = 0;
    for (int64_t i = it->nprefix; i < it->nprefix + it->ntarget; i++)
        if (s->r->ids[i] == s->mask) positions[n++] = i;
    return n;
}

static void greedy_take(struct sequence *s, struct choice *choices, int64_t n) {
    const struct greedy *g = s->r->ctx;
    choose_sort(choices, n);
    if (choices[0].id == g->item->target[choices[0].position - g->item->nprefix]) {
        sampler_write(s, &choices[0]);
    } else {
        g->result->is_greedy = false;
        s->r->cancelled = true;
    }
}

static const struct sampler sampler_greedy = {.name = "greedy",
                                              .family = FAMILY_MDM,
                                              .confidence = CONFIDENCE_PROBABILITY,
                                              .want = greedy_want,
                                              .take = greedy_take};

/* What greedy decoding of the items needs. */
struct greedy_run {
    struct request *requests; /* [n] */
    struct greedy *about;     /* [n] */
    int32_t *ids;             /* of all, one after another */
    uint8_t *prompts;
    struct scheduler *scheduler;
};

static int greedy_open(struct greedy_run *g, const struct scoring *r, int64_t n, struct err *err) {
    int64_t total = 0;
    for (int64_t i = 0; i < n; i++) total += length_of(&r->items[i], r->s);
    g->requests = mem_alloc(n, sizeof *g->requests, "greedy decoding", err);
    g->about = mem_alloc(n, sizeof *g->about, "greedy decoding", err);
    g->ids = mem_alloc(total, sizeof *g->ids, "greedy decoding", err);
    g->prompts = mem_alloc(total, 1, "greedy decoding", err);
    if (!g->requests || !g->about || !g->ids || !g->prompts) return -1;
    return scheduler_open(&g->scheduler, r->e, SCHEDULER_STORES, err);
}

static int greedy_queue(struct greedy_run *g, struct scoring *r, int64_t n, struct err *err) {
    int64_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        const struct likelihood_item *it = &r->items[i];
        const int64_t length = lay_out(r, it);
        for (int64_t k = 0; k < it->ntarget; k++) r->ids[it->nprefix + k] = r->mask;
        memcpy(g->ids + at, r->ids, (size_t)length * sizeof *r->ids);
        memcpy(g->prompts + at, r->prompt, (size_t)length);
        g->about[i] = (struct greedy){it, &r->out[i]};
        g->requests[i] = (struct request){.sampler = &sampler_greedy,
                                          .ids = g->ids + at,
                                          .n = length,
                                          .room = length,
                                          .prompt = g->prompts + at,
                                          .steps = it->ntarget,
                                          .cfg = r->s->cfg,
                                          .ctx = &g->about[i]};
        if (scheduler_add(g->scheduler, &g->requests[i], err) < 0) return -1;
        at += length;
    }
    return 0;
}

static int greedy(struct scoring *r, int64_t n, struct err *err) {
    struct greedy_run g = {0};
    int status = greedy_open(&g, r, n, err);
    for (int64_t i = 0; i < n; i++) r->out[i].is_greedy = true;
    if (status == 0) status = greedy_queue(&g, r, n, err);
    if (status == 0) status = scheduler_run(g.scheduler, err);
    for (int64_t i = 0; i < n && status == 0; i++)
        if (g.requests[i].lost) r->out[i].is_greedy = false;
    scheduler_close(g.scheduler);
    mem_free(g.requests);
    mem_free(g.about);
    mem_free(g.ids);
    mem_free(g.prompts);
    return status;
}

/* ---- all ---- */

int likelihood_check(const struct engine *e, const struct likelihood_settings *s, struct err *err) {
    const bool is_arm = e->weights->config.family == FAMILY_ARM;
    if (is_arm && (s->cfg > 0 || s->pad > 0))
        return err_set(err, "guidance and padding belong to masked diffusion; this model is autoregressive");
    if (!is_arm && s->method == LIKELIHOOD_MC && (s->mc_batch < 1 || s->mc_draws < 1 || s->mc_draws % s->mc_batch))
        return err_set(err, "--mc %lld: expected a multiple of the %lld draws that share one stratified time",
                       (long long)s->mc_draws, (long long)s->mc_batch);
    return 0;
}

int likelihood_check_item(const struct engine *e, const struct likelihood_settings *s, const struct likelihood_item *it,
                          struct err *err) {
    const struct config *c = &e->weights->config;
    const bool is_arm = c->family == FAMILY_ARM;
    if (it->ntarget < 1) return err_set(err, "the target is empty: no token of it begins behind the prefix");
    if (is_arm && it->nprefix < 1)
        return err_set(err, "the prefix is empty: an autoregressive model needs a token to go on from");
    if (engine_check_length(e, length_of(it, s) - is_arm, "prefix and target", err) < 0) return -1;
    if (engine_check_ids(e, it->prefix, it->nprefix, "prefix", err) < 0) return -1;
    for (int64_t i = 0; i < it->ntarget; i++)
        if (it->target[i] < 0 || it->target[i] >= e->V || (!is_arm && it->target[i] == c->mask_id))
            return err_set(err, "target: token %lld is %d, which this model cannot write: its ids are 0 ... %lld",
                           (long long)i + 1, it->target[i], (long long)e->V - 1);
    return 0;
}

static int check(const struct engine *e, const struct likelihood_settings *s, const struct likelihood_item *items,
                 int64_t n, int64_t *longest, int64_t *longest_target, struct err *err) {
    *longest = *longest_target = 1;
    if (likelihood_check(e, s, err) < 0) return -1;
    for (int64_t i = 0; i < n; i++) {
        if (likelihood_check_item(e, s, &items[i], err) < 0) return err_prefix(err, "item %lld", (long long)i + 1);
        const int64_t length = length_of(&items[i], s);
        if (length > *longest) *longest = length;
        if (items[i].ntarget > *longest_target) *longest_target = items[i].ntarget;
    }
    return 0;
}

static int score(struct scoring *r, int64_t n, int64_t longest_target, struct err *err) {
    const bool is_mc = r->s->method == LIKELIHOOD_MC;
    struct draws d = {0};
    int status = is_mc ? draws_open(&d, r->s->mc_draws, longest_target, err) : 0;
    memset(r->out, 0, (size_t)n * sizeof *r->out);
    engine_begin(r->e);
    for (int64_t i = 0; i < n && status == 0; i++) {
        if (is_mc)
            mc(r, i, &d);
        else
            chain(r, i);
    }
    flush(r);
    draws_close(&d);
    return status == 0 && r->s->greedy ? greedy(r, n, err) : status;
}

int likelihood(struct engine *e, const struct likelihood_settings *s, const struct likelihood_item *items, int64_t n,
               struct likelihood_result *out, struct err *err) {
    int64_t longest = 1, longest_target = 1;
    if (check(e, s, items, n, &longest, &longest_target, err) < 0) return -1;
    if (e->weights->config.family == FAMILY_ARM) return likelihood_arm(e, s, items, n, out, err);
    struct scoring r = {
        .e = e, .s = s, .items = items, .out = out, .mask = (int32_t)e->weights->config.mask_id, .batch = 1};
    for (r.input_mask = 1; r.input_mask < 2 * e->set.max_rows; r.input_mask *= 2) {
    }
    r.input = mem_alloc(r.input_mask--, sizeof *r.input, "likelihood", err);
    r.row = mem_alloc(e->set.max_rows, sizeof *r.row, "likelihood", err);
    r.ids = mem_alloc(longest, sizeof *r.ids, "likelihood", err);
    r.prompt = mem_alloc(longest, sizeof *r.prompt, "likelihood", err);
    r.rows = mem_alloc(longest, sizeof *r.rows, "likelihood", err);
    r.targets = mem_alloc(longest, sizeof *r.targets, "likelihood", err);
    const bool ready = r.input && r.row && r.ids && r.prompt && r.rows && r.targets;
    const int status = ready ? score(&r, n, longest_target, err) : -1;
    mem_free(r.input);
    mem_free(r.row);
    mem_free(r.ids);
    mem_free(r.prompt);
    mem_free(r.rows);
    mem_free(r.targets);
    return status;
}
