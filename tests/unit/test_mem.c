/* Allocation: zeroed, aligned, counted; overflow and injected failures are errors; misuse stops the program. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/mem.h"

static void test_sizes(void **state) {
    (void)state;
    const int64_t sizes[] = {0, 1, 63, 64, 65, 4096, (2 << 20) - 1, 2 << 20, (2 << 20) + 1, 5000011};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int again = 0; again < 2; again++) { /* the second time meets the dirty block of the first */
            struct err err = {0};
            int64_t before = mem_in_use();
            unsigned char *p = mem_alloc(sizes[i], 1, "a test block", &err);
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % 64, 0);
            assert_int_equal(mem_in_use() - before, sizes[i]);
            assert_true(mem_peak() >= mem_in_use());
            for (int64_t k = 0; k < sizes[i]; k++)
                if (p[k]) fail_msg("byte %lld of %lld is not zero", (long long)k, (long long)sizes[i]);
            if (sizes[i]) memset(p, 0xa5, (size_t)sizes[i]);
            mem_free(p);
            assert_int_equal(mem_in_use(), before);
        }
    mem_free(NULL);
}

static void test_impossible(void **state) {
    (void)state;
    struct err err = {0};
    int64_t before = mem_in_use(), calls = mem_calls();
    assert_null(mem_alloc(INT64_MAX, 16, "the moon", &err));
    assert_non_null(strstr(err.msg, "the moon"));
    assert_non_null(strstr(err.msg, "9223372036854775807 x 16"));
    assert_int_equal(mem_calls(), calls); /* overflow does not reach the allocator */
    assert_null(mem_alloc(INT64_MAX, 1, "half the moon", &err));
    assert_non_null(strstr(err.msg, "half the moon needs 9223372036854775807 bytes"));
    assert_null(mem_alloc((int64_t)1 << 60, 1, "a crater", &err)); /* refused by the system, not by arithmetic */
    assert_non_null(strstr(err.msg, "a crater"));
    assert_int_equal(mem_in_use(), before);
}

static void test_grow(void **state) {
    (void)state;
    struct err err = {0};
    int64_t *list = NULL, capacity = 0, before = mem_in_use(), growths = 0;
    for (int64_t n = 0; n < 400000; n++) { /* passes the border of mapped areas */
        int64_t old = capacity;
        assert_int_equal(mem_grow(&list, &capacity, n + 1, sizeof *list, "a list", &err), 0);
        if (capacity != old) {
            growths++;
            assert_true(capacity >= 2 * old);
            for (int64_t k = n; k < capacity; k++) assert_int_equal(list[k], 0);
        }
        list[n] = 7 * n;
    }
    for (int64_t n = 0; n < 400000; n++)
        if (list[n] != 7 * n) fail_msg("element %lld was lost", (long long)n);
    assert_true(growths <= 20);
    assert_int_equal(mem_in_use() - before, capacity * (int64_t)sizeof *list);

    int64_t *same = list, held = capacity, calls = mem_calls();
    assert_int_equal(mem_grow(&list, &capacity, capacity, sizeof *list, "a list", &err), 0);
    assert_ptr_equal(list, same);
    assert_int_equal(mem_calls(), calls);
    assert_int_equal(mem_grow(&list, &capacity, INT64_MAX, sizeof *list, "a list", &err), -1);
    assert_ptr_equal(list, same);
    assert_int_equal(capacity, held);
    mem_free(list);

    char *none = NULL;
    capacity = 0;
    assert_int_equal(mem_grow(&none, &capacity, 0, 1, "nothing", &err), 0);
    assert_non_null(none); /* zero elements still give a pointer */
    mem_free(none);
    assert_int_equal(mem_in_use(), before);
}

static void test_strdup(void **state) {
    (void)state;
    struct err err = {0};
    char *s = mem_strdup("", &err), *t = mem_strdup("two words", &err);
    assert_string_equal(s, "");
    assert_string_equal(t, "two words");
    mem_free(s);
    mem_free(t);
}

static void test_faults(void **state) {
    (void)state;
    struct err err = {0};
    int64_t before = mem_in_use(), capacity = 0;
    int *list = NULL;
    fault_set(FAULT_ALLOC, 2, false);
    void *first = mem_alloc(1, 1, "first", &err);
    assert_non_null(first);
    assert_null(mem_alloc(3, 8, "second", &err));
    assert_non_null(strstr(err.msg, "second needs 24 bytes"));
    assert_int_equal(mem_grow(&list, &capacity, 4, sizeof *list, "third", &err), 0);
    fault_set(FAULT_ALLOC, 1, true);
    assert_int_equal(mem_grow(&list, &capacity, 5, sizeof *list, "fourth", &err), -1);
    assert_int_equal(capacity, 4);
    assert_null(mem_strdup("x", &err));
    fault_set(FAULT_ALLOC, 0, false);
    mem_free(list);
    mem_free(first);
    assert_int_equal(mem_in_use(), before);
}

static void overrun_from_below(void) {
    struct err err = {0};
    char *p = mem_alloc(100, 1, "x", &err);
    memset(p - 64, 0, 64); /* what an overrun from below does to the head */
    mem_free(p);
}
static void negative_count(void) {
    mem_alloc(-1, 1, "x", NULL);
}

static void test_misuse_stops(void **state) {
    (void)state;
    void (*const bad[])(void) = {overrun_from_below, negative_count};
    for (int i = 0; i < 2; i++) {
        fflush(NULL);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            if (!freopen("/dev/null", "w", stderr)) _exit(3);
            signal(SIGABRT, SIG_DFL);
            bad[i]();
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),  cmocka_unit_test(test_impossible), cmocka_unit_test(test_grow),
        cmocka_unit_test(test_strdup), cmocka_unit_test(test_faults),     cmocka_unit_test(test_misuse_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
