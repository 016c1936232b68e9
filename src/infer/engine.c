/* engine: ragged batches for inference, and classifier-free guidance. Chooses nothing and scores nothing itself. */
#include "infer/engine.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "model/transformer.h"
#include "model/weights.h"

enum { FULL_ROWS = 4096 }; /* a larger batch gives the matmuls nothing more */
enum { SMALL = 1 << 16 };  /* logits that one thread does sooner */

int64_t engine_rows(int64_t nseq, int64_t length, bool guided) {
    const int64_t one = length * (guided ? 2 : 1), fit = FULL_ROWS / one > 1 ? FULL_ROWS / one : 1;
    return one * (nseq < fit ? nseq : fit);
}

int engine_open(struct engine *e, const struct weights *w, const struct engine_settings *s, struct err *err) {
    const struct config *c = &w->config;
    *e = (struct engine){.weights = w, .set = *s, .V = c->padded_vocab_size};
    e->id_end = config_embedding_rows(c);
    BUG_ON(s->guided && c->family != FAMILY_MDM);
    const struct transformer_settings t = {.precision = s->precision, .max_rows = s->max_rows};
    if (transformer_open(&e->model, w, &t, err) < 0) return -1;
    e->tokens = mem_alloc(s->max_rows, sizeof *e->tokens, "batch", err);
    e->prompt = mem_alloc(s->max_rows, sizeof *e->prompt, "batch", err);
    e->starts = mem_alloc(s->max_rows + 1, sizeof *e->starts, "batch", err);
    e->wanted = mem_alloc(s->max_rows, sizeof *e->wanted, "batch", err);
    e->logits = mem_alloc(ENGINE_ROWS * e->V, sizeof *e->logits, "logits", err);
    e->other = mem_alloc(s->guided ? ENGINE_ROWS * e->V : 0, sizeof *e->other, "logits", err);
    if (e->tokens && e->prompt && e->starts && e->wanted && e->logits && e->other) return 0;
    engine_close(e);
    return -1;
}

void engine_close(struct engine *e) {
    transformer_close(e->model);
    mem_free(e->tokens);
    mem_free(e->prompt);
    mem_free(e->starts);
    mem_free(e->wanted);
    mem_free(e->logits);
    mem_free(e->other);
    *e = (struct engine){0};
}

int engine_check_length(const struct engine *e, int64_t n, const char *what, struct err *err) {
    const int64_t block = e->weights->config.block_size;
    if (n < 1) return err_set(err, "%s: an empty sequence", what);
    if (n > block)
        return err_set(err, "%s: %lld tokens do not fit the model, whose longest sequence (block_size) is %lld", what,
                       (long long)n, (long long)block);
    BUG_ON(n * (e->set.guided ? 2 : 1) > e->set.max_rows);
    return 0;
}

int engine_check_ids(const struct engine *e, const int32_t *ids, int64_t n, const char *what, struct err *err) {
    for (int64_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= e->id_end)
            return err_set(err, "%s: token %lld is %d; ids of this model are 0 ... %lld", what, (long long)i + 1,
                           ids[i], (long long)e->id_end - 1);
    return 0;
}

void engine_begin(struct engine *e, double cfg) {
    BUG_ON(cfg > 0 && !e->set.guided);
    e->cfg = cfg;
    e->n = e->nseq = e->nwanted = 0;
}

bool engine_add(struct engine *e, const int32_t *ids, int64_t n, const uint8_t *prompt, const int64_t *positions,
                int64_t nrows) {
    const bool guided = e->cfg > 0;
    if ((e->n + n) * (guided ? 2 : 1) > e->set.max_rows) return false;
    memcpy(e->tokens + e->n, ids, (size_t)n * sizeof *ids);
    if (guided) memcpy(e->prompt + e->n, prompt, (size_t)n);
    for (int64_t i = 0; i < nrows; i++) e->wanted[e->nwanted++] = e->n + positions[i];
    e->n += n;
    e->starts[++e->nseq] = e->n;
    return true;
}

/* The batch with the unprompted copies behind it. */
static struct batch with_copies(struct engine *e) {
    const int64_t n = e->n, nseq = e->nseq, nwanted = e->nwanted;
    const int32_t mask = (int32_t)e->weights->config.mask_id;
    for (int64_t i = 0; i < n; i++) e->tokens[n + i] = e->prompt[i] ? mask : e->tokens[i];
    for (int64_t s = 1; s <= nseq; s++) e->starts[nseq + s] = n + e->starts[s];
    for (int64_t i = 0; i < nwanted; i++) e->wanted[nwanted + i] = n + e->wanted[i];
    return (struct batch){e->tokens, e->starts, e->wanted, 2 * n, 2 * nseq, 2 * nwanted};
}

static void body(struct engine *e) {
    const struct batch plain = {e->tokens, e->starts, e->wanted, e->n, e->nseq, e->nwanted};
    const struct batch b = e->cfg > 0 ? with_copies(e) : plain;
    transformer_body(e->model, &b);
    e->forwards++;
}

void engine_run(struct engine *e, void (*use)(void *ctx, int64_t first, int64_t count, const float *logits),
                void *ctx) {
    if (e->nwanted == 0) return;
    body(e);
    for (int64_t first = 0; first < e->nwanted; first += ENGINE_ROWS) {
        const int64_t left = e->nwanted - first, count = left < ENGINE_ROWS ? left : ENGINE_ROWS;
        transformer_head(e->model, first, count, e->logits);
        if (e->cfg > 0) {
            transformer_head(e->model, e->nwanted + first, count, e->other);
#pragma omp parallel for if (count * e->V > SMALL)
            for (int64_t i = 0; i < count; i++)
                kernels->guide(e->logits + i * e->V, e->other + i * e->V, (float)e->cfg, e->V);
        }
        use(ctx, first, count, e->logits);
    }
}

struct losses {
    const struct engine *e;
    const int32_t *targets;
    float *loss;
};

static void take_losses(void *ctx, int64_t first, int64_t count, const float *logits) {
    const struct losses *l = ctx;
    const int64_t V = l->e->V;
#pragma omp parallel for if (count * V > SMALL)
    for (int64_t i = 0; i < count; i++)
        l->loss[first + i] = kernels->cross_entropy(logits + i * V, V, l->targets[first + i]);
}

void engine_losses(struct engine *e, const int32_t *targets, float *loss) {
    if (e->nwanted == 0) return;
    if (e->cfg > 0) {
        engine_run(e, take_losses, &(struct losses){e, targets, loss});
        return;
    }
    body(e);
    transformer_row_losses(e->model, targets, loss);
}
