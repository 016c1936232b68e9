/* schedule: budgets and learning rates; plain arithmetic. */
#include "train/schedule.h"

#include <math.h>

#include "base/err.h"
#include "base/num.h"

double schedule_lr(const struct schedule *s, int64_t step) {
    if (step <= s->warmup) return s->lr * (double)step / (double)s->warmup;
    if (step >= s->steps) return s->min_lr;
    if (s->decay > 0) {
        const double left = (double)(s->steps - step), falls = s->decay * (double)s->steps;
        const double share = fmin(1, left / fmin(falls, (double)(s->steps - s->warmup)));
        return s->min_lr + share * (s->lr - s->min_lr);
    }
    const double done = (double)(step - s->warmup) / (double)(s->steps - s->warmup);
    return s->min_lr + 0.5 * (1 + cos(3.14159265358979323846 * done)) * (s->lr - s->min_lr);
}

int64_t schedule_warmup(int64_t steps) {
    int64_t warmup = steps / 100 > 100 ? steps / 100 : 100;
    if (warmup > steps / 10) warmup = steps / 10;
    return warmup < 1 ? 1 : warmup;
}

static int64_t floor_steps(double steps) {
    return steps < 0 ? 0 : steps > 1e15 ? (int64_t)1e15 : (int64_t)floor(steps);
}

int64_t schedule_steps_for_flops(double flops, int64_t n_body, int64_t batch, double mean_length) {
    return floor_steps(flops / (6.0 * (double)n_body * (double)batch * mean_length));
}

int64_t schedule_steps(const struct budget *b, int64_t n_body, int64_t batch, double mean_length, struct err *err) {
    if ((b->flops > 0) + (b->tokens > 0) + (b->steps > 0) != 1)
        return err_set(err, "give one of --flops, --tokens and --steps");
    const int64_t steps = b->flops > 0    ? schedule_steps_for_flops(b->flops, n_body, batch, mean_length)
                          : b->tokens > 0 ? floor_steps(b->tokens / ((double)batch * mean_length))
                                          : b->steps;
    if (steps < 1)
        return err_set(err, "the budget is below one step of %lld sequence%s: raise it, or lower --batch",
                       (long long)batch, plural(batch));
    if (steps > SCHEDULE_STEPS)
        return err_set(err, "the budget is more than %lld steps of %lld sequence%s: lower it, or raise --batch",
                       (long long)SCHEDULE_STEPS, (long long)batch, plural(batch));
    return steps;
}
