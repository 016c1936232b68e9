/* asking_perplexity: documents one behind the other, cut into chunks of the model's length; an item is a chunk.
 *
 * As arXiv 2410.18514 measures temporal shift: the begin id stands before each document, all tokens of a chunk are to be
 * predicted (by an autoregressive model all but the first), and masked diffusion draws its masks as in training. Each group
 * has chunks of its own, the last one perhaps shorter. */
#include "eval/asking.h"

#include <string.h>

#include "base/buffer.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "infer/engine.h"
#include "infer/likelihood.h"
#include "model/lm.h"
#include "text/prompt.h"
#include "train/objective.h"

enum { COMPANY = 64, REPEATS = 8 };

struct document_group { /* a group */
    char *name;
    struct ids ids; /* from `start` on not yet in a chunk */
    int64_t start;
};

struct perplexity_asking {
    const struct lm *model;
    struct likelihood_settings likelihood;
    struct engine engine;
    bool begin, mdm, ended;
    int64_t length, repeats;
    struct document_group *packs;
    int64_t npacks, capacity_packs;
    int64_t next_id;
    struct ids chunk; /* the item that next() gave */
    /* what was asked */
    struct ids pool;
    int64_t *starts, n, capacity; /* of chunks in the pool, n of them */
    struct results_answer *answers;
    int64_t capacity_answers;
};

/* Draws are asked in groups, each stratified in time, so that what they differ by tells their error. */
static int64_t repeats_of(const struct lm *m, int64_t draws) {
    return m->weights.config.family == FAMILY_ARM ? 1 : draws % REPEATS == 0 ? REPEATS : draws;
}

static int64_t draws_of(const struct task *t, const struct evaluate_settings *s) {
    return s->mc > 0 ? s->mc : t->published.draws;
}

static int64_t length_of(const struct lm *m, const struct evaluate_settings *s) {
    return s->length > 0 ? s->length : m->weights.config.block_size;
}

static json_t *settings(const struct lm *m, const struct task *t, const struct evaluate_settings *s) {
    json_t *o =
        json_pack("{s:b, s:I, s:I, s:s?, s:s?, s:s?}", "begin_id", s->begin != BEGIN_NO, "length",
                  (json_int_t)length_of(m, s), "limit", (json_int_t)s->limit, "text_field", s->documents.text_field,
                  "month_field", s->documents.month_field, "separator", s->documents.separator);
    if (o && m->weights.config.family == FAMILY_MDM &&
        (json_object_set_new(o, "mc", json_integer(draws_of(t, s))) < 0 ||
         json_object_set_new(o, "seed", json_integer(s->seed)) < 0)) {
        json_decref(o);
        return NULL;
    }
    return o;
}

static void shut(void *self) {
    struct perplexity_asking *a = self;
    if (!a) return;
    for (int64_t i = 0; i < a->npacks; i++) {
        mem_free(a->packs[i].name);
        ids_free(&a->packs[i].ids);
    }
    mem_free(a->packs);
    engine_close(&a->engine);
    ids_free(&a->chunk);
    ids_free(&a->pool);
    mem_free(a->starts);
    mem_free(a->answers);
    mem_free(a);
}

static int open(void **self, const struct lm *m, const struct task *t, const struct evaluate_settings *s,
                struct err *err) {
    struct perplexity_asking *a = *self = mem_alloc(1, sizeof *a, "requests", err);
    if (!a) return -1;
    a->model = m;
    a->mdm = m->weights.config.family == FAMILY_MDM;
    a->begin = s->begin != BEGIN_NO;
    a->length = length_of(m, s);
    a->repeats = repeats_of(m, draws_of(t, s));
    const int64_t draws = draws_of(t, s) / a->repeats;
    a->likelihood = (struct likelihood_settings){.method = LIKELIHOOD_MC,
                                                 .mc_draws = draws,
                                                 .mc_batch = draws,
                                                 .floor = OBJECTIVE_EPS,
                                                 .seed = (uint64_t)s->seed};
    if (a->length < 2 || a->length > m->weights.config.block_size)
        return err_set(err, "--length %lld: chunks must have 2 to %lld tokens, the model's longest sequence",
                       (long long)a->length, (long long)m->weights.config.block_size);
    const struct engine_settings es = {.precision = m->precision, .max_rows = engine_rows(COMPANY, a->length, false)};
    return engine_open(&a->engine, &m->weights, &es, err);
}

/* ---- chunks ---- */

static struct document_group *pack_of(struct perplexity_asking *a, const char *name, struct err *err) {
    for (int64_t i = a->npacks - 1; i >= 0; i--)
        if (!strcmp(a->packs[i].name, name)) return &a->packs[i];
    if (mem_grow(&a->packs, &a->capacity_packs, a->npacks + 1, sizeof *a->packs, "groups of documents", err) < 0)
        return NULL;
    struct document_group *p = &a->packs[a->npacks];
    *p = (struct document_group){.name = mem_strdup(name, err)};
    if (p->name) a->npacks++;
    return p->name ? p : NULL;
}

/* A document's ids: the begin id, or the end id where that is all a tokenizer has, in front; without either, as in
 * training, the end id behind. */
static int push_document(struct perplexity_asking *a, struct document_group *p, const char *text, struct err *err) {
    const struct tokenizer *t = a->model->tokenizer;
    const int32_t bos = tokenizer_bos(t), eos = tokenizer_eos(t);
    const int64_t n = (int64_t)strlen(text);
    p->ids.n -= p->start;
    if (p->start > 0) memmove(p->ids.v, p->ids.v + p->start, (size_t)p->ids.n * sizeof *p->ids.v);
    p->start = 0;
    if (a->begin && (bos < 0 || bos == eos) && eos >= 0 && ids_push(&p->ids, eos, err) < 0) return -1;
    if ((a->begin ? prompt_encode : tokenizer_encode)(t, text, n, &p->ids, err) < 0) return -1;
    return !a->begin && eos >= 0 ? ids_push(&p->ids, eos, err) : 0;
}

/* The next n ids of the pack become the item. */
static int cut(struct perplexity_asking *a, struct task_items *items, struct document_group *p, int64_t n,
               struct task_item *item, struct err *err) {
    a->chunk.n = 0;
    for (int64_t i = 0; i < n; i++)
        if (ids_push(&a->chunk, p->ids.v[p->start + i], err) < 0) return -1;
    p->start += n;
    *item = (struct task_item){.doc_id = a->next_id++, .context = "", .target = "", .gold = -1};
    item->doc = json_pack("{s:I, s:I}", "chunk", (json_int_t)task_items_take(items, p->name), "tokens",
                          (json_int_t)(n - !a->mdm));
    item->memory = mem_strdup(p->name, err);
    item->group = item->memory;
    if (item->doc && item->memory) return 1;
    task_item_free(item);
    return err_set(err, "out of memory for a chunk");
}

/* Reads one document. 1; 0 at the end; -1. */
static int read_document(struct perplexity_asking *a, struct task_items *items, struct err *err) {
    struct task_item document;
    const int k = task_items_next(items, &document, err);
    if (k <= 0) return k;
    struct document_group *p = pack_of(a, document.group, err);
    int status = p ? 1 : -1;
    if (p && push_document(a, p, document.context, err) < 0) status = err_prefix(err, "%s", task_items_where(items));
    task_item_free(&document);
    return status;
}

static int next(void *self, struct task_items *items, struct task_item *item, struct err *err) {
    struct perplexity_asking *a = self;
    for (;;) {
        for (int64_t i = 0; i < a->npacks; i++) {
            struct document_group *p = &a->packs[i];
            const int64_t least = a->ended ? 2 : a->length, there = p->ids.n - p->start;
            if (there >= least && !task_items_full(items, p->name))
                return cut(a, items, p, there < a->length ? there : a->length, item, err);
        }
        if (a->ended) return 0;
        const int k = read_document(a, items, err);
        if (k < 0) return -1;
        a->ended = k == 0;
    }
}

/* ---- asking ---- */

static int ask(void *self, const struct task_item *item, struct err *err) {
    struct perplexity_asking *a = self;
    const int64_t given = !a->mdm;
    const struct likelihood_item it = {a->chunk.v, a->chunk.v + given, given, a->chunk.n - given, 0};
    (void)item;
    if (likelihood_check_item(&a->engine, &a->likelihood, &it, err) < 0 ||
        mem_grow(&a->starts, &a->capacity, a->n + 2, sizeof *a->starts, "chunks", err) < 0)
        return -1;
    a->starts[a->n] = a->pool.n;
    for (int64_t i = 0; i < a->chunk.n; i++)
        if (ids_push(&a->pool, a->chunk.v[i], err) < 0) return -1;
    a->starts[++a->n] = a->pool.n;
    return (int)a->repeats;
}

static void unask(void *self) {
    struct perplexity_asking *a = self;
    a->pool.n = a->starts[--a->n];
}

static double work(const void *self, double *batch) {
    const struct perplexity_asking *a = self;
    *batch = ASKING_TOKENS;
    return (double)a->pool.n * (a->mdm ? (double)(a->repeats * a->likelihood.mc_draws) : 1);
}

/* A chunk's draws are named by its ids and the number of their group. */
static void lay_out(const struct perplexity_asking *a, struct likelihood_item *items) {
    for (int64_t i = 0; i < a->n; i++) {
        const int32_t *ids = a->pool.v + a->starts[i];
        const int64_t n = a->starts[i + 1] - a->starts[i], given = !a->mdm;
        const uint64_t name = hash_finish(hash_add(HASH_START, ids, (size_t)n * sizeof *ids));
        for (int64_t k = 0; k < a->repeats; k++)
            items[i * a->repeats + k] =
                (struct likelihood_item){ids, ids + given, given, n - given, name + (uint64_t)k};
    }
}

static int answer(void *self, const struct results_answer **answers, struct err *err) {
    struct perplexity_asking *a = self;
    const int64_t n = a->n * a->repeats;
    if (mem_grow(&a->answers, &a->capacity_answers, n, sizeof *a->answers, "answers", err) < 0) return -1;
    struct likelihood_item *items = mem_alloc(n, sizeof *items, "requests", err);
    struct likelihood_result *results = mem_alloc(n, sizeof *results, "requests", err);
    int status = items && results ? 0 : -1;
    if (status == 0) lay_out(a, items);
    if (status == 0 && n > 0) status = likelihood(&a->engine, &a->likelihood, items, n, results, err);
    for (int64_t i = 0; i < n && status == 0; i++)
        a->answers[i] = (struct results_answer){.loglikelihood = -results[i].nll};
    mem_free(items);
    mem_free(results);
    a->n = a->pool.n = 0;
    *answers = a->answers;
    return status;
}

const struct asking asking_perplexity = {.settings = settings,
                                         .open = open,
                                         .close = shut,
                                         .next = next,
                                         .ask = ask,
                                         .unask = unask,
                                         .work = work,
                                         .answer = answer};
