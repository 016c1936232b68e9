/* replay: runs a fuzz target without the fuzzer, on each file of tests/fuzz/corpus/NAME, on its beginnings and with
 * single bytes changed, so that `make test` walks through the parsers' error paths too. */
#ifndef MDM_TESTS_FUZZ_REPLAY_H
#define MDM_TESTS_FUZZ_REPLAY_H
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPLAY_VARIANTS = 400 };

/* At most so many beginnings and changes of a file, spread over it by a fixed rule. */
static long replay_variants(const uint8_t *data, size_t n) {
    uint8_t *copy = malloc(n + 1);
    long runs = 0;
    uint32_t x = 1;
    for (size_t i = 0; i < REPLAY_VARIANTS && i < n; i++, runs += 2) {
        memcpy(copy, data, n);
        LLVMFuzzerTestOneInput(copy, n <= REPLAY_VARIANTS ? i : i * n / REPLAY_VARIANTS);
        x = x * 1664525 + 1013904223;
        copy[i < 64 ? i : (x >> 8) % n] ^= (uint8_t)(1 + (x >> 24) % 255);
        LLVMFuzzerTestOneInput(copy, n);
    }
    free(copy);
    return runs;
}

static int replay(const char *name) {
    char path[1024];
    snprintf(path, sizeof path, "tests/fuzz/corpus/%s", name);
    DIR *d = opendir(path);
    long files = 0, runs = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "tests/fuzz/corpus/%s/%s", name, e->d_name);
        FILE *f = fopen(path, "rb");
        uint8_t *data = malloc(1 << 20);
        size_t n = f ? fread(data, 1, 1 << 20, f) : 0;
        if (f) fclose(f);
        uint8_t *exact = malloc(n + !n); /* so that a sanitizer sees every read past the end */
        memcpy(exact, data, n);
        free(data);
        LLVMFuzzerTestOneInput(exact, n);
        runs += 1 + replay_variants(exact, n);
        files++;
        free(exact);
    }
    if (d) closedir(d);
    printf("%s: %ld files, %ld runs\n", name, files, runs);
    if (files == 0) fprintf(stderr, "no corpus in tests/fuzz/corpus/%s: run this from the top of the checkout\n", name);
    return files == 0;
}

#endif
