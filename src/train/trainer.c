/* trainer: the loop. What a step computes is in objective.c and model/; this file decides when to log, validate, save,
 * stop.
 *
 * Everything random is a function of example numbers and everything summed is summed in a fixed order, so the state
 * after step k is the same whether the run was stopped in between or not. Before each sum over the ranks stands one
 * comm_word(): no rank leaves while another waits. */
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/machine.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/progress.h"
#include "base/stop.h"
#include "comm/comm.h"
#include "train/checkpoint.h"
#include "train/gradient.h"
#include "train/metrics.h"
#include "train/muon.h"
#include "train/optimizer.h"
#include "train/reserve.h"
#include "train/run.h"
#include "train/shard_file.h"
#include "train/sharded.h"
#include "train/validation.h"

enum { SETTLED_STEPS = 50 };
#define LOSS_NEWS 0.02 /* weight of a step in the smoothed loss; of the first 1 / LOSS_NEWS steps it is the mean */

struct trainer {
    const struct trainer_settings *s;
    const struct source *train, *valid;
    struct source pairs; /* of complementary masks: what train points to */
    struct params params;
    struct weights weights;
    struct transformer *model;
    struct objective objective;
    struct validation validation; /* where there is a valid */
    struct prepared prepared;
    struct shards shards;
    struct optimizer optimizer;
    struct muon muon;
    struct gradient gradient; /* of SHARD_NONE and SHARD_OPTIMIZER; */
    struct scatter scatter;   /* of SHARD_FULL */
    struct sharded sharded;
    float *w, *m, *v; /* what this rank keeps */
    int64_t micro;
    bool recompute;
    struct checkpoint state;
    int64_t saved; /* the step of the newest checkpoint that was written, or tried */
    struct metrics *metrics;
    struct progress bar;
    char note[160];    /* beside the bar */
    double used;       /* seconds of this process in steps, */
    double before;     /* and of those before it, from metrics.csv; rank 0 knows */
    double done_flops; /* product FLOPs of this process's steps */
    double done_tokens;
};

/* ---- what is settled before the first step ---- */

/* Rows of the largest micro-batch. */
static int64_t longest_rows(const struct trainer *t) {
    const int64_t train = objective_rows(t->s->config.family, t->train);
    const int64_t valid = t->valid ? objective_rows(t->s->config.family, t->valid) : 0;
    return train > valid ? train : valid;
}

static bool full(const struct trainer *t) {
    return t->s->shard == SHARD_FULL;
}

static int64_t leaves(const struct trainer *t) {
    return reserve_leaves(t->s, t->micro, comm_size());
}

static int64_t leaf_first(const struct trainer *t, int64_t leaf) {
    return leaf * t->s->batch / leaves(t);
}

static void say_memory(struct trainer *t) {
    if (comm_rank() != 0) return;
    if (t->s->micro_batch == 0 && t->s->sum_groups == 0 && t->micro < reserve_micro_batch(t->s->batch, longest_rows(t)))
        progress_say(&t->bar, "memory is short: micro-batches of %lld", (long long)t->micro);
    if (t->recompute && !t->s->recompute)
        progress_say(&t->bar, "memory is short: activations will be computed again in backward");
}

/* The table of parameters, and how memory is used; all that hangs on the latter is the same on all ranks. */
static int plan(struct trainer *t, int status, struct transformer_settings *set, struct err *err) {
    const struct trainer_settings *s = t ? t->s : NULL;
    if (status == 0 &&
        (params_init(&t->params, &s->config, err) < 0 || weights_flat(&t->weights, &s->config, NULL, err) < 0))
        status = -1;
    struct reserve r;
    if (status == 0) {
        if (s->shard != SHARD_NONE) sharded_types(&t->weights, s->precision);
        const int64_t memory = s->memory > 0 ? s->memory : machine_memory();
        status = reserve_memory(&r, s, &t->weights, longest_rows(t), comm_size(), comm_rank(), memory, err);
        if (status == 0) status = reserve_check(&r, s, memory, err);
    }
    if (status == 0) {
        t->micro = r.micro;
        *set = (struct transformer_settings){.precision = s->precision,
                                             .max_rows = r.micro * longest_rows(t),
                                             .training = true,
                                             .recompute = r.recompute};
    }
    const int least = -comm_agree(status < 0 ? -INT32_MAX : -(int)t->micro);
    if (status < 0 || !full(t) || t->micro <= least) return status;
    t->micro = least;
    set->max_rows = least * longest_rows(t);
    return 0;
}

static int allocate(struct trainer *t, struct err *err) {
    const struct trainer_settings *s = t->s;
    if (shards_open(&t->shards, &t->params, s->shard, err) < 0) return -1;
    const int64_t n = t->shards.kept;
    t->w = mem_alloc(n, 4, "weights", err);
    t->m = mem_alloc(n, 4, "first moments", err);
    t->v = mem_alloc(n, 4, "second moments", err);
    if (!t->w || !t->m || !t->v) return -1;
    if ((full(t) ? scatter_open(&t->scatter, &t->shards, leaves(t), s->sum_groups == 0, s->wire, err)
                 : gradient_open(&t->gradient, &t->shards, leaves(t), s->wire, err)) < 0)
        return -1;
    t->optimizer = (struct optimizer){
        .beta1 = s->beta1, .beta2 = s->beta2, .eps = s->eps, .weight_decay = s->weight_decay, .clip = s->clip};
    if (s->muon) t->optimizer.muon = &t->muon;
    if (s->muon && muon_open(&t->muon, &t->shards, s->momentum, err) < 0) return -1;
    if (s->shard != SHARD_NONE)
        return sharded_open(&t->sharded, &t->shards, &t->weights, t->w, &t->scatter, s->shard, s->precision, err);
    weights_free(&t->weights);
    return weights_flat(&t->weights, &s->config, t->w, err);
}

static void set_objective(struct trainer *t) {
    const struct trainer_settings *s = t->s;
    t->objective = (struct objective){.family = s->config.family,
                                      .mask_id = (int32_t)s->config.mask_id,
                                      .seed = s->seed,
                                      .random_length = s->random_length,
                                      .drop = s->drop,
                                      .strata = s->stratified ? s->batch : 0,
                                      .complementary = s->complementary,
                                      .bell = s->bell,
                                      .flatten = s->flatten,
                                      .step_groups = s->batch / t->train->group,
                                      .time = RNG_TIME,
                                      .mask = RNG_MASK};
}

static int open_model(struct trainer *t, struct transformer_settings *set, struct err *err) {
    t->recompute = set->recompute;
    say_memory(t);
    const struct source *longer = t->valid && t->valid->longest > t->train->longest ? t->valid : t->train;
    if (prepared_open(&t->prepared, t->s->config.family, longer, t->micro, err) < 0) return -1;
    set->residency = sharded_residency(&t->sharded);
    if (transformer_open(&t->model, &t->weights, set, err) < 0) return -1;
    const struct validation_means means = {.model = t->model,
                                           .prepared = &t->prepared,
                                           .sharded = &t->sharded,
                                           .together = full(t),
                                           .micro = t->micro,
                                           .rows = set->max_rows};
    return t->valid ? validation_open(&t->validation, t->s, &t->objective, t->valid, &means, err) : 0;
}

/* After the weights that ranks keep have changed. */
static void refresh(struct trainer *t) {
    sharded_refresh(&t->sharded);
    transformer_refresh(t->model);
}

/* Rows without a checkpoint behind them: it was deleted, or the run was killed before its first one. */
static void say_begin_again(struct trainer *t) {
    struct metrics_row *rows;
    struct err none = {{0}};
    int64_t n;
    if (metrics_read(&rows, &n, t->s->run, &none) < 0) return;
    progress_say(&t->bar, "%s: metrics.csv tells of %lld step%s, but there is no checkpoint: the run begins again",
                 t->s->run, (long long)rows[n - 1].step, plural(rows[n - 1].step));
    mem_free(rows);
}

/* The newest checkpoint, or else the weights that a fresh run starts from. */
static int restore(struct trainer *t, struct err *err) {
    const char *run = t->s->run;
    const int found = checkpoint_load(run, &t->state, &t->shards, &t->s->config, t->w, t->m, t->v, err);
    if (found < 0) return -1;
    if (found && t->state.source_known && t->state.source != t->train->fingerprint)
        return err_set(err,
                       "%s: the training data or its weights in the mixture have changed since this run was started; "
                       "bring them back, or use another --out",
                       run);
    if (found && t->valid && t->state.validation != 0 && t->state.validation != t->valid->fingerprint)
        return err_set(
            err,
            "%s: the validation data, or the order in which this version reads it, has changed since this run "
            "was started: its losses would not compare; bring it back, or use another --out",
            run);
    if (found && !t->state.source_known && comm_rank() == 0)
        progress_say(&t->bar, "%s: an older version wrote this checkpoint; whether the data is the same is not checked",
                     run);
    if (found && t->state.sequence != (uint64_t)t->state.step * (uint64_t)t->s->batch)
        return err_set(err,
                       "%s: the checkpoint of step %lld has gone through %llu examples, expected %lld each step: it is "
                       "of another run",
                       run, (long long)t->state.step, (unsigned long long)t->state.sequence, (long long)t->s->batch);
    if (found && t->state.step > t->s->schedule.steps)
        return err_set(err, "%s is at step %lld already, beyond the %lld asked for", run, (long long)t->state.step,
                       (long long)t->s->schedule.steps);
    t->state.source = t->train->fingerprint;
    if (t->valid) t->state.validation = t->valid->fingerprint;
    if (!found && comm_rank() == 0) say_begin_again(t);
    if (found && comm_rank() == 0) progress_say(&t->bar, "resuming %s after step %lld", run, (long long)t->state.step);
    for (int i = 0; !found && i < shards_ranges(&t->shards); i++) {
        const struct shard_range r = shards_range(&t->shards, i);
        if (t->s->init)
            weights_copy_range(t->s->init, t->w + r.at, r.first, r.first + r.n);
        else
            params_random_range(t->w + r.at, &t->params, t->s->seed, r.first, r.first + r.n);
    }
    return 0;
}

int trainer_check_groups(const struct trainer_settings *s, int ranks, struct err *err) {
    const int64_t groups = s->sum_groups, each = groups > 0 ? divide_up(s->batch, groups) : 0;
    if (groups == 0) return 0;
    if (groups < ranks || groups > s->batch)
        return err_set(err,
                       "--sum-groups %lld: expected one for each of the %d processes or more, and at most --batch %lld",
                       (long long)groups, ranks, (long long)s->batch);
    if (s->micro_batch == 0 || s->micro_batch >= each) return 0;
    return err_set(
        err,
        "--sum-groups %lld: a group of %lld sequences is one forward pass; --micro-batch %lld wants %lld groups "
        "or more",
        (long long)groups, (long long)each, (long long)s->micro_batch, (long long)divide_up(s->batch, s->micro_batch));
}

int trainer_open(struct trainer **out, const struct trainer_settings *s, const struct source *train,
                 const struct source *valid, struct err *err) {
    struct trainer *t = *out = NULL;
    struct transformer_settings set = {0};
    int r = -1;
    if (s->complementary && train->group == 1 && s->batch % 2 != 0)
        err_set(err, "--complementary takes sequences by twos: --batch %lld is odd", (long long)s->batch);
    else if (s->batch % (train->group << s->complementary) != 0)
        err_set(err, "--batch %lld is no whole number of %sgroups of %lld examples: change it or --group",
                (long long)s->batch, s->complementary ? "pairs of " : "", (long long)train->group);
    else
        t = *out = mem_alloc(1, sizeof *t, "trainer", err);
    if (t) {
        *t = (struct trainer){.s = s, .train = train, .valid = valid};
        progress_start(&t->bar, "train", "steps", (double)s->schedule.steps, 1);
        if (s->complementary) {
            t->pairs = source_in_pairs(train);
            t->train = &t->pairs;
        }
        set_objective(t);
        r = objective_check(&t->objective, err) < 0 ? -1 : trainer_check_groups(s, comm_size(), err);
    }
    r = plan(t, r, &set, err);
    if (r == 0 && (allocate(t, err) < 0 || open_model(t, &set, err) < 0)) r = -1;
    if (comm_word(r, err) != COMM_FAIL && comm_word(restore(t, err), err) != COMM_FAIL) {
        refresh(t);
        return 0;
    }
    trainer_close(t);
    *out = NULL;
    return -1;
}

void trainer_close(struct trainer *t) {
    if (!t) return;
    validation_close(&t->validation);
    transformer_close(t->model);
    sharded_close(&t->sharded);
    scatter_close(&t->scatter);
    shards_close(&t->shards);
    weights_free(&t->weights);
    params_free(&t->params);
    prepared_close(&t->prepared);
    mem_free(t->w);
    muon_close(&t->muon);
    gradient_close(&t->gradient);
    mem_free(t->m);
    mem_free(t->v);
    mem_free(t);
}

int64_t trainer_step(const struct trainer *t) {
    return t->state.step;
}

int64_t trainer_micro(const struct trainer *t) {
    return t->micro;
}

bool trainer_recomputes(const struct trainer *t) {
    return t->recompute;
}

/* ---- a step ---- */

static void show(struct trainer *t, double share) {
    char text[224];
    if (share > 0)
        snprintf(text, sizeof text, "%s%s%.0f %% of step %lld", t->note, *t->note ? "; " : "", 100 * share,
                 (long long)t->state.step + 1);
    progress_at(&t->bar, (double)t->state.step + share, share > 0 ? text : t->note);
}

/* Examples of the step from i on, up to a micro-batch of them, become the batch; returns the first that did not, or -1. */
static int64_t read_examples(struct trainer *t, int64_t i, int64_t end, struct err *err) {
    prepared_clear(&t->prepared);
    for (int64_t k = 0; k < t->micro && i < end; k++, i++) {
        const int64_t number = (int64_t)t->state.sequence + i;
        if (objective_add(&t->objective, &t->prepared, t->train, number, (uint64_t)number, err) < 0) return -1;
    }
    return i;
}

/* Forward and backward of the batch. sums: loss, tokens, product FLOPs. */
static void train_batch(struct trainer *t, float *grad, double sums[3]) {
    const struct batch *b = &t->prepared.batch;
    sums[0] += transformer_train(t->model, b, t->prepared.targets, t->prepared.weight, grad);
    sums[1] += (double)b->n;
    sums[2] += transformer_train_flops(&t->weights, b);
}

/* This rank has done its examples up to i: as many as the others, more or less. */
static void show_share(struct trainer *t, int64_t i) {
    const int64_t first = leaf_first(t, gradient_first(&t->gradient, 0)),
                  end = leaf_first(t, gradient_first(&t->gradient, 1));
    if (i < end) show(t, (double)(i - first) / (double)(end - first));
}

/* One leaf of the step's gradient: its examples are [i, end). */
static int leaf_gradient(struct trainer *t, int64_t i, int64_t end, float *grad, double sums[3], struct err *err) {
    while (i < end && !stop_asked()) {
        i = read_examples(t, i, end, err);
        if (i < 0) return -1;
        train_batch(t, grad, sums);
        show_share(t, i);
    }
    return 0;
}

/* Gradient of the step's examples [state.sequence, + batch), of which each leaf has as many as the next, and each rank as
 * many leaves. A stop is heeded between micro-batches: the weights have not changed yet, so the step is simply not done. */
static enum comm_word gradient_of_leaves(struct trainer *t, int status, double *loss, double sums[3], struct err *err) {
    struct gradient *g = &t->gradient;
    gradient_start(g);
    for (int64_t leaf = gradient_first(g, 0); leaf < gradient_first(g, 1) && status == 0 && !stop_asked(); leaf++) {
        float *grad = gradient_enter(g);
        sums[0] = 0;
        status = leaf_gradient(t, leaf_first(t, leaf), leaf_first(t, leaf + 1), grad, sums, err);
        gradient_leave(g, leaf, sums[0]);
    }
    const enum comm_word word = comm_word(status, err);
    if (word == COMM_GO) gradient_sum(g, loss);
    return word;
}

/* The same where all ranks go through every pass together, and scatter what it gave. */
static enum comm_word gradient_of_passes(struct trainer *t, int status, double *loss, double sums[3], struct err *err) {
    struct scatter *g = &t->scatter;
    scatter_start(g);
    for (int64_t pass = 0; pass < scatter_passes(g); pass++) {
        const int64_t leaf = scatter_leaf(g), first = leaf < g->leaves ? leaf_first(t, leaf) : 0,
                      end = leaf < g->leaves ? leaf_first(t, leaf + 1) : 0;
        if (status == 0 && first < end && read_examples(t, first, end, err) < 0) status = -1;
        const enum comm_word word = comm_word(status, err);
        if (word != COMM_GO) return word;
        sums[0] = 0;
        sharded_start(&t->sharded, true);
        if (first < end) train_batch(t, NULL, sums);
        sharded_finish(&t->sharded);
        scatter_leave(g, sums[0]);
        if (pass + 1 < scatter_passes(g)) show(t, (double)(pass + 1) / (double)scatter_passes(g));
    }
    *loss = scatter_loss(g);
    return COMM_GO;
}

static enum comm_word gradient(struct trainer *t, int status, double *loss, struct err *err) {
    double sums[3] = {0};
    const enum comm_word word = (full(t) ? gradient_of_passes : gradient_of_leaves)(t, status, loss, sums, err);
    if (word != COMM_GO) return word;
    comm_sum_f64(sums + 1, 2);
    t->done_tokens += sums[1];
    t->done_flops += sums[2];
    return COMM_GO;
}

static double mfu(const struct trainer *t, double flops, double seconds) {
    return t->s->machine_rate > 0 ? flops / seconds / t->s->machine_rate : 0;
}

/* A smoothed loss above it is beyond hope: half as much again as that of guessing among all ids. */
static double hopeless(const struct trainer *t) {
    return 1.5 * log((double)t->s->config.padded_vocab_size);
}

/* The smoothed loss after a step. A masked token at a small masking ratio may alone make a loss of a hundred, in a run that is
 * well: none counts as more than twice what is beyond hope, of which a run that has diverged has one after the other. */
static double smooth(const struct trainer *t, double loss) {
    const double weight = fmax(1.0 / (double)t->state.step, LOSS_NEWS), most = 2 * hopeless(t);
    return t->state.recent_loss + weight * (fmin(loss, most) - t->state.recent_loss);
}

static bool diverged(const struct trainer *t, double loss, double norm) {
    if (!isfinite(loss) || !isfinite(norm)) return true;
    return t->state.step >= SETTLED_STEPS && t->state.recent_loss > hopeless(t);
}

/* What the run was given up for. */
static void say_lost(const struct trainer *t, const struct metrics_row *row, struct trainer_result *r) {
    char why[200];
    const long long step = (long long)t->state.step;
    if (isfinite(row->loss) && isfinite(row->grad_norm))
        snprintf(why, sizeof why, "after step %lld: smoothed loss %g, above %g, 1.5 times that of guessing", step,
                 t->state.recent_loss, hopeless(t));
    else
        snprintf(why, sizeof why, "step %lld: loss %g, gradient norm %g", step + 1, row->loss, row->grad_norm);
    snprintf(r->message, sizeof r->message,
             "%s: the run diverged; the state after step %lld is saved in %s; try a lower --lr with another --out", why,
             step, t->s->run);
}

/* The optimizers' step on what this rank keeps. */
static void update(struct trainer *t, double norm, double lr) {
    const float *grad = full(t) ? t->scatter.v[0] : t->gradient.v[0];
    if (t->s->shard == SHARD_NONE) gradient_gather(&t->gradient);
    for (int i = 0; i < shards_ranges(&t->shards); i++) {
        const struct shard_range r = shards_range(&t->shards, i);
        struct optimizer o = t->optimizer;
        o.m = t->m + r.at;
        o.v = t->v + r.at;
        o.first = r.first;
        o.n = r.n;
        optimizer_step(&o, t->w + r.at, grad + (full(t) ? r.at : r.first), norm, lr, t->state.step + 1);
    }
    if (t->s->muon) muon_step(&t->muon, &t->optimizer, t->w, t->m, grad, full(t), norm, lr);
}

/* One optimizer step. *lost: it would have been one from a loss or gradient that is beyond hope; nothing was changed. */
static enum comm_word step(struct trainer *t, int status, struct metrics_row *row, bool *lost, struct err *err) {
    const double began = clock_seconds(), flops_before = t->done_flops, tokens_before = t->done_tokens;
    double loss;
    const enum comm_word word = gradient(t, status, &loss, err);
    if (word != COMM_GO) return word;
    const double norm = shards_norm(&t->shards, full(t) ? t->scatter.v[0] : t->gradient.v[0], full(t));
    *lost = diverged(t, loss, norm);
    *row = (struct metrics_row){.loss = loss, .grad_norm = norm};
    if (*lost) return COMM_GO;
    struct checkpoint *c = &t->state;
    const double lr = schedule_lr(&t->s->schedule, c->step + 1);
    update(t, norm, lr);
    refresh(t);
    const double tokens = t->done_tokens - tokens_before, seconds = clock_seconds() - began;
    c->step++;
    c->sequence += (uint64_t)t->s->batch;
    c->tokens += tokens;
    c->flops += 6.0 * (double)params_body(&t->s->config) * tokens;
    c->recent_loss = smooth(t, loss);
    t->used += seconds;
    *row = (struct metrics_row){.step = c->step,
                                .tokens = c->tokens,
                                .flops = c->flops,
                                .loss = loss,
                                .valid_loss = NAN,
                                .valid_error = NAN,
                                .lr = lr,
                                .grad_norm = norm,
                                .tokens_per_s = tokens / seconds,
                                .mfu = mfu(t, t->done_flops - flops_before, seconds),
                                .epoch = t->train->epoch(t->train->context, (int64_t)c->sequence),
                                .seconds = t->before + t->used};
    return COMM_GO;
}

/* ---- the loop ---- */

/* The model of a run that is being made longer is its newest state no more: the checkpoint is what the folder stands for
 * until its new end. */
static void drop_shorter_model(const struct trainer *t) {
    char path[FILE_PATH_MAX];
    struct err ignored = {{0}};
    if (comm_rank() == 0 && file_join(path, t->s->run, RUN_MODEL, &ignored) == 0) unlink(path);
}

/* The rows of metrics.csv reach the disk before the checkpoint that they lead to. status: of this rank. */
static int save(struct trainer *t, int status, struct err *err) {
    if (status == 0 && comm_rank() == 0) status = metrics_sync(t->metrics, err);
    if (comm_settle(status, err) < 0) return -1; /* not tried yet: rescue() does */
    t->saved = t->state.step;
    const int saved =
        checkpoint_save(t->s->run, &t->state, &t->shards, &t->s->config, t->w, t->m, t->v, (int)t->s->keep, err);
    if (saved == 0) drop_shorter_model(t);
    return saved;
}

static void keep_validation(struct trainer_result *r, const struct metrics_row *row) {
    r->valid_loss = row->valid_loss;
    r->valid_error = row->valid_error;
}

/* ± of one sequence is not known. */
static void write_validation(char *out, size_t size, const struct trainer_result *r) {
    const int n = snprintf(out, size, "validation %.3f", r->valid_loss);
    if (isfinite(r->valid_error) && n > 0 && (size_t)n < size)
        snprintf(out + n, size - (size_t)n, " ± %.3f", r->valid_error);
}

static void take_note(struct trainer *t, const struct trainer_result *r) {
    char valid[64] = "";
    if (!isnan(r->valid_loss)) write_validation(valid, sizeof valid, r);
    snprintf(t->note, sizeof t->note, "loss %.3f%s%s, %.1f k tokens/s, MFU %.0f %%", t->state.recent_loss,
             *valid ? ", " : "", valid, t->done_tokens / t->used / 1e3, 100 * mfu(t, t->done_flops, t->used));
}

/* What fails between two steps (an example that cannot be read, a write that fails once) takes none with it. */
static void rescue(struct trainer *t, struct err *err) {
    struct err why = *err, ignored = {{0}};
    if (t->saved == t->state.step || save(t, 0, &ignored) < 0) return;
    err_set(err, "%s; saved after step %lld", why.msg, (long long)t->state.step);
}

/* Is it time for a validation? */
static bool due(const struct trainer *t) {
    const int64_t now = t->state.step;
    return t->valid && now > 0 && (now == t->s->schedule.steps || now % t->s->eval_every == 0);
}

/* The validation that a stop has cut short: the last row, of the step at which the run goes on, lacks it. */
static int make_up(struct trainer *t, struct metrics_row *last, struct trainer_result *r, struct err *err) {
    const bool lacks = comm_rank() == 0 && due(t) && last->step == t->state.step && isnan(last->valid_loss);
    if (comm_agree(lacks) == 0) return 0;
    const enum comm_word word =
        validation_run(&t->validation, t->state.step, t->state.recent_loss, &last->valid_loss, &last->valid_error, err);
    if (word == COMM_STOP) r->end = TRAINER_STOPPED;
    if (word != COMM_GO) return word == COMM_STOP ? 0 : -1;
    keep_validation(r, last);
    if (comm_rank() == 0) {
        const int closed = metrics_close(t->metrics, err);
        t->metrics = closed < 0 ? NULL : metrics_open(t->s->run, last->step, last, &(struct metrics_row){0}, err);
    }
    return comm_word(comm_rank() == 0 && !t->metrics ? -1 : 0, err) == COMM_FAIL ? -1 : 0;
}

/* What follows a step: validation, a row, a checkpoint when it is time for one. */
static int after_step(struct trainer *t, struct metrics_row *row, struct trainer_result *r, struct err *err) {
    const struct trainer_settings *s = t->s;
    const int64_t now = t->state.step;
    const enum comm_word word = due(t) ? validation_run(&t->validation, t->state.step, t->state.recent_loss,
                                                        &row->valid_loss, &row->valid_error, err)
                                       : COMM_GO;
    int status = word == COMM_FAIL ? -1 : 0;
    if (word == COMM_STOP) r->end = TRAINER_STOPPED;
    if (!isnan(row->valid_loss)) keep_validation(r, row);
    /* Also after a failure: the next start makes up for the validation that this row lacks. */
    if (comm_rank() == 0 && metrics_add(t->metrics, row, err) < 0) status = -1;
    take_note(t, r);
    show(t, 0);
    return now % s->save_every == 0 ? save(t, status, err) : status;
}

static int loop(struct trainer *t, struct trainer_result *r, struct err *err) {
    const struct trainer_settings *s = t->s;
    int status = 0; /* of this rank: what fails on one alone is heard by all at the next word */
    while (r->end == TRAINER_DONE && t->state.step < s->schedule.steps) {
        struct metrics_row row;
        bool lost = false;
        const enum comm_word word = step(t, status, &row, &lost, err);
        if (word == COMM_FAIL) return -1;
        if (word == COMM_STOP || lost) r->end = lost ? TRAINER_DIVERGED : TRAINER_STOPPED;
        if (lost) say_lost(t, &row, r);
        if (r->end != TRAINER_DONE) break;
        status = after_step(t, &row, r, err);
    }
    if (t->saved != t->state.step || t->saved == 0) return save(t, status, err);
    return comm_settle(status, err);
}

static int finish(struct trainer *t, struct trainer_result *r, struct err *err) {
    char path[FILE_PATH_MAX];
    r->step = t->state.step;
    r->loss = t->state.recent_loss;
    r->seconds = t->before + t->used;
    if (t->used > 0) {
        r->tokens_per_s = t->done_tokens / t->used;
        r->mfu = mfu(t, t->done_flops, t->used);
    }
    if (r->end == TRAINER_STOPPED)
        snprintf(r->message, sizeof r->message,
                 "stopped after step %lld and saved in %s; the same command goes on from there", (long long)r->step,
                 t->s->run);
    if (r->end != TRAINER_DONE) return 0;
    /* A tied head, the last row, is not written. */
    static const char *const prefixes[] = {""}, *const metadata[] = {"format", "pt", NULL};
    const struct shard_file f = {
        .shards = &t->shards, .prefixes = prefixes, .groups = 1, .rows = t->params.count - t->s->config.tied_head};
    if (file_join(path, t->s->run, RUN_MODEL, err) < 0 || shard_file_write(path, &f, &t->w, metadata, err) < 0)
        return -1;
    snprintf(r->message, sizeof r->message, "trained %lld step%s; the model is %s", (long long)r->step, plural(r->step),
             path);
    return 0;
}

static void say_start(struct trainer *t) {
    if (comm_rank() != 0) return;
    const struct validation_size v = t->validation.size;
    if (t->valid)
        progress_say(&t->bar, "validation: %lld of %lld held-out sequences, %lld draw%s of each: %.1f k tokens",
                     (long long)v.examples, (long long)t->valid->size, (long long)v.draws, v.draws > 1 ? "s" : "",
                     (double)(v.examples * v.draws * objective_rows(t->s->config.family, t->valid)) / 1e3);
}

/* How much of the communication was hidden. */
static void say_communication(struct trainer *t) {
    double busy, waited;
    sharded_seconds(&t->sharded, &busy, &waited);
    if (comm_rank() == 0 && comm_size() > 1 && busy > 0)
        progress_say(&t->bar, "weights and gradients were on their way for %.1f s, %.1f s of which were waited for",
                     busy, waited);
}

/* What stands beside the bar in the end; status: of the run. */
static const char *last_note(struct trainer *t, int status, const struct trainer_result *r) {
    if (t->used > 0) return t->note;
    if (status < 0 || r->end != TRAINER_DONE) return NULL; /* it has not come to its first step */
    if (isnan(r->valid_loss)) return "nothing left to do";
    write_validation(t->note, sizeof t->note, r); /* which a stop had cut short */
    return t->note;
}

int trainer_run(struct trainer *t, struct trainer_result *result, struct err *err) {
    *result = (struct trainer_result){.end = TRAINER_DONE, .valid_loss = NAN};
    struct metrics_row last;
    say_start(t);
    if (comm_rank() == 0) t->metrics = metrics_open(t->s->run, t->state.step, NULL, &last, err);
    if (comm_word(comm_rank() == 0 && !t->metrics ? -1 : 0, err) == COMM_FAIL) return -1;
    if (comm_rank() == 0 && last.seconds > 0) t->before = last.seconds - t->used;
    progress_start(&t->bar, "train", "steps", (double)t->s->schedule.steps, 1);
    t->bar.first = (double)t->state.step;
    t->saved = t->state.step;
    int r = make_up(t, &last, result, err) < 0 ? -1 : loop(t, result, err);
    if (r < 0) rescue(t, err);
    progress_end(&t->bar, (double)t->state.step, last_note(t, r, result));
    say_communication(t);
    if (metrics_close(t->metrics, r < 0 ? &(struct err){{0}} : err) < 0) r = -1;
    t->metrics = NULL;
    return comm_settle(r, err) < 0 ? -1 : finish(t, result, err);
}
