/* evaluate: items to requests to results, whatever kind of task they are of. */
#include "eval/evaluate.h"

#include <string.h>

#include "base/buffer.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/stop.h"
#include "comm/comm.h"
#include "eval/asking.h"
#include "eval/loglik.h"
#include "model/lm.h"
#include "text/tokenizer.h"

struct dealt {
    struct task_item item;
    int answers, rank; /* how many are wanted, and of whom */
};

struct evaluation {
    const struct task *task;
    const struct evaluate_settings *s;
    struct results *results;
    const struct asking *asking;
    void *self; /* of asking */
    struct task_items *files;
    struct dealt *items; /* [EVALUATE_BATCH * ranks]: the batch, n of them: those that were asked */
    int64_t n;
    double load[COMM_RANKS]; /* work of the batch by rank */
    struct bytes mine, all;  /* answers on their way to rank 0 */
    struct results_answer *answers;
    int64_t capacity; /* of answers */
    int64_t seen;     /* items of the files so far, with and without an answer */
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

/* ---- a batch ---- */

static bool full(const struct evaluation *e) {
    double batch, load = 0;
    e->asking->work(e->self, &batch);
    for (int r = 0; r < comm_size(); r++) load += e->load[r];
    return e->n == (int64_t)EVALUATE_BATCH * comm_size() || load >= batch * comm_size();
}

/* The item that was asked just now becomes the work of the rank that has least. */
static void deal(struct evaluation *e, struct dealt *d, double work) {
    d->rank = 0;
    for (int r = 1; r < comm_size(); r++)
        if (e->load[r] < e->load[d->rank]) d->rank = r;
    e->load[d->rank] += work;
    if (d->rank != comm_rank()) e->asking->unask(e->self);
    e->n++;
}

/* Fills the batch. Every rank reads all items and asks all of them, which costs little, so that all know whose each is. 1:
 * there may be more; 0: that was all; -1. */
static int gather(struct evaluation *e, struct err *err) {
    double batch;
    e->n = 0;
    memset(e->load, 0, sizeof e->load);
    while (!full(e)) {
        struct dealt *d = &e->items[e->n];
        struct err bad = {{0}};
        *d = (struct dealt){.answers = 0};
        const int more = e->asking->next ? e->asking->next(e->self, e->files, &d->item, err)
                                         : task_items_next(e->files, &d->item, err);
        if (more <= 0) return more;
        e->seen++;
        if (results_has(e->results, d->item.doc_id)) {
            task_item_free(&d->item);
            continue;
        }
        const double before = e->asking->work(e->self, &batch);
        d->answers = e->asking->ask(e->self, &d->item, &bad);
        if (d->answers >= 0) {
            deal(e, d, e->asking->work(e->self, &batch) - before);
        } else {
            task_item_free(&d->item);
            err_prefix(&bad, "%s", task_items_where(e->files));
            if (!e->s->keep_going) return err_set(err, "%s", bad.msg);
            task_items_refuse(e->files, &bad);
            progress_say(&e->bar, "left out: %s", bad.msg);
        }
    }
    return 1;
}

static void drop_items(struct evaluation *e) {
    for (; e->n > 0; e->n--) task_item_free(&e->items[e->n - 1].item);
}

/* ---- answers ---- */

struct batch_name { /* what a rank's answers begin with: they must be of the same items */
    int64_t n, last;
};
struct sent_answer { /* an answer, before its text */
    struct results_answer answer;
    int64_t length; /* bytes of the text; -1: it has none */
};

static struct batch_name name_of(const struct evaluation *e) {
    return (struct batch_name){e->n, e->n > 0 ? e->items[e->n - 1].item.doc_id : -1};
}

/* This rank's answers as bytes. */
static int pack(struct evaluation *e, const struct results_answer *answers, struct err *err) {
    const struct batch_name name = name_of(e);
    int64_t n = 0;
    for (int64_t i = 0; i < e->n; i++) n += e->items[i].rank == comm_rank() ? e->items[i].answers : 0;
    e->mine.n = 0;
    int status = bytes_push(&e->mine, (const char *)&name, sizeof name, err);
    for (int64_t i = 0; i < n && status == 0; i++) {
        const char *text = answers[i].text;
        const struct sent_answer sent = {answers[i], text ? (int64_t)strlen(text) : -1};
        status = bytes_push(&e->mine, (const char *)&sent, sizeof sent, err);
        if (status == 0 && text) status = bytes_push(&e->mine, text, sent.length + 1, err);
    }
    return status;
}

/* The next n answers of those at *at. */
static void unpack(struct evaluation *e, int64_t *at, int n) {
    for (int i = 0; i < n; i++) {
        struct sent_answer sent;
        memcpy(&sent, e->all.v + *at, sizeof sent);
        *at += (int64_t)sizeof sent;
        e->answers[i] = sent.answer;
        e->answers[i].text = sent.length >= 0 ? e->all.v + *at : NULL;
        *at += sent.length + 1;
    }
}

/* On rank 0: the answers of all become results, in the order of the items. */
static int keep(struct evaluation *e, int64_t *at, struct err *err) {
    const struct batch_name name = name_of(e);
    int status = 0;
    for (int r = 0; r < comm_size(); r++) {
        if (memcmp(e->all.v + at[r], &name, sizeof name) != 0)
            return err_set(err, "process %d sees other items of %s than process 0", r, e->task->name);
        at[r] += (int64_t)sizeof name;
    }
    for (int64_t i = 0; i < e->n && status == 0; i++) {
        const struct dealt *d = &e->items[i];
        status = mem_grow(&e->answers, &e->capacity, d->answers, sizeof *e->answers, "answers", err);
        if (status < 0) break;
        unpack(e, &at[d->rank], d->answers);
        status = results_add(e->results, &d->item, e->answers, d->answers, err);
    }
    return status == 0 ? results_sync(e->results, err) : status;
}

/* The batch's answers become results. 1: stopped, they do not. */
static int answer(struct evaluation *e, struct err *err) {
    enum { ANSWERED, STOPPED, FAILED };
    const struct results_answer *answers = NULL;
    int64_t at[COMM_RANKS + 1];
    int status = e->asking->answer(e->self, &answers, err);
    if (status == 0) status = pack(e, answers, err);
    const int word = comm_agree(status < 0 ? FAILED : status > 0 ? STOPPED : ANSWERED);
    if (word == ANSWERED) {
        status = comm_collect(&e->all, at, &e->mine, err);
        if (status == 0) status = comm_settle(comm_rank() == 0 ? keep(e, at, err) : 0, err);
    } else {
        status = word == FAILED ? comm_settle(status, err) : 1;
    }
    drop_items(e);
    return status;
}

/* Ranks that have come to different ends could not answer together: what only some cannot read ends all. */
static int same_end(int more, struct err *err) {
    const bool some = comm_agree(more < 0) > 0, all = comm_agree(more >= 0) == 0;
    return some && !all ? comm_settle(more, err) : 0;
}

/* 1: stopped, and not all is answered. What is left to be answered is on the disk before a stop is looked for. */
static int work(struct evaluation *e, struct err *err) {
    const int64_t total = task_items_wanted(e->files);
    int more = 1, status = 0;
    progress_start(&e->bar, e->task->name, "items", total < 0 ? 0 : (double)total, 1);
    while (more > 0 && status == 0) {
        more = gather(e, err);
        struct err *later = more < 0 ? &(struct err){{0}} : err; /* items before a bad one are kept */
        if (same_end(more, err) < 0 || results_want(e->results, e->n + (more < 0), later) < 0) return -1;
        status = comm_agree(e->n > 0 && stop_asked());
        if (status == 0) status = answer(e, later);
        if (status < 0) return -1;
        if (status == 0) progress_at(&e->bar, (double)e->seen, NULL);
    }
    progress_end(&e->bar, (double)e->seen, NULL);
    return more < 0 ? -1 : status;
}

/* ---- a task ---- */

static void close_task(struct evaluation *e) {
    if (!e) return;
    drop_items(e);
    e->asking->close(e->self);
    task_items_close(e->files);
    bytes_free(&e->mine);
    bytes_free(&e->all);
    mem_free(e->answers);
    mem_free(e->items);
    mem_free(e);
}

/* A begin id that is wanted must be there; perplexity has the end id for want of one. */
static int check_begin(const struct lm *m, const struct task *t, const struct evaluate_settings *s, struct err *err) {
    const int32_t bos = tokenizer_bos(m->tokenizer);
    if (s->begin != BEGIN_YES || t->kind == TASK_PERPLEXITY || (bos >= 0 && bos != tokenizer_eos(m->tokenizer)))
        return 0;
    return err_set(err, "--bos yes: the model's tokenizer has no begin id%s, which could stand before a context of %s",
                   bos < 0 ? "" : " but its end id", t->name);
}

static struct evaluation *open_task(const struct lm *m, const struct task *t, const struct evaluate_settings *s,
                                    struct results *r, struct err *err) {
    struct evaluation *e = mem_alloc(1, sizeof *e, "evaluation", err);
    if (!e) return NULL;
    *e = (struct evaluation){.task = t, .s = s, .results = r, .asking = asking_of(t)};
    e->items = mem_alloc((int64_t)EVALUATE_BATCH * comm_size(), sizeof *e->items, "items", err);
    e->files = e->items ? task_items_open(t, s->data, s->keep_going, err) : NULL;
    if (e->files) task_items_limit(e->files, s->limit);
    if (e->files && task_items_documents(e->files, &s->documents, err) == 0 && check_begin(m, t, s, err) == 0 &&
        e->asking->open(&e->self, m, t, s, err) == 0)
        return e;
    close_task(e);
    return NULL;
}

int evaluate_check(const struct lm *m, const struct task *const *list, int n, const struct evaluate_settings *s,
                   struct err *err) {
    int status = 0;
    for (int i = 0; i < n && status == 0; i++) {
        struct evaluation *e = open_task(m, list[i], s, NULL, err);
        if (!e) status = -1;
        close_task(e);
    }
    return comm_settle(status, err);
}

int evaluate_task(const struct lm *m, const struct task *t, const struct evaluate_settings *s, struct results *r,
                  struct evaluate_summary *summary, struct err *err) {
    struct evaluation *e = open_task(m, t, s, r, err);
    *summary = (struct evaluate_summary){0};
    int status = comm_settle(e ? 0 : -1, err);
    if (status == 0) status = results_begin(r, t, e->asking->settings(m, t, s), e->files, err);
    if (status == 0) status = work(e, err);
    if (status >= 0) {
        summary->stopped = status > 0;
        summary->skipped = task_items_skipped(e->files);
        status = summary->stopped ? 0 : results_finish(r, e->files, err);
        const bool nothing =
            status == 0 && !summary->stopped && e->seen == task_items_refused(e->files) && !results_any(r);
        summary->nothing = nothing && s->keep_going;
        if (nothing) status = task_items_nothing(e->files, err);
    }
    close_task(e);
    return status;
}
