/* trainer: the loop. What a step computes is in objective.c and model/; this file decides when to log, validate, save,
 * stop.
 *
 * Everything random is a function of sequence numbers and everything summed is summed in a fixed order, so the state
 * after step k is the same whether the run was stopped in between or not. */
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/stop.h"
#include "comm/comm.h"
#include "compute/gemm.h"
#include "compute/ops.h"
#include "train/checkpoint.h"
#include "train/metrics.h"
#include "train/optimizer.h"

enum { ROWS_WANTED = 8192, SETTLED_STEPS = 50 };
#define LOSS_MEMORY 0.98 /* weight of the past in the smoothed loss */

struct trainer {
    const struct trainer_settings *s;
    struct loader *train, *valid;
    struct params params;
    struct weights weights;
    struct transformer *model;
    struct objective objective, valid_objective;
    struct prepared prepared;
    struct optimizer optimizer;
    float *w, *grad, *m, *v, *row_loss;
    int32_t *block;
    int64_t micro;
    struct checkpoint state;
    struct metrics *metrics;
    struct progress bar;
    double used;       /* seconds of this process in steps */
    double done_flops; /* product FLOPs of this process's steps */
    double done_tokens;
};

int64_t trainer_micro_batch(int64_t batch, int64_t length) {
    int64_t n = ROWS_WANTED / length;
    if (n < 1) n = 1;
    return n < batch ? n : batch;
}

static double physical_memory(void) {
    return (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
}

/* The largest micro-batch that fits beside parameters, gradient and moments; recomputation before the smallest ones. */
static void choose_memory(struct trainer *t, struct transformer_settings *set) {
    const struct trainer_settings *s = t->s;
    const double budget = 0.92 * physical_memory() - 16.0 * (double)t->params.total;
    int64_t micro = s->micro_batch > 0 ? s->micro_batch : trainer_micro_batch(s->batch, s->length);
    if (micro > s->batch) micro = s->batch;
    *set = (struct transformer_settings){
        .precision = s->precision, .max_rows = micro * s->length, .training = true, .recompute = s->recompute};
    if (!set->recompute && (double)transformer_measure(&t->weights, set) > budget) set->recompute = true;
    while (s->micro_batch == 0 && micro > 1 && (double)transformer_measure(&t->weights, set) > budget) {
        micro = (micro + 1) / 2;
        set->max_rows = micro * s->length;
    }
    t->micro = micro;
}

static int allocate(struct trainer *t, struct err *err) {
    const struct trainer_settings *s = t->s;
    if (params_init(&t->params, &s->config, err) < 0) return -1;
    const int64_t n = t->params.total;
    t->w = mem_alloc(n, 4, "weights", err);
    t->grad = mem_alloc(n, 4, "gradient", err);
    t->m = mem_alloc(n, 4, "first moments", err);
    t->v = mem_alloc(n, 4, "second moments", err);
    t->block = mem_alloc(s->length + 1, sizeof *t->block, "block", err);
    if (!t->w || !t->grad || !t->m || !t->v || !t->block || weights_flat(&t->weights, &s->config, t->w, err) < 0)
        return -1;
    t->optimizer = (struct optimizer){.beta1 = s->beta1,
                                      .beta2 = s->beta2,
                                      .eps = s->eps,
                                      .weight_decay = s->weight_decay,
                                      .clip = s->clip,
                                      .m = t->m,
                                      .v = t->v,
                                      .n = n};
    t->objective = (struct objective){.family = s->config.family,
                                      .mask_id = (int32_t)s->config.mask_id,
                                      .seed = s->seed,
                                      .length = s->length,
                                      .random_length = s->random_length,
                                      .step_sequences = s->batch,
                                      .time = RNG_TIME,
                                      .mask = RNG_MASK};
    const int64_t draws = s->config.family == FAMILY_MDM ? s->mc : 1;
    t->valid_objective = t->objective;
    t->valid_objective.seed = 0; /* the same masks for every run: losses compare */
    t->valid_objective.random_length = 0;
    t->valid_objective.step_sequences = s->valid_sequences * draws;
    t->valid_objective.time = RNG_VALID_TIME;
    t->valid_objective.mask = RNG_VALID_MASK;
    return 0;
}

static int open_model(struct trainer *t, struct err *err) {
    struct transformer_settings set;
    choose_memory(t, &set);
    t->row_loss = mem_alloc(set.max_rows, 4, "row losses", err);
    if (!t->row_loss || prepared_open(&t->prepared, t->micro, t->s->length, err) < 0) return -1;
    if (set.recompute && !t->s->recompute && comm_rank() == 0)
        progress_say(&t->bar, "memory is short: activations will be computed again in backward");
    return transformer_open(&t->model, &t->weights, &set, err);
}

static void release(struct trainer *t) {
    transformer_close(t->model);
    weights_free(&t->weights);
    params_free(&t->params);
    prepared_close(&t->prepared);
    mem_free(t->w);
    mem_free(t->grad);
    mem_free(t->m);
    mem_free(t->v);
    mem_free(t->row_loss);
    mem_free(t->block);
}

/* Gradient of the step's sequences [state.sequence, + batch) into grad; this rank's share is every comm_size()-th. */
static int gradient(struct trainer *t, double *loss, struct err *err) {
    const int64_t batch = t->s->batch;
    double sums[3] = {0}; /* loss, tokens, product FLOPs */
    ops_zero(t->grad, t->params.total * 4);
    for (int64_t i = comm_rank(); i < batch;) {
        prepared_clear(&t->prepared);
        for (int64_t k = 0; k < t->micro && i < batch; k++, i += comm_size()) {
            const uint64_t number = t->state.sequence + (uint64_t)i;
            if (loader_block(t->train, (int64_t)number, t->block, err) < 0) return -1;
            objective_add(&t->objective, &t->prepared, t->block, number);
        }
        sums[0] += transformer_train(t->model, &t->prepared.batch, t->prepared.targets, t->prepared.weight, t->grad);
        sums[1] += (double)t->prepared.batch.n;
        sums[2] += transformer_train_flops(&t->s->config, &t->prepared.batch);
    }
    comm_sum_f32(t->grad, t->params.total);
    comm_sum_f64(sums, 3);
    *loss = sums[0];
    t->done_tokens += sums[1];
    t->done_flops += sums[2];
    return 0;
}

/* Loss over the first validation blocks: the mean over mc mask draws of each (SPEC §3). */
static int validate(struct trainer *t, double *loss, struct err *err) {
    const int64_t draws = t->s->config.family == FAMILY_MDM ? t->s->mc : 1, total = t->s->valid_sequences * draws;
    double sum = 0;
    for (int64_t i = comm_rank(); i < total && !stop_asked();) {
        prepared_clear(&t->prepared);
        for (int64_t k = 0; k < t->micro && i < total; k++, i += comm_size()) {
            if (loader_block(t->valid, i / draws, t->block, err) < 0) return -1;
            objective_add(&t->valid_objective, &t->prepared, t->block, (uint64_t)i);
        }
        if (t->prepared.batch.wanted && t->prepared.batch.nwanted == 0) continue;
        transformer_body(t->model, &t->prepared.batch);
        transformer_row_losses(t->model, t->prepared.targets, t->row_loss);
        const int64_t n = t->prepared.batch.wanted ? t->prepared.batch.nwanted : t->prepared.batch.n;
        for (int64_t k = 0; k < n; k++) sum += (double)t->prepared.weight[k] * t->row_loss[k];
    }
    comm_sum_f64(&sum, 1);
    *loss = stop_asked() ? NAN : sum;
    return 0;
}

static int save(struct trainer *t, struct err *err) {
    if (comm_rank() != 0) return 0;
    return checkpoint_save(t->s->run, &t->state, &t->params, &t->s->config, t->w, t->m, t->v, (int)t->s->keep, err);
}

/* Fresh weights, or the newest checkpoint. */
static int restore(struct trainer *t, struct err *err) {
    const int found = checkpoint_load(t->s->run, &t->state, &t->params, &t->s->config, t->w, t->m, t->v, err);
    if (found < 0) return -1;
    if (!found) {
        params_random(t->w, &t->params, t->s->seed);
        t->state.data = loader_fingerprint(t->train);
    } else if (t->state.data != loader_fingerprint(t->train))
        return err_set(
            err, "%s: the training data has changed since this run was started; bring it back, or use another --out",
            t->s->run);
    else if (comm_rank() == 0)
        progress_say(&t->bar, "resuming %s after step %lld", t->s->run, (long long)t->state.step);
    transformer_refresh(t->model);
    return 0;
}

static double mfu(const struct trainer *t, double flops, double seconds) {
    return t->s->machine_rate > 0 ? flops / seconds / t->s->machine_rate : 0;
}

static bool diverged(const struct trainer *t, double loss, double norm) {
    if (!isfinite(loss) || !isfinite(norm)) return true;
    return t->state.step >= SETTLED_STEPS && t->state.recent_loss > 1.5 * log((double)t->s->config.padded_vocab_size);
}

/* One optimizer step: 1 done, 0 the loss left the road (nothing was changed), -1 err. */
static int step(struct trainer *t, struct metrics_row *row, struct err *err) {
    const double began = clock_seconds(), flops_before = t->done_flops, tokens_before = t->done_tokens;
    double loss;
    if (gradient(t, &loss, err) < 0) return -1;
    const double norm = optimizer_norm(t->grad, t->params.total);
    if (diverged(t, loss, norm)) {
        row->loss = loss;
        row->grad_norm = norm;
        return 0;
    }
    struct checkpoint *c = &t->state;
    const double lr = schedule_lr(&t->s->schedule, c->step + 1);
    optimizer_step(&t->optimizer, t->w, t->grad, norm, lr, c->step + 1);
    transformer_refresh(t->model);
    const double tokens = t->done_tokens - tokens_before, seconds = clock_seconds() - began;
    c->step++;
    c->sequence += (uint64_t)t->s->batch;
    c->tokens += tokens;
    c->flops += 6.0 * (double)params_body(&t->s->config) * tokens;
    c->seconds += seconds;
    c->recent_loss = c->step == 1 ? loss : LOSS_MEMORY * c->recent_loss + (1 - LOSS_MEMORY) * loss;
    t->used += seconds;
    *row = (struct metrics_row){.step = c->step,
                                .tokens = c->tokens,
                                .flops = c->flops,
                                .loss = loss,
                                .valid_loss = NAN,
                                .lr = lr,
                                .grad_norm = norm,
                                .tokens_per_s = tokens / seconds,
                                .mfu = mfu(t, t->done_flops - flops_before, seconds),
                                .epoch = loader_epoch(t->train, (int64_t)c->sequence),
                                .seconds = c->seconds};
    return 1;
}

static void note(char out[128], const struct trainer *t, double valid_loss) {
    char valid[32] = "";
    if (!isnan(valid_loss)) snprintf(valid, sizeof valid, ", validation %.3f", valid_loss);
    snprintf(out, 128, "loss %.3f%s, %.1f k tokens/s, MFU %.0f %%", t->state.recent_loss, valid,
             t->done_tokens / t->used / 1e3, 100 * mfu(t, t->done_flops, t->used));
}

static int loop(struct trainer *t, struct trainer_result *r, struct err *err) {
    const struct trainer_settings *s = t->s;
    int64_t saved = t->state.step;
    r->end = TRAINER_DONE;
    r->valid_loss = NAN;
    while (t->state.step < s->schedule.steps && r->end == TRAINER_DONE) {
        struct metrics_row row = {0};
        const int ok = step(t, &row, err);
        if (ok < 0) return -1;
        if (ok == 0) {
            r->end = TRAINER_DIVERGED;
            snprintf(r->message, sizeof r->message,
                     "step %lld: loss %g, gradient norm %g: the run diverged; the state before this step is saved in "
                     "%s; try a lower --lr",
                     (long long)t->state.step + 1, row.loss, row.grad_norm, s->run);
            break;
        }
        const bool last = t->state.step == s->schedule.steps;
        if (t->valid && !stop_asked() && (last || t->state.step % s->eval_every == 0)) {
            if (validate(t, &row.valid_loss, err) < 0) return -1;
            if (!isnan(row.valid_loss)) r->valid_loss = row.valid_loss;
        }
        if (comm_rank() == 0 && metrics_add(t->metrics, &row, err) < 0) return -1;
        char text[128];
        note(text, t, r->valid_loss);
        progress_at(&t->bar, (double)t->state.step, text);
        if (t->state.step % s->save_every == 0) {
            if (save(t, err) < 0) return -1;
            saved = t->state.step;
        }
        if (stop_asked()) r->end = TRAINER_STOPPED;
    }
    return saved == t->state.step && saved > 0 ? 0 : save(t, err);
}

static int finish(struct trainer *t, struct trainer_result *r, struct err *err) {
    char path[FILE_PATH_MAX];
    r->step = t->state.step;
    r->loss = t->state.recent_loss;
    r->seconds = t->state.seconds;
    if (t->used > 0) {
        r->tokens_per_s = t->done_tokens / t->used;
        r->mfu = mfu(t, t->done_flops, t->used);
    }
    if (r->end == TRAINER_STOPPED)
        snprintf(r->message, sizeof r->message,
                 "stopped after step %lld and saved in %s; the same command goes on from there", (long long)r->step,
                 t->s->run);
    if (r->end != TRAINER_DONE || comm_rank() != 0) return 0;
    if (file_join(path, t->s->run, "model.safetensors", err) < 0 ||
        weights_save(path, &t->params, &t->s->config, t->w, DTYPE_F32, err) < 0)
        return -1;
    snprintf(r->message, sizeof r->message, "trained %lld steps; the model is %s", (long long)r->step, path);
    return 0;
}

int trainer_run(const struct trainer_settings *s, struct loader *train, struct loader *valid,
                struct trainer_result *result, struct err *err) {
    struct trainer t = {.s = s, .train = train, .valid = valid};
    *result = (struct trainer_result){.valid_loss = NAN};
    int r = -1;
    progress_start(&t.bar, "train", "steps", (double)s->schedule.steps, 1);
    if (allocate(&t, err) < 0 || open_model(&t, err) < 0 || restore(&t, err) < 0) goto done;
    if (comm_rank() == 0 && !(t.metrics = metrics_open(s->run, t.state.step, err))) goto done;
    t.bar.first = (double)t.state.step;
    r = loop(&t, result, err);
    char text[128];
    note(text, &t, result->valid_loss);
    progress_end(&t.bar, (double)t.state.step, t.used > 0 ? text : "nothing left to do");
    if (metrics_close(t.metrics, r < 0 ? &(struct err){{0}} : err) < 0) r = -1;
    if (r == 0) r = finish(&t, result, err);
done:
    release(&t);
    return r;
}
