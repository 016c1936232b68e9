/* asking_generation: tasks for which the model writes: texts to be compared, and turns of MT-Bench. */
#include "eval/asking.h"

#include <math.h>
#include <string.h>

#include "base/buffer.h"
#include "base/err.h"
#include "base/mem.h"
#include "eval/generation.h"
#include "eval/results_chat.h"
#include "infer/engine.h"
#include "model/lm.h"
#include "text/chat.h"

enum { TURNS_MAX = 2 };

struct asked_item { /* an item */
    json_t *doc;
    uint64_t id;
    int turns;
    bool second; /* its second turn was asked */
};

struct generation_asking {
    const struct task *task;
    const struct chat_template *template;
    const char *system;
    int turns;
    int64_t batch;
    struct generation *generation;
    struct asked_item *asked;
    int64_t n, capacity;
    struct chat prompt;
    struct results_answer *answers;
    int64_t nanswers, capacity_answers;
};

/* ---- settings ---- */

static struct generation_settings settle(const struct lm *m, const struct task *t, const struct evaluate_settings *s) {
    const struct task_settings *p = &t->published;
    const struct config *c = &m->weights.config;
    const bool mdm = c->family == FAMILY_MDM;
    struct generation_settings g = {.sampler = s->sampler ? s->sampler : sampler_find(p->sampler),
                                    .steps = s->steps > 0 ? s->steps : p->steps,
                                    .length = s->length > 0 ? s->length : p->length,
                                    .passes = p->passes,
                                    .batch = s->batch > 0 ? s->batch : p->batch,
                                    .temperature = isnan(s->temperature) ? p->temperature : s->temperature,
                                    .cfg = isnan(s->cfg) ? p->cfg : s->cfg,
                                    .begin = asking_begin(m, s),
                                    .until = t->kind == TASK_CHAT ? s->template->answer_after : NULL,
                                    .seed = (uint64_t)s->seed};
    if (s->length == 0 && g.length > c->block_size) g.length = c->block_size;
    if (!mdm) g.sampler = &sampler_causal, g.cfg = 0;
    const bool guided = g.cfg > 0;
    if (g.batch == 0)
        g.batch = mdm ? engine_rows(EVALUATE_BATCH, g.length, guided) / (g.length << guided) : EVALUATE_BATCH;
    return g;
}

static json_t *settings(const struct lm *m, const struct task *t, const struct evaluate_settings *s) {
    const struct generation_settings g = settle(m, t, s);
    json_t *o = json_pack("{s:b, s:s, s:I, s:I, s:f, s:I}", "begin_id", g.begin, "sampler", g.sampler->name, "length",
                          (json_int_t)g.length, "passes", (json_int_t)g.passes, "temperature", g.temperature, "seed",
                          (json_int_t)s->seed);
    int bad = 0;
    if (m->weights.config.family == FAMILY_MDM) {
        bad |= json_object_set_new(o, "steps", json_integer(g.steps));
        bad |= json_object_set_new(o, "cfg", json_real(g.cfg));
    }
    if (t->kind == TASK_CHAT) {
        bad |= json_object_set_new(o, "template", json_string(s->template->name));
        bad |= json_object_set_new(o, "system", json_string(s->system ? s->system : s->template->system));
        bad |= json_object_set_new(o, "turns", json_integer(s->turns));
        bad |= json_object_set_new(o, "model_id", json_string(s->model_id));
        bad |= json_object_set_new(o, "batch", json_integer(g.batch)); /* times depend on it */
    }
    if (!bad) return o;
    json_decref(o);
    return NULL;
}

/* ---- open and close ---- */

static void forget(struct generation_asking *a) {
    for (int64_t i = 0; i < a->n; i++) json_decref(a->asked[i].doc);
    a->n = 0;
    if (a->generation) generation_drop(a->generation, 0);
}

static void drop_answers(struct generation_asking *a) {
    for (int64_t i = 0; i < a->nanswers; i++) mem_free(a->answers[i].text);
    a->nanswers = 0;
}

static void shut(void *self) {
    struct generation_asking *a = self;
    if (!a) return;
    forget(a);
    drop_answers(a);
    generation_close(a->generation);
    chat_free(&a->prompt);
    mem_free(a->asked);
    mem_free(a->answers);
    mem_free(a);
}

static int open(void **self, const struct lm *m, const struct task *t, const struct evaluate_settings *s,
                struct err *err) {
    const struct generation_settings g = settle(m, t, s);
    struct generation_asking *a = *self = mem_alloc(1, sizeof *a, "requests", err);
    if (!a) return -1;
    a->task = t;
    a->template = s->template;
    a->system = s->system;
    a->turns = s->turns;
    a->batch = g.batch;
    if (g.length > m->weights.config.block_size)
        return err_set(err, "--length %lld does not fit the model, whose longest sequence (block_size) is %lld",
                       (long long)g.length, (long long)m->weights.config.block_size);
    if (t->kind == TASK_CHAT && strlen(s->model_id) > RESULTS_MODEL_ID)
        return err_set(err,
                       "'%.20s…', %zu bytes: a file of answers is called so; give another name of at most %d bytes "
                       "with --model-id",
                       s->model_id, strlen(s->model_id), RESULTS_MODEL_ID);
    return generation_open(&a->generation, m, &g, err);
}

/* ---- asking ---- */

static const char *turn_of(const struct asked_item *q, int turn) {
    return json_string_value(json_array_get(json_object_get(q->doc, "turns"), (size_t)turn));
}

/* The conversation up to the user's turn `turn`; `first`: what was answered before. */
static int render(struct generation_asking *a, const struct asked_item *q, int turn, const char *first,
                  struct err *err) {
    struct chat_message m[2 * TURNS_MAX - 1] = {{CHAT_USER, turn_of(q, 0), 0}, {CHAT_ASSISTANT, first, 0}};
    if (turn > 0) m[2] = (struct chat_message){CHAT_USER, turn_of(q, turn), 0};
    for (int i = 0; i < 2 * turn + 1; i++) m[i].n = (int64_t)strlen(m[i].text);
    return chat_render(&a->prompt, a->template, a->system, m, 2 * turn + 1, err);
}

static int make_prompt(struct generation_asking *a, const struct task_item *item, const struct asked_item *q,
                       struct err *err) {
    if (a->task->kind == TASK_CHAT) return render(a, q, 0, NULL, err);
    a->prompt.text.n = a->prompt.n = 0;
    if (bytes_push(&a->prompt.text, item->context, (int64_t)strlen(item->context), err) < 0) return -1;
    return chat_cut(&a->prompt, false, false, err);
}

static int ask(void *self, const struct task_item *item, struct err *err) {
    struct generation_asking *a = self;
    struct asked_item q = {.doc = item->doc, .id = (uint64_t)item->doc_id, .turns = 1};
    const int turns = (int)json_array_size(json_object_get(item->doc, "turns"));
    if (a->task->kind == TASK_CHAT) q.turns = turns < a->turns ? turns : a->turns;
    if (mem_grow(&a->asked, &a->capacity, a->n + 1, sizeof *a->asked, "items", err) < 0 ||
        make_prompt(a, item, &q, err) < 0 || generation_add(a->generation, &a->prompt, q.id * TURNS_MAX, err) != 0)
        return -1;
    json_incref(q.doc);
    a->asked[a->n++] = q;
    return q.turns;
}

static void unask(void *self) {
    struct generation_asking *a = self;
    json_decref(a->asked[--a->n].doc);
    generation_drop(a->generation, a->n);
}

static double work(const void *self, double *batch) {
    const struct generation_asking *a = self;
    *batch = (double)a->batch;
    return (double)a->n;
}

/* ---- answers ---- */

/* Takes text i of the run as an answer. */
static int take(const struct generation_asking *a, struct results_answer *to, int64_t i, struct err *err) {
    to->text = mem_strdup(generation_text(a->generation, i), err);
    to->seconds = generation_seconds(a->generation);
    return to->text ? 0 : -1;
}

/* The second turns of those that have one. One that does not fit the model is answered by nothing. */
static int run_second(struct generation_asking *a, struct err *err) {
    int64_t asked = 0;
    generation_drop(a->generation, 0);
    for (int64_t i = 0, at = 0; i < a->n; at += a->asked[i++].turns) {
        struct asked_item *q = &a->asked[i];
        if (q->turns < 2) continue;
        if (render(a, q, 1, a->answers[at].text, err) < 0) return -1;
        const int no_room = generation_add(a->generation, &a->prompt, q->id * TURNS_MAX + 1, err);
        if (no_room < 0) return -1;
        q->second = !no_room;
        a->answers[at + 1].seconds = NAN;
    }
    int status = generation_count(a->generation) > 0 ? generation_run(a->generation, err) : 0;
    for (int64_t i = 0, at = 0; i < a->n && status == 0; at += a->asked[i++].turns) {
        if (a->asked[i].second) status = take(a, &a->answers[at + 1], asked++, err);
        if (a->asked[i].turns == 2 && !a->asked[i].second && !(a->answers[at + 1].text = mem_strdup("", err)))
            status = -1;
    }
    return status;
}

static int run(struct generation_asking *a, struct err *err) {
    int64_t n = 0;
    bool second = false;
    for (int64_t i = 0; i < a->n; n += a->asked[i++].turns) second |= a->asked[i].turns > 1;
    drop_answers(a);
    if (n == 0) return 0;
    if (mem_grow(&a->answers, &a->capacity_answers, n, sizeof *a->answers, "answers", err) < 0) return -1;
    memset(a->answers, 0, (size_t)n * sizeof *a->answers);
    a->nanswers = n;
    int status = generation_run(a->generation, err);
    for (int64_t i = 0, at = 0; i < a->n && status == 0; at += a->asked[i++].turns)
        status = take(a, &a->answers[at], i, err);
    return status == 0 && second ? run_second(a, err) : status;
}

static int answer(void *self, const struct results_answer **answers, struct err *err) {
    struct generation_asking *a = self;
    const int status = run(a, err);
    forget(a);
    *answers = a->answers;
    return status;
}

const struct asking asking_generation = {
    .settings = settings, .open = open, .close = shut, .ask = ask, .unask = unask, .work = work, .answer = answer};
