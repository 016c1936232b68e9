/* objective: masks, targets and weights of both families. See the header; nothing here touches the network. */
#include "train/objective.h"

#include "base/err.h"
#include "base/mem.h"

int prepared_open(struct prepared *p, int64_t max_sequences, int64_t length, struct err *err) {
    *p = (struct prepared){.max_rows = max_sequences * length};
    p->tokens = mem_alloc(p->max_rows, sizeof *p->tokens, "micro-batch", err);
    p->targets = mem_alloc(p->max_rows, sizeof *p->targets, "micro-batch", err);
    p->wanted = mem_alloc(p->max_rows, sizeof *p->wanted, "micro-batch", err);
    p->weight = mem_alloc(p->max_rows, sizeof *p->weight, "micro-batch", err);
    p->starts = mem_alloc(max_sequences + 1, sizeof *p->starts, "micro-batch", err);
    if (!p->tokens || !p->targets || !p->wanted || !p->weight || !p->starts) {
        prepared_close(p);
        return -1;
    }
    prepared_clear(p);
    return 0;
}

void prepared_close(struct prepared *p) {
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
}

double objective_mean_length(int64_t length, double random_length) {
    return (double)length * (1 - random_length) + ((double)length + 1) / 2 * random_length;
}

int64_t objective_length(const struct objective *o, uint64_t number) {
    if (o->random_length <= 0 || rng_uniform(o->seed, RNG_LENGTH, number, 0) >= o->random_length) return o->length;
    return 1 + (int64_t)rng_below(o->seed, RNG_LENGTH, number, 1, (uint64_t)o->length);
}

static void add_mdm(const struct objective *o, struct prepared *p, const int32_t *block, uint64_t number, int64_t l) {
    const double t = rng_uniform(o->seed, o->time, number, 0);
    const double p_mask = (1 - OBJECTIVE_EPS) * t + OBJECTIVE_EPS;
    const float weight = (float)(1 / (p_mask * (double)l * (double)o->step_sequences));
    struct batch *b = &p->batch;
    for (int64_t i = 0; i < l; i++) {
        const bool masked = rng_uniform(o->seed, o->mask, number, (uint64_t)i) < p_mask;
        p->tokens[b->n + i] = masked ? o->mask_id : block[i];
        if (!masked) continue;
        p->targets[b->nwanted] = block[i];
        p->weight[b->nwanted] = weight;
        p->wanted[b->nwanted++] = b->n + i;
    }
    b->wanted = p->wanted;
}

static void add_arm(const struct objective *o, struct prepared *p, const int32_t *block, int64_t l) {
    const float weight = (float)(1 / ((double)l * (double)o->step_sequences));
    struct batch *b = &p->batch;
    for (int64_t i = 0; i < l; i++) {
        p->tokens[b->n + i] = block[i];
        p->targets[b->n + i] = block[i + 1];
        p->weight[b->n + i] = weight;
    }
}

void objective_add(const struct objective *o, struct prepared *p, const int32_t *block, uint64_t number) {
    const int64_t l = objective_length(o, number);
    BUG_ON(p->batch.n + l > p->max_rows);
    if (o->family == FAMILY_MDM)
        add_mdm(o, p, block, number, l);
    else
        add_arm(o, p, block, l);
    p->batch.n += l;
    p->starts[++p->batch.nseq] = p->batch.n;
}
