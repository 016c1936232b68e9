/* evaluate: items to requests to results, whatever kind of task they are of. */
#include "eval/evaluate.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/stop.h"
#include "eval/asking.h"
#include "eval/loglik.h"
#include "model/lm.h"

enum { ITEMS = 64 }; /* of a batch at most */

struct evaluation {
    const struct task *task;
    const struct evaluate_settings *s;
    struct results *results;
    struct evaluate_summary *summary;
    const struct asking *asking;
    void *self; /* of asking */
    struct task_items *files;
    struct task_item items[ITEMS]; /* the batch: those that were asked, each with `answers` of them */
    int answers[ITEMS], n;
    int64_t seen; /* items of the files so far, with and without an answer */
    struct progress bar;
};

static const struct asking *asking_of(const struct task *t) {
    static const struct asking *const of_kind[] = {[TASK_CHOICE] = &asking_loglik,
                                                   [TASK_LAST_WORD] = &asking_loglik,
                                                   [TASK_GENERATE] = &asking_generation,
                                                   [TASK_CHAT] = &asking_generation,
                                                   [TASK_PERPLEXITY] = &asking_perplexity};
    return of_kind[t->kind];
}

bool asking_begin(const struct lm *m, const struct evaluate_settings *s) {
    return s->begin == BEGIN_AUTO ? loglik_is_published(m) : s->begin == BEGIN_YES;
}

/* Fills the batch. 1: there may be more; 0: that was all; -1. */
static int gather(struct evaluation *e, struct err *err) {
    const int64_t most = e->s->limit > 0 ? e->s->limit : INT64_MAX;
    e->n = 0;
    while (e->n < ITEMS && !e->asking->full(e->self)) {
        struct task_item item = {0};
        struct err bad = {{0}};
        if (!e->asking->next && e->seen >= most) return 0;
        const int more =
            e->asking->next ? e->asking->next(e->self, e->files, &item, err) : task_items_next(e->files, &item, err);
        if (more <= 0) return more;
        e->seen++;
        if (results_has(e->results, item.doc_id)) {
            task_item_free(&item);
        } else if ((e->answers[e->n] = e->asking->ask(e->self, &item, &bad)) >= 0) {
            e->items[e->n++] = item;
        } else {
            task_item_free(&item);
            err_prefix(&bad, "%s", task_items_where(e->files));
            if (!e->s->keep_going) return err_set(err, "%s", bad.msg);
            e->summary->skipped++;
            progress_say(&e->bar, "left out: %s", bad.msg);
        }
    }
    return 1;
}

/* The batch's answers become results. 1: stopped, they do not. */
static int answer(struct evaluation *e, struct err *err) {
    const struct results_answer *answers = NULL;
    int status = e->asking->answer(e->self, &answers, err);
    for (int i = 0; i < e->n && status == 0; answers += e->answers[i], i++)
        status = results_add(e->results, &e->items[i], answers, e->answers[i], err);
    if (status == 0) status = results_sync(e->results, err);
    for (int i = 0; i < e->n; i++) task_item_free(&e->items[i]);
    e->n = 0;
    return status;
}

/* 1: stopped, and not all is answered. */
static int work(struct evaluation *e, struct err *err) {
    const int64_t all = task_items_count(e->files), limit = e->s->limit;
    const double total = all < 0 ? 0 : (double)(limit > 0 && limit < all ? limit : all);
    int more = 1, status = 0;
    progress_start(&e->bar, e->task->name, "items", total, 1);
    while (more > 0 && !stop_asked()) {
        more = gather(e, err);
        status = answer(e, more < 0 ? &(struct err){{0}} : err); /* items before a bad one are kept */
        if (status < 0) return -1;
        if (status > 0) break;
        if (more > 0 && total > 0 && (double)e->seen >= total) more = 0; /* a stop from here on comes too late */
        progress_at(&e->bar, (double)e->seen, NULL);
    }
    progress_end(&e->bar, (double)e->seen, NULL);
    return more < 0 ? -1 : status > 0 || more > 0;
}

int evaluate_task(const struct lm *m, const struct task *t, const struct evaluate_settings *s, struct results *r,
                  struct evaluate_summary *summary, struct err *err) {
    struct evaluation *e = mem_alloc(1, sizeof *e, "evaluation", err);
    const struct asking *a = asking_of(t);
    *summary = (struct evaluate_summary){0};
    if (!e) return -1;
    *e = (struct evaluation){.task = t, .s = s, .results = r, .summary = summary, .asking = a};
    e->files = task_items_open(t, s->data, s->keep_going, err);
    int status = e->files ? task_items_documents(e->files, &s->documents, err) : -1;
    if (status == 0) status = a->open(&e->self, m, t, s, err);
    if (status == 0)
        status = results_begin(r, t, a->settings(m, t, s), task_items_hash(e->files), task_items_count(e->files), err);
    if (status == 0) status = work(e, err);
    if (status >= 0) {
        summary->stopped = status > 0;
        summary->skipped += task_items_skipped(e->files);
        summary->items = results_count(r);
        status = summary->stopped ? 0 : results_finish(r, summary->skipped, err);
    }
    a->close(e->self);
    task_items_close(e->files);
    mem_free(e);
    return status;
}
