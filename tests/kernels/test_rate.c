/* The yardstick of MFU, by itself: it takes half a second on a machine, and for ever on an emulated one. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"
#include "compute/gemm.h"
#include "compute/linear.h"

/* It is much larger than a small model's products, and gives back what it took. */
static void test_rate(void **state) {
    (void)state;
    struct err err = {{0}};
    for (enum dtype t = DTYPE_F32; t <= DTYPE_BF16; t++) {
        const int64_t before = mem_in_use();
        assert_true(linear_rate(t, &err) > 1e8);
        assert_in_range(mem_in_use() - before, 0, 1 << 20); /* primitives stay */
    }
}

int main(void) {
    struct err err = {{0}};
    if (kernels_init(&err) < 0 || gemm_init(2, &err) < 0) {
        printf("%s\n", err.msg);
        return 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rate)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
