/* likelihood: how probable a target is after a prefix, and whether greedy decoding would write it (docs/model.md).
 *
 *     likelihood(&engine, &settings, items, n, results, &err);
 *
 * An item's numbers depend on the settings, its sample and its ids, and not on the items beside it; but what items have
 * in common is computed once: the prefix of an autoregressive model, equal inputs of masked diffusion. */
#ifndef MDM_INFER_LIKELIHOOD_H
#define MDM_INFER_LIKELIHOOD_H
#include <stdbool.h>
#include <stdint.h>

struct engine;
struct err;

enum likelihood_method { LIKELIHOOD_MC, LIKELIHOOD_CHAIN };
extern const char likelihood_methods[]; /* "mc|chain": for option tables */

/* An arm, which has one likelihood, takes progress and ctx alone, and refuses cfg and pad. */
struct likelihood_settings {
    enum likelihood_method method;
    int64_t mc_draws, mc_batch; /* mc: a multiple of mc_batch draws, stratified in time within a batch */
    double floor; /* mc: tokens are masked with probability floor + (1 − floor)·t; training has 1e-3 (docs/model.md) */
    double cfg;
    bool greedy; /* mdm: also find is_greedy (arm: always found) */
    int64_t pad; /* extend with masks to this length; 0: no */
    uint64_t seed;
    void (*progress)(void *ctx, int64_t items); /* about so many items are done; NULL: none */
    void *ctx;
};
struct likelihood_item {
    const int32_t *prefix, *target;
    int64_t nprefix, ntarget; /* target: at least 1; prefix: at least 1 for an arm */
    uint64_t sample;          /* mc: names its draws */
};
struct likelihood_result {
    double nll;
    bool is_greedy;
};

/* Do these settings suit the model? */
int likelihood_check(const struct engine *e, const struct likelihood_settings *s, struct err *err);
/* Can this item be scored? likelihood() asks that of its items too, and names them by number. */
int likelihood_check_item(const struct engine *e, const struct likelihood_settings *s,
                          const struct likelihood_item *item, struct err *err);
int likelihood(struct engine *e, const struct likelihood_settings *s, const struct likelihood_item *items, int64_t n,
               struct likelihood_result *out, struct err *err);

/* For likelihood.c: of an autoregressive model, items that have been checked. */
int likelihood_arm(struct engine *e, const struct likelihood_settings *s, const struct likelihood_item *items,
                   int64_t n, struct likelihood_result *out, struct err *err);

#endif
