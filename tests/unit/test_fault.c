/* The failure injector itself: which call fails, with which errno, from the environment too, and from many threads. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"

static void test_off(void **state) {
    (void)state;
    for (int k = 0; k < FAULT_KINDS; k++)
        for (int i = 0; i < 10; i++) assert_false(fault_now((enum fault_kind)k));
}

static void test_nth(void **state) {
    (void)state;
    const int numbers[FAULT_KINDS] = {ENOMEM, EIO, ENOSPC, EIO, EIO};
    for (int k = 0; k < FAULT_KINDS; k++) {
        enum fault_kind kind = (enum fault_kind)k;
        fault_set(kind, 3, false);
        for (int call = 1; call <= 6; call++) {
            errno = 0;
            assert_int_equal(fault_now(kind), call == 3);
            assert_int_equal(errno, call == 3 ? numbers[k] : 0);
            assert_false(fault_now((enum fault_kind)((k + 1) % FAULT_KINDS))); /* the other kinds are unaffected */
        }
        assert_int_equal(fault_count(kind), 6);
        fault_set(kind, 3, true);
        assert_int_equal(fault_count(kind), 0);
        for (int call = 1; call <= 6; call++) assert_int_equal(fault_now(kind), call >= 3);
        fault_set(kind, 0, false);
        for (int call = 1; call <= 6; call++) assert_false(fault_now(kind));
    }
}

static void *many(void *hits) {
    for (int i = 0; i < 10000; i++)
        if (fault_now(FAULT_READ)) atomic_fetch_add((atomic_int *)hits, 1);
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    atomic_int hits = 0;
    pthread_t threads[4];
    fault_set(FAULT_READ, 23456, false);
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, many, &hits), 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    assert_int_equal(fault_count(FAULT_READ), 40000);
    assert_int_equal(hits, 1);
    fault_set(FAULT_READ, 0, false);
}

/* The environment is read once, so each case has a process of its own: this program again, with an argument. */
static int with_environment(const char *value) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr)) _exit(90);
        setenv("MDM_FAULT", value, 1);
        execl("/proc/self/exe", "test_fault", "calls", (char *)NULL);
        _exit(91);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child) return 92;
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* Bits 0..2: which of three writes failed; bits 3..5: which of three allocations. */
static int report_calls(void) {
    int bits = 0;
    for (int i = 0; i < 3; i++) {
        bits |= fault_now(FAULT_WRITE) << i;
        bits |= fault_now(FAULT_ALLOC) << (3 + i);
    }
    return bits;
}

static void test_environment(void **state) {
    (void)state;
    assert_int_equal(with_environment(""), 0);
    assert_int_equal(with_environment("write:2"), 2);
    assert_int_equal(with_environment("write:2+"), 6);
    assert_int_equal(with_environment("alloc:1,write:3"), 1 << 3 | 1 << 2);
    assert_int_equal(with_environment("write:9"), 0);
    const char *const bad[] = {"wrote:1", "write", "write:", "write:0", "write:-1", "write:1x", "writ:1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_int_equal(with_environment(bad[i]), -SIGABRT);
}

int main(int argc, char **argv) {
    (void)argv;
    if (argc > 1) return report_calls();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_off),
        cmocka_unit_test(test_nth),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
