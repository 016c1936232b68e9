/* pace: the first pass creates primitives and is not counted; then passes until a second has gone by. */
#include "train/pace.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/progress.h"
#include "comm/comm.h"
#include "train/muon.h"
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

/* A source of random examples for c, which is read as long as `of` lives. */
static struct source random_source(int64_t of[2], const struct config *c, int64_t length) {
    of[0] = length + (c->family == FAMILY_ARM);
    of[1] = c->vocab_size;
    return (struct source){.context = of, .read = read_random, .longest = of[0], .group = 1};
}

/* Seconds of the k-th forward and backward pass; -1 with err. */
static double train_once(struct pacing *p, const struct config *c, const struct source *source, int64_t k,
                         int64_t micro, struct err *err) {
    const struct objective o = {
        .family = c->family, .mask_id = (int32_t)c->mask_id, .step_groups = micro, .time = RNG_TIME, .mask = RNG_MASK};
    prepared_clear(&p->prepared);
    for (int64_t i = k * micro; i < (k + 1) * micro; i++)
        if (objective_add(&o, &p->prepared, source, i, (uint64_t)i, err) < 0) return -1;
    const double began = clock_seconds();
    transformer_train(p->model, &p->prepared.batch, p->prepared.targets, p->prepared.weight, p->grad);
    return clock_seconds() - began;
}

int pace_of_training(struct pace *pace, const struct config *c, enum dtype precision, int64_t length, int64_t batch,
                     struct err *err) {
    int64_t of[2];
    const struct source source = random_source(of, c, length);
    const int64_t micro = reserve_micro_batch(batch, length);
    struct pacing p = {{0}};
    double spent = 0, tokens = 0;
    int r = open_pace(&p, c, precision, &source, micro, err);
    *pace = (struct pace){.sequences = micro};
    for (int64_t k = 0; r == 0 && (k < 2 || spent < 1); k++) {
        const double took = train_once(&p, c, &source, k, micro, err);
        if (took < 0) r = -1;
        if (r < 0 || k == 0) continue;
        spent += took;
        tokens += (double)p.prepared.batch.n;
        pace->flops_per_s = fmax(pace->flops_per_s, transformer_train_flops(&p.weights, &p.prepared.batch) / took);
    }
    if (r == 0) pace->tokens_per_s = tokens / spent;
    close_pace(&p);
    return r;
}

/* What is trained for a moment instead of all of c, and how many sequences of a pass: no more rows than tell its rate. */
static struct config part_of(const struct config *c, int64_t length, int64_t *sequences) {
    enum { ROWS = 2048 };
    struct config few = *c;
    few.n_layer = min64(c->n_layer, 2);
    *sequences = min64(*sequences, divide_up(ROWS, length));
    return few;
}

int pace_of_shape(struct pace *pace, const struct config *c, enum dtype precision, int64_t length, int64_t sequences,
                  struct err *err) {
    const struct config few = part_of(c, length, &sequences);
    return pace_of_training(pace, &few, precision, length, sequences, err);
}

/* Over as many rounds of its matrices as take a moment. u is random: of zeros nothing could be told. */
static double rate_of_muon(const struct muon *muon) {
    double flops = 0, spent = 0;
    while (spent < 0.3)
        for (int k = 0; k < muon->count; k++) {
            const struct muon_matrix *a = &muon->v[k];
            for (int64_t i = 0; i < a->rows * a->cols; i++)
                muon->x[i] = (float)rng_uniform(1, RNG_TIME, (uint64_t)k, (uint64_t)i) - 0.5f;
            const double began = clock_seconds();
            muon_orthogonal(muon, a);
            spent += clock_seconds() - began;
            flops += muon_flops(a->rows, a->cols);
        }
    return flops / spent;
}

double pace_of_muon(const struct config *c, struct err *err) {
    struct config one = *c;
    struct params p;
    struct muon muon = {0};
    double rate = -1;
    one.n_layer = 1;
    if (params_init(&p, &one, err) < 0) return -1;
    const struct shards alone = {.params = &p, .whole = true, .ranks = 1};
    if (muon_open(&muon, &alone, 0, err) == 0) rate = rate_of_muon(&muon);
    muon_close(&muon);
    params_free(&p);
    return rate;
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

/* What each rank has for each other, and where theirs goes. */
struct parcels {
    char *out, *in;
    int64_t bytes;      /* of one */
    atomic_bool enough; /* of this rank */
};

static int open_parcels(struct parcels *p, int64_t bytes, struct err *err) {
    *p = (struct parcels){.out = mem_alloc(bytes, 1, "a measurement", err),
                          .in = mem_alloc(bytes, (size_t)comm_size(), "a measurement", err),
                          .bytes = bytes};
    return comm_settle(p->out && p->in ? 0 : -1, err);
}

static void close_parcels(struct parcels *p) {
    mem_free(p->out);
    mem_free(p->in);
}

static void exchange_parcels(struct parcels *p, int64_t bytes) {
    struct comm_piece to[COMM_RANKS], from[COMM_RANKS];
    for (int r = 0; r < comm_size(); r++) {
        const int64_t n = r == comm_rank() ? 0 : bytes;
        to[r] = (struct comm_piece){p->out, n};
        from[r] = (struct comm_piece){p->in + r * p->bytes, n};
    }
    comm_exchange(to, from);
}

/* Mean seconds of `times` exchanges, after one that is not counted. */
static double exchanges(struct parcels *p, int64_t bytes, int times) {
    exchange_parcels(p, bytes);
    const double began = clock_seconds();
    for (int k = 0; k < times; k++) exchange_parcels(p, bytes);
    return (clock_seconds() - began) / times;
}

enum { PARCELS = 1 << 26 }; /* bytes of a rank's in an exchange of many */

int pace_of_network(double *word, double *bytes_per_s, struct err *err) {
    enum { TIMES = 10, WORDS = 100 };
    const int others = comm_size() - 1;
    struct parcels p;
    const int r = open_parcels(&p, PARCELS / others, err);
    if (r == 0) {
        *word = exchanges(&p, sizeof(double), WORDS);
        *bytes_per_s = (double)(p.bytes * others) / exchanges(&p, p.bytes, TIMES);
    }
    close_parcels(&p);
    return r;
}

/* Exchanges until all ranks have had enough, which each says in the first byte of what it sends: so all end with the same. */
static void *carry(void *context) {
    struct parcels *p = context;
    bool all;
    do {
        all = p->enough;
        p->out[0] = all;
        exchange_parcels(p, p->bytes);
        for (int r = 0; r < comm_size(); r++)
            if (r != comm_rank()) all = all && p->in[r * p->bytes];
    } while (!all);
    return NULL;
}

/* Mean seconds of a pass; -1 with err. */
static double mean_pass(struct pacing *p, const struct config *c, const struct source *source, int64_t micro,
                        struct err *err) {
    enum { PASSES = 3 };
    double spent = 0;
    int64_t k = 0;
    for (; k < PASSES || spent < 1; k++) {
        const double took = train_once(p, c, source, k, micro, err);
        if (took < 0) return -1;
        spent += took;
    }
    return spent / (double)k;
}

/* The same while exchanges go on behind. */
static double mean_pass_beside(struct pacing *p, const struct config *c, const struct source *source, int64_t micro,
                               struct parcels *parcels, struct err *err) {
    pthread_t thread;
    double seconds = -1;
    const bool threaded = pthread_create(&thread, NULL, carry, parcels) == 0;
    if (threaded) seconds = mean_pass(p, c, source, micro, err);
    parcels->enough = true;
    if (threaded) {
        pthread_join(thread, NULL);
        return seconds;
    }
    carry(parcels); /* the others wait for it */
    return err_set(err, "a thread for the network cannot be started: raise the limit of processes");
}

int pace_of_overlap(double *share, const struct config *c, enum dtype precision, int64_t length, int64_t sequences,
                    double bytes_per_s, struct err *err) {
    enum { A_SECOND = 16 }; /* exchanges, unless their messages become too long or too short */
    const struct config few = part_of(c, length, &sequences);
    int64_t of[2];
    const struct source source = random_source(of, &few, length);
    const double bytes = fmin(fmax(bytes_per_s / A_SECOND, 1 << 12), PARCELS);
    struct pacing p = {{0}};
    struct parcels parcels;
    double alone = 0, beside = 0;
    int r = open_parcels(&parcels, (int64_t)bytes / (comm_size() - 1), err);
    if (r == 0) r = comm_settle(open_pace(&p, &few, precision, &source, sequences, err), err);
    if (r == 0) r = comm_settle(train_once(&p, &few, &source, 0, sequences, err) < 0 ? -1 : 0, err);
    if (r == 0) r = comm_settle((alone = mean_pass(&p, &few, &source, sequences, err)) < 0 ? -1 : 0, err);
    if (r == 0)
        r = comm_settle((beside = mean_pass_beside(&p, &few, &source, sequences, &parcels, err)) < 0 ? -1 : 0, err);
    if (r == 0) *share = fmin(fmax(1 - alone / beside, 0), 0.95);
    close_pace(&p);
    close_parcels(&parcels);
    return r;
}
