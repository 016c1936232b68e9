/* generation: prompts to requests, what they wrote to texts; writing is the scheduler's and the samplers'. */
#include "eval/generation.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/stop.h"
#include "infer/engine.h"
#include "infer/scheduler.h"
#include "model/lm.h"
#include "text/chat.h"
#include "text/prompt.h"

struct written {
    struct ids ids; /* the prompt, then all of the sequence */
    int64_t prompt; /* ids of it */
    uint64_t sample;
    struct request request;
    struct bytes text;
    bool full; /* no room is left for another pass */
};

struct generation {
    const struct lm *model;
    struct generation_settings s;
    struct engine engine;
    struct written *texts;
    int64_t n, capacity;
    int64_t mark_bytes; /* prompt_mark() of s.until: what ends a text beside the end id, */
    int32_t mark;       /* and the id that it is */
    double seconds;
};

int generation_open(struct generation **out, const struct lm *m, const struct generation_settings *s, struct err *err) {
    const bool guided = s->cfg > 0;
    BUG_ON(!m->tokenizer || s->batch < 1 || s->passes < 1);
    struct generation *g = *out = mem_alloc(1, sizeof *g, "texts", err);
    if (!g) return -1;
    g->model = m;
    g->s = *s;
    const struct engine_settings es = {
        .precision = m->precision, .max_rows = engine_rows(s->batch, s->length, guided), .guided = guided};
    g->mark_bytes = prompt_mark(m->tokenizer, s->until ? s->until : "", &g->mark, err);
    if (g->mark_bytes >= 0 && engine_open(&g->engine, &m->weights, &es, err) == 0) return 0;
    generation_close(g);
    *out = NULL;
    return -1;
}

static void forget(struct written *w) {
    ids_free(&w->ids);
    bytes_free(&w->text);
}

void generation_drop(struct generation *g, int64_t count) {
    for (; g->n > count; g->n--) forget(&g->texts[g->n - 1]);
}

void generation_close(struct generation *g) {
    if (!g) return;
    generation_drop(g, 0);
    mem_free(g->texts);
    engine_close(&g->engine);
    mem_free(g);
}

int64_t generation_count(const struct generation *g) {
    return g->n;
}

const char *generation_text(const struct generation *g, int64_t i) {
    return g->texts[i].text.v ? g->texts[i].text.v : "";
}

double generation_seconds(const struct generation *g) {
    return g->seconds;
}

/* ---- prompts ---- */

static int encode(const struct generation *g, bool begin, const char *text, int64_t n, struct ids *out,
                  struct err *err) {
    return (begin ? prompt_encode : tokenizer_encode)(g->model->tokenizer, text, n, out, err);
}

static int encode_pieces(const struct generation *g, const struct chat *prompt, struct ids *out, struct err *err) {
    const int32_t end = lm_end_id(g->model);
    int status = 0;
    for (int64_t i = 0; i < prompt->n && status == 0; i++) {
        const struct chat_piece *p = &prompt->pieces[i];
        status = encode(g, g->s.begin, prompt->text.v + p->start, p->n, out, err);
        if (status == 0 && p->end && end >= 0 && g->mark != end) status = ids_push(out, end, err);
    }
    return status;
}

int generation_add(struct generation *g, const struct chat *prompt, uint64_t sample, struct err *err) {
    if (mem_grow(&g->texts, &g->capacity, g->n + 1, sizeof *g->texts, "texts", err) < 0) return -1;
    struct written *w = &g->texts[g->n];
    *w = (struct written){.sample = sample};
    int status = encode_pieces(g, prompt, &w->ids, err);
    if (status == 0 && w->ids.n == 0) status = err_set(err, "the prompt has no tokens");
    if (status == 0 && w->ids.n >= g->s.length) {
        err_set(err, "the prompt has %lld tokens, which leaves none of %lld to be written: %s", (long long)w->ids.n,
                (long long)g->s.length,
                g->s.length < g->model->weights.config.block_size ? "give a larger --length"
                                                                  : "the model holds no more");
        status = 1;
    }
    if (status == 0) status = engine_check_ids(&g->engine, w->ids.v, w->ids.n, "prompt", err);
    if (status == 0)
        g->n++;
    else
        forget(w);
    return status;
}

/* ---- writing ---- */

/* An autoregressive model need not write on behind the mark. */
static void end_at_mark(struct request *r) {
    const struct generation *g = r->ctx;
    if (g->mark >= 0 && r->ids[r->n - 1] == g->mark) r->cancelled = true;
}

/* The sequence with all its room; masked diffusion fills it. */
static int lay_out(struct generation *g, struct written *w, int64_t pass, struct err *err) {
    const struct config *c = &g->model->weights.config;
    const bool causal = g->s.sampler->causal;
    w->prompt = w->ids.n;
    if (mem_grow(&w->ids.v, &w->ids.capacity, g->s.length, sizeof *w->ids.v, "a text", err) < 0) return -1;
    for (int64_t i = w->prompt; i < g->s.length; i++) w->ids.v[i] = (int32_t)c->mask_id;
    w->request = (struct request){.sampler = g->s.sampler,
                                  .ids = w->ids.v,
                                  .n = causal ? w->prompt : g->s.length,
                                  .room = g->s.length,
                                  .steps = causal ? g->s.length : g->s.steps,
                                  .temperature = g->s.temperature,
                                  .cfg = g->s.cfg,
                                  .seed = g->s.seed,
                                  .sample = w->sample * (uint64_t)g->s.passes + (uint64_t)pass,
                                  .end_id = causal ? lm_end_id(g->model) : -1,
                                  .step = causal ? end_at_mark : NULL,
                                  .ctx = g};
    return 0;
}

static void cut_at_mark(const struct generation *g, struct bytes *text) {
    const char *at = text->v ? memmem(text->v, (size_t)text->n, g->s.until, (size_t)g->mark_bytes) : NULL;
    if (!at) return;
    text->n = at - text->v;
    text->v[text->n] = 0;
}

/* What the request wrote, behind the text that is there. */
static int take_text(const struct generation *g, struct written *w, struct err *err) {
    const int32_t *ids = w->ids.v + w->prompt, end = lm_end_id(g->model);
    int64_t n = w->ids.n - w->prompt;
    const int64_t before = w->text.n;
    for (int64_t i = 0; g->s.until && i < n; i++)
        if (ids[i] == end || (g->mark >= 0 && ids[i] == g->mark)) n = i;
    int status = before > 0 ? bytes_push(&w->text, "\n", 1, err) : 0;
    if (status == 0) status = lm_decode(g->model, ids, n, &w->text, err);
    for (int64_t i = before; i < w->text.n; i++)
        if (w->text.v[i] == 0) w->text.v[i] = ' '; /* texts are strings from here on */
    if (status == 0 && g->mark_bytes > 0) cut_at_mark(g, &w->text);
    return status;
}

/* The prompt of the next pass: what there is, as text and then as ids again. */
static int next_prompt(const struct generation *g, struct written *w, struct err *err) {
    struct bytes text = {0};
    int status = lm_decode(g->model, w->ids.v, w->ids.n, &text, err);
    w->ids.n = 0;
    if (status == 0) status = encode(g, g->s.begin, text.v ? text.v : "", text.n, &w->ids, err);
    w->full = w->ids.n >= g->s.length || w->ids.n == 0;
    bytes_free(&text);
    return status;
}

/* One pass of all texts that have room. 1: stopped. */
static int run_pass(struct generation *g, struct scheduler *s, int64_t pass, struct err *err) {
    int more = 1;
    for (int64_t i = 0; i < g->n; i++) {
        struct written *w = &g->texts[i];
        if (w->full) continue;
        if (lay_out(g, w, pass, err) < 0 || scheduler_add(s, &w->request, err) < 0) return -1;
    }
    while (more > 0 && !stop_asked()) more = scheduler_step(s, err);
    if (more != 0) return more;
    for (int64_t i = 0; i < g->n; i++) {
        struct written *w = &g->texts[i];
        if (w->full) continue;
        if (scheduler_check(&w->request, err) < 0) return -1;
        w->ids.n = w->request.n;
        if (take_text(g, w, err) < 0 || (pass + 1 < g->s.passes && next_prompt(g, w, err) < 0)) return -1;
    }
    return 0;
}

int generation_run(struct generation *g, struct err *err) {
    struct scheduler *s = NULL;
    const double start = clock_seconds();
    int status = scheduler_open(&s, &g->engine, SCHEDULER_STORES, err);
    for (int64_t pass = 0; pass < g->s.passes && status == 0; pass++) status = run_pass(g, s, pass, err);
    scheduler_close(s);
    g->seconds = g->n > 0 ? (clock_seconds() - start) / (double)g->n : 0;
    return status;
}
