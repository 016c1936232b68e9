/* pace: the first pass creates primitives and is not counted; then passes until a second has gone by, the best counts,
 * as others may use the machine too. */
#include "train/pace.h"

#include <math.h>

#include "base/mem.h"
#include "base/progress.h"
#include "train/objective.h"
#include "train/trainer.h"

static int read_random(void *context, int64_t number, int32_t *ids, struct example *e, struct err *err) {
    const int64_t *of = context; /* length, vocabulary */
    (void)err;
    *e = (struct example){.n = of[0]};
    for (int64_t i = 0; ids && i < e->n; i++)
        ids[i] = (int32_t)rng_below(1, RNG_TIME, (uint64_t)number, (uint64_t)i, (uint64_t)of[1]);
    return 0;
}

struct pace {
    struct params params;
    struct weights weights;
    struct transformer *model;
    struct prepared prepared;
    float *flat, *grad;
};

static int open_pace(struct pace *p, const struct config *c, enum dtype precision, const struct source *source,
                     int64_t micro, struct err *err) {
    const struct transformer_settings s = {
        .precision = precision, .max_rows = objective_rows(c->family, source) * micro, .training = true};
    if (params_init(&p->params, c, err) < 0) return -1;
    p->flat = mem_alloc(p->params.total, sizeof(float), "weights", err);
    p->grad = mem_alloc(p->params.total, sizeof(float), "gradient", err);
    if (!p->flat || !p->grad) return -1;
    params_random(p->flat, &p->params, 1);
    if (weights_flat(&p->weights, c, p->flat, err) < 0 || transformer_open(&p->model, &p->weights, &s, err) < 0)
        return -1;
    return prepared_open(&p->prepared, c->family, source, micro, err);
}

static void close_pace(struct pace *p) {
    transformer_close(p->model);
    weights_free(&p->weights);
    prepared_close(&p->prepared);
    params_free(&p->params);
    mem_free(p->flat);
    mem_free(p->grad);
}

double pace_of_training(const struct config *c, enum dtype precision, int64_t length, int64_t batch, struct err *err) {
    int64_t of[2] = {length + (c->family == FAMILY_ARM), c->vocab_size};
    const struct source source = {.context = of, .read = read_random, .longest = of[0], .group = 1};
    const int64_t micro = trainer_micro_batch(batch, length);
    const struct objective o = {
        .family = c->family, .mask_id = (int32_t)c->mask_id, .step_groups = micro, .time = RNG_TIME, .mask = RNG_MASK};
    struct pace p = {{0}};
    double best = 0, spent = 0;
    int r = open_pace(&p, c, precision, &source, micro, err);
    for (int64_t k = 0; r == 0 && (k < 2 || spent < 1); k++) {
        prepared_clear(&p.prepared);
        for (int64_t i = k * micro; r == 0 && i < (k + 1) * micro; i++)
            r = objective_add(&o, &p.prepared, &source, i, (uint64_t)i, err);
        if (r < 0) break;
        const double began = clock_seconds();
        transformer_train(p.model, &p.prepared.batch, p.prepared.targets, p.prepared.weight, p.grad);
        const double took = clock_seconds() - began;
        if (k == 0) continue;
        spent += took;
        best = fmax(best, (double)p.prepared.batch.n / took);
    }
    close_pace(&p);
    return r < 0 ? -1 : best;
}
