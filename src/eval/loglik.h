/* loglik: log-likelihoods of texts after texts, as lm-evaluation-harness asks for them, by any model.
 *
 *     loglik_open(&l, &model, &settings, &err);
 *     loglik_add(l, "The sky is", " blue", &err);          // any number
 *     loglik_run(l, results, &err);                        // in the order in which they were added; l is empty again
 *
 * Equal requests are computed once, and a request's numbers depend on the settings and its own ids alone: draws of a
 * Monte Carlo likelihood are named by a hash of them. */
#ifndef MDM_EVAL_LOGLIK_H
#define MDM_EVAL_LOGLIK_H
#include <stdbool.h>
#include <stdint.h>
#include "infer/likelihood.h"

struct err;
struct lm;
struct loglik;

struct loglik_settings {
    struct likelihood_settings likelihood;
    bool begin; /* the begin id stands before every context: published models */
    bool cut;   /* what does not fit the model loses tokens at its left; else it is an error */
};
struct loglik_result {
    double loglik;
    bool is_greedy; /* mdm: where the settings ask for it */
};

/* Other projects' models are asked as the harness asks them: without begin id, cut. Ours, and published ones, are not. */
bool loglik_is_published(const struct lm *m);

/* The model is borrowed and needs its tokenizer. */
int loglik_open(struct loglik **out, const struct lm *m, const struct loglik_settings *s, struct err *err);
void loglik_close(struct loglik *l); /* NULL is fine */
/* -1 with err, and nothing was added: this request cannot be scored. */
int loglik_add(struct loglik *l, const char *context, const char *continuation, struct err *err);
int64_t loglik_count(const struct loglik *l);
void loglik_drop(struct loglik *l, int64_t count); /* forget the last ones: `count` are left */
/* Tokens of all forwards that the requests need, about. */
double loglik_work(const struct loglik *l);
int loglik_run(struct loglik *l, struct loglik_result *out, struct err *err);
/* The engine that it uses: tests count its forwards and rows. */
struct engine *loglik_engine(struct loglik *l);

#endif
