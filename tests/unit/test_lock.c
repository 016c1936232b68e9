/* The lock of a folder: held by one, refused to the others by name, gone with its holder. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/lock.h"
#include "data_help.h"

static void one_at_a_time(void **state) {
    (void)state;
    struct err err = {{0}};
    char *dir = scratch_new(), name[64];
    const int lock = lock_take(dir, &err);
    assert_true(lock >= 0);
    assert_int_equal(lock_take(dir, &err), LOCK_HELD);
    assert_says(err, dir);
    snprintf(name, sizeof name, "process %ld on ", (long)getpid());
    assert_says(err, name);
    lock_release(lock);
    lock_release(-1);
    const int again = lock_take(dir, &err);
    assert_true(again >= 0);
    lock_release(again);
    scratch_free(dir);
}

static void goes_with_its_holder(void **state) {
    (void)state;
    struct err err = {{0}};
    char *dir = scratch_new(), ready;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
        if (lock_take(dir, &err) < 0 || write(ends[1], "y", 1) != 1) _exit(1);
        for (;;) pause();
    }
    assert_int_equal(read(ends[0], &ready, 1), 1);
    assert_int_equal(lock_take(dir, &err), LOCK_HELD);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    const int lock = lock_take(dir, &err);
    assert_true(lock >= 0);
    lock_release(lock);
    close(ends[0]);
    close(ends[1]);
    scratch_free(dir);
}

static const char *removed; /* by a holder, between the moments when a program opens the lock's file and locks it */

int flock(int fd, int how) { /* instead of the C library's */
    if (removed) unlink(removed);
    removed = NULL;
    return (int)syscall(SYS_flock, fd, how);
}

/* Who locked a file that had lost its name meanwhile tries again: else the next one would hold the lock too. */
static void a_file_without_a_name(void **state) {
    (void)state;
    char *dir = scratch_new(), path[FILE_PATH_MAX];
    struct err err = {{0}};
    assert_int_equal(file_join(path, dir, LOCK_NAME, &err), 0);
    removed = path;
    const int lock = lock_take(dir, &err);
    assert_true(lock >= 0);
    assert_null(removed);
    assert_true(file_exists(path));
    assert_int_equal(lock_take(dir, &err), LOCK_HELD);
    lock_release(lock);
    scratch_free(dir);
}

/* Holders that remove the file of the lock, one after another: never are two of them inside. */
static void removed_by_its_holder(void **state) {
    (void)state;
    enum { PROGRAMS = 4, TURNS = 2000 };
    char *dir = scratch_new(), inside[FILE_PATH_MAX], path[FILE_PATH_MAX];
    struct err err = {{0}};
    int status;
    assert_int_equal(file_join(inside, dir, "inside", &err), 0);
    assert_int_equal(file_join(path, dir, LOCK_NAME, &err), 0);
    for (int i = 0; i < PROGRAMS; i++) {
        if (fork() != 0) continue;
        for (int turn = 0; turn < TURNS; turn++) {
            const int lock = lock_take(dir, &err);
            if (lock < 0) continue;
            const int fd = open(inside, O_CREAT | O_EXCL, 0600);
            if (fd < 0) _exit(1);
            close(fd);
            unlink(inside);
            unlink(path);
            lock_release(lock);
        }
        _exit(0);
    }
    for (int i = 0; i < PROGRAMS; i++) {
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    scratch_free(dir);
}

/* Shared by many, or held by one. */
static void shared(void **state) {
    (void)state;
    struct err err = {{0}};
    char *dir = scratch_new();
    const int a = lock_share(dir, &err), b = lock_share(dir, &err);
    assert_true(a >= 0 && b >= 0);
    lock_release(a);
    assert_int_equal(lock_take(dir, &err), LOCK_HELD);
    lock_release(b);
    const int alone = lock_take(dir, &err);
    assert_true(alone >= 0);
    assert_int_equal(lock_share(dir, &err), LOCK_HELD);
    lock_release(alone);
    scratch_free(dir);
}

/* Who shares it is named while it runs, whoever shares it beside; of those that are left when it has ended nobody is. */
static void shared_by_name(void **state) {
    (void)state;
    struct err err = {{0}};
    char *dir = scratch_new(), ready, name[64];
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const pid_t first = fork();
    if (first == 0) {
        alarm(60); /* it outlives a test that fails */
        if (lock_share(dir, &err) < 0 || write(ends[1], "y", 1) != 1) _exit(1);
        for (;;) pause();
    }
    assert_int_equal(read(ends[0], &ready, 1), 1);
    snprintf(name, sizeof name, "(process %ld on ", (long)first);
    const int mine = lock_share(dir, &err);
    assert_true(mine >= 0);
    assert_int_equal(lock_take(dir, &err), LOCK_HELD);
    assert_says(err, name);
    kill(first, SIGKILL);
    waitpid(first, NULL, 0);
    assert_int_equal(lock_take(dir, &err), LOCK_HELD); /* nobody has inherited it */
    assert_says(err, "(one of several that share it)");
    const int another = lock_share(dir, &err);
    assert_int_equal(lock_take(dir, &err), LOCK_HELD);
    snprintf(name, sizeof name, "(process %ld on ", (long)getpid());
    assert_says(err, name);
    lock_release(another);
    lock_release(mine);
    close(ends[0]);
    close(ends[1]);
    scratch_free(dir);
}

/* A child that became another program holds what it inherited, and nothing else, when its parent is dead. */
static void inherited(void **state) {
    (void)state;
    struct err err = {{0}};
    char *dir = scratch_new(), *other = scratch_new(), ready;
    int says[2], hears[2], lock;
    assert_true(pipe(says) == 0 && pipe(hears) == 0);
    const pid_t parent = fork();
    if (parent == 0) {
        if ((lock = lock_take(dir, &err)) < 0 || lock_take(other, &err) < 0) _exit(1);
        if (fork() == 0) {
            lock_inherit(lock);
            if (dup2(hears[0], 0) < 0 || dup2(says[1], 1) < 0 || close(hears[1]) < 0) _exit(1);
            execl("/bin/sh", "sh", "-c", "echo y; read line", (char *)NULL);
        }
        for (;;) pause();
    }
    assert_int_equal(read(says[0], &ready, 1), 1);
    assert_int_equal(lock_take(dir, &err), LOCK_HELD);
    kill(parent, SIGKILL);
    waitpid(parent, NULL, 0);
    assert_int_equal(lock_take(dir, &err), LOCK_INHERITED);
    lock = lock_take(other, &err);
    assert_true(lock >= 0);
    lock_release(lock);
    close(hears[1]); /* ends the child */
    while ((lock = lock_take(dir, &err)) == LOCK_INHERITED) usleep(1000);
    assert_true(lock >= 0);
    lock_release(lock);
    close(hears[0]);
    close(says[0]);
    close(says[1]);
    scratch_free(other);
    scratch_free(dir);
}

static void no_folder(void **state) {
    (void)state;
    struct err err = {{0}};
    assert_int_equal(lock_take("/nowhere/at/all", &err), LOCK_FAILED);
    assert_says(err, "/nowhere/at/all");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_at_a_time),
                                       cmocka_unit_test(goes_with_its_holder),
                                       cmocka_unit_test(a_file_without_a_name),
                                       cmocka_unit_test(removed_by_its_holder),
                                       cmocka_unit_test(shared),
                                       cmocka_unit_test(shared_by_name),
                                       cmocka_unit_test(inherited),
                                       cmocka_unit_test(no_folder)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
