/* fuzz_file: gives a fuzz input to functions that want a path: a file in memory, one at a time. */
#ifndef MDM_TESTS_FUZZ_FILE_H
#define MDM_TESTS_FUZZ_FILE_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char fuzz_made[4096];

__attribute__((unused)) static void fuzz_remove(void) {
    char command[sizeof fuzz_made + 16];
    snprintf(command, sizeof command, "rm -rf '%s'", fuzz_made);
    if (system(command) != 0) perror(command);
}

/* A folder of this program's own, removed at its end. */
__attribute__((unused)) static const char *fuzz_scratch(void) {
    const char *tmp = getenv("TMPDIR");
    if (fuzz_made[0]) return fuzz_made;
    snprintf(fuzz_made, sizeof fuzz_made, "%s/mdm-fuzz-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(fuzz_made)) {
        perror(fuzz_made);
        exit(1);
    }
    atexit(fuzz_remove);
    return fuzz_made;
}

__attribute__((unused)) static const char *fuzz_file(const uint8_t *data, size_t size) {
    static char path[64];
    static int fd = -1;
    if (fd < 0) fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, 0) < 0 || pwrite(fd, data, size, 0) != (ssize_t)size) {
        perror("memfd");
        exit(1);
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return path;
}

/* The same as a file of this name in a folder of its own, for what opens folders; gives the folder. */
__attribute__((unused)) static const char *fuzz_folder(const char *name, const uint8_t *data, size_t size) {
    char path[sizeof fuzz_made + 128];
    snprintf(path, sizeof path, "%s/%s", fuzz_scratch(), name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, size, f) != size || fclose(f) != 0) {
        perror(path);
        exit(1);
    }
    return fuzz_made;
}

#endif
