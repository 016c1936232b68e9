/* campaign: the trainings behind a scaling law: which ones, what each is, and whether it is done.
 *
 *     struct campaign c;
 *     campaign_plan(&c, &settings, &err);        // choose sizes and steps
 *     campaign_write(&c, "law", &err);           // law/plan.json, law/models/NAME.json
 *     campaign_read(&c, "law", &err);
 *     campaign_run(&c, "law", jobs, threads, &result, &err);  // train what is missing: law/NAME
 *     campaign_points(&c, "law", &points, &err);              // law/points.csv, for scale_fit()
 *     campaign_free(&c);
 *
 * A training is a run of `mdm pretrain` in a folder of its own, so that it can be looked at, stopped and gone on with like
 * any other. Several programs, on several machines with one file system, may run one campaign: each takes a training
 * that nobody holds. So do the ranks of one program, which begin, stop and end together. */
#ifndef MDM_SCALING_CAMPAIGN_H
#define MDM_SCALING_CAMPAIGN_H
#include <stdbool.h>
#include <stdint.h>
#include "model/config.h"

struct err;

enum { CAMPAIGN_BUDGETS = 16, CAMPAIGN_SIZES = 16, CAMPAIGN_NAME = 48 };

struct campaign_settings {
    double budgets[CAMPAIGN_BUDGETS]; /* FLOPs, C = 6 N D */
    int nbudgets;
    bool family[2]; /* by enum family */
    int sizes;      /* of each budget and family */
    double spread;  /* the largest size over the smallest one */
    double around;  /* factor on the expected best size */
    char *data;     /* owned; 'mdm prepare' made it; its tokenizer gives the vocabulary */
    int64_t vocab, bos_id, eos_id, length, batch, seed;
    double lr;
    int precision; /* 0 bf16, 1 f32 */
    int recipe;    /* of recipe_names; an arm takes its optimizer alone */
};
struct campaign_training {
    char name[CAMPAIGN_NAME]; /* of its folder: "mdm-1e+15-0.70M" */
    enum family family;
    double flops;                    /* its budget */
    int64_t layers, heads, width, n; /* n: parameters without embedding and head */
    int64_t steps;
    double tokens, seconds; /* seconds: expected on the machine that planned */
};
struct campaign {
    struct campaign_settings settings;
    struct campaign_training *v; /* by budget, family, size */
    int64_t n, capacity;
};

/* Settings are taken over (data with them), also on failure. Seconds are 0 until campaign_time(). */
int campaign_plan(struct campaign *c, const struct campaign_settings *s, struct err *err);
/* Measures the pace of every shape for a moment; gemm_init() has been called. */
int campaign_time(struct campaign *c, struct err *err);
int campaign_config(struct config *out, const struct campaign *c, const struct campaign_training *t, struct err *err);
/* A plan that is there is replaced, by whoever has had the folder alone since campaign_check_begun() said that it may be. */
int campaign_write(const struct campaign *c, const char *folder, struct err *err);
/* May this plan take the place of the one in the folder, if there is one? It must have all trainings that were begun, with
 * the same settings; others may come and go. */
int campaign_check_begun(const struct campaign *c, const char *folder, struct err *err);
int campaign_read(struct campaign *c, const char *folder, struct err *err);
void campaign_free(struct campaign *c);

struct campaign_result {
    /* Trainings that diverged. What else is missing when nothing was stopped, another program has in hand. */
    int64_t lost;
    bool stopped; /* by a signal */
};
/* Whoever calls shares the folder (base/lock), so that its plan stays. Trains what is missing, on each rank up to `jobs` at once, each with an equal share of the threads. */
int campaign_run(const struct campaign *c, const char *folder, int jobs, int threads, struct campaign_result *result,
                 struct err *err);
/* points.csv of the trainings that are done: family, flops, params, loss, loss_error, steps, tokens, seconds.
 * Returns how many, or -1. */
int64_t campaign_points(const struct campaign *c, const char *folder, struct err *err);

#endif
