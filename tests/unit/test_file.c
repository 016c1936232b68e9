/* Reading with bounds, and the promise of writing: whatever fails, the old file is whole or the new one is, and no
 * temporary file stays. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"
#include "scratch.h"

static char *home;

static int make_home(void **state) {
    (void)state;
    home = scratch_new();
    return chdir(home);
}

static int remove_home(void **state) {
    (void)state;
    scratch_free(home);
    return 0;
}

static void put(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static bool holds(const char *path, const void *data, size_t n) {
    struct err err = {0};
    char *got;
    size_t size;
    if (file_read(&got, &size, path, 64 << 20, &err) < 0) return false;
    bool same = size == n && !memcmp(got, data, n);
    mem_free(got);
    return same;
}

static int entries(const char *dir) {
    struct err err = {0};
    char **names;
    int64_t n;
    assert_int_equal(file_list(&names, &n, dir, &err), 0);
    file_list_free(names, n);
    return (int)n;
}

#define assert_says(err, text)                                                                                         \
    do {                                                                                                               \
        if (!strstr((err).msg, text)) fail_msg("'%s' does not say '%s'", (err).msg, text);                             \
    } while (0)

/* ---- reading ---- */

static void test_read(void **state) {
    (void)state;
    struct err err = {0};
    char *data;
    size_t size;
    put("hello", "hello\n");
    assert_int_equal(file_read(&data, &size, "hello", 6, &err), 0);
    assert_int_equal(size, 6);
    assert_string_equal(data, "hello\n"); /* with its NUL */
    mem_free(data);
    assert_int_equal(file_read(&data, &size, "hello", 5, &err), -1);
    assert_says(err, "'hello' is larger than 5 bytes");
    put("empty", "");
    assert_int_equal(file_read(&data, &size, "empty", 0, &err), 0);
    assert_int_equal(size, 0);
    assert_string_equal(data, "");
    mem_free(data);
    assert_int_equal(file_read(&data, &size, "hello", 0, &err), -1);
    assert_int_equal(file_read(&data, &size, "absent", 10, &err), -1);
    assert_says(err, "cannot open 'absent': No such file");
    assert_int_equal(file_read(&data, &size, home, 10, &err), -1);
    assert_says(err, "Is a directory");
    /* A file that claims to be empty and is not. */
    assert_int_equal(file_read(&data, &size, "/proc/self/status", 1 << 20, &err), 0);
    assert_true(size > 100 && strlen(data) == size);
    mem_free(data);
    assert_int_equal(file_read(&data, &size, "/proc/self/status", 99, &err), -1);
    assert_says(err, "larger than 99 bytes");
}

static void test_read_sizes(void **state) {
    (void)state;
    struct err err = {0};
    const size_t sizes[] = {1, 65535, 65536, 65537, 3000000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *text = mem_alloc((int64_t)sizes[i], 1, "text", &err);
        for (size_t k = 0; k < sizes[i]; k++) text[k] = (unsigned char)(k * 7 + k / 251);
        assert_int_equal(file_write("sized", text, sizes[i], &err), 0);
        assert_true(holds("sized", text, sizes[i]));
        assert_int_equal(file_size("sized", &err), sizes[i]);
        struct file_map m;
        assert_int_equal(file_map(&m, "sized", &err), 0);
        assert_int_equal(m.size, sizes[i]);
        assert_memory_equal(m.data, text, sizes[i]);
        file_unmap(&m);
        assert_int_equal(file_copy("sized", "copied", &err), 0);
        assert_true(holds("copied", text, sizes[i]));
        mem_free(text);
    }
}

static void test_map(void **state) {
    (void)state;
    struct err err = {0};
    struct file_map m;
    put("empty", "");
    assert_int_equal(file_map(&m, "empty", &err), 0);
    assert_non_null(m.data);
    assert_int_equal((uintptr_t)m.data % 4096, 0);
    assert_int_equal(m.size, 0);
    file_unmap(&m);
    file_unmap(&m); /* twice is fine */
    assert_int_equal(file_map(&m, "absent", &err), -1);
    assert_says(err, "'absent': No such file");
    assert_int_equal(file_map(&m, ".", &err), -1);
    assert_says(err, "'.': Is a directory");
    assert_int_equal(file_map(&m, "/dev/null", &err), -1);
    assert_says(err, "'/dev/null': it is not a regular file");
    assert_int_equal(mkfifo("pipe", 0600), 0);
    assert_int_equal(file_map(&m, "pipe", &err), -1); /* at once, though nobody writes to it */
    assert_says(err, "'pipe': it is not a regular file");
    assert_null(file_out_open("pipe", &err));
    assert_says(err, "'pipe': it is a device or a pipe");
    assert_int_equal(file_size("/dev/null", &err), -1);
    assert_int_equal(file_size("absent", &err), -1);
}

static void test_read_at(void **state) {
    (void)state;
    struct err err = {0};
    char buf[8] = "";
    put("digits", "0123456789");
    int fd = open("digits", O_RDONLY);
    assert_int_equal(file_read_at(fd, buf, 3, 7, "digits", &err), 0);
    assert_memory_equal(buf, "789", 3);
    assert_int_equal(file_read_at(fd, buf, 4, 7, "digits", &err), -1);
    assert_says(err, "'digits' is cut short: expected 4 bytes at offset 7, found 3");
    assert_int_equal(file_read_at(fd, buf, 1, 100, "digits", &err), -1);
    assert_int_equal(file_read_at(fd, buf, 0, 10, "digits", &err), 0);
    close(fd);
    assert_int_equal(file_read_at(fd, buf, 1, 0, "digits", &err), -1);
    assert_says(err, "Bad file descriptor");
}

/* ---- writing ---- */

static void test_write(void **state) {
    (void)state;
    struct err err = {0};
    struct file_out *f = file_out_open("out", &err);
    assert_non_null(f);
    assert_false(file_exists("out")); /* nothing under the final name before the commit */
    assert_int_equal(file_out_write(f, "HEAD", 4, &err), 0);
    assert_int_equal(file_out_printf(f, &err, "%d-%s|", 12, "ab"), 0);
    char wide[1000];
    memset(wide, 'w', sizeof wide - 1);
    wide[sizeof wide - 1] = '\0';
    assert_int_equal(file_out_printf(f, &err, "%s", wide), 0); /* longer than the small buffer */
    assert_int_equal(file_out_write(f, "end", 3, &err), 0);
    assert_int_equal(file_out_commit(f, &err), 0);
    char want[1100];
    int n = snprintf(want, sizeof want, "HEAD12-ab|%send", wide);
    assert_true(holds("out", want, (size_t)n));
}

static void test_abort_leaves_old(void **state) {
    (void)state;
    struct err err = {0};
    put("kept", "old");
    int before = entries(".");
    struct file_out *f = file_out_open("kept", &err);
    assert_int_equal(file_out_write(f, "new", 3, &err), 0);
    assert_int_equal(entries("."), before + 1);
    file_out_abort(f);
    file_out_abort(NULL);
    assert_int_equal(entries("."), before);
    assert_true(holds("kept", "old", 3));
}

/* Two writers of one path, as programs on two machines that share a folder: neither sees the other's bytes. */
static void test_two_writers(void **state) {
    (void)state;
    struct err err = {0};
    assert_int_equal(file_mkdirs("both", &err), 0);
    struct file_out *a = file_out_open("both/x", &err), *b = file_out_open("both/x", &err);
    assert_true(a && b);
    assert_int_equal(entries("both"), 2);
    assert_int_equal(file_out_write(a, "the longer text", 15, &err), 0);
    assert_int_equal(file_out_write(b, "short", 5, &err), 0);
    if (file_out_commit(b, &err) < 0) fail_msg("%s", err.msg);
    assert_true(holds("both/x", "short", 5));
    if (file_out_commit(a, &err) < 0) fail_msg("%s", err.msg);
    assert_true(holds("both/x", "the longer text", 15));
    assert_int_equal(entries("both"), 1);
}

/* A sweep takes what killed writers left and nothing else, least of all what somebody is writing: it has its name or its
 * holder at any time. */
static void test_sweep(void **state) {
    (void)state;
    struct err err = {0};
    static const char *const left[] = {"x.tmp.0123456789abcdef", ".tmp.tmp.ffffffffffffffff"},
                             *const others[] = {
                                 "x.tmp.0123456789abcdef.bak", "x.tmp.0123456789abcdeg", "x.tmp.1",
                                 ".tmp.0123456789abcdef",      "x_tmp.0123456789abcdef", "x.tmp.1.0123456789abcdef"};
    char path[100];
    file_sweep("no/such/folder");
    assert_int_equal(file_mkdirs("swept/folder.tmp.0123456789abcdef", &err), 0);
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
        snprintf(path, sizeof path, "swept/%s", left[i]);
        put(path, "half");
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        snprintf(path, sizeof path, "swept/%s", others[i]);
        put(path, "whole");
    }
    put("far-away", "linked");
    assert_int_equal(symlink("../far-away", "swept/link.tmp.0123456789abcdef"), 0);
    struct file_out *out = file_out_open("swept/out", &err);
    assert_non_null(out);
    file_sweep("swept");
    assert_int_equal(entries("swept"), sizeof others / sizeof *others + 3);
    assert_int_equal(file_out_write(out, "mine", 4, &err), 0);
    if (file_out_commit(out, &err) < 0) fail_msg("%s", err.msg);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        snprintf(path, sizeof path, "swept/%s", others[i]);
        assert_true(file_exists(path));
    }
    assert_true(holds("swept/out", "mine", 4) && holds("far-away", "linked", 6));

    const pid_t sweeper = fork();
    if (sweeper == 0)
        for (;;) file_sweep("swept");
    int status = 0;
    for (int i = 0; i < 2000 && status == 0; i++) status = file_write("swept/out", "mine", 4, &err);
    kill(sweeper, SIGKILL);
    waitpid(sweeper, NULL, 0);
    if (status < 0) fail_msg("%s", err.msg);
    assert_int_equal(entries("swept"), sizeof others / sizeof *others + 3);
}

/* What reaches the system, in order: the calls of the program under test come here first. */
static char system_calls[400];

static void note_call(const char *what, const char *path) {
    size_t n = strlen(system_calls);
    const char *slash = strrchr(path, '/'), *tail = strstr(path, ".tmp.");
    const char *name = slash ? slash + 1 : path;
    snprintf(system_calls + n, sizeof system_calls - n, "%s %.*s;", what,
             (int)(tail ? tail + 5 - name : (int)strlen(name)), name);
}

int fsync(int fd) {
    char link[40], path[FILE_PATH_MAX] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (readlink(link, path, sizeof path - 1) < 0) return -1;
    note_call("fsync", path);
    return (int)syscall(SYS_fsync, fd);
}

int rename(const char *from, const char *to) {
    note_call("rename", from);
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

/* The bytes are on the disk before the name is, and the name before the caller goes on. */
static void test_order_of_syncs(void **state) {
    (void)state;
    struct err err = {0};
    assert_int_equal(file_mkdirs("synced", &err), 0);
    system_calls[0] = '\0';
    assert_int_equal(file_write("synced/x", "new", 3, &err), 0);
    assert_string_equal(system_calls, "fsync x.tmp.;rename x.tmp.;fsync synced;");
    system_calls[0] = '\0';
    assert_int_equal(file_copy("synced/x", "synced/y", &err), 0);
    assert_string_equal(system_calls, "fsync y.tmp.;rename y.tmp.;fsync synced;");
}

static void test_refused_targets(void **state) {
    (void)state;
    struct err err = {0};
    char text[FILE_PATH_MAX + 10];
    assert_null(file_out_open(".", &err));
    assert_says(err, "it is a folder");
    assert_null(file_out_open("/dev/null", &err));
    assert_says(err, "a device or a pipe");
    assert_null(file_out_open("no/such/folder/x", &err));
    assert_says(err, "cannot create 'no/such/folder/x.tmp.");
    assert_null(file_out_open("", &err));
    assert_says(err, "the name is empty");
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_null(file_out_open(text, &err));
    assert_says(err, "File name too long");
}

static void test_symbolic_link(void **state) {
    (void)state;
    struct err err = {0};
    struct stat st;
    assert_int_equal(file_mkdirs("far", &err), 0);
    put("far/real", "old");
    assert_int_equal(symlink("far/real", "link"), 0);
    assert_int_equal(file_write("link", "new", 3, &err), 0);
    assert_true(lstat("link", &st) == 0 && S_ISLNK(st.st_mode));
    assert_true(holds("far/real", "new", 3));
    assert_int_equal(entries("far"), 1);
}

/* A job of a checkpoint's shape: large and small writes. */
static int write_job(const char *big, size_t n, struct err *err) {
    struct file_out *f = file_out_open("sweep/target", err);
    if (!f) return -1;
    if (file_out_write(f, "1111", 4, err) < 0 || file_out_write(f, big, n, err) < 0 ||
        file_out_printf(f, err, "tail %d", 1) < 0 || file_out_write(f, "!", 1, err) < 0) {
        file_out_abort(f);
        return -1;
    }
    return file_out_commit(f, err);
}

/* Make each call of each kind fail in turn, once and onwards, until a sweep gets past the last one. */
static void test_fault_sweep(void **state) {
    (void)state;
    struct err err = {0};
    const size_t n = 150000;
    char *big = mem_alloc((int64_t)n, 1, "big", &err), *want = mem_alloc((int64_t)n + 16, 1, "want", &err);
    memset(big, 'b', n);
    int length = snprintf(want, n + 16, "1111%.*stail 1!", (int)n, big);
    assert_int_equal(file_mkdirs("sweep", &err), 0);
    const enum fault_kind kinds[] = {FAULT_WRITE, FAULT_FSYNC, FAULT_RENAME, FAULT_ALLOC};
    const long calls[] = {3, 2, 1, 1};
    for (size_t k = 0; k < 4; k++)
        for (int onwards = 0; onwards < 2; onwards++) {
            long failures = 0;
            for (long at = 1;; at++) {
                put("sweep/target", "the old file");
                int64_t held = mem_in_use();
                err.msg[0] = '\0';
                fault_set(kinds[k], at, onwards);
                int r = write_job(big, n, &err);
                bool reached = fault_count(kinds[k]) >= at;
                fault_set(kinds[k], 0, false);
                assert_int_equal(r < 0, reached); /* no failure goes unnoticed */
                bool old = holds("sweep/target", "the old file", 12), new = holds("sweep/target", want, (size_t)length);
                assert_true(old || new);
                assert_true(new || r < 0); /* success means the new file */
                assert_int_equal(entries("sweep"), 1);
                assert_int_equal(mem_in_use(), held);
                if (!reached) break;
                failures++;
                assert_says(err, "sweep/");
                /* Only the folder's fsync comes after the rename. */
                assert_int_equal(new, kinds[k] == FAULT_FSYNC && at == 2);
            }
            assert_int_equal(failures, calls[k]);
        }
    mem_free(big);
    mem_free(want);
}

static void test_read_faults(void **state) {
    (void)state;
    struct err err = {0};
    char *data, buf[4], **names;
    size_t size;
    int64_t held = mem_in_use(), n;
    struct file_map m;
    put("faulty", "some text");
    fault_set(FAULT_READ, 1, true);
    assert_int_equal(file_read(&data, &size, "faulty", 100, &err), -1);
    assert_says(err, "cannot read 'faulty': Input/output error");
    assert_int_equal(file_map(&m, "faulty", &err), -1);
    assert_says(err, "cannot map 'faulty': Input/output error");
    int fd = open("faulty", O_RDONLY);
    assert_int_equal(file_read_at(fd, buf, 4, 0, "faulty", &err), -1);
    assert_says(err, "cannot read 'faulty'");
    close(fd);
    assert_int_equal(file_copy("faulty", "never", &err), -1);
    fault_set(FAULT_READ, 0, false);
    assert_false(file_exists("never"));
    for (long at = 1; at <= 3; at++) {
        fault_set(FAULT_ALLOC, at, true);
        assert_int_equal(file_list(&names, &n, ".", &err), -1);
        assert_int_equal(mem_in_use(), held);
    }
    fault_set(FAULT_ALLOC, 0, false);
}

/* kill -9 in the middle of writing. */
static void test_killed_writer(void **state) {
    (void)state;
    struct err err = {0};
    assert_int_equal(file_mkdirs("killed", &err), 0);
    put("killed/target", "old");
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct file_out *f = file_out_open("killed/target", &err);
        for (int i = 0; i < 100000; i++) file_out_write(f, "new!", 4, &err);
        kill(getpid(), SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_true(holds("killed/target", "old", 3));
    assert_int_equal(file_write("killed/target", "new", 3, &err), 0); /* what was left over is in nobody's way */
    assert_true(holds("killed/target", "new", 3));
}

/* ---- names and folders ---- */

static void test_mkdirs(void **state) {
    (void)state;
    struct err err = {0};
    char deep[FILE_PATH_MAX];
    assert_int_equal(file_mkdirs("a/b//c/", &err), 0);
    assert_true(file_is_dir("a/b/c"));
    assert_int_equal(file_mkdirs("a/b", &err), 0);
    snprintf(deep, sizeof deep, "%s/x/y", home);
    assert_int_equal(file_mkdirs(deep, &err), 0);
    assert_true(file_is_dir("x/y"));
    put("a/file", "");
    assert_int_equal(file_mkdirs("a/file", &err), -1);
    assert_says(err, "'a/file'");
    assert_int_equal(file_mkdirs("a/file/below", &err), -1);
    assert_says(err, "Not a directory");
    assert_int_equal(file_mkdirs("", &err), -1);
    assert_false(file_is_dir("a/file"));
    assert_true(file_exists("a/file"));
    assert_false(file_exists("a/none"));
}

static void test_list(void **state) {
    (void)state;
    struct err err = {0};
    char **names, name[32];
    int64_t n;
    assert_int_equal(file_mkdirs("list", &err), 0);
    assert_int_equal(file_list(&names, &n, "list", &err), 0);
    assert_int_equal(n, 0);
    file_list_free(names, n);
    for (int i = 39; i >= 0; i--) {
        snprintf(name, sizeof name, "list/%03d", i);
        put(name, "");
    }
    put("list/Z", "");
    put("list/\xc3\xa9", "");
    put("list/.hidden", "");
    assert_int_equal(file_list(&names, &n, "list", &err), 0);
    assert_int_equal(n, 43);
    assert_string_equal(names[0], ".hidden");
    assert_string_equal(names[1], "000");
    assert_string_equal(names[40], "039");
    assert_string_equal(names[41], "Z");
    assert_string_equal(names[42], "\xc3\xa9");
    file_list_free(names, n);
    assert_int_equal(file_list(&names, &n, "absent", &err), -1);
    assert_says(err, "cannot list 'absent'");
}

static void test_join(void **state) {
    (void)state;
    struct err err = {0};
    char out[FILE_PATH_MAX], *text = mem_alloc(FILE_PATH_MAX, 1, "text", &err);
    assert_int_equal(file_join(out, "a", "b", &err), 0);
    assert_string_equal(out, "a/b");
    assert_int_equal(file_join(out, "a/", "b", &err), 0);
    assert_string_equal(out, "a/b");
    assert_int_equal(file_join(out, "", "b", &err), 0);
    assert_string_equal(out, "b");
    memset(text, 'x', FILE_PATH_MAX - 3);
    assert_int_equal(file_join(out, text, "b", &err), 0); /* the longest that fits */
    assert_int_equal(strlen(out), FILE_PATH_MAX - 1);
    assert_int_equal(file_join(out, text, "bc", &err), -1);
    assert_says(err, "longer than 4095 bytes");
    mem_free(text);
}

static void test_copy(void **state) {
    (void)state;
    struct err err = {0};
    put("from", "contents");
    put("to", "old");
    assert_int_equal(file_copy("from", "to", &err), 0);
    assert_true(holds("to", "contents", 8));
    assert_int_equal(file_copy("absent", "to", &err), -1);
    assert_int_equal(file_copy(".", "to", &err), -1);
    assert_int_equal(file_copy("from", "no/such/folder", &err), -1);
    assert_true(holds("to", "contents", 8));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_read_sizes),
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_read_at),
        cmocka_unit_test(test_write),
        cmocka_unit_test(test_abort_leaves_old),
        cmocka_unit_test(test_two_writers),
        cmocka_unit_test(test_sweep),
        cmocka_unit_test(test_order_of_syncs),
        cmocka_unit_test(test_refused_targets),
        cmocka_unit_test(test_symbolic_link),
        cmocka_unit_test(test_fault_sweep),
        cmocka_unit_test(test_read_faults),
        cmocka_unit_test(test_killed_writer),
        cmocka_unit_test(test_mkdirs),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_join),
        cmocka_unit_test(test_copy),
    };
    return cmocka_run_group_tests(tests, make_home, remove_home);
}
