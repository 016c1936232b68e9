/* metrics: RUN/metrics.csv: one row per logged step. On resume, rows beyond the checkpoint's step are dropped, so that
 * the file reads as if the run had never stopped. Columns are found by the names in its first line. */
#ifndef MDM_TRAIN_METRICS_H
#define MDM_TRAIN_METRICS_H
#include <stdint.h>

struct err;
struct metrics;

struct metrics_row {
    int64_t step;
    /* NaN: not measured: an empty field. valid_error: the standard error of valid_loss */
    double tokens, flops, loss, valid_loss, valid_error, lr, grad_norm, tokens_per_s, mfu, epoch, seconds;
};
/* Opens for appending after the rows with step <= keep_step. `instead` (NULL: none) takes the place of the row of its
 * step; *last becomes the last row (step 0: there is none). */
struct metrics *metrics_open(const char *run, int64_t keep_step, const struct metrics_row *instead,
                             struct metrics_row *last, struct err *err);
/* Written at once, whole or not at all. */
int metrics_add(struct metrics *m, const struct metrics_row *row, struct err *err);
/* What was added is on the disk; a row that metrics_add() failed to write is tried again. */
int metrics_sync(struct metrics *m, struct err *err);
int metrics_close(struct metrics *m, struct err *err); /* NULL is fine */
/* All rows of RUN/metrics.csv; at least one. A column that the file does not have is NaN; step, tokens, flops and loss it must
 * have. A last line that is not whole yet is left out. Caller mem_free()s. */
int metrics_read(struct metrics_row **rows, int64_t *count, const char *run, struct err *err);

#endif
