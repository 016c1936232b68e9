/* engine: ragged batches for inference. Decides nothing and scores nothing itself. */
#include "infer/engine.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "model/transformer.h"
#include "model/weights.h"

enum { FULL_ROWS = 4096 }; /* a larger batch gives the matmuls nothing more */
enum { HEAD_ROWS = 1152 }; /* rows of a product of the head: three of its tiles; even, so that pairs stay together */

int64_t engine_rows(int64_t nseq, int64_t length, bool guided) {
    const int64_t one = length * (guided ? 2 : 1), fit = FULL_ROWS / one > 1 ? FULL_ROWS / one : 1;
    return one * (nseq < 1 ? 1 : nseq < fit ? nseq : fit);
}

int engine_open(struct engine *e, const struct weights *w, const struct engine_settings *s, struct err *err) {
    const struct config *c = &w->config;
    const int64_t n = s->max_rows;
    *e = (struct engine){.weights = w, .set = *s, .V = c->padded_vocab_size};
    e->id_end = config_embedding_rows(c);
    BUG_ON(s->guided && c->family != FAMILY_MDM);
    const struct transformer_settings t = {.precision = s->precision, .max_rows = n};
    if (transformer_open(&e->model, w, &t, err) < 0) return -1;
    e->tokens = mem_alloc(n, sizeof *e->tokens, "batch", err);
    e->starts = mem_alloc(n + 1, sizeof *e->starts, "batch", err);
    e->past = mem_alloc(n, sizeof *e->past, "batch", err);
    e->wanted = mem_alloc(n, sizeof *e->wanted, "batch", err);
    e->want = mem_alloc(2 * n, sizeof *e->want, "batch", err);
    e->choice = mem_alloc(2 * n, sizeof *e->choice, "batch", err);
    e->head = mem_alloc(2 * n, sizeof *e->head, "batch", err);
    e->scratch = mem_alloc(choose_scratch(n < HEAD_ROWS ? n : HEAD_ROWS, e->V), 1, "choices", err);
    if (e->tokens && e->starts && e->past && e->wanted && e->want && e->choice && e->head && e->scratch) return 0;
    engine_close(e);
    return -1;
}

void engine_close(struct engine *e) {
    transformer_close(e->model);
    mem_free(e->tokens);
    mem_free(e->starts);
    mem_free(e->past);
    mem_free(e->wanted);
    mem_free(e->want);
    mem_free(e->choice);
    mem_free(e->head);
    mem_free(e->scratch);
    *e = (struct engine){0};
}

int engine_check_length(const struct engine *e, int64_t n, const char *what, struct err *err) {
    const int64_t block = e->weights->config.block_size;
    if (n < 1) return err_set(err, "%s: an empty sequence", what);
    if (n > block)
        return err_set(err, "%s: %lld tokens do not fit the model, whose longest sequence (block_size) is %lld", what,
                       (long long)n, (long long)block);
    if (n * (e->set.guided ? 2 : 1) > e->set.max_rows)
        return err_set(err, "%s: %lld tokens%s do not fit a batch of %lld", what, (long long)n,
                       e->set.guided ? ", twice for guidance," : "", (long long)e->set.max_rows);
    return 0;
}

int engine_check_ids(const struct engine *e, const int32_t *ids, int64_t n, const char *what, struct err *err) {
    for (int64_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= e->id_end)
            return err_set(err, "%s: token %lld is %d; ids of this model are 0 ... %lld", what, (long long)i + 1,
                           ids[i], (long long)e->id_end - 1);
    return 0;
}

int64_t engine_row_of(const struct engine *e, int64_t position) {
    return position - (e->weights->config.family == FAMILY_ARM);
}

void engine_begin(struct engine *e) {
    e->n = e->nseq = e->nwanted = e->nguided = e->nplain = 0;
    e->has_past = e->branch = false;
}

/* Places for choices: as many as there are rows, though engine_again() may want several of a row. */
static bool has_places(const struct engine *e, int64_t n, bool guided) {
    return guided ? e->nguided + n <= e->set.max_rows / 2 : e->nplain + n <= e->set.max_rows;
}

bool engine_has_room(const struct engine *e, int64_t n, double cfg) {
    return e->n + n * (cfg > 0 ? 2 : 1) <= e->set.max_rows && has_places(e, n, cfg > 0);
}

/* The tokens that were just written become a sequence; every `step`th place from head[at] on gets one of its wanted rows. */
static void end_sequence(struct engine *e, const struct engine_sequence *s, int64_t at, int64_t step) {
    for (int64_t i = 0; i < s->nrows; i++) {
        e->head[at + i * step] = e->nwanted;
        e->wanted[e->nwanted++] = e->n + s->rows[i];
    }
    e->n += s->n;
    e->past[e->nseq] = s->past;
    e->has_past |= s->past != NULL;
    e->branch |= s->branch;
    e->starts[++e->nseq] = e->n;
}

int64_t engine_add(struct engine *e, const struct engine_sequence *s) {
    const bool guided = s->cfg > 0;
    const int32_t mask = (int32_t)e->weights->config.mask_id;
    BUG_ON(guided && (!e->set.guided || s->past));
    BUG_ON(s->past && e->has_past && e->branch != s->branch);
    if (!engine_has_room(e, s->n, s->cfg)) return -1;
    const int64_t at = guided ? e->nguided : e->set.max_rows + e->nplain;
    memcpy(e->tokens + e->n, s->ids, (size_t)s->n * sizeof *s->ids);
    if (!guided) {
        end_sequence(e, s, at, 1);
        e->nplain += s->nrows;
        return at;
    }
    end_sequence(e, s, 2 * at, 2);
    for (int64_t i = 0; i < s->n; i++) e->tokens[e->n + i] = s->prompt[i] ? mask : s->ids[i];
    end_sequence(e, s, 2 * at + 1, 2);
    e->nguided += s->nrows;
    return at;
}

int64_t engine_again(struct engine *e, int64_t at, int64_t nrows) {
    const bool guided = at < e->set.max_rows;
    const int64_t each = guided ? 2 : 1, to = guided ? e->nguided : e->set.max_rows + e->nplain;
    if (!has_places(e, nrows, guided)) return -1;
    memcpy(e->head + to * each, e->head + at * each, (size_t)(nrows * each) * sizeof *e->head);
    *(guided ? &e->nguided : &e->nplain) += nrows;
    return to;
}

bool engine_wants_rows(const struct engine *e, int64_t at, int64_t start, const int64_t *rows, int64_t nrows) {
    const int64_t each = at < e->set.max_rows ? 2 : 1;
    for (int64_t i = 0; i < nrows; i++)
        if (e->wanted[e->head[(at + i) * each]] != start + rows[i]) return false;
    return true;
}

/* The choices of wants first … first + n − 1, whose rows begin at head[row]. */
static void choose(struct engine *e, int64_t first, int64_t n, bool pairs, int64_t row) {
    const int64_t each = pairs ? 2 : 1;
    for (int64_t i = 0, count; i < n; i += count) {
        struct choose c;
        count = n - i < HEAD_ROWS / each ? n - i : HEAD_ROWS / each;
        choose_begin(&c, e->want + first + i, count, e->V, pairs, e->scratch);
        transformer_head_use(e->model, e->head + row + i * each, count * each, choose_block, &c);
        choose_end(&c, e->choice + first + i);
    }
}

void engine_run(struct engine *e) {
    if (e->nwanted == 0) return;
    const struct batch b = {.tokens = e->tokens,
                            .starts = e->starts,
                            .wanted = e->wanted,
                            .n = e->n,
                            .nseq = e->nseq,
                            .nwanted = e->nwanted,
                            .past = e->has_past ? e->past : NULL,
                            .append = e->has_past && !e->branch};
    transformer_body(e->model, &b);
    e->forwards++;
    e->rows += e->n;
    choose(e, 0, e->nguided, true, 0);
    choose(e, e->set.max_rows, e->nplain, false, e->set.max_rows);
}
