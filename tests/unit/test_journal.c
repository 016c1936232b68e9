/* journal: lines are there when it says so; a torn last line is cut, a whole one without its end is kept; whatever fails,
 * the file holds whole lines. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/journal.h"
#include "base/mem.h"
#include "unit/data_help.h"

static struct err err;
static char *dir;

static void content_is(const char *want) {
    size_t n;
    char *got = get(in(dir, "j"), &n);
    assert_int_equal(n, strlen(want));
    assert_string_equal(got, want);
    free(got);
}

static void opened(const char *before, int64_t cut, const char *after) {
    struct journal j;
    put_text(in(dir, "j"), before);
    if (journal_open(&j, in(dir, "j"), &err) < 0) fail_msg("%s", err.msg);
    assert_int_equal(j.cut, cut);
    assert_int_equal(journal_add(&j, "{}", 2, &err), 0);
    journal_close(&j);
    content_is(after);
}

static void repairs(void **state) {
    (void)state;
    struct journal j;
    assert_int_equal(journal_open(&j, in(dir, "j"), &err), 0); /* a new one */
    assert_int_equal(journal_add(&j, "1", 1, &err), 0);
    assert_int_equal(journal_add(&j, "", 0, &err), 0);
    journal_close(&j);
    journal_close(&j);
    content_is("1\n\n");
    opened("", 0, "{}\n");
    opened("{\"a\": 1}\n", 0, "{\"a\": 1}\n{}\n");
    opened("{\"a\": 1}", 0, "{\"a\": 1}\n{}\n");
    opened("{\"a\": 1}\n{\"b\"", 4, "{\"a\": 1}\n{}\n");
    opened("{\"b\"", 4, "{}\n");
    opened("{\"a\": 1}\n\xc3", 1, "{\"a\": 1}\n{}\n");
    assert_int_equal(journal_open(&j, in(dir, "no/j"), &err), -1);
    assert_says(err, "no/j");
    assert_int_equal(journal_open(&j, dir, &err), -1);
}

static void faults(void **state) {
    (void)state;
    static const enum fault_kind kinds[] = {FAULT_ALLOC, FAULT_READ, FAULT_WRITE, FAULT_FSYNC};
    for (size_t k = 0; k < 4; k++)
        for (long n = 1;; n++) {
            struct journal j;
            put_text(in(dir, "j"), "[1]\n[2");
            err.msg[0] = 0;
            fault_set(kinds[k], n, false);
            int r = journal_open(&j, in(dir, "j"), &err);
            const bool open = r == 0;
            if (open) r = journal_add(&j, "[3]", 3, &err);
            const bool reached = fault_count(kinds[k]) >= n;
            fault_set(kinds[k], 0, false);
            assert_int_equal(r < 0, reached);
            assert_int_equal(!err.msg[0], !reached);
            if (open) content_is(reached ? "[1]\n" : "[1]\n[3]\n");
            if (open && reached) { /* and the next try gets through */
                assert_int_equal(journal_add(&j, "[3]", 3, &err), 0);
                content_is("[1]\n[3]\n");
            }
            journal_close(&j);
            if (!reached) break;
        }
    assert_int_equal(mem_in_use(), 0);
}

static int setup(void **state) {
    (void)state;
    dir = scratch_fast();
    return 0;
}

static int teardown(void **state) {
    (void)state;
    scratch_free(dir);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(repairs), cmocka_unit_test(faults)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
