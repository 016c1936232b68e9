/* test_data: files that are too large or not ours to keep in the repository: published models, tokenizers and corpora.
 *
 *     const char *path = test_data("data/llama_tokenizer");
 *     if (!path) skip();
 *
 * They are looked for in the folder $MDM_TEST_DATA, else in ../shared. Where there is no such folder tests/run.sh says so
 * once; a file that is missing in a folder that is there gets a SKIP line of its own. */
#ifndef TESTS_TEST_DATA_H
#define TESTS_TEST_DATA_H
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The path of a file or folder, or NULL. The last eight results stay valid. */
static inline const char *test_data(const char *name) {
    static char paths[8][4096];
    static int next;
    const char *base = getenv("MDM_TEST_DATA") ? getenv("MDM_TEST_DATA") : "../shared";
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", base, name);
    if (access(path, R_OK) == 0) return path;
    if (access(base, R_OK) == 0) printf("SKIP: %s is not there\n", path);
    return NULL;
}

#endif
