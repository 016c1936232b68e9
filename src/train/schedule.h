/* schedule: how many steps a budget buys and the learning rate at each of them (docs/model.md, "Objectives"). */
#ifndef MDM_TRAIN_SCHEDULE_H
#define MDM_TRAIN_SCHEDULE_H
#include <stdint.h>

struct err;

struct schedule {
    int64_t steps, warmup;
    double lr, min_lr;
    double decay; /* share of the steps */
};
/* Linear from 0 over `warmup` steps, then cosine from lr to min_lr; with decay > 0 instead lr until the last decay · steps,
 * then linear to min_lr (warm-up, stable, decay: arXiv 2404.06395 §4). step counts from 1. */
double schedule_lr(const struct schedule *s, int64_t step);
/* max(100, 1 % of steps), but never more than a tenth of a short run. */
int64_t schedule_warmup(int64_t steps);
/* ⌊C / (6·N·batch·mean length)⌋. */
int64_t schedule_steps_for_flops(double flops, int64_t n_body, int64_t batch, double mean_length);
#define SCHEDULE_STEPS INT64_C(1000000000000) /* the most that a run can have */
/* A budget, of which exactly one of flops, tokens and steps is above 0. */
struct budget {
    double flops, tokens;
    int64_t steps;
};
/* The steps that it buys, 1 to SCHEDULE_STEPS; tokens: ⌊D / (batch·mean length)⌋. -1 with err. */
int64_t schedule_steps(const struct budget *b, int64_t n_body, int64_t batch, double mean_length, struct err *err);

#endif
