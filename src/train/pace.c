/* pace: the first pass creates primitives and is not counted; then passes until a second has gone by, the best counts,
 * as others may use the machine too. */
#include "train/pace.h"

#include <math.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/progress.h"
#include "comm/comm.h"
#include "train/objective.h"
#include "train/optimizer.h"
#include "train/reserve.h"

static int read_random(void *context, int64_t number, int32_t *ids, struct example *e, struct err *err) {
    const int64_t *of = context; /* length, vocabulary */
    (void)err;
    *e = (struct example){.n = of[0]};
    for (int64_t i = 0; ids && i < e->n; i++)
        ids[i] = (int32_t)rng_below(1, RNG_TIME, (uint64_t)number, (uint64_t)i, (uint64_t)of[1]);
    return 0;
}

struct pacing {
    struct params params;
    struct weights weights;
    struct transformer *model;
    struct prepared prepared;
    float *flat, *grad;
};

static int open_pace(struct pacing *p, const struct config *c, enum dtype precision, const struct source *source,
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

static void close_pace(struct pacing *p) {
    transformer_close(p->model);
    weights_free(&p->weights);
    prepared_close(&p->prepared);
    params_free(&p->params);
    mem_free(p->flat);
    mem_free(p->grad);
}

int pace_of_training(struct pace *pace, const struct config *c, enum dtype precision, int64_t length, int64_t batch,
                     struct err *err) {
    int64_t of[2] = {length + (c->family == FAMILY_ARM), c->vocab_size};
    const struct source source = {.context = of, .read = read_random, .longest = of[0], .group = 1};
    const int64_t micro = reserve_micro_batch(batch, length);
    const struct objective o = {
        .family = c->family, .mask_id = (int32_t)c->mask_id, .step_groups = micro, .time = RNG_TIME, .mask = RNG_MASK};
    struct pacing p = {{0}};
    double spent = 0;
    int r = open_pace(&p, c, precision, &source, micro, err);
    *pace = (struct pace){.sequences = micro};
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
        pace->tokens_per_s = fmax(pace->tokens_per_s, (double)p.prepared.batch.n / took);
        pace->flops_per_s = fmax(pace->flops_per_s, transformer_train_flops(&p.weights, &p.prepared.batch) / took);
    }
    close_pace(&p);
    return r;
}

int pace_of_shape(struct pace *pace, const struct config *c, enum dtype precision, int64_t length, int64_t sequences,
                  struct err *err) {
    enum { ROWS = 2048 };
    struct config few = *c;
    few.n_layer = min64(c->n_layer, 2);
    return pace_of_training(pace, &few, precision, length, min64(sequences, divide_up(ROWS, length)), err);
}

double pace_of_memory(struct err *err) {
    const int64_t n = 1 << 25; /* 512 MiB in four arrays: no cache holds them */
    float *v = mem_alloc(4 * n, sizeof *v, "a measurement", err);
    if (!v) return -1;
    const struct optimizer o = {.beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .m = v + n, .v = v + 2 * n, .n = n};
    double best = 0, spent = 0;
    for (int64_t k = 0; k < 3 || spent < 0.3; k++) {
        const double began = clock_seconds();
        optimizer_step(&o, v, v + 3 * n, 1, 1e-3, k + 1);
        const double took = clock_seconds() - began;
        spent += took;
        best = fmax(best, 7.0 * sizeof(float) * (double)n / took);
    }
    mem_free(v);
    return best;
}

/* A piece of each rank's to each other; returns the mean seconds of `times`, after one that is not counted. */
static double exchanges(char *out, char *in, int64_t bytes, int times) {
    struct comm_piece to[COMM_RANKS], from[COMM_RANKS];
    double began = 0;
    for (int k = 0; k <= times; k++) {
        if (k == 1) began = clock_seconds();
        for (int r = 0; r < comm_size(); r++) {
            const int64_t n = r == comm_rank() ? 0 : bytes;
            to[r] = (struct comm_piece){out, n};
            from[r] = (struct comm_piece){in + r * bytes, n};
        }
        comm_exchange(to, from);
    }
    return (clock_seconds() - began) / times;
}

int pace_of_network(double *word, double *bytes_per_s, struct err *err) {
    enum { ALL = 1 << 26, TIMES = 10, WORDS = 100 };
    const int others = comm_size() - 1;
    const int64_t piece = ALL / others;
    char *out = mem_alloc(piece, 1, "a measurement", err), *in = mem_alloc(piece, (size_t)comm_size(), "it", err);
    const int r = comm_settle(out && in ? 0 : -1, err);
    if (r == 0) {
        *word = exchanges(out, in, sizeof(double), WORDS);
        *bytes_per_s = (double)(piece * others) / exchanges(out, in, piece, TIMES);
    }
    mem_free(out);
    mem_free(in);
    return r;
}
