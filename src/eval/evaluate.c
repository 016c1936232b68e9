/* evaluate: items to requests to results. Log-likelihoods are loglik.c's. */
#include "eval/evaluate.h"

#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/stop.h"
#include "eval/loglik.h"
#include "model/lm.h"

enum { ITEMS = 64, STRATIFIED = 16 }; /* items of a batch at most; draws that share a stratified time */
static const double WORK = 1 << 17;   /* tokens of the forwards of a batch, about: what a kill -9 loses */

struct evaluation {
    const struct task *task;
    const struct evaluate_settings *s;
    struct results *results;
    struct evaluate_summary *summary;
    struct loglik *loglik;
    struct task_items *files;
    struct task_item items[ITEMS]; /* the batch: those with all their requests in loglik */
    int n;
    int64_t seen; /* items of the files so far, with and without an answer */
    struct progress bar;
};

bool evaluate_can(const struct task *t) {
    return t->kind == TASK_CHOICE || t->kind == TASK_LAST_WORD;
}

static struct loglik_settings settle(const struct lm *m, const struct task *t, const struct evaluate_settings *s) {
    const struct task_settings *p = &t->published;
    const bool begin = s->begin == BEGIN_AUTO ? loglik_is_published(m) : s->begin == BEGIN_YES;
    if (m->weights.config.family == FAMILY_ARM) return (struct loglik_settings){.begin = begin, .cut = !begin};
    return (struct loglik_settings){
        .likelihood = {.method = s->likelihood < 0 ? p->likelihood : (enum likelihood_method)s->likelihood,
                       .mc_draws = s->mc > 0 ? s->mc : p->draws,
                       .mc_batch = STRATIFIED,
                       .cfg = isnan(s->cfg) ? p->cfg : s->cfg,
                       .greedy = t->kind == TASK_LAST_WORD,
                       .seed = (uint64_t)s->seed},
        .begin = begin,
        .cut = !begin};
}

/* What the numbers of a task depend on. */
static json_t *settings_json(const struct loglik_settings *l, const struct lm *m) {
    if (m->weights.config.family == FAMILY_ARM) return json_pack("{s:b}", "begin_id", l->begin);
    if (l->likelihood.method == LIKELIHOOD_CHAIN)
        return json_pack("{s:b, s:s, s:f}", "begin_id", l->begin, "likelihood", "chain", "cfg", l->likelihood.cfg);
    return json_pack("{s:b, s:s, s:f, s:I, s:I}", "begin_id", l->begin, "likelihood", "mc", "cfg", l->likelihood.cfg,
                     "mc", (json_int_t)l->likelihood.mc_draws, "seed", (json_int_t)l->likelihood.seed);
}

/* The item's requests; all of them or none. */
static int ask(struct evaluation *e, const struct task_item *item, struct err *err) {
    const int64_t before = loglik_count(e->loglik);
    for (int i = 0; i < item->n; i++)
        if (loglik_add(e->loglik, item->context, item->continuations[i], err) < 0) {
            loglik_drop(e->loglik, before);
            return err_prefix(err, "%s", task_items_where(e->files));
        }
    return 0;
}

/* Fills the batch. 1: there may be more; 0: that was all; -1. */
static int gather(struct evaluation *e, struct err *err) {
    const int64_t most = e->s->limit > 0 ? e->s->limit : INT64_MAX;
    e->n = 0;
    while (e->n < ITEMS && loglik_work(e->loglik) < WORK) {
        struct task_item item = {0};
        struct err bad = {{0}};
        if (e->seen >= most) return 0;
        const int more = task_items_next(e->files, &item, err);
        if (more <= 0) return more;
        e->seen++;
        if (results_has(e->results, item.doc_id)) {
            task_item_free(&item);
        } else if (ask(e, &item, &bad) == 0) {
            e->items[e->n++] = item;
        } else {
            task_item_free(&item);
            if (!e->s->keep_going) return err_set(err, "%s", bad.msg);
            e->summary->skipped++;
            progress_say(&e->bar, "left out: %s", bad.msg);
        }
    }
    return 1;
}

static int answer(struct evaluation *e, struct err *err) {
    const int64_t n = loglik_count(e->loglik);
    struct loglik_result *answers = mem_alloc(n, sizeof *answers, "answers", err);
    struct results_answer *of = mem_alloc(n, sizeof *of, "answers", err);
    int status = answers && of && n > 0 ? loglik_run(e->loglik, answers, err) : n > 0 ? -1 : 0;
    for (int64_t i = 0; i < n && status == 0; i++)
        of[i] = (struct results_answer){answers[i].loglik, answers[i].is_greedy};
    int64_t at = 0;
    for (int i = 0; i < e->n && status == 0; at += e->items[i].n, i++)
        status = results_add(e->results, &e->items[i], of + at, err);
    if (status == 0) status = results_sync(e->results, err);
    for (int i = 0; i < e->n; i++) task_item_free(&e->items[i]);
    e->n = 0;
    mem_free(answers);
    mem_free(of);
    return status;
}

static int work(struct evaluation *e, struct err *err) {
    const int64_t all = task_items_count(e->files), limit = e->s->limit;
    int more = 1;
    progress_start(&e->bar, e->task->name, "items", (double)(limit > 0 && limit < all ? limit : all), 1);
    while (more > 0 && !stop_asked()) {
        more = gather(e, err);
        if (answer(e, more < 0 ? &(struct err){{0}} : err) < 0) return -1; /* items before a bad one are kept */
        progress_at(&e->bar, (double)e->seen, NULL);
    }
    progress_end(&e->bar, (double)e->seen, NULL);
    return more < 0 ? -1 : 0;
}

int evaluate_task(const struct lm *m, const struct task *t, const struct evaluate_settings *s, struct results *r,
                  struct evaluate_summary *summary, struct err *err) {
    struct evaluation *e = mem_alloc(1, sizeof *e, "evaluation", err);
    const struct loglik_settings l = settle(m, t, s);
    *summary = (struct evaluate_summary){0};
    if (!e) return -1;
    *e = (struct evaluation){.task = t, .s = s, .results = r, .summary = summary};
    BUG_ON(!evaluate_can(t));
    e->files = task_items_open(t, s->data, s->keep_going, err);
    int status = e->files ? 0 : -1;
    if (status == 0)
        status = results_begin(r, t, settings_json(&l, m), task_items_hash(e->files), task_items_count(e->files), err);
    if (status == 0) status = loglik_open(&e->loglik, m, &l, err);
    if (status == 0) status = work(e, err);
    if (status == 0) {
        summary->stopped = stop_asked();
        summary->skipped += task_items_skipped(e->files);
        summary->items = results_count(r);
        if (!summary->stopped) status = results_finish(r, summary->skipped, err);
    }
    loglik_close(e->loglik);
    task_items_close(e->files);
    mem_free(e);
    return status;
}
