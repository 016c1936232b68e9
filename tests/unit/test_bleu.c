/* bleu: nltk's numbers (tests/golden/bleu/make.py), ill-formed text, no memory. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/mem.h"
#include "eval/bleu.h"

static struct err err;

static double bleu(const char *reference, const char *hypothesis) {
    double score = NAN;
    if (bleu_characters(&score, reference, (int64_t)strlen(reference), hypothesis, (int64_t)strlen(hypothesis), &err) <
        0)
        fail_msg("%s", err.msg);
    return score;
}

static void golden(void **state) {
    (void)state;
    char line[1024];
    int n = 0;
    FILE *f = fopen("tests/golden/bleu/cases.tsv", "r");
    assert_non_null(f);
    for (; fgets(line, sizeof line, f); n++) {
        line[strcspn(line, "\n")] = 0;
        char *reference = strchr(line, '\t'), *hypothesis = reference ? strchr(reference + 1, '\t') : NULL;
        assert_non_null(hypothesis);
        *reference++ = *hypothesis++ = 0;
        const double want = strtod(line, NULL), got = bleu(reference, hypothesis);
        if (!(fabs(got - want) <= 1e-12 * want))
            fail_msg("'%s' '%s': %g, nltk says %s", reference, hypothesis, got, line);
    }
    fclose(f);
    assert_true(n > 100);
}

static void ill_formed(void **state) {
    (void)state;
    assert_float_equal(bleu("ab\xff"
                            "cd",
                            "ab\xff"
                            "cd"),
                       1, 1e-15);
    assert_true(bleu("ab\xff"
                     "cd",
                     "abxcd") < 0.5);
}

static void memory(void **state) {
    (void)state;
    double score;
    for (int n = 1; n <= 2; n++) {
        fault_set(FAULT_ALLOC, n, false);
        assert_int_equal(bleu_characters(&score, "abc", 3, "abd", 3, &err), -1);
        fault_set(FAULT_ALLOC, 0, false);
    }
    assert_int_equal(mem_in_use(), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden),
        cmocka_unit_test(ill_formed),
        cmocka_unit_test(memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
