/* Times as people read them; on a log: silence at first, then plain lines; and the request to stop. The drawing on a
 * terminal is checked on a pseudo-terminal. Jobs read a clock that they set themselves. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static double job_time; /* seconds; 0: the clock is the system's */
static int read_clock(clockid_t id, struct timespec *t) {
    if (job_time == 0) return clock_gettime(id, t);
    *t = (struct timespec){(time_t)job_time, (long)(fmod(job_time, 1) * 1e9)};
    return 0;
}
#define clock_gettime read_clock
#include "../src/base/progress.c"
#undef clock_gettime
#include "base/stop.h"
#include "stop_help.h"

static void test_clock_format(void **state) {
    (void)state;
    const struct {
        double seconds;
        const char *text;
    } cases[] = {
        {0, "0 s"},        {0.4, "0 s"},        {3, "3 s"},         {59.4, "59 s"},
        {59.6, "1:00"},    {125, "2:05"},       {3599.4, "59:59"},  {3599.6, "1:00:00"},
        {3723, "1:02:03"}, {86399, "23:59:59"}, {86400, "1 d 0 h"}, {2 * 86400 + 3 * 3600 + 59, "2 d 3 h"},
        {-1, "?"},         {NAN, "?"},          {INFINITY, "?"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[32];
        clock_format(out, cases[i].seconds);
        assert_string_equal(out, cases[i].text);
    }
}

static void test_clock(void **state) {
    (void)state;
    double a = clock_seconds();
    usleep(20000);
    double b = clock_seconds();
    assert_true(b - a >= 0.02 && b - a < 10);
}

/* Put stderr on another descriptor for the length of `job`; returns what was written there. */
static const char *stderr_of(void (*job)(void), int write_to, int read_from) {
    static char text[16384];
    fflush(stderr);
    int saved = dup(STDERR_FILENO);
    assert_true(saved >= 0);
    dup2(write_to, STDERR_FILENO);
    job_time = 1000;
    job();
    job_time = 0;
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    /* A terminal hands on what was written when the system finds the time: read up to a mark behind it. */
    size_t n = 0;
    assert_int_equal(write(write_to, "\1", 1), 1);
    while (n == 0 || text[n - 1] != '\1') {
        assert_true(n + 1 < sizeof text);
        const ssize_t more = read(read_from, text + n, sizeof text - 1 - n);
        assert_true(more > 0);
        n += (size_t)more;
    }
    text[n - 1] = '\0';
    return text;
}

static const char *logged(void (*job)(void)) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const char *text = stderr_of(job, ends[1], ends[0]);
    close(ends[0]);
    close(ends[1]);
    return text;
}

static void short_job(void) {
    struct progress p;
    progress_start(&p, "short", "MB", 100e6, 1e-6);
    for (int i = 0; i < 100; i++) progress_at(&p, i * 1e6, "note");
    progress_end(&p, 100e6, NULL);
}

static void long_job(void) {
    struct progress p;
    progress_start(&p, "long", "MB", 48e6, 1e-6);
    job_time += 1.9;
    progress_at(&p, 1e6, "never seen");
    job_time += 2.1;
    progress_at(&p, 12e6, "first");
    progress_at(&p, 13e6, "too soon");
    job_time += 9.75;
    progress_at(&p, 14e6, "still too soon");
    job_time += 2;
    progress_at(&p, 24e6, "second");
    job_time += 40;
    progress_at(&p, 30e6, NULL);
    job_time += 59.5;
    progress_at(&p, 31e6, "late lines are rarer");
    progress_say(&p, "warning %d", 7);
    progress_end(&p, 48e6, "wrote 12 chunks");
}

static void test_log(void **state) {
    (void)state;
    assert_string_equal(logged(short_job), "");
    assert_string_equal(logged(long_job), "long: 12.0/48.0 MB, 3.00 MB/s, 12 s left; first\n"
                                          "long: 24.0/48.0 MB, 1.52 MB/s, 16 s left; second\n"
                                          "long: 30.0/48.0 MB, 0.538 MB/s, 33 s left\n"
                                          "warning 7\n"
                                          "long: 48.0 MB in 1:55, 0.416 MB/s; wrote 12 chunks\n");
}

static void noted_job(void) {
    struct progress p;
    progress_start(&p, "noted", "files", 0, 1);
    progress_end(&p, 3, "all new");
}

static void single_job(void) {
    struct progress p;
    progress_start(&p, "single", "steps", 0, 1);
    progress_end(&p, 1, "all new");
}

static void resumed_job(void) {
    struct progress p;
    progress_start(&p, "resumed", "steps", 0, 1);
    p.first = 1000;
    job_time += 10;
    progress_at(&p, 1050, NULL);
}

static void quiet_job(void) {
    struct progress p;
    progress_quiet = true;
    progress_start(&p, "quiet", "MB", 1, 1);
    job_time += 100;
    progress_at(&p, 1, "x");
    progress_say(&p, "x");
    progress_say(NULL, "x");
    progress_end(&p, 1, "x");
    progress_quiet = false;
}

static void test_kinds_of_jobs(void **state) {
    (void)state;
    assert_string_equal(logged(noted_job), "noted: 3 files in 0 s; all new\n");
    assert_string_equal(logged(single_job), "single: 1 step in 0 s; all new\n");
    assert_string_equal(logged(resumed_job), "resumed: 1050 steps, 5.00 steps/s\n");
    assert_string_equal(logged(quiet_job), "");
}

static void drawn_job(void) {
    struct progress p;
    progress_start(&p, "draw", "MB", 48, 1);
    job_time += 4;
    progress_at(&p, 12, "a note that is much too long for the line of a terminal, which has eighty columns");
    job_time += 0.0625;
    progress_at(&p, 13, "too soon to draw again");
    job_time += 0.0625;
    progress_at(&p, 14, "soon enough");
    progress_say(&p, "a line");
    progress_at(&p, 100, NULL); /* more than all */
    progress_end(&p, 48, "done");
}

static void test_terminal(void **state) {
    (void)state;
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0) {
        printf("SKIP: no pseudo-terminal here: the drawing of the bar is not tested\n");
        return;
    }
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    assert_true(slave >= 0);
    struct termios t;
    assert_int_equal(tcgetattr(slave, &t), 0);
    cfmakeraw(&t);
    tcsetattr(slave, TCSANOW, &t);
    const char *text = stderr_of(drawn_job, slave, master);
    close(slave);
    close(master);
    assert_string_equal(text, "\r\033[Kdraw [######                  ] 12/48 MB, 3.00 MB/s, 12 s left; a note that "
                              "is "
                              "\r\033[Kdraw [#######                 ] 14/48 MB, 3.39 MB/s, 10 s left; soon enough"
                              "\r\033[Ka line\n"
                              "\r\033[Kdraw [########################] 100/48 MB, 24.2 MB/s"
                              "\r\033[Kdraw: 48 MB in 4 s, 11.6 MB/s; done\n");
}

/* Nothing that is printed before comes twice. */
static pid_t fork_child(void) {
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    return child;
}

static int status_of(pid_t child) {
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

/* A first signal is noted, a second one ends the process; but Slurm sends its SIGTERM twice. */
enum { TAKEN = 50000 /* µs: a signal that was sent has been taken */ };
static void test_stop(void **state) {
    (void)state;
    const pid_t child = fork_child();
    if (child == 0) {
        stop_install();
        if (stop_asked() || stop_signal()) _exit(1);
        ask_to_stop();
        if (stop_signal() != SIGTERM) _exit(2);
        kill(getpid(), SIGTERM);
        usleep(TAKEN);
        kill(getpid(), SIGINT);
        sleep(60);
        _exit(3);
    }
    const int status = status_of(child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGINT);
}

/* Also when something else had asked before, and a terminal that is gone as often as it is told. */
static void test_stop_told_twice(void **state) {
    (void)state;
    const pid_t child = fork_child();
    if (child == 0) {
        stop_install();
        kill(getpid(), SIGHUP);
        while (!stop_asked()) sched_yield();
        kill(getpid(), SIGHUP);
        usleep(TAKEN);
        for (int i = 0; i < 2; i++) {
            kill(getpid(), SIGTERM);
            usleep(TAKEN);
        }
        _exit(stop_signal() == SIGHUP ? 5 : 6);
    }
    const int status = status_of(child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 5);
}

/* What the program that began this one tells it is neither a first nor a second signal. */
static void test_stop_told(void **state) {
    (void)state;
    const pid_t child = fork_child();
    if (child == 0) {
        stop_install();
        stop_tell(getpid());
        while (!stop_asked()) sched_yield();
        kill(getpid(), SIGINT);
        usleep(TAKEN);
        stop_tell(getpid());
        usleep(TAKEN);
        _exit(stop_signal() == SIGTERM ? 5 : 6);
    }
    const int status = status_of(child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 5);
}

/* No thread that computes is ever interrupted: one takes the signals for all. Before stop_install() the first one ends
 * the process, unless it was to be ignored. */
static void test_stop_guard(void **state) {
    (void)state;
    for (int ignored = 0; ignored < 2; ignored++) {
        int status, blocked = 0;
        fflush(NULL);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            if (ignored) signal(SIGINT, SIG_IGN);
            stop_guard();
#pragma omp parallel num_threads(3) reduction(+ : blocked)
            {
                sigset_t set;
                pthread_sigmask(SIG_BLOCK, NULL, &set);
                blocked += sigismember(&set, SIGINT) && sigismember(&set, SIGTERM);
            }
            if (blocked != 3) _exit(1);
            kill(getpid(), SIGINT);
            if (ignored)
                usleep(100000);
            else
                sleep(60);
            _exit(ignored ? 4 : 3);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        if (ignored) assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 4);
        if (!ignored) assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock_format),  cmocka_unit_test(test_clock),           cmocka_unit_test(test_log),
        cmocka_unit_test(test_kinds_of_jobs), cmocka_unit_test(test_terminal),        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_stop_told),     cmocka_unit_test(test_stop_told_twice), cmocka_unit_test(test_stop_guard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
