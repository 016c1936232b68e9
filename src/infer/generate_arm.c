/* generate_arm: prompts in one forward, then one row per sequence and step. Sequences are taken in groups whose prompts
 * fit a forward and whose cache stays below CACHE_BYTES; a finished sequence adds no rows while its group goes on. */
#include "infer/generate_arm.h"

#include "base/err.h"
#include "base/mem.h"
#include "infer/choose.h"
#include "infer/engine.h"
#include "model/kvstore.h"
#include "model/transformer.h"
#include "model/weights.h"

#define CACHE_BYTES ((int64_t)1 << 30)

struct run {
    struct engine *e;
    const struct generate_arm *g;
    int32_t *ids;
    const int64_t *starts;
    int64_t *lengths;
    struct generate_stats stats;
};

static bool going(const struct run *r, int64_t s) {
    const int64_t n = r->lengths[s];
    return n < r->starts[s + 1] - r->starts[s];
}

/* The batch of sequences [first, last): what each has beyond its cache. Its wanted rows are the last of each. */
static struct batch next_batch(struct run *r, struct kvstore *const *k, const bool *done, int64_t first, int64_t last) {
    struct engine *e = r->e;
    engine_begin(e, 0);
    for (int64_t s = first; s < last; s++) {
        const int64_t past = kvstore_length(k[s - first]), n = done[s - first] ? 0 : r->lengths[s] - past;
        const int64_t row = n - 1;
        BUG_ON(!engine_add(e, r->ids + r->starts[s] + past, n, NULL, &row, n > 0));
    }
    return (struct batch){e->tokens, e->starts, e->wanted, e->n, e->nseq, e->nwanted, k, true};
}

/* One token more for every sequence of the group that is not done. */
static void append(struct run *r, bool *done, const struct choice *choices, int64_t first, int64_t last) {
    for (int64_t s = first, i = 0; s < last; s++) {
        if (done[s - first]) continue;
        const int32_t id = choices[i++].id;
        r->ids[r->starts[s] + r->lengths[s]++] = id;
        done[s - first] = id == r->g->end_id || !going(r, s);
        r->stats.tokens++;
        r->stats.evaluations++;
        if (r->g->step) r->g->step(r->g->ctx, s, r->lengths[s]);
    }
}

static void close_stores(struct kvstore **k, int64_t n) {
    for (int64_t i = 0; i < n; i++) kvstore_close(k[i]);
}

static int open_stores(const struct run *r, struct kvstore **k, int64_t n, int64_t longest, struct err *err) {
    for (int64_t i = 0; i < n; i++)
        if (kvstore_open(&k[i], &r->e->weights->config, longest, DTYPE_F32, err) < 0) {
            close_stores(k, i);
            return -1;
        }
    return 0;
}

static int group(struct run *r, int64_t first, int64_t last, int64_t longest, struct err *err) {
    bool done[ENGINE_ROWS];
    struct choice choices[ENGINE_ROWS];
    struct choose_key keys[ENGINE_ROWS];
    struct kvstore *k[ENGINE_ROWS];
    if (open_stores(r, k, last - first, longest, err) < 0) return -1;
    for (int64_t s = first; s < last; s++) done[s - first] = !going(r, s);
    int64_t steps = 0;
    for (;; steps++) {
        const struct batch b = next_batch(r, k, done, first, last);
        if (b.n == 0) break;
        int64_t n = 0;
        for (int64_t s = first; s < last; s++)
            if (!done[s - first])
                keys[n++] = (struct choose_key){r->g->first_sample + (uint64_t)s, 0, (uint32_t)r->lengths[s]};
        transformer_logits(r->e->model, &b, r->e->logits);
        for (int64_t s = 0; s < b.nseq; s++) kvstore_commit(k[s], b.starts[s + 1] - b.starts[s]);
        choose_rows(choices, r->e->logits, n, r->e->V, keys,
                    &(struct choose_settings){.seed = r->g->seed, .temperature = r->g->temperature});
        append(r, done, choices, first, last);
    }
    if (steps > r->stats.nfe) r->stats.nfe = steps;
    close_stores(k, last - first);
    return 0;
}

/* The end of the group that begins at `first`, and its longest total length. */
static int64_t group_end(const struct run *r, int64_t first, int64_t nseq, int64_t *longest) {
    const struct config *c = &r->e->weights->config;
    int64_t sum = 0, last = first;
    *longest = 0;
    for (; last < nseq && last - first < ENGINE_ROWS; last++) {
        const int64_t total = r->starts[last + 1] - r->starts[last], most = total > *longest ? total : *longest;
        sum += r->lengths[last];
        if (last > first &&
            (sum > r->e->set.max_rows || (last - first + 1) * kvstore_bytes(c, most, DTYPE_F32) > CACHE_BYTES))
            break;
        *longest = most;
    }
    return last;
}

static int check(const struct run *r, int64_t nseq, struct err *err) {
    if (r->e->weights->config.family != FAMILY_ARM)
        return err_set(err, "sampling token by token needs a model of family arm, this one is of family mdm");
    if (!(r->g->temperature >= 0)) return err_set(err, "temperature must not be negative, found %g", r->g->temperature);
    for (int64_t s = 0; s < nseq; s++) {
        const int64_t n = r->lengths[s], total = r->starts[s + 1] - r->starts[s];
        if (n < 1)
            return err_set(err, "the prompt is empty: an autoregressive model needs at least one token to go on from");
        if (n > total)
            return err_set(err, "the prompt has %lld tokens, more than the total length %lld", (long long)n,
                           (long long)total);
        if (engine_check_length(r->e, total, "sequence", err) < 0) return -1;
        if (engine_check_ids(r->e, r->ids + r->starts[s], n, "prompt", err) < 0) return -1;
    }
    return 0;
}

int generate_arm(struct engine *e, const struct generate_arm *g, int32_t *ids, const int64_t *starts, int64_t *lengths,
                 int64_t nseq, struct generate_stats *stats, struct err *err) {
    struct run r = {.e = e, .g = g, .ids = ids, .starts = starts, .lengths = lengths};
    if (check(&r, nseq, err) < 0) return -1;
    for (int64_t first = 0, last, longest; first < nseq; first = last) {
        last = group_end(&r, first, nseq, &longest);
        if (group(&r, first, last, longest, err) < 0) return -1;
    }
    if (stats) *stats = r.stats;
    return 0;
}
