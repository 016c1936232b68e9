/* metrics: RUN/metrics.csv: one row per logged step. On resume, rows beyond the checkpoint's step are dropped, so that
 * the file reads as if the run had never stopped. */
#ifndef MDM_TRAIN_METRICS_H
#define MDM_TRAIN_METRICS_H
#include <stdint.h>

struct err;
struct metrics;

struct metrics_row {
    int64_t step;
    double tokens, flops, loss, valid_loss /* NaN: not measured: empty field */, lr, grad_norm, tokens_per_s, mfu,
        epoch, seconds;
};
/* Opens for appending after the rows with step <= keep_step. */
struct metrics *metrics_open(const char *run, int64_t keep_step, struct err *err);
int metrics_add(struct metrics *m, const struct metrics_row *row, struct err *err); /* written and flushed at once */
int metrics_sync(struct metrics *m, struct err *err);                               /* what was added is on the disk */
int metrics_close(struct metrics *m, struct err *err);                              /* NULL is fine */

#endif
