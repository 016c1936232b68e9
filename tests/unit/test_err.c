/* One-line messages: formatting, replacing, cutting, hostile bytes; BUG_ON stops the program. */
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

static void test_set(void **state) {
    (void)state;
    struct err err = {0};
    assert_int_equal(err_set(&err, "cannot read '%s': %d", "a.bin", 7), -1);
    assert_string_equal(err.msg, "cannot read 'a.bin': 7");
    err_set(&err, "second");
    assert_string_equal(err.msg, "second");
    assert_int_equal(err_set(NULL, "nobody listens"), -1);
}

static void test_prefix(void **state) {
    (void)state;
    struct err err = {0};
    err_set(&err, "no such key");
    assert_int_equal(err_prefix(&err, "%s line %d", "run.json", 3), -1);
    assert_string_equal(err.msg, "run.json line 3: no such key");
    /* A message may be built from the one it replaces. */
    err_set(&err, "outer (%s)", err.msg);
    assert_string_equal(err.msg, "outer (run.json line 3: no such key)");
    assert_int_equal(err_prefix(NULL, "x"), -1);
}

static void test_stays_one_line(void **state) {
    (void)state;
    struct err err = {0};
    err_set(&err, "a\nb\rc\td\033[2Je\177f");
    assert_string_equal(err.msg, "a?b?c?d?[2Je?f");
    err_set(&err, "csi \xc2\x9b"
                  "1m end"); /* U+009B starts a terminal sequence */
    assert_string_equal(err.msg, "csi ??1m end");
    err_set(&err, "na\xc3\xafve \xe2\x80\xa6 \xc2\xa0.");
    assert_string_equal(err.msg, "na\xc3\xafve \xe2\x80\xa6 \xc2\xa0.");
}

static void test_long_messages(void **state) {
    (void)state;
    struct err err = {0};
    char text[3000];
    memset(text, 'x', sizeof text);
    text[sizeof err.msg - 1] = '\0';
    err_set(&err, "%s", text); /* the longest that fits */
    assert_string_equal(err.msg, text);
    text[sizeof err.msg - 1] = 'x';
    text[sizeof err.msg] = '\0';
    err_set(&err, "%s", text);
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
    assert_string_equal(err.msg + strlen(err.msg) - 4, "x...");
    /* The cut never leaves half of a character, wherever it falls. */
    for (int shift = 0; shift < 3; shift++) {
        memset(text, 'a', sizeof text);
        for (size_t i = (size_t)shift; i + 3 < sizeof text; i += 3) memcpy(text + i, "\xe2\x82\xac", 3);
        text[sizeof text - 1] = '\0';
        err_set(&err, "%s", text);
        size_t n = strlen(err.msg);
        assert_in_range(n, sizeof err.msg - 4, sizeof err.msg - 1);
        assert_string_equal(err.msg + n - 6, "\xe2\x82\xac...");
    }
    err_prefix(&err, "%s", "front");
    assert_memory_equal(err.msg, "front: ", 7);
    assert_in_range(strlen(err.msg), sizeof err.msg - 4, sizeof err.msg - 1);
}

static void test_bug(void **state) {
    (void)state;
    int two = 2;
    BUG_ON(two != 2);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr)) _exit(3);
        signal(SIGABRT, SIG_DFL);
        BUG_ON(two == 2);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set),           cmocka_unit_test(test_prefix), cmocka_unit_test(test_stays_one_line),
        cmocka_unit_test(test_long_messages), cmocka_unit_test(test_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
