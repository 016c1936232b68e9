/* A sampler's times and shares, as PyTorch's float32 has them. What samplers do: test_scheduler, tests/golden/test_samples. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "infer/sampler.h"

/* The first values of torch.linspace(1, 1e-5, 8) and (1, 1e-5, 11), as PyTorch rounds them. */
static void times_are_float32(void **state) {
    (void)state;
    static const float seven[] = {0x1.0000000000000p+0f, 0x1.b6db9e0000000p-1f, 0x1.6db73c0000000p-1f,
                                  0x1.2492d80000000p-1f, 0x1.b6dcee0000000p-2f, 0x1.24942a0000000p-2f,
                                  0x1.2496c80000000p-3f, 0x1.4f8b580000000p-17f};
    static const float ten[] = {0x1.0000000000000p+0f, 0x1.ccccee0000000p-1f, 0x1.9999dc0000000p-1f,
                                0x1.6666cc0000000p-1f, 0x1.3333ba0000000p-1f, 0x1.0000a80000000p-1f,
                                0x1.999b2c0000000p-2f, 0x1.3335080000000p-2f, 0x1.999dca0000000p-3f,
                                0x1.99a3080000000p-4f, 0x1.4f8b580000000p-17f};
    for (int i = 0; i < 8; i++) assert_true(sampler_time(i, 7) == seven[i]);
    for (int i = 0; i < 11; i++) assert_true(sampler_time(i, 10) == ten[i]);
    assert_true(sampler_time(0, 1) == 1.0f && sampler_time(1, 1) == 1e-5f);
    for (int64_t steps = 1; steps < 70; steps++) { /* everything is revealed, never more than there is */
        int64_t left = 64;
        for (int64_t i = 0; i < steps; i++) {
            const int64_t k = i == steps - 1 ? left : (int64_t)((float)left * sampler_share(i, steps));
            assert_true(k >= 0 && k <= left);
            left -= k;
        }
        assert_int_equal(left, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(times_are_float32)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
