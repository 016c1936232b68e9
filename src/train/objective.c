/* objective: masks, targets and weights of both families. See the header; nothing here touches the network. */
#include "train/objective.h"

#include <math.h>

#include "base/err.h"
#include "base/mem.h"

int objective_check(const struct objective *o, struct err *err) {
    if (o->family == FAMILY_ARM && (o->strata > 0 || o->complementary || o->bell > 0 || o->flatten > 0))
        return err_set(err,
                       "--stratified, --complementary, --bell (part of --recipe fast) and --flatten are for models "
                       "of family mdm; this one is arm");
    return 0;
}

int64_t objective_rows(enum family family, const struct source *s) {
    return s->longest - (family == FAMILY_ARM); /* the last id of an ARM's example is only a target */
}

int prepared_open(struct prepared *p, enum family family, const struct source *s, int64_t max_examples,
                  struct err *err) {
    *p = (struct prepared){.max_rows = max_examples * objective_rows(family, s)};
    p->ids = mem_alloc(s->longest, sizeof *p->ids, "example", err);
    p->tokens = mem_alloc(p->max_rows, sizeof *p->tokens, "micro-batch", err);
    p->targets = mem_alloc(p->max_rows, sizeof *p->targets, "micro-batch", err);
    p->wanted = mem_alloc(p->max_rows, sizeof *p->wanted, "micro-batch", err);
    p->weight = mem_alloc(p->max_rows, sizeof *p->weight, "micro-batch", err);
    p->starts = mem_alloc(max_examples + 1, sizeof *p->starts, "micro-batch", err);
    if (!p->ids || !p->tokens || !p->targets || !p->wanted || !p->weight || !p->starts) {
        prepared_close(p);
        return -1;
    }
    prepared_clear(p);
    return 0;
}

void prepared_close(struct prepared *p) {
    mem_free(p->ids);
    mem_free(p->tokens);
    mem_free(p->targets);
    mem_free(p->wanted);
    mem_free(p->weight);
    mem_free(p->starts);
    *p = (struct prepared){0};
}

void prepared_clear(struct prepared *p) {
    p->batch = (struct batch){.tokens = p->tokens, .starts = p->starts};
    p->starts[0] = 0;
    p->group.number = -1;
}

double objective_mean_length(int64_t length, double random_length) {
    return (double)length * (1 - random_length) + ((double)length + 1) / 2 * random_length;
}

/* The published code cuts whole micro-batches; cutting single examples has the same expectation, and batches are ragged
 * anyway. */
static void cut(const struct objective *o, struct example *e, int64_t number) {
    if (o->complementary) number /= 2; /* both of a pair */
    const int64_t last = o->family == FAMILY_ARM, rows = e->n - last;
    if (o->random_length <= 0 || e->prompt > 0) return;
    if (rng_uniform(o->seed, RNG_LENGTH, (uint64_t)number, 0) >= o->random_length) return;
    e->n = 1 + (int64_t)rng_below(o->seed, RNG_LENGTH, (uint64_t)number, 1, (uint64_t)rows) + last;
}

static int read_example(const struct objective *o, const struct source *s, int64_t number, int32_t *ids,
                        struct example *e, struct err *err) {
    if (s->read(s->context, number, ids, e, err) < 0) return -1;
    BUG_ON(e->n > s->longest || e->prompt < 0 || e->prompt >= e->n || e->n - (o->family == FAMILY_ARM) < 1);
    cut(o, e, number);
    return 0;
}

/* Nothing predicts the first id of an ARM's example, prompt or not. */
static int64_t first_predicted(const struct objective *o, const struct example *e) {
    return o->family == FAMILY_ARM && e->prompt == 0 ? 1 : e->prompt;
}

/* What the group has to predict, and its longest example. */
static int measure_group(const struct objective *o, struct prepared *p, const struct source *s, int64_t group,
                         struct err *err) {
    int64_t ids = 0, given = 0, longest = 0;
    for (int64_t i = group * s->group; i < (group + 1) * s->group; i++) {
        struct example e;
        if (read_example(o, s, i, NULL, &e, err) < 0) return -1;
        ids += e.n;
        given += first_predicted(o, &e);
        if (e.n > longest) longest = e.n;
    }
    p->group.number = group;
    p->group.longest = longest;
    p->group.predicted = (double)((o->family == FAMILY_MDM ? s->group * longest : ids) - given);
    return 0;
}

/* t of a draw, or of a pair of draws. */
static double time_of(const struct objective *o, uint64_t draw) {
    double u = rng_uniform(o->seed, o->time, draw, 0);
    const uint64_t strata = (uint64_t)(o->complementary ? o->strata / 2 : o->strata);
    if (strata > 0) {
        const uint64_t stratum = rng_permute(draw % strata, strata, o->seed, RNG_STRATUM, draw / strata);
        u = ((double)stratum + u) / (double)strata;
    }
    if (o->bell > 0) u += o->bell * (acos(1 - 2 * u) / M_PI - u);
    return u;
}

/* What divides the loss of a token that was masked with probability p: p^(1 − flatten) times the mean of p^flatten. */
static double divisor_of(const struct objective *o, double p) {
    const double a = 1 + o->flatten;
    return pow(p, 1 - o->flatten) * ((1 - pow(OBJECTIVE_EPS, a)) / (a * (1 - OBJECTIVE_EPS)));
}

static void add_mdm(const struct objective *o, struct prepared *p, const struct example *e, uint64_t number) {
    const uint64_t draw = o->complementary ? number / 2 : number;
    const bool turned = o->complementary && number % 2;
    const double u = time_of(o, draw), t = turned ? 1 - u : u;
    const double p_mask = (1 - OBJECTIVE_EPS) * t + OBJECTIVE_EPS;
    const float weight = (float)(1 / (divisor_of(o, p_mask) * p->group.predicted * (double)o->step_groups));
    const bool drop = o->drop > 0 && rng_uniform(o->seed, RNG_DROP, (uint64_t)p->group.number, 0) < o->drop;
    struct batch *b = &p->batch;
    for (int64_t i = 0; i < e->n; i++) {
        const double v = rng_uniform(o->seed, o->mask, draw, (uint64_t)i);
        const bool masked = i >= e->prompt && (turned ? 1 - v : v) < p_mask;
        p->tokens[b->n + i] = masked || (drop && i < e->prompt) ? o->mask_id : p->ids[i];
        if (!masked) continue;
        p->targets[b->nwanted] = p->ids[i];
        p->weight[b->nwanted] = weight;
        p->wanted[b->nwanted++] = b->n + i;
    }
    b->n += e->n;
    b->wanted = p->wanted;
}

static void add_arm(const struct objective *o, struct prepared *p, const struct example *e) {
    const float weight = (float)(1 / (p->group.predicted * (double)o->step_groups));
    struct batch *b = &p->batch;
    for (int64_t i = 0; i + 1 < e->n; i++) {
        p->tokens[b->n + i] = p->ids[i];
        if (i + 1 < e->prompt) continue;
        p->targets[b->nwanted] = p->ids[i + 1];
        p->weight[b->nwanted] = weight;
        p->wanted[b->nwanted++] = b->n + i;
    }
    b->n += e->n - 1;
    b->wanted = b->nwanted < b->n ? p->wanted : NULL;
}

int objective_add(const struct objective *o, struct prepared *p, const struct source *s, int64_t number, uint64_t draw,
                  struct err *err) {
    struct example e;
    const int64_t group = number / s->group;
    if (read_example(o, s, number, p->ids, &e, err) < 0) return -1;
    if (group != p->group.number && measure_group(o, p, s, group, err) < 0) return -1;
    BUG_ON(p->batch.n + p->group.longest - (o->family == FAMILY_ARM) > p->max_rows);
    if (o->family == FAMILY_MDM) {
        while (e.n < p->group.longest) p->ids[e.n++] = s->pad;
        add_mdm(o, p, &e, draw);
    } else {
        add_arm(o, p, &e);
    }
    p->starts[++p->batch.nseq] = p->batch.n;
    return 0;
}
