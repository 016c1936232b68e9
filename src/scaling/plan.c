/* plan: see plan.h. A step is gone through as train/trainer.c does it. */
#include "scaling/plan.h"

#include <math.h>

#include "base/err.h"
#include "base/num.h"
#include "base/mem.h"
#include "train/gradient.h"
#include "train/muon.h"
#include "train/scatter.h"

/* What a plan of R ranks is made of. */
struct planning {
    const struct trainer_settings *s;
    const struct params *p;
    const struct plan_machine *m;
    const struct plan_network *net;
    int ranks;
    int64_t leaves;
    struct plan *out;
};

/* ---- opening ---- */

/* An example of which an mdm predicts every other token, as it does on average, and an arm all. */
static int example_flops(struct planner *p, struct err *err) {
    const struct config *c = &p->weights.config;
    const int64_t every = c->family == FAMILY_MDM ? 2 : 1, n = divide_up(p->length, every);
    int64_t *wanted = mem_alloc(n, sizeof *wanted, "rows", err), starts[2] = {0, p->length};
    if (!wanted) return -1;
    for (int64_t i = 0; i < n; i++) wanted[i] = i * every;
    const struct batch b = {.starts = starts, .wanted = wanted, .n = p->length, .nseq = 1, .nwanted = n};
    p->head_flops = 6.0 * (double)n * (double)c->padded_vocab_size * (double)c->n_embd;
    p->layer_flops = transformer_train_flops(&p->weights, &b) - p->head_flops;
    mem_free(wanted);
    return 0;
}

int planner_open(struct planner *p, const struct trainer_settings *s, int64_t length, struct err *err) {
    *p = (struct planner){.s = s, .length = length};
    if (weights_flat(&p->weights, &s->config, NULL, err) < 0) return -1;
    if (s->shard != SHARD_NONE) sharded_types(&p->weights, s->precision);
    p->visits = mem_alloc(2 * params_parts(&p->weights.params) + 2, sizeof *p->visits, "the list of parts", err);
    return !p->visits ? -1 : example_flops(p, err);
}

void planner_close(struct planner *p) {
    weights_free(&p->weights);
    mem_free(p->visits);
}

/* ---- single costs ---- */

/* Seconds of `times` exchanges in which a rank sends `bytes` in all, on the mean, and the one that sends or gets most
 * `most`; they are counted. */
static double uneven_exchange(const struct planning *g, int64_t times, double bytes, double most) {
    if (g->ranks == 1) return 0;
    const double others = g->ranks - 1, trips = most / (double)times > PLAN_EAGER * others ? 3 : 1;
    const double seconds =
        (double)times * (trips * g->net->latency + others * g->net->overhead) + most / g->net->bytes_per_s;
    g->out->traffic.exchanges += times;
    g->out->traffic.bytes += bytes;
    g->out->traffic.seconds += seconds;
    return seconds;
}

static double exchange(const struct planning *g, int64_t times, double bytes) {
    return uneven_exchange(g, times, bytes, bytes);
}

/* An exchange of a few bytes with each other rank, as all agree on something. */
static double word(const struct planning *g, double bytes) {
    return exchange(g, 1, bytes * (g->ranks - 1));
}

/* Seconds of going through so many bytes of memory. */
static double through(const struct planning *g, double bytes) {
    return bytes / g->m->bytes_per_s;
}

/* The part of `n` that comes from, or goes to, other ranks. */
static double others(const struct planning *g, double n) {
    return n * (g->ranks - 1) / g->ranks;
}

static double floats(const struct planning *g, int part) {
    return (double)params_part(g->p, part).floats;
}

static bool narrow(const struct planning *g, int part) {
    return part > 0 && g->s->precision == DTYPE_BF16; /* rows of the embedding are read as they are */
}

static double vectors(const struct planning *g, int part) {
    const struct param_part of = params_part(g->p, part);
    double n = 0;
    for (int i = of.first; i < of.first + of.count; i++) n += g->p->v[i].cols == 1 ? (double)g->p->v[i].rows : 0;
    return n;
}

/* A part's weights to all, as sharded.c does. */
static double gather(const struct planning *g, int part) {
    const double size = narrow(g, part) ? 2 : 4;
    const double seconds = exchange(g, 1, others(g, size * floats(g, part)));
    return seconds + (narrow(g, part) ? exchange(g, 1, others(g, 4 * vectors(g, part))) : 0);
}

/* Of a number of the gradient on its way. */
static double gradient_size(const struct planning *g) {
    return (double)dtype_size(g->s->wire);
}

/* A part's gradient to those that have its slices in their charge, and their sums: each rank goes through what arrives. */
static double scatter(const struct planning *g, int part) {
    const double seconds =
        exchange(g, scatter_exchanges(g->p, part, g->ranks), others(g, gradient_size(g) * floats(g, part)));
    return g->ranks == 1 ? 0 : seconds + through(g, 12 * floats(g, part));
}

/* Bytes that a number costs: AdamW's step; of Muon's, to make its moment, to make what is then made orthogonal, to step the
 * weight. */
enum { ADAMW = 28, MUON_MOMENT = 20, MUON_UPDATE = 28, MUON_WEIGHT = 20 };

/* What the matrices of a round are, and the largest of them. */
struct plan_round {
    double sent, most_sent, flops, numbers;
};

static void add_to_round(struct plan_round *r, const struct planning *g, const struct param *q, int rank) {
    const int64_t size = q->rows * q->cols;
    const double own = (double)shards_cut(g->p, q->part, g->ranks, rank, q->offset, q->offset + size).n;
    const double sent = 4 * (g->s->shard == SHARD_NONE ? (double)size * (g->ranks - 1) : (double)size - own);
    r->sent += sent;
    r->most_sent = fmax(r->most_sent, sent);
    r->flops = fmax(r->flops, muon_flops(q->rows, q->cols));
    r->numbers = fmax(r->numbers, (double)size);
}

/* Muon's matrices, in rounds, each of which takes as long as its largest. Returns how many numbers of them a rank keeps,
 * on the mean. */
static double step_of_muon(const struct planning *g, double *wire, double *memory) {
    const bool whole = g->s->shard == SHARD_NONE;
    struct plan_round round = {0};
    double all = 0, made = 0;
    int n = 0, count = 0;
    for (int i = 0; i < g->p->count; i++) count += muon_takes(&g->p->v[i]) ? 1 : 0;
    for (int i = 0; i < g->p->count; i++) {
        const struct param *q = &g->p->v[i];
        if (!muon_takes(q)) continue;
        all += (double)(q->rows * q->cols);
        add_to_round(&round, g, q, n % g->ranks);
        if (++n % g->ranks != 0 && n < count) continue;
        for (int k = 0; k < (whole ? 1 : 2); k++)
            *wire += uneven_exchange(g, 1, round.sent / g->ranks, round.most_sent);
        g->out->compute += round.flops / g->m->muon_flops_per_s;
        made += round.numbers;
        round = (struct plan_round){0};
    }
    const double kept = whole ? all : all / g->ranks;
    *memory += through(g, MUON_MOMENT * kept + (MUON_UPDATE + MUON_WEIGHT) * (whole ? made : kept));
    return kept;
}

/* Sums over all ranks of what a step counts, of the gradient's squares; and the optimizer's step. Returns its seconds. */
static double end_of_step(const struct planning *g) {
    const double all = (double)g->p->total, passes = g->out->compute;
    double adamw = g->s->shard == SHARD_NONE ? all : all / g->ranks, wire = 0, memory = 0;
    int64_t pieces = 0;
    for (int part = 0; part < params_parts(g->p); part++)
        pieces += divide_up(params_part(g->p, part).floats, SHARDS_PIECE);
    wire += word(g, 8) + word(g, 8);
    wire += exchange(g, 1, others(g, 8 * (double)pieces));
    if (g->s->muon) adamw -= step_of_muon(g, &wire, &memory);
    memory += through(g, 4 * all / g->ranks + ADAMW * adamw);
    g->out->passes_memory += memory;
    return wire + memory + g->out->compute - passes;
}

/* ---- a step of `none` and `optimizer` ---- */

static int blocks_of_all(const struct planning *g, double *mean) {
    struct tree_block b[TREE_DEPTH];
    int n = 0;
    for (int r = 0; r < g->ranks; r++) n += tree_blocks(b, g->leaves, g->ranks, r);
    *mean = (double)n / g->ranks;
    return n;
}

/* The gradient's way: zeroed and added for each leaf, added up over the ranks, and back. */
static void whole_step(const struct planning *g) {
    const double all = (double)g->p->total, narrow_weights = g->s->precision == DTYPE_BF16;
    const int64_t own = g->leaves - tree_share(g->leaves, g->ranks, g->ranks - 1);
    double mean, wire = 0, memory = through(g, 4 * all * (double)own + 6 * all * narrow_weights);
    const int blocks = blocks_of_all(g, &mean);
    memory += through(g, 12 * all * ((double)own - mean));
    if (g->ranks > 1) {
        wire += word(g, 4) + word(g, 8 * mean);
        memory += through(g, (12 * (blocks - 1) + 8) * all / g->ranks);
        for (int part = 0; part < params_parts(g->p); part++)
            wire += exchange(g, tree_exchanges(g->leaves, g->ranks, shards_longest(g->p, part, g->ranks)),
                             others(g, gradient_size(g) * mean * floats(g, part)));
    }
    g->out->passes_memory += memory;
    g->out->step = g->out->compute + memory;
    g->out->step += end_of_step(g);
    for (int part = 0; part < params_parts(g->p) && g->ranks > 1; part++)
        wire += g->s->shard == SHARD_OPTIMIZER
                    ? gather(g, part)
                    : exchange(g, gradient_exchanges(g->p, part, g->leaves, g->s->wire, g->ranks),
                               others(g, gradient_size(g) * floats(g, part)));
    g->out->step += wire;
}

/* ---- a step of `full` ---- */

/* Two hands: the one computes, the other (comm/behind.h) does one job after another. */
struct hands {
    double computes, carries; /* seconds from the step's begin until each is free */
    int places;
    int64_t clock;
    struct {
        int part; /* -1: none */
        int64_t used;
        double there; /* when its weights are */
    } image[SHARDED_PLACES];
    double gone[SHARDED_PLACES]; /* when the gradient of each place is */
};

/* The image of a part; fetched unless it is there. As sharded.c chooses: `busy` parts stay. */
static int fetch(const struct planning *g, struct hands *h, int part, const int busy[2]) {
    int oldest = -1;
    for (int i = 0; i < h->places; i++)
        if (h->image[i].part == part) return i;
    for (int i = 0; i < h->places; i++) {
        const bool held = h->image[i].part >= 0 && (h->image[i].part == busy[0] || h->image[i].part == busy[1]);
        if (!held && (oldest < 0 || h->image[i].used < h->image[oldest].used)) oldest = i;
    }
    BUG_ON(oldest < 0);
    h->carries = fmax(h->carries, h->computes) + gather(g, part);
    h->image[oldest].part = part;
    h->image[oldest].used = ++h->clock;
    h->image[oldest].there = h->carries;
    return oldest;
}

/* One visit: its weights are waited for while those of the next are on their way. */
static void enter(const struct planning *g, struct hands *h, const struct sharded_visit *v, int left, int held) {
    const int busy[2] = {v->part, held};
    if (!(v->uses & PART_WEIGHTS)) return;
    const int i = fetch(g, h, v->part, busy);
    h->image[i].used = ++h->clock;
    if (left > 1 && v[1].uses & PART_WEIGHTS) fetch(g, h, v[1].part, busy);
    h->computes = fmax(h->computes, h->image[i].there);
}

/* How long a computation of so many seconds takes, some of it while the other hand carries. (One that ends before the other
 * hand does waits for it in the end: that it is done sooner changes nothing.) */
static double beside(const struct planning *g, const struct hands *h, double seconds) {
    return seconds + g->net->lost * fmax(h->carries - h->computes, 0);
}

/* What is computed with a part, and its gradient's going. */
static void use(const struct planning *g, struct hands *h, const struct sharded_visit *v, double flops, bool stays) {
    double memory = narrow(g, v->part) && v->uses & PART_WEIGHTS ? through(g, 4 * floats(g, v->part)) : 0;
    int i = 0;
    if (v->uses & PART_GRADIENT) {
        memory += through(g, 4 * floats(g, v->part));
        for (int k = 1; k < h->places; k++) i = h->gone[k] < h->gone[i] ? k : i;
        h->computes = fmax(h->computes, h->gone[i]);
    }
    g->out->passes_memory += memory;
    h->computes += beside(g, h, flops / g->m->flops_per_s + memory);
    if (!(v->uses & PART_GRADIENT) || stays) return;
    h->carries = fmax(h->carries, h->computes) + scatter(g, v->part);
    h->gone[i] = h->carries;
}

/* FLOPs of a visit by a rank with so many examples. */
static double visit_flops(const struct planner *p, const struct sharded_visit *v, bool recompute, double examples) {
    const double layer = p->layer_flops / (double)p->weights.params.layers / 3;
    if (v->part == 0) return 0;
    if (v->part > p->weights.params.layers) return p->head_flops * examples;
    return layer * examples * (v->uses & PART_GRADIENT ? 2 + recompute : 1);
}

static void one_pass(const struct planning *g, const struct planner *p, struct hands *h, double examples) {
    const bool tied = g->s->config.tied_head;
    const int n = sharded_visits(p->visits, params_parts(g->p), tied);
    const struct sharded_visit *v = p->visits;
    for (int k = 0; k < n; k++) {
        const bool with_head = tied && k + 1 < n && v[k].part == 0 && v[k + 1].part == params_parts(g->p) - 1;
        const bool after_it = tied && k > 0 && v[k].part == params_parts(g->p) - 1;
        enter(g, h, &v[k], n - k, after_it ? 0 : -1);
        use(g, h, &v[k], visit_flops(p, &v[k], g->out->memory.recompute, examples), with_head);
    }
    h->computes = fmax(h->computes, h->carries); /* the pass ends when all is there */
}

/* All go through a pass together, so it takes as long as its largest leaf. */
static int64_t pass_examples(const struct planning *g, int64_t pass) {
    int64_t most = 0;
    for (int64_t leaf = pass * g->ranks; leaf < min64((pass + 1) * g->ranks, g->leaves); leaf++)
        most = max64(most, (leaf + 1) * g->s->batch / g->leaves - leaf * g->s->batch / g->leaves);
    return most;
}

static void full_step(const struct planning *g, const struct planner *p) {
    struct hands h = {.places = sharded_places(g->s->config.tied_head)};
    for (int i = 0; i < SHARDED_PLACES; i++) h.image[i].part = -1;
    for (int64_t pass = 0; pass < g->out->passes; pass++) {
        h.computes += word(g, 4);
        h.carries = h.computes;
        one_pass(g, p, &h, (double)pass_examples(g, pass));
        h.computes += word(g, 8);
    }
    g->out->step = h.computes + end_of_step(g);
}

/* ---- a plan ---- */

int planner_ranks(struct plan *out, const struct planner *p, int ranks, const struct plan_machine *m,
                  const struct plan_network *net, int64_t memory, struct err *err) {
    const struct trainer_settings *s = p->s;
    struct planning g = {.s = s, .p = &p->weights.params, .m = m, .net = net, .ranks = ranks, .out = out};
    *out = (struct plan){.ranks = ranks};
    if (reserve_memory(&out->memory, s, &p->weights, p->length, ranks, reserve_neediest(s, &p->weights, ranks), memory,
                       err) < 0)
        return -1;
    g.leaves = out->memory.leaves;
    const double flops = p->layer_flops * (1 + out->memory.recompute / 3.) + p->head_flops;
    if (s->shard == SHARD_FULL) {
        int64_t examples = 0;
        out->passes = divide_up(g.leaves, ranks);
        out->sequences = divide_up(s->batch, g.leaves);
        for (int64_t pass = 0; pass < out->passes; pass++) examples += pass_examples(&g, pass);
        out->compute = (double)examples * flops / m->flops_per_s;
        full_step(&g, p);
    } else {
        const int64_t examples = s->batch - tree_share(g.leaves, ranks, ranks - 1) * s->batch / g.leaves;
        out->passes = divide_up(examples, out->memory.micro);
        out->sequences = min64(examples, out->memory.micro);
        out->compute = (double)examples * flops / m->flops_per_s;
        whole_step(&g);
    }
    const double hidden = out->compute + out->passes_memory + out->traffic.seconds - out->step;
    out->hidden = hidden > 1e-9 * out->step ? hidden : 0; /* sums are rounded */
    out->efficiency = (double)s->batch * (p->layer_flops + p->head_flops) / m->flops_per_s / ranks / out->step;
    return 0;
}
