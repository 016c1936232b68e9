/* metrics.csv: rows come back as they were added, also those of a version with other columns; what is torn or beyond the
 * step of the checkpoint goes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"
#include "data_help.h"
#include "train/metrics.h"

static struct metrics_row row_of(int64_t step) {
    return (struct metrics_row){.step = step,
                                .tokens = 8192. * (double)step,
                                .flops = 1.25e12 * (double)step,
                                .loss = 7.5 - (double)step,
                                .valid_loss = step % 2 ? NAN : 6.5,
                                .valid_error = step % 2 ? NAN : 0.25,
                                .lr = 1e-3,
                                .grad_norm = 1.5,
                                .tokens_per_s = 512.5,
                                .mfu = 0.75,
                                .epoch = 0.125,
                                .seconds = 2.5 * (double)step};
}

static void same(const struct metrics_row *a, const struct metrics_row *b) {
    assert_int_equal(a->step, b->step);
    const double x[] = {a->tokens,       a->flops, a->loss,  a->lr,     a->grad_norm,
                        a->tokens_per_s, a->mfu,   a->epoch, a->seconds};
    const double y[] = {b->tokens,       b->flops, b->loss,  b->lr,     b->grad_norm,
                        b->tokens_per_s, b->mfu,   b->epoch, b->seconds};
    for (size_t i = 0; i < sizeof x / sizeof x[0]; i++) assert_true(x[i] == y[i]);
    assert_true(isnan(a->valid_loss) ? isnan(b->valid_loss) : a->valid_loss == b->valid_loss);
    assert_true(isnan(a->valid_error) ? isnan(b->valid_error) : a->valid_error == b->valid_error);
}

static void add(const char *dir, int64_t keep, int64_t first, int64_t last) {
    struct err err = {{0}};
    struct metrics_row kept;
    struct metrics *m = metrics_open(dir, keep, NULL, &kept, &err);
    assert_non_null(m);
    assert_int_equal(kept.step, keep);
    for (int64_t s = first; s <= last; s++) {
        const struct metrics_row row = row_of(s);
        assert_int_equal(metrics_add(m, &row, &err), 0);
    }
    assert_int_equal(metrics_sync(m, &err), 0);
    assert_int_equal(metrics_close(m, &err), 0);
}

static void comes_back(void **state) {
    (void)state;
    struct err err = {{0}};
    struct metrics_row *rows;
    int64_t n;
    char *dir = scratch_new();
    add(dir, 0, 1, 5);
    add(dir, 3, 4, 6); /* rows 4 and 5 are made again */
    assert_int_equal(metrics_read(&rows, &n, dir, &err), 0);
    assert_int_equal(n, 6);
    for (int64_t i = 0; i < n; i++) {
        const struct metrics_row expected = row_of(i + 1);
        same(&rows[i], &expected);
    }
    mem_free(rows);
    scratch_free(dir);
}

/* A file may hold any number; the longest ones are written again whole when a run goes on. */
static void huge_numbers(void **state) {
    (void)state;
    struct err err = {{0}};
    struct metrics_row *rows, last, huge = {.step = 1};
    int64_t n;
    char *dir = scratch_new();
    for (double *v = &huge.tokens; v <= &huge.seconds; v++) *v = 1e300;
    for (int i = 0; i < 2; i++) {
        struct metrics *m = metrics_open(dir, i, NULL, &last, &err);
        assert_non_null(m);
        if (i == 0) assert_int_equal(metrics_add(m, &huge, &err), 0);
        assert_int_equal(metrics_close(m, &err), 0);
        assert_int_equal(metrics_read(&rows, &n, dir, &err), 0);
        assert_int_equal(n, 1);
        same(&huge, &rows[0]);
        mem_free(rows);
    }
    scratch_free(dir);
}

/* An older file has fewer columns, in another order, and its last line is torn. */
static void other_columns(void **state) {
    (void)state;
    struct err err = {{0}};
    struct metrics_row *rows;
    int64_t n;
    char *dir = scratch_new(), path[FILE_PATH_MAX];
    static const char old[] =
        "step,tokens,valid_loss,flops,loss\n1,10,,100,5.5\nrubbish\n2,20,4.5,200,5\n3,30,,300,4\n4,4";
    assert_int_equal(file_join(path, dir, "metrics.csv", &err), 0);
    assert_int_equal(file_write(path, old, sizeof old - 1, &err), 0);
    assert_int_equal(metrics_read(&rows, &n, dir, &err), -1);
    assert_says(err, "metrics.csv line 3: not a row");
    add(dir, 2, 3, 3);
    assert_int_equal(metrics_read(&rows, &n, dir, &err), 0);
    assert_int_equal(n, 3);
    assert_true(rows[0].loss == 5.5 && isnan(rows[0].valid_loss) && isnan(rows[0].lr));
    assert_true(rows[1].loss == 5 && rows[1].valid_loss == 4.5 && isnan(rows[1].valid_error));
    const struct metrics_row last = row_of(3);
    same(&rows[2], &last);
    mem_free(rows);
    scratch_free(dir);
}

/* A row that the disk had no room for is there as soon as it has. */
static void full_disk(void **state) {
    (void)state;
    struct err err = {{0}};
    struct metrics_row *rows;
    int64_t n;
    struct metrics_row last;
    char *dir = scratch_new();
    struct metrics *m = metrics_open(dir, 0, NULL, &last, &err);
    const struct metrics_row one = row_of(1), two = row_of(2);
    assert_int_equal(metrics_add(m, &one, &err), 0);
    fault_set(FAULT_WRITE, 1, false);
    assert_int_equal(metrics_add(m, &two, &err), -1);
    assert_says(err, "metrics.csv: cannot write: No space left on device");
    fault_set(FAULT_WRITE, 0, false);
    for (int i = 0; i < 2; i++) assert_int_equal(metrics_sync(m, &err), 0); /* once only */
    assert_int_equal(metrics_close(m, &err), 0);
    assert_int_equal(metrics_read(&rows, &n, dir, &err), 0);
    assert_int_equal(n, 2);
    same(&rows[1], &two);
    mem_free(rows);
    scratch_free(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(comes_back), cmocka_unit_test(huge_numbers),
                                       cmocka_unit_test(other_columns), cmocka_unit_test(full_disk)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
