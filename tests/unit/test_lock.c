/* The lock of a folder: held by one, refused to the others by name, gone with its holder. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

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
    assert_int_equal(lock_take(dir, &err), -1);
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
    assert_int_equal(lock_take(dir, &err), -1);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    const int lock = lock_take(dir, &err);
    assert_true(lock >= 0);
    lock_release(lock);
    close(ends[0]);
    close(ends[1]);
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

static void no_folder(void **state) {
    (void)state;
    struct err err = {{0}};
    assert_int_equal(lock_take("/nowhere/at/all", &err), -1);
    assert_says(err, "/nowhere/at/all");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_at_a_time), cmocka_unit_test(goes_with_its_holder),
                                       cmocka_unit_test(removed_by_its_holder), cmocka_unit_test(no_folder)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
