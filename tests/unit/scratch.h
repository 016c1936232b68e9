/* scratch: folders for tests that write files. Include after cmocka.h. */
#ifndef MDM_TESTS_SCRATCH_H
#define MDM_TESTS_SCRATCH_H
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))

UNUSED static char *scratch_in(const char *tmp) {
    char *dir = malloc(4096);
    snprintf(dir, 4096, "%s/mdm_test_XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(dir));
    return dir;
}

UNUSED static char *scratch_new(void) {
    return scratch_in(getenv("TMPDIR"));
}

/* In memory where there is room: for tests that fsync thousands of times. What a killed test leaves in MDM_TEST_MEMORY,
 * tests/run.sh takes away. */
UNUSED static char *scratch_fast(void) {
    const char *given = getenv("MDM_TEST_MEMORY"), *memory = given ? given : "/dev/shm";
    struct statvfs v;
    bool room =
        access(memory, W_OK) == 0 && statvfs(memory, &v) == 0 && (double)v.f_bavail * (double)v.f_frsize > 200e6;
    return scratch_in(room ? memory : getenv("TMPDIR"));
}

static int scratch_remove(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

UNUSED static void scratch_free(char *dir) {
    nftw(dir, scratch_remove, 16, FTW_DEPTH | FTW_PHYS);
    free(dir);
}

#endif
