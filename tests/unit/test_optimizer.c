/* The clip: a gradient above the limit is scaled down to it, one below is left alone. The moments show the scale. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "compute/kernels.h"
#include "train/optimizer.h"

/* The first moment of a gradient of 1 after one step, in tenths (beta1 is 0.9): the scale that it had. */
static double scale_of(double clip, double norm) {
    float w = 0, g = 1, m = 0, v = 0;
    const struct optimizer o = {.beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .clip = clip, .m = &m, .v = &v, .n = 1};
    optimizer_step(&o, &w, &g, norm, 1e-3, 1);
    return 10 * (double)m;
}

static void clip(void **state) {
    (void)state;
    assert_float_equal(scale_of(1, 0.25), 1, 1e-6);
    assert_float_equal(scale_of(1, 0.999), 1, 1e-6);
    assert_float_equal(scale_of(1, 4), 0.25, 1e-6);
    assert_float_equal(scale_of(2, 4), 0.5, 1e-6);
    assert_float_equal(scale_of(0, 4), 1, 1e-6); /* no limit */
}

int main(void) {
    struct err err = {{0}};
    if (kernels_init(&err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(clip)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
