/* scheduler: see scheduler.h. All that run are in every batch: a request is let in only when its rows fit beside theirs.
 * Steps that need no forward are gone through at once, so that a batch is always as full as it can be.
 *
 * A causal sequence keeps its past in a store of its own: its prompt is read in one forward, beside whatever others do,
 * and later forwards have one row of it. */
#include "infer/scheduler.h"

#include "base/err.h"
#include "base/mem.h"
#include "infer/engine.h"
#include "model/kvstore.h"
#include "model/weights.h"

#define STORE_TYPE DTYPE_F32 /* of keys and values: what has been read is not rounded again */

struct scheduler {
    struct engine *e;
    struct request *first, *last; /* the queue */
    struct sequence *running;     /* [nrunning] of max_rows: each has a row at least */
    int64_t nrunning, store_bytes, most_store_bytes;
    int64_t *positions, *rows; /* [block_size]: of the sequence being added */
};

int scheduler_open(struct scheduler **out, struct engine *e, int64_t store_bytes, struct err *err) {
    const int64_t longest = e->weights->config.block_size;
    struct scheduler *s = *out = mem_alloc(1, sizeof *s, "scheduler", err);
    if (!s) return -1;
    s->e = e;
    s->most_store_bytes = store_bytes;
    s->running = mem_alloc(e->set.max_rows, sizeof *s->running, "scheduler", err);
    s->positions = mem_alloc(longest, sizeof *s->positions, "scheduler", err);
    s->rows = mem_alloc(longest, sizeof *s->rows, "scheduler", err);
    if (s->running && s->positions && s->rows) return 0;
    scheduler_close(s);
    *out = NULL;
    return -1;
}

static int64_t bytes_of_store(const struct scheduler *s, const struct request *r) {
    return r->sampler->causal ? kvstore_bytes(&s->e->weights->config, r->room, STORE_TYPE) : 0;
}

static void give_back(struct scheduler *s, struct sequence *q) {
    s->store_bytes -= bytes_of_store(s, q->r);
    kvstore_close(q->past);
    mem_free(q->prompt);
}

static void leave(struct scheduler *s, struct sequence *q) {
    give_back(s, q);
    q->r->done = true;
}

void scheduler_close(struct scheduler *s) {
    if (!s) return;
    for (int64_t i = 0; i < s->nrunning; i++) give_back(s, &s->running[i]);
    mem_free(s->running);
    mem_free(s->positions);
    mem_free(s->rows);
    mem_free(s);
}

/* ---- the queue ---- */

static int check(const struct engine *e, const struct request *r, struct err *err) {
    if (r->sampler->family != e->weights->config.family)
        return err_set(err, "the sampler '%s' needs a model of family %s, this one is of family %s", r->sampler->name,
                       family_names[r->sampler->family], family_names[e->weights->config.family]);
    if (r->steps < 1 || r->steps > INT32_MAX)
        return err_set(err, "steps must be between 1 and %d, found %lld", INT32_MAX, (long long)r->steps);
    if (!(r->temperature >= 0) || !(r->cfg >= 0))
        return err_set(err, "temperature and cfg must not be negative, found %g and %g", r->temperature, r->cfg);
    if (r->cfg > 0 && !e->set.guided) return err_set(err, "cfg is %g: this model was opened without guidance", r->cfg);
    if (r->sampler->causal && r->n < 1)
        return err_set(err, "the prompt is empty: an autoregressive model needs at least one token to go on from");
    if (r->n > r->room)
        return err_set(err, "the prompt has %lld tokens, more than the total length %lld", (long long)r->n,
                       (long long)r->room);
    if (engine_check_length(e, r->room, "sequence", err) < 0) return -1;
    return engine_check_ids(e, r->ids, r->n, "sequence", err);
}

int scheduler_add(struct scheduler *s, struct request *r, struct err *err) {
    if (check(s->e, r, err) < 0) return -1;
    r->next = NULL;
    r->done = r->lost = false;
    r->steps_done = r->nfe = r->evaluations = r->written = 0;
    *(s->first ? &s->last->next : &s->first) = r;
    s->last = r;
    return 0;
}

/* ---- steps ---- */

static bool ended(const struct sequence *q) {
    if (q->r->cancelled) return true;
    return q->r->sampler->ended ? q->r->sampler->ended(q) : q->step == q->r->steps;
}

/* The sequence does with choices[n] what its step is about. */
static void end_step(struct sequence *q, struct choice *choices, int64_t n) {
    struct request *r = q->r;
    const int guided = r->cfg > 0 ? 2 : 1;
    r->sampler->take(q, choices, n);
    r->steps_done = ++q->step;
    r->nfe += guided;
    if (n > 0) r->evaluations += guided;
    if (r->step) r->step(r);
}

/* Brings the sequence to its next step that needs a forward and adds it to the batch; false: it ended first. */
static bool add(struct scheduler *s, struct sequence *q) {
    struct request *r = q->r;
    q->n = 0;
    while (!ended(q) && (q->n = r->sampler->want(q, s->positions)) == 0) end_step(q, NULL, 0);
    if (q->n == 0) return false;
    const int64_t past = q->past ? kvstore_length(q->past) : 0;
    for (int64_t i = 0; i < q->n; i++) s->rows[i] = engine_row_of(s->e, s->positions[i]) - past;
    q->at = engine_add(s->e, &(struct engine_sequence){.ids = r->ids + past,
                                                       .n = r->n - past,
                                                       .past = q->past,
                                                       .prompt = r->prompt ? r->prompt : q->prompt,
                                                       .cfg = r->cfg,
                                                       .rows = s->rows,
                                                       .nrows = q->n});
    BUG_ON(q->at < 0);
    for (int64_t i = 0; i < q->n; i++)
        s->e->want[q->at + i] = (struct choose_row){.seed = r->seed,
                                                    .sample = r->sample,
                                                    .step = r->sampler->causal ? 0 : (uint32_t)q->step,
                                                    .position = (uint32_t)s->positions[i],
                                                    .temperature = r->temperature,
                                                    .cfg = (float)r->cfg,
                                                    .target = -1,
                                                    .confidence = r->sampler->confidence};
    return true;
}

/* What a sequence keeps while it runs: the prompt's places, its past. */
static int take_memory(struct scheduler *s, struct sequence *q, struct err *err) {
    const struct request *r = q->r;
    if (!r->prompt && r->cfg > 0) {
        q->prompt = mem_alloc(r->n, 1, "prompt", err);
        if (!q->prompt) return -1;
        for (int64_t i = 0; i < r->n; i++) q->prompt[i] = r->ids[i] != q->mask;
    }
    if (r->sampler->causal && kvstore_open(&q->past, &s->e->weights->config, r->room, STORE_TYPE, err) < 0) {
        mem_free(q->prompt);
        return -1;
    }
    s->store_bytes += bytes_of_store(s, r);
    return 0;
}

/* Lets in whoever is next while there is room. Where memory is short, others must leave first. */
static int admit(struct scheduler *s, struct err *err) {
    while (s->first) {
        struct sequence q = {.r = s->first, .mask = (int32_t)s->e->weights->config.mask_id};
        const bool alone = s->nrunning == 0, stored = s->store_bytes + bytes_of_store(s, q.r) <= s->most_store_bytes;
        if (!engine_has_room(s->e, q.r->n, q.r->cfg) || !(stored || alone)) return 0;
        if (take_memory(s, &q, err) < 0) return alone ? -1 : 0;
        s->first = s->first->next;
        if (add(s, &q))
            s->running[s->nrunning++] = q; /* there is a place: each has a row of the batch */
        else
            leave(s, &q);
    }
    return 0;
}

static bool any_none(const struct choice *c, int64_t n) {
    int64_t i = 0;
    while (i < n && !c[i].none) i++;
    return i < n;
}

int scheduler_step(struct scheduler *s, struct err *err) {
    int64_t n = 0;
    engine_begin(s->e);
    for (int64_t i = 0; i < s->nrunning; i++) {
        struct sequence q = s->running[i];
        if (add(s, &q))
            s->running[n++] = q;
        else
            leave(s, &q);
    }
    s->nrunning = n;
    if (admit(s, err) < 0) return -1;
    engine_run(s->e);
    n = 0;
    for (int64_t i = 0; i < s->nrunning; i++) {
        struct sequence q = s->running[i];
        q.r->lost = any_none(s->e->choice + q.at, q.n);
        if (q.r->lost) {
            leave(s, &q);
            continue;
        }
        if (q.past) kvstore_commit(q.past, q.r->n - kvstore_length(q.past));
        end_step(&q, s->e->choice + q.at, q.n);
        if (ended(&q))
            leave(s, &q);
        else
            s->running[n++] = q;
    }
    s->nrunning = n;
    return s->nrunning > 0 || s->first;
}

int scheduler_check(const struct request *r, struct err *err) {
    if (!r->lost) return 0;
    return err_set(err, "the model gives no token a number (NaN): its weights are damaged, or their training went "
                        "astray; take other --weights");
}

int scheduler_run(struct scheduler *s, struct err *err) {
    int more;
    while ((more = scheduler_step(s, err)) > 0) {
    }
    return more;
}
