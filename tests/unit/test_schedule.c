/* The learning rate against values by hand, and a published run's number of steps. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "train/objective.h"
#include "train/schedule.h"

static void schedule_shape(void **state) {
    (void)state;
    const struct schedule s = {.steps = 1000, .warmup = 100, .lr = 2e-4, .min_lr = 2e-5};
    assert_float_equal(schedule_lr(&s, 50), 1e-4, 1e-12);
    assert_float_equal(schedule_lr(&s, 100), 2e-4, 1e-12);
    assert_float_equal(schedule_lr(&s, 550), 1.1e-4, 1e-12);
    assert_float_equal(schedule_lr(&s, 1000), 2e-5, 1e-12);
    struct schedule falls = s; /* warm-up, stable, decay */
    falls.decay = 0.2;
    assert_float_equal(schedule_lr(&falls, 50), 1e-4, 1e-12);
    assert_float_equal(schedule_lr(&falls, 101), 2e-4, 1e-12);
    assert_float_equal(schedule_lr(&falls, 800), 2e-4, 1e-12);
    assert_float_equal(schedule_lr(&falls, 850), 2e-4 - 0.25 * 1.8e-4, 1e-12);
    assert_float_equal(schedule_lr(&falls, 1000), 2e-5, 1e-12);
    falls.decay = 1; /* all that the warm-up leaves */
    assert_float_equal(schedule_lr(&falls, 100), 2e-4, 1e-12);
    assert_float_equal(schedule_lr(&falls, 325), 2e-4 - 0.25 * 1.8e-4, 1e-12);
    assert_int_equal(schedule_warmup(100000), 1000);
    assert_int_equal(schedule_warmup(2000), 100);
    assert_int_equal(schedule_warmup(50), 5);
    /* the published 170 M run of 10e18 FLOPs: 256 sequences of 2048 with 1 % random lengths */
    assert_int_equal(schedule_steps_for_flops(10e18, 169897728, 256, objective_mean_length(2048, 0.01)), 18804);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(schedule_shape)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
