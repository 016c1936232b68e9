/* validation: see validation.h. */
#include "train/validation.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "base/stop.h"
#include "comm/tree.h"
#include "model/transformer.h"
#include "train/sharded.h"

enum { PASSES_LEAST = 64, PASSES_MOST = 4096, DRAWS_MOST = 128 };

/* The file that a stop leaves: this, and the losses. */
struct validation_part {
    uint64_t hash; /* of all, itself 0 */
    int64_t step, examples, draws;
    double smoothed; /* which weights they are, beside the step */
};

static int64_t clamp(int64_t x, int64_t low, int64_t high) {
    return x < low ? low : x > high ? high : x;
}

struct validation_size validation_size(const struct trainer_settings *s, const struct source *source) {
    /* A forward pass is a third of a training pass; so this many passes are 5 % of the steps between validations. */
    const int64_t steps = s->eval_every < s->schedule.steps ? s->eval_every : s->schedule.steps;
    const double share = 0.05 * 3 * (double)steps * (double)s->batch;
    const int64_t passes = share > PASSES_MOST ? PASSES_MOST : clamp((int64_t)share, PASSES_LEAST, PASSES_MOST);
    struct validation_size n = {.examples = s->valid_examples > 0 ? s->valid_examples : passes, .draws = 1};
    n.examples = clamp(n.examples, source->group, source->size);
    n.examples -= n.examples % source->group;
    if (s->config.family == FAMILY_MDM) n.draws = s->mc > 0 ? s->mc : clamp(passes / n.examples, 1, DRAWS_MOST);
    return n;
}

static int64_t part_bytes(const struct validation *v) {
    return (int64_t)sizeof *v->part + v->size.examples * v->size.draws * (int64_t)sizeof *v->losses;
}

int validation_open(struct validation *v, const struct trainer_settings *s, const struct objective *training,
                    const struct source *source, const struct validation_means *with, struct err *err) {
    *v = (struct validation){
        .size = validation_size(s, source), .with = *with, .source = source, .objective = *training};
    v->objective.seed = 0; /* the same masks for runs that validate as much: losses compare */
    v->objective.random_length = v->objective.drop = 0;
    v->objective.strata = 0;
    v->objective.complementary = false;
    v->objective.bell = v->objective.flatten = 0; /* always the bound */
    v->objective.step_groups = v->size.examples / source->group * v->size.draws;
    v->objective.time = RNG_VALID_TIME;
    v->objective.mask = RNG_VALID_MASK;
    v->row_losses = mem_alloc(with->rows, 4, "row losses", err);
    v->part = mem_alloc(part_bytes(v), 1, "losses", err);
    v->losses = v->part ? (double *)(void *)(v->part + 1) : NULL;
    return v->row_losses && v->part ? file_join(v->path, s->run, "validation.part", err) : -1;
}

void validation_close(struct validation *v) {
    mem_free(v->row_losses);
    mem_free(v->part);
}

/* Example k: whole groups, spread evenly over the source. */
static int64_t number_of(const struct validation *v, int64_t k) {
    const int64_t b = v->source->group, groups = v->size.examples / b;
    const double apart = (double)(v->source->size / b) / (double)groups;
    return (int64_t)((double)(k / b) * apart) * b + k % b;
}

/* Draws [i, end), up to a micro-batch, become the batch. */
static int read_draws(struct validation *v, int64_t i, int64_t end, struct err *err) {
    prepared_clear(v->with.prepared);
    for (int64_t k = 0; k < v->with.micro && i < end; k++, i++)
        if (objective_add(&v->objective, v->with.prepared, v->source, number_of(v, i / v->size.draws), (uint64_t)i,
                          err) < 0)
            return -1;
    return 0;
}

static void batch_losses(struct validation *v, double *losses) {
    const struct prepared *p = v->with.prepared;
    const struct batch *b = &p->batch;
    const int64_t n = b->wanted ? b->nwanted : b->n;
    if (n > 0) {
        transformer_body(v->with.model, b);
        transformer_row_losses(v->with.model, p->targets, v->row_losses);
    }
    for (int64_t s = 0, k = 0; s < b->nseq; s++) {
        losses[s] = 0;
        for (; k < n && (b->wanted ? b->wanted[k] : k) < b->starts[s + 1]; k++)
            losses[s] += (double)p->weight[k] * v->row_losses[k];
    }
}

/* ---- what a stop leaves ---- */

static void name_part(struct validation *v, int64_t step, double smoothed) {
    *v->part = (struct validation_part){0, step, v->size.examples, v->size.draws, smoothed};
    v->part->hash = hash_finish(hash_add(HASH_START, v->part, (size_t)part_bytes(v)));
}

/* Losses that a stopped run has left of this very validation; of a file that is anything else none. */
static void take_up(struct validation *v, int64_t total, int64_t step, double smoothed) {
    char *was = NULL;
    size_t size = 0;
    struct err none = {{0}};
    if (comm_rank() == 0 && file_exists(v->path)) file_read(&was, &size, v->path, (size_t)part_bytes(v), &none);
    const bool whole = was && size == (size_t)part_bytes(v);
    if (whole) memcpy(v->part, was, size);
    const struct validation_part of = *v->part;
    name_part(v, step, smoothed);
    for (int64_t i = 0; (!whole || memcmp(&of, v->part, sizeof of) != 0) && i < total; i++) v->losses[i] = NAN;
    mem_free(was);
    comm_tell(v->losses, total * (int64_t)sizeof *v->losses);
}

static int leave_part(struct validation *v, int64_t step, double smoothed, struct err *err) {
    name_part(v, step, smoothed);
    return file_write(v->path, v->part, (size_t)part_bytes(v), err);
}

/* ---- a validation ---- */

/* Losses of this rank's draws that are not there yet. Sharded weights want all ranks in every pass. */
static enum comm_word draw_losses(struct validation *v, int64_t total, struct err *err) {
    const bool together = v->with.together;
    const int64_t first = tree_first(total, comm_rank()), end = tree_first(total, comm_rank() + 1);
    const int64_t most = together ? divide_up(total, comm_size()) : end - first;
    int64_t there = 0;
    int status = 0;
    while (there < most && (first + there >= end || !isnan(v->losses[first + there]))) there++;
    if (together) there = -comm_agree(-(int)min64(there, INT32_MAX));
    for (int64_t i = first + there; i < first + most && status == 0; i += v->with.micro) {
        status = read_draws(v, i, end, err);
        const enum comm_word word = together ? comm_word(status, err) : COMM_GO;
        if (word != COMM_GO) return word;
        if (status < 0 || (!together && stop_asked())) break;
        sharded_start(v->with.sharded, false);
        if (i < end) batch_losses(v, v->losses + i);
        sharded_finish(v->with.sharded);
    }
    return together ? COMM_GO : comm_word(status, err);
}

/* The mean over the draws of each example; the error comes of the spread of the groups of examples. */
static void sum_up(const struct validation *v, double *loss, double *error) {
    const int64_t groups = v->size.examples / v->source->group, each = v->size.draws * v->source->group;
    double squares = 0;
    *loss = 0;
    for (int64_t i = 0; i < groups * each; i++) *loss += v->losses[i];
    for (int64_t g = 0; g < groups; g++) {
        double sum = 0; /* each draw's loss is divided by the groups of all: its share of the mean */
        for (int64_t k = 0; k < each; k++) sum += v->losses[g * each + k];
        squares += (sum - *loss / (double)groups) * (sum - *loss / (double)groups);
    }
    if (groups > 1) *error = sqrt(squares * (double)groups / (double)(groups - 1));
}

enum comm_word validation_run(struct validation *v, int64_t step, double smoothed, double *loss, double *error,
                              struct err *err) {
    const int64_t total = v->size.examples * v->size.draws;
    int64_t first[COMM_RANKS + 1];
    *loss = *error = NAN;
    take_up(v, total, step, smoothed);
    const enum comm_word word = draw_losses(v, total, err);
    if (word == COMM_FAIL) return word;
    for (int r = 0; r <= comm_size(); r++) first[r] = tree_first(total, r) * (int64_t)sizeof *v->losses;
    comm_gather(v->losses, first);
    if (word == COMM_STOP) {
        const int left = comm_rank() == 0 ? leave_part(v, step, smoothed, err) : 0;
        return comm_settle(left, err) < 0 ? COMM_FAIL : COMM_STOP;
    }
    if (comm_rank() == 0) unlink(v->path);
    sum_up(v, loss, error);
    return COMM_GO;
}
