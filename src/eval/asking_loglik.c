/* asking_loglik: choices and last words, by log-likelihood. */
#include "eval/asking.h"

#include <math.h>

#include "base/err.h"
#include "base/mem.h"
#include "eval/loglik.h"
#include "model/lm.h"

enum { STRATIFIED = 16 }; /* draws that share a stratified time */

struct loglik_asking {
    struct loglik *loglik;
    struct loglik_result *results;
    struct results_answer *answers;
    int64_t nresults, nanswers; /* capacities */
    int64_t last;               /* where the requests of the last item begin */
};

static struct loglik_settings settle(const struct lm *m, const struct task *t, const struct evaluate_settings *s) {
    const struct task_settings *p = &t->published;
    const bool begin = asking_begin(m, s);
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

static json_t *settings(const struct lm *m, const struct task *t, const struct evaluate_settings *s) {
    const struct loglik_settings l = settle(m, t, s);
    if (m->weights.config.family == FAMILY_ARM) return json_pack("{s:b}", "begin_id", l.begin);
    if (l.likelihood.method == LIKELIHOOD_CHAIN)
        return json_pack("{s:b, s:s, s:f}", "begin_id", l.begin, "likelihood", "chain", "cfg", l.likelihood.cfg);
    return json_pack("{s:b, s:s, s:f, s:I, s:I}", "begin_id", l.begin, "likelihood", "mc", "cfg", l.likelihood.cfg,
                     "mc", (json_int_t)l.likelihood.mc_draws, "seed", (json_int_t)l.likelihood.seed);
}

static void shut(void *self) {
    struct loglik_asking *a = self;
    if (!a) return;
    loglik_close(a->loglik);
    mem_free(a->results);
    mem_free(a->answers);
    mem_free(a);
}

static int open(void **self, const struct lm *m, const struct task *t, const struct evaluate_settings *s,
                struct err *err) {
    const struct loglik_settings l = settle(m, t, s);
    struct loglik_asking *a = *self = mem_alloc(1, sizeof *a, "requests", err);
    return a ? loglik_open(&a->loglik, m, &l, err) : -1;
}

static int ask(void *self, const struct task_item *item, struct err *err) {
    struct loglik_asking *a = self;
    a->last = loglik_count(a->loglik);
    for (int i = 0; i < item->n; i++)
        if (loglik_add(a->loglik, item->context, item->continuations[i], err) < 0) {
            loglik_drop(a->loglik, a->last);
            return -1;
        }
    return item->n;
}

static void unask(void *self) {
    struct loglik_asking *a = self;
    loglik_drop(a->loglik, a->last);
}

static double work(const void *self, double *batch) {
    *batch = ASKING_TOKENS;
    return loglik_work(((const struct loglik_asking *)self)->loglik);
}

static int answer(void *self, const struct results_answer **answers, struct err *err) {
    struct loglik_asking *a = self;
    const int64_t n = loglik_count(a->loglik);
    if (mem_grow(&a->results, &a->nresults, n, sizeof *a->results, "answers", err) < 0 ||
        mem_grow(&a->answers, &a->nanswers, n, sizeof *a->answers, "answers", err) < 0 ||
        (n > 0 && loglik_run(a->loglik, a->results, err) < 0))
        return -1;
    for (int64_t i = 0; i < n; i++)
        a->answers[i] =
            (struct results_answer){.loglikelihood = a->results[i].loglik, .is_greedy = a->results[i].is_greedy};
    *answers = a->answers;
    return 0;
}

const struct asking asking_loglik = {
    .settings = settings, .open = open, .close = shut, .ask = ask, .unask = unask, .work = work, .answer = answer};
