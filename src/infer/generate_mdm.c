/* generate_mdm: ancestral and confidence sampling.
 *
 * A position is masked while its id is the mask id: nothing else is remembered between steps, as in the published code
 * (a head that has a row for the mask token may write it, and the position stays open).
 *
 * Ancestral sampling draws which positions a step reveals before it needs any logits, so it asks for those rows only,
 * and a step with none needs no forward. Confidence sampling asks for all masked rows, unless its count for the step is
 * 0. Neither saving changes a result. Every sequence is at a step of its own, so that a batch is always as full as it
 * can be: whoever needs no forward goes on to a step that does. */
#include "infer/generate_mdm.h"

#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/rng.h"
#include "infer/choose.h"
#include "infer/engine.h"
#include "model/weights.h"

struct run {
    struct engine *e;
    const struct generate_mdm *g;
    int32_t *ids;
    const int64_t *starts;
    uint8_t *prompt;   /* [starts[nseq]] */
    int64_t *step;     /* [nseq]: that a sequence is at; g->steps when it is done */
    int64_t *in_batch; /* [max_rows]: which sequences are */
    int32_t mask;
    int64_t *rows;              /* [longest]: of the sequence being added */
    struct choose_order *order; /* [longest] */
    int64_t *place;             /* of each wanted row of the batch in ids: [max_rows] */
    struct choose_key *keys;    /* [max_rows] */
    struct choice *choices;     /* [max_rows] */
    struct generate_stats stats;
};

/* The fused multiply-add is part of it: that is how the published linspace rounds, on CPUs and GPUs alike. */
float generate_time(int64_t i, int64_t steps) {
    const float first = 1, last = 1e-5f, stride = (last - first) / (float)steps;
    return i < (steps + 1) / 2 ? fmaf(stride, (float)i, first) : fmaf(-stride, (float)(steps - i), last);
}

static float share(int64_t i, int64_t steps) {
    return i == steps - 1 ? 1.0f : 1.0f - generate_time(i + 1, steps) / generate_time(i, steps);
}

int64_t generate_count(int64_t masked, int64_t i, int64_t steps) {
    return i == steps - 1 ? masked : (int64_t)((float)masked * share(i, steps));
}

/* The rows that its step needs of sequence s, into r->rows. */
static int64_t rows_of(struct run *r, int64_t s) {
    const struct generate_mdm *g = r->g;
    const int32_t *ids = r->ids + r->starts[s];
    const int64_t n = r->starts[s + 1] - r->starts[s];
    const double reveal = (double)share(r->step[s], g->steps);
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        if (ids[i] != r->mask) continue;
        if (g->sampler == SAMPLER_ANCESTRAL && reveal < 1 &&
            rng_uniform(g->seed, RNG_REVEAL, g->first_sample + (uint64_t)s, (uint64_t)r->step[s] << 32 | (uint64_t)i) >=
                reveal)
            continue;
        r->rows[count++] = i;
    }
    return g->sampler == SAMPLER_CONFIDENCE && generate_count(count, r->step[s], g->steps) == 0 ? 0 : count;
}

static void end_step(struct run *r, int64_t s) {
    const struct generate_mdm *g = r->g;
    if (g->step) g->step(g->ctx, s, r->step[s], r->ids + r->starts[s]);
    r->step[s]++;
}

/* Adds sequence s to the batch at its next step that needs a forward, if there is one; false when the batch is full. */
static bool add(struct run *r, int64_t s) {
    const int64_t from = r->starts[s], n = r->starts[s + 1] - from, at = r->e->nwanted, batched = r->e->nseq;
    int64_t count = 0;
    while (r->step[s] < r->g->steps && (count = rows_of(r, s)) == 0) end_step(r, s);
    if (count == 0) return true;
    if (!engine_add(r->e, r->ids + from, n, r->prompt + from, r->rows, count)) return false;
    r->in_batch[batched] = s;
    for (int64_t i = 0; i < count; i++) {
        r->place[at + i] = from + r->rows[i];
        r->keys[at + i] =
            (struct choose_key){r->g->first_sample + (uint64_t)s, (uint32_t)r->step[s], (uint32_t)r->rows[i]};
    }
    r->stats.evaluations += r->g->cfg > 0 ? 2 : 1;
    return true;
}

static void choose(void *ctx, int64_t first, int64_t count, const float *logits) {
    struct run *r = ctx;
    const struct choose_settings s = {
        .seed = r->g->seed, .temperature = r->g->temperature, .confidence = r->g->sampler == SAMPLER_CONFIDENCE};
    choose_rows(r->choices + first, logits, count, r->e->V, r->keys + first, &s);
}

static void write_id(struct run *r, int64_t row) {
    r->ids[r->place[row]] = r->choices[row].id;
    r->stats.tokens += r->choices[row].id != r->mask;
}

/* Writes the values of the rows [first, last), all of sequence s. */
static void reveal(struct run *r, int64_t s, int64_t first, int64_t last) {
    if (r->g->sampler == SAMPLER_ANCESTRAL) {
        for (int64_t i = first; i < last; i++) write_id(r, i);
        return;
    }
    const int64_t n = last - first, count = generate_count(n, r->step[s], r->g->steps);
    for (int64_t i = 0; i < n; i++) r->order[i] = (struct choose_order){r->choices[first + i].confidence, i};
    if (count < n) choose_sort(r->order, n);
    for (int64_t i = 0; i < count; i++) write_id(r, first + r->order[i].position);
}

static void reveal_batch(struct run *r) {
    for (int64_t first = 0, last, k = 0; first < r->e->nwanted; first = last, k++) {
        last = first;
        while (last < r->e->nwanted && r->e->wanted[last] < r->e->starts[k + 1]) last++;
        reveal(r, r->in_batch[k], first, last);
        end_step(r, r->in_batch[k]);
    }
}

/* Batches of the first sequences that are not done, until all are. */
static void sample_all(struct run *r, int64_t nseq) {
    for (int64_t done = 0; done < nseq;) {
        engine_begin(r->e, r->g->cfg);
        for (int64_t s = done; s < nseq && add(r, s); s++) {
        }
        engine_run(r->e, choose, r);
        reveal_batch(r);
        while (done < nseq && r->step[done] == r->g->steps) done++;
    }
}

static int check(const struct engine *e, const struct generate_mdm *g, const int32_t *ids, const int64_t *starts,
                 int64_t nseq, int64_t *longest, struct err *err) {
    if (e->weights->config.family != FAMILY_MDM)
        return err_set(err, "sampling by unmasking needs a model of family mdm, this one is of family arm");
    if (g->steps < 1 || g->steps > INT32_MAX)
        return err_set(err, "steps must be between 1 and %d, found %lld", INT32_MAX, (long long)g->steps);
    if (!(g->temperature >= 0) || !(g->cfg >= 0))
        return err_set(err, "temperature and cfg must not be negative, found %g and %g", g->temperature, g->cfg);
    *longest = 0;
    for (int64_t s = 0; s < nseq; s++) {
        const int64_t n = starts[s + 1] - starts[s];
        if (engine_check_length(e, n, "sequence", err) < 0) return -1;
        if (engine_check_ids(e, ids + starts[s], n, "sequence", err) < 0) return -1;
        if (n > *longest) *longest = n;
    }
    return 0;
}

int generate_mdm(struct engine *e, const struct generate_mdm *g, int32_t *ids, const uint8_t *prompt,
                 const int64_t *starts, int64_t nseq, struct generate_stats *stats, struct err *err) {
    int64_t longest = 0;
    if (check(e, g, ids, starts, nseq, &longest, err) < 0) return -1;
    struct run r = {.e = e, .g = g, .ids = ids, .starts = starts, .mask = (int32_t)e->weights->config.mask_id};
    r.prompt = mem_alloc(starts[nseq], sizeof *r.prompt, "sampler", err);
    r.step = mem_alloc(nseq, sizeof *r.step, "sampler", err);
    r.in_batch = mem_alloc(e->set.max_rows, sizeof *r.in_batch, "sampler", err);
    r.rows = mem_alloc(longest, sizeof *r.rows, "sampler", err);
    r.order = mem_alloc(longest, sizeof *r.order, "sampler", err);
    r.place = mem_alloc(e->set.max_rows, sizeof *r.place, "sampler", err);
    r.keys = mem_alloc(e->set.max_rows, sizeof *r.keys, "sampler", err);
    r.choices = mem_alloc(e->set.max_rows, sizeof *r.choices, "sampler", err);
    const bool ready = r.prompt && r.step && r.in_batch && r.rows && r.order && r.place && r.keys && r.choices;
    if (ready) {
        for (int64_t i = 0; i < starts[nseq]; i++) r.prompt[i] = prompt ? prompt[i] : ids[i] != r.mask;
        sample_all(&r, nseq);
        r.stats.nfe = g->steps * (g->cfg > 0 ? 2 : 1);
        if (stats) *stats = r.stats;
    }
    mem_free(r.prompt);
    mem_free(r.step);
    mem_free(r.in_batch);
    mem_free(r.rows);
    mem_free(r.order);
    mem_free(r.place);
    mem_free(r.keys);
    mem_free(r.choices);
    return ready ? 0 : -1;
}
