/* bootstrap: the harness's numbers (tests/golden/bootstrap/make.py), one item, no memory. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/fault.h"
#include "eval/bootstrap.h"

static struct err err;

static void golden(void **state) {
    (void)state;
    char line[2048];
    int cases = 0;
    FILE *f = fopen("tests/golden/bootstrap/cases.tsv", "r");
    assert_non_null(f);
    for (; fgets(line, sizeof line, f); cases++) {
        double loglik[100], got;
        int64_t n = 0;
        char *s, *end;
        const int rounds = (int)strtol(line, &s, 10);
        const double want = strtod(s, &s);
        for (double v = strtod(s, &end); end != s; v = strtod(s, &end)) {
            assert_true(n < 100);
            loglik[n++] = v;
            s = end;
        }
        assert_int_equal(bootstrap_perplexity(&got, loglik, n, rounds, &err), 0);
        if (!(fabs(got - want) <= 1e-12 * want))
            fail_msg("line %d: %.17g, the harness says %.17g", cases + 1, got, want);
    }
    fclose(f);
    assert_int_equal(cases, 4);
}

static void one_item(void **state) {
    (void)state;
    double error = 0;
    assert_int_equal(bootstrap_perplexity(&error, &(double){-1}, 1, 1, &err), 0);
    assert_true(isnan(error));
}

static void no_memory(void **state) {
    (void)state;
    double error;
    fault_set(FAULT_ALLOC, 1, false);
    assert_int_equal(bootstrap_perplexity(&error, (const double[]){-1, -2}, 2, 1, &err), -1);
    fault_set(FAULT_ALLOC, 0, false);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(golden), cmocka_unit_test(one_item),
                                       cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
